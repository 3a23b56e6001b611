"""What the networks for clouds of points share: how a cloud is read, centred, measured and averaged."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from canonize._tree import describe
from canonize.errors import refuse
from canonize.nn._checks import part, same_dtype
from canonize.nn.scorer import drawn, positive

_COINCIDENT = 8  # units of rounding of the place of the cloud, within which its points count as one
_KINDS = 3  # of vectors p, D p, D D p
_TINY = 1e-4  # mean squares of answers are compared with this


@dataclass(frozen=True)
class Cloud:
    """A batch of clouds, `lead` being (batch, n) for dense ones and (rows,) for ragged ones.

    Attributes:
        points: (*lead, d), relative to the mean of their sample and in its unit; 0 where the weight is 0.
        features: (*lead, f), numbers that do not turn.
        fields: (*lead, c, d), vectors that turn.
        share: (*lead, 1), weights of the points, which sum to one over each sample that has any.
        index: (rows,), the sample of each row; None for dense ones.
        batch: how many samples.
        unit: (batch, 1), what the points were divided by.
    """

    points: Tensor
    features: Tensor
    fields: Tensor
    share: Tensor
    index: Tensor | None
    batch: int
    unit: Tensor

    def mean(self, values: Tensor) -> Tensor:
        """(batch, ...): the weighted mean of values (*lead, ...) over the points of each sample; 0 where there are none."""
        return mean_of(values, self.share, self.index, self.batch)

    def each(self, of_samples: Tensor) -> Tensor:
        """Values (batch, ...) for each point, (*lead, ...), or (batch, 1, ...) where that does as well."""
        return of_samples[:, None] if self.index is None else of_samples[self.index]

    def split(self, count: int) -> list[Cloud]:
        """Dense clouds in parts of so many samples, at least one part."""
        slices = [slice(start, start + count) for start in range(0, max(1, self.batch), count)]
        return [
            Cloud(
                self.points[some],
                self.features[some],
                self.fields[some],
                self.share[some],
                None,
                len(self.unit[some]),
                self.unit[some],
            )
            for some in slices
        ]

    def moments(self) -> Float[Tensor, "batch d d"]:
        """d times the second moments of the points: about the identity where the unit is their own."""
        # One sum for each product: a product of matrices would round (i, j) and (j, i) differently.
        return self.points.shape[-1] * self.mean(self.points[..., :, None] * self.points[..., None, :])

    def turned(self, matrices: Tensor, values: Tensor) -> Tensor:
        """(*lead, d): the matrix (batch, d, d) of its sample times each of the values (*lead, d)."""
        return (self.each(matrices) * values[..., None, :]).sum(-1)


def read(
    module: Any,
    points: Any,
    features: Any,
    fields: Any,
    weights: Any,
    index: Any,
    batch: int | None,
    parameter: Tensor,
    *,
    double: bool = False,
) -> Cloud:
    """The cloud that was passed to a network with the attributes `features`, `fields` and `unit`; in float64 if `double`.

    Raises:
        SymmetryError: what is no cloud, parts that do not fit together or are missing, another dtype than the weights.
    """
    where = type(module).__name__
    _check_points(where, points, index, parameter)
    lead, d = points.shape[:-1], points.shape[-1]
    if index is not None:
        index, batch = _checked_index(where, points, index, batch)
    else:
        batch = len(points)
    eps = torch.finfo(parameter.dtype).eps
    dtype = torch.float64 if double else parameter.dtype
    points = points.to(dtype)
    features = part(where, "features", features, (*lead, module.features), points, count=module.features)
    fields = part(where, "fields", fields, (*lead, module.fields, d), points, count=module.fields)
    share = _shares(where, weights, points, index, batch)
    if weights is not None:
        # What has no weight must not be felt, not even where it is infinite.
        present = share > 0
        points = torch.where(present, points, 0)
        features = torch.where(present, features, 0)
        fields = torch.where(present[..., None], fields, 0)

    def each(of_samples: Tensor) -> Tensor:
        return of_samples[:, None] if index is None else of_samples[index]

    place = mean_of(points, share, index, batch)
    points = points - each(place)
    # Again: equal points are then at 0 to the square of rounding, and no noise is blown up by the unit.
    points = points - each(mean_of(points, share, index, batch))
    if weights is not None:
        points = torch.where(present, points, 0)
    if module.unit is None:
        square = mean_of(points.square().sum(-1, keepdim=True), share, index, batch)
        noise = (_COINCIDENT * eps * place.detach()).square().sum(-1, keepdim=True)
        spread = square > noise.clamp(min=torch.finfo(dtype).tiny)
        unit = torch.where(spread, torch.where(spread, square, 1.0).sqrt(), 1.0)
    else:
        unit = points.new_full((batch, 1), module.unit)
    return Cloud(points / each(unit), features, fields, share, index, batch, unit)


def unrounded(points: Any) -> AbstractContextManager[Any]:
    """Inside of it `torch.autocast` is off: invariants rounded to bfloat16 would be no invariants to rounding."""
    if not isinstance(points, Tensor) or not torch.is_autocast_enabled(points.device.type):
        return nullcontext()
    return torch.autocast(points.device.type, enabled=False)


def mean_of(values: Tensor, share: Tensor, index: Tensor | None, batch: int) -> Tensor:
    """(batch, ...): sums of values (*lead, ...) times shares (*lead, 1) over the points of each sample."""
    shares = share.reshape(*share.shape[:-1], *(1,) * (values.ndim - share.ndim + 1))
    if index is None:
        return (values * shares).sum(1)
    return values.new_zeros(batch, *values.shape[1:]).index_add(0, index, values * shares)


def even(vectors: Float[Tensor, "batch m d"]) -> Float[Tensor, "batch m d"]:
    """Vectors over their root mean square length, which count less where it is below 1e-2: symmetric inputs stay near 0."""
    square = vectors.square().sum(-1, keepdim=True).mean(1, keepdim=True)
    return vectors * (square + _TINY).rsqrt()


class Pointing(nn.Module):
    """Vectors of a cloud from numbers of its points: weighted means p of points and fields, and D p and D D p beside them.

    D are the second moments without their trace. Numbers that vary little over a cloud give vectors p that are almost
    parallel; D turns them apart. Each kind is brought to the same length, so that none hides the others.
    """

    def __init__(self, width: int, vectors: int, fields: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.vectors = vectors
        self.weight = drawn(vectors * (_KINDS + fields), width, fan=width, generator=generator)
        self.bias = nn.Parameter(torch.zeros(vectors * (_KINDS + fields)))

    def forward(self, h: Tensor, points: Tensor, moments: Tensor, cloud: Cloud) -> Tensor:
        """Vectors (batch, vectors, d) in the unit of the points.

        Args:
            h: numbers (*lead, width).
            points: centred (*lead, d).
            moments: (batch, d, d).
            cloud: which points belong together.
        """
        amounts = F.linear(h, self.weight, self.bias)
        kinds = len(self.bias) // self.vectors
        amounts = amounts.reshape(*h.shape[:-1], kinds, self.vectors)
        trace = moments.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
        apart = moments - trace * torch.eye(points.shape[-1], dtype=points.dtype, device=points.device)
        total = torch.zeros((), dtype=points.dtype, device=points.device)
        for kind in range(_KINDS):
            p = cloud.mean(amounts[..., kind, :, None] * points[..., None, :])
            for _ in range(kind):
                p = p @ apart
            total = total + even(p)
        for number in range(kinds - _KINDS):
            total = total + even(
                cloud.mean(amounts[..., _KINDS + number, :, None] * cloud.fields[..., number, None, :])
            )
        return even(total) * cloud.unit[..., None]


def perceptron(*sizes: int, generator: torch.Generator | None, last: float = 1.0) -> nn.Sequential:
    """Linear layers of these sizes with SiLUs between them, weights from `generator`, those of the last times `last`."""
    layers: list[nn.Module] = []
    for number, (old, new) in enumerate(pairwise(sizes), start=2):
        linear = nn.Linear(old, new, device="meta")
        gain = last if number == len(sizes) else 1.0
        linear.weight = drawn(new, old, fan=max(old, 1) / gain**2, generator=generator)
        linear.bias = nn.Parameter(torch.zeros(new))
        layers += [linear, nn.SiLU()]
    return nn.Sequential(*layers[:-1])


def check_settings(where: str, unit: float | None, *, features: object, fields: object, **sizes: object) -> None:
    """Refuse settings of a network for clouds that are no sizes, or no unit.

    Raises:
        SymmetryError: it names the setting.
    """
    positive(where, **sizes)
    for name, value in (("features", features), ("fields", fields)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise refuse(
                f"{where}: {name} is no number of entries",
                got=f"{name}={value!r}",
                expected="a whole number from 0",
                fix=f"{name}=0 where the points have none",
            )
    if unit is not None and (
        isinstance(unit, bool) or not isinstance(unit, int | float) or not 0 < unit < float("inf")
    ):
        raise refuse(
            f"{where}: unit is no length",
            got=f"unit={unit!r}",
            expected="a positive, finite length in the unit of the points, or None",
            fix="unit=None, which measures each sample by its own size",
        )


def _check_points(where: str, points: Any, index: Any, parameter: Tensor) -> None:
    wanted = 3 if index is None else 2
    if not isinstance(points, Tensor) or points.ndim != wanted or points.shape[-1] == 0:
        raise refuse(
            f"{where} needs a cloud of points",
            got=describe(points) + ("" if index is None else ", with an index"),
            expected="a tensor (batch, n, d), or (rows, d) with index=, the sample of each row",
            fix="put the batch first: points[None] adds a batch axis to a single cloud",
        )
    same_dtype(where, "the points", points, parameter)


def _checked_index(where: str, points: Tensor, index: Any, batch: int | None) -> tuple[Tensor, int]:
    good = isinstance(index, Tensor) and index.dtype in (torch.int64, torch.int32) and index.shape == points.shape[:1]
    if not good:
        raise refuse(
            f"{where}: the index does not name the sample of each row",
            got=describe(index),
            expected=f"an int64 tensor ({len(points)},)",
            fix="index.long(), one entry for each row of points",
        )
    low, high = (int(index.min()), int(index.max())) if len(index) else (0, -1)
    batch = high + 1 if batch is None else batch
    if low < 0 or high >= batch:
        raise refuse(
            f"{where}: the index names a sample that does not exist",
            got=f"samples {low} to {high}, with batch={batch}",
            expected=f"samples 0 to {batch - 1}",
            fix="pass the number of samples as batch=, those without rows counted",
        )
    return index.long(), batch


def _shares(where: str, weights: Any, points: Tensor, index: Tensor | None, batch: int) -> Tensor:
    lead = points.shape[:-1]
    if weights is None and index is None:
        return points.new_full((*lead, 1), 1 / max(lead[1], 1))
    if weights is not None and (
        not isinstance(weights, Tensor) or weights.shape != lead or not bool((weights >= 0).all())
    ):
        raise refuse(
            f"{where}: the weights do not fit the points",
            got=describe(weights),
            expected=f"a tensor {tuple(lead)} of numbers from 0",
            fix="one weight for each point; 0 for what only fills a row up",
        )
    each = points.new_ones(lead) if weights is None else weights.to(points.dtype)
    if index is None:
        total = each.sum(1)[:, None]
    else:
        total = each.new_zeros(batch).index_add(0, index, each)[index]
    return (each / torch.where(total > 0, total, 1.0))[..., None]
