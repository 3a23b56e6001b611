"""A continuous frame for clouds of points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from canonize._tree import brief, tensors
from canonize._values import check_not_mapped, unseen
from canonize.actions.trees import batch_of
from canonize.errors import refuse
from canonize.frames.base import Poses
from canonize.frames.cloud import Cloud, cloud_of
from canonize.frames.declared import check_is_euclidean, has_more, has_shifts, unread
from canonize.frames.design import band
from canonize.frames.pairs import Listing, merged, pair_poses, scaled
from canonize.groups import E, O, Rigid
from canonize.symmetry import Symmetry, check_is_claim


@final
@dataclass(frozen=True, repr=False)
class Weighted:
    """Poses that point at the far points of a cloud, with weights that fade where poses merge or appear: continuous.

    For SO(d), O(d), SE(d) and E(d), d >= 2. Each axis points at one of the points (of what is left of it when the axes
    before are taken away), the last follows from the others. A sample has the poses of all points that are nearly the
    farthest; a pose whose points come to be less far fades out before it goes. So the symmetrized model is continuous
    where the model is, also on paths through symmetric clouds, which no single pose can be, and equivariant to rounding
    for every cloud. Forces are the gradient of a smooth energy.

    `Poses.margin` is the smallest extent that an axis is read from, relative to the size of the cloud: 0 for points and
    collinear clouds, where an axis is lost. There the poses are spread over all directions that the axis may have, so that
    tensors of the rank of the declared outputs are averaged exactly.

    Args:
        width: relative difference of lengths over which weights fade, positive; in the plane twice as much. Wider is smoother
            and needs more poses.
        flat: extent across, relative to the size, below which an axis fades into the average over its directions.
        of: name of the field that holds the points; where None the first declared `Point()`, or else the first `Vector()`.
        weights: name of the field with a weight from 0 for each point (masses, a mask); heavier points count as farther.
        marks: name of the field that tells kinds of points apart (atomic numbers, charges): fewer ties, so fewer poses.

    Raises:
        SymmetryError: another group, an argument out of its range; on use, no points, no such field, NaN or infinity.

    Singular case: where all points coincide the poses are spread over all directions; an output that is no scalar jumps
    there, since its direction has no other bound. Collinear clouds take their missing axis from the other points and
    vectors of the input, where these have one; where an input turns that is neither, they are refused. The spread is exact
    for outputs of every rank about an axis, and for points up to l = 5 in space and rank 3 beyond.

    Computed in float64; poses have the dtype of the inputs, and a derivative, also the second, that is finite everywhere.
    Coordinates are as good as their dtype: pass float32 or float64, not half precision. The time is in proportion to the
    number of points while few of them are far. A cloud has as many poses as it has nearly farthest points, times those far
    from that axis: few in molecules, 960 in C60, and on a sphere about the square of the number of points, which is refused
    beyond 4,096 axes a cloud.

    Source: weighted frames are from Dym, Lawrence, Siegel, arXiv 2402.16077.
    """

    __repr__ = brief

    width: float = 0.045
    flat: float = 0.06
    of: str | None = None
    weights: str | None = None
    marks: str | None = None

    def __post_init__(self) -> None:
        for name in ("width", "flat"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value < 1:
                raise refuse(f"Weighted: bad {name}", got=repr(value), expected="between 0 and 1", fix=f"{name}=0.05")

    def __call__(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """The poses of each sample. Draws nothing."""
        check_is_claim(symmetry, "Weighted")
        check_is_euclidean(symmetry.group, "Weighted")
        check_not_mapped("Weighted", tensors(inputs))
        cloud = cloud_of(symmetry, inputs, "Weighted", of=self.of, weights=self.weights, marks=self.marks)
        known, reach = self.listing(symmetry, inputs, cloud)
        return posed(symmetry, inputs, known, cloud, reach)

    def listing(
        self, symmetry: Symmetry, inputs: Any, cloud: Cloud, samples: Tensor | None = None
    ) -> tuple[Listing, Tensor]:
        """The poses of some samples (of all where None), numbered by their place in `samples`, and the reach of each."""
        settings: dict[str, Any] = {
            "mirrors": isinstance(symmetry.group, O | E),
            "width": self.width,
            "flat": self.flat,
            "rank": band(symmetry.outputs),
        }
        known, hold, reach = pair_poses(cloud if samples is None else cloud.take(samples), **settings)
        lost = (hold < 1).nonzero()[:, 0]
        if not unseen() and not lost.shape[0]:
            return known, reach
        if not has_more(symmetry):
            _check_read(symmetry, lost if samples is None else samples[lost])
            return known, reach
        # Clouds that lose an axis take it from what else turns with them.
        names = {"of": self.of, "weights": self.weights, "marks": self.marks}
        whole = cloud_of(symmetry, inputs, "Weighted", every=True, **names)
        whose = lost if samples is None else samples[lost]
        more, held, farther = pair_poses(whole.take(whose), **settings)
        _check_read(symmetry, whose[held < 1])
        more = scaled(Listing(lost[more.sample], more.turns, more.weights), 1 - hold)
        return merged(scaled(known, hold), more), reach.index_copy(0, lost, torch.maximum(reach[lost], farther))


def _check_read(symmetry: Symmetry, samples: Tensor) -> None:
    """Refuse samples without a pose of their own where an input turns that no pose is read from.

    Averaging over the directions of an axis is exact only if nothing in the input has one.
    """
    left = unread(symmetry)
    if left and not unseen() and samples.shape[0]:
        raise refuse(
            "the points of a sample are collinear or coincide, and something turns that tells no axis",
            got=f"sample {', '.join(map(str, samples.tolist()[:8]))} of the batch, with inputs declared {left}",
            expected="points off a line, or a Vector() beside them that is off it",
            fix="pass a vector that is made of these inputs as an input of its own, such as the product of a matrix with the "
            "points; under SO(d) and SE(d) a pseudovector is one; or leave these samples to Sampled(k)",
        )


def posed(symmetry: Symmetry, inputs: Any, known: Listing, cloud: Cloud, margin: Tensor) -> Poses:
    """Poses of a batch from a list of them."""
    _, dtype, _ = batch_of(symmetry.inputs, inputs)
    turns, weights = known.table(cloud.batch)
    return Poses(elements_of(symmetry, turns, cloud, dtype), weights.to(dtype), margin.detach(), sparse=True)


def elements_of(symmetry: Symmetry, turns: Tensor, cloud: Cloud, dtype: torch.dtype) -> Any:
    """Elements (k, batch, ...) of the group from orthogonal matrices, about the centre of each cloud."""
    turns = turns.to(dtype)
    if not has_shifts(symmetry.group):
        return turns
    return Rigid(turns, cloud.centre.to(dtype).expand(turns.shape[0], -1, -1))


def with_fallback(
    fallback: Weighted, symmetry: Symmetry, inputs: Any, cloud: Cloud, turns: Tensor, weights: Tensor, share: Tensor
) -> tuple[Tensor, Tensor]:
    """The poses, and for samples whose share is below one those of the fallback, with the rest of the weight."""
    lost = (share < 1).nonzero()[:, 0]
    if not unseen() and not lost.shape[0]:
        return turns, weights
    known, _ = fallback.listing(symmetry, inputs, cloud, lost)
    known = Listing(lost[known.sample], known.turns, known.weights * (1 - share[lost])[known.sample])
    if unseen():
        more, of_more = known.table(cloud.batch)
        return torch.cat([turns, more]), torch.cat([weights * share, of_more])
    # Only the columns of these samples are put together anew; all others keep theirs, padded with poses that are none.
    place = torch.zeros(cloud.batch, dtype=torch.int64, device=lost.device).index_copy(
        0, lost, torch.arange(lost.shape[0], device=lost.device)
    )
    more, of_more = Listing(place[known.sample], known.turns, known.weights).table(lost.shape[0])
    both = torch.cat([turns[:, lost], more])
    of_both = torch.cat([weights[:, lost] * share[lost], of_more])
    idle = of_both.detach() == 0
    k = max(weights.shape[0], int((~idle).sum(0).max()))
    order = idle.int().argsort(dim=0, stable=True)[:k]
    columns = torch.arange(lost.shape[0], device=lost.device)
    if k > weights.shape[0]:
        unit = torch.eye(cloud.dim, dtype=turns.dtype, device=turns.device)
        turns = torch.cat([turns, unit.expand(k - turns.shape[0], cloud.batch, -1, -1)])
        weights = torch.cat([weights, weights.new_zeros(k - weights.shape[0], cloud.batch)])
    return turns.index_copy(1, lost, both[order, columns]), weights.index_copy(1, lost, of_both[order, columns])
