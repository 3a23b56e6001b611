"""Whether a motion and a matching bring one cloud onto another within a tolerance: found, never guessed."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from canonize.forms.cloud import Centred, Motions

ROUNDS = 100
"""Steps towards the motion that moves the farthest point least."""
BLOCK = 512
"""Rows of a table of distances that are made at once."""
DENSE = 4000
"""Up to this many points a matching is searched for among points that are near one another."""


def within(a: Centred, b: Centred, moved: Motions, tolerance: float) -> bool:
    """Whether some motion and matching of the group take every point of `b` to within `tolerance` of one of `a`.

    True is certain: such a motion was found. False is certain too where points of one kind lie farther apart than a few
    tolerances; where they lie closer, the matching that fits may be missed.

    The motions that are tried align d - 1 points of `a` with all points of `b` that could be theirs; then matching and
    least-squares alignment (Kabsch, doi:10.1107/S0567739476001873) take turns, and Lawson's reweighting leads from least
    squares to the smallest largest distance.
    """
    if a.kinds != b.kinds:
        return False
    if not len(a.points):
        return True
    # Centring moves points too, by up to the tolerance.
    slack = 1.001 * tolerance * (2 if moved.shifts else 1)
    anchors, reach = _anchors(a, b, slack)
    return any(_fits(a, b, turned, moved, reach, tolerance) for turned in _turns(a, b, anchors, moved, slack))


def _anchors(a: Centred, b: Centred, slack: float) -> tuple[list[int], float]:
    """Up to d - 1 points of `a` that give well-kept axes, and how far the alignment by their partners may put a point off."""
    x, dim = a.points, a.points.shape[1]
    radii, others = x.norm(dim=-1), b.points.norm(dim=-1)
    anchors: list[int] = []
    axes: list[Tensor] = []
    rest, angle, thickness = x, 0.0, 0.0
    while len(axes) < dim - 1:
        far = rest.norm(dim=-1)
        top = float(far.max())
        if top <= 4 * slack:
            thickness = 2 * top
            break
        able = (far >= top / 2).nonzero()[:, 0]
        # The rarer the partners of a point, the fewer motions there are to try.
        same = (b.ranks[None] == a.ranks[able, None]) & ((others[None] - radii[able, None]).abs() <= slack)
        best = min(zip(same.sum(1).tolist(), (-far[able]).tolist(), able.tolist(), strict=True))[2]
        axis = rest[best] / far[best]
        angle += 1.6 * (slack + float(radii[best]) * angle) / float(far[best])
        anchors.append(best)
        axes.append(axis)
        rest = rest - (rest @ axis)[:, None] * axis
    return anchors, slack + min(angle, 2.0) * a.size + thickness


def _turns(a: Centred, b: Centred, anchors: list[int], moved: Motions, slack: float) -> Iterator[Tensor]:
    """The points of `b`, turned in each way that aligns points which could be the anchors' partners with them."""
    x, y = a.points, b.points
    radii, others = x.norm(dim=-1), y.norm(dim=-1)
    found = torch.zeros(1, 0, dtype=torch.int64)
    for step, anchor in enumerate(anchors):
        like = (b.ranks == a.ranks[anchor]) & ((others - radii[anchor]).abs() <= slack)
        fits = like[None].expand(len(found), -1).clone()
        for earlier in range(step):
            inner = y[found[:, earlier]] @ y.T
            wanted = x[anchors[earlier]] @ x[anchor]
            fits &= (inner - wanted).abs() <= slack * (radii[anchors[earlier]] + radii[anchor] + slack)
        rows, partners = fits.nonzero().unbind(1)
        found = torch.cat([found[rows], partners[:, None]], 1)
    home = _frame(x[anchors][None])[0]
    frames = _frame(y[found])
    last = frames.clone()
    last[:, -1] *= -1
    for frame in torch.cat([frames, last]) if moved.mirrors else frames:
        yield y @ frame.T @ home


def _frame(points: Tensor) -> Tensor:
    """A rotation matrix whose first rows are the points made orthonormal one after the other: (c, k, d) to (c, d, d)."""
    count, k, d = points.shape
    rows: list[Tensor] = []
    for place in range(k):
        rest = points[:, place]
        for row in rows:
            rest = rest - (rest * row).sum(-1, keepdim=True) * row
        rows.append(rest / rest.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(rest.dtype).tiny))
    basis = torch.stack(rows, 1) if rows else points.new_zeros(count, 0, d)
    full = (
        torch.linalg.qr(basis.mT, mode="complete").Q.mT if k else torch.eye(d, dtype=points.dtype).expand(count, d, d)
    )
    full = torch.cat([basis, full[:, k:]], 1)
    signs = torch.linalg.det(full).sign()
    return torch.cat([full[:, :-1], full[:, -1:] * torch.where(signs == 0, 1.0, signs)[:, None, None]], 1)


def _fits(a: Centred, b: Centred, turned: Tensor, moved: Motions, reach: float, tolerance: float) -> bool:
    x, y = a.points, b.points
    limit = tolerance * (1 + 1e-9) + 64 * torch.finfo(x.dtype).eps * a.size
    known: Tensor | None = None
    for _ in range(6):
        order = _matching(x, turned, a.ranks, b.ranks, reach)
        if order is None or (known is not None and torch.equal(order, known)):
            break
        known = order
        turned, off = _aligned(x, y, order, moved)
        if bool(off.max() <= limit):
            return True
        # A next matching may only take what the better pose leaves nearby.
        reach = min(reach, 2 * float(off.max()))
    if known is None:
        return False
    weights = torch.full((len(x),), 1 / len(x), dtype=x.dtype)
    for _ in range(ROUNDS):
        _, off = _aligned(x, y, known, moved, weights)
        if bool(off.max() <= limit):
            return True
        # The weighted mean of squares that is left is below the square of the smallest largest distance.
        if bool((weights * off.square()).sum().sqrt() > limit):
            return False
        weights = weights * off
        weights = weights / weights.sum()
    return False


def _aligned(
    x: Tensor, y: Tensor, order: Tensor, moved: Motions, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """All of `y` after the motion that takes y[order] to x with least (weighted) squares, and each point's distance."""
    y_of = y[order]
    w = torch.full_like(x[:, :1], 1 / len(x)) if weights is None else weights[:, None]
    zero = x.new_zeros(x.shape[1])
    mean_x, mean_y = ((w * x).sum(0), (w * y_of).sum(0)) if moved.shifts else (zero, zero)
    left, _, right = torch.linalg.svd((w * (y_of - mean_y)).T @ (x - mean_x))
    if not moved.mirrors and bool(torch.linalg.det(left @ right) < 0):
        left = torch.cat([left[:, :-1], -left[:, -1:]], 1)
    turned = (y - mean_y) @ (left @ right) + mean_x
    return turned, (x - turned[order]).norm(dim=-1)


def _matching(x: Tensor, y: Tensor, ranks: Tensor, others: Tensor, reach: float) -> Tensor | None:
    """For each x a y of its kind within reach, each y once, the nearest where these differ; None if there is none."""
    n = len(x)
    nearest, least = [], []
    for start in range(0, n, BLOCK):
        gap = _gaps(x[start : start + BLOCK], y, ranks[start : start + BLOCK], others)
        value, place = gap.min(1)
        nearest.append(place)
        least.append(value)
    if bool((torch.cat(least) > reach).any()):
        return None
    order = torch.cat(nearest)
    if len(torch.unique(order)) == n:
        return order
    return _assigned(_gaps(x, y, ranks, others), reach) if n <= DENSE else None


def _gaps(x: Tensor, y: Tensor, ranks: Tensor, others: Tensor) -> Tensor:
    # Not by the product of matrices, which loses half of the digits.
    gap = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    return torch.where(ranks[:, None] == others, gap, torch.inf)


def _assigned(gap: Tensor, reach: float) -> Tensor | None:
    """A perfect matching of rows and columns nearer than `reach`, by augmenting paths, nearest first."""
    n = len(gap)
    order = gap.argsort(1)
    counts = (gap <= reach).sum(1).tolist()
    near = [row[:count] for row, count in zip(order.tolist(), counts, strict=True)]
    owner = [-1] * n
    for start in range(n):
        # Breadth first, without recursion: who was reached from which row.
        source: dict[int, int] = {}
        queue, end = [start], -1
        for row in queue:
            for column in near[row]:
                if column not in source:
                    source[column] = row
                    if owner[column] < 0:
                        end = column
                        break
                    queue.append(owner[column])
            if end >= 0:
                break
        if end < 0:
            return None
        mine = [-1] * n
        for column, row in enumerate(owner):
            if row >= 0:
                mine[row] = column
        while end >= 0:
            row = source[end]
            owner[end], end = row, mine[row]
    matched = torch.empty(n, dtype=torch.int64)
    for column, row in enumerate(owner):
        matched[row] = column
    return matched
