"""The engine that labels small graphs: canonaut, a port of nauty; here its batches are put together and taken apart."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from canonize.errors import refuse
from canonize.labelling.complete import complete, hashed, orbits_of
from canonize.labelling.plain import without_kinds
from canonize.labelling.simple import Simple

# Graphs of so many nodes never need a limit of time.
EASY = 64
_TABLE = 64


@runtime_checkable
class Found(Protocol):
    """What the engine tells of one graph."""

    @property
    def labeling(self) -> Sequence[int]:
        """The node at each place."""

    @property
    def orbits(self) -> Sequence[int]:
        """The smallest node of each node's orbit."""

    @property
    def num_orbits(self) -> int:
        """How many orbits there are."""

    @property
    def generators(self) -> Sequence[Sequence[int]]:
        """Automorphisms: the image of each node."""

    def canonical_bytes(self) -> bytes:
        """The graph in canonical order, colours aside."""


class Plain(NamedTuple):
    """`Found` in plain numbers."""

    labeling: Sequence[int]
    orbits: Sequence[int]
    num_orbits: int
    generators: Sequence[Sequence[int]]
    form: bytes = b""

    def canonical_bytes(self) -> bytes:
        """The graph in canonical order, colours aside; empty where nobody asked."""
        return self.form


Call = Callable[..., Found]
Choose = Callable[[int, int, int], Call]


class Whole(NamedTuple):
    """Labellings of a batch of graphs, nodes numbered in each graph from 0.

    Attributes:
        order: (nodes,), the node at each place.
        found: graph by graph where there are automorphisms, the order and generators of them all; of more nodes than the
            graph's where edges have kinds.
    """

    order: Tensor
    found: dict[int, Found]


def canonaut() -> Call:
    """The engine's function.

    Raises:
        SymmetryError: canonaut is not installed.
    """
    try:
        from canonaut import raw
    except ImportError as missing:
        raise refuse(
            "labelling graphs needs canonaut",
            got=f"{type(missing).__name__}: {missing}",
            expected="the package canonaut 1.0 or newer",
            fix="pip install canonize[graphs]",
        ) from missing
    call: Call = raw.canonize
    return call


def labelled(graphs: Simple, choose: Choose, *, automorphisms: bool) -> Whole:
    """All graphs of a batch handed to the engine, one after the other.

    Always as undirected graphs without kinds: the engine has no kinds, and what it says of directed graphs is not to be
    trusted (canonaut 1.0.0 reports automorphisms of small directed graphs that are none).

    Args:
        graphs: the batch.
        choose: the engine's function for a graph: its number in the batch, how many nodes it has, and how many with those
            for kinds of edges.
        automorphisms: whether they are asked for; the order is the same.
    """
    plain = without_kinds(graphs)
    nodes, sizes, colours = graphs.sizes.tolist(), plain.sizes.tolist(), plain.colours.tolist()
    starts = plain.sizes.cumsum(0) - plain.sizes
    # Edges are sorted by tail, so that those of a graph stand side by side.
    bounds = torch.searchsorted(plain.tail, torch.cat([starts, starts.new_tensor([len(plain.colours)])]))
    shift = starts.repeat_interleave(bounds.diff())
    pairs = _pairs(plain.tail - shift, plain.head - shift, max(sizes, default=0))
    orders: list[int] = []
    found: dict[int, Found] = {}
    call = choose(0, 0, 0)
    cells = hashed(plain.sizes, plain.colours, plain.tail, plain.head).tolist() if automorphisms else []
    alike = _alike(plain, graphs.sizes, cells)
    node = edge = 0
    for graph, (own, size, edge_end) in enumerate(zip(nodes, sizes, bounds.tolist()[1:], strict=True)):
        if not size:
            continue
        node_end = node + size
        one_call = choose(graph, own, size) if size > EASY else call
        if alike and alike[graph]:
            mine, shades = pairs[edge:edge_end], colours[node:node_end]
            one = one_call(size, mine, generators=True, colors=shades)
            every = complete(one_call, own, mine, shades, cells[node:node_end], one.generators)
            if every:
                orbits = orbits_of(size, every)
                found[graph] = Plain(one.labeling, orbits, len(set(orbits)), every)
        else:
            one = one_call(size, pairs[edge:edge_end], colors=colours[node:node_end])
        orders += one.labeling if own == size else one.labeling[:own]
        node, edge = node_end, edge_end
    return Whole(whole(orders, max(nodes, default=0)), found)


def _alike(plain: Simple, own: Tensor, cells: list[int]) -> list[bool]:
    """For each graph whether two nodes of its own are in one cell; nothing where there are no cells."""
    if not cells:
        return []
    cell = whole(cells)
    graph = torch.arange(len(own)).repeat_interleave(plain.sizes)
    shift = (plain.sizes.cumsum(0) - plain.sizes)[graph]
    asked = (torch.arange(len(cell)) - shift < own[graph]) & (torch.bincount(cell)[cell] > 1)
    alike: list[bool] = (torch.bincount(graph[asked], minlength=len(own)) > 0).tolist()
    return alike


def whole(values: list[int], most: int = 1 << 62) -> Tensor:
    """The numbers below `most`, none below 0, as an int64 tensor, several times faster than `torch.tensor`."""
    if not values:
        return torch.zeros(0, dtype=torch.int64)
    if most <= 256:
        return torch.frombuffer(bytearray(values), dtype=torch.uint8).long()
    return torch.frombuffer(array("q", values), dtype=torch.int64)


@cache
def _table() -> list[tuple[int, int]]:
    return [(a, b) for a in range(_TABLE) for b in range(_TABLE)]


def _pairs(tail: Tensor, head: Tensor, most: int) -> list[tuple[int, int]]:
    """The edges as the engine reads them; new tuples by the thousand would wake the garbage collector."""
    if most <= _TABLE:
        return list(map(_table().__getitem__, (tail * _TABLE + head).tolist()))
    return list(zip(tail.tolist(), head.tolist(), strict=True))


def taken(found: Any, size: int) -> list[Sequence[int]]:
    """The generators on the first `size` nodes, without those that move middle nodes alone."""
    return [image[:size] for image in found.generators if list(image[:size]) != list(range(size))]
