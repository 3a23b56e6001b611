"""Sums over points: vectors that are weighted sums of the points, the weights being numbers that do not turn."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from canonize.nn.clouds import Cloud, Pointing, check_settings, perceptron, read, unrounded
from canonize.nn.scorer import drawn


@final
class DeepSets(nn.Module):
    """Vectors that turn with a cloud of points, v(h · x) = h v(x), and feel neither shifts nor the order of the points.

    Each vector is made of weighted means p of the points, of M p and M M p with M the second moments of the cloud, and of
    weighted means of the fields where there are any. The weights come from a network on sets, which sees of each point its
    features and the inner products x·x, x·Mx and x·MMx, and of the cloud the means of what it made of them. The cost is
    linear in the number of points. Works in any dimension; holds for reflections too.
    For sets of numbers that have no place in space, see `PermutationNet`.

    Args:
        vectors: how many vectors; O(d) needs d of them, SO(d) d - 1.
        width: numbers for each point between layers.
        depth: layers on the set.
        features: how many numbers each point has that do not turn, such as a charge.
        fields: how many vectors each point has besides its place, such as a velocity.
        unit: a length in the unit of the points that counts as 1; None measures each cloud by the root mean square
            distance of its points from their mean, so that the vectors grow with the cloud and turn with nothing else.
        generator: draws the initial weights; the global one where None.

    Values, errors, singular case: as for `VectorNeurons`.

    Source: Zaheer et al., Deep sets, arXiv 1703.06114; weighted sums of points as vectors, Villar et al., Scalars are
    universal, arXiv 2106.06610.
    """

    def __init__(
        self,
        vectors: int = 3,
        *,
        width: int = 32,
        depth: int = 2,
        features: int = 0,
        fields: int = 0,
        unit: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_settings("DeepSets", unit, features=features, fields=fields, vectors=vectors, width=width, depth=depth)
        self.features = features
        self.fields = fields
        self.unit = unit
        self.stem = perceptron(features + 3 + 2 * fields, width, width, generator=generator)
        self.layers = nn.ModuleList(_Layer(width, generator) for _ in range(depth))
        self.head = Pointing(width, vectors, fields, generator)

    def forward(
        self,
        points: Float[Tensor, "*lead d"],
        *,
        features: Float[Tensor, "*lead f"] | None = None,
        fields: Float[Tensor, "*lead c d"] | None = None,
        weights: Float[Tensor, "*lead"] | None = None,
        index: Int[Tensor, " rows"] | None = None,
        batch: int | None = None,
    ) -> Float[Tensor, "batch m d"]:
        """Vectors (batch, vectors, d) of clouds. Arguments as for `VectorNeurons`."""
        # Read first: whether autocast is on decides which dtypes are taken.
        cloud = read(self, points, features, fields, weights, index, batch, self.head.weight)
        with unrounded(points):
            return self._vectors(cloud)

    def _vectors(self, cloud: Cloud) -> Tensor:
        moments = cloud.moments()
        once = cloud.turned(moments, cloud.points)
        twice = cloud.turned(moments, once)
        products = [(cloud.points * other).sum(-1, keepdim=True) for other in (cloud.points, once, twice)]
        along = [(cloud.fields * other).sum(-1) for other in (cloud.points[..., None, :], cloud.fields)]
        # Products of large clouds would drown what the features say.
        h = self.stem(torch.cat([cloud.features, *(number.asinh() for number in products + along)], -1))
        for layer in self.layers:
            h = layer(h, cloud)
        vectors: Tensor = self.head(h, cloud.points, moments, cloud)
        return vectors


class _Layer(nn.Module):
    """What a point says and what its cloud says on average, added to what was known of the point."""

    def __init__(self, width: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.own = drawn(width, width, fan=width, generator=generator)
        self.others = drawn(width, width, fan=width, generator=generator)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, h: Tensor, cloud: Cloud) -> Tensor:
        """Numbers (*lead, width) of numbers (*lead, width)."""
        changed: Tensor = F.silu(F.linear(h, self.own, self.bias) + cloud.each(F.linear(cloud.mean(h), self.others)))
        return h + changed
