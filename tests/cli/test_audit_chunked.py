"""`canonize audit` in chunks: the numbers of all samples at once, from tables, shards and folders; bad samples; resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_runs import audit, run
from PIL import Image as Picture

from canonize import SymmetryError
from canonize.cli.data import load_data
from canonize.cli.samples import reading
from stored_cases import FEW, image_shard, image_table, pixels, png, table

pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pytest.importorskip("webdataset", reason="webdataset is not installed")


def told(place: Path, which: str, *words: str, data: str) -> dict[str, Any]:
    """The report of an audit as JSON, without what it cost and where it ran."""
    target = place / "report.json"
    target.unlink(missing_ok=True)
    done = audit(place, which, "--report", str(target), "--batch-size", "8", *words, data=data)
    assert target.is_file(), done.output
    content: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    for each in content["audits"]:
        each.pop("cost")
        each.pop("versions")
    return {"exit": done.exit_code, "audits": content["audits"]}


class TestReading:
    @pytest.mark.parametrize(
        "options",
        [{}, {"gray": True}, {"size": 4}, {"limit": 5}, {"mean": (0.5, 0.4, 0.3), "std": (0.2,), "limit": 7}],
    )
    @pytest.mark.parametrize("kind", ["a.parquet", "a.tar", "folder", "classes"])
    def test_samples_are_those_of_the_whole(self, tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
        place = tmp_path / kind
        if kind == "a.parquet":
            image_table(place)
        elif kind == "a.tar":
            image_shard(place)
        else:
            for number, each in enumerate(pixels()):
                under = place / f"{number % 3}" if kind == "classes" else place
                under.mkdir(parents=True, exist_ok=True)
                Picture.fromarray(each).save(under / f"{number:02}.png")
        whole = load_data(str(place), **options)
        read = reading(str(place), grids=(2,), **options)
        assert len(read) == len(whole.inputs)
        order = [*range(1, len(read)), 0]
        some = read(order)
        assert some.inputs.equal(whole.inputs[order])
        assert (some.targets is None) == (whole.targets is None) == (kind == "folder")
        if whole.targets is not None and some.targets is not None:
            assert some.targets.equal(whole.targets[order])
        assert [*some.places] == order
        assert not some.bad

    def test_clouds_with_kinds(self, tmp_path: Path) -> None:
        positions = [[[0.0, 1.0]], [[2.0, 3.0]], [[float("nan"), 3.0]], [[2.0, 3.0], [4.0, 5.0]]]
        place = table(tmp_path / "a.parquet", positions=positions, species=[[6], [8], [1], [1, 1]])
        found = reading(str(place), grids=(0, None))(range(4))
        assert found.inputs[0].tolist() == [[[0, 1]], [[2, 3]]]
        assert found.inputs[1].tolist() == [[6], [8]]
        assert [*found.places] == [0, 1]
        assert [name for name, _ in found.bad] == ["a.parquet[2]", "a.parquet[3]"]
        assert ["NaN" in why for _, why in found.bad] == [True, False]

    def test_what_cannot_be_read_in_chunks(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.zeros((4, 3, 8, 8)))
        with pytest.raises(SymmetryError, match="read whole"):
            reading(str(tmp_path / "a.npy"), grids=(2,))
        place = table(tmp_path / "a.parquet", image=[b"no image"] * 3)
        with pytest.raises(
            SymmetryError, match=r"no sample can be read\n  got: +3 samples; the first: a sample cannot"
        ):
            reading(str(place), grids=(2,))


@pytest.mark.parametrize("words", [[], ["--frame", "average"], ["--no-targets", "--limit", "13"]])
def test_the_audit_is_that_of_all_at_once(place: Path, words: list[str]) -> None:
    image_table(place / "images.parquet", 24)
    if "--no-targets" not in words:
        # Two classes, as the model has.
        table(place / "images.parquet", image=[png(each) for each in pixels(24)], label=[n % 2 for n in range(24)])
    whole = told(place, "corner", *words, data="images.parquet")
    assert told(place, "corner", *words, "--workers", "1", data="images.parquet") == whole
    assert told(place, "corner", *words, "--resume", "kept", data="images.parquet") == whole
    assert (whole["audits"][0]["metric"] is None) == ("--no-targets" in words)


def test_workers_resume_and_bad_samples(place: Path) -> None:
    """One torn image: the others are audited, by two processes, and once more from what was kept."""
    torn = [png(each) for each in pixels(12)]
    good = table(place / "good.parquet", image=[each for n, each in enumerate(torn) if n != 5])
    torn[5] = torn[5][:40]
    table(place / "images.parquet", image=torn)
    words = ["--workers", "2", "--resume", "kept"]
    first = told(place, "corner", *words, data="images.parquet")
    assert first["exit"] == 1
    assert first["audits"][0]["samples"] == 11
    before = {path.name: path.read_bytes() for path in (place / "kept" / "model").iterdir()}
    assert [line["bad"][0][0] for line in json.loads(before["_manifest.json"])["chunks"]] == ["images.parquet[5]"]
    done = audit(place, "corner", "--batch-size", "8", *words, data="images.parquet")
    assert done.exit_code == 1
    assert "bad: images.parquet[5]: " in done.output
    assert "1 of 12 samples" in done.output
    assert {path.name: path.read_bytes() for path in (place / "kept" / "model").iterdir()} == before
    plain = told(place, "corner", data=str(good))
    for name in ("samples", "error", "certificate", "verdict"):
        assert first["audits"][0][name] == plain["audits"][0][name]


def test_other_data_are_refused(place: Path) -> None:
    image_table(place / "images.parquet", 9)
    assert audit(place, "mean", "--resume", "kept", data="images.parquet").exit_code in (0, 3)
    image_table(place / "images.parquet", FEW)
    done = audit(place, "mean", "--resume", "kept", data="images.parquet")
    assert done.exit_code == 2
    assert "of other settings, or of other data" in done.output
    assert "input files: 1 file (images.parquet), " in done.output
    assert " then, 1 file (images.parquet), " in done.output


@pytest.mark.parametrize(("words", "what"), [(["--engine", "dask"], "no engine"), (["--address", "x"], "is for Ray")])
def test_a_wrong_engine_is_told(place: Path, words: list[str], what: str) -> None:
    done = audit(place, "mean", *words)
    assert done.exit_code == 2
    assert what in done.output
    assert "--resume" in run("audit", "--help").output
