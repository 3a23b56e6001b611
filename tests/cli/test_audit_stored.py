"""`canonize audit` on tables and shards: the same inputs and targets as from a folder of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from cli_runs import audit
from PIL import Image as Picture

from canonize import SymmetryError
from canonize.cli.data import load_data
from canonize.cli.listing import spread
from stored_cases import FEW, image_shard, image_table, pixels, table

pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pytest.importorskip("webdataset", reason="webdataset is not installed")


def folder(path: Path) -> Path:
    path.mkdir()
    for number, each in enumerate(pixels()):
        Picture.fromarray(each).save(path / f"{number:02}.png")
    return path


@pytest.mark.parametrize(
    "options",
    [{}, {"gray": True}, {"size": 4}, {"size": 9, "gray": True}, {"limit": 5}, {"mean": (0.5,), "std": (0.2,)}],
)
def test_images_are_those_of_a_folder(tmp_path: Path, options: dict[str, object]) -> None:
    expected = load_data(str(folder(tmp_path / "images")), **options).inputs  # type: ignore[arg-type]
    for place in (image_table(tmp_path / "a.parquet"), image_shard(tmp_path / "a.tar")):
        told: list[tuple[int, int]] = []
        found = load_data(str(place), report=lambda done, of, told=told: told.append((done, of)), **options)  # type: ignore[arg-type]
        assert torch.equal(found.inputs, expected)
        total = int(options.get("limit", FEW))  # type: ignore[call-overload]
        assert told == [(n + 1, total) for n in range(total)]
        chosen = spread(total, FEW, 0)
        labels = chosen if place.suffix == ".parquet" else [n % 3 for n in chosen]
        assert found.targets is not None
        assert found.targets.tolist() == labels


def test_folders_of_tables_arrays_and_deep_images(tmp_path: Path) -> None:
    place = tmp_path / "all.parquet"
    place.mkdir()
    for number in range(2):
        table(place / f"part-{number}.parquet", x=[[[float(number), 1.0]]] * 3, y=[number] * 3)
    found = load_data(str(place))
    assert found.inputs.shape == (6, 1, 2)
    assert found.targets is not None
    assert found.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert load_data(str(table(tmp_path / "b.parquet", x=[[1.0]], y=[0.5]))).targets is None


def test_points_and_their_kinds(tmp_path: Path) -> None:
    place = table(tmp_path / "a.parquet", positions=[[[0.0, 1.0]], [[2.0, 3.0]]], species=[[6], [8]])
    assert load_data(str(place)).inputs.tolist() == [[[0, 1]], [[2, 3]]]
    both = load_data(str(place), grids=(0, None)).inputs
    assert both[1].tolist() == [[6], [8]]


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"x": [[1.0], [1.0, 2.0]]}, "the samples differ in shape"),
        ({"image": [b"no image"]}, ""),
        ({"edges": [[[0, 1]]]}, "samples of this kind are no inputs of a model"),
    ],
)
def test_what_cannot_be_an_input_is_told(tmp_path: Path, columns: dict[str, object], what: str) -> None:
    with pytest.raises(SymmetryError, match=f"^{what}"):
        load_data(str(table(tmp_path / "a.parquet", **columns)))


def test_the_command(place: Path) -> None:
    image_table(place / "images.parquet", 24)
    found = audit(place, "mean", data="images.parquet")
    assert found.exit_code == 0, found.output
    assert "PASS" in found.output.upper()
    assert audit(place, "corner", data="images.parquet").exit_code == 1
    np.save(place / "a.npy", np.zeros(3))
    assert audit(place, "mean", data="no.parquet").exit_code == 2
