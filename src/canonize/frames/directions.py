"""Fields along the edges of a graph, from eigenvectors: averages and derivatives in a direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from canonize._tree import describe
from canonize.errors import refuse


@final
@dataclass(frozen=True)
class Directions:
    """Fields along the edges of a packed batch of graphs, one for each vector, and what they make of features.

    The field of a vector v is its gradient, v_j - v_i along the edge from node j to node i, divided by the sum of its sizes
    over the edges that arrive at i. `average` takes from each neighbour as much as the field is large, and does not feel
    the sign of v; `derivative` takes differences along the field, and turns over with v: `derivative(x).abs()` does not,
    and needs no canonical sign. Neither is free of the basis of an eigenspace of several dimensions: take canonical
    eigenvectors (`CanonicalEigenvectors`), and of those the columns that are fixed.

    Attributes:
        edges: (2, m), int64, from the nodes edges[0] to the nodes edges[1].
        weights: (m, k), the normalised fields, dimensionless, -1 to 1.
        nodes: how many nodes there are.

    Source: Beaini et al., arXiv 2010.02863: B_av and B_dx.
    """

    edges: Tensor
    weights: Tensor
    nodes: int

    def average(self, x: Tensor) -> Tensor:
        """Means over the neighbours, weighed by the size of each field: (nodes, features) to (nodes, k, features)."""
        x = self._features(x)
        return self._gathered(self.weights.abs()[..., None] * x[self.edges[0], None])

    def derivative(self, x: Tensor) -> Tensor:
        """Differences to the neighbours along each field: (nodes, features) to (nodes, k, features)."""
        x = self._features(x)
        return self._gathered(self.weights[..., None] * (x[self.edges[0]] - x[self.edges[1]])[:, None])

    def matrices(self) -> tuple[Tensor, Tensor]:
        """B_av and B_dx as matrices (k, nodes, nodes): `average(x)[:, k] = B_av[k] @ x`, and so on."""
        unit = torch.eye(self.nodes, dtype=self.weights.dtype, device=self.weights.device)
        return self.average(unit).transpose(0, 1), self.derivative(unit).transpose(0, 1)

    def _features(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or x.ndim != 2 or len(x) != self.nodes or not x.is_floating_point():
            raise refuse(
                "Directions: bad features",
                got=describe(x),
                expected=f"floating-point numbers ({self.nodes}, features)",
                fix="one row a node, numbered as the edges number them",
            )
        return x

    def _gathered(self, messages: Tensor) -> Tensor:
        empty = messages.new_zeros(self.nodes, *messages.shape[1:])
        return empty.index_add(0, self.edges[1], messages)


def directions(vectors: Tensor, edges: Tensor, *, floor: float | None = None) -> Directions:
    """The fields of vectors over the nodes, along the edges of a graph or of a packed batch of graphs.

    Args:
        vectors: (nodes, k), floating point, such as `CanonicalEigenvectors(k).of_graphs(edges, sizes).vectors`.
        edges: (2, m), int64, each edge in both directions.
        floor: what the sum of sizes is made larger by before it is divided by, so that differences that are rounding give
            no direction: a length in units of the vectors, above 0. None for 1e-6, or 64 eps where that is more.

    Raises:
        SymmetryError: wrong shapes, nodes out of range, a floor that is not positive.

    Differentiable; where a vector is constant its field is zero.

    Example:
        >>> import torch
        >>> from canonize.frames import directions
        >>> fields = directions(torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]))
        >>> fields.derivative(torch.tensor([[1.0], [2.0], [5.0]])).flatten().round(decimals=3) + 0.0
        tensor([1.0000, 2.3330, 3.0000])
    """
    good = isinstance(vectors, Tensor) and vectors.ndim == 2 and vectors.is_floating_point()
    if not good:
        raise refuse(
            "directions: bad vectors",
            got=describe(vectors),
            expected="floating-point numbers (nodes, k)",
            fix="v[:, None] for one vector; for a dense batch one graph at a time, or packed",
        )
    whole = isinstance(edges, Tensor) and not edges.is_floating_point() and edges.dtype != torch.bool
    if not whole or edges.ndim != 2 or edges.shape[0] != 2:
        raise refuse("directions: bad edges", got=describe(edges), expected="whole numbers (2, m)", fix="edges.T")
    if edges.numel() and (int(edges.min()) < 0 or int(edges.max()) >= len(vectors)):
        raise refuse(
            "directions: edges between nodes that are not there",
            got=f"nodes {int(edges.min())} to {int(edges.max())}",
            expected=f"0 to {len(vectors) - 1}",
            fix="number the nodes from 0 through the batch",
        )
    if floor is None:
        floor = max(1e-6, 64 * torch.finfo(vectors.dtype).eps)
    if not floor > 0:
        raise refuse("directions: bad floor", got=repr(floor), expected="a number above 0", fix="floor=1e-6")
    field = vectors[edges[0]] - vectors[edges[1]]
    total = vectors.new_zeros(vectors.shape).index_add(0, edges[1], field.abs())
    return Directions(edges, field / (total[edges[1]] + floor), len(vectors))
