"""Poses that a network of vectors points out for clouds of points."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

from canonize._own import own
from canonize._tree import describe
from canonize.actions.trees import batch_of
from canonize.errors import refuse
from canonize.frames.base import Poses
from canonize.frames.cloud import cloud_of
from canonize.frames.declared import check_is_euclidean
from canonize.frames.pairs import ramp, smooth_size
from canonize.frames.vectors import checked_vectors
from canonize.frames.weighted import Weighted, elements_of, with_fallback
from canonize.groups import E, O
from canonize.linalg import direction, last_axis, left_over
from canonize.symmetry import Symmetry, call, check_is_claim

_FADE = 0.1
"""Margins below that fade into the fallback, and below half of it have faded."""


@final
class Learned(nn.Module):
    """The pose that a network of vectors points out, for clouds under SO(d), O(d), SE(d) and E(d): one call of the network.

    The network returns vectors (batch, m, d) that turn with the input and do not feel shifts, v(h · x) = linear(h) v(x),
    as `canonize.nn.VectorNeurons`, `EGNN` and `DeepSets` do. Made orthonormal one after the other they become the columns
    of the pose; rotations take d - 1 of them and their cross product, orthogonal groups need one more, which says on which
    side the last column is. The pose has a derivative, so that the network learns with the model.

    Where the vectors have no directions, as those of symmetric clouds cannot have, the frame fades into `fallback`, sample
    by sample, so that the symmetrized model is equivariant for every cloud as exactly as the network obeys its law.

    `Poses.margin` is the smallest of |v1| / (|v1| + scale · size) and r / |v| for the vectors after the first, where r is
    the length of what is left of v when those before it are taken away: 0 is a tie.

    Args:
        network: called as the model is. An `nn.Module` becomes part of this frame.
        fallback: frame for samples whose margin is below .1.
        scale: which share of the size of a cloud the first vector must have for a margin of one half, positive.
        of: name of the field that holds the points, from which the centre and the size are taken; as for `Weighted`.

    Raises:
        SymmetryError: a network that is not callable, returns another shape, too few vectors, whole numbers, NaN or
            infinity; another group, an argument out of its range.

    Vectors are computed with in float64; elements have the dtype of the inputs.

    Singular case: see `Weighted`.

    Source: Kaba et al., arXiv 2211.06489, section 4; Gram-Schmidt on columns, g = [u1 u2 u3], so that h g = [h u1 ...].
    """

    def __init__(
        self, network: Any, *, fallback: Weighted | None = None, scale: float = 0.1, of: str | None = None
    ) -> None:
        super().__init__()
        if not callable(network) or isinstance(network, type):
            raise refuse(
                "Learned needs a network",
                got=describe(network),
                expected="a callable that takes what the model takes and returns vectors (batch, m, d)",
                fix="Learned(network), with an instance",
            )
        if fallback is not None and not isinstance(fallback, Weighted):
            raise refuse("Learned: bad fallback", got=repr(fallback), expected="a Weighted", fix="leave it out")
        if not isinstance(scale, int | float) or not 0 < scale < float("inf"):
            raise refuse("Learned: bad scale", got=repr(scale), expected="positive and finite", fix="scale=0.1")
        self.network = network
        self.fallback = Weighted(of=of) if fallback is None else fallback
        self.scale = float(scale)
        self.of = of

    def forward(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """The pose of each sample, with the derivative of the network. Draws nothing."""
        check_is_claim(symmetry, "Learned")
        check_is_euclidean(symmetry.group, "Learned")
        cloud = cloud_of(symmetry, inputs, "Learned", of=self.of)
        _, dtype, _ = batch_of(symmetry.inputs, inputs)
        d = cloud.dim
        mirrors = isinstance(symmetry.group, O | E)
        # A network that changes its input in place must not change the caller's.
        vectors = checked_vectors(
            call(self.network, symmetry, own(inputs, inputs)), (cloud.batch, d if mirrors else d - 1, d), "Learned"
        )
        turns, margin = _columns(vectors.double(), mirrors, (self.scale * smooth_size(cloud)).clamp(min=1e-300))
        share = ramp(((margin - _FADE / 2) / (_FADE / 2)).clamp(0, 1))
        found, weights = with_fallback(
            self.fallback, symmetry, inputs, cloud, turns[None], torch.ones_like(share[None]), share
        )
        elements = elements_of(symmetry, found, cloud, dtype)
        return Poses(elements, weights.to(dtype), margin.detach(), spent=1, sparse=True)

    def extra_repr(self) -> str:
        """The settings, for `print(frame)`."""
        return f"fallback={self.fallback!r}, scale={self.scale}, of={self.of!r}"


def _columns(vectors: Tensor, mirrors: bool, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Orthogonal matrices (batch, d, d) from vectors (batch, m, d), and the margin (batch,), with derivatives."""
    d = vectors.shape[-1]
    units: list[Tensor] = []
    margin = torch.ones_like(scale)
    for number in range(d - 1):
        vector = vectors[:, number]
        # The largest entry is divided out, so that squares neither overflow nor vanish; direction does not feel it.
        largest = vector.detach().abs().amax(-1, keepdim=True).clamp(min=torch.finfo(vector.dtype).tiny)
        vector = vector / largest
        whole, rest = _length(vector), _length(left_over(vector, units))
        ratio = rest / (rest + scale / largest[:, 0]) if number == 0 else rest / torch.where(whole > 0, whole, 1.0)
        margin = torch.minimum(margin, ratio)
        units.append(direction(vector, units, 1e-12))
    columns = torch.stack(units, -1) if units else vectors.new_zeros(len(vectors), d, 0)
    last = last_axis(columns)
    if mirrors:
        vector = vectors[:, d - 1]
        side, whole = (vector * last).sum(-1), _length(vector)
        margin = torch.minimum(margin, side.abs() / torch.where(whole > 0, whole, 1.0))
        last = torch.where(side.detach()[:, None] < 0, -last, last)
    return torch.cat([columns, last[..., None]], -1), margin


def _length(vector: Tensor) -> Tensor:
    """The length, with derivative zero at zero."""
    square = vector.square().sum(-1)
    return torch.where(square > 0, torch.where(square > 0, square, 1.0).sqrt(), 0.0)
