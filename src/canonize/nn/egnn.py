"""Message passing that moves points: E(n)-equivariant as a model, and vectors that turn as a network of a frame."""

from __future__ import annotations

from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from canonize.nn.clouds import Cloud, Pointing, check_settings, perceptron, read, unrounded
from canonize.nn.pairs import Pairs, pairs_of
from canonize.nn.scorer import drawn


@final
class EGNN(nn.Module):
    """Points that move and turn with a cloud, f(h · x) = h · f(x) for all rotations, reflections and shifts.

    In each layer points send messages, which depend on the features of both, on their squared distance and on the features
    of the edge; a point moves along the differences to the others and along its fields, by amounts that the messages and
    its features tell. Without edges every point hears all others of its cloud: the cost is then quadratic in their number.

    Args:
        vectors: None for a model, which returns the moved points and numbers of each point; a number for a network of a
            frame, which returns that many vectors of each cloud: O(d) needs d of them, SO(d) d - 1.
        width: numbers for each point and each message.
        depth: layers.
        features: how many numbers each point has that do not turn, such as a charge.
        fields: how many vectors each point has besides its place, such as a velocity; their squared lengths and their
            inner products with the place relative to the mean are features too.
        edge_features: how many numbers each edge has that do not turn, such as a kind of bond.
        unit: a length in the unit of the points that counts as 1; None measures each cloud by the root mean square
            distance of its points from their mean.
        generator: draws the initial weights; the global one where None.

    Values: points (batch, n, d), or (rows, d) with `index`, floating point, any unit; features and fields about 1 in size.
        Moved points of the shape of the points and in their unit, and numbers (*lead, width), dimensionless; or vectors
        (batch, vectors, d), as those of `VectorNeurons`. Messages are averaged, not summed, over those who send them.

    Raises:
        SymmetryError: sizes that are no positive whole numbers; on use, points of another shape or dtype, features,
            fields, weights, edges or an index that do not fit them.

    Singular case: as for `VectorNeurons`. Points at the same place send each other messages, but do not push each other.

    Source: Satorras, Hoogeboom and Welling, arXiv 2102.09844; differences are divided by (1 + squared distance)^1/2.
    """

    def __init__(
        self,
        vectors: int | None = None,
        *,
        width: int = 32,
        depth: int = 3,
        features: int = 0,
        fields: int = 0,
        edge_features: int = 0,
        unit: float | None = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_settings("EGNN", unit, features=features, fields=fields, width=width, depth=depth)
        if vectors is not None:
            check_settings("EGNN", unit, features=edge_features, fields=0, vectors=vectors)
        self.features = features
        self.fields = fields
        self.edge_features = edge_features
        self.unit = unit
        self.stem = drawn(width, features + 2 * fields, fan=max(features + 2 * fields, 1), generator=generator)
        self.bias = nn.Parameter(torch.zeros(width))
        self.layers = nn.ModuleList(_Layer(width, fields, edge_features, generator) for _ in range(depth))
        self.head = None if vectors is None else Pointing(width, vectors, fields, generator)

    def forward(
        self,
        points: Float[Tensor, "*lead d"],
        *,
        features: Float[Tensor, "*lead f"] | None = None,
        fields: Float[Tensor, "*lead c d"] | None = None,
        weights: Float[Tensor, "*lead"] | None = None,
        index: Int[Tensor, " rows"] | None = None,
        batch: int | None = None,
        edges: Int[Tensor, "2 edges"] | None = None,
        edge_features: Float[Tensor, "*pairs e"] | None = None,
    ) -> Any:
        """Moved points (*lead, d) and numbers (*lead, width); or vectors (batch, vectors, d) where it was made for them.

        Args:
            points: (batch, n, d), or (rows, d) with `index`.
            features: (*lead, features), where `lead` is (batch, n) or (rows,).
            fields: (*lead, fields, d), in the unit of the points for a model that moves along them.
            weights: (*lead,), at least 0, any unit: how much each point counts; 0 hides it.
            index: (rows,), the sample of each row, in any order.
            batch: how many samples an index tells of; where None, up to the last one that it names.
            edges: (2, edges), rows that send (first) and hear (second); only with `index`. Between all points of a sample
                where None.
            edge_features: (edges, edge_features) with `edges`, (batch, n, n, edge_features) without, [b, i, j] for what
                point i hears from point j.
        """
        # Read first: whether autocast is on decides which dtypes are taken.
        cloud = read(self, points, features, fields, weights, index, batch, self.stem)
        pairs = pairs_of(self, cloud, edges, edge_features)
        with unrounded(points):
            moved, h = self._moved(cloud, pairs)
            if self.head is None:
                return points.to(moved.dtype) + cloud.each(cloud.unit) * moved, h
            places = cloud.points + moved
            return self.head(h, places - cloud.each(cloud.mean(places)), cloud.moments(), cloud)

    def _moved(self, cloud: Cloud, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """How far each point moves, in the unit of its cloud, and its numbers."""
        along = [(cloud.fields * other).sum(-1).asinh() for other in (cloud.points[..., None, :], cloud.fields)]
        h = F.linear(torch.cat([cloud.features, *along], -1), self.stem, self.bias)
        moved = torch.zeros_like(cloud.points)
        for layer in self.layers:
            step, h = layer(cloud.points + moved, h, cloud, pairs)
            moved = moved + step
        return moved, h


class _Layer(nn.Module):
    """One round of messages."""

    def __init__(self, width: int, fields: int, edge_features: int, generator: torch.Generator | None) -> None:
        super().__init__()
        fan = 2 * width + 1 + edge_features
        # One matrix for what a message depends on, in parts: what belongs to a point is not worked out for each pair.
        self.hears, self.sends = (drawn(width, width, fan=fan, generator=generator) for _ in range(2))
        self.apart = drawn(width, 1 + edge_features, fan=fan, generator=generator)
        self.bias = nn.Parameter(torch.zeros(width))
        self.message = perceptron(width, width, generator=generator)
        # Small at first, so that the points begin near where they are.
        self.push = nn.Sequential(*perceptron(width, width, generator=generator), nn.SiLU())
        self.strength = drawn(1, width, fan=100 * width, generator=generator)
        self.pull = perceptron(width, width, fields, last=0.1, generator=generator) if fields else None
        self.update = perceptron(2 * width, width, width, generator=generator)

    def forward(self, x: Tensor, h: Tensor, cloud: Cloud, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """How far the points at x (*lead, d) move, and their new numbers (*lead, width)."""
        apart = pairs.hearing(x) - pairs.sending(x)
        square = apart.square().sum(-1, keepdim=True)
        about = F.linear(torch.cat([square, pairs.features], -1) if self.apart.shape[1] > 1 else square, self.apart)
        first = pairs.hearing(F.linear(h, self.hears, self.bias)) + pairs.sending(F.linear(h, self.sends)) + about
        message = F.silu(self.message(F.silu(first)))
        strength = F.linear(self.push(message), self.strength)
        step = pairs.mean(apart * (1 + square).rsqrt() * strength)
        if self.pull is not None:
            step = step + (self.pull(h)[..., None] * cloud.fields).sum(-2)
        return step, h + self.update(torch.cat([h, pairs.mean(message)], -1))
