"""`label`: the canonical order of each graph of a batch."""

from __future__ import annotations

import torch

from canonize.errors import refuse
from canonize.labelling.engine import labelled
from canonize.labelling.graphs import Graphs
from canonize.labelling.refined import placed, refined
from canonize.labelling.result import Labelling
from canonize.labelling.simple import Listed, chosen, listed, simple
from canonize.labelling.timed import AT_ONCE, Timed


def label(graphs: Graphs, *, limit: float | None = 60.0) -> Labelling:
    """The canonical order and the automorphisms of each graph of a batch, exactly.

    Relabelled copies of one graph become the same graph when their nodes stand in this order, and only they do
    (`relabelled`). Orders follow the colours. Small graphs go to canonaut, a port of nauty (10.1016/j.jsc.2013.09.003),
    as they are; of large ones colour refinement orders what it can, and what it leaves falls into pieces that are
    labelled one by one. Graphs that refinement leaves whole can take exponential time.

    Args:
        graphs: the batch.
        limit: seconds for one graph; pieces of more than 128 nodes then run in a process of their own that is started once.
            None: no limit, and no such process.

    Returns:
        A labelling, on the device of the graphs.

    Raises:
        SymmetryError: canonaut is not installed; a graph takes longer than `limit`, or has a piece of more than 20,000
            nodes that refinement cannot tell apart.

    Example:
        >>> import torch
        >>> from canonize.labelling import Graphs, label
        >>> star = Graphs(torch.tensor([4]), torch.tensor([[2, 2, 2], [0, 1, 3]]))
        >>> label(star).orbits.tolist()
        [0, 0, 2, 0]
    """
    if limit is not None and not limit > 0:
        raise refuse(
            "label needs a positive limit", got=f"limit={limit!r}", expected="seconds, or None", fix="limit=60"
        )
    return _label(graphs, limit)


def relabelled(graphs: Graphs, labelling: Labelling) -> Graphs:
    """The graphs with their nodes in canonical order and their edges sorted: equal for relabelled copies of one graph.

    Undirected edges are listed once, parallel edges as `Graphs` counts them.

    Example:
        >>> import torch
        >>> from canonize.labelling import Graphs, label, relabelled
        >>> one, other = (Graphs(torch.tensor([3]), torch.tensor(edges)) for edges in ([[0, 1], [1, 2]], [[2, 0], [1, 2]]))
        >>> torch.equal(relabelled(one, label(one)).edges, relabelled(other, label(other)).edges)
        True
    """
    order = labelling.order
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    colours = None if graphs.colours is None else graphs.colours[order]
    moved = Graphs(graphs.sizes, place[graphs.edges], colours, graphs.labels, graphs.directed)
    found: Listed = listed(moved)
    labels = None if found.label is None or found.values is None else found.values[found.label]
    return Graphs(graphs.sizes, torch.stack([found.tail, found.head]), colours, labels, graphs.directed)


def _label(graphs: Graphs, limit: float | None, whole: int = AT_ONCE, least: int = AT_ONCE) -> Labelling:
    """`label`, with graphs of up to `whole` nodes handed to the engine as they are, and pieces of up to `least`."""
    device = graphs.edges.device
    batch = simple(_on_cpu(graphs))
    sizes = batch.sizes
    starts = sizes.cumsum(0) - sizes
    small = sizes <= whole
    if batch.kind is not None:
        # Refinement knows kinds of edges; the engine pays a node for each.
        belongs = torch.arange(len(sizes)).repeat_interleave(sizes)[batch.tail]
        small &= sizes + torch.bincount(belongs, minlength=len(sizes)) <= 2 * whole
    some = small.nonzero()[:, 0]
    few = chosen(batch, some)
    with Timed(limit) as engine:
        numbers: list[int] = some.tolist()
        found = labelled(
            few, lambda graph, *size: engine.at(numbers[graph] if size[0] else 0, *size), automorphisms=False
        )
        shift = starts.repeat_interleave(sizes)
        if len(numbers) == len(sizes):
            none = torch.zeros((4, 0), dtype=torch.int64, device=device)
            return Labelling((found.order + shift).to(device), graphs.sizes, few, some, none)
        large = (~small).nonzero()[:, 0]
        many = refined(chosen(batch, large), large, engine, least)
    order = torch.empty_like(shift)
    nodes = small.repeat_interleave(sizes)
    order[nodes] = found.order + shift[nodes]
    order[~nodes] = (~nodes).nonzero()[:, 0][many.order]
    moved = placed(many.moves, sizes, large)
    return Labelling(order.to(device), graphs.sizes, few, some, moved.to(device))


def _on_cpu(graphs: Graphs) -> Graphs:
    every = (graphs.sizes, graphs.edges, graphs.colours, graphs.labels)
    if all(each is None or each.device.type == "cpu" for each in every):
        return graphs
    sizes, edges, colours, labels = (None if each is None else each.cpu() for each in every)
    assert sizes is not None
    assert edges is not None
    return Graphs(sizes, edges, colours, labels, graphs.directed)
