"""Which points of a cloud point out its poses: chains of far points, one for each axis."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from canonize.linalg import direction, left_over

FLOOR = 1e-12
"""A length, in units of the size of the cloud, below which a vector has no direction."""
_BLOCK = 1 << 21
"""Pairs of a chain and a point that are looked at together."""


@torch.no_grad()
def anchors(
    x: Tensor, owner: Tensor, base: Tensor, floor: Tensor, *, levels: int, width: float, soft: float
) -> tuple[Tensor, Tensor]:
    """The chains of `levels` points whose score is at most `width` below the best of their sample.

    The score of a chain is the sum over l of (levels - l) log |r_l|, where r_l is what of its point l is orthogonal to
    those before it, plus the `base` of each of its points. After the first, lengths below `soft` differ little, lest the
    noise of a collinear cloud choose its first axis. Chains that cannot come within the width are not followed, so that a
    cloud with few far points costs a time in proportion to its points.

    Args:
        x: (rows, d), points in units of the size of their sample, sorted by sample.
        owner: (rows,), the sample of each row.
        base: (rows,), at most 1; minus infinity leaves a point out.
        floor: (batch,), a length in the unit of x: where all of a sample are below it, one point is as good as another.
        levels: points of a chain, from 0.
        width: positive.
        soft: a length in the unit of x.

    Returns:
        samples (chains,), sorted, and rows (chains, levels); none for samples without points.
    """
    batch = len(floor)
    counts = torch.bincount(owner[base > -torch.inf], minlength=batch)
    sample = (counts > 0).nonzero()[:, 0]
    if not levels or not len(sample):
        return sample, sample.new_zeros(len(sample), levels)
    chain, score = sample.new_zeros(len(sample), 0), x.new_zeros(len(sample))
    low, reach, tilt, first = _greedy(x, owner, base, batch, levels, soft)
    counts = torch.bincount(owner, minlength=batch)
    starts = counts.cumsum(0) - counts
    top = base.new_full((batch,), -torch.inf).scatter_reduce(0, owner, base, "amax")
    for level in range(levels):
        kept: list[tuple[Tensor, Tensor, Tensor]] = []
        for part in _blocks(counts[sample]):
            who, row = _pairs(counts[sample[part]], starts[sample[part]])
            whose = sample[part][who]
            rest = left_over(x[row], [unit[who] for unit in _units(x, chain[part])])
            total = score[part][who] + _power(level, levels) * _gain(rest.square().sum(-1), level, soft) + base[row]
            # What the points to come can add at most: none is longer than the farthest, nor than what the greedy axis leaves of
            # it plus what the axis of this chain is tilted against that one.
            ahead = torch.zeros_like(total)
            for later in range(level + 1, levels):
                far = reach[whose, 0]
                longest = torch.minimum(reach[whose, later] + far * tilt[row], far) if level == 0 else far
                ahead = ahead + _power(later, levels) * _gain(longest.square(), later, soft) + top[whose]
            idle = reach[whose, level] < floor[whose]
            alive = torch.where(idle, row == first[whose], total + ahead >= low[whose] - width)
            picked = (alive & (base[row] > -torch.inf)).nonzero()[:, 0]
            kept.append((whose[picked], torch.cat([chain[part][who[picked]], row[picked, None]], 1), total[picked]))
        sample, chain, score = (torch.cat(parts) for parts in zip(*kept, strict=True))
    best = score.new_full((batch,), -torch.inf).scatter_reduce(0, sample, score, "amax")
    picked = (score >= best[sample] - width).nonzero()[:, 0]
    return sample[picked], chain[picked]


def scores(x: Tensor, chain: Tensor, base: Tensor, soft: float) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The score of each chain, the square of what is left of each of its points, (levels, chains), and the axes."""
    levels = chain.shape[1]
    total, squares = x.new_zeros(len(chain)), []
    units: list[Tensor] = []
    for level in range(levels):
        point = x[chain[:, level]]
        squares.append(left_over(point, units).square().sum(-1))
        total = total + _power(level, levels) * _gain(squares[-1], level, soft) + base[chain[:, level]]
        units.append(direction(point, units, FLOOR))
    return total, torch.stack(squares) if levels else x.new_zeros(0, len(chain)), units


def _power(level: int, levels: int) -> float:
    """What a length counts for in the score of a chain: the first the most, lest two points be as good in either order."""
    return float(levels - level)


def _gain(square: Tensor, level: int, soft: float) -> Tensor:
    """The logarithm of a length from its square, after the first level of sqrt(length^2 + soft^2)."""
    return 0.5 * (square + (soft if level else FLOOR) ** 2).log()


def _units(x: Tensor, chain: Tensor) -> list[Tensor]:
    units: list[Tensor] = []
    for level in range(chain.shape[1]):
        units.append(direction(x[chain[:, level]], units, FLOOR))
    return units


def _greedy(
    x: Tensor, owner: Tensor, base: Tensor, batch: int, levels: int, soft: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The score of the chain that takes the best point at each step, (batch,), a lower bound for the best of all.

    Also how long the longest remainder is at each step, (batch, levels), the sine of the angle between each point and the
    first axis, (rows,), and a row of each sample that counts, (batch,).
    """
    low = x.new_zeros(batch)
    reach = x.new_zeros(batch, levels)
    tilt = torch.zeros_like(base)
    units: list[Tensor] = []
    counted = base > -torch.inf
    rows = torch.arange(len(x), device=x.device)
    first = rows.new_full((batch,), len(x) - 1).scatter_reduce(0, owner, torch.where(counted, rows, len(x) - 1), "amin")
    for level in range(levels):
        rest = left_over(x, [unit[owner] for unit in units])
        length = rest.square().sum(-1).sqrt()
        if level == 1:
            tilt = length / x.square().sum(-1).sqrt().clamp(min=FLOOR)
        reach[:, level].scatter_reduce_(0, owner, torch.where(counted, length, 0.0), "amax")
        total = _power(level, levels) * _gain(length.square(), level, soft) + base
        best = total.new_full((batch,), -torch.inf).scatter_reduce(0, owner, total, "amax")
        chosen = rows.new_full((batch,), len(x) - 1).scatter_reduce(
            0, owner, torch.where(total == best[owner], rows, len(x) - 1), "amin"
        )
        low = low + best
        units.append(direction(x[chosen], units, FLOOR))
    return low, reach, tilt, first


def _blocks(counts: Tensor) -> Iterator[slice]:
    """Slices of the chains that make at most `_BLOCK` pairs each, or hold one chain."""
    ends = counts.cumsum(0)
    start = 0
    while start < len(counts):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(torch.searchsorted(ends, before + _BLOCK, right=True)))
        yield slice(start, stop)
        start = stop


def _pairs(counts: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Each chain with each row of its sample: which chain, and which row."""
    who = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    place = torch.arange(len(who), device=counts.device) - (counts.cumsum(0) - counts)[who]
    return who, starts[who] + place
