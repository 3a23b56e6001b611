"""Signals under shifts, flips, changes of sign and of scale: groups and frames that images use too."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from canonize import (
    Best,
    Homogeneous,
    Nodes,
    O,
    Scalar,
    Scaling,
    Sized,
    Sorted,
    Symmetry,
    SymmetryError,
    generated_by,
    permutations_by,
    symmetrize,
)
from canonize.testing import assert_equivariant, check_action, check_frame, check_group

N = 12
SHIFTS = permutations_by([torch.arange(N).roll(1)])
BOTH = permutations_by([torch.arange(N).roll(1), torch.arange(N).flip(0)])
FLIP = permutations_by([torch.arange(N).flip(0)])


def signals(dtype: torch.dtype) -> Tensor:
    """Generic, constant, zero, of period three, symmetric, tiny, huge."""
    x = torch.randn(8, 2, N, dtype=dtype)
    x[1], x[2] = 0.5, 0
    x[3] = x[3, :, :3].repeat(1, N // 3)
    x[4] = x[4] + x[4].flip(-1)
    x[5], x[6] = x[5] * 1e-15, x[6] * 1e15
    return x


def net(dtype: torch.dtype) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(2 * N, 16), nn.Tanh(), nn.Linear(16, 3)).to(dtype)


@pytest.mark.parametrize("group", [SHIFTS, BOTH, FLIP, Scaling(), Scaling(spread=2.0)], ids=repr)
def test_the_groups(group: Any) -> None:
    check_group(group)


@pytest.mark.parametrize(
    ("action", "group"),
    [
        (Nodes(axis=-1), BOTH),
        (Nodes(axis=1), BOTH),
        (Homogeneous(), Scaling()),
        (Homogeneous(-2), Scaling()),
        (Homogeneous(3), O(1)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_actions(action: Any, group: Any, dtype: torch.dtype) -> None:
    check_action(action, group, signals(dtype)[[0, 1, 3, 4, 7]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("group", [SHIFTS, BOTH, FLIP], ids=repr)
def test_shifts_and_flips_are_exact_on_every_signal(group: Any, dtype: torch.dtype) -> None:
    x = signals(dtype)
    claim = Symmetry(group, Nodes(axis=-1), Scalar())
    energy = nn.Sequential(nn.Flatten(), nn.Linear(2 * N, 1), nn.Flatten(0)).to(dtype)
    mended = symmetrize(net(dtype), claim, Best(energy)).eval()
    with torch.no_grad():
        expected = mended(x)
        for g in group.elements():
            assert torch.equal(mended(Nodes(axis=-1)(g.expand(len(x), N), x)), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_signs(dtype: torch.dtype) -> None:
    claim = Symmetry(generated_by([[[-1.0]]]), Homogeneous(), Homogeneous(3))
    mended = symmetrize(net(dtype), claim, Best(lambda x: x.sum((1, 2)))).eval()
    x = signals(dtype)
    with torch.no_grad():
        assert torch.equal(mended(-x)[[0, 1, 3, 4]], -mended(x)[[0, 1, 3, 4]])
        # An odd answer to nothing at all is nothing.
        assert float(mended(x)[2].abs().max()) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scale(dtype: torch.dtype) -> None:
    claim = Symmetry(Scaling(), Homogeneous(), Homogeneous(2))
    mended = symmetrize(net(dtype), claim, Sized())
    x = signals(dtype)
    assert_equivariant(mended, claim, x[[0, 1, 3, 4, 5, 6]])
    check_frame(Sized(), claim, x[[0, 1, 3, 4, 7]])
    poses = mended.poses(x)
    assert float(poses.elements[0, 2]) == 1
    assert poses.margin.tolist() == [1, 1, 0, 1, 1, 1, 1, 1]


def test_scale_has_a_gradient() -> None:
    claim = Symmetry(Scaling(), Homogeneous(), Homogeneous(2))
    mended = symmetrize(net(torch.float64), claim, Sized())
    x = signals(torch.float64)[[0, 3, 7]].requires_grad_()
    assert torch.autograd.gradcheck(mended, x)
    zero = torch.zeros(1, 2, N, dtype=torch.float64, requires_grad=True)
    assert bool(torch.autograd.grad(mended(zero).sum(), zero)[0].isfinite().all())


def test_scale_and_shifts_together() -> None:
    """Scale outside, because shifts leave the size as it is; the other way round an energy might choose by the size."""
    x = signals(torch.float64)
    shifts = Symmetry(BOTH, Nodes(axis=-1), Scalar())

    def generic(x: Tensor) -> Tensor:
        return (x * torch.arange(1.0, N + 1, dtype=x.dtype).sin()).exp().sum((1, 2))

    scale = Symmetry(Scaling(), Homogeneous(), Homogeneous())
    mended = symmetrize(symmetrize(net(torch.float64), shifts, Best(generic)), scale, Sized())
    assert_equivariant(mended, shifts, x[[0, 1, 3, 4, 7]])
    assert_equivariant(mended, scale, x[[0, 1, 3, 4, 7]])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: permutations_by([[0, 0, 1]]), "each of 0 to n - 1 once"),
        (lambda: permutations_by([]), "needs permutations"),
        (
            lambda: permutations_by([[1, 2, 3, 4, 5, 6, 7, 0], [1, 0, 2, 3, 4, 5, 6, 7]], limit=100),
            "more than 100 products",
        ),
        (lambda: Scaling(spread=0), "bad spread"),
        (lambda: Homogeneous(0.5), "bad degree"),
        (lambda: Homogeneous()(torch.ones(2, 1, 1), torch.ones(2, 3).long()), "fractions"),
        (lambda: Sized()(Symmetry(SHIFTS, Nodes(axis=-1), Scalar()), torch.ones(2, 1, N)), "a frame for scaling"),
        (
            lambda: Sized(lambda x: x.mean(2))(Symmetry(Scaling(), Homogeneous(), Scalar()), torch.ones(2, 1, N)),
            r"\(2,\)",
        ),
        (
            lambda: Sized(lambda x: -x.sum((1, 2)))(Symmetry(Scaling(), Homogeneous(), Scalar()), torch.ones(2, 1, N)),
            "no size",
        ),
        (lambda: Nodes(axis=4)(BOTH.sample(2), torch.ones(2, 1, N)), "no such axis"),
        (lambda: Sorted()(Symmetry(BOTH, Nodes(axis=-1), Scalar()), torch.ones(2, 1, N)), "Sorted orders sets"),
    ],
)
def test_refusals(make: Any, words: str) -> None:
    with pytest.raises(SymmetryError, match=words):
        make()


def test_a_measure_that_changes_its_input_harms_nobody() -> None:
    x = torch.randn(3, 2, N)
    kept = x.clone()
    symmetrize(
        net(torch.float32), Symmetry(Scaling(), Homogeneous(), Scalar()), Sized(lambda x: x.abs_().amax((1, 2)))
    )(x)
    assert torch.equal(x, kept)
