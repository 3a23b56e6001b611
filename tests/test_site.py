"""The site: built strictly from the pages and docstrings, every page in its menu, every public name once, nothing fetched."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import canonize
from loaded_script import ROOT, loaded

SHOWN = ["actions", "adapt", "audit", "forms", "frames", "groups", "labelling", "nn", "report", "testing"]
"""Subpackages whose `__all__` is public beside that of canonize itself."""

yaml = pytest.importorskip("yaml", reason="pyyaml comes with mkdocs")
pytest.importorskip("material", reason="the site needs mkdocs-material")
pytest.importorskip("mkdocstrings_handlers.python", reason="the site needs mkdocstrings[python]")


def built(config: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """A strict build in a process of its own."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(target)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment, timeout=300)


# The menu


def entries(nav: Any) -> list[str]:
    """The pages of a menu."""
    if isinstance(nav, str):
        return [nav]
    return [page for part in (nav.values() if isinstance(nav, dict) else nav) for page in entries(part)]


def menu_faults(nav: Any, pages: set[str]) -> list[str]:
    """What is wrong with a menu over these pages."""
    listed = Counter(entries(nav))
    return sorted(
        [f"{page} is in the nav of mkdocs.yml, but there is no such page" for page in set(listed) - pages]
        + [f"{page} is missing from the nav of mkdocs.yml" for page in pages - set(listed)]
        + [f"{page} is in the nav of mkdocs.yml {count} times" for page, count in listed.items() if count > 1]
    )


def test_every_page_is_in_the_menu_once() -> None:
    docs = ROOT / "docs"
    pages = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    pages |= loaded(ROOT / "docs" / "_site.py").added()
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert menu_faults(config["nav"], pages) == []


def test_a_faulty_menu_is_found() -> None:
    nav = [{"Home": "index.md"}, {"More": [{"Gone": "gone.md"}, "twice.md", {"Again": "twice.md"}]}]
    assert menu_faults(nav, {"index.md", "twice.md", "left_out.md"}) == [
        "gone.md is in the nav of mkdocs.yml, but there is no such page",
        "left_out.md is missing from the nav of mkdocs.yml",
        "twice.md is in the nav of mkdocs.yml 2 times",
    ]


# The pages of the API


def resolved(path: str) -> Any:
    """What a dotted path names: a module, or the deepest attribute of one."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            found = getattr(found, name)
        return found
    raise AssertionError(path)


def public() -> dict[int, str]:
    """Each public function and class, by its identity, under the shortest path to it."""
    found = {}
    for part in ["canonize", *(f"canonize.{name}" for name in SHOWN)]:
        module = importlib.import_module(part)
        for name in module.__all__:
            value = getattr(module, name)
            if not isinstance(value, ModuleType | str):
                found.setdefault(id(value), f"{part}.{name}")
    return found


def shown(text: str) -> list[str]:
    """The names that a page of the API shows."""
    return re.findall(r"^::: (\S+)$", text, re.MULTILINE)


def api_faults(names: list[str]) -> list[str]:
    """Public names that are shown never or more than once, and shown names that are not public."""
    wanted = public()
    counts = Counter(id(resolved(name)) for name in names)
    paths = {id(resolved(name)): name for name in names}
    return sorted(
        [f"{path} is shown {counts[key]} times" for key, path in wanted.items() if counts[key] != 1]
        + [f"{paths[key]} is not public" for key in counts if key not in wanted]
    )


def api_names(*, integrations: bool = False) -> list[str]:
    """What the pages of the API show: the names of integrations, or all others."""
    pages = sorted((ROOT / "docs" / "api").glob("*.md"))
    names = [name for page in pages for name in shown(page.read_text(encoding="utf-8"))]
    return [name for name in names if name.startswith("canonize.integrations.") == integrations]


def test_every_public_name_is_on_one_page() -> None:
    assert api_faults(api_names()) == []


def test_a_name_left_out_shown_twice_or_private_is_found() -> None:
    names = api_names()
    before = api_faults(names)

    def new(names: list[str]) -> list[str]:
        return [fault for fault in api_faults(names) if fault not in before]

    assert new([name for name in names if name != "canonize.PCA"]) == ["canonize.PCA is shown 0 times"]
    assert new([*names, "canonize.frames.PCA"]) == ["canonize.PCA is shown 2 times"]
    assert new([*names, "canonize.frames.pca.Weighted"]) == ["canonize.Weighted is shown 2 times"]
    assert new([*names, "canonize.linalg.polar"]) == ["canonize.linalg.polar is not public"]


def test_every_integration_is_on_its_page() -> None:
    files = (ROOT / "src" / "canonize" / "integrations").glob("*.py")
    wanted = {f"canonize.integrations.{path.stem}" for path in files if not path.stem.startswith("_")}
    assert Counter(api_names(integrations=True)) == Counter(wanted)


# The text


def test_links_are_written_for_the_site() -> None:
    hook = loaded(ROOT / "docs" / "_site.py")
    places = {path: place for path, (place, _text) in hook.borrowed().items()}
    for text, here, page, expected in [
        ("[a](docs/tour.md)", "README.md", "index.md", "[a](tour.md)"),
        ("[a](docs/auditing.md#the-verdict)", "README.md", "index.md", "[a](auditing.md#the-verdict)"),
        ("[a](CHANGELOG.md)", "README.md", "index.md", "[a](changelog.md)"),
        ("[a](../README.md)", "docs/tour.md", "tour.md", "[a](index.md)"),
        ("[a](../../benchmarks/README.md)", "docs/benchmarks/core.md", "benchmarks/core.md", "[a](scripts.md)"),
        ("[a](../examples/simplicial.py)", "docs/simplices.md", "simplices.md", "[a](examples/simplicial.md)"),
        ("[a](../sets.md#why)", "docs/benchmarks/sets.md", "benchmarks/sets.md", "[a](../sets.md#why)"),
        ("[a](#here)", "docs/tour.md", "tour.md", "[a](#here)"),
        ("[a](https://example.org/docs/tour.md)", "README.md", "index.md", "[a](https://example.org/docs/tour.md)"),
    ]:
        assert hook.relinked(text, here, page, places) == expected


def test_sources_become_links() -> None:
    cited = loaded(ROOT / "docs" / "_docstrings.py").cited
    assert cited("see arXiv 2110.03336, and") == "see [arXiv 2110.03336](https://arxiv.org/abs/2110.03336), and"
    assert cited("(doi 10.1016/j.jsc.2013.09.003).") == (
        "([doi 10.1016/j.jsc.2013.09.003](https://doi.org/10.1016/j.jsc.2013.09.003))."
    )
    assert cited("`arXiv 2110.03336` and [arXiv 2110.03336](x)") == "`arXiv 2110.03336` and [arXiv 2110.03336](x)"


def test_docstrings_keep_their_shapes_and_their_examples() -> None:
    text = "Shape (*batch, n) and x[0], `PCA`, `Nothing`.\n\nExample:\n    >>> x[0] * 2\n    [*a]\n\nSource: arXiv 2110.03336."
    assert loaded(ROOT / "docs" / "_docstrings.py").shown(text) == (
        "Shape (\\*batch, n) and x\\[0], [`PCA`][canonize.PCA], `Nothing`.\n\nExamples:\n    >>> x[0] * 2\n    [*a]\n\n"
        "**Source:** [arXiv 2110.03336](https://arxiv.org/abs/2110.03336)."
    )


def test_a_link_to_nowhere_stops_the_build(tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    small = {key: config[key] for key in ("site_name", "validation", "use_directory_urls")}
    (tmp_path / "docs").mkdir()
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump({**small, "plugins": []}), encoding="utf-8")
    for text, code in [("# A\n\n[a](#a)", 0), ("# A\n\n[b](b.md)", 1), ("# A\n\n[b](#b)", 1)]:
        (tmp_path / "docs" / "index.md").write_text(text, encoding="utf-8")
        done = built(tmp_path / "mkdocs.yml", tmp_path / "site")
        assert done.returncode == code, done.stdout + done.stderr


# Nothing is fetched


class Fetched(HTMLParser):
    """What a browser asks for by itself when it shows a page."""

    KINDS = {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch", "modulepreload", "prefetch", "manifest"}

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag in {"script", "img", "iframe", "source", "video", "audio", "embed", "input"}:
            self.found += [told.get("src") or ""]
        if tag == "link" and set((told.get("rel") or "").split()) & self.KINDS:
            self.found += [told.get("href") or ""]
        self.found += re.findall(r"url\(['\"]?([^)'\"]+)", told.get("style") or "")


def outside(text: str, *, styles: bool = False) -> list[str]:
    """The addresses of other hosts that a page (or a style sheet) asks for."""
    if styles:
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        asked = re.findall(r"url\(\s*['\"]?([^)'\"]+)", text) + re.findall(r"@import\s+['\"]([^'\"]+)", text)
    else:
        parser = Fetched()
        parser.feed(text)
        asked = parser.found
    return [address for address in asked if re.match(r"(https?:)?//", address)]


def test_the_whole_site(tmp_path: Path) -> None:
    """One test, so that the site is built once however the tests are shared out."""
    done = built(ROOT / "mkdocs.yml", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {
        path.relative_to(tmp_path).as_posix(): path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")
    }

    assert not (ROOT / "docs" / "index.md").exists(), "the README is the first page"
    first = (ROOT / "README.md").read_text(encoding="utf-8").split("\n\n")[1].strip("*")
    assert first in pages["index.html"]
    for name in ("audit", "adapt", "dedupe"):
        assert f'<h2 id="{name}">' in pages["api/commands.html"]
    said = str(canonize.Symmetry.__doc__).split("`")[0].split(".")[0]
    assert len(said) > 10
    assert said in pages["api/verbs.html"]
    assert 'id="canonize.Symmetry"' in pages["api/verbs.html"]

    assert len(pages) > 30
    assert {name: asked for name, text in pages.items() if (asked := outside(text))} == {}
    for sheet in tmp_path.rglob("*.css"):
        assert outside(sheet.read_text(encoding="utf-8"), styles=True) == [], sheet.relative_to(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://unpkg.com/x"></script>',
        '<img src="//example.org/a.png">',
        '<link rel="preconnect" href="https://fonts.gstatic.com">',
        '<div style="background: url(http://example.org/a.png)">',
    ],
)
def test_a_page_that_asks_another_host_is_found(text: str) -> None:
    assert len(outside(text)) == 1
    assert outside('<a href="https://example.org">a link is no request</a><img src="a.png">') == []


def test_a_style_sheet_that_asks_another_host_is_found() -> None:
    assert outside("a{} @import 'https://example.org/a.css'; b{src:url(//example.org/f.woff)}", styles=True) == [
        "//example.org/f.woff",
        "https://example.org/a.css",
    ]
    assert outside("/* url(https://example.org) */ a{background:url(data:image/svg+xml)}", styles=True) == []
