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
_BLOCK = 1 << 20  # bytes of a layer that are worked on together
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
        double: whether it computes in float64, whatever the dtype of its weights, at about twice the time and memory of
            float32. What a cloud tells of its direction is the small rest of large sums; in float32 the rounding of these
            turns the vectors of almost symmetric molecules by up to about 1e-4.
        generator: draws the initial weights; the global one where None.

    Values: points (batch, n, d), or (rows, d) with `index`, floating point, any unit; features and fields dimensionless,
        about 1 in size. Vectors (batch, vectors, d) in the unit of the points, their root mean square length below `unit`,
        and near it unless the cloud is close to a symmetric one. The parameters and the points have one dtype, unless
        `torch.autocast` is on, which rounds nothing here.

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
        double: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_settings(
            "VectorNeurons", unit, features=features, fields=fields, vectors=vectors, channels=channels, depth=depth
        )
        self.features = features
        self.fields = fields
        self.unit = unit
        self.double_inside = double
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
        cloud = read(self, points, features, fields, weights, index, batch, self.lift, double=self.double_inside)
        with unrounded(points):
            # Samples do not feel each other. A few at a time stay in fast memory: fresh pages would cost most of the time.
            size = self.head.shape[1] * points[:1].numel() * cloud.points.itemsize
            parts = [cloud] if cloud.index is not None else cloud.split(max(1, _BLOCK // max(1, size)))
            return torch.cat([self._vectors(part) for part in parts]).to(self.head.dtype)

    def _vectors(self, cloud: Cloud) -> Tensor:
        moments, places = cloud.moments(), [cloud.points]
        for _ in range(_LIFTED - 1):
            places.append(cloud.turned(moments, places[-1]))
        # Components come first and channels last, so that each layer is one product of two matrices.
        start = torch.cat([torch.stack(places, -1), cloud.fields.mT], -1).movedim(-2, 0)
        if self.features:
            # Numbers that do not turn decide how the vectors are mixed.
            numbers = torch.cat([torch.ones_like(cloud.share), cloud.features], -1)
            start = (start[..., None] * numbers[..., None, :]).flatten(-2)
        v = F.linear(start, self.lift.flatten(1).to(start.dtype))
        for layer in self.layers:
            v = layer(v, cloud)
        pooled = _mean(v, cloud)
        vectors = F.linear(self.last(pooled), self.head.to(pooled.dtype)).movedim(0, -1)
        return even(vectors) * cloud.unit[..., None]


class _Layer(nn.Module):
    """The sum of channels, a linear map of them, and what passing its part along a second map through SiLU changes."""

    def __init__(self, old: int, new: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.both = drawn(2, new, old, fan=old, generator=generator)

    def forward(self, v: Tensor, cloud: Cloud | None = None) -> Tensor:
        """Vectors (d, ..., channels) of such; with a cloud, `...` are its points, and the means over it are mapped too."""
        channels = v.shape[-1]
        weights = self.both.to(v.dtype)
        # Two products: halves of one would not lie in one piece, and what follows would be several times slower.
        q, k = (F.linear(v, weight[:, :channels]) for weight in weights)
        if cloud is not None:
            mean = _mean(v, cloud)
            q, k = (
                part + _each(F.linear(mean, weight[:, channels:]), cloud)
                for part, weight in zip((q, k), weights, strict=True)
            )
        inverse = (_dot(k, k) + _TINY).rsqrt()
        # The part along k goes from a to silu(a), which is a + silu(-a).
        return torch.addcmul(v + q, F.silu(-_dot(q, k) * inverse) * inverse, k)


def _dot(one: Float[Tensor, "d *rest"], two: Float[Tensor, "d *rest"]) -> Float[Tensor, "*rest"]:
    """Inner products of vectors whose components come first, without the products of all components at once."""
    total = one[0] * two[0]
    for number in range(1, len(one)):
        total = torch.addcmul(total, one[number], two[number])
    return total


def _mean(v: Float[Tensor, "d *lead c"], cloud: Cloud) -> Float[Tensor, "d batch c"]:
    """The weighted mean over the points of each sample."""
    if cloud.index is None:
        return (cloud.share.mT @ v)[..., 0, :]
    return v.new_zeros(len(v), cloud.batch, v.shape[-1]).index_add(1, cloud.index, v * cloud.share)


def _each(of_samples: Float[Tensor, "d batch c"], cloud: Cloud) -> Tensor:
    """What each sample has for each of its points."""
    return of_samples[:, :, None] if cloud.index is None else of_samples[:, cloud.index]
