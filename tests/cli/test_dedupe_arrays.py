"""`canonize dedupe`: arrays in files, and what of them is refused before anything is allocated."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_runs import run

from canonize import S, SymmetryError
from canonize.cli import items as entries
from canonize.cli.dedupe import find
from canonize.cli.items import find_items
from canonize.cli.words import group as group_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.mark.parametrize(
    "counts",
    [
        [9, -4, 4],
        [4.5, 0.5, 4.0],
        [np.nan, 9.0],
        [np.inf, 9.0],
        [2**62, 2**62, 2**62, 2**62, 9],
        [[4, 5]],
        9,
        [True] * 9,
        [4 + 0j, 5 + 0j],
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", ["n_atoms", "counts"])
def test_counts_that_are_no_counts_are_refused(folder: Path, counts: Any, name: str) -> None:
    np.savez(folder / "a.npz", pos=np.eye(9, 3), **{name: np.array(counts)})
    np.savez(folder / "b.npz", pos=np.eye(9, 3), **{name: np.array([4, 5, 0])})
    with pytest.raises(SymmetryError, match=r"^the counts of the file are no counts\n  got:      a\.npz: "):
        find_items(folder / "a.npz", S())
    told = find(folder, group_of("SxE3"), tolerance=1e-3)
    assert told.items == 4
    assert [(name, why.partition(" (")[0]) for name, why in told.bad] == [
        ("a.npz", "the counts of the file are no counts")
    ]


def test_counts_may_be_whole_floats(folder: Path) -> None:
    x = np.random.default_rng(0).normal(size=(4, 3))
    np.savez(folder / "a.npz", pos=np.concatenate([x, x[:3], x[::-1]]), n_atoms=np.array([4.0, 3.0, 4.0]))
    assert find(folder / "a.npz", group_of("SxE3"), tolerance=1e-3).groups == [["a.npz[0]", "a.npz[2]"]]


def claims(file: Path, shape: tuple[int, ...], descr: str = "<f8", content: bytes = bytes(64)) -> None:
    """A .npy file whose header says more than there is."""
    with file.open("wb") as opened:
        np.lib.format.write_array_header_1_0(opened, {"descr": descr, "fortran_order": False, "shape": shape})
        opened.write(content)


UNFIT = {
    "huge": "an array of this file is too large",
    "vast": "an array of this file is too large",
    "cut": "an array of this file is cut off",
    "negative": "an array of this file is cut off",
    "strings": "an array of this file holds no numbers that can be compared",
    "bytes": "an array of this file holds no numbers that can be compared",
    "dates": "an array of this file holds no numbers that can be compared",
    "spans": "an array of this file holds no numbers that can be compared",
    "records": "an array of this file holds no numbers that can be compared",
    "names": "an array of this file holds no numbers that can be compared",
    "objects": "this file cannot be read without running code, or is damaged",
    "nothing": "this file cannot be read without running code, or is damaged",
    "text": "this file cannot be read without running code, or is damaged",
}


def unfit(file: Path, kind: str) -> None:
    arrays = {
        "strings": np.array(["a", "b"]),
        "bytes": np.array([b"a", b"b"]),
        "dates": np.array(["2020-01-01"], dtype="datetime64[D]"),
        "spans": np.array([3], dtype="timedelta64[s]"),
        "records": np.zeros(2, dtype=[("a", "f8"), ("b", "i4")]),
        "names": np.zeros(2, dtype=[("\u03b1", "f8")]),
        "objects": np.array([{}], dtype=object),
    }
    shapes = {"huge": (10**11, 3), "vast": (10**30, 10**30), "cut": (5, 3), "negative": (-1, -8)}
    if kind in shapes:
        claims(file, shapes[kind])
    elif kind in arrays:
        with warnings.catch_warnings():
            # numpy warns that old versions cannot read such names.
            warnings.simplefilter("ignore", UserWarning)
            np.save(file, arrays[kind])
    else:
        file.write_bytes(b"" if kind == "nothing" else b"some text, longer than a header\n" * 9)


@pytest.mark.parametrize("kind", UNFIT)
@pytest.mark.parametrize("packed", [False, True], ids=["npy", "npz"])
def test_arrays_that_cannot_be_compared_are_bad_in_words(folder: Path, kind: str, packed: bool) -> None:
    file = folder / "a.npy"
    unfit(file, kind)
    if packed:
        with zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(file, "x.npy")
        file.unlink()
        file = folder / "a.npz"
    alone = run("dedupe", str(file), "--group", "C4")
    assert alone.exit_code == 2, alone.output
    assert alone.output.startswith(f"canonize: {UNFIT[kind]}\n  got:      "), alone.output
    np.save(folder / "good.npy", np.eye(3))
    told = find(folder, group_of("C4"))
    assert [(name, why.partition(" (")[0]) for name, why in told.bad] == [(file.name, UNFIT[kind])]
    assert told.items == 2


@pytest.mark.parametrize("group", ["C4", "S", "SxE3"])
def test_a_single_number_is_nothing_to_compare(folder: Path, group: str) -> None:
    tolerance = 1e-3 if "E" in group else None
    np.save(folder / "a.npy", np.float64(3.0))
    np.savez(folder / "b.npz", x=np.float64(3.0))
    for name in ("a.npy", "b.npz"):
        with pytest.raises(SymmetryError, match=r"^the file holds one number, not things to compare"):
            find(folder / name, group_of(group), tolerance=tolerance)
    bad = find(folder, group_of(group), tolerance=tolerance).bad
    assert [name for name, _ in bad] == ["a.npy", "b.npz"]
    assert not any("Error" in why for _, why in bad)
    np.savez(folder / "c.npz", x=np.eye(3), kinds=np.int64(3))
    with pytest.raises(SymmetryError, match=r"^the entries of the file do not fit together"):
        find(folder / "c.npz", group_of(group), tolerance=tolerance)


def test_large_arrays_are_refused_by_their_header(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "LARGEST", 1000)
    np.save(folder / "a.npy", np.zeros((5, 10)))
    np.save(folder / "b.npy", np.zeros((20, 10)))
    np.savez_compressed(folder / "c.npz", x=np.zeros((20, 10)))
    assert [name for name, _ in find(folder, group_of("S")).bad] == ["b.npy", "c.npz"]


@pytest.mark.parametrize("kind", ["f8", "f4", "i4", "u2", "c16", "b1", "f2"])
def test_byte_order_and_layout_do_not_count(folder: Path, kind: str) -> None:
    x = np.random.default_rng(0).integers(0, 2**8, (4, 4)).astype(kind)
    for name, array in (
        ("big", x.astype(f">{kind}")),
        ("little", x.astype(f"<{kind}")),
        ("other", np.asfortranarray(x)),
    ):
        np.save(folder / f"{name}.npy", array)
    stacked = np.stack([x, np.rot90(x)]).astype(f">{kind}")
    np.savez(folder / "packed.npz", x=stacked)
    told = find(folder, group_of("C4"))
    assert not told.bad
    assert told.groups == [["big.npy", "little.npy", "other.npy", "packed.npz[0]", "packed.npz[1]"]]
    for item in find_items(folder, group_of("C4")):
        wanted = np.rot90(x).copy() if item.name.endswith("[1]") else x
        assert torch.equal(item.read(), torch.from_numpy(wanted)), item.name
