"""A package that is missing is told once and ends the command: it is no property of a sample."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_runs import run

from stored_cases import table

pytest.importorskip("pyarrow", reason="pyarrow is not installed")
from canonize.cli import items

TOLD = {"rdkit": "pip install 'canonize[molecules]'", "canonaut": "canonize[graphs]"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """SMILES in every kind of file, and graphs; each also in a folder beside an image."""
    smiles = ["CCO", "OCC", "C"] * 50
    table(tmp_path / "m.parquet", smiles=smiles)
    (tmp_path / "m.smi").write_text("\n".join(smiles), encoding="utf-8")
    (tmp_path / "m.csv").write_text("\n".join(["smiles", *smiles]), encoding="utf-8")
    (tmp_path / "g.g6").write_text("DhC\nDDW\n", encoding="utf-8")
    for name in ("m.smi", "m.parquet"):
        folder = tmp_path / f"folder of {name}"
        folder.mkdir()
        (folder / name).write_bytes((tmp_path / name).read_bytes())
        np.save(folder / "a.npy", np.zeros((2, 3)))
    return tmp_path


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    if package == "rdkit":
        monkeypatch.delitem(sys.modules, "canonize.integrations.rdkit", raising=False)
        monkeypatch.delattr("canonize.integrations.rdkit", raising=False)
        items._chemistry.cache_clear()


@pytest.mark.parametrize("name", ["m.parquet", "m.smi", "m.csv", "folder of m.smi", "folder of m.parquet"])
@pytest.mark.parametrize("command", ["dedupe", "canonicalize"])
def test_without_rdkit(place: Path, monkeypatch: pytest.MonkeyPatch, name: str, command: str) -> None:
    without(monkeypatch, "rdkit")
    more = () if command == "dedupe" else ("--out", str(place / "out.parquet"))
    told(run(command, str(place / name), "--group", "S", *more), "molecules are read by RDKit", "rdkit")


@pytest.mark.parametrize("command", ["dedupe", "canonicalize"])
def test_without_canonaut(place: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    pytest.importorskip("canonaut", reason="canonaut is not installed")
    without(monkeypatch, "canonaut")
    more = () if command == "dedupe" else ("--out", str(place / "out.parquet"))
    told(run(command, str(place / "g.g6"), "--group", "S", *more), "labelling graphs needs canonaut", "canonaut")


def told(found: Any, what: str, package: str) -> None:
    assert found.exit_code == 2, found.output
    assert found.output.count("canonize: ") == 1
    assert f"canonize: {what}\n" in found.output
    assert TOLD[package] in found.output
    assert "bad" not in found.output


def test_a_later_shard_of_the_run_says_so_too(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first sample, by which the output is laid out, needs no RDKit.
    pytest.importorskip("canonaut", reason="canonaut is not installed")
    folder = place / "mixed"
    folder.mkdir()
    (folder / "a.g6").write_text("DhC\n", encoding="utf-8")
    (folder / "m.parquet").write_bytes((place / "m.parquet").read_bytes())
    without(monkeypatch, "rdkit")
    found = run("canonicalize", str(folder), "--group", "S", "--out", str(place / "out.tar"))
    told(found, "molecules are read by RDKit", "rdkit")


def test_a_sample_that_is_bad_by_itself_stops_nothing(place: Path) -> None:
    pytest.importorskip("rdkit", reason="rdkit is not installed")
    pytest.importorskip("canonaut", reason="canonaut is not installed")
    (place / "some.smi").write_text("CCO\nno molecule\nOCC\n", encoding="utf-8")
    found = run("dedupe", str(place / "some.smi"), "--group", "S")
    assert found.exit_code == 3
    assert "3 looked at, 1 to drop in 1 groups, 1 bad" in found.output
