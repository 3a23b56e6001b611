"""Graphs of PyG whose nodes are numbered anew: any network behind canonical order does not care."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("torch_geometric", reason="torch-geometric is not installed")

from torch_geometric.data import Batch, Data
from torch_geometric.nn import GINConv, global_add_pool

from canonize import (
    PCA,
    CanonicalOrder,
    Chain,
    E,
    Edges,
    Factor,
    Index,
    LawError,
    Nested,
    Nodes,
    Offsets,
    Point,
    Product,
    Rows,
    S,
    Scalar,
    Symmetry,
    SymmetryError,
    Vector,
    audit,
    default_frame,
    symmetrize,
)
from canonize.integrations.pyg import pyg_relabelled
from canonize.testing import assert_equivariant
from relabelled_graphs import petersen, ring, star


class Placed(torch.nn.Module):
    """Message passing with the place of each node among its features: it tells everything apart, and minds the numbering."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = GINConv(torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4)))

    def forward(self, data: Batch) -> dict[str, Tensor]:
        place = torch.arange(data.num_nodes) - data.ptr[data.batch]
        x = torch.cat([data.x, torch.sin(place)[:, None].to(data.x), torch.cos(place)[:, None].to(data.x)], 1)
        node = self.conv(x, data.edge_index)
        return {"node": node, "graph": global_add_pool(node.sin(), data.batch, size=data.num_graphs)}


def graphs(*matrices: Tensor) -> Batch:
    return Batch.from_data_list(
        [Data(x=torch.ones(len(a), 1, dtype=torch.float64), edge_index=a.nonzero().T) for a in matrices]
    )


OUT = {"node": Rows(Nodes()), "graph": Scalar()}


def test_a_network_with_places() -> None:
    batch = graphs(ring(6), star(5), petersen(), torch.zeros(1, 1), torch.block_diag(ring(3), ring(4)))
    claim, model = Symmetry(S(), pyg_relabelled(batch), OUT), Placed().double()
    assert default_frame(claim) == CanonicalOrder()
    exact = symmetrize(model, claim, CanonicalOrder())
    assert_equivariant(exact, claim, batch, tolerance=1e-12)
    with pytest.raises(LawError):
        assert_equivariant(model, claim, batch, tolerance=1e-3)
    made = exact(batch)["node"]
    assert len(made[:6].unique(dim=0)) == 1
    assert len(made[6:11].unique(dim=0)) == 2
    found = audit(exact, claim, batch, elements=16, cost=False)
    assert found.error.max < 1e-12


def test_fields() -> None:
    data = Data(
        x=torch.randn(4, 3), pos=torch.randn(4, 3), edge_index=torch.tensor([[0, 1], [1, 2]]), edge_attr=torch.randn(2, 3),
        y=torch.randn(1),
    )  # fmt: skip
    assert pyg_relabelled(data).parts == {
        "x": Rows(Nodes()),
        "pos": Rows(Nodes()),
        "edge_index": Edges(Nodes()),
        "edge_attr": Rows(Scalar(), edges=True),
        "y": Scalar(),
        "batch": Index(),
        "ptr": Offsets(),
    }
    first = Factor(0, Nodes())
    assert pyg_relabelled(data, beside=True, x=Scalar(), edge_attr=Vector()).parts == {
        "x": Rows(first),
        "pos": Rows(Chain(first, Factor(1, Point()))),
        "edge_index": Edges(first),
        "edge_attr": Rows(Factor(1, Vector()), edges=True),
        "y": Scalar(),
        "batch": Index(),
        "ptr": Offsets(),
    }
    with pytest.raises(SymmetryError, match="nobody but you"):
        pyg_relabelled(data, beside=True)
    with pytest.raises(SymmetryError, match="graph of PyG"):
        pyg_relabelled(torch.ones(3))  # type: ignore[arg-type]


def test_molecules_under_both() -> None:
    draw = torch.Generator().manual_seed(0)
    batch = Batch.from_data_list(
        [
            Data(
                z=torch.tensor([8, 1, 1, 6][:n]),
                pos=torch.randn(n, 3, generator=draw, dtype=torch.float64),
                edge_index=star(n).nonzero().T,
            )
            for n in (3, 4, 2)
        ]
    )
    first = Factor(0, Nodes())
    claim = Symmetry(
        Product(S(), E(3)),
        pyg_relabelled(batch, beside=True),
        {"force": Rows(Chain(first, Factor(1, Vector()))), "energy": Scalar()},
    )

    def crooked(data: Any) -> dict[str, Tensor]:
        place = (torch.arange(data.num_nodes) - data.ptr[data.batch])[:, None]
        force = torch.sin(data.pos * (1 + place)) * data.z[:, None] + place
        return {"force": force, "energy": global_add_pool(force.cos(), data.batch, size=data.num_graphs)}

    frame = Nested({1: PCA(signs="ruled"), 0: CanonicalOrder(within="rounding")})
    assert_equivariant(symmetrize(crooked, claim, frame), claim, batch, tolerance=1e-9)
    with pytest.raises(LawError):
        assert_equivariant(crooked, claim, batch, tolerance=1e-3)
