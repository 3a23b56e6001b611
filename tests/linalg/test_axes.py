"""Axes of matrices and of vectors: against their definition, at ties, and their derivatives to the second order."""

import pytest
import torch

from canonize.linalg import direction, haar_orthogonal, last_axis, left_over, principal_axes
from lists import draw

DOUBLE = torch.float64


def matrices(*values, count=4):
    """Symmetric matrices with these eigenvalues."""
    turn = haar_orthogonal((count,), len(values), special=False, generator=torch.Generator().manual_seed(1))
    return turn @ torch.diag(torch.tensor(values, dtype=DOUBLE)) @ turn.mT


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_principal_axes(d):
    matrix = matrices(*range(1, d + 1))
    vectors, values = principal_axes(matrix, 1e-3)
    torch.testing.assert_close(matrix @ vectors, vectors * values[:, None], rtol=0, atol=1e-13)
    torch.testing.assert_close(vectors.mT @ vectors, torch.eye(d, dtype=DOUBLE).expand_as(matrix), rtol=0, atol=1e-14)
    torch.testing.assert_close(values, torch.arange(d, 0, -1, dtype=DOUBLE).expand(4, d), rtol=0, atol=1e-13)


def test_derivatives_of_axes_where_they_are_known():
    def projector(matrix):
        vectors, values = principal_axes((matrix + matrix.mT) / 2, 1e-3)
        # Signs are arbitrary; what does not feel them has a derivative.
        return vectors[..., :, None, 0] * vectors[..., None, :, 0] + values[..., None]

    matrix = matrices(1.0, 2.0, 4.0, count=2).requires_grad_()
    assert torch.autograd.gradcheck(projector, matrix)
    assert torch.autograd.gradgradcheck(projector, matrix)


@pytest.mark.parametrize(
    "values", [(1.0, 1.0, 1.0), (1.0, 1.0, 2.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0), (1.0, 1.0 + 1e-9, 3.0)]
)
def test_no_derivative_at_ties(values):
    matrix = torch.cat([matrices(*values, count=1), matrices(1.0, 2.0, 4.0, count=1)]).requires_grad_()
    vectors, found = principal_axes(matrix, 1e-3)
    grad = torch.autograd.grad((vectors.pow(3).sum() + found.square().sum()), matrix, create_graph=True)[0]
    second = torch.autograd.grad(grad.square().sum(), matrix)[0]
    assert grad.isfinite().all()
    assert second.isfinite().all()
    assert (grad[0] == 0).all()
    assert (grad[1] != 0).any()


@pytest.mark.parametrize("d", [1, 2, 3, 4, 6])
def test_last_axis(d):
    turn = haar_orthogonal((10,), d, special=False, generator=torch.Generator().manual_seed(2))
    columns = turn[..., :-1]
    last = last_axis(columns)
    whole = torch.cat([columns, last[..., None]], -1)
    torch.testing.assert_close(torch.linalg.det(whole), torch.ones(10, dtype=DOUBLE))
    torch.testing.assert_close(whole.mT @ whole, torch.eye(d, dtype=DOUBLE).expand_as(whole), rtol=0, atol=1e-14)


def test_last_axis_has_a_derivative():
    assert torch.autograd.gradcheck(last_axis, draw(2, 4, 3).requires_grad_())


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_left_over(scale):
    turn = haar_orthogonal((5,), 4, special=False, generator=torch.Generator().manual_seed(3))
    units = list(turn[..., :2].unbind(-1))
    vector = scale * draw(5, 4)
    rest = left_over(vector, units)
    for unit in units:
        assert ((rest * unit).sum(-1).abs() <= 1e-15 * scale).all()
    inside = sum(draw(5, 1, seed=7) * unit for unit in units)
    assert (left_over(inside, units).abs() < 1e-15).all()


def test_direction():
    units = [torch.nn.functional.normalize(draw(6, 3), dim=-1)]
    # Almost along the unit: what is left is tiny, and the result nevertheless orthogonal to it.
    vector = 3 * units[0] + 1e-9 * draw(6, 3, seed=2)
    found = direction(vector, units, 1e-12)
    assert ((found * units[0]).sum(-1).abs() < 1e-15).all()
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(6, dtype=DOUBLE), rtol=0, atol=1e-14)
    assert ((found * left_over(vector, units)).sum(-1) > 0).all()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_direction_of_nothing(count):
    turn = haar_orthogonal((4,), 3, special=False, generator=torch.Generator().manual_seed(4))
    units = list(turn[..., :count].unbind(-1))
    vector = torch.zeros(4, 3, dtype=DOUBLE).requires_grad_()
    found = direction(vector, units, 1e-12)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(4, dtype=DOUBLE), rtol=0, atol=1e-14)
    for unit in units:
        assert ((found * unit).sum(-1).abs() < 1e-15).all()
    assert not found.requires_grad or (torch.autograd.grad(found.pow(3).sum(), vector)[0] == 0).all()


def test_direction_has_derivatives():
    unit = torch.nn.functional.normalize(draw(3, 3), dim=-1)
    vector = draw(3, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: direction(v, [unit], 1e-12), vector)
    assert torch.autograd.gradgradcheck(lambda v: direction(v, [unit], 1e-12), vector)
