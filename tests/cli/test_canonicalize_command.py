"""`canonize canonicalize`: what it writes of each kind, that it reads its own output, and how it goes on after a kill."""

from __future__ import annotations

import gc
import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_runs import run
from PIL import Image as Picture

from canonize import SE, Best, C, Image, Product, S, Scalar, Symmetry, SymmetryError, canonical_hash, nn, symmetrize
from canonize.cli import canonicalize as command
from canonize.cli.canonicalize import Writing, canonicalize
from canonize.cli.dedupe import find
from canonize.cli.items import find_items
from canonize.scale import Canonical
from stored_cases import FEW, cloud_table, clouds, image_shard, image_table, pixels

pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
pytest.importorskip("webdataset", reason="webdataset is not installed")


def content(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}


def rows(place: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(place).to_pylist()
    return found


def test_images_from_a_table(tmp_path: Path) -> None:
    out = tmp_path / "new" / "a.parquet"
    found = run("canonicalize", str(image_table(tmp_path / "a.parquet")), "--group", "C4", "--out", str(out), "--hash",
                "--shard", "5")  # fmt: skip
    assert found.exit_code == 0, found.output
    assert f"{FEW} samples, {FEW} written to " in found.output
    assert sorted(content(out)) == ["_manifest.json", *(f"part-{n:06}.parquet" for n in range(3))]
    told = rows(out)
    assert [row["label"] for row in told] == [*range(FEW)]
    assert [row["source"] for row in told] == [f"a.parquet[{n}]" for n in range(FEW)]
    # The last image is the first one, turned.
    assert told[-1]["image"] == told[0]["image"]
    assert told[-1]["pose_linear"] != told[0]["pose_linear"]
    for row, given in zip(told, pixels(), strict=True):
        x = torch.from_numpy(np.array(Picture.open(io.BytesIO(row["image"])))).permute(2, 0, 1)
        back = Image()(torch.tensor(row["pose_linear"]).reshape(1, 2, 2), x[None])[0]
        assert torch.equal(back, torch.from_numpy(given).permute(2, 0, 1))
        assert row["hash"] == canonical_hash(x, C(4))


@pytest.mark.filterwarnings("ignore:Exception ignored in.*part-:pytest.PytestUnraisableExceptionWarning")
def test_shards_to_shards_which_the_library_reads(tmp_path: Path) -> None:
    import webdataset

    out = tmp_path / "b.tar"
    found = run(
        "canonicalize", str(image_shard(tmp_path / "a.tar")), "--group", "C4", "--out", str(out), "--shard", "7"
    )
    assert found.exit_code == 0, found.output
    shards = [str(path) for path in sorted(out.glob("*.tar"))]
    # The library leaves the shards open, which the collector tells; here, so that no other test hears of it.
    read = list(webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8"))
    gc.collect()
    assert len(read) == FEW
    assert np.array_equal(read[0]["png"], read[-1]["png"])
    for number, sample in enumerate(read):
        assert sample["cls"] == number % 3
        assert sample["json"]["source"] == f"a.tar:n{number:03}"
    with tarfile.open(shards[0]) as archive:
        assert {(member.mtime, member.uid, member.uname) for member in archive} == {(0, 0, "")}
    assert find(out, C(4)).groups == [["part-000000.tar:000000000", "part-000001.tar:000000011"]]


@pytest.mark.parametrize("suffix", ["parquet", "tar"])
def test_clouds_and_their_output_is_an_input(tmp_path: Path, suffix: str) -> None:
    place, group, tolerance = cloud_table(tmp_path / "a.parquet"), Product(S(), SE(3)), 1e-3
    job = Canonical(group, hashed=True, tolerance=tolerance)
    made = canonicalize(place, tmp_path / f"b.{suffix}", job, shard=5)
    assert (made.samples, made.rows, made.files, made.bad) == (FEW, FEW, 3, [])
    again = find_items(tmp_path / f"b.{suffix}", group)
    for item, (x, z) in zip(again, clouds(), strict=True):
        assert canonical_hash(item.read(), group, tolerance=tolerance) == canonical_hash(
            command.Cloud(x, z), group, tolerance=tolerance
        )
    first, last = again[0].read(), again[FEW - 1].read()
    assert torch.equal(first.kinds, last.kinds)
    torch.testing.assert_close(first.points, last.points, rtol=0, atol=1e-9)
    if suffix == "parquet":
        told = rows(tmp_path / "b.parquet")
        assert told[0]["hash"] == told[-1]["hash"] != told[1]["hash"]
        assert all(row["margin"] > 0 and row["energy"] == 0.5 for row in told)


@pytest.mark.parametrize("suffix", ["parquet", "tar"])
def test_molecules_and_one_that_is_none(tmp_path: Path, suffix: str) -> None:
    for library in ("rdkit", "canonaut"):
        pytest.importorskip(library, reason=f"{library} is not installed")
    (tmp_path / "a.smi").write_text("CCO ethanol\nOCC\nno molecule\nC[C@H](O)N\n", encoding="utf-8")
    out = tmp_path / f"b.{suffix}"
    found = run("canonicalize", str(tmp_path / "a.smi"), "--group", "S", "--out", str(out), "--hash")
    assert found.exit_code == 3, found.output
    assert "bad: a.smi:3: RDKit does not read this molecule ('no')" in found.output
    assert "4 samples, 3 written" in found.output
    one, two, three = (item.read() for item in find_items(out, S()))
    assert (one.edges.tolist(), one.nodes, one.labels) == (two.edges.tolist(), two.nodes, two.labels)
    assert three.count != one.count
    original = [item.read() for item in find_items(tmp_path / "a.smi", S())[:2]]
    assert len({canonical_hash(each, S()) for each in (one, two, *original)}) == 1
    # Told again by the same call, which does nothing.
    before = content(out)
    again = run("canonicalize", str(tmp_path / "a.smi"), "--group", "S", "--out", str(out), "--hash")
    assert (again.exit_code, content(out)) == (3, before)
    assert "(4 were done before)" in again.output


def test_images_behind_a_frame_that_was_trained(tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    from canonize.integrations.safetensors import save

    torch.manual_seed(0)
    frame = Best(nn.Scorer(3, width=4, depth=1, disk=True), resolution=8)
    save(symmetrize(torch.nn.Identity(), Symmetry(C(8), Image(), Scalar()), frame), tmp_path / "frame")
    options = ["--group", "C8", "--frame", str(tmp_path / "frame"), "--mean", "0.5", "--std", "0.25"]
    out = tmp_path / "b.parquet"
    found = run("canonicalize", str(image_table(tmp_path / "a.parquet")), *options, "--out", str(out))
    assert found.exit_code == 0, found.output
    told = rows(out)
    assert told[0]["image"] == told[-1]["image"]
    assert told[0]["margin"] == pytest.approx(told[-1]["margin"])
    # Another frame is another run.
    save(symmetrize(torch.nn.Identity(), Symmetry(C(8), Image(), Scalar()), Best(nn.Scorer(3, width=4, depth=1, disk=True),
         resolution=8)), tmp_path / "frame")  # fmt: skip
    other = run("canonicalize", str(tmp_path / "a.parquet"), *options, "--out", str(out))
    assert other.exit_code == 2
    assert "the folder is of other settings, or of other data" in other.output
    assert f"frame: {tmp_path / 'frame'} then; the same now, with other content" in other.output
    assert not re.search("[0-9a-f]{16}", other.output.replace(str(tmp_path), ""))


class Killed(BaseException):
    """What stops a run at any moment."""


@pytest.mark.parametrize("suffix", ["parquet", "tar"])
@pytest.mark.parametrize("stop", range(1, 7))
def test_a_killed_run_goes_on_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int, suffix: str
) -> None:
    """Killed between the halves of each chunk: nothing is lost, nothing is there twice, and no byte differs."""
    monkeypatch.setattr(command, "AT_ONCE", 2)
    place = tmp_path / "in"
    place.mkdir()
    image_table(place / "a.parquet")
    (place / "b.png").write_bytes(b"no image")
    whole = canonicalize(place, tmp_path / f"whole.{suffix}", Canonical(C(4)), shard=4)
    assert [name for name, _ in whole.bad] == ["b.png"]
    posed, calls = Writing._posed, 0

    def counted(self: Writing, *parts: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == stop:
            raise Killed
        return posed(self, *parts)

    monkeypatch.setattr(Writing, "_posed", counted)
    torn = tmp_path / f"torn.{suffix}"
    with pytest.raises(Killed):
        canonicalize(place, torn, Canonical(C(4)), shard=4)
    assert len(list(torn.glob("part-*"))) == (stop - 1) // 2
    calls = 100
    again = canonicalize(place, torn, Canonical(C(4)), shard=4)
    assert calls - 100 == 7 - 2 * ((stop - 1) // 2)
    assert content(torn) == content(tmp_path / f"whole.{suffix}")
    assert (again.rows, again.bad, again.resumed) == (whole.rows, whole.bad, 4 * ((stop - 1) // 2))
    # The twin that must differ: another size of shards.
    canonicalize(place, tmp_path / f"other.{suffix}", Canonical(C(4)), shard=5)
    assert content(tmp_path / f"other.{suffix}") != content(torn)


def test_input_that_has_changed_is_another_run(tmp_path: Path) -> None:
    place = tmp_path / "in"
    place.mkdir()
    image_table(place / "a.parquet")
    canonicalize(place, tmp_path / "b.parquet", Canonical(C(4)))
    Picture.fromarray(pixels()[0]).save(place / "more.png")
    with pytest.raises(
        SymmetryError,
        match=r"^the folder is of other settings, or of other data\n  got:      number of samples: 12 then, 13",
    ):
        canonicalize(place, tmp_path / "b.parquet", Canonical(C(4)))


def test_columns_with_our_names_are_kept(tmp_path: Path) -> None:
    canonicalize(image_table(tmp_path / "a.parquet"), tmp_path / "b.parquet", Canonical(C(4), hashed=True))
    canonicalize(tmp_path / "b.parquet", tmp_path / "c.parquet", Canonical(C(4), hashed=True))
    canonicalize(tmp_path / "c.parquet", tmp_path / "d.parquet", Canonical(C(4), hashed=True))
    first, again, third = (rows(tmp_path / f"{name}.parquet")[3] for name in "bcd")
    assert again["source_in"] == "a.parquet[3]"
    assert third["source_in_in"] == "a.parquet[3]"
    assert first["hash"] == again["hash"] == again["hash_in"] == third["hash_in_in"]
    assert third["image"] == first["image"]
    assert json.dumps(third["pose_linear"]) == "[1.0, 0.0, 0.0, 1.0]"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--group", "C8"], "C(8) does not map pixels onto pixels, so that a frame has to choose the pose"),
        (["--group", "C4", "--out", "b.csv"], "the suffix of the output says what it is"),
        (["--group", "C4", "--out", "in/b.parquet"], "input and output overlap"),
        (["--group", "C4", "--engine", "spark"], "this is no engine"),
        (["--group", "C4", "--address", "auto"], "an address is for Ray"),
        (["--group", "C4", "--tolerance", "0.1"], "entries that only move are compared exactly"),
        (["--group", "SxE3", "--hash"], "coordinates are equal up to a tolerance only"),
        (["--group", "SxE3"], "the group does not fit the data"),
        (["--group", "C4", "--column", "label"], "the table has no such column"),
    ],
)
def test_a_wrong_call_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    image_table(tmp_path / "in" / "a.parquet")
    where = "in/a.parquet" if "--column" in words else "in"
    if "--column" in words:
        words = ["--group", "C4", "--column", "no"]
    found = run("canonicalize", where, "--out", "b.parquet", *words)
    assert found.exit_code == 2, found.output
    assert found.output.startswith(f"canonize: {what}"), found.output
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "a.parquet"]


def test_a_sample_of_another_kind_is_bad_by_itself(tmp_path: Path) -> None:
    place = tmp_path / "in"
    place.mkdir()
    Picture.fromarray(pixels()[0]).save(place / "a.png")
    np.save(place / "b.npy", np.zeros((3, 4, 4)))
    made = canonicalize(place, tmp_path / "b.parquet", Canonical(C(4)))
    assert made.rows == 1
    assert made.bad[0][0] == "b.npy"
    assert made.bad[0][1].startswith("the sample is of another kind than the first one (array: ")


def test_what_stood_beside_the_values_can_neither_stop_the_run_nor_take_our_names(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    cloud = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]
    beside = {
        "json": ["not json", '{"a": 1}'],
        "../evil": [b"x", b"y"],
        "positions.npy": [b"x", b"y"],
        "cls": ["0", "1"],
        "raw.bin": [b"x", b"y"],
    }
    pq.write_table(pa.table({"positions": [cloud, cloud], **beside}), tmp_path / "a.parquet")
    made = canonicalize(tmp_path / "a.parquet", tmp_path / "b.tar", Canonical(Product(S(), SE(3))))
    assert (made.rows, made.bad) == (2, [])
    held: list[str] = []
    for file in sorted((tmp_path / "b.tar").glob("*.tar")) if (tmp_path / "b.tar").is_dir() else [tmp_path / "b.tar"]:
        with tarfile.open(file) as shard:
            held += shard.getnames()
            told = [
                json.loads(shard.extractfile(name).read())["in"] for name in shard.getnames() if name.endswith("json")
            ]
    assert len(held) == len(set(held)), "two files of one name"
    assert {name.partition(".")[2] for name in held} == {"json", "positions.npy", "cls", "raw.bin"}
    assert [each["json"] for each in told] == ["not json", {"a": 1}]
    assert set(told[0]) == {"json", "../evil", "positions.npy"}
