"""Orbits of pairs and of edges under the automorphisms of graphs."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from canonize._tree import describe
from canonize.errors import refuse
from canonize.labelling.components import components
from canonize.labelling.graphs import Graphs
from canonize.labelling.result import Labelling

_ROOM = 1 << 24


def pair_orbits(generators: Int[Tensor, "count n"], n: int) -> Int[Tensor, "n n"]:
    """For each ordered pair (i, j) the smallest pair of its orbit, as the number i * n + j, (n, n), int64.

    Args:
        generators: (count, n), int64: permutations of n nodes; `Labelling.generators(graph)`.
        n: how many nodes there are.

    Raises:
        SymmetryError: permutations of another number of nodes.

    Example:
        >>> import torch
        >>> from canonize.labelling import pair_orbits
        >>> pair_orbits(torch.tensor([[1, 2, 0]]), 3).tolist()
        [[0, 1, 2], [2, 0, 1], [1, 2, 0]]
    """
    if generators.ndim != 2 or generators.shape[1] != n:
        raise refuse(
            "generators of another number of nodes",
            got=describe(generators),
            expected=f"an int64 tensor (count, {n})",
            fix="pair_orbits(labelling.generators(graph), int(labelling.sizes[graph]))",
        )
    count = len(generators)
    smallest = torch.arange(n * n, device=generators.device)
    step = max(1, _ROOM // max(1, n * n))
    for some in torch.split(generators.cpu(), step) if count else ():
        images = (some[:, :, None] * n + some[:, None]).reshape(-1)
        pairs = torch.arange(n * n).expand(len(some), -1).reshape(-1)
        known = smallest.cpu()
        # Connections among the orbits that are known so far.
        smallest = components(n * n, known[pairs], known[images])[known].to(generators.device)
    return smallest.reshape(n, n)


def edge_orbits(graphs: Graphs, labelling: Labelling) -> Int[Tensor, " m"]:
    """For each edge the first edge in the list that lies in its orbit, (m,), int64.

    Edges are ordered pairs, in undirected graphs as well: (u, v) and (v, u) share an orbit where an automorphism exchanges
    them, or where it takes them there by way of an edge that is not listed in that direction. Parallel edges share an orbit
    if they have equal labels, or none.

    Args:
        graphs: the batch.
        labelling: what `label(graphs)` found.

    Example:
        >>> import torch
        >>> from canonize.labelling import Graphs, edge_orbits, label
        >>> path = Graphs(torch.tensor([4]), torch.tensor([[0, 1, 2], [1, 2, 3]]))
        >>> edge_orbits(path, label(path)).tolist()
        [0, 1, 2]
        >>> both = Graphs(path.sizes, torch.cat([path.edges, path.edges.flip(0)], 1))
        >>> edge_orbits(both, label(both)).tolist()
        [0, 1, 2, 2, 1, 0]
    """
    device, count = graphs.edges.device, graphs.edges.shape[1]
    tail, head = graphs.edges.cpu()
    label = torch.zeros_like(tail)
    if graphs.labels is not None:
        label = torch.unique(graphs.labels.cpu(), return_inverse=True)[1]
    if not graphs.directed:
        tail, head, label = torch.cat([tail, head]), torch.cat([head, tail]), torch.cat([label, label])
    nodes = max(1, int(graphs.sizes.sum()))
    pairs, pair = torch.unique(tail * nodes + head, return_inverse=True)
    width = int(label.max()) + 1 if len(label) else 1
    known, edge = torch.unique(pair * width + label, return_inverse=True)
    pair_of, label_of = pairs[known // width], known % width
    tail, head = pair_of // nodes, pair_of % nodes
    generator, node, image = labelling.moves().cpu()
    one, other = _carried(generator, node, image, tail, head)
    # The image of a listed edge is listed, or its reverse is.
    target = torch.searchsorted(pairs, other[0] * nodes + other[1])
    image_of = torch.searchsorted(known, target * width + label_of[one])
    root = components(len(known), one, image_of)[edge]
    first = torch.full((len(known),), len(root)).scatter_reduce(0, root, torch.arange(len(root)), "amin")
    return first[root][:count].to(device)


def _carried(
    generator: Tensor, node: Tensor, image: Tensor, tail: Tensor, head: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The edges that generators move, and the ends of their images."""
    if not len(generator) or not len(tail):
        return tail[:0], (tail[:0], tail[:0])
    size = int(max(tail.max(), head.max(), node.max())) + 1
    code, order = (generator * size + node).sort()
    image = image[order]

    def moved(which: Tensor, end: Tensor) -> Tensor:
        key = which * size + end
        at = torch.searchsorted(code, key).clamp(max=len(code) - 1)
        return torch.where(code[at] == key, image[at], end)

    both_one, both_gen = [], []
    for end in (tail, head):
        sorted_end, edge = end.sort(stable=True)
        low, high = torch.searchsorted(sorted_end, node), torch.searchsorted(sorted_end, node, right=True)
        count = high - low
        place = torch.arange(int(count.sum())) + (low - (count.cumsum(0) - count)).repeat_interleave(count)
        both_one.append(edge[place])
        both_gen.append(generator.repeat_interleave(count))
    one, which = torch.cat(both_one), torch.cat(both_gen)
    return one, (moved(which, tail[one]), moved(which, head[one]))
