"""Frames for clouds in files without code: learned ones with their numbers, others with their options alone."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("safetensors")

from safetensors.torch import load_file, save_file

from canonize import (
    PCA,
    SE,
    SO,
    Centred,
    E,
    Fields,
    Index,
    Keywords,
    Learned,
    O,
    Point,
    Polar,
    Rows,
    Scalar,
    Symmetry,
    SymmetryError,
    Vector,
    Weighted,
    symmetrize,
)
from canonize.integrations.safetensors import load, save
from canonize.nn import EGNN, DeepSets, VectorNeurons
from lists import draw

DOUBLE = torch.float64
POINTS = Symmetry(E(3), Point(), Vector())
NETWORKS: list[Callable[[], nn.Module]] = [
    lambda: VectorNeurons(3),
    lambda: VectorNeurons(3, channels=3, depth=3, unit=2.5, double=False),
    lambda: DeepSets(4, width=5, depth=1),
    lambda: EGNN(3, width=6, depth=2, unit=None),
]
OPTIONS = [
    PCA(),
    PCA(signs="ruled", fallback=None),
    PCA(signs="drawn", fallback=Weighted(width=0.1, flat=0.2, of="pos", weights="mass", marks="z"), marks="z"),
    Weighted(),
    Weighted(width=0.02, marks="kind"),
    Centred(weights="mass"),
    Polar(),
    Polar(of="cell", fallback=None),
]


def model(x: torch.Tensor) -> torch.Tensor:
    return (x * x.new_tensor([1.0, 2.0, 3.0])).sin().sum(1)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE], ids=str)
@pytest.mark.parametrize("number", range(len(NETWORKS)))
def test_a_learned_frame_answers_bit_for_bit(number: int, dtype: torch.dtype, tmp_path: Path) -> None:
    frame = Learned(NETWORKS[number]().to(dtype), fallback=Weighted(width=0.1), scale=0.3)
    mended = symmetrize(model, POINTS, frame).eval()
    x = draw(5, 7, 3, dtype=dtype)
    save(mended, tmp_path)
    state = torch.get_rng_state()
    claim, back = load(tmp_path)
    assert torch.equal(state, torch.get_rng_state())
    assert claim == POINTS
    assert not back.training
    assert torch.equal(symmetrize(model, claim, back)(x), mended(x))
    # Another network says something else: the numbers are those of the file.
    other = Learned(NETWORKS[number]().to(dtype), fallback=Weighted(width=0.1), scale=0.3)
    assert not torch.equal(symmetrize(model, claim, other)(x), mended(x))
    assert (back.scale, back.fallback, back.of) == (frame.scale, frame.fallback, frame.of)


def test_features_and_fields_come_back(tmp_path: Path) -> None:
    claim = Symmetry(SE(3), Keywords(points=Point(), features=Scalar(), fields=Vector()), Scalar())
    frame = Learned(VectorNeurons(2, features=2, fields=1), of="points")

    def lengths(points: Any, features: Any, fields: Any) -> torch.Tensor:
        return (points[..., 0] * features[..., 0] + fields[..., 0, 1]).sin().sum(1)

    mended = symmetrize(lengths, claim, frame).eval()
    x = {"points": draw(3, 6, 3), "features": draw(3, 6, 2, seed=1), "fields": draw(3, 6, 1, 3, seed=2)}
    x = {name: part.float() for name, part in x.items()}
    save(mended, tmp_path)
    assert torch.equal(symmetrize(lengths, *load(tmp_path))(**x), mended(**x))


@pytest.mark.parametrize("frame", OPTIONS, ids=repr)
def test_a_frame_without_numbers_comes_back(frame: Any, tmp_path: Path) -> None:
    mended = symmetrize(model, Symmetry(SO(3), Point(), Vector()), frame)
    paths = save(mended, tmp_path)
    assert load_file(paths[0]) == {}
    claim, back = load(tmp_path)
    assert claim == mended.symmetry
    assert back == frame
    assert type(back) is type(frame)


def test_the_claim_of_a_ragged_batch_behind_its_frame(tmp_path: Path) -> None:
    def ragged(data: dict[str, torch.Tensor]) -> torch.Tensor:
        each = model(data["pos"][:, None])
        return each.new_zeros(int(data["batch"].max()) + 1, 3).index_add(0, data["batch"], each)

    fields = Fields(pos=Rows(Point()), z=Rows(Scalar()), batch=Index())
    value = {"pos": draw(9, 3), "z": torch.arange(9) % 3, "batch": torch.tensor([0] * 4 + [1] * 5)}
    for group in (O(3), E(3)):
        mended = symmetrize(ragged, Symmetry(group, fields, Vector()), Weighted(marks="z"))
        save(mended, tmp_path)
        assert torch.equal(symmetrize(ragged, *load(tmp_path))(value), mended(value))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(symmetrize(model, POINTS, Learned(VectorNeurons(3, channels=2, depth=1))), tmp_path)
    return tmp_path


class Evil:
    """What would leave a trace if a file could run code."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("ran"),)


def changed(folder: Path, path: str, value: Any) -> None:
    told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    *way, last = path.split(".")
    inner = told
    for name in way:
        inner = inner[name]
    inner[last] = value
    (folder / "config.json").write_text(json.dumps(told), encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("frame.scale", -1.0, "frame.scale"),
        ("frame.scale", 0, "Learned: bad scale"),
        ("frame.of", 3, "frame.of"),
        ("frame.of", "x" * 5000, "frame.of"),
        ("frame.fallback", {"class": "os.system"}, "frame.fallback\n  got:      class 'os.system'"),
        ("frame.fallback", {"class": "Polar", "of": None, "fallback": None}, "frame.fallback\n  got:      class Polar"),
        ("frame.fallback.width", 2.0, "frame.fallback"),
        ("frame.fallback.width", True, "frame.fallback.width"),
        ("frame.network", {"class": "PCA"}, "frame.network\n  got:      class 'PCA'"),
        ("frame.network.channels", 4096, "canonizer.safetensors"),
        ("frame.network.channels", 10**9, "frame.network.channels"),
        ("frame.network.depth", 2, "the names differ"),
        ("frame.network.features", 1, "canonizer.safetensors"),
        ("frame.network.unit", "1", "frame.network.unit"),
        ("frame.network.unit", 0, "frame.network"),
        ("frame.network.double", 1, "frame.network.double"),
        (
            "frame",
            {"class": "Weighted", "width": 0.1, "flat": 0.1, "of": None, "weights": None, "marks": None},
            "dtype",
        ),
        ("dtype", None, "dtype"),
    ],
)
def test_a_changed_configuration_is_refused(saved: Path, path: str, value: Any, told: str) -> None:
    changed(saved, path, value)
    with pytest.raises(SymmetryError, match=told):
        load(saved)


def test_a_fallback_within_fallbacks_ends(saved: Path) -> None:
    inner: Any = None
    for _ in range(60):
        inner = {"class": "PCA", "signs": "all", "fallback": inner, "of": None, "weights": None, "marks": None}
    changed(saved, "frame.fallback", inner)
    with pytest.raises(SymmetryError, match=r"frame\.fallback"):
        load(saved)


@pytest.mark.parametrize("name", ["canonizer.safetensors", "config.json"])
def test_a_file_from_a_stranger_runs_nothing(saved: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(saved)
    (saved / name).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(SymmetryError):
        load(saved)
    assert not (saved / "ran").exists()


def test_numbers_beside_a_frame_that_has_none_are_refused(tmp_path: Path) -> None:
    save(symmetrize(model, POINTS, PCA()), tmp_path)
    save_file({"extra": torch.zeros(2)}, tmp_path / "canonizer.safetensors")
    with pytest.raises(SymmetryError, match="the names differ"):
        load(tmp_path)


def test_a_network_of_ones_own_is_refused_by_name(tmp_path: Path) -> None:
    class Own(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :3]

    with pytest.raises(SymmetryError, match=r"plain data: frame\.network\n  got:      object of type Own"):
        save(symmetrize(model, POINTS, Learned(Own())), tmp_path)
    assert not any(tmp_path.iterdir())
