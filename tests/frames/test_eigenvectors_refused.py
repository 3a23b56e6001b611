"""What canonical eigenvectors refuse, and the words."""

import pytest
import torch

from canonize import SymmetryError
from canonize.frames import CanonicalEigenvectors

RULE = CanonicalEigenvectors(2)
EDGES = torch.tensor([[0, 1], [1, 0]])


def bad(**entries):
    a = torch.zeros(2, 3, 3)
    for place, value in entries.items():
        a[tuple(int(c) for c in place[1:])] = value
    return a


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: CanonicalEigenvectors(-1), "bad count"),
        (lambda: CanonicalEigenvectors(True), "bad count"),
        (lambda: CanonicalEigenvectors(fallback="random"), "bad fallback"),
        (lambda: CanonicalEigenvectors(tolerance=1e-9), "bad tolerance"),
        (lambda: CanonicalEigenvectors(tolerance=float("nan")), "bad tolerance"),
        (lambda: RULE(torch.zeros(3, 3)), r"square real matrices[\s\S]*matrix\[None\]"),
        (lambda: RULE(torch.zeros(1, 3, 2)), "square real matrices"),
        (lambda: RULE(torch.zeros(1, 3, 3, dtype=torch.complex64)), "square real matrices"),
        (lambda: RULE(bad(p102=0.5, p112=1.0, p121=1.0)), r"not symmetric[\s\S]*\[0, 2\] of matrix 1: 0.5 one way, 0 the"),
        (lambda: RULE(bad(p001=float("nan"), p010=0.0)), r"matrix entries that are not numbers[\s\S]*nan at \[0, 0, 1\]"),
        (lambda: RULE(bad(p001=float("inf"), p010=float("inf"))), "not numbers"),
        (lambda: RULE(torch.zeros(2, 3, 3), sizes=torch.tensor([3, 4])), r"bad sizes[\s\S]*from 3 to 4"),
        (lambda: RULE(torch.zeros(2, 3, 3), sizes=torch.tensor([3])), "bad sizes"),
        (lambda: RULE(torch.zeros(2, 3, 3), sizes=torch.tensor([-1, 2])), "bad sizes"),
        (lambda: RULE(torch.zeros(2, 3, 3), mask=torch.ones(2, 3)), "bad mask"),
        (lambda: RULE(torch.zeros(2, 3, 3), mask=torch.ones(2, 3) > 0, sizes=torch.tensor([3, 3])), "both"),
        (lambda: RULE(torch.zeros(2, 3, 3), colours=torch.zeros(2, 4)), "colours of the wrong shape"),
        (lambda: RULE(torch.zeros(1, 3, 3), colours=torch.tensor([[0, 1, float("nan")]])), "colours that are not"),
        (lambda: RULE.of_graphs(EDGES.float(), 2), "bad edges"),
        (lambda: RULE.of_graphs(torch.zeros(5, 3, dtype=torch.int64), 2), "bad edges"),
        (lambda: RULE.of_graphs(EDGES - 1, 2), r"not there[\s\S]*nodes -1 to 0"),
        (lambda: RULE.of_graphs(EDGES, 1), r"not there[\s\S]*nodes 0 to 1"),
        (lambda: RULE.of_graphs(EDGES, torch.tensor([1, 1])), r"between two graphs[\s\S]*edge 0 - 1, in graphs \[0, 1\]"),
        (lambda: RULE.of_graphs(EDGES, torch.tensor([3, -1])), "bad sizes"),
        (lambda: RULE.of_graphs(EDGES[:, :1], 2), r"not undirected[\s\S]*edge 0 - 1: 1 one way, 0 the other[\s\S]*flip"),
        (lambda: RULE.of_graphs(EDGES, 2, weights=torch.tensor([1.0, 2.0])), "not undirected"),
        (lambda: RULE.of_graphs(EDGES, 2, weights=torch.tensor([1.0])), "bad weights"),
        (lambda: RULE.of_graphs(EDGES, 2, weights=torch.tensor([1, 1])), "bad weights"),
        (lambda: RULE.of_graphs(EDGES, 2, weights=torch.tensor([1.0, float("nan")])), r"weights that are not[\s\S]*at \[1\]"),
        (lambda: RULE.of_graphs(EDGES, 2, weights=-torch.ones(2)), r"negative weights[\s\S]*weight -1 of edge \[0, 1\]"),
        (lambda: RULE.of_graphs(EDGES, 2, laplacian="normalised"), "no such Laplacian"),
        (lambda: RULE.of_graphs(EDGES, 2, colours=torch.zeros(3)), "colours of the wrong shape"),
    ],
)  # fmt: skip
def test_refused(call, words, unchecked):
    with pytest.raises(SymmetryError, match=words):
        call()


def test_rounding_is_not_asymmetry(unchecked):
    a = torch.randn(1, 5, 5, generator=torch.Generator().manual_seed(0))
    a = a @ torch.diag(torch.arange(5.0)) @ a.mT
    a = (a + a.mT) / 2
    a[0, 0, 1] *= 1 + 2e-7
    assert bool(RULE(a).vectors.isfinite().all())
    RULE.of_graphs(EDGES, 2, weights=-torch.ones(2), laplacian="combinatorial")
