"""Graphs of different sizes in one batch, and a model of messages between their nodes."""

from __future__ import annotations

from typing import Any

import torch

from canonize import Edges, Fields, Index, Offsets, Point, Rows, Scalar, Vector
from lists import draw

DOUBLE = torch.float64
GRAPH = Fields(
    pos=Rows(Point()),
    z=Rows(Scalar()),
    batch=Index(),
    ptr=Offsets(),
    edge_index=Edges(),
    length=Rows(Scalar(), edges=True),
    shift=Rows(Vector(), edges=True),
    energy=Scalar(),
)
WITHOUT_OFFSETS = Fields({name: part for name, part in GRAPH.parts.items() if name != "ptr"})
WITHOUT_INDEX = Fields({name: part for name, part in GRAPH.parts.items() if name != "batch"})
OUTPUTS = {
    "energy": Scalar(),
    "force": Rows(Vector()),
    "flow": Rows(Vector(), edges=True),
    "edge_index": Edges(),
    "batch": Index(),
    "ptr": Offsets(),
    "kept": None,
}
SIZES = {
    "full": [3, 2, 4],
    "empty in the middle": [3, 0, 2],
    "empty at the ends": [0, 3, 4, 0, 0],
    "one row each": [1, 1, 1],
    "one sample": [5],
    "all empty": [0, 0],
    "no samples": [],
}


def graphs(sizes: list[int], *, dtype: torch.dtype = DOUBLE, seed: int = 0, edges: bool = True) -> dict[str, Any]:
    """Graphs with these numbers of nodes; edges in any order, of any number; samples of one node have loops or none."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.tensor(sizes, dtype=torch.int64)
    ptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    found = [
        int(start) + torch.randint(size, (2, (2 * size if place % 2 == 0 else size // 2) * edges), generator=generator)
        for place, (start, size) in enumerate(zip(ptr.tolist(), sizes, strict=False))
        if size
    ]
    edge_index = torch.cat([torch.zeros(2, 0, dtype=torch.int64), *found], 1)
    edge_index = edge_index[:, torch.randperm(edge_index.shape[1], generator=generator)]
    total, many = int(ptr[-1]), edge_index.shape[1]
    return {
        "pos": draw(total, 3, dtype=dtype, seed=seed),
        "z": torch.randint(1, 9, (total,), generator=generator),
        "batch": torch.arange(len(sizes)).repeat_interleave(counts),
        "ptr": ptr,
        "edge_index": edge_index,
        "length": draw(many, dtype=dtype, seed=seed + 1).abs(),
        "shift": draw(many, 3, dtype=dtype, seed=seed + 2),
        "energy": draw(len(sizes), 2, dtype=dtype, seed=seed + 3),
    }


def messages(graph: dict[str, Any]) -> dict[str, Any]:
    """Two rounds of messages along the edges; without any symmetry, and it trusts the numbers that it is given."""
    pos, (source, target) = graph["pos"], graph["edge_index"]
    bend = torch.tensor([1.0, 2.0, 3.0], dtype=pos.dtype)
    hidden = (pos * bend + graph["z"][:, None]).sin()
    for _ in range(2):
        sent = (hidden[source] * bend + pos[target] - pos[source] + graph["shift"]).tanh() * graph["length"][:, None]
        hidden = hidden + torch.zeros_like(hidden).index_add(0, target, sent)
    count = len(graph["energy"])
    energy = torch.zeros(count, 3, dtype=pos.dtype).index_add(0, graph["batch"], hidden)
    flow = hidden[source] - hidden[target] * bend
    return {
        "energy": energy + graph["energy"].sum(1, keepdim=True),
        "force": hidden,
        "flow": flow,
        **{name: graph.get(name) for name in ("edge_index", "batch", "ptr")},
        "kept": "kept",
    }
