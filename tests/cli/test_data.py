"""Images and arrays: their scale, their selection, and files that are damaged or too large."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_runs import audit
from PIL import Image as Picture

from canonize import SymmetryError
from canonize.cli import data as reading
from canonize.cli.data import load_data
from canonize.cli.listing import spread


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


DEEP = np.array([[0, 16_384, 65_535], [1, 32_768, 40_000]], dtype=np.uint16)


@pytest.mark.parametrize(
    ("suffix", "kind"), [("png", np.uint16), ("tif", np.uint16), ("tif", np.int32), ("pgm", np.uint16)]
)
def test_images_of_16_bits_are_scaled_and_not_clipped(folder: Path, suffix: str, kind: type) -> None:
    Picture.fromarray(DEEP.astype(kind)).save(folder / f"a.{suffix}")
    gray = load_data(str(folder), gray=True).inputs
    torch.testing.assert_close(gray[0, 0], torch.from_numpy(DEEP.astype(np.float32) / 65535))
    assert torch.equal(load_data(str(folder)).inputs, gray.expand(1, 3, 2, 3))


def test_scaled_images_of_16_bits_stay_in_their_range(folder: Path) -> None:
    steps = np.zeros((9, 9), dtype=np.uint16)
    steps[:, 4:] = 65535
    Picture.fromarray(steps).save(folder / "a.png")
    found = load_data(str(folder), size=31).inputs
    assert found.shape == (1, 3, 31, 31)
    assert found.min() == 0
    assert found.max() == 1


@pytest.mark.parametrize(
    ("pixels", "what"),
    [
        (np.ones((2, 3), dtype=np.float32), "floating-point numbers"),
        (np.array([[0, 70_000]], dtype=np.int32), "32-bit integers"),
        (np.array([[0, -1]], dtype=np.int32), "32-bit integers"),
    ],
)
def test_pixels_without_a_known_range_are_refused(folder: Path, pixels: np.ndarray, what: str) -> None:
    Picture.fromarray(pixels).save(folder / "a.tif")
    with pytest.raises(
        SymmetryError, match=rf"^the pixels of an image have no known range\n  got:      .*a\.tif: {what}"
    ):
        load_data(str(folder))


@pytest.mark.parametrize(("orientation", "turned"), [(1, 0), (3, 2), (6, 3), (8, 1)])
@pytest.mark.parametrize("deep", [False, True])
def test_the_orientation_of_a_photograph_is_honoured(folder: Path, orientation: int, turned: int, deep: bool) -> None:
    exif = Picture.Exif()
    exif[0x0112] = orientation
    values = DEEP if deep else (DEEP // 257).astype(np.uint8)
    Picture.fromarray(values).save(folder / "a.png", exif=exif)
    expected = np.rot90(values, turned).astype(np.float32) / (65535 if deep else 255)
    torch.testing.assert_close(load_data(str(folder), gray=True).inputs[0, 0], torch.from_numpy(expected.copy()))


@pytest.mark.parametrize("error", [ValueError("planted"), SyntaxError("planted"), EOFError()])
def test_whatever_a_reader_raises_names_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    Picture.new("RGB", (3, 3)).save(folder / "a.png")
    monkeypatch.setattr(Picture, "open", broken)
    with pytest.raises(SymmetryError, match=r"^an image cannot be read\n  got:      .*a\.png: (planted|EOFError)\n"):
        load_data(str(folder))


@pytest.mark.parametrize(("name", "place"), [("a.png", 11), ("a.ppm", 4)])
def test_a_damaged_header_is_told_in_words(folder: Path, name: str, place: int) -> None:
    Picture.new("RGB", (30, 30), "red").save(folder / name)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:place] + b"\0" + whole[place + 1 :])
    with pytest.raises(SymmetryError, match=rf"^an image cannot be read\n  got:      .*{name}: ") as refused:
        load_data(str(folder))
    # Pillow raises this and no OSError, which a reader of images would expect.
    assert isinstance(refused.value.__cause__, ValueError)


@pytest.mark.parametrize(("kind", "most"), [(np.uint8, 255), (np.uint16, 65535)])
def test_arrays_of_integers_have_the_scale_of_image_folders(folder: Path, kind: type, most: int) -> None:
    values = np.arange(0, 2 * 3 * 4 * 4).reshape(2, 3, 4, 4).astype(kind)
    np.savez(folder / "a.npz", inputs=values)
    found = load_data(str(folder / "a.npz")).inputs
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.from_numpy(values.astype(np.float32)) / most)
    # What is no image is no colour either.
    assert torch.equal(load_data(str(folder / "a.npz"), grids=(0,)).inputs, torch.from_numpy(values.astype(np.float32)))
    half = load_data(str(folder / "a.npz"), limit=1).inputs
    assert torch.equal(half, found[spread(1, 2, 0)])


def test_an_image_and_its_array_are_equal(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    (folder / "images").mkdir()
    Picture.fromarray(pixels).save(folder / "images" / "a.png")
    np.save(folder / "a.npy", pixels.transpose(2, 0, 1)[None])
    assert torch.equal(load_data(str(folder / "images")).inputs, load_data(str(folder / "a.npy")).inputs)


def test_arrays_of_floats_are_taken_as_they_are(folder: Path) -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32) * 200
    np.save(folder / "a.npy", values)
    assert torch.equal(load_data(str(folder / "a.npy")).inputs, torch.from_numpy(values))


def test_each_argument_has_its_own_scale(folder: Path) -> None:
    whole = torch.full((4, 1, 2, 2), 255, dtype=torch.uint8)
    kinds = torch.tensor([3, 1, 2, 0], dtype=torch.uint8)
    shared = torch.ones(3)
    torch.save({"x": (whole, kinds, shared)}, folder / "a.pt")
    images, left, still = load_data(str(folder / "a.pt"), grids=(2, 0, None), limit=2, mean=(0.5,), std=(0.25,)).inputs
    assert torch.equal(images, torch.full((2, 1, 2, 2), 2.0))
    assert torch.equal(left, kinds[spread(2, 4, 0)])
    assert torch.equal(still, shared)


def test_mean_and_deviation_by_channel(folder: Path) -> None:
    values = torch.rand(2, 3, 4, 4)
    np.save(folder / "a.npy", values.numpy())
    where = str(folder / "a.npy")
    mean, std = (0.1, 0.2, 0.3), (1.0, 2.0, 4.0)
    naive = torch.stack([(values[:, c] - mean[c]) / std[c] for c in range(3)], 1)
    assert torch.equal(load_data(where, mean=mean, std=std).inputs, naive)
    assert torch.equal(load_data(where, mean=(0.5,)).inputs, values - 0.5)
    np.save(folder / "flat.npy", values[:, 0].numpy())
    assert torch.equal(load_data(str(folder / "flat.npy"), std=(0.5,)).inputs, values[:, 0] * 2)
    for name, numbers in (("a.npy", "3, one for each channel"), ("flat.npy", "one number\n")):
        with pytest.raises(SymmetryError, match=rf"^--mean does not fit the channels\n(.|\n)*{numbers}"):
            load_data(str(folder / name), mean=(0.1, 0.2))
    np.save(folder / "volume.npy", torch.rand(2, 2, 3, 3, 3).numpy())
    assert load_data(str(folder / "volume.npy"), grids=(3,), mean=(0.1, 0.2)).inputs.shape == (2, 2, 3, 3, 3)
    with pytest.raises(SymmetryError, match=r"^a mean and a deviation are for images"):
        load_data(where, grids=(0,), mean=(0.5,))


def test_mean_and_deviation_reach_the_model(place: Path) -> None:
    found = audit(place, "bright", "--mean", "-2,-2,-2", "--std", "0.5")
    assert found.exit_code == 0, found.output
    assert "AssertionError: too dark" in audit(place, "bright").output


@pytest.mark.parametrize("name", ["a.npz", "a.pt"])
def test_a_limit_takes_an_even_spread_of_sorted_arrays(folder: Path, name: str) -> None:
    x, y = torch.arange(60.0).reshape(60, 1), torch.arange(60) // 20
    if name == "a.npz":
        np.savez(folder / name, x=x.numpy(), y=y.numpy())
    else:
        torch.save({"x": x, "y": y}, folder / name)
    found = load_data(str(folder / name), limit=6)
    assert found.targets is not None
    assert found.targets.tolist() == [0, 0, 1, 1, 2, 2]
    assert [int(value) // 10 for value in found.inputs[:, 0]] == [0, 1, 2, 3, 4, 5]
    assert (found.inputs[:, 0] // 20).equal(found.targets.float())
    assert len(load_data(str(folder / name), limit=100).inputs) == 60


def test_targets_must_be_as_many_as_inputs(folder: Path) -> None:
    np.savez(folder / "a.npz", x=np.zeros((4, 1)), y=np.zeros(5))
    with pytest.raises(SymmetryError, match=r"^inputs and targets differ in number\n  got:      4 inputs, 5 targets"):
        load_data(str(folder / "a.npz"))


@pytest.mark.parametrize("key", ["x", "y"])
def test_words_are_no_numbers(folder: Path, key: str) -> None:
    np.savez(folder / "a.npz", **{"x": np.zeros(2), "y": np.zeros(2), key: np.array(["cat", "dog"])})
    name = "inputs" if key == "x" else "y"
    with pytest.raises(SymmetryError, match=f"^the entry '{name}' holds no numbers that torch knows"):
        load_data(str(folder / "a.npz"))


def test_entries_that_are_not_used_are_not_unpacked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(folder / "a.npz", x=np.ones(3), padding=np.zeros(100_000), y=np.ones(3))
    read: list[str] = []
    opened = zipfile.ZipFile.open
    monkeypatch.setattr(
        zipfile.ZipFile,
        "open",
        lambda self, name, *rest, **more: (read.append(str(name)), opened(self, name, *rest, **more))[1],
    )
    monkeypatch.setattr(reading, "LARGEST", 10_000)
    assert load_data(str(folder / "a.npz")).inputs.tolist() == [1, 1, 1]
    assert not any("padding" in name for name in read)
    assert any("x.npy" in name for name in read)


@pytest.mark.parametrize("name", ["a.npz", "a.pt"])
def test_archives_that_unpack_to_too_much_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    if name == "a.npz":
        np.savez_compressed(folder / name, x=np.zeros(100_000))
    else:
        torch.save({"x": torch.zeros(200_000)}, folder / name)
    assert len(load_data(str(folder / name)).inputs) >= 100_000
    monkeypatch.setattr(reading, "LARGEST", 10_000)
    with pytest.raises(
        SymmetryError, match=rf"^an entry of this file is too large\n  got:      .* in {name}, 0\.0 GiB"
    ):
        load_data(str(folder / name))
