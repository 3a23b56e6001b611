"""Every Python block of the README and the docs runs, and so does every example in a docstring."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

import canonize

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Annotations are enforced here, which asks for sizes; pages that export programs need them inert, as users have them.
INERT = {"serve.md"}
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run_page(text: str, name: str) -> int:
    """Run the Python blocks of a page one after the other in one namespace; the number of blocks."""
    space: dict[str, object] = {"__name__": "__page__"}
    count = 0
    for found in BLOCK.finditer(text):
        # Line numbers of the page, so that a failure points into it.
        padding = "\n" * text[: found.start(1)].count("\n")
        exec(compile(padding + found[1], name, "exec", dont_inherit=True), space)
        count += 1
    return count


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_blocks_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if page.name in INERT:
        request.getfixturevalue("unchecked")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    text = page.read_text(encoding="utf-8")
    assert run_page(text, str(page)) == text.count("```python")


def test_a_broken_block_is_caught() -> None:
    with pytest.raises(AssertionError):
        run_page("text\n```python\nassert 1 == 2\n```\n", "page")


def modules() -> list[str]:
    """All modules of the package."""
    return sorted(
        info.name for info in pkgutil.walk_packages(canonize.__path__, "canonize.") if "__main__" not in info.name
    )


def imported(name: str) -> ModuleType:
    """A module; the test is skipped where the outside library of an integration cannot be imported."""
    if name.startswith("canonize.integrations."):
        return pytest.importorskip(name, reason=f"the library of {name} cannot be imported", exc_type=Exception)
    return importlib.import_module(name)


@pytest.mark.parametrize("name", modules())
def test_the_examples_in_docstrings_run(name: str) -> None:
    results = doctest.testmod(imported(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("name", modules())
def test_every_public_function_and_class_has_a_docstring(name: str) -> None:
    module = imported(name)
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{name} has no docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{name}.{node.name} has no docstring"
