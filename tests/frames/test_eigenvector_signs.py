"""Eigenvectors as inputs of flips: networks on them made exactly invariant to signs, by one choice of signs."""

import torch
from eigen_cases import CASES

from canonize import CanonicalEigenvectors, Flipped, Flips, Scalar, SignRule, Symmetry, symmetrize
from canonize.frames import skewness
from canonize.testing import assert_equivariant
from lists import draw

DOUBLE = torch.float64


def encoder(vectors):
    """Features of a set of nodes that feel signs; no order of nodes."""
    return torch.sin(vectors @ draw(vectors.shape[-1], 4, seed=1) + 0.4).sum(1)


def vectors(name, flips=None):
    found = CanonicalEigenvectors()(CASES[name][None])
    assert bool(found.fixed.all())
    return found.vectors if flips is None else found.vectors * flips


def test_a_network_on_eigenvectors_becomes_invariant_to_signs():
    claim = Symmetry(Flips(12), Flipped(axis=1), Scalar())
    model = symmetrize(encoder, claim, SignRule(skewness))
    x = vectors("frucht")
    assert_equivariant(model, claim, x, tolerance=1e-12)
    g = Flips(12).sample((1,), generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    assert float((encoder(x * g[:, None]) - encoder(x)).abs().amax()) > 1e-2
    p = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model(x[:, p]), model(x), rtol=0, atol=1e-10)
