"""Parquet and Arrow files: what their rows hold, read in any order, and what is said of bad ones."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from canonize import Cloud, Graph, S, SymmetryError
from canonize.cli.items import find_items
from stored_cases import FEW, cloud_table, clouds, image_table, pixels, png, table

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")


def first(place: Path, **options: Any) -> Any:
    return find_items(place, S(), **options)[0].read()


def test_images_as_bytes_and_as_the_hub_keeps_them(tmp_path: Path) -> None:
    items = find_items(image_table(tmp_path / "a.parquet"), None)
    assert [item.name for item in items] == [f"a.parquet[{n}]" for n in range(FEW)]
    for item, expected in zip(items, pixels(), strict=True):
        assert torch.equal(item.read(), torch.from_numpy(expected).permute(2, 0, 1))
        assert item.more() == {"label": int(item.name[10:-1])}
    structs = [{"bytes": png(each), "path": "a.png"} for each in pixels()]
    other = find_items(table(tmp_path / "b.parquet", image=structs), None)
    assert all(torch.equal(a.read(), b.read()) for a, b in zip(items, other, strict=True))


def test_rows_come_in_any_order(tmp_path: Path) -> None:
    items = find_items(table(tmp_path / "a.parquet", x=[[float(n)] for n in range(23)]), None)
    order = np.random.default_rng(0).permutation(23).tolist() + [22, 0, 22, 4, 5, 4]
    assert [items[n].read().item() for n in order] == order
    assert [item.read().item() for item in pickle.loads(pickle.dumps(items))] == [*range(23)]
    assert [item.name for item in items[-2:]] == ["a.parquet[21]", "a.parquet[22]"]
    with pytest.raises(IndexError):
        items[23]


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_arrow_files(tmp_path: Path, kind: str) -> None:
    held = pa.table({"x": [[float(n), 1.0] for n in range(9)]})
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink:
        maker = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
        with maker(sink, held.schema) as writer:
            writer.write_table(held, max_chunksize=4)
    items = find_items(tmp_path / "a.arrow", None)
    assert [items[n].read().tolist() for n in (8, 0, 3, 4)] == [[8, 1], [0, 1], [3, 1], [4, 1]]


def test_arrays_of_all_types(tmp_path: Path) -> None:
    whole = np.arange(24).reshape(2, 3, 4)
    plain = table(tmp_path / "a.parquet", data=[whole.tolist()])
    assert torch.equal(first(plain), torch.from_numpy(whole))
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6, dtype=np.float32)), 3)
    assert torch.equal(first(table(tmp_path / "b.parquet", x=fixed)), torch.arange(3.0))
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(whole.astype(np.float32))
    assert torch.equal(first(table(tmp_path / "c.parquet", x=tensors)), torch.arange(12.0).reshape(3, 4))


def test_clouds(tmp_path: Path) -> None:
    for item, (x, z) in zip(find_items(cloud_table(tmp_path / "a.parquet"), S()), clouds(), strict=True):
        found = item.read()
        assert isinstance(found, Cloud)
        assert torch.equal(found.points, x)
        assert torch.equal(found.kinds, z)
        assert item.more() == {"energy": 0.5}
    assert torch.equal(first(table(tmp_path / "b.parquet", pos=[[[0.0, 1.0]]])), torch.tensor([[0.0, 1.0]]).double())
    named = first(table(tmp_path / "c.parquet", positions=[[[0.0, 1.0]]], kinds=['["C"]']))
    assert named.kinds == ["C"]


def test_graphs(tmp_path: Path) -> None:
    pairs = first(table(tmp_path / "a.parquet", edges=[[[0, 1], [1, 2]]], nodes=['["C", 1, 0.5]'], count=[4]))
    assert isinstance(pairs, Graph)
    assert (pairs.edges.tolist(), pairs.nodes, pairs.count, pairs.directed) == (
        [[0, 1], [1, 2]],
        ["C", 1, 0.5],
        4,
        False,
    )
    both = first(table(tmp_path / "b.parquet", edge_index=[[[0, 1], [1, 0]]], edge_attr=[["a", "a"]], num_nodes=[2]))
    assert (both.edges.tolist(), both.labels, both.count, both.directed) == ([[0, 1], [1, 0]], ["a", "a"], 2, True)
    none = first(table(tmp_path / "c.parquet", edges=pa.array([[]], pa.list_(pa.list_(pa.int64()))), count=[3]))
    assert (none.edges.shape, none.count) == ((2, 0), 3)


def test_smiles(tmp_path: Path) -> None:
    pytest.importorskip("rdkit", reason="rdkit is not installed")
    items = find_items(table(tmp_path / "a.parquet", molecule=["CO", "O"], id=[1, 2]), S(), column="molecule")
    assert items[0].read().count == 2
    assert items[1].more() == {"molecule": "O", "id": 2}


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"image": pa.array([None], pa.binary())}, "the value is missing"),
        ({"image": [b""]}, "the value is missing"),
        ({"image": [b"text"]}, "these bytes are no image"),
        ({"image": [b"\x93NUMPY\x01"]}, ""),
        ({"x": [[[1, 2], [3]]]}, "the lists of a cell differ in length"),
        ({"x": [[1, None]]}, "a cell holds no array of numbers"),
        ({"x": [["a"]]}, "a cell holds no array of numbers"),
        ({"edges": [[[0, 5]]], "count": [2]}, ""),
    ],
)
def test_bad_rows_are_bad_by_themselves(tmp_path: Path, columns: dict[str, Any], what: str) -> None:
    from canonize.cli.dedupe import _keys

    place = table(tmp_path / "a.parquet", **columns)
    (told,) = _keys(find_items(place, S())[:1], S(), {})
    assert isinstance(told, str)
    assert told.startswith(what)
    assert "0x" not in told


@pytest.mark.parametrize(
    ("columns", "column", "what"),
    [
        ({"a": [1]}, None, "the table does not say which column holds the values"),
        ({"a": [1]}, "b", "the table has no such column"),
        ({"a": [1]}, "a", "a column of this type holds no values"),
    ],
)
def test_tables_that_say_nothing(tmp_path: Path, columns: dict[str, Any], column: str | None, what: str) -> None:
    place = table(tmp_path / "a.parquet", **columns)
    with pytest.raises(SymmetryError, match=f"^{what}"):
        find_items(place, None, column=column)
    # Among others it is one bad thing.
    np.save(tmp_path / "b.npy", np.zeros(3))
    items = find_items(tmp_path, None, column=column)
    assert len(items) == 2
    with pytest.raises(SymmetryError, match=f"^{what}"):
        pickle.loads(pickle.dumps(items))[0].read()


def test_a_damaged_table_is_told(tmp_path: Path) -> None:
    for name in ("a.parquet", "a.arrow"):
        (tmp_path / name).write_bytes(b"PAR1 and no more")
        with pytest.raises(SymmetryError, match=r"^the table cannot be read"):
            find_items(tmp_path / name, None)
