"""The campaign of kills in small: it kills, what resumes is the same, and it sees what is not; and what a billion costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


def loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the benchmarks."""
    pytest.importorskip("rich", reason="the benchmarks need rich: pip install -e '.[dev]'")
    monkeypatch.syspath_prepend(str(FOLDER))
    return __import__(name)


@pytest.mark.skipif(sys.platform == "win32", reason="kills.py copies its process, which Windows does not")
def test_two_kills_of_each(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    words = [
        "--times",
        "2",
        "--images",
        "80",
        "--commands",
        "dedupe",
        "canonicalize",
        "audit",
        "--json",
        str(tmp_path / "a.json"),
    ]
    done = subprocess.run(
        [sys.executable, str(FOLDER / "kills.py"), *words], capture_output=True, text=True, check=False, timeout=400
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["rows"]
    assert [row["command"] for row in rows] == ["dedupe", "canonicalize", "audit"]
    for row in rows:
        assert row["runs"] == row["same"] == 2
        assert row["kills"] >= 2
        assert 0 <= row["earliest"] <= row["latest"] < 1
        # The file that is no image is told at the end of each run; the network that is audited is not symmetric.
        assert row["exit"] == (1 if row["command"] == "audit" else 3)


@pytest.mark.parametrize("fault", ["lost", "changed", "twice", "more"])
def test_what_is_not_the_same_is_seen(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kills = loaded("kills", monkeypatch)
    (tmp_path / "a").mkdir()
    file, journal = tmp_path / "a" / "part", tmp_path / "seen.jsonl"
    file.write_bytes(b"one")
    journal.write_bytes(b'{"item": 1, "keys": []}\n{"item": 2, "bad": "x"}\n')
    before = kills.content("dedupe", tmp_path)
    # What was bad is tried again, and told again.
    journal.write_bytes(journal.read_bytes() + b'{"item": 2, "bad": "x"}\n')
    assert kills.content("dedupe", tmp_path) == before
    if fault == "lost":
        file.unlink()
    elif fault == "changed":
        file.write_bytes(b"onf")
    elif fault == "twice":
        journal.write_bytes(journal.read_bytes() + b'{"item": 1, "keys": []}\n')
    else:
        (tmp_path / "a" / ".part.part").write_bytes(b"")
    assert kills.content("dedupe", tmp_path) != before


def test_of_a_report_all_counts_but_what_a_call_took(monkeypatch: pytest.MonkeyPatch) -> None:
    kills = loaded("kills", monkeypatch)
    audit = {"verdict": "fail", "error": {"max": 1.5}, "cost": {"batch": 16, "seconds": 0.1, "memory": 7}}

    def told(**changed: object) -> bytes:
        return kills.untimed(json.dumps({"audits": [audit | changed]}).encode())

    before = told()
    assert told(cost={"batch": 16, "seconds": 0.2, "memory": 8}) == before
    for changed in ({"verdict": "pass"}, {"error": {"max": 1.25}}, {"cost": {"batch": 8, "seconds": 0.1, "memory": 7}}):
        assert told(**changed) != before


def test_the_report_of_another_command_is_not_read_as_one_of_audits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = loaded("kills", monkeypatch)
    found = []
    for told in (b'{"seconds": 1}', b'{"seconds": 2}'):
        (tmp_path / "report.json").write_bytes(told)
        found.append(kills.content("adapt", tmp_path))
    assert found[0] == found[1]


def test_a_billion_on_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    page = loaded("_scale", monkeypatch)
    assert page.hours({"rate": 1e9 / 3600}) == pytest.approx(1)
    assert page.hours({"rate": 100.0}) == pytest.approx(1e9 / 100 / 3600)


def test_the_page_follows_from_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    page = loaded("_scale", monkeypatch)
    written = FOLDER.parent / "docs" / "benchmarks" / "scale.md"
    assert written.read_text(encoding="utf-8") == page.page()


def test_parts_without_a_run_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = loaded("_scale", monkeypatch)
    assert page.page(tmp_path) == page.HEAD
