"""A packed batch of graphs: what the labelling reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from canonize._tree import describe
from canonize.errors import refuse


@final
@dataclass(frozen=True, eq=False)
class Graphs:
    """A batch of graphs side by side: nodes are numbered through the batch, and each graph has a range of numbers.

    Undirected edges may be listed once or in both directions, which is the same graph. Loops are allowed. Without labels
    an edge is there or not; with labels, parallel edges count as a sorted multiset of their labels, where in an undirected
    graph the two directions of one edge are counted once (loops count as often as they are listed).

    Attributes:
        sizes: (graphs,), int64, from 0: the nodes of each graph.
        edges: (2, m), int64: the nodes that each edge joins, numbered through the batch; from the first row to the second.
        colours: (nodes,), int64, or None: nodes of different value are different, and orders follow the values.
        labels: (m,), int64, or None: likewise for edges.
        directed: whether (u, v) and (v, u) are different edges.

    Raises:
        SymmetryError: wrong dtypes or lengths, negative sizes, nodes that do not exist, edges that join two graphs.

    Example:
        >>> import torch
        >>> from canonize.labelling import Graphs
        >>> path = Graphs(torch.tensor([3]), torch.tensor([[0, 1], [1, 2]]))
        >>> path.owner.tolist()
        [0, 0, 0]
    """

    sizes: Tensor
    edges: Tensor
    colours: Tensor | None = None
    labels: Tensor | None = None
    directed: bool = False

    def __post_init__(self) -> None:
        _whole("sizes", self.sizes, "(graphs,)", self.sizes.ndim == 1 if isinstance(self.sizes, Tensor) else False)
        _whole("edges", self.edges, "(2, m)", isinstance(self.edges, Tensor) and self.edges.shape[:-1] == (2,))
        if self.sizes.numel() and int(self.sizes.min()) < 0:
            raise refuse(
                "graphs have sizes from 0",
                got=f"{int(self.sizes.min())} nodes in graph {int(self.sizes.argmin())}",
                expected="sizes >= 0",
                fix="torch.bincount(index, minlength=graphs)",
            )
        nodes = int(self.sizes.sum())
        for name, values, count, each in (
            ("colours", self.colours, nodes, "node"),
            ("labels", self.labels, self.edges.shape[1], "edge"),
        ):
            if values is None:
                continue
            _whole(name, values, f"({count},)", isinstance(values, Tensor) and values.ndim == 1)
            if len(values) != count:
                raise refuse(
                    f"{name} of the wrong length",
                    got=f"{len(values)} {name}",
                    expected=f"{count}, one for each {each} of the batch",
                    fix=f"give each {each} one whole number, in the order of the {each}s",
                )
        self._joined(nodes)

    def _joined(self, nodes: int) -> None:
        if not self.edges.numel():
            return
        low, high = int(self.edges.min()), int(self.edges.max())
        if low < 0 or high >= nodes:
            raise refuse(
                "an edge joins a node that does not exist",
                got=f"node {low if low < 0 else high}",
                expected=f"nodes from 0 to {nodes - 1}, numbered through the batch",
                fix="remove padding edges, and add to each graph's node numbers the sizes of the graphs before it",
            )
        if len(self.sizes) > 1:
            owner = self.owner[self.edges]
            if not torch.equal(owner[0], owner[1]):
                edge = int((owner[0] != owner[1]).nonzero()[0])
                raise refuse(
                    "an edge joins two graphs",
                    got=f"edge {edge}, {tuple(self.edges[:, edge].tolist())}, of graphs {owner[:, edge].tolist()}",
                    expected="both ends in one graph",
                    fix="check sizes= and the order of nodes: the nodes of a graph stand side by side",
                )

    @property
    def owner(self) -> Tensor:
        """(nodes,), int64: the graph of each node."""
        return torch.arange(len(self.sizes), device=self.sizes.device).repeat_interleave(self.sizes)

    @property
    def starts(self) -> Tensor:
        """(graphs,), int64: the first node of each graph."""
        return self.sizes.cumsum(0) - self.sizes


def _whole(name: str, values: object, shape: str, fits: bool) -> None:
    if not isinstance(values, Tensor) or values.dtype != torch.int64 or not fits:
        raise refuse(
            f"{name} of graphs are whole numbers",
            got=describe(values),
            expected=f"an int64 tensor {shape}",
            fix=f"{name}=torch.as_tensor({name}).long(); values that are no whole numbers need ranks, or bins of your choice",
        )
