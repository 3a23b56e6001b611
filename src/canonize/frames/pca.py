"""Poses along the principal axes of a cloud."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import Tensor

from canonize._tree import brief, tensors
from canonize._values import check_not_mapped, sent, unseen
from canonize.actions.trees import batch_of
from canonize.errors import refuse
from canonize.frames.base import Poses
from canonize.frames.cloud import cloud_of
from canonize.frames.declared import check_is_euclidean
from canonize.frames.pairs import ramp
from canonize.frames.signs import sign_scores, sign_table
from canonize.frames.weighted import Weighted, elements_of, with_fallback
from canonize.groups import E, O
from canonize.linalg import fading_shares, principal_axes
from canonize.linalg.axes import side_of
from canonize.symmetry import Symmetry, check_is_claim

_TIE = 2.4
"""Scores of signs of ten points closer than that times the eighth root of eps fade into each other."""

_FALLBACK = Weighted()
Signs = Literal["all", "ruled", "drawn"]


@final
@dataclass(frozen=True, repr=False)
class PCA:
    """Poses along the principal axes of a cloud, for SO(d), O(d), SE(d) and E(d): the fastest frame.

    The axes are the eigenvectors of the second moment, the longest first; their signs are open.

    - signs="all": all 2^d choices (2^(d - 1) for rotations) with equal weights, as in frame averaging.
    - signs="ruled": the choice that odd moments of the cloud prefer; one pose, and several where scores nearly tie, which
      they do for about half of the small molecules in float32 and for few large clouds.
    - signs="drawn": one choice at random, from `generator=`: stochastic frame averaging. Draws one and builds one; what
      the model returns varies from call to call.

    Where two eigenvalues come near each other the axes are lost; there, sample by sample, the frame fades into `fallback`,
    so that the symmetrized model is equivariant to rounding for every cloud, a molecule or a crystal of any symmetry
    included. Near is: a relative gap below 2.5 times the fourth root of eps of the input's dtype (.046 for float32, 3e-4 for
    float64), and less as the root of their number for more than ten points, which is where rounding would show. Only these
    samples cost more. On the scale of that gap the frame is continuous, but steep: for dynamics take `Weighted`.

    `Poses.margin` is the smallest difference of neighbouring eigenvalues relative to the largest, for signs="ruled" also
    the difference of the two best scores where that is less: how far each cloud is from a tie.

    Args:
        signs: see above.
        fallback: frame for samples without axes; None keeps the axes as they come, in one pose (or 2^d), without a look at
            values, which compiles to one graph: then the margin alone tells where they are noise.
        of, weights, marks: as for `Weighted`; the weights enter the second moment.

    Raises:
        SymmetryError: another group, signs that are none of these, a fallback that is no `Weighted`; on use, no points, no
            such field, NaN or infinity.

    Computed in float64; poses have the dtype of the inputs. The derivative is that of the eigenvectors, also when taken
    twice; it grows as one over the gap, and fades with the poses.

    Singular case: see `Weighted`.

    Source: Puny et al., arXiv 2110.03336; stochastic frames: Duval et al., arXiv 2305.05577.
    """

    __repr__ = brief

    signs: Signs = "all"
    fallback: Weighted | None = _FALLBACK
    of: str | None = None
    weights: str | None = None
    marks: str | None = None

    def __post_init__(self) -> None:
        if self.signs not in ("all", "ruled", "drawn"):
            raise refuse("PCA: bad signs", got=repr(self.signs), expected="'all', 'ruled' or 'drawn'", fix="PCA()")
        if self.fallback is not None and not isinstance(self.fallback, Weighted):
            raise refuse("PCA: bad fallback", got=repr(self.fallback), expected="a Weighted, or None", fix="PCA()")

    def __call__(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """The poses of each sample; `generator` feeds signs="drawn"."""
        check_is_claim(symmetry, "PCA")
        check_is_euclidean(symmetry.group, "PCA")
        if self.fallback is not None:
            check_not_mapped("PCA", tensors(inputs))
        cloud = cloud_of(symmetry, inputs, "PCA", of=self.of, weights=self.weights, marks=self.marks)
        mirrors = isinstance(symmetry.group, O | E)
        _, dtype, _ = batch_of(symmetry.inputs, inputs)
        d = cloud.dim
        if d > 10:
            raise refuse("PCA: too many axes", got=f"{d}, so 2^{d} signs", expected="at most 10", fix="Weighted()")
        # Rounding turns an axis by eps over gap, so that the gap must exceed a root of eps; over many points it averages
        # out. (Far from the origin it is more, but how far depends on where that is, which no choice may.)
        few = (10 / cloud.count().clamp(min=10)).sqrt()
        cut = 0.0 * few if self.fallback is None else 2.5 * cloud.eps**0.25 * few
        axes, values = principal_axes(cloud.moments(cloud.points, cloud.points), cut / 2)
        largest = torch.where(values[:, :1] > 0, values[:, :1], 1.0)
        gap = (-values.diff(dim=-1) / largest).amin(-1) if d > 1 else values[:, 0] / largest[:, 0]
        gap = torch.where(cloud.noise < 1, gap, 0.0).clamp(min=0)
        if not mirrors:
            handed = torch.where(side_of(axes.detach()) < 0, -1.0, 1.0)
            axes = torch.cat([axes[..., :-1], axes[..., -1:] * handed[:, None, None]], -1)
        table = sign_table(d, mirrors, axes)
        margin = gap.detach()
        if self.signs == "ruled":
            scores = sign_scores(cloud, axes, values, table)
            best = scores.detach().topk(min(2, len(scores)), dim=0).values
            margin = torch.minimum(margin, best[0] - best[-1]) if len(best) > 1 else margin
        if self.fallback is None:
            if self.signs == "all":
                turns, weights = _every(axes, table)
            else:
                pick = scores.argmax(0) if self.signs == "ruled" else _drawn(table, axes, generator)
                turns, weights = (axes * table[pick][:, None, :])[None], axes.new_ones(1, axes.shape[0])
            return Poses(elements_of(symmetry, turns, cloud, dtype), weights.to(dtype), margin)
        if self.signs == "all":
            turns, weights = _every(axes, table)
        elif self.signs == "drawn":
            pick = _drawn(table, axes, generator)
            turns, weights = (axes * table[pick][:, None, :])[None], axes.new_ones(1, axes.shape[0])
        else:
            # Where axes are loosely known, so are the scores. Those of many points are known better still, as measured on
            # clouds of a thousand: models of near ties err there as little as those of small molecules do.
            loose = few * few.pow(0.3).clamp(min=0.5) * (1 + 0.05 / torch.maximum(gap, cut / 2))
            turns, weights = _preferred(axes, table, scores, _TIE * float(cloud.eps**0.125) * loose)
        share = ramp(((gap - cut / 2) / (cut / 2)).clamp(0, 1))
        turns, weights = with_fallback(self.fallback, symmetry, inputs, cloud, turns, weights, share)
        if self.signs == "drawn" and (unseen() or weights.shape[0] > 1):
            turns, weights = _one_of(turns, weights, generator)
        return Poses(elements_of(symmetry, turns, cloud, dtype), weights.to(dtype), margin, sparse=True)


def _every(axes: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    turns = axes * table[:, None, None, :]
    return turns, turns.new_full(turns.shape[:2], 1 / len(table))


def _preferred(axes: Tensor, table: Tensor, scores: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """The poses that have a share of the best score, the best first."""
    shares = fading_shares(scores, width)
    if unseen(shares):
        k = len(table)
    else:
        k = max(1, int((shares > 0).sum(0).max())) if shares.shape[1] else 1
    weights, order = shares.topk(k, dim=0)
    return axes * table[order][:, :, None, :], weights


def _drawn(table: Tensor, axes: Tensor, generator: torch.Generator | None) -> Tensor:
    source = generator.device if generator is not None else torch.device("cpu")
    return sent(torch.randint(len(table), (axes.shape[0],), generator=generator, device=source), axes.device)


def _one_of(turns: Tensor, weights: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """One pose of each sample, drawn with its weight."""
    source = generator.device if generator is not None else torch.device("cpu")
    level = torch.rand(weights.shape[1], generator=generator, dtype=torch.float64, device=source)
    level = sent(level, weights.device)
    total = weights.detach().cumsum(0)
    pick = (total < level * total[-1]).sum(0).clamp(max=weights.shape[0] - 1)
    each = torch.arange(weights.shape[1], device=weights.device)
    return turns[pick, each][None], torch.ones_like(weights[:1])
