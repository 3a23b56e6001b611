"""What refinement cannot see: short cycles, by counting what lies around each node at each distance."""

from __future__ import annotations

import torch
from torch import Tensor

from canonize.labelling.refine import Arcs, cells_of, mixed

_AROUND, _LEAST = 32, 1 << 20


def by_balls(arcs: Arcs, cells: Tensor) -> Tensor:
    """The cells, split by how many nodes of each cell lie at each distance, and by how many ways lead there.

    Random regular graphs fall apart where they have short cycles. Distances grow until something splits or until more than
    32 nodes are around each one.

    Args:
        arcs: the graph.
        cells: (nodes,)

    Returns:
        (nodes,), int64: the same cells where nothing splits.
    """
    count = len(cells)
    source = node = torch.arange(count)
    before = torch.zeros(0, dtype=torch.int64)
    known, room, distance = len(torch.unique(cells)), max(_LEAST, _AROUND * count), 0
    view = torch.zeros_like(cells)
    while len(source) and room > 0:
        distance += 1
        degree = arcs.first[node + 1] - arcs.first[node]
        room -= int(degree.sum())
        if room < 0:
            return cells
        arc = torch.arange(int(degree.sum())) + (arcs.first[node] - (degree.cumsum(0) - degree)).repeat_interleave(
            degree
        )
        codes = source.repeat_interleave(degree) * count + arcs.head[arc]
        codes, ways = torch.unique(codes, return_counts=True)
        # What is next to this distance lies one step nearer, here, or one step further.
        here = source * count + node
        again = torch.isin(codes, before) | torch.isin(codes, here)
        source, node = codes // count, codes % count
        view = view.index_add(0, source, mixed(cells[node], ways * 2 + again.long(), distance))
        split = cells_of(torch.unique(torch.stack([cells, view]), dim=1, return_inverse=True)[1])
        if len(torch.unique(split)) > known:
            return split
        source, node, before = source[~again], node[~again], here
    return cells
