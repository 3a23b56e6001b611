"""Graphs that some relabellings leave as they are: outputs averaged over the orbits of nodes, pairs and edges."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from jaxtyping import Int
from torch import Tensor

from canonize._tree import describe
from canonize.actions import Nodes, Pairs, Rows, Scalar
from canonize.actions.relabel import permutes, ranked
from canonize.actions.rows import Layout
from canonize.errors import refuse
from canonize.labelling import Graphs, Labelling, edge_orbits, pair_orbits


@final
@dataclass(frozen=True)
class Automorphisms:
    """A stabilizer of permutations: the automorphisms of each graph of a batch, seen from its canonical order.

    The mean of an output over all of them is its mean over orbits: of nodes, of ordered pairs, of edges. So it costs no
    further call of the model, however many automorphisms there are.

    Attributes:
        graphs: the graphs as they came, packed, with nodes numbered through the batch.
        found: their canonical order, orbits and generators.
        which: (entries,) int64, the graph of each entry of the output.
    """

    graphs: Graphs
    found: Labelling
    which: Int[Tensor, " entries"]

    def take(self, entries: Int[Tensor, " count"]) -> Automorphisms:
        """That of some entries."""
        return replace(self, which=self.which[entries.to(self.which.device)])

    def __call__(self, action: Any, output: Tensor, where: Layout | None) -> Tensor:
        """The mean of an output over orbits, of the shape of the output."""
        rows = isinstance(action, Rows)
        inner = action.action if rows else action
        if isinstance(inner, Scalar) and not (rows and action.edges):
            return output
        if not (output.is_floating_point() or output.is_complex()):
            raise refuse(
                "nodes that cannot be told apart: the output cannot be averaged over them",
                got=f"{describe(output)}, declared {action!r}",
                expected="floating-point outputs",
                fix="symmetrize the logits and take the labels outside",
            )
        if rows and action.edges:
            return self._edges(output, where)
        if rows and permutes(inner):
            assert where is not None
            return self._rows(output, where.index)
        if isinstance(inner, Pairs):
            return self._pairs(output)
        if isinstance(inner, Nodes):
            n = int(self.graphs.sizes.max()) if len(self.graphs.sizes) else 0
            axis = inner.axis if inner.axis < 0 else 1 + inner.axis
            moved = output.movedim(axis, 1)
            index = torch.arange(len(moved), device=output.device).repeat_interleave(n)
            return self._rows(moved.flatten(0, 1), index).reshape(moved.shape).movedim(1, axis)
        raise refuse(
            "nodes that cannot be told apart: nobody knows how to average this output over them",
            got=f"an output declared {action!r}",
            expected="Scalar(), Nodes(), Pairs(), or rows of them",
            fix="declare the output as one of these",
        )

    def _rows(self, output: Tensor, index: Tensor) -> Tensor:
        """The mean over the orbits of nodes, of rows that stand in canonical order."""
        index = index.to(self.which.device)
        ranks, _ = ranked(index)
        starts = self.graphs.sizes.cumsum(0) - self.graphs.sizes
        place = starts[self.which[index]] + ranks
        orbits = self.found.orbits[self.found.order[place]]
        return _mean(output, index * len(self.found.order) + orbits)

    def _edges(self, output: Tensor, where: Layout | None) -> Tensor:
        """The mean over the orbits of edges, which stand as they stood in the input, for each graph."""
        assert where is not None
        owners = where.owners
        assert owners is not None
        mine = torch.repeat_interleave(torch.arange(len(self.graphs.sizes)), self.graphs.sizes)[self.graphs.edges[0]]
        _, by_graph = ranked(mine)
        counts = torch.bincount(mine, minlength=len(self.graphs.sizes))
        ranks, _ = ranked(owners)
        edge = by_graph[(counts.cumsum(0) - counts)[self.which[owners]] + ranks]
        return _mean(output, owners * len(mine) + edge_orbits(self.graphs, self.found)[edge])

    def _pairs(self, output: Tensor) -> Tensor:
        """The mean over the orbits of ordered pairs of nodes in canonical order."""
        n = output.shape[1]
        starts = self.graphs.sizes.cumsum(0) - self.graphs.sizes
        labels: dict[int, Tensor] = {}
        for graph in sorted(set(self.which.tolist())):
            order = self.found.order[starts[graph] : starts[graph] + n] - starts[graph]
            labels[graph] = pair_orbits(self.found.generators(graph), n)[order][:, order].flatten()
        # One number for each pair of nodes and entry.
        base = torch.arange(len(output))[:, None] * (n * n)
        each = torch.stack([labels[graph] for graph in self.which.tolist()]) if labels else base.new_zeros(0, n * n)
        flat = output.flatten(1, 2).flatten(0, 1)
        return _mean(flat, (base + each).flatten().to(output.device)).reshape(output.shape)


def _mean(values: Tensor, labels: Tensor) -> Tensor:
    """The mean of the entries with the same label, along the first axis, in the dtype of the values."""
    _, index, counts = torch.unique(labels.to(values.device), return_inverse=True, return_counts=True)
    if len(counts) == len(values):
        return values
    wide = torch.promote_types(values.dtype, torch.float32)
    sums = torch.zeros(len(counts), *values.shape[1:], dtype=wide, device=values.device)
    sums = sums.index_add(0, index, values.to(wide))
    means = sums / counts.reshape(-1, *(1,) * (values.ndim - 1))
    spread: Tensor = means[index].to(values.dtype)
    return spread
