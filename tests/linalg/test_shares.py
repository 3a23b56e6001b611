"""Shares that fade to zero: their sum, their support, and derivatives, against the definition by bisection."""

import pytest
import torch

from canonize.linalg import fading_shares
from lists import draw

DOUBLE = torch.float64


def naive(scores, width, power=2):
    """The same by bisection of the threshold."""
    z = scores / width
    low, high = z.amax(0) - 1, z.amax(0)
    for _ in range(200):
        middle = (low + high) / 2
        above = (z - middle).clamp(min=0).pow(power).sum(0) > 1
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return (z - high).clamp(min=0).pow(power)


@pytest.mark.parametrize("spread", [1e-3, 0.1, 1.0, 100.0])
@pytest.mark.parametrize("count", [1, 2, 7, 1000])
def test_against_bisection(count, spread):
    scores = spread * draw(count, 6)
    found = fading_shares(scores, 0.3)
    torch.testing.assert_close(found, naive(scores, 0.3), rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(found.sum(0), torch.ones(6, dtype=DOUBLE), rtol=0, atol=1e-14)
    assert (found >= 0).all()


@pytest.mark.parametrize("count", [1, 2, 10, 10_000, 1_000_000])
def test_ties_share_alike(count):
    torch.testing.assert_close(
        fading_shares(torch.full((count, 1), 5.0, dtype=DOUBLE), 0.1),
        torch.full((count, 1), 1 / count, dtype=DOUBLE),
        rtol=1e-9,
        atol=0,
    )


def test_where_a_share_ends():
    scores = torch.tensor([[0.0, 0.0, 0.0], [-0.1, -0.1 * (1 - 1e-6), -torch.inf]], dtype=DOUBLE)
    found = fading_shares(scores, 0.1)
    assert torch.equal(found[:, 0], torch.tensor([1.0, 0.0], dtype=DOUBLE))
    assert found[1, 1] >= 0
    assert found[1, 1] < 1e-9
    assert torch.equal(found[:, 2], torch.tensor([1.0, 0.0], dtype=DOUBLE))


def test_higher_scores_have_larger_shares_and_a_shift_changes_nothing():
    scores = draw(20, 5).sort(0).values
    found = fading_shares(scores, 2.0)
    assert (found.diff(dim=0) >= 0).all()
    torch.testing.assert_close(fading_shares(scores + 3.0, 2.0), found, rtol=0, atol=1e-13)
    torch.testing.assert_close(fading_shares(10 * scores, 20.0), found, rtol=0, atol=1e-13)


def test_no_sample_feels_another():
    scores = draw(9, 4)
    whole = fading_shares(scores, 0.5)
    for i in range(4):
        torch.testing.assert_close(fading_shares(scores[:, i : i + 1], 0.5)[:, 0], whole[:, i], rtol=0, atol=1e-15)
    order = torch.randperm(9)
    torch.testing.assert_close(fading_shares(scores[order], 0.5), whole[order], rtol=0, atol=1e-15)


def test_derivatives():
    scores = (0.1 * draw(5, 3)).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: fading_shares(s, 0.7), scores)
    assert torch.autograd.gradgradcheck(lambda s: fading_shares(s, 0.7), scores)


def test_derivatives_at_ties_and_beside_infinity():
    scores = torch.tensor(
        [[1.0, 0.0, -torch.inf], [1.0, -torch.inf, -torch.inf], [1.0, -1.0, 2.0]], dtype=DOUBLE
    ).requires_grad_()
    found = fading_shares(scores, 0.5)
    grad = torch.autograd.grad(found.square().sum(), scores, create_graph=True)[0]
    second = torch.autograd.grad((grad * draw(3, 3)).sum(), scores)[0]
    assert found.isfinite().all()
    assert grad.isfinite().all()
    assert second.isfinite().all()


def test_continuously_differentiable_where_a_share_ends():
    def grad(gap):
        scores = torch.tensor([[0.0], [-gap]], dtype=DOUBLE).requires_grad_()
        return torch.autograd.grad(fading_shares(scores, 1.0)[1, 0], scores)[0]

    assert (grad(1 - 1e-6) - grad(1 + 1e-6)).abs().amax() < 1e-5
    assert grad(0.5).abs().amax() > 1e-2


def test_a_width_for_each_sample():
    scores, width = draw(6, 3), torch.tensor([0.2, 1.0, 5.0], dtype=DOUBLE)
    found = fading_shares(scores, width)
    for i in range(3):
        torch.testing.assert_close(
            found[:, i], fading_shares(scores[:, i : i + 1], float(width[i]))[:, 0], rtol=0, atol=1e-14
        )
