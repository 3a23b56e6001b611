"""The parts of a release: what the built files must hold, and that the check of it fails where it should."""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from loaded_script import ROOT, loaded

SCRIPT = ROOT / ".ci" / "release.py"
if not SCRIPT.exists():
    pytest.skip("the scripts of CI are not part of this copy", allow_module_level=True)


release: Any = loaded(SCRIPT)
METADATA = """Metadata-Version: 2.4
Name: canonize
Version: 9.9
License-Expression: Apache-2.0
Requires-Dist: jaxtyping>=0.2.36
Requires-Dist: torch>=2.6
Requires-Dist: typer>=0.15; extra == 'cli'
Description-Content-Type: text/markdown

# canonize
"""


def entries() -> dict[str, str]:
    """What a good wheel holds."""
    return {
        **dict.fromkeys((*release.NEEDED, *release.TEMPLATES), "x"),
        "canonize-9.9.dist-info/METADATA": METADATA,
        "canonize-9.9.dist-info/entry_points.txt": "[console_scripts]\ncanonize = canonize.cli:main\n",
    }


def wheel(folder: Path, parts: dict[str, str]) -> list[str]:
    path = folder / "canonize-9.9-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    found: list[str] = release.wheel_wrong(path, "9.9")
    return found


def test_a_good_wheel_passes(tmp_path: Path) -> None:
    assert wheel(tmp_path, entries()) == []


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"canonize/py.typed": None}, "lacks canonize/py.typed"),
        ({"canonize/report/templates/page.css": None}, "lacks canonize/report/templates/page.css"),
        ({"canonize_pytest.py": None}, "lacks canonize_pytest.py"),
        ({"tests/conftest.py": "x"}, "holds tests/conftest.py"),
        ({"canonize/tests/x.py": "x"}, "holds canonize/tests/x.py"),
        ({"docs/tour.md": "x"}, "holds docs/tour.md"),
        ({"canonize/x.pyc": "x"}, "holds canonize/x.pyc"),
        ({"canonize-9.9.dist-info/METADATA": None}, "METADATA"),
        ({"canonize-9.9.dist-info/METADATA": METADATA.replace("9.9", "9.8")}, "Version is '9.8'"),
        ({"canonize-9.9.dist-info/METADATA": METADATA.replace("; extra == 'cli'", "")}, "needs"),
        ({"canonize-9.9.dist-info/METADATA": METADATA.replace("Apache-2.0", "MIT")}, "License-Expression is 'MIT'"),
        ({"canonize-9.9.dist-info/METADATA": METADATA.replace("# canonize\n", "")}, "has no description"),
        ({"canonize-9.9.dist-info/entry_points.txt": ""}, "has no command"),
        ({"canonize/data.bin": "x" * (5 * 2**20)}, "bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_faulty_wheel_is_told(tmp_path: Path, fault: dict[str, str | None], told: str) -> None:
    parts = {name: content for name, content in (entries() | fault).items() if content is not None}
    assert any(told in line for line in wheel(tmp_path, parts))


def test_an_sdist_must_hold_its_tests_and_no_leftovers(tmp_path: Path) -> None:
    path = tmp_path / "canonize-9.9.tar.gz"

    def made(*names: str, top: str = "canonize-9.9") -> list[str]:
        with tarfile.open(path, "w:gz") as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(f"{top}/{name}"), io.BytesIO())
        found: list[str] = release.sdist_wrong(path, "9.9")
        return found

    assert made(*release.SOURCES) == []
    assert any("lacks LICENSE" in line for line in made(*(name for name in release.SOURCES if name != "LICENSE")))
    assert any("__pycache__" in line for line in made(*release.SOURCES, "src/canonize/__pycache__/a.pyc"))
    assert any("unpacks to" in line for line in made(*release.SOURCES, top="canonize-9.8"))


@pytest.mark.parametrize(
    ("top", "draft", "good"),
    [
        ("9.9 - 2031-05-05", False, True),
        ("[9.9] - 2031-05-05", False, True),
        ("9.8 - 2031-05-05", False, False),
        ("9.9", False, False),
        ("Unreleased", False, False),
        ("Unreleased", True, True),
        ("9.8 - 2031-05-05", True, False),
        (None, True, False),
    ],
)
def test_the_changelog_must_begin_with_the_version(top: str | None, draft: bool, good: bool) -> None:
    text = "# Changelog\n\n" + ("" if top is None else f"## {top}\n\n### Added\n- x\n\n## 9.7 - 2030-01-01\n")
    assert (release.changes_wrong(text, "9.9", draft=draft) == []) is good


def test_the_version_stands_in_one_place() -> None:
    import canonize

    assert release.version() == canonize.__version__
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[project]")[2].partition("\n[")[0]
    assert 'dynamic = ["version"]' in project
    assert not re.search(r"^version\s*=", project, re.MULTILINE)


def test_what_a_wheel_needs_is_in_the_tree() -> None:
    """And `py.typed` and the templates are tracked, so that a build from the repository has them."""
    for name in (*release.NEEDED, *release.TEMPLATES):
        assert (ROOT / "src" / name).is_file(), name
    for name in release.SOURCES:
        assert (ROOT / name).is_file(), name
