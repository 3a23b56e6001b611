"""WebDataset shards: what their samples hold, and what is said of bad ones."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
from pathlib import Path

import pytest
import torch

from canonize import Graph, SymmetryError
from canonize.cli.items import find_items
from canonize.scale.write import npy
from stored_cases import FEW, image_shard, pixels


def shard(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_what_the_library_writes(tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="webdataset is not installed")
    items = find_items(image_shard(tmp_path / "a.tar"), None)
    assert len(items) == FEW
    again = pickle.loads(pickle.dumps(items))
    for number in (3, 0, FEW - 1, 4):
        assert items[number].name == f"a.tar:n{number:03}"
        for each in (items[number], again[number]):
            assert torch.equal(each.read(), torch.from_numpy(pixels()[number]).permute(2, 0, 1))
            assert each.more() == {"cls": str(number % 3), "note.txt": "seen"} or each.more()["note.txt"] == b"seen"


def test_arrays_clouds_and_graphs(tmp_path: Path) -> None:
    x = torch.randn(3, 2)
    told = {"edges": [[0, 1]], "count": 3, "nodes": ["C", "O", "C"]}
    place = shard(
        tmp_path / "a.tar",
        {
            "deep/a.npy": npy(x),
            "deep/a.json": b'{"split": 1}',
            "deep/b.positions.npy": npy(x),
            "deep/b.species.npy": npy(torch.tensor([6, 1, 1])),
            "deep/c.json": json.dumps(told).encode(),
            "deep/d.positions.npy": npy(x),
            "deep/d.json": b'{"kinds": ["C", "O", "C"]}',
        },
    )
    array, cloud, graph, named = (item.read() for item in find_items(place, None))
    assert torch.equal(array, x)
    assert torch.equal(cloud.points, x)
    assert cloud.kinds.tolist() == [6, 1, 1]
    assert isinstance(graph, Graph)
    assert (graph.edges.tolist(), graph.nodes, graph.count) == ([[0], [1]], told["nodes"], 3)
    assert named.kinds == ["C", "O", "C"]
    assert find_items(place, None)[0].more() == {"json": '{"split": 1}'}


def test_long_names_and_folders_do_not_matter(tmp_path: Path) -> None:
    name = "a/" + "b" * 150
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        folder = tarfile.TarInfo("a")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for key in (name, f"{name}c"):
            content = npy(torch.tensor([len(key)]))
            info = tarfile.TarInfo(f"{key}.npy")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    assert [item.read().item() for item in find_items(tmp_path / "a.tar", None)] == [len(name), len(name) + 1]


def test_shards_by_their_numbers(tmp_path: Path) -> None:
    for number in (8, 9, 10):
        shard(tmp_path / f"a-{number:03}.tar", {"x.npy": npy(torch.tensor([number]))})
    items = find_items(tmp_path / "a-{008..010}.tar", None)
    assert [item.read().item() for item in items] == [8, 9, 10]
    assert [name for name, _ in items.files] == ["a-008.tar", "a-009.tar", "a-010.tar"]
    with pytest.raises(SymmetryError, match=r"^a shard is missing\n  got:      a-011\.tar"):
        find_items(tmp_path / "a-{008..012}.tar", None)


def test_a_last_number_beyond_reason_is_told_at_once(tmp_path: Path) -> None:
    shard(tmp_path / "a-0.tar", {"a.npy": npy(torch.ones(2))})
    with pytest.raises(SymmetryError, match=r"a-1\.tar"):
        find_items(tmp_path / "a-{0..99999999999999}.tar", None)


def test_a_shard_that_is_cut_off_loses_no_more_than_it_must(tmp_path: Path) -> None:
    whole = shard(tmp_path / "a.tar", {f"{n}.npy": npy(torch.tensor([n] * 100)) for n in range(4)}).read_bytes()
    for cut in (512, 1300, 2900, 4000):
        (tmp_path / "b.tar").write_bytes(whole[:cut])
        items = find_items(tmp_path / "b.tar", None)
        good = []
        for item in items:
            try:
                good.append(int(item.read()[0]))
            except SymmetryError as error:
                assert "intact" in str(error)  # noqa: PT017  # some are good
        assert good == [*range(len(good))]
        assert len(good) < len(items)
        assert len(good) >= (cut - 1024) // 1536


def test_samples_without_a_value_are_bad_by_themselves(tmp_path: Path) -> None:
    place = shard(tmp_path / "a.tar", {"a.txt": b"words", "b.json": b"[1]", "c.npy": npy(torch.ones(2)), "d.png": b"x"})
    good, bad = [], []
    for item in find_items(place, None):
        try:
            good.append(item.read().tolist())
        except SymmetryError as error:
            bad.append(str(error).splitlines()[0])
    assert good == [[1, 1]]
    assert bad == ["the sample holds no value", "the sample holds no value", "these bytes are no image"]


def test_what_is_no_plain_shard_is_refused(tmp_path: Path) -> None:
    whole = shard(tmp_path / "a.tar", {"a.npy": npy(torch.ones(2))}).read_bytes()
    for content in (gzip.compress(whole), b"no archive at all" * 100):
        (tmp_path / "b.tar").write_bytes(content)
        with pytest.raises(SymmetryError, match=r"^this shard cannot be read"):
            find_items(tmp_path / "b.tar", None)
