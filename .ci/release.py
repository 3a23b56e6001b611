"""A release, tried as a new user would: `.venv/bin/python .ci/release.py`, or with `--draft` before the changes have a version.

Builds the sdist, and the wheel from it, checks what they hold and say, installs the wheel with the locked versions in an
empty environment, and runs the demonstration from it in an empty folder. Nothing is uploaded; the two files lie in
build/release/dist.
"""

from __future__ import annotations

import argparse
import email
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLACE = ROOT / "build" / "release"
NEEDED = ("canonize/__init__.py", "canonize/py.typed", "canonize/cli/app.py", "canonize_pytest.py")
TEMPLATES = ("canonize/report/templates/page.html.jinja", "canonize/report/templates/page.css")
SOURCES = (
    "src/canonize/__init__.py",
    "tests/conftest.py",
    "docs/tour.md",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "pyproject.toml",
)
MOST = 4 * 2**20
"""Bytes of the wheel: more would mean that data or figures have slipped in."""


def version() -> str:
    """The version, from the one place where it stands."""
    found = re.search(r'__version__ = "([^"]+)"', (ROOT / "src/canonize/_version.py").read_text(encoding="utf-8"))
    assert found is not None
    return found[1]


def changes_wrong(text: str, expected: str, *, draft: bool) -> list[str]:
    """What is wrong with the top of the changelog: it must be this version with a date; in a draft it may be unreleased."""
    tops = re.findall(r"^## (.+)$", text, re.MULTILINE)
    if not tops:
        return ["CHANGELOG.md has no entry"]
    if draft and tops[0] == "Unreleased":
        return []
    if not re.fullmatch(rf"\[?{re.escape(expected)}\]? - \d{{4}}-\d\d-\d\d", tops[0]):
        return [f"CHANGELOG.md begins with {tops[0]!r}, not with '{expected} - YYYY-MM-DD'"]
    return []


def wheel_wrong(path: Path, expected: str) -> list[str]:
    """What is wrong with the names, the metadata and the size of a wheel."""
    wrong = []
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        info = f"canonize-{expected}.dist-info"
        wrong += [f"{path.name} lacks {name}" for name in (*NEEDED, *TEMPLATES) if name not in names]
        allowed = re.compile(rf"canonize/|canonize_pytest\.py$|{re.escape(info)}/")
        wrong += [f"{path.name} holds {name}" for name in sorted(names) if not allowed.match(name)]
        wrong += [
            f"{path.name} holds {name}" for name in sorted(names) if re.search(r"(^|/)tests?/|\.pyc$|\.so$", name)
        ]
        try:
            told = email.message_from_bytes(archive.read(f"{info}/METADATA"))
            points = archive.read(f"{info}/entry_points.txt").decode()
        except KeyError as error:
            return [*wrong, f"{path.name}: {error}"]
    for field, value in (("Name", "canonize"), ("Version", expected), ("License-Expression", "Apache-2.0")):
        if told[field] != value:
            wrong.append(f"{path.name}: {field} is {told[field]!r}, not {value!r}")
    plain = [one for one in told.get_all("Requires-Dist") or [] if "extra ==" not in one]
    if sorted(re.split(r"[^\w-]", one)[0] for one in plain) != ["jaxtyping", "torch"]:
        wrong.append(f"{path.name} needs {plain}")
    if told["Description-Content-Type"] != "text/markdown" or not str(told.get_payload()).strip():
        wrong.append(f"{path.name} has no description")
    if "canonize = canonize.cli:main" not in points:
        wrong.append(f"{path.name} has no command")
    if path.stat().st_size > MOST:
        wrong.append(f"{path.name} has {path.stat().st_size:,} bytes")
    return wrong


def sdist_wrong(path: Path, expected: str) -> list[str]:
    """What is wrong with the names in an sdist."""
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        tops = {name.partition("/")[0] for name in archive.getnames()}
    wrong = [f"{path.name} lacks {name}" for name in SOURCES if name not in names]
    wrong += [
        f"{path.name} holds {name}"
        for name in sorted(names)
        if "__pycache__" in name or name.startswith((".venv", "build"))
    ]
    return wrong if tops == {f"canonize-{expected}"} else [*wrong, f"{path.name} unpacks to {sorted(tops)}"]


def run(*command: object, cwd: Path = ROOT) -> str:
    """The output of a command; the release ends where it fails."""
    print("release:", *command, flush=True)
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout[-4000:]}{done.stderr[-4000:]}\nrelease: that failed with {done.returncode}")
    return done.stdout


def tried(wheel: Path, expected: str) -> None:
    """Install the wheel in an empty environment, and run it from an empty folder."""
    home, folder = PLACE / "venv", PLACE / "empty"
    venv.create(home, with_pip=True, clear=True)
    python = home / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    run(python, "-m", "pip", "install", "--quiet", "--requirement", ROOT / "requirements.lock")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", wheel)
    run(python, "-m", "pip", "check")
    folder.mkdir()
    where = run(python, "-c", "import canonize; print(canonize.__file__)", cwd=folder).strip()
    if not Path(where).is_relative_to(home):
        sys.exit(f"release: canonize was imported from {where}")
    command = python.with_name("canonize")
    told = run(command, "--version", cwd=folder).strip()
    if told != expected:
        sys.exit(f"release: the command says {told!r}, not {expected!r}")
    print(run(command, "demo", cwd=folder))
    if not (folder / "canonize-report" / "report.html").stat().st_size:
        sys.exit("release: the demonstration wrote no report")


def main() -> None:
    """Build, check, install, run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draft", action="store_true", help="the changelog may still say Unreleased")
    parser.add_argument("--no-install", action="store_true", help="build and check only")
    given = parser.parse_args()
    expected = version()
    wrong = changes_wrong((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), expected, draft=given.draft)
    shutil.rmtree(PLACE, ignore_errors=True)
    if not wrong:
        run(sys.executable, "-m", "build", "--outdir", PLACE / "dist", ROOT)
        (sdist,), (wheel,) = (sorted((PLACE / "dist").glob(kind)) for kind in ("*.tar.gz", "*.whl"))
        wrong += [*sdist_wrong(sdist, expected), *wheel_wrong(wheel, expected)]
    if wrong:
        sys.exit("\n".join(f"release: {line}" for line in wrong))
    if not given.no_install:
        tried(wheel, expected)
    print(f"release: {sdist.name} and {wheel.name} are ready in {sdist.parent}")


if __name__ == "__main__":
    main()
