"""Whatever goes wrong is told in words and never has the exit code of a verdict."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_runs import audit, model, run

from canonize import SymmetryError
from canonize.cli import demo as demonstration
from canonize.cli.load import load_model

IMPORTS = {
    "raising": "raise RuntimeError('no accelerator')",
    "leaving": "raise SystemExit(0)",
    "misspelt": "def (:",
}


@pytest.mark.parametrize("name", IMPORTS)
def test_a_module_that_raises_on_import(place: Path, name: str) -> None:
    (place / f"{place.name}_{name}.py").write_text(IMPORTS[name], encoding="utf-8")
    found = run("audit", f"{place.name}_{name}:net", "--data", "data.npz", "--group", "C4")
    assert found.exit_code == 2
    assert found.output.startswith("canonize: the model cannot be imported\n")
    assert {"raising": "RuntimeError: no accelerator", "leaving": "SystemExit: 0", "misspelt": "SyntaxError"}[
        name
    ] in found.output
    assert "Traceback" not in found.output


@pytest.mark.parametrize(("name", "told"), [("refusing()", "RuntimeError: no weights"), ("leaving()", "SystemExit: 0")])
def test_a_function_that_raises_when_it_makes_the_model(place: Path, name: str, told: str) -> None:
    with pytest.raises(SymmetryError, match=rf"^the model cannot be made\n  got:      .*\({told}"):
        load_model(model(place, name))
    assert audit(place, name).exit_code == 2


@pytest.mark.parametrize(
    ("which", "told"),
    [
        ("lookup", "AttributeError: no field named weight"),
        ("claimed", "AssertionError: square"),
        ("leaver", "SystemExit: 0"),
    ],
)
def test_a_model_that_raises_is_no_verdict(place: Path, which: str, told: str) -> None:
    found = audit(place, which)
    assert found.exit_code == 2
    assert "canonize: " in found.output
    assert told in found.output
    assert "Traceback" not in found.output
    shown = audit(place, which, "--debug")
    assert shown.exit_code == 2
    assert "Traceback (most recent call last)" in shown.output
    assert "raise self.error" in shown.output
    assert "\ncanonize: " not in f"\n{shown.output}"


def test_what_nothing_below_puts_into_words_is_one_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise AssertionError("square\nimages")

    monkeypatch.setattr("canonize.cli.audit.audit", broken)
    found = audit(place, "mean")
    assert found.exit_code == 2
    assert found.output == "canonize: AssertionError: square images (--debug shows where)\n"


def test_the_traceback_of_an_import_is_shown_too(place: Path) -> None:
    found = audit(place, "refusing()", "--debug")
    assert found.exit_code == 2
    assert 'raise RuntimeError("no weights here")' in found.output


def test_long_messages_are_cut_to_one_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("word\n" * 1000)

    monkeypatch.setattr(demonstration, "run", broken)
    found = run("demo", "--report", str(place / "out"))
    assert found.exit_code == 2
    (line,) = found.output.splitlines()
    assert line.startswith("canonize: RuntimeError: word word")
    assert line.endswith("word ... (--debug shows where)")
    assert len(line) < 700
    assert "Traceback" in run("demo", "--debug").output


def test_an_interrupt_keeps_its_code(place: Path) -> None:
    assert audit(place, "stopped").exit_code == 130


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--limit", "0"),
        ("--limit", "-1"),
        ("--size", "-3"),
        ("--size", "0"),
        ("--size", "100000"),
        ("--threads", "0"),
        ("--threads", "1000000"),
        ("--batch-size", "0"),
        ("--elements", "1"),
        ("--tolerance", "-1"),
        ("--seed", "-1"),
        ("--seed", str(2**64)),
    ],
)
def test_numbers_out_of_range(place: Path, option: str, value: str) -> None:
    found = audit(place, "mean", option, value)
    assert found.exit_code == 2
    # The rest of the sentence is typer's, and differs between its versions.
    assert f"Invalid value for '{option}': " in found.output


def test_the_ends_of_the_ranges_are_taken(place: Path) -> None:
    numbers = ("--elements", "2", "--batch-size", "1", "--size", "1", "--threads", "1", "--tolerance", "0")
    assert audit(place, "mean", *numbers, "--seed", str(2**63 - 1), "--limit", "3").exit_code in (0, 1, 3)
    assert run("demo", "--seed", "-1").exit_code == 2


@pytest.mark.parametrize("where", ["out.xml", "name/deeper"])
def test_a_bad_place_for_the_report_is_told_before_the_work(place: Path, where: str) -> None:
    # The model would raise on its first call, and is never called.
    found = audit(place, "lookup", "--report", where)
    assert found.exit_code == 2
    assert found.output.startswith("canonize: a report cannot be" if where == "out.xml" else "canonize: the folder of")
    demonstrated = run("demo", "--report", where)
    assert demonstrated.exit_code == 2
    assert demonstrated.output == found.output


def test_a_place_that_cannot_be_written_is_told_after_the_table(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    found = audit(place, "corner", "--report", "out")
    assert found.exit_code == 2
    assert "FAIL" in found.output
    assert "canonize: the report cannot be written\n  got:      out (OSError: [Errno 28] No space left" in found.output
    assert "Traceback" not in found.output


def test_a_name_that_no_file_system_takes(place: Path) -> None:
    found = audit(place, "mean", "--report", "x" * 300)
    assert found.exit_code == 2
    assert "OSError" in found.output
    assert "Traceback" not in found.output


@pytest.mark.parametrize("options", [(), ("--report", "out.txt")])
def test_a_terminal_that_knows_no_more_than_ascii(place: Path, options: tuple[str, ...]) -> None:
    words = ["-m", "canonize", "audit", model(place, "mean"), "--data", "data.npz", "--group", "C4", *options]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "100"}
    found = subprocess.run([sys.executable, *words], capture_output=True, check=False, env=environment)
    assert found.returncode == 0, found.stderr
    table = found.stdout.decode("ascii")
    assert "PASS" in table
    assert "+---" in table
    assert "?" * 5 not in table
    if options:
        assert "─" in (place / "out.txt").read_text(encoding="utf-8")
