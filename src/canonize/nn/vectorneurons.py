"""A network whose neurons are vectors: what it says of a cloud turns with the cloud."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from canonize.nn.clouds import Cloud, check_settings, even, read, unrounded
from canonize.nn.scorer import drawn

_TINY = 1e-8  # squares of lengths are compared with this
_LIFTED = 3  # vectors that each point starts from: x, M x, M^2 x


@final
class VectorNeurons(nn.Module):
    """Vectors that turn with a cloud of points, v(h · x) = h v(x), and feel neither shifts nor the order of the points.

    Every channel of every point is a vector. Layers mix channels, never components, and have no biases; where a
    perceptron has SiLU(q), a neuron has q with its component along a second learned direction passed through SiLU.
    A point starts from x, M x and M^2 x, with M the second moments of its cloud, and each layer also sees the means of all
    channels over the cloud: the cost is linear in the number of points. Works in any dimension; holds for reflections too.

    Args:
        vectors: how many vectors; O(d) needs d of them, SO(d) d - 1.
        channels: vectors of each point between layers.
        depth: layers.
        features: how many numbers each point has that do not turn, such as a charge.
        fields: how many vectors each point has besides its place, such as a velocity.
        unit: a length in the unit of the points that counts as 1; None measures each cloud by the root mean square
            distance of its points from their mean, so that the vectors grow with the cloud and turn with nothing else.
        generator: draws the initial weights; the global one where None.

    Values: points (batch, n, d), or (rows, d) with `index`, floating point, any unit; features and fields dimensionless,
        about 1 in size. Vectors (batch, vectors, d) in the unit of the points, their root mean square length below `unit`,
        and near it unless the cloud is close to a symmetric one. The parameters and the points have one dtype, unless
        `torch.autocast` is on, inside of which everything is computed in the dtype of the parameters.

    Raises:
        SymmetryError: sizes that are no positive whole numbers; on use, points of another shape or dtype, features,
            fields, weights or an index that do not fit them.

    Singular case: vectors lie in what the symmetry of the cloud leaves fixed, to rounding; they are zero for a cloud that
    its inversion or several turns leave as it is, for one point, and for an empty sample. Vectors much shorter than
    `unit` are a warning that their direction is noise. Derivatives are finite everywhere, to second order too.

    Source: Deng et al., Vector neurons, arXiv 2104.12229; here with a smooth nonlinearity.
    """

    def __init__(
        self,
        vectors: int = 3,
        *,
        channels: int = 16,
        depth: int = 2,
        features: int = 0,
        fields: int = 0,
        unit: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_settings(
            "VectorNeurons", unit, features=features, fields=fields, vectors=vectors, channels=channels, depth=depth
        )
        self.features = features
        self.fields = fields
        self.unit = unit
        start = _LIFTED + fields
        self.lift = drawn(channels, start, 1 + features, fan=start * (1 + features), generator=generator)
        self.layers = nn.ModuleList(_Layer(2 * channels, channels, generator) for _ in range(depth))
        self.last = _Layer(channels, channels, generator)
        self.head = drawn(vectors, channels, fan=channels, generator=generator)

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
        """Vectors (batch, vectors, d) of clouds.

        Args:
            points: (batch, n, d), or (rows, d) with `index`.
            features: (*lead, features), where `lead` is (batch, n) or (rows,).
            fields: (*lead, fields, d).
            weights: (*lead,), at least 0, any unit: how much each point counts; 0 hides it.
            index: (rows,), the sample of each row, in any order.
            batch: how many samples an index tells of; where None, up to the last one that it names.
        """
        # Read first: whether autocast is on decides which dtypes are taken.
        cloud = read(self, points, features, fields, weights, index, batch, self.lift)
        with unrounded(points):
            return self._vectors(cloud)

    def _vectors(self, cloud: Cloud) -> Tensor:
        moments, places = cloud.moments(), [cloud.points]
        for _ in range(_LIFTED - 1):
            places.append(cloud.turned(moments, places[-1]))
        start = torch.cat([torch.stack(places, -2), cloud.fields], -2)
        # Numbers that do not turn decide how the vectors are mixed.
        v = _mixed(self.lift[..., 0], start)
        if self.features:
            v = v + torch.einsum("osf,...f,...sd->...od", self.lift[..., 1:], cloud.features, start)
        for layer in self.layers:
            v = v + layer(v, cloud.each(cloud.mean(v)))
        pooled = cloud.mean(v)
        return even(_mixed(self.head, pooled + self.last(pooled))) * cloud.unit[..., None]


class _Layer(nn.Module):
    """A linear map of channels, and the part of each result along a second one passed through SiLU."""

    def __init__(self, old: int, new: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.both = drawn(2, new, old, fan=old, generator=generator)

    def forward(self, *v: Tensor) -> Tensor:
        """Vectors (..., new, d) of vectors (..., old, d), which may come in parts that broadcast."""
        parts, start = [], 0
        for part in v:
            weight = self.both[..., start : start + part.shape[-2]]
            parts.append(_mixed(weight.flatten(0, 1), part))
            start += part.shape[-2]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        q, k = total.chunk(2, -2)
        unit = k * (k.square().sum(-1, keepdim=True) + _TINY).rsqrt()
        along = (q * unit).sum(-1, keepdim=True)
        return q + (F.silu(along) - along) * unit


def _mixed(weight: Float[Tensor, "new old"], v: Float[Tensor, "*lead old d"]) -> Float[Tensor, "*lead new d"]:
    mixed: Tensor = weight @ v
    return mixed
