"""Data with nothing in them, columns with one name, other byte orders: said in words, or read all the same."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_runs import model, run

from canonize import C, S, SymmetryError
from canonize.cli.data import load_data
from canonize.cli.items import find_items

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")

BYTES = pa.schema([("image", pa.binary())])


def arrow(path: Path, table: Any) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def empty(where: Path, name: str) -> Path:
    path = where / name
    if name == "gone":
        return path
    if name in ("void", "others", "tables"):
        path.mkdir()
        if name == "others":
            for each in ("a.txt", "b.docx", "c.txt"):
                (path / each).write_text("x")
        if name == "tables":
            pq.write_table(BYTES.empty_table(), path / "part-0.parquet")
            pq.write_table(BYTES.empty_table(), path / "part-1.parquet")
    elif name == "a.parquet":
        pq.write_table(BYTES.empty_table(), path)
    elif name == "a.arrow":
        arrow(path, BYTES.empty_table())
    elif name == "a.tar":
        tarfile.open(path, "w").close()
    elif name == "zero.npy":
        np.save(path, np.zeros((0, 3, 4, 4), dtype=np.float32))
    elif name == "head.csv":
        path.write_text("smiles\n")
    else:
        path.write_bytes(b"")
    return path


GOT = {
    "gone": "gone, which does not exist",
    "void": "void, an empty folder",
    "others": "others with 3 files, of kinds .docx, .txt",
    "tables": "tables with 2 files, and not one row in them",
    "a.parquet": "a.parquet, a table of 0 rows",
    "a.arrow": "a.arrow, a table of 0 rows",
    "a.tar": "a.tar, a shard of 0 samples",
    "zero.npy": "zero.npy, an array of 0 entries",
    "head.csv": "head.csv, a table of 0 rows",
    "a.smi": "a.smi, a list of 0 molecules",
    "a.g6": "a.g6, a list of 0 graphs",
    "a.sdf": "a.sdf, a list of 0 molecules",
    "a.txt": "a.txt, of a kind that is not known",
}


@pytest.mark.parametrize("name", GOT)
def test_nothing_is_told_for_what_it_is(tmp_path: Path, name: str) -> None:
    pytest.importorskip("rdkit", reason="RDKit is not installed") if name.endswith(("smi", "sdf", "csv")) else None
    with pytest.raises(SymmetryError, match=r"^there is nothing to work on\n") as caught:
        find_items(empty(tmp_path, name), S() if name.endswith(("smi", "csv", "g6", "sdf")) else C(4))
    lines = str(caught.value).splitlines()
    assert lines[1] == f"  got:      {tmp_path / GOT[name]}"
    kinds = name in ("gone", "void", "others", "a.txt")
    assert (".parquet" in lines[2]) == kinds
    assert kinds or "at least one" in lines[2]
    assert lines[3].startswith("  try:      " + ("check the path" if kinds else "check how it was written"))


@pytest.mark.parametrize("verb", ["audit", "audit in chunks", "adapt", "dedupe", "canonicalize"])
@pytest.mark.parametrize("name", ["a.parquet", "void", "others", "gone", "a.npy"])
def test_each_command_says_it(place: Path, verb: str, name: str) -> None:
    where = str(empty(place, name))
    words = {
        "audit": ["audit", model(place, "mean"), "--data", where],
        "audit in chunks": ["audit", model(place, "mean"), "--data", where, "--workers", "1"],
        "adapt": ["adapt", model(place, "mean"), "--data", where, "--out", "out"],
        "dedupe": ["dedupe", where],
        "canonicalize": ["canonicalize", where, "--out", "out.tar"],
    }[verb]
    found = run(*words, "--group", "C4")
    assert found.exit_code == 2
    lines = found.output.splitlines()
    assert lines[0].startswith("canonize: ")
    got = next(line for line in lines if line.startswith("  got:"))
    told = {"a.npy": "a.npy, an empty file", **GOT}[name]
    if not (verb == "audit in chunks" and name in ("gone", "a.npy")):
        assert told in got or (name == "gone" and where in got), found.output
    assert any(line.startswith("  try:") for line in lines)


def doubled(path: Path, names: list[str], write: Callable[..., Any]) -> Path:
    """Two rows, with columns of these names: the first is an image, all others numbers."""
    image = np.zeros((1, 2, 2)).tolist()
    columns = [pa.array([image, image]) if name == "image" else pa.array([1, 2]) for name in names]
    table = pa.Table.from_arrays(columns, names=names)
    write(path, table)
    return path


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["image", "image"], "image (2 times)"),
        (["image", "label", "label"], "label (2 times)"),
        (["image", "a", "b", "a", "b", "a"], "a (3 times), b (2 times)"),
    ],
)
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_two_columns_of_one_name(place: Path, kind: str, names: list[str], told: str) -> None:
    write = arrow if kind == "arrow" else lambda path, table: pq.write_table(table, path)
    path = doubled(place / f"a.{kind}", names, write)
    for words in (
        ["dedupe", str(path)],
        ["canonicalize", str(path), "--out", "out.parquet"],
        ["audit", model(place, "mean"), "--data", str(path)],
    ):
        found = run(*words, "--group", "C4")
        assert found.exit_code == 2
        assert "columns of the table have the same name" in found.output
        assert f"got:      a.{kind} with {told}" in found.output
        assert "rename_columns" in found.output
    # The twin: names of their own.
    fine = doubled(place / f"b.{kind}", [f"{name}{n}" if n else name for n, name in enumerate(names)], write)
    assert len(find_items(fine, C(4))) == 2


def test_two_columns_of_one_name_in_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("smiles,name,Smiles\nCC,x,CCC\n")
    with pytest.raises(SymmetryError, match=r"the same name\n  got:      a\.csv with smiles \(2 times\)"):
        list(find_items(tmp_path / "a.csv", S()))


def test_tables_and_files_without_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({}), tmp_path / "a.parquet")
    with pytest.raises(SymmetryError, match=r"got:      a\.parquet with no columns"):
        find_items(tmp_path / "a.parquet", C(4))
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(SymmetryError, match=r"got:      a\.csv with no columns"):
        find_items(tmp_path / "a.csv", S())


@pytest.mark.parametrize("kind", [">f4", ">f8", ">f2", ">i8", ">i2", ">c16", "<f4", ">u1", "|b1"])
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_arrays_of_another_byte_order_are_read(tmp_path: Path, kind: str, name: str) -> None:
    numbers = np.arange(24).reshape(6, 4).astype(kind)
    labels = np.arange(6).astype(">i8")
    if name == "a.npy":
        np.save(tmp_path / name, numbers)
    else:
        np.savez(tmp_path / name, inputs=numbers, targets=labels)
    found = load_data(str(tmp_path / name), grids=(0,))
    native = torch.from_numpy(numbers.astype(numbers.dtype.newbyteorder("=")))
    assert torch.equal(found.inputs.to(native.dtype), native)
    assert found.inputs.dtype in (native.dtype, torch.float32)
    if name == "a.npz":
        assert found.targets is not None
        assert found.targets.equal(torch.arange(6))


def test_words_of_another_byte_order_are_still_no_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", inputs=np.array(["cat", "dog"], dtype=">U3"))
    with pytest.raises(SymmetryError, match=r"^the entry .inputs. holds no numbers"):
        load_data(str(tmp_path / "a.npz"))
