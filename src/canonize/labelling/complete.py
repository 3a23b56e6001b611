"""All automorphisms of a small graph, from canonical forms alone.

What the engine says of automorphisms is true and not always all (canonaut 1.0.0 misses some, depending on how nodes are
numbered; the smallest cases have seven nodes), while its canonical forms are sound. Two nodes are exchanged by an automorphism
exactly where the graphs in which one or the other is singled out have one form; and then the two orders give it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from canonize.labelling.refine import mixed

_ROUNDS, _EACH = 6, 4
"""At most so many times so many rounds of hashing."""
_FEW = 8
"""Nodes in question up to which asking the engine is faster than refining."""


def hashed(sizes: Tensor, colours: Tensor, tail: Tensor, head: Tensor) -> Tensor:
    """For each node a number, equal for nodes that an automorphism of their graph exchanges; mostly different for others.

    Args:
        sizes: (graphs,), nodes of each graph.
        colours: (nodes,), int64.
        tail, head: (m,), undirected edges, numbered through the batch.

    Returns:
        (nodes,), int64, from 0; nodes of different graphs have different numbers.
    """
    owner = torch.arange(len(sizes)).repeat_interleave(sizes)
    view, known = mixed(colours, colours, 1), -1
    source, goal = torch.cat([tail, head]), torch.cat([head, tail])
    found = owner
    for turn in range(_ROUNDS):
        for step in range(_EACH):
            sent = mixed(view, view, 2 + turn * _EACH + step)
            view = mixed(view.index_add(0, goal, sent[source]), view, 3)
        _, rank = torch.unique(view, return_inverse=True)
        _, found = torch.unique(owner * len(view) + rank, return_inverse=True)
        count = int(found.max()) + 1 if len(found) else 0
        if count in (known, len(view)):
            break
        known = count
    return found


def complete(
    call: Callable[..., Any],
    own: int,
    pairs: Sequence[tuple[int, int]],
    colours: Sequence[int],
    cells: Sequence[int],
    known: Sequence[Sequence[int]],
) -> list[list[int]]:
    """Permutations that generate all automorphisms of a graph, along a chain of stabilizers.

    Args:
        call: the engine's function.
        own: how many of its nodes, the first ones, tell all: where they go, the others have to follow.
        pairs, colours: the graph.
        cells: for each node a number, equal where an automorphism exchanges two.
        known: some automorphisms.
    """
    size = len(colours)
    found = [list(image) for image in known]
    at, top = list(colours), max(colours, default=0) + 1
    members: dict[int, list[int]] = {}
    for node, cell in enumerate(cells):
        members.setdefault(cell, []).append(node)
    wide = [nodes for nodes in members.values() if len(nodes) > 1]
    open_ = [nodes for nodes in wide if nodes[0] < own]
    neighbours = _neighbours(size, pairs) if sum(map(len, open_)) > _FEW else None
    fixing = found
    while open_:
        nodes = min(open_, key=len)
        joined = _joined(call, size, pairs, (at, top), nodes, fixing)
        found += joined
        at[nodes[0]], top = top, top + 1
        fixing = [image for image in [*fixing, *joined] if image[nodes[0]] == nodes[0]]
        if neighbours is None:
            nodes.pop(0)
            wide = [each for each in wide if len(each) > 1]
        else:
            wide = _split(size, neighbours, wide, nodes[0])
        open_ = [nodes for nodes in wide if nodes[0] < own]
    return found


def _joined(
    call: Callable[..., Any],
    size: int,
    pairs: Sequence[tuple[int, int]],
    colours: tuple[list[int], int],
    nodes: list[int],
    known: list[list[int]],
) -> list[list[int]]:
    """Enough more automorphisms to bring the first of some nodes to each that it can be brought to."""
    at, top = colours
    found: list[list[int]] = []
    root = orbits_of(size, known)
    first, form, order = nodes[0], None, None
    apart: list[int] = []
    for node in nodes[1:]:
        if root[node] == root[first] or any(root[node] == root[one] for one in apart):
            continue
        if form is None:
            one = call(size, pairs, colors=[*at[:first], top, *at[first + 1 :]])
            form, order = one.canonical_bytes(), one.labeling
        other = call(size, pairs, colors=[*at[:node], top, *at[node + 1 :]])
        if other.canonical_bytes() != form:
            apart.append(node)
            continue
        image = [0] * size
        for here, there in zip(order, other.labeling, strict=True):  # type: ignore[arg-type]  # known with the form
            image[here] = there
        found.append(image)
        root = orbits_of(size, [*known, *found])
    return found


def orbits_of(size: int, images: Sequence[Sequence[int]]) -> list[int]:
    """For each node the smallest that these permutations bring it to."""
    root = list(range(size))

    def top(node: int) -> int:
        while root[node] != node:
            root[node] = root[root[node]]
            node = root[node]
        return node

    for image in images:
        for node, goal in enumerate(image):
            if node != goal:
                a, b = top(node), top(goal)
                root[max(a, b)] = min(a, b)
    return [top(node) for node in range(size)]


def _neighbours(size: int, pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in range(size)]
    for a, b in pairs:
        found[a].append(b)
        if a != b:
            found[b].append(a)
    return found


def _split(size: int, neighbours: list[list[int]], wide: list[list[int]], first: int) -> list[list[int]]:
    """The cells of more than one node after `first` was singled out: refined until nothing splits."""
    # Nodes that stand alone have labels below 0, each its own.
    label = [-1 - node for node in range(size)]
    for number, nodes in enumerate(wide):
        for node in nodes:
            label[node] = number
    label[first] = -1 - first
    wide = [[node for node in nodes if node != first] for nodes in wide]
    while True:
        groups: dict[tuple[int, tuple[int, ...]], list[int]] = {}
        for nodes in wide:
            for node in nodes:
                view = label[node], tuple(sorted([label[other] for other in neighbours[node]]))
                groups.setdefault(view, []).append(node)
        done = len(groups) == len(wide)
        wide = [nodes for nodes in groups.values() if len(nodes) > 1]
        if done:
            return wide
        for number, nodes in enumerate(groups.values()):
            for node in nodes:
                label[node] = number if len(nodes) > 1 else -1 - node
