"""Graphs by refinement first: their orders, and generators of all their automorphisms."""

from __future__ import annotations

import torch
from torch import Tensor

from canonize.labelling.cores import Rest
from canonize.labelling.parts import Ordered, ordered
from canonize.labelling.refine import arcs_of, cells_of, refine
from canonize.labelling.simple import Simple
from canonize.labelling.timed import Timed


def refined(graphs: Simple, numbers: Tensor, engine: Timed, least: int) -> Ordered:
    """The canonical order of all graphs side by side, and generators of their automorphisms.

    Args:
        graphs: the batch.
        numbers: (graphs,), what to call them in messages.
        engine: the engine and its limit.
        least: as of `Rest`.
    """
    owner = torch.arange(len(graphs.sizes)).repeat_interleave(graphs.sizes)
    kind = graphs.kind
    if kind is not None:
        # Kinds are ranked in each graph, so that labels elsewhere in the batch do not matter.
        kind = ranked(kind, owner[graphs.tail])
    base = (graphs.sizes.cumsum(0) - graphs.sizes)[owner]
    arcs = arcs_of(base, graphs.tail, graphs.head, kind, directed=graphs.directed)
    dense = torch.unique(graphs.colours, return_inverse=True)[1]
    width = int(dense.max()) + 1 if len(dense) else 1
    cells = refine(arcs, cells_of(owner * width + dense))
    rest = Rest(arcs, graphs.directed, numbers[owner], engine, least)
    return ordered(arcs, cells, directed=graphs.directed, core=rest)


def placed(moves: Tensor, sizes: Tensor, some: Tensor) -> Tensor:
    """Generators of some graphs side by side as rows of the whole batch: graph, number in the graph, node, image.

    Args:
        moves: (3, moves), number, node and image.
        sizes: (graphs,), nodes of all graphs of the batch.
        some: the increasing numbers of those graphs.
    """
    number, node, image = moves
    starts = (sizes.cumsum(0) - sizes)[some]
    own = sizes[some]
    owner = torch.arange(len(some)).repeat_interleave(own)
    shift = (starts - (own.cumsum(0) - own))[owner]
    graph = owner[node]
    return torch.stack([some[graph], ranked(number, graph), node + shift[node], image + shift[image]])


def ranked(number: Tensor, owner: Tensor) -> Tensor:
    """Numbers as ranks among those of the same owner, from 0."""
    if not len(number):
        return number
    width = int(number.max()) + 1
    codes, inverse = torch.unique(owner * width + number, return_inverse=True)
    of = codes // width
    count = torch.bincount(of)
    rank: Tensor = inverse - (count.cumsum(0) - count)[owner]
    return rank
