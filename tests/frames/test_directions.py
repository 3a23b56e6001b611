"""Fields along edges: against their definition as matrices, and what feels the sign of the vectors."""

import pytest
import torch
from eigen_cases import FRUCHT, random_graph

from canonize import CanonicalEigenvectors, SymmetryError
from canonize.frames import directions
from lists import draw

DOUBLE = torch.float64


def fields(a, k=3):
    edges = a.nonzero().T
    weights = torch.ones(edges.shape[1], dtype=DOUBLE)
    found = CanonicalEigenvectors(k + 1).of_graphs(edges, len(a), weights=weights)
    return found.vectors[:, 1:], edges


@pytest.mark.parametrize("a", [FRUCHT, random_graph(11, 4, 0.4)])
def test_the_definition(a):
    vectors, edges = fields(a)
    found, x = directions(vectors, edges, floor=1e-9), draw(len(a), 2)
    average, derivative = found.matrices()
    for k in range(3):
        f = a * (vectors[None, :, k] - vectors[:, k, None])
        unit = f / (f.abs().sum(1, keepdim=True) + 1e-9)
        torch.testing.assert_close(average[k], unit.abs(), rtol=0, atol=1e-12)
        torch.testing.assert_close(derivative[k], unit - torch.diag(unit.sum(1)), rtol=0, atol=1e-12)
        torch.testing.assert_close(found.average(x)[:, k], average[k] @ x, rtol=0, atol=1e-12)
        torch.testing.assert_close(found.derivative(x)[:, k], derivative[k] @ x, rtol=0, atol=1e-12)


def test_averages_and_sizes_of_derivatives_do_not_feel_signs():
    vectors, edges = fields(FRUCHT)
    x, signs = draw(12, 2), torch.tensor([1.0, -1.0, -1.0], dtype=DOUBLE)
    one, other = directions(vectors, edges), directions(vectors * signs, edges)
    assert torch.equal(one.average(x), other.average(x))
    assert torch.equal(one.derivative(x).abs(), other.derivative(x).abs())
    assert torch.equal(one.derivative(x) * signs[:, None], other.derivative(x))
    assert not torch.equal(one.derivative(x), other.derivative(x))


def test_relabelled_copies():
    p = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    x = draw(12, 2)
    one, other = directions(*fields(FRUCHT)), directions(*fields(FRUCHT[p][:, p]))
    torch.testing.assert_close(other.derivative(x[p]), one.derivative(x)[p], rtol=0, atol=1e-9)


def test_constant_vectors_and_no_edges_have_no_field():
    edges = FRUCHT.nonzero().T
    constant = torch.ones(12, 1) / 12**0.5 + 1e-8 * draw(12, 1, dtype=torch.float32)
    assert float(directions(constant, edges).derivative(torch.ones(12, 1)).abs().amax()) < 1e-2
    vectors = torch.ones(3, 2, requires_grad=True)
    bare = directions(vectors, torch.zeros(2, 0, dtype=torch.int64))
    assert bare.average(torch.ones(3, 4)).shape == (3, 2, 4)
    v = torch.ones(12, 1, dtype=DOUBLE, requires_grad=True)
    (grad,) = torch.autograd.grad(directions(v, edges).derivative(draw(12, 1)).sum(), v)
    assert bool(grad.isfinite().all())
    spread = draw(12, 2, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: directions(v, edges).derivative(draw(12, 1)), spread)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda e: directions(torch.ones(3), e), "bad vectors"),
        (lambda e: directions(torch.ones(3, 1), e.T), "bad edges"),
        (lambda e: directions(torch.ones(3, 1), e + 2), r"not there[\s\S]*nodes 2 to 3"),
        (lambda e: directions(torch.ones(3, 1), e, floor=0.0), "bad floor"),
        (lambda e: directions(torch.ones(3, 1), e, floor=float("nan")), "bad floor"),
        (lambda e: directions(torch.ones(3, 1), e).average(torch.ones(4, 2)), "bad features"),
    ],
)
def test_refused(call, words):
    with pytest.raises(SymmetryError, match=words):
        call(torch.tensor([[0, 1, 0], [1, 0, 1]]))
