"""With canonical labels the rule is complete: what it leaves open, an automorphism moves."""

import random

import pytest
import torch
from eigen_cases import CASES, SMALL, fixable, graph, laplacian, mixed_eigh, path

from canonize import CanonicalEigenvectors, SymmetryError

pytest.importorskip("canonaut", reason="canonical labels need canonaut: pip install canonaut")

DOUBLE = torch.float64
REAL = torch.linalg.eigh
EXACT = CanonicalEigenvectors(exact=True)


def latin(n, seed):
    """A random Latin square, row by row."""
    draw, rows = random.Random(seed), []
    while len(rows) < n:
        rows = []
        for _ in range(n):
            left = [[s for s in range(n) if all(row[c] != s for row in rows)] for c in range(n)]
            for _ in range(200):
                row = [draw.choice(each) for each in left]
                if len(set(row)) == n:
                    rows.append(row)
                    break
            else:
                break
    return rows


def latin_graph(n, seed):
    """Strongly regular: cells of a Latin square, joined where they share a row, a column or a symbol."""
    square = latin(n, seed)
    cells = [(r, c, square[r][c]) for r in range(n) for c in range(n)]
    alike = [
        (i, j) for i in range(n * n) for j in range(i) if any(a == b for a, b in zip(cells[i], cells[j], strict=True))
    ]
    return graph(n * n, alike)


LATIN = latin_graph(7, 3)
"""49 nodes, no automorphism: yet sums over nodes, neighbours and pairs are the same at each node."""


@pytest.mark.parametrize("name", [*CASES, "latin"])
def test_vectors_move_with_the_nodes(name, monkeypatch):
    a = LATIN if name == "latin" else CASES[name]
    base = EXACT(a[None])
    # Complete: a column is fixed or known not to be fixable.
    assert torch.equal(base.forced, ~base.fixed)
    for seed in range(5):
        p = torch.randperm(len(a), generator=torch.Generator().manual_seed(seed))
        monkeypatch.setattr(torch.linalg, "eigh", mixed_eigh(REAL, seed))
        moved = EXACT(a[p][:, p][None])
        assert torch.equal(moved.fixed, base.fixed)
        off = (moved.vectors[0] - base.vectors[0][p]).norm(dim=0)[base.fixed[0]]
        assert bool((off <= base.error[0][base.fixed[0]]).all())
        torch.testing.assert_close(moved.vectors[0].square(), base.vectors[0][p].square(), rtol=0, atol=1e-9)


def test_what_the_smooth_rule_leaves_open_of_a_strongly_regular_graph():
    smooth, exact = CanonicalEigenvectors()(LATIN[None]), EXACT(LATIN[None])
    assert int(smooth.fixed.sum()) == 1
    assert not bool(smooth.forced.any())
    assert int(exact.fixed.sum()) == 49
    v = exact.vectors[0]
    torch.testing.assert_close(v.mT @ v, torch.eye(49, dtype=DOUBLE), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", SMALL)
def test_all_that_can_be_fixed_is_fixed(name):
    a = CASES[name]
    found = EXACT(a[None])
    able = fixable(a, found.space[0])
    assert {space: int(found.fixed[0][found.space[0] == space].sum()) for space in able} == able


def test_packed_graphs_weights_and_colours():
    a = path(5)
    edges = a.nonzero().T
    both = torch.cat([edges, edges + 5], 1)
    colours = torch.tensor([0, 0, 0, 0, 0, 1, 0, 0, 0, 0])
    found = EXACT.of_graphs(both, torch.tensor([5, 5]), colours=colours, laplacian="combinatorial")
    assert found.fixed.tolist() == [[True, False, True, False, True], [True] * 5]
    assert found.forced.tolist() == [[False, True, False, True, False], [False] * 5]
    weights = torch.where((edges == 4).any(0), 2.0, 1.0)
    assert bool(EXACT.of_graphs(edges, 5, weights=weights).fixed.all())
    assert "eigenvalue 0.381966: dimension 1, open: an automorphism moves it" in str(EXACT(laplacian(a)[None]))


def test_open_columns_are_refused_with_the_reason():
    with pytest.raises(SymmetryError, match="dimension 1, open: an automorphism moves it"):
        CanonicalEigenvectors(exact=True, fallback="raise")(laplacian(path(4))[None])


def test_a_labelling_that_depends_on_the_order_is_found(monkeypatch):
    """The planted fault: ranks by node number."""
    from canonize.frames import spectra

    monkeypatch.setattr(spectra, "_ranks_of_graphs", lambda sizes, *rest: torch.arange(int(sizes.sum())))
    a = laplacian(path(5))
    p = torch.arange(4, -1, -1)
    base, moved = EXACT(a[None]), EXACT(a[p][:, p][None])
    assert float((moved.vectors[0] - base.vectors[0][p]).abs().amax()) > 0.1
