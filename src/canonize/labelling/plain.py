"""Directions and kinds of edges told by more nodes, for an engine that knows neither."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from canonize.labelling.simple import Simple


class _Pile(NamedTuple):
    """Edges by where their ends were: an end below 0 is the new node -1 - end."""

    tail: Tensor
    head: Tensor


def without_kinds(graphs: Simple) -> Simple:
    """Undirected graphs with edges of one kind that have the same automorphisms on the nodes of the given ones.

    Of undirected edges the commonest kind of each graph stays as it is; each other one gets a node in its middle, whose
    colour tells the kind. An edge that has a direction goes from a second node of its tail, for all that leaves it, to a
    second node of its head, for all that comes in; likewise the commonest kind has no middle node.

    New nodes stand after all others of their graph, in number and in colour.
    """
    if not graphs.directed and (graphs.kind is None or not len(graphs.kind)):
        return graphs._replace(kind=None)
    count, nodes = len(graphs.sizes), len(graphs.colours)
    owner = torch.arange(count).repeat_interleave(graphs.sizes)
    kind = torch.zeros_like(graphs.tail) if graphs.kind is None else graphs.kind
    top = int(graphs.colours.max()) + 1 if nodes else 0
    width = int(kind.max()) + 1 if len(kind) else 1
    belongs = owner[graphs.tail]
    one_way = torch.zeros_like(kind, dtype=torch.bool)
    tail, head = graphs.tail, graphs.head
    new_graph: list[Tensor] = []
    new_colour: list[Tensor] = []
    piles: list[_Pile] = []
    fresh = 0
    if graphs.directed:
        one_way, kept = _directions(graphs, kind, width)
        tail, head, kind, belongs, one_way = (each[kept] for each in (tail, head, kind, belongs, one_way))
        for side, ends in enumerate((tail, head)):
            own, inverse = torch.unique(ends[one_way], return_inverse=True)
            second = -1 - fresh - torch.arange(len(own))
            piles.append(_Pile(own, second))
            new_graph.append(owner[own])
            new_colour.append(torch.full_like(own, top + side))
            ends = ends.clone()
            ends[one_way] = second[inverse]
            tail, head = (ends, head) if side == 0 else (tail, ends)
            fresh += len(own)
    stays = _commonest(belongs * 2 + one_way.long(), kind, 2 * count, width)[belongs * 2 + one_way.long()]
    split = kind != stays
    middle = -1 - fresh - torch.arange(int(split.sum()))
    piles += [_Pile(tail[~split], head[~split]), _Pile(tail[split], middle), _Pile(middle, head[split])]
    new_graph.append(belongs[split])
    new_colour.append(top + 2 + kind[split])
    return _numbered(graphs, owner, torch.cat(new_graph), torch.cat(new_colour), piles)


def _directions(graphs: Simple, kind: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Which edges have no twin of their kind in the other direction, and which edges to keep: one of two twins."""
    nodes = max(1, len(graphs.colours))
    both = torch.cat([graphs.tail * nodes + graphs.head, graphs.head * nodes + graphs.tail])
    pair = torch.unique(both, return_inverse=True)[1]
    codes = pair * width + torch.cat([kind, kind])
    m = len(kind)
    there, back = codes[:m], codes[m:]
    one_way = ~torch.isin(back, there)
    return one_way, one_way | (graphs.tail < graphs.head)


def _commonest(group: Tensor, kind: Tensor, groups: int, width: int) -> Tensor:
    """The commonest kind of each group, the smallest of equally common ones."""
    codes, times = torch.unique(group * width + kind, return_counts=True)
    of = codes // width
    most = torch.zeros(groups, dtype=torch.int64).scatter_reduce(0, of, times, "amax")
    often = times == most[of]
    return torch.full((groups,), width).scatter_reduce(0, of[often], codes[often] % width, "amin")


def _numbered(graphs: Simple, owner: Tensor, new_graph: Tensor, new_colour: Tensor, piles: list[_Pile]) -> Simple:
    """All nodes numbered graph by graph, the new ones of a graph after its own."""
    count, nodes = len(graphs.sizes), len(owner)
    more = torch.bincount(new_graph, minlength=count)
    up = more.cumsum(0) - more
    place = torch.arange(nodes) + up[owner]
    order = new_graph.argsort(stable=True)
    at = torch.empty_like(order)
    at[order] = torch.arange(len(order)) + graphs.sizes.cumsum(0)[new_graph[order]]
    where = torch.cat([place, at.flip(0)])
    colours = torch.empty(len(where), dtype=torch.int64)
    colours[place], colours[at] = graphs.colours, new_colour
    tail = where[torch.cat([pile.tail for pile in piles])]
    head = where[torch.cat([pile.head for pile in piles])]
    edge = tail.argsort(stable=True)
    return Simple(graphs.sizes + more, colours, tail[edge], head[edge], None, directed=False)
