"""Sets of different sizes in one batch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from canonize import (
    Fields,
    Index,
    LawError,
    Nodes,
    Offsets,
    Rows,
    S,
    Scalar,
    Sorted,
    Symmetry,
    SymmetryError,
    WeightedOrder,
    default_frame,
    symmetrize,
)
from canonize.testing import assert_equivariant, check_frame

SIZES = (4, 1, 0, 6, 3)
CLAIM = Symmetry(
    S(), Fields(x=Rows(Nodes()), kind=Rows(Nodes()), ptr=Offsets()), {"row": Rows(Nodes()), "set": Scalar()}
)
FRAMES = [Sorted(), Sorted("hilbert"), Sorted(within="rounding"), WeightedOrder()]


def sets() -> dict[str, Tensor]:
    """Rows of five sets, one of them empty; equal rows in two of them."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(14, 2, generator=draw, dtype=torch.float64)
    x[1], x[5:11] = x[0], x[5:7].repeat(3, 1)
    kind = torch.ones(14, dtype=torch.int64)
    kind[-1] = 0
    return {"x": x, "kind": kind, "ptr": torch.tensor([0, *SIZES]).cumsum(0)}


def crooked(value: dict[str, Tensor]) -> dict[str, Tensor]:
    """A model that minds the place of each row."""
    starts = value["ptr"][:-1]
    owners = torch.arange(len(starts)).repeat_interleave(value["ptr"].diff())
    place = (torch.arange(len(owners)) - starts[owners]).to(value["x"].dtype)[:, None]
    row = torch.sin(value["x"] * (1 + place) + value["kind"][:, None])
    return {"row": row, "set": torch.zeros(len(starts), 2, dtype=row.dtype).index_add(0, owners, row * place.cos())}


@pytest.mark.parametrize("frame", FRAMES, ids=repr)
def test_laws(frame: Any) -> None:
    check_frame(frame, CLAIM, sets())
    assert_equivariant(symmetrize(crooked, CLAIM, frame), CLAIM, sets(), tolerance=1e-9)
    with pytest.raises(LawError):
        assert_equivariant(crooked, CLAIM, sets(), tolerance=1e-3)


@pytest.mark.parametrize("frame", FRAMES[:3], ids=repr)
def test_each_set_as_if_it_were_alone(frame: Any) -> None:
    value, claim = sets(), Symmetry(S(), (Nodes(), Nodes()), Scalar())
    poses = frame(CLAIM, value)
    for sample, (begin, end) in enumerate(pairwise(value["ptr"].tolist())):
        x, kind = value["x"][begin:end], value["kind"][begin:end]
        alone = frame(claim, (x[None], kind[None])).elements[0, 0]
        together = poses.elements[0, sample, : end - begin]
        assert torch.equal(x[alone], x[together])
        assert torch.equal(kind[alone], kind[together])
        assert torch.equal(poses.elements[0, sample, end - begin :], torch.arange(end - begin, 6))


def test_by_default() -> None:
    assert default_frame(CLAIM) == Sorted()


def test_dense_and_ragged_do_not_mix() -> None:
    claim = Symmetry(S(), {"x": Nodes(), "i": Index()}, Scalar())
    with pytest.raises(SymmetryError, match="Sorted orders sets"):
        Sorted()(claim, {"x": torch.ones(2, 3), "i": torch.tensor([0, 1])})


def test_many_equal_rows_in_half_precision() -> None:
    frame = Sorted()
    exact = symmetrize(torch.nn.Identity(), Symmetry(S(), Nodes(), Nodes()), frame)
    assert torch.equal(exact(torch.ones(1, 70_000, 1).half()), torch.ones(1, 70_000, 1).half())
