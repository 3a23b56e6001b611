"""Poses from vectors that turn with the input."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

from canonize._own import own
from canonize._tree import describe
from canonize.actions.trees import batch_of
from canonize.errors import refuse
from canonize.frames.base import Poses, island
from canonize.frames.choose import sure
from canonize.frames.orbit import shrunk
from canonize.frames.vectors import checked_vectors
from canonize.groups import SO, O
from canonize.symmetry import Symmetry, call, check_is_claim

_FLOOR = 1e-12
"""A length below this share of the scale and of the vector that it is left of is taken to be zero."""


@final
class Oriented(nn.Module):
    """The pose that a network of vectors points out: one call of the network, for SO(2), O(2), SO(3) and O(3).

    The network returns vectors (batch, m, d) that turn with the input, v(h · x) = h v(x), in the plane for example
    `canonize.nn.Steerable`. They are made orthonormal one after the other and become the columns of the pose, so that
    frame(h · x) = h · frame(x) as exactly as the network obeys its law, and the pose has a derivative: the network learns
    with the model.

    - SO(2), m >= 1: the first column is the direction of v1, the second is that one turned by 90 degrees.
    - O(2), m >= 2: the second column is orthogonal to the first, on the side of v2.
    - SO(3), m >= 2: v1, what of v2 is orthogonal to it, and their cross product.
    - O(3), m >= 3: the same, and the third column on the side of v3.

    `Poses.margin` tells how far the vectors are from having no directions: the smallest of r / (r + scale) and r / |v| over
    the vectors in use, where r is the length of what is left of a vector v when those before it are taken away. 0 is a tie.

    Args:
        network: called as the model is. An `nn.Module` becomes part of this frame; any other callable is only called.
        resolution: as for `Best`.
        scale: a length of the vectors, in their unit, at which direction and noise count the same: the margin is about 1/2.

    Vectors are computed with in float64, also inside `torch.autocast`; elements have the dtype of the inputs.

    Raises:
        SymmetryError: a network that is not callable, returns another shape, too few vectors, whole numbers, NaN or
            infinity; another group, for finite ones it names `Scored`; an argument out of its range.

    Singular case: inputs that a rotation leaves as they are have vectors that are zero, or in space parallel, to rounding;
    their direction is noise, which the margin tells. Where a vector in use is zero or depends on those before it to 1e-12,
    the pose is the identity, with margin 0 and derivative zero.

    Source: Kaba et al., arXiv 2211.06489, section 4; Gram-Schmidt on columns, g = [u1 u2 u3], so that h g = [h u1 ...].
    """

    def __init__(self, network: Any, *, resolution: int | None = None, scale: float = 1.0) -> None:
        super().__init__()
        if not callable(network) or isinstance(network, type):
            raise refuse(
                "Oriented needs a network",
                got=describe(network),
                expected="a callable that takes what the model takes and returns vectors (batch, m, d)",
                fix="Oriented(network), with an instance",
            )
        if resolution is not None and (not isinstance(resolution, int) or resolution < 1):
            raise refuse(
                "Oriented: bad resolution",
                got=repr(resolution),
                expected="pixels, at least 1, or None",
                fix="resolution=32",
            )
        if not isinstance(scale, int | float) or not 0 < scale < float("inf"):
            raise refuse(
                "Oriented: bad scale",
                got=repr(scale),
                expected="a positive, finite length, in the unit of the vectors",
                fix="scale=1.0",
            )
        self.network = network
        self.resolution = resolution
        self.scale = float(scale)

    def forward(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """One pose for each sample, with the derivative of the network. Draws nothing."""
        check_is_claim(symmetry, "Oriented")
        group = symmetry.group
        if not isinstance(group, SO | O) or group.n not in (2, 3):
            finite = hasattr(group, "elements")
            raise refuse(
                f"Oriented makes no elements of {group!r}",
                got=repr(group),
                expected="SO(2), O(2), SO(3) or O(3)",
                fix="Scored(network), with an energy for each element of a finite group"
                if finite
                else "take the group without translations, and subtract the mean of the points",
            )
        batch, dtype, device = batch_of(symmetry.inputs, inputs)
        if batch == 0:
            g = torch.eye(group.n, dtype=dtype, device=device).expand(1, 0, -1, -1)
            return Poses(
                g,
                torch.ones(1, 0, dtype=dtype, device=device),
                torch.zeros(0, dtype=torch.float64, device=device),
                spent=1,
            )
        small = inputs if self.resolution is None else shrunk(symmetry.inputs, inputs, self.resolution)
        needed = group.n if isinstance(group, O) else group.n - 1
        # A network that changes its input in place must not change the caller's.
        with island(inputs):
            vectors = call(self.network, symmetry, own(small, inputs))
        vectors = checked_vectors(vectors, (batch, needed, group.n), "Oriented")
        # Gram-Schmidt is all sums and products of entries, which autocast leaves in float64.
        g, margin = columns(vectors[:, :needed].double(), self.scale)
        weights, unchecked = sure(torch.ones(1, batch, dtype=dtype, device=device), vectors.movedim(1, 0))
        return Poses(g[None].to(dtype), weights, margin.detach(), spent=1, unchecked=unchecked)

    def extra_repr(self) -> str:
        """The settings, for `print(frame)`."""
        return f"resolution={self.resolution}, scale={self.scale}"


def columns(vectors: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Orthogonal matrices whose columns are the vectors made orthonormal, and their margin.

    Args:
        vectors: (batch, m, d), float64; with m = d - 1 the last column gives the determinant +1, with m = d it is on the
            side of the last vector.
        scale: a length, in the unit of the vectors.

    Returns:
        (batch, d, d), the identity where a vector depends on those before it; and the margin (batch,).
    """
    _, m, d = vectors.shape
    found: list[Tensor] = []
    sound = torch.ones(vectors.shape[0], dtype=torch.bool, device=vectors.device)
    margin = torch.ones(vectors.shape[0], dtype=torch.float64, device=vectors.device)

    def told(left: Tensor, whole: Tensor) -> None:
        """Take account of what is `left` of a vector of the length `whole`."""
        nonlocal sound, margin
        sound = sound & (left > _FLOOR * (scale + whole))
        ratio = torch.minimum(left / (left + scale), left / torch.where(whole > 0, whole, 1.0))
        margin = torch.minimum(margin, ratio)

    for number in range(d - 1):
        # The largest entry is divided out, so that squares neither overflow nor vanish; direction does not feel it.
        largest = _largest(vectors[:, number])
        part = vectors[:, number] / largest
        # Twice, since the first time leaves rounding of the size of the whole vector behind.
        for _ in range(2):
            for unit in found:
                part = part - (part * unit).sum(-1, keepdim=True) * unit
        told(_length(part * largest), _length(vectors[:, number]))
        axis = torch.zeros_like(part)
        axis[:, number] = 1.0
        part = torch.where(sound[:, None], part, axis)
        found.append(part / part.square().sum(-1, keepdim=True).sqrt())
    last = torch.stack([-found[0][:, 1], found[0][:, 0]], -1) if d == 2 else torch.linalg.cross(*found, dim=-1)
    if m == d:
        side = (vectors[:, -1] * last).sum(-1).detach()
        told(side.abs(), _length(vectors[:, -1]))
        last = torch.where(side[:, None] < 0, -last, last)
    unit = torch.eye(d, dtype=vectors.dtype, device=vectors.device)
    g = torch.where(sound[:, None, None], torch.stack([*found, last], -1), unit)
    return g, torch.where(sound, margin, 0.0)


def _largest(vector: Tensor) -> Tensor:
    """The largest entry of each vector, (batch, 1), at least the smallest number that can be divided by."""
    return vector.detach().abs().amax(-1, keepdim=True).clamp(min=torch.finfo(vector.dtype).tiny)


def _length(vector: Tensor) -> Tensor:
    largest = _largest(vector)
    return (vector.detach() / largest).square().sum(-1).sqrt() * largest[:, 0]
