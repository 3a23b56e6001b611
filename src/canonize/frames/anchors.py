"""Which points of a cloud point out its poses: chains of far points, one for each axis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from canonize._values import unseen
from canonize.errors import refuse
from canonize.linalg import direction, dot, fading_shares, left_over
from canonize.linalg.segments import most_of, segment_counts, segment_owners

FLOOR = 1e-12
"""A length, in units of the size of the cloud, below which a vector has no direction."""
_MOST = 4096
"""Chains of a sample: each is a call of the model."""
_BLOCK, _WIDE_BLOCK = 1 << 16, 1 << 21
"""Pairs of a chain and a point that are looked at together: few enough for the fast memory of a processor, or of a GPU."""


@final
@dataclass(frozen=True)
class Chains:
    """Chains of points with shares.

    Attributes:
        sample: (m,), sorted: whose chain it is.
        shares: (m,), positive; those of a sample sum to one.
        squares: (levels, m), the squares of what is left of each point when the axes before it are taken away.
        units: the axes, one (m, d) for each level, orthonormal.
    """

    sample: Tensor
    shares: Tensor
    squares: Tensor
    units: list[Tensor]


def chains(x: Tensor, owner: Tensor, base: Tensor, floor: Tensor, *, levels: int, width: float) -> Chains:
    """Chains of `levels` points, each the farthest or nearly so from the span of those before it.

    At each level the points of a sample share what the chain so far has: `fading_shares` of log |r| + base with `width`,
    where r is what of a point is orthogonal to the axes before. So the noise of what is left never chooses an earlier axis,
    and the time is in proportion to the points where few of them are far.

    Args:
        x: (rows, d), points in units of about the size of their sample, sorted by sample.
        owner: (rows,), the sample of each row.
        base: (rows,); minus infinity leaves a point out.
        floor: (batch,), a length in the unit of x: where all that is left is below it, one point is as good as another.
        levels: points of a chain, from 0.
        width: positive.

    Returns:
        None for samples without points.
    """
    batch = floor.shape[0]
    counted = base > -torch.inf
    counts = segment_counts(owner[counted], batch)
    rows = counted.nonzero()[:, 0]
    starts = counts.cumsum(0) - counts
    sample = (counts > 0).nonzero()[:, 0]
    shares = x.new_ones(sample.shape[0])
    units: list[Tensor] = []
    squares = x.new_zeros(0, sample.shape[0])
    for _ in range(levels):
        parent, row = _candidates(x, base, floor, counts, starts, rows, sample, units, width)
        point = x[row]
        square = left_over(point, [unit[parent] for unit in units]).square().sum(-1)
        share = _grouped(0.5 * (square + FLOOR**2).log() + base[row], parent, sample.shape[0], width)
        kept = (share > 0).nonzero()[:, 0]
        parent = parent[kept]
        _check_count(sample[parent], batch)
        units = [unit[parent] for unit in units]
        units.append(direction(point[kept], units, FLOOR))
        squares = torch.cat([squares[:, parent], square[kept][None]])
        shares, sample = shares[parent] * share[kept], sample[parent]
    return Chains(sample, shares, squares, units)


@torch.no_grad()
def _candidates(
    x: Tensor,
    base: Tensor,
    floor: Tensor,
    counts: Tensor,
    starts: Tensor,
    rows: Tensor,
    sample: Tensor,
    units: list[Tensor],
    width: float,
) -> tuple[Tensor, Tensor]:
    """Each chain with the rows of its sample that are at most `width` below its best: which chain, and which row."""
    found: list[tuple[Tensor, Tensor]] = []
    for part in blocks(counts[sample]):
        whose = sample[part]
        many = counts[whose]
        who = segment_owners(many)
        place = torch.arange(who.shape[0], device=x.device) - (many.cumsum(0) - many)[who]
        row = rows[starts[whose][who] + place]
        rest = left_over(x[row], [unit[part][who] for unit in units])
        square = dot(rest, rest)
        score = 0.5 * (square + FLOOR**2).log() + base[row]
        best = score.new_full((whose.shape[0],), -torch.inf).scatter_reduce(0, who, score, "amax")
        longest = square.new_zeros(whose.shape[0]).scatter_reduce(0, who, square, "amax").sqrt()
        picked = torch.where(longest[who] < floor[whose][who], place == 0, score >= best[who] - width)
        found.append(((part.start or 0) + who[picked], row[picked]))
    if not found:
        return sample.new_zeros(0), sample.new_zeros(0)
    parents, chosen = zip(*found, strict=True)
    return torch.cat(parents), torch.cat(chosen)


def _grouped(score: Tensor, group: Tensor, count: int, width: float) -> Tensor:
    """The fading shares of scores within each group, by way of a table (k, count); `group` is sorted, none is empty."""
    if not unseen() and not score.shape[0]:
        return score
    sizes = segment_counts(group, count)
    place = torch.arange(group.shape[0], device=group.device) - (sizes.cumsum(0) - sizes)[group]
    if unseen():
        table = score.new_full((most_of(sizes), count), -torch.inf).index_put((place, group), score)
        return fading_shares(table, width)[place, group]
    slot = place * count + group
    size = int(sizes.max()) * count
    table = torch.full((size,), -torch.inf, dtype=score.dtype, device=score.device).index_copy(0, slot, score)
    return fading_shares(table.reshape(-1, count), width).flatten()[slot]


def _check_count(sample: Tensor, batch: int) -> None:
    if unseen():
        return
    most, worst = torch.bincount(sample, minlength=max(batch, 1)).max(0)
    if int(most) > _MOST:
        raise refuse(
            "a cloud has too many poses",
            got=f"{int(most)} chains of nearly farthest points in sample {int(worst)} of the batch, as on a sphere",
            expected=f"at most {_MOST}",
            fix="tell the points apart with marks= or weights=, or take PCA(fallback=None), which is exact where the "
            "margin is not small",
        )


def blocks(counts: Tensor) -> Iterator[slice]:
    """Slices of chains with so many points each, that make at most a block of pairs each or hold one chain."""
    if unseen():
        yield slice(None)
        return
    ends = counts.cumsum(0)
    most = _BLOCK if counts.device.type == "cpu" else _WIDE_BLOCK
    start = 0
    while start < counts.shape[0]:
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(torch.searchsorted(ends, before + most, right=True)))
        yield slice(start, stop)
        start = stop
