"""Frames of products: molecules under relabelling and rotation at once, seen by any network."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from canonize import (
    PCA,
    SE,
    Average,
    Best,
    C,
    CanonicalOrder,
    Chain,
    E,
    Edges,
    Factor,
    Fields,
    Image,
    Index,
    LawError,
    Nested,
    Nodes,
    O,
    Point,
    Product,
    Rows,
    S,
    Scalar,
    Sorted,
    Symmetry,
    SymmetryError,
    Vector,
    Weighted,
    default_frame,
    symmetrize,
)
from canonize.testing import assert_equivariant, check_frame
from zoo import member

BOTH = Chain(Factor(0, Nodes()), Factor(1, Point()))
HARD = [
    "empty",
    "one",
    "coincident",
    "duplicates",
    "CH4",
    "benzene",
    "CO2",
    "cube",
    "tiny cube",
    "octahedron",
    "planar",
]
ARROWS = Chain(Factor(0, Nodes()), Factor(1, Vector()))
UPRIGHT = {"PCA": PCA(signs="ruled"), "all signs": PCA(), "Weighted": Weighted()}


def flat(x: Tensor) -> dict[str, Tensor]:
    """A random network on the coordinates in their order."""
    n = x.shape[1] * x.shape[2]
    draw = torch.Generator().manual_seed(n)
    unit = x.abs().amax((1, 2), keepdim=True).clamp(min=1e-300) if n else 1
    hidden = torch.sin((x / unit).flatten(1) @ torch.randn(n, 16, generator=draw, dtype=torch.float64).to(x) + 0.3)
    made = hidden @ torch.randn(16, n + 4, generator=draw, dtype=torch.float64).to(x)
    return {"force": made[:, :n].reshape(x.shape), "energy": made[:, n:]}


OUT = {"force": ARROWS, "energy": Scalar()}


@pytest.mark.parametrize("frame", UPRIGHT.values(), ids=list(UPRIGHT))
@pytest.mark.parametrize("group", [O(3), SE(3), E(3)], ids=repr)
def test_random_clouds(group: Any, frame: Any) -> None:
    x = torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    claim = Symmetry(Product(S(6), group), BOTH, OUT)
    nested = Nested({1: frame, 0: Sorted(within="rounding")})
    check_frame(nested, claim, x)
    assert_equivariant(symmetrize(flat, claim, nested), claim, x, tolerance=1e-9)
    with pytest.raises(LawError):
        assert_equivariant(flat, claim, x, tolerance=1e-3)


@pytest.mark.parametrize("name", HARD)
def test_the_zoo(name: str) -> None:
    x = member(name)[None]
    claim = Symmetry(Product(S(), O(3)), BOTH, OUT)
    upright = symmetrize(flat, claim, Nested({1: Weighted(), 0: Sorted(within="rounding")}))
    assert_equivariant(upright, claim, x, tolerance=1e-7, count=3)


def test_graphs_with_positions() -> None:
    spec = Fields(
        z=Rows(Factor(0, Nodes())),
        pos=Rows(BOTH),
        edge_index=Edges(Factor(0, Nodes())),
        batch=Index(),
    )
    claim = Symmetry(Product(S(), E(3)), spec, {"force": Rows(ARROWS), "edge": Rows(Scalar(), edges=True)})
    draw = torch.Generator().manual_seed(0)
    sizes = [4, 1, 3]
    value = {
        "z": torch.tensor([1, 1, 6, 8, 2, 1, 1, 8]),
        "pos": torch.randn(sum(sizes), 3, generator=draw, dtype=torch.float64),
        "edge_index": torch.tensor([[0, 1, 2, 3, 5, 7], [1, 2, 3, 0, 6, 6]]),
        "batch": torch.arange(3).repeat_interleave(torch.tensor(sizes)),
    }

    def crooked(graph: dict[str, Any]) -> dict[str, Tensor]:
        place = torch.arange(len(graph["z"])).to(graph["pos"])[:, None]
        own = torch.bincount(graph["batch"])
        place = place - (own.cumsum(0) - own)[graph["batch"]][:, None]
        i, j = graph["edge_index"]
        pull = torch.sin(graph["pos"] * (place + 1)) + graph["z"][:, None]
        return {"force": pull, "edge": (pull[i] * pull[j]).sum(1) + place[i, 0]}

    upright = symmetrize(crooked, claim, Nested({1: PCA(signs="ruled"), 0: CanonicalOrder(within="rounding")}))
    assert_equivariant(upright, claim, value, tolerance=1e-9)
    with pytest.raises(LawError):
        assert_equivariant(crooked, claim, value, tolerance=1e-3)


class PerImage:
    """Turns each image of a set."""

    def __call__(self, g: Tensor, value: Tensor) -> Tensor:
        flat = value.flatten(0, 1)
        return Image()(g.repeat_interleave(value.shape[1], 0), flat).reshape(value.shape)


def test_stabilizers_of_both_factors() -> None:
    # A set of equal images, symmetric under some quarter turns: both factors leave something undecided.
    image = torch.eye(4, dtype=torch.float64)
    x = torch.stack([image, image, image.flip(0) * 2])[None, :, None]
    both = Chain(Factor(0, Nodes()), Factor(1, PerImage()))
    claim = Symmetry(Product(S(3), C(4)), both, {"map": both, "score": Scalar()})

    def model(value: Tensor) -> dict[str, Tensor]:
        weight = torch.arange(value[0].numel(), dtype=value.dtype).reshape(value.shape[1:]).cos()
        made = torch.sin(value * 3 + weight)
        return {"map": made, "score": (made * weight).flatten(1).sum(1)}

    def energy(value: Tensor) -> Tensor:
        weight = torch.arange(16, dtype=value.dtype).reshape(4, 4).cos()
        return (value * weight).flatten(1).sum(1)

    upright = symmetrize(model, claim, Nested({1: Best(energy), 0: Sorted()}))
    assert_equivariant(upright, claim, x, tolerance=1e-12)
    averaged = symmetrize(model, claim, Nested({1: Average(), 0: Sorted()}))
    assert_equivariant(averaged, claim, x, tolerance=1e-12)
    chunked = symmetrize(model, claim, Nested({1: Average(), 0: Sorted()}), chunk=3)
    assert torch.allclose(chunked(x)["map"], averaged(x)["map"])
    with pytest.raises(LawError):
        assert_equivariant(model, claim, x, tolerance=1e-3)


def test_default() -> None:
    frame = default_frame(Symmetry(Product(S(), O(3)), BOTH, Scalar()))
    assert frame.frames == {1: PCA(signs="ruled"), 0: Sorted(within="rounding")}
    assert list(frame.frames) == [1, 0]


def test_margin_poses_and_copies() -> None:
    x = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    claim = Symmetry(Product(S(), E(3)), BOTH, OUT)
    frame = Nested({1: PCA(), 0: Sorted(within="rounding")})
    poses = frame(claim, x)
    assert poses.count == 8
    assert poses.margin is not None
    assert poses.margin.shape == (4,)
    again = copy.deepcopy(pickle.loads(pickle.dumps(frame)))(claim, x)
    assert torch.equal(again.elements[0], poses.elements[0])
    assert list(Nested({1: Weighted(), 0: Sorted()}).state_dict()) == []
    assert "1: PCA(), 0: Sorted(" in repr(frame)


@pytest.mark.parametrize("frames", [{}, {1: PCA()}, {0: 3}], ids=repr)
def test_refused(frames: Any) -> None:
    with pytest.raises(SymmetryError):
        Nested(frames)


def test_other_groups_are_refused() -> None:
    with pytest.raises(SymmetryError, match="does not fit the group"):
        Nested({0: Sorted()})(Symmetry(S(), Nodes(), Scalar()), torch.zeros(1, 2, 1))


def test_rows_and_columns_of_one_matrix_are_refused() -> None:
    matrix = Chain(Factor(0, Nodes()), Factor(1, Nodes(axis=1)))
    claim = Symmetry(Product(S(4), S(3)), matrix, Scalar())
    for frame in (Nested({0: CanonicalOrder(), 1: CanonicalOrder()}), default_frame(claim)):
        with pytest.raises(SymmetryError, match="two factors move the entries"):
            frame(claim, torch.randn(2, 4, 3))
