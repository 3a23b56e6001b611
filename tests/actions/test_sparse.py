"""Sparse adjacency matrices, which move as dense ones do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from canonize import CanonicalOrder, Nodes, Pairs, S, Scalar, Symmetry, SymmetryError, audit, symmetrize
from canonize.actions.trees import repeat, take
from relabelled_graphs import petersen, ring

LAYOUTS = [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc]
pytestmark = pytest.mark.filterwarnings("ignore:Sparse (CSR|CSC) tensor support is in beta")


def matrices() -> Tensor:
    """Weighted graphs with as many edges each, which is what batches of rows need."""
    base = petersen().double()
    weights = torch.rand(10, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.stack([base, base * (1 + weights), base.roll(1, 0).roll(1, 1)])


def dense(x: Tensor) -> Tensor:
    return x.to_dense() if x.layout != torch.strided else x


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_moved_as_dense(layout: torch.layout) -> None:
    x = matrices()
    sparse = x.to_sparse(layout=layout)
    g = S(10).sample(3, generator=torch.Generator().manual_seed(1))
    moved = Pairs()(g, sparse)
    assert moved.layout == layout
    assert torch.equal(dense(moved), Pairs()(g, x))
    assert torch.equal(dense(sparse), x)
    assert torch.equal(dense(Pairs()(S(10).inverse(g), moved)), x)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_taken_and_repeated_as_dense(layout: torch.layout) -> None:
    x = matrices()
    sparse = x.to_sparse(layout=layout)
    assert torch.equal(dense(take(Pairs(), sparse, torch.tensor([2, 0, 0]))), x[[2, 0, 0]])
    assert torch.equal(dense(repeat(Pairs(), sparse, 2)), torch.cat([x, x]))


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_canonical_order(layout: torch.layout) -> None:
    claim = Symmetry(S(), Pairs(), {"node": Nodes(), "graph": Scalar()})

    def model(a: Tensor) -> dict[str, Tensor]:
        a = dense(a)
        rows = torch.sin(a @ torch.arange(10.0, dtype=a.dtype)[:, None])
        return {"node": rows, "graph": (rows * torch.arange(10)[:, None]).sum(1)}

    exact = symmetrize(model, claim, CanonicalOrder())
    x = matrices()
    wanted = exact(x)
    made = exact(x.to_sparse(layout=layout))
    assert torch.equal(made["graph"], wanted["graph"])
    g = S(10).sample(3, generator=torch.Generator().manual_seed(2))
    turned = exact(Pairs()(g, x.to_sparse(layout=layout)))
    assert torch.allclose(turned["graph"], wanted["graph"], atol=1e-12)
    assert torch.allclose(turned["node"], Nodes()(g, wanted["node"]), atol=1e-12)


def test_an_entry_stored_as_zero_is_no_edge() -> None:
    x = ring(4)[None].to_sparse()
    with_zero = torch.sparse_coo_tensor(
        torch.cat([x.indices(), torch.tensor([[0], [0], [2]])], 1),
        torch.cat([x.values(), torch.zeros(1)]),
        x.shape,
        check_invariants=True,
    )
    claim = Symmetry(S(), Pairs(), Scalar())
    assert torch.equal(CanonicalOrder()(claim, with_zero).elements, CanonicalOrder()(claim, x).elements)


def test_an_audit() -> None:
    claim = Symmetry(S(), Pairs(), Scalar())
    x = matrices()[torch.arange(30) % 3].to_sparse()
    exact = symmetrize(lambda a: dense(a).flatten(1).cumsum(1)[:, ::7], claim, CanonicalOrder())
    assert audit(exact, claim, x, elements=4, cost=False).verdict == "pass"


def test_refused() -> None:
    g = S(10).sample(3, generator=torch.Generator().manual_seed(1))
    for wrong in (matrices()[0].to_sparse(), matrices()[:2].to_sparse(), matrices().to_sparse(2)):
        with pytest.raises(SymmetryError, match="do not fit the permutations"):
            Pairs()(g, wrong)
