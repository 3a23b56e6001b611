"""Graphs without loops and parallel edges: loops become colours, and parallel edges one edge with a kind."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from canonize.labelling.graphs import Graphs

_WIDEST = 1 << 31


class Listed(NamedTuple):
    """The edges of graphs, each once, parallel ones with different labels or several times as many rows, sorted.

    Attributes:
        tail: (m,); in undirected graphs not above head.
        head: (m,)
        label: (m,), ranks of the labels in the batch, or None.
        values: the labels by rank, or None.
    """

    tail: Tensor
    head: Tensor
    label: Tensor | None
    values: Tensor | None


class Simple(NamedTuple):
    """Graphs with at most one edge for each pair of nodes and no loops, sorted by tail.

    Attributes:
        sizes: (graphs,)
        colours: (nodes,), from 0.
        tail: (m,), numbered through the batch.
        head: (m,)
        kind: (m,), from 0, or None where all edges are alike.
        directed: whether edges have a direction.
    """

    sizes: Tensor
    colours: Tensor
    tail: Tensor
    head: Tensor
    kind: Tensor | None
    directed: bool


def runs(codes: Tensor) -> tuple[Tensor, Tensor]:
    """The number of its run and the length of each run, of sorted codes."""
    _, place, count = torch.unique_consecutive(codes, return_inverse=True, return_counts=True)
    return place, count


def ranks(values: Tensor) -> Tensor:
    """Whole numbers from 0 in the order of the values; not dense where the values are close enough together."""
    if not len(values):
        return values
    low, high = int(values.min()), int(values.max())
    if high - low < _WIDEST:
        return values - low
    rank: Tensor = torch.unique(values, return_inverse=True)[1]
    return rank


def listed(graphs: Graphs) -> Listed:
    """Each edge once, sorted by tail, head and label."""
    bits = int(graphs.sizes.sum()).bit_length()
    tail, head = graphs.edges
    if not graphs.directed:
        tail, head = torch.minimum(tail, head), torch.maximum(tail, head)
    codes = tail << bits | head
    if graphs.labels is None:
        codes = torch.unique(codes)
        return Listed(codes >> bits, codes & ((1 << bits) - 1), None, None)
    pairs, pair = torch.unique(codes, return_inverse=True)
    values, label = torch.unique(graphs.labels, return_inverse=True)
    items, item = torch.unique(pair * len(values) + label, return_inverse=True)
    # The two directions of one edge are one edge; the direction that lists a label more often says how often it is there.
    back = torch.zeros_like(item, dtype=torch.bool) if graphs.directed else graphs.edges[0] > graphs.edges[1]
    times = torch.maximum(
        torch.bincount(item[~back], minlength=len(items)), torch.bincount(item[back], minlength=len(items))
    )
    items = items.repeat_interleave(times)
    codes = pairs[items // max(1, len(values))]
    return Listed(codes >> bits, codes & ((1 << bits) - 1), items % max(1, len(values)), values)


def simple(graphs: Graphs) -> Simple:
    """The graphs with loops in the colours and with one edge for all parallel ones."""
    nodes = max(1, int(graphs.sizes.sum()))
    tail, head, label, _ = listed(graphs)
    kind = label
    if label is not None:
        pair, count = runs(tail * nodes + head)
        if len(count) != len(pair):
            first = count.cumsum(0) - count
            tail, head, kind = tail[first], head[first], _multisets(label, count)
    colours = graphs.colours
    colours = ranks(colours) if colours is not None else tail.new_zeros(int(graphs.sizes.sum()))
    loop = tail == head
    if bool(loop.any()):
        mark = torch.zeros_like(colours)
        mark[tail[loop]] = 1 if kind is None else kind[loop] + 1
        dense = torch.unique(colours, return_inverse=True)[1]
        colours = dense * (int(mark.max()) + 1) + mark
        tail, head, kind = tail[~loop], head[~loop], None if kind is None else kind[~loop]
    return Simple(graphs.sizes, colours, tail, head, kind, graphs.directed)


def _multisets(label: Tensor, count: Tensor) -> Tensor:
    """The rank of each run of sorted labels in lexicographic order."""
    flat, ends = label.tolist(), count.cumsum(0).tolist()
    sets = [tuple(flat[end - size : end]) for end, size in zip(ends, count.tolist(), strict=True)]
    rank = {each: place for place, each in enumerate(sorted(set(sets)))}
    return torch.tensor([rank[each] for each in sets])


def chosen(graphs: Simple, some: Tensor) -> Simple:
    """The graphs of these increasing numbers, side by side."""
    if len(some) == len(graphs.sizes):
        return graphs
    keep = torch.zeros(len(graphs.sizes), dtype=torch.bool)
    keep[some] = True
    node = keep.repeat_interleave(graphs.sizes)
    place = node.cumsum(0) - 1
    edge = node[graphs.tail]
    kind = None if graphs.kind is None else graphs.kind[edge]
    ends = place[graphs.tail[edge]], place[graphs.head[edge]]
    return Simple(graphs.sizes[keep], graphs.colours[node], *ends, kind, graphs.directed)
