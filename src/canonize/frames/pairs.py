"""Weighted poses of a cloud that depend continuously on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from canonize._values import unseen
from canonize.frames.anchors import blocks, chains
from canonize.frames.cloud import Cloud
from canonize.frames.design import design
from canonize.linalg import dot, last_axis
from canonize.linalg.segments import most_of, segment_counts, segment_owners

_SIDE = 0.06
"""Below this asymmetry of the points along its last axis a pose has its mirror image beside it."""
_POINT = 1 / 32
"""A cloud is a point where the rounding of its coordinates is more than this share of its size."""


@final
@dataclass(frozen=True)
class Listing:
    """Weighted poses, as many for a sample as it has.

    Attributes:
        sample: (m,), sorted: whose pose it is.
        turns: (m, d, d), orthogonal.
        weights: (m,), positive; those of a sample sum to one.
    """

    sample: Tensor
    turns: Tensor
    weights: Tensor

    def table(self, batch: int) -> tuple[Tensor, Tensor]:
        """The same as (k, batch, d, d) and (k, batch); weight zero and the identity where a sample has fewer than k."""
        d = self.turns.shape[-1]
        counts = segment_counts(self.sample, batch)
        place = torch.arange(self.sample.shape[0], device=self.sample.device) - (counts.cumsum(0) - counts)[self.sample]
        if unseen():
            k = most_of(counts)
            # With memory of its own: into an expanded tensor inductor writes one value for all (torch 2.13).
            unit = torch.eye(d, dtype=self.turns.dtype, device=self.turns.device).repeat(k, batch, 1, 1)
            weights = self.weights.new_zeros(k, batch)
            where = (place, self.sample)
            return unit.index_put(where, self.turns), weights.index_put(where, self.weights)
        k = max(1, int(counts.max())) if batch else 1
        slot = place * batch + self.sample
        unit = torch.eye(d, dtype=self.turns.dtype, device=self.turns.device).repeat(k * batch, 1, 1)
        turns = unit.index_copy(0, slot, self.turns)
        weights = self.weights.new_zeros(k * batch).index_copy(0, slot, self.weights)
        return turns.reshape(k, batch, d, d), weights.reshape(k, batch)


def pair_poses(cloud: Cloud, *, mirrors: bool, width: float, flat: float, rank: int) -> tuple[Listing, Tensor, Tensor]:
    """Poses whose axes point at far points, with weights that fade where others come to be as far.

    Args:
        cloud: the points.
        mirrors: whether the poses are to be of either determinant.
        width: relative difference of lengths over which a weight fades.
        flat: extent across, relative to the size, below which the direction of an axis fades out.
        rank: of the outputs; where an axis fades out, poses are spread so that tensors of this rank are averaged exactly.

    Returns:
        The poses; the hold (batch,), from 0 where an axis is lost to 1 where all are well known, with a derivative; and
        the reach (batch,): the smallest extent that an axis is read from, relative to the size; 0 for points.
    """
    d, batch = cloud.dim, cloud.batch
    x, owner, weights = cloud.rows()
    order = owner.argsort(stable=True)
    x, owner, weights = x[order], owner[order], weights[order]
    # What follows compares extents with fixed numbers, so that the unit must feel the points, smoothly.
    x = x / _size(x, weights, owner, batch)[owner, None]
    # The derivative of a logarithm at zero would reach the weights through the mask.
    counted = weights > 0
    base = torch.where(counted, weights, 1.0).log()
    base = base if cloud.marks is None else base + cloud.marks.reshape(-1)[order].log1p()
    base = torch.where(counted, base, -torch.inf)
    # Clouds that are points have no axes; their poses are spread over all directions below.
    solid = cloud.noise < _POINT
    base = torch.where(solid[owner], base, -torch.inf)
    levels = d - 1
    # In the plane poses are few, so that they may fade over twice the width.
    found = chains(
        x, owner, base, (8 * cloud.noise).clamp(min=1e-10), levels=levels, width=2 * width if d == 2 else width
    )
    sample, shares, squares = found.sample, found.shares, found.squares[1:]
    columns = torch.stack(found.units, -1) if levels else x.new_zeros(sample.shape[0], d, 0)
    known = Listing(sample, torch.cat([columns, last_axis(columns)[..., None]], -1), shares)
    # An axis that is read from a short remainder is spread over its directions, each pose by as much as its own needs.
    fades = ramp((squares / flat**2).clamp(max=1.0))
    hold = x.new_zeros(batch).index_add(0, sample, shares * fades.prod(0))
    hold = torch.where(hold > 1 - 1e-12, 1.0, hold)
    extent = x.new_zeros(batch).index_add(0, sample, shares.detach() * squares.detach().amin(0)) if levels > 1 else hold
    reach = torch.where(solid, extent.sqrt(), 0.0)
    for level in range(levels - 1):
        known, origin = _spread(known, fades[level], design(d - 1 - level, rank, x))
        fades = fades[:, origin]
    missing = (~solid).nonzero()[:, 0]
    if unseen() or missing.shape[0]:
        every = design(d, rank, x)
        spread = Listing(
            missing.repeat_interleave(every.shape[0]),
            every.repeat(missing.shape[0], 1, 1),
            every.new_full((missing.shape[0] * every.shape[0],), 1 / every.shape[0]),
        )
        known = merged(known, spread)
    if mirrors:
        known = _both_sides(known, x, owner, weights, flat, batch)
    return known, hold, reach


def _size(x: Tensor, weights: Tensor, owner: Tensor, batch: int) -> Tensor:
    """About the length of the farthest points, (batch,): the root mean square with weights that grow as length^8; smooth."""
    square = x.square().sum(-1)
    heavy = weights * square.pow(4)
    low, high = (square.new_zeros(batch).index_add(0, owner, part) for part in (heavy, heavy * square))
    known = low > 0
    return torch.where(known, torch.where(known, high / torch.where(known, low, 1.0), 1.0).sqrt(), 1.0)


def smooth_size(cloud: Cloud) -> Tensor:
    """About the length of the farthest points in the unit of the input, (batch,), with its derivative."""
    x, owner, weights = cloud.rows()
    return _size(x, weights, owner, cloud.batch) * cloud.size


def ramp(x: Tensor) -> Tensor:
    """From 0 to 1 as x goes from 0 to 1, with slope zero at both ends."""
    return x.square() * (3 - 2 * x)


def scaled(known: Listing, share: Tensor) -> Listing:
    """Poses whose weights are multiplied by a share (batch,) of their sample; without those that then have none."""
    weights = known.weights * share[known.sample]
    left = (weights > 0).nonzero()[:, 0]
    return Listing(known.sample[left], known.turns[left], weights[left])


def merged(one: Listing, two: Listing) -> Listing:
    """Both lists in one."""
    sample = torch.cat([one.sample, two.sample])
    order = sample.argsort(stable=True)
    turns, weights = torch.cat([one.turns, two.turns]), torch.cat([one.weights, two.weights])
    return Listing(sample[order], turns[order], weights[order])


def _spread(known: Listing, fade: Tensor, turns: Tensor) -> tuple[Listing, Tensor]:
    """Poses averaged over `turns` of their last axes, each by a share of 1 - fade; and which pose each came from."""
    m, n = turns.shape[:2]
    d = known.turns.shape[-1]
    some = (fade < 1).nonzero()[:, 0]
    origin = torch.arange(fade.shape[0], device=fade.device)
    if m == 1 or (not unseen() and not some.shape[0]):
        return known, origin
    whole = torch.eye(d, dtype=turns.dtype, device=turns.device).repeat(m, 1, 1)
    whole[:, d - n :, d - n :] = turns
    first = torch.zeros(m, dtype=turns.dtype, device=turns.device)
    first[0] = 1.0
    own = fade[some, None]
    rest = (fade >= 1).nonzero()[:, 0]
    origin = torch.cat([rest, some.repeat_interleave(m)])
    sample = known.sample[origin]
    order = sample.argsort(stable=True)
    # One product of matrices, which ONNX Runtime also takes where there are none to spread.
    both = known.turns[some].flatten(0, 1) @ whole.transpose(0, 1).flatten(1)
    turned = torch.cat([known.turns[rest], both.reshape(-1, d, m, d).transpose(1, 2).flatten(0, 1)])
    weights = torch.cat([known.weights[rest], (known.weights[some, None] * (own * first + (1 - own) / m)).flatten()])
    return Listing(sample[order], turned[order], weights[order]), origin[order]


def _both_sides(known: Listing, x: Tensor, owner: Tensor, weights: Tensor, flat: float, batch: int) -> Listing:
    """Poses of either determinant: the last axis towards where the cloud reaches farther, or both ways where it does not."""
    last = known.turns[..., -1]
    counts = segment_counts(owner, batch)
    starts = (counts.cumsum(0) - counts)[known.sample]
    counts = counts[known.sample]
    few = [_sums_along(last[part], x, weights, starts[part], counts[part]) for part in blocks(counts)]
    mass, square, cube, whole = torch.cat(few, -1) if few else x.new_zeros(4, 0)
    thickness = square / torch.where(mass > 0, mass, 1.0)
    known_side = whole > 0
    skew = torch.where(known_side, cube / torch.where(known_side, whole, 1.0), 0.0)
    side = (skew / _SIDE).clamp(-1, 1)
    # Of a flat cloud neither side is the farther: the choice fades out.
    share = (1 + ramp((thickness / flat**2).clamp(max=1.0)) * side * (3 - side.square()) / 2) / 2
    mirrored = torch.cat([known.turns[..., :-1], -last[..., None]], -1)
    up, down = (share > 0).nonzero()[:, 0], (share < 1).nonzero()[:, 0]
    return merged(
        Listing(known.sample[up], known.turns[up], known.weights[up] * share[up]),
        Listing(known.sample[down], mirrored[down], known.weights[down] * (1 - share[down])),
    )


def _sums_along(axes: Tensor, x: Tensor, weights: Tensor, starts: Tensor, counts: Tensor) -> Tensor:
    """Weighted sums of 1, t^2, t^3 and |t|^3, (4, m), where t is the place of a point along an axis (m, d).

    Args:
        axes: (m, d).
        x: (rows, d), sorted by sample.
        weights: (rows,).
        starts: (m,), the first row of the sample of each axis.
        counts: (m,), how many rows it has.
    """
    who = segment_owners(counts)
    row = (starts - (counts.cumsum(0) - counts))[who] + torch.arange(who.shape[0], device=x.device)
    along, heavy = dot(x[row], axes[who]), weights[row]
    square = heavy * along.square()
    sums = torch.stack([heavy, square, square * along, square * along.abs()])
    return sums.new_zeros(4, axes.shape[0]).index_add(1, who, sums)
