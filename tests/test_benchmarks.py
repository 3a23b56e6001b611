"""The benchmark pages say what their JSON says, and the scripts say what they need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


def run(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if name != "CANONIZE_DATA"}
    command = [sys.executable, str(FOLDER / script), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=plain)


def test_every_figure_of_the_page_is_that_of_a_run() -> None:
    found = run("_page.py", "--check")
    assert found.returncode == 0, found.stdout + found.stderr


HELP = """
import contextlib, io, json, runpy, sys
told = {}
sys.path.insert(0, sys.argv[1])
for script in sys.argv[2:]:
    sys.argv[:] = [script, "--help"]
    held = io.StringIO()
    with contextlib.redirect_stdout(held), contextlib.suppress(SystemExit):
        runpy.run_path(script, run_name="__main__")
    told[script] = held.getvalue()
print(json.dumps(told))
"""


def test_every_script_says_how_it_is_called() -> None:
    scripts = [str(path) for path in sorted(FOLDER.glob("[a-z]*.py")) if path.name != "readme.py"]
    # In one process: most of the time of each is that of importing torch.
    command = [sys.executable, "-W", "ignore", "-c", HELP, str(FOLDER), *scripts]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    assert len(told) == len(scripts) > 20, done.stderr
    assert [script for script, text in told.items() if f"usage: {Path(script).name}" not in text] == []


def test_one_entry_runs_everything_that_the_pages_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    bench = __import__("bench")
    runs = {each.name: each for area in bench.AREAS.values() for each in area}
    pages = FOLDER.parent / "docs" / "benchmarks"
    assert {path.stem for path in pages.glob("*.json")} <= set(runs)
    for each in runs.values():
        assert (FOLDER / each.call.split()[0]).is_file(), each.name


def test_what_would_run_is_listed_and_unknown_areas_are_told(tmp_path: Path) -> None:
    found = run("bench.py", "--list", "--out", str(tmp_path), "operations", "clouds")
    assert found.returncode == 0, found.stderr
    assert "benchmarks/operations.py" in found.stdout.replace("\n", "")
    assert "needs data" in found.stdout
    assert list(tmp_path.iterdir()) == []
    assert "no area tables" in run("bench.py", "tables").stderr


def test_missing_data_are_told(tmp_path: Path) -> None:
    found = run("cifar10_c4.py", "--data", str(tmp_path / "nowhere"))
    assert found.returncode != 0
    assert "nowhere" in found.stdout + found.stderr
    assert "Traceback" not in found.stderr
