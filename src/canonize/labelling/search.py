"""Large pieces that refinement leaves whole: one node of a small cell is told apart at a time, and the least form wins."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from canonize.labelling.components import components
from canonize.labelling.parts import Ordered, numbered
from canonize.labelling.refine import Arcs, refine


def searched(
    arcs: Arcs, cells: Tensor, *, directed: bool, solve: Callable[[Tensor], Ordered], tick: Callable[[], None]
) -> Ordered:
    """The canonical order of a graph whose equitable partition says no more.

    Each node of the smallest cell is tried, but for those that a known automorphism takes to one that has been; the least
    of the graphs in the orders that follow is the canonical one, and equal ones are automorphisms.

    Args:
        arcs: the graph.
        cells: (nodes,), as `refine` gives them.
        directed: whether odd kinds are the same edges seen from the head.
        solve: orders the graph by a finer partition.
        tick: called after each node that was tried.
    """
    count = len(cells)
    sizes = torch.bincount(cells, minlength=count)
    wide = torch.where(sizes > 1, sizes, count + 1)
    # The first of the smallest cells.
    target = int((wide == wide.min()).nonzero()[0])
    last = target + int(sizes[target]) - 1
    best: tuple[Tensor, ...] | None = None
    order = torch.arange(count)
    moves: list[Tensor] = []
    tried: list[int] = []
    orbit = torch.arange(count)
    for node in (cells == target).nonzero()[:, 0].tolist():
        if tried and bool((orbit[tried] == orbit[node]).any()):
            continue
        apart = cells.clone()
        apart[node] = last
        apart = refine(arcs, apart, torch.tensor([node]))
        shape = apart.sort().values
        tried.append(node)
        if best is None or _compare((shape,), best[:1]) <= 0:
            found = solve(apart)
            form = shape, *_form(arcs, found.order, directed=directed)
            sign = -1 if best is None else _compare(form, best)
            moves.append(found.moves)
            if sign < 0:
                best, order = form, found.order
            elif not sign:
                moved = found.order != order
                moves.append(torch.stack([torch.zeros_like(order), order, found.order])[:, moved])
            joined = torch.cat(moves, 1)
            orbit = components(count, joined[1], joined[2])
        tick()
    return Ordered(order, numbered(moves))


def _form(arcs: Arcs, order: Tensor, *, directed: bool) -> tuple[Tensor, Tensor]:
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    tail, head, kind = place[arcs.tail], place[arcs.head], arcs.kind
    once = kind % 2 == 0 if directed else tail < head
    codes, by = (tail[once] * len(order) + head[once]).sort()
    return codes, kind[once][by]


def _compare(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> int:
    """-1, 0 or 1, as the first numbers are less, equal or greater in lexicographic order."""
    for a, b in zip(one, other, strict=True):
        differ = a != b
        if bool(differ.any()):
            first = int(differ.long().argmax())
            return -1 if int(a[first]) < int(b[first]) else 1
    return 0
