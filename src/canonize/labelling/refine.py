"""Colour refinement: nodes are told apart by the colours around them until nothing more can be told."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Rounds that touch fewer arcs than this are quicker node by node; a path of 10^5 nodes takes 5 * 10^4 such rounds.
_FEW, _MANY, _PATIENCE = 200, 20_000, 8
_HALF, _BITS = 1 << 63, (1 << 64) - 1


class Arcs(NamedTuple):
    """Ends of edges, sorted by tail: each edge is seen from both of its ends, with a kind that says from which.

    Attributes:
        tail: (arcs,)
        head: (arcs,)
        kind: (arcs,), from 0; of directed edges 2k from the tail's side and 2k + 1 from the head's.
        first: (nodes + 1,), where the arcs of each node begin.
        base: (nodes,), the first node of each node's graph: what else is in the batch must not enter an order.
    """

    tail: Tensor
    head: Tensor
    kind: Tensor
    first: Tensor
    base: Tensor


def arcs_of(base: Tensor, tail: Tensor, head: Tensor, kind: Tensor | None, *, directed: bool) -> Arcs:
    """The arcs of edges that are listed once; base as in `Arcs`."""
    nodes = len(base)
    kind = torch.zeros_like(tail) if kind is None else kind
    there, back = (2 * kind, 2 * kind + 1) if directed else (kind, kind)
    both, kinds = torch.cat([tail, head]), torch.cat([there, back])
    order = both.argsort(stable=True)
    first = torch.zeros(nodes + 1, dtype=torch.int64)
    first[1:] = torch.bincount(both, minlength=nodes).cumsum(0)
    return Arcs(both[order], torch.cat([head, tail])[order], kinds[order], first, base)


def cells_of(keys: Tensor) -> Tensor:
    """The cell of each node: how many nodes have a smaller key."""
    _, inverse, count = torch.unique(keys, return_inverse=True, return_counts=True)
    places: Tensor = (count.cumsum(0) - count)[inverse]
    return places


def refine(arcs: Arcs, cells: Tensor, changed: Tensor | None = None) -> Tensor:
    """The coarsest equitable partition that is finer than the given one, in an order that no numbering enters.

    Nodes of one cell see equally many arcs of each kind to each cell. A cell is named by its place: the number of nodes in
    the cells before it. Pieces of a split cell keep its place among the others.

    Args:
        arcs: the graph.
        cells: (nodes,), as `cells_of` gives them.
        changed: the nodes whose cells are new since the partition was equitable; all where None.

    Returns:
        (nodes,), int64: the cells.
    """
    cells, salt = cells.clone(), 1
    changed = torch.arange(len(cells)) if changed is None else changed
    while True:
        _settle(arcs, cells, changed, salt)
        # Hashes may collide; the partition is checked without them.
        if _equitable(arcs, cells):
            return cells
        salt, changed = salt + 2, torch.arange(len(cells))


def _settle(arcs: Arcs, cells: Tensor, changed: Tensor, salt: int) -> None:
    sizes = torch.bincount(cells, minlength=len(cells))
    calm = 0
    while len(changed):
        count = arcs.first[changed + 1] - arcs.first[changed]
        total = int(count.sum())
        calm = calm + 1 if total < _FEW else 0
        if calm > _PATIENCE:
            changed = _node_by_node(arcs, cells, sizes, changed, salt)
            calm = 0
            continue
        if not total:
            return
        changed = _round(arcs, cells, sizes, changed, count, total, salt)


def _round(arcs: Arcs, cells: Tensor, sizes: Tensor, changed: Tensor, count: Tensor, total: int, salt: int) -> Tensor:
    """Split all cells at once by what they see of the changed nodes; returns the nodes whose cells are new."""
    shift = arcs.first[changed] - (count.cumsum(0) - count)
    arc = torch.arange(total) + shift.repeat_interleave(count)
    node = arcs.head[arc]
    tail = arcs.tail[arc]
    seen = mixed(cells[tail] - arcs.base[tail], arcs.kind[arc], salt)
    splits = sizes[cells[node]] > 1
    node, seen = node[splits], seen[splits]
    if not len(node):
        return node
    touched, inverse = torch.unique(node, return_inverse=True)
    view = torch.zeros_like(touched).index_add(0, inverse, seen)
    order = view.argsort(stable=True)
    order = order[cells[touched[order]].argsort(stable=True)]
    touched, view = touched[order], view[order]
    cell = cells[touched]
    begins = torch.ones_like(cell, dtype=torch.bool)
    begins[1:] = (cell[1:] != cell[:-1]) | (view[1:] != view[:-1])
    piece = begins.cumsum(0) - 1
    size = torch.bincount(piece)
    parent = cell[begins]
    _, owner, pieces = torch.unique_consecutive(parent, return_inverse=True, return_counts=True)
    whole = torch.zeros_like(pieces).index_add(0, owner, size)
    start = (pieces.cumsum(0) - pieces)[owner]
    before = size.cumsum(0) - size
    before = before - before[start]
    untouched = (sizes[parent] - whole[owner]).clamp(min=0)
    # The nodes that see nothing stay; where all see something, the largest piece does: what stays need not be seen again.
    most = torch.zeros_like(pieces).scatter_reduce(0, owner, size, "amax")
    largest = torch.where(size == most[owner], torch.arange(len(size)), len(size))
    stays = torch.full_like(pieces, len(size)).scatter_reduce(0, owner, largest, "amin")[owner]
    place = torch.arange(len(size))
    moved = torch.where(place < stays, before + size[stays], torch.where(place == stays, 0, before))
    new = parent + torch.where(untouched > 0, untouched + before, moved)
    rest = untouched > 0
    sizes[parent[rest]] = untouched[rest]
    sizes[new] = size
    cells[touched] = new[piece]
    fresh: Tensor = touched[(new != parent)[piece]]
    return fresh


def mixed(cell: Tensor, kind: Tensor, salt: int) -> Tensor:
    """A number of 64 bits for each cell and kind; sums of such numbers tell multisets apart."""
    # Products of tensors wrap around; those of python's numbers have to be told to.
    salted = (salt * 2685821657736338717 + (1 << 63)) % (1 << 64) - (1 << 63)
    x = cell * -7046029254386353131 + (kind * 2 + 1) * 3935559000370003845 + salted
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * -4658895280553007687
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * -7723592293110705685
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


def _mixed(cell: int, kind: int, salt: int) -> int:
    """`mixed` of plain numbers."""
    x = (cell * -7046029254386353131 + (kind * 2 + 1) * 3935559000370003845 + salt * 2685821657736338717) & _BITS
    x = ((x ^ (x >> 30)) * -4658895280553007687) & _BITS
    x = ((x ^ (x >> 27)) * -7723592293110705685) & _BITS
    return x ^ (x >> 31)


def _node_by_node(arcs: Arcs, cells: Tensor, sizes: Tensor, changed: Tensor, salt: int) -> Tensor:
    """Rounds of few nodes, without tensors, that end as `_round` does; returns what is left where one grows large."""
    cell, size, first = cells.tolist(), sizes.tolist(), arcs.first.tolist()
    head, kind, base = arcs.head.tolist(), arcs.kind.tolist(), arcs.base.tolist()
    left: list[int] = changed.tolist()
    while left and len(left) < _MANY:
        seen: dict[int, int] = {}
        for node in left:
            at = cell[node] - base[node]
            for arc in range(first[node], first[node + 1]):
                other = head[arc]
                if size[cell[other]] > 1:
                    seen[other] = seen.get(other, 0) + _mixed(at, kind[arc], salt)
        split: dict[int, dict[int, list[int]]] = {}
        for node, view in seen.items():
            signed = ((view + _HALF) & _BITS) - _HALF
            split.setdefault(cell[node], {}).setdefault(signed, []).append(node)
        left = []
        for place, pieces in split.items():
            views = sorted(pieces)
            at = place + size[place] - sum(map(len, pieces.values()))
            if at == place:
                largest = max(views, key=lambda view: len(pieces[view]))  # the first of equally large ones
                views.remove(largest)
                at += len(pieces[largest])
            size[place] = at - place
            for view in views:
                size[at] = len(pieces[view])
                for node in pieces[view]:
                    cell[node] = at
                left += pieces[view]
                at += len(pieces[view])
    cells.copy_(torch.tensor(cell))
    sizes.copy_(torch.tensor(size))
    return torch.tensor(left, dtype=torch.int64)


def _equitable(arcs: Arcs, cells: Tensor) -> bool:
    """Whether all nodes of a cell see the same, compared arc by arc."""
    if not len(arcs.tail):
        return True
    open_ = (torch.bincount(cells, minlength=len(cells)) > 1)[cells][arcs.tail]
    tail, head, kind = arcs.tail[open_], arcs.head[open_], arcs.kind[open_]
    if not len(tail):
        return True
    order = (kind * len(cells) + cells[head]).argsort(stable=True)
    order = order[tail[order].argsort(stable=True)]
    view = (kind * len(cells) + cells[head])[order]
    # Tails are sorted, so that a node's arcs are where they were; each node is compared with one of its cell.
    first = torch.zeros(len(cells) + 1, dtype=torch.int64)
    degree = torch.bincount(tail, minlength=len(cells))
    first[1:] = degree.cumsum(0)
    stands = torch.zeros_like(cells)
    stands[cells] = torch.arange(len(cells))
    like = stands[cells]
    if not torch.equal(degree, degree[like]):
        return False
    place = torch.arange(len(tail)) - first[tail]
    return torch.equal(view, view[first[like[tail]] + place])
