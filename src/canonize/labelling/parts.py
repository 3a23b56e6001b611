"""What colour refinement leaves: taken apart into pieces that hang together, and put in order from the smallest up."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from canonize.labelling.components import components
from canonize.labelling.engine import whole
from canonize.labelling.refine import Arcs


class Level(NamedTuple):
    """The pieces at one depth; each lies in a piece of the level before.

    Attributes:
        nodes: (count,), which nodes are in pieces here, increasing.
        piece: (count,), the smallest node of each node's piece.
        arcs: (arcs,), the arcs inside pieces that tell something.
    """

    nodes: Tensor
    piece: Tensor
    arcs: Tensor


class Ordered(NamedTuple):
    """Nodes in canonical order and the symmetries that were met.

    Attributes:
        order: (nodes,), the node at each place.
        moves: (3, moves), generators: number, node, image.
    """

    order: Tensor
    moves: Tensor


# Given the nodes of pieces that cannot be taken apart, their pieces (dense, from 0), their cells and the arcs among them:
# the place of each node in its piece, and generators as in `Ordered`.
Core = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def ordered(arcs: Arcs, cells: Tensor, *, directed: bool, core: Core) -> Ordered:
    """The canonical order of the nodes of an equitable partition, by cells first.

    A node alone in its cell, and an arc between cells that are completely joined, tell nothing more: without them the
    graph falls into pieces, in which cells are smaller, so that these fall apart in turn. Pieces of equal form are
    interchangeable.

    Args:
        arcs: the graph.
        cells: (nodes,), as `refine` gives them.
        directed: whether odd kinds are the same edges seen from the head.
        core: labels the pieces that are left.
    """
    levels = _descend(arcs, cells)
    inner, moves = levels[-1], []
    place = _by(inner.piece, cells[inner.nodes])
    if len(levels) > 1:
        dense = torch.unique(inner.piece, return_inverse=True)[1]
        left = _shared(dense, cells[inner.nodes])
        cored = torch.zeros(int(dense.max()) + 1, dtype=torch.bool)
        cored[dense[left]] = True
        some = cored[dense]
        if bool(some.any()):
            among = torch.zeros(len(cells), dtype=torch.bool)
            among[inner.nodes[some]] = True
            which = torch.unique(dense[some], return_inverse=True)[1]
            nodes = inner.nodes[some]
            place[some], found = core(nodes, which, cells[nodes], inner.arcs[among[arcs.tail[inner.arcs]]])
            moves.append(found)
    for level, outer in zip(levels[:0:-1], levels[-2::-1], strict=True):
        form = _forms(arcs, cells, level, place, directed=directed)
        at = torch.searchsorted(outer.nodes, level.nodes)
        moves.append(_swaps(outer.piece[at], form, level, place))
        inside = torch.zeros((3, len(outer.nodes)), dtype=torch.int64)
        inside[:, at] = torch.stack([form, level.piece, place])
        place = _by(outer.piece, cells[outer.nodes], *inside)
    order = torch.empty_like(place)
    order[place] = torch.arange(len(place))
    return Ordered(order, numbered(moves))


def numbered(parts: list[Tensor]) -> Tensor:
    """Generators of several lists in one, numbered on."""
    number, joined = 0, [torch.zeros((3, 0), dtype=torch.int64)]
    for each in parts:
        if each.shape[1]:
            joined.append(torch.stack([each[0] + number, each[1], each[2]]))
            number += int(each[0].max()) + 1
    return torch.cat(joined, 1)


def _descend(arcs: Arcs, cells: Tensor) -> list[Level]:
    count = len(cells)
    nodes = torch.arange(count)
    levels = [Level(nodes, torch.zeros_like(nodes), torch.arange(len(arcs.tail)))]
    while True:
        last = levels[-1]
        stays = _shared(last.piece, cells[last.nodes])
        nodes, piece = last.nodes[stays], last.piece[stays]
        if not len(nodes):
            return levels
        group = torch.zeros(count, dtype=torch.int64)
        group[nodes] = torch.unique(piece * count + cells[nodes], return_inverse=True)[1]
        alive = torch.zeros(count, dtype=torch.bool)
        alive[nodes] = True
        some = last.arcs[alive[arcs.tail[last.arcs]] & alive[arcs.head[last.arcs]]]
        some = _telling(arcs, group, torch.bincount(group[nodes]), some)
        piece = components(count, arcs.tail[some], arcs.head[some])[nodes]
        groups = len(torch.unique(piece * count + cells[nodes]))
        level = Level(nodes, piece, some)
        # Pieces that are done go on unchanged while others fall apart: what else is in the batch must not enter an order.
        done = bool(stays.all()) and groups == int(group[nodes].max()) + 1 and len(some) == len(last.arcs)
        if done and len(levels) > 1:
            return levels
        levels.append(level)


def _shared(piece: Tensor, cell: Tensor) -> Tensor:
    """Whether another node of the same piece is in the same cell."""
    codes = piece * (int(cell.max()) + 1 if len(cell) else 1) + cell
    _, inverse, times = torch.unique(codes, return_inverse=True, return_counts=True)
    shared: Tensor = times[inverse] > 1
    return shared


def _telling(arcs: Arcs, group: Tensor, size: Tensor, some: Tensor) -> Tensor:
    """The arcs without those between groups of which all pairs are joined in the same way."""
    if not len(some):
        return some
    groups = len(size)
    one, other = group[arcs.tail[some]], group[arcs.head[some]]
    pair = one * groups + other
    # Pairs are numbered, so that products with kinds stay in range.
    _, which = torch.unique(pair, return_inverse=True)
    _, inverse, times = torch.unique(
        which * (int(arcs.kind[some].max()) + 1) + arcs.kind[some], return_inverse=True, return_counts=True
    )
    pairs = size[one] * (size[other] - (one == other).long())
    return some[times[inverse] != pairs]


def _by(*keys: Tensor) -> Tensor:
    """The place of each thing among those of its first key, in lexicographic order of the others."""
    order = torch.arange(len(keys[0]))
    for key in reversed(keys):
        order = order[key[order].argsort(stable=True)]
    first = keys[0][order]
    place = torch.arange(len(order))
    begins = torch.ones_like(first, dtype=torch.bool)
    begins[1:] = first[1:] != first[:-1]
    start = torch.where(begins, place, 0).cummax(0).values if len(place) else place
    out = torch.empty_like(place)
    out[order] = place - start
    return out


def _forms(arcs: Arcs, cells: Tensor, level: Level, place: Tensor, *, directed: bool) -> Tensor:
    """For each node the rank of its piece's form: its cells in order, and its arcs between places."""
    dense = torch.unique(level.piece, return_inverse=True)[1]
    count = int(dense.max()) + 1
    sizes = torch.bincount(dense)
    rank = torch.zeros(count, dtype=torch.int64)
    rank[dense] = cells[level.nodes]
    if int(sizes.max()) > 1:
        where = torch.zeros(len(cells), dtype=torch.int64)
        where[level.nodes] = torch.arange(len(level.nodes))
        some = level.arcs
        tail, head = where[arcs.tail[some]], where[arcs.head[some]]
        kind = arcs.kind[some]
        once = kind % 2 == 0 if directed else place[tail] < place[head]
        tail, head, kind = tail[once], head[once], kind[once]
        owner = dense[tail]
        span = int(sizes.max())
        code = place[tail] * span + place[head]
        order = code.argsort(stable=True)
        order = order[owner[order].argsort(stable=True)]
        lines, kinds = code[order].tolist(), kind[order].tolist()
        ends = torch.bincount(owner, minlength=count).cumsum(0).tolist()
        row = cells[level.nodes][(dense * span + place).argsort()].tolist()
        forms: dict[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]], list[int]] = {}
        node = arc = 0
        for piece, (size, end) in enumerate(zip(sizes.tolist(), ends, strict=True)):
            if size > 1:
                form = tuple(row[node : node + size]), tuple(lines[arc:end]), tuple(kinds[arc:end])
                forms.setdefault(form, []).append(piece)
            node, arc = node + size, end
        pieces, ranks = [], []
        for number, form in enumerate(sorted(forms)):
            pieces += forms[form]
            ranks += [len(cells) + number] * len(forms[form])
        rank[whole(pieces)] = whole(ranks)
    return rank[dense]


def _swaps(outer: Tensor, form: Tensor, level: Level, place: Tensor) -> Tensor:
    """Generators that exchange the first of each set of equal pieces with each other piece of the set."""
    order = torch.arange(len(place))
    for key in (place, level.piece, form, outer):
        order = order[key[order].argsort(stable=True)]
    outer, form, piece, nodes = outer[order], form[order], level.piece[order], level.nodes[order]
    index = torch.arange(len(order))
    new = torch.ones_like(piece, dtype=torch.bool)
    new[1:] = piece[1:] != piece[:-1]
    begins = torch.ones_like(new)
    begins[1:] = (outer[1:] != outer[:-1]) | (form[1:] != form[:-1])
    first = torch.where(begins, index, 0).cummax(0).values
    own = torch.where(new, index, 0).cummax(0).values
    other = own != first
    node, partner = nodes[other], nodes[(first + index - own)[other]]
    number = torch.unique_consecutive(own[other], return_inverse=True)[1]
    return torch.cat([torch.stack([number, node, partner]), torch.stack([number, partner, node])], 1)
