"""The frame of shifts: laws, batches, weights, and what it refuses."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch

from canonize import (
    SE,
    Centred,
    Fields,
    Index,
    Planar,
    Point,
    Rigid,
    Rows,
    Scalar,
    Symmetry,
    SymmetryError,
    Translation,
    Vector,
    default_frame,
    symmetrize,
)
from canonize.errors import LawError
from canonize.testing import assert_equivariant, check_frame
from lists import draw

DOUBLE = torch.float64
RAGGED = Fields(pos=Rows(Point()), mass=Rows(Scalar()), vel=Rows(Vector()), batch=Index(loose=True))


def ragged(dtype: torch.dtype = DOUBLE) -> dict[str, torch.Tensor]:
    return {
        "pos": draw(9, 3, dtype=dtype) + 3,
        "mass": draw(9, dtype=dtype, seed=1).abs(),
        "vel": draw(9, 3, dtype=dtype, seed=2),
        "batch": torch.tensor([1, 0, 0, 1, 1, 2, 1, 0, 2]),
    }


CASES: list[tuple[Any, Symmetry, Any]] = [
    (Centred(), Symmetry(Translation(3), Point(), Point()), draw(4, 5, 3, dtype=DOUBLE)),
    (Centred(), Symmetry(Translation(3), Point(), Scalar()), draw(4, 5, 3)),
    (Centred(), Symmetry(Translation(3), Point(), Vector()), draw(4, 1, 3, dtype=DOUBLE)),
    (Centred(), Symmetry(Translation(1), Point(), Point()), draw(3, 6, 1, dtype=DOUBLE)),
    (Centred(), Symmetry(Translation(2), Planar(Point()), Scalar()), draw(3, 6, 3, dtype=DOUBLE)),
    (Centred(weights="mass"), Symmetry(Translation(3), RAGGED, Scalar()), ragged()),
    (Centred(of="pos"), Symmetry(Translation(3), RAGGED, Scalar()), ragged()),
]


@pytest.mark.parametrize(("frame", "claim", "inputs"), CASES)
def test_it_keeps_the_law(frame: Any, claim: Symmetry, inputs: Any) -> None:
    check_frame(frame, claim, inputs)
    assert frame(claim, inputs).count == 1


def test_an_origin_at_half_the_mean_is_found() -> None:
    def half(symmetry: Symmetry, inputs: Any, *, generator: Any = None) -> Any:
        poses = Centred()(symmetry, inputs)
        return replace(poses, elements=Rigid(poses.elements.linear, poses.elements.shift / 2))

    with pytest.raises(LawError):
        check_frame(half, CASES[0][1], CASES[0][2])


def test_the_origin_is_the_mean_with_weights() -> None:
    value = ragged()
    shift = Centred(weights="mass")(Symmetry(Translation(3), RAGGED, Scalar()), value).elements.shift[0]
    for sample in range(3):
        own = value["batch"] == sample
        mass = value["mass"][own][:, None]
        torch.testing.assert_close(shift[sample], (value["pos"][own] * mass).sum(0) / mass.sum())


def test_it_is_the_default_of_shifts() -> None:
    claim = Symmetry(Translation(3), (Point(), Vector()), Point())
    assert default_frame(claim) == Centred()

    def model(x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return (x * (x + v)).sin()

    x = draw(4, 5, 3, dtype=DOUBLE), draw(4, 5, 3, dtype=DOUBLE, seed=1)
    assert_equivariant(symmetrize(model, claim), claim, x)
    with pytest.raises(SymmetryError):
        assert_equivariant(model, claim, x)
    with pytest.raises(SymmetryError, match="no frame is exact for Translation"):
        default_frame(Symmetry(Translation(3), Vector(), Vector()))


def test_forces_are_the_gradient_and_sum_to_zero() -> None:
    energy = symmetrize(lambda x: x.sin().sum((1, 2)), Symmetry(Translation(3), Point(), Scalar()))
    x = draw(2, 4, 3, dtype=DOUBLE).requires_grad_()
    assert torch.autograd.gradcheck(energy, x)
    assert torch.autograd.gradgradcheck(energy, x)
    (forces,) = torch.autograd.grad(energy(x).sum(), x)
    torch.testing.assert_close(forces.sum(1), torch.zeros(2, 3, dtype=DOUBLE))
    assert forces.abs().max() > 0.1


def test_samples_without_points_and_an_empty_batch() -> None:
    claim = Symmetry(Translation(3), Point(), Scalar())
    assert Centred()(claim, torch.zeros(2, 0, 3)).elements.shift.eq(0).all()
    assert Centred()(claim, torch.zeros(0, 4, 3)).elements.shift.shape == (1, 0, 3)


@pytest.mark.parametrize(
    ("frame", "claim", "inputs", "told"),
    [
        (Centred(), Symmetry(SE(3), Point(), Scalar()), draw(2, 3, 3), "makes no elements of SE"),
        (Centred(), Symmetry(Translation(3), Vector(), Scalar()), draw(2, 3, 3), "finds none in the inputs"),
        (Centred(), Symmetry(Translation(3), Point(), Scalar()), draw(2, 3, 3) * torch.nan, "not finite"),
        (Centred(of="far"), Symmetry(Translation(3), RAGGED, Scalar()), ragged(), "no field 'far'"),
        (Centred(weights="far"), Symmetry(Translation(3), RAGGED, Scalar()), ragged(), "no field 'far'"),
    ],
)
def test_what_it_refuses(frame: Any, claim: Symmetry, inputs: Any, told: str) -> None:
    with pytest.raises(SymmetryError, match=told):
        frame(claim, inputs)


def test_it_is_a_value() -> None:
    frame = Centred(weights="mass")
    assert pickle.loads(pickle.dumps(frame)) == copy.deepcopy(frame) == frame
    assert repr(Centred()) == "Centred()"
