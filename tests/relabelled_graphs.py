"""Graphs of different sizes whose nodes are relabelled: one ragged batch, the same as dense matrices, and models of both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from canonize import Edges, Fields, Index, Nodes, Pairs, Rows, Scalar

RAGGED = Fields(x=Rows(Nodes()), edge_index=Edges(Nodes()), w=Rows(Scalar(), edges=True), batch=Index())
OUT = {"node": Rows(Nodes()), "edge": Rows(Scalar(), edges=True)}
DENSE = (Nodes(), Pairs())


def ring(n: int) -> Tensor:
    """The adjacency matrix of a cycle."""
    unit = torch.eye(n)
    return ((unit.roll(1, 0) + unit.roll(-1, 0)) > 0).float().fill_diagonal_(0) if n > 1 else torch.zeros(n, n)


def star(n: int) -> Tensor:
    """One node joined to all others."""
    found = torch.zeros(n, n)
    found[0, 1:] = found[1:, 0] = 1
    return found


def hypercube(d: int) -> Tensor:
    """2^d nodes, joined where they differ in one bit."""
    number = torch.arange(2**d)
    both = number[:, None] ^ number
    return ((both & (both - 1)) == 0).float().fill_diagonal_(0)


def petersen() -> Tensor:
    """Ten nodes with three neighbours each, all alike."""
    found = torch.zeros(10, 10)
    for i in range(5):
        for a, b in ((i, (i + 1) % 5), (i, i + 5), (i + 5, (i + 2) % 5 + 5)):
            found[a, b] = found[b, a] = 1
    return found


def zoo() -> dict[str, Tensor]:
    """Graphs with many automorphisms, with few, with none; adjacency matrices with weights, directions and loops."""
    draw = torch.Generator().manual_seed(5)
    sparse = (torch.rand(9, 9, generator=draw) < 0.2).float()
    two = torch.block_diag(ring(3), ring(3), ring(4))
    return {
        "ring": ring(8),
        "star": star(7),
        "hypercube": hypercube(4),
        "petersen": petersen(),
        "two triangles and a square": two,
        "complete": torch.ones(7, 7) - torch.eye(7),
        "no edges": torch.zeros(5, 5),
        "directed ring": torch.eye(7).roll(1, 0),
        "weighted star": star(7) * torch.tensor([0, 0.5, 0.5, -1.0, 2, 2, 2]),
        "random directed with loops": sparse,
        "random symmetric": ((sparse + sparse.mT) > 0).float(),
        "one node": torch.zeros(1, 1),
        "one loop": torch.ones(1, 1),
        "no nodes": torch.zeros(0, 0),
    }


def ragged(
    matrices: list[Tensor], *, dtype: torch.dtype = torch.float64, colours: int = 2, seed: int = 0
) -> dict[str, Any]:
    """Matrices as one ragged batch, with whole-number colours of the nodes in floating point."""
    draw = torch.Generator().manual_seed(seed)
    sizes = torch.tensor([len(matrix) for matrix in matrices], dtype=torch.int64)
    starts = sizes.cumsum(0) - sizes
    edges = [matrix.nonzero().T + start for matrix, start in zip(matrices, starts, strict=True)]
    return {
        "x": torch.randint(0, colours, (int(sizes.sum()), 1), generator=draw).to(dtype),
        "edge_index": torch.cat([torch.zeros(2, 0, dtype=torch.int64), *edges], 1),
        "w": torch.cat([torch.zeros(0), *(matrix[matrix != 0] for matrix in matrices)]).to(dtype),
        "batch": torch.arange(len(matrices)).repeat_interleave(sizes),
    }


def crooked(graph: dict[str, Any]) -> dict[str, Tensor]:
    """A model of a ragged batch that minds how nodes are numbered: by place in their sample, in nodes, edges and messages."""
    x, (i, j), w = graph["x"], graph["edge_index"], graph["w"]
    counts = torch.bincount(graph["batch"]) if len(x) else torch.zeros(0, dtype=torch.int64)
    place = (torch.arange(len(x)) - (counts.cumsum(0) - counts)[graph["batch"]]).to(x.dtype)[:, None]
    hidden = torch.sin(x * (1 + place) + torch.cos(3 * place))
    sent = hidden[j] * torch.cos(w[:, None] + place[i] - 2 * place[j])
    node = hidden + torch.zeros_like(hidden).index_add(0, i, sent)
    return {"node": torch.cat([node, node.square()], 1), "edge": torch.sin(sent + place[i] * hidden[j])}


def flat_network(n: int, *, width: int = 3, dtype: torch.dtype = torch.float64) -> Any:
    """A model of dense graphs of n nodes that is nothing but a random network on all numbers in their order."""
    draw = torch.Generator().manual_seed(n)
    inward = torch.randn(n * n + n, 16, generator=draw, dtype=torch.float64).to(dtype)
    outward = torch.randn(16, n * n + n * width + 4, generator=draw, dtype=torch.float64).to(dtype)

    def model(x: Tensor, a: Tensor) -> dict[str, Tensor]:
        hidden = torch.sin(torch.cat([x.flatten(1), a.flatten(1)], 1).to(dtype) @ inward / max(1, n) + 0.3)
        made = torch.sin(hidden @ outward)
        return {
            "pair": made[:, : n * n].reshape(len(x), n, n),
            "node": made[:, n * n : n * n + n * width].reshape(len(x), n, width),
            "graph": made[:, n * n + n * width :],
        }

    return model


DENSE_OUT = {"pair": Pairs(), "node": Nodes(), "graph": Scalar()}
