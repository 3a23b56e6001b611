"""Clouds of points up to motions and order: what their grid cells tell, in the smallest of all poses read off the cloud."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from canonize._tree import describe
from canonize.errors import refuse
from canonize.forms.digest import code, digest, raw
from canonize.groups import SE, SO, E, O, Product, S

OFFSET = 0.3819660112501051
"""Where in a cell zero stands: symmetric clouds hold many zeros, which must not lie on the border of two cells."""
SHARE = 0.4381926601125011
"""Points nearer to the axes than this share of the farthest give no axis; no simple ratio, since those do occur."""
MOST = 40_000_000
"""Coordinates that are looked at together for one cloud."""


@final
@dataclass(frozen=True, eq=False)
class Cloud:
    """A cloud of points of several kinds, such as a molecule in space, for `canonical_hash`.

    Args:
        points: (n, d) floating point, in any unit of length.
        kinds: what tells points apart and does not move, such as the atomic number: a tensor (n, ...) or a sequence of n
            numbers, strings or tuples; None where all are alike.

    Example:
        >>> import torch
        >>> from canonize import Cloud, E, Product, S, canonical_hash
        >>> water = torch.tensor([[0.0, 0.0, 0.12], [0.0, 0.76, -0.47], [0.0, -0.76, -0.47]])
        >>> one = Cloud(water, kinds=["O", "H", "H"])
        >>> other = Cloud(water[[2, 0, 1]].roll(1, -1) + 5, kinds=["H", "O", "H"])
        >>> group = Product(S(), E(3))
        >>> canonical_hash(one, group, tolerance=1e-3) == canonical_hash(other, group, tolerance=1e-3)
        True
    """

    points: Tensor
    kinds: Any = None


@dataclass(frozen=True)
class Motions:
    """What a Euclidean group, alone or times S(n), may do to a cloud."""

    dim: int
    mirrors: bool
    shifts: bool
    permutes: bool

    @property
    def name(self) -> str:
        """The group in one word."""
        return f"{'S x ' if self.permutes else ''}{'' if self.mirrors else 'S'}{'E' if self.shifts else 'O'}{self.dim}"


def motions(group: Any) -> Motions | None:
    """The motions of SO(d), O(d), SE(d), E(d), alone or in a product with S(); None for another group."""
    parts = group.factors if isinstance(group, Product) else (group,)
    moving = [part for part in parts if isinstance(part, SO | O | SE | E)]
    others = [part for part in parts if not isinstance(part, SO | O | SE | E)]
    if len(moving) != 1 or len(others) > 1 or not all(isinstance(part, S) for part in others):
        return None
    (part,) = moving
    return Motions(part.n, isinstance(part, O | E), isinstance(part, SE | E), bool(others))


@dataclass(frozen=True)
class Centred:
    """A cloud ready to be posed: float64 on the CPU, about its mean where shifts do not count.

    Attributes:
        points: (n, d).
        ranks: (n,) int64, the place of each point's kind among the kinds of this cloud.
        kinds: their bytes, in order, with how many points there are of each.
        size: the largest distance from the origin.
    """

    points: Tensor
    ranks: Tensor
    kinds: tuple[tuple[bytes, int], ...]
    size: float


def centred(value: Any, group: Any, moved: Motions, tolerance: float | None) -> Centred:
    """The cloud of a tensor (n, d) or a `Cloud`.

    Raises:
        SymmetryError: no coordinates, another dimension than the group's, NaN or infinity, a size of S(n) that is not the
            cloud's, no tolerance, or one that is lost in the rounding of the coordinates.
    """
    cloud = value if isinstance(value, Cloud) else Cloud(value)
    points = cloud.points
    if not isinstance(points, Tensor) or points.ndim != 2 or points.shape[1] != moved.dim or points.is_complex():
        raise refuse(
            "these are no points of the group's space",
            got=describe(points),
            expected=f"a tensor (n, {moved.dim}) for {group!r}",
            fix="one cloud at a time, without a batch axis",
        )
    if not bool(points.isfinite().all()):
        raise refuse(
            "the coordinates are not finite",
            got=f"NaN or infinity at point {int((~points.isfinite()).any(1).nonzero()[0])}",
            expected="finite numbers",
            fix="drop or repair this cloud",
        )
    n = len(points)
    wanted = next((part.n for part in getattr(group, "factors", ()) if isinstance(part, S)), None)
    if wanted is not None and wanted != n:
        raise refuse("the cloud has another size", got=f"{n} points", expected=f"{wanted} for {group!r}", fix="S()")
    x = points.detach().cpu().double()
    _lasting(points, x, tolerance)
    if moved.shifts and n:
        # A far origin is taken off first, so that the mean does not round what the points hold.
        x = x - x[0]
        x = x - x.mean(0)
    codes = _codes(cloud.kinds, n, ordered=not moved.permutes)
    known = sorted(set(codes))
    places = {part: place for place, part in enumerate(known)}
    ranks = torch.tensor([places[part] for part in codes], dtype=torch.int64)
    counts = torch.bincount(ranks, minlength=len(known)).tolist()
    size = float(x.norm(dim=-1).max()) if n else 0.0
    return Centred(x, ranks, tuple(zip(known, counts, strict=True)), size)


def _lasting(points: Tensor, x: Tensor, tolerance: float | None) -> None:
    if tolerance is None:
        raise refuse(
            "coordinates are equal up to a tolerance only",
            got="tolerance=None",
            expected="a length in the unit of the coordinates: how far a point may move",
            fix="tolerance=1e-3",
        )
    eps = torch.finfo(points.dtype).eps if points.is_floating_point() else torch.finfo(torch.float64).eps
    noise = 16 * eps * float(x.abs().max()) if x.numel() else 0.0
    if tolerance < noise:
        raise refuse(
            "the tolerance is lost in the rounding of the coordinates",
            got=f"{tolerance:.3g}",
            expected=f"at least {noise:.2g}, which is 16 units in the last place of the largest coordinate",
            fix="a larger tolerance, float64, or coordinates with their origin nearby",
        )


def _codes(kinds: Any, n: int, *, ordered: bool) -> list[bytes]:
    listed: Sequence[Any] = (
        [None] * n if kinds is None else kinds.tolist() if isinstance(kinds, Tensor) else list(kinds)
    )
    if len(listed) != n:
        raise refuse(
            "the kinds do not fit the points",
            got=f"{len(listed)} kinds for {n} points",
            expected="one for each point",
            fix="Cloud(points, kinds=numbers)",
        )
    return [code((place, part) if ordered else part) for place, part in enumerate(listed)]


def cells(x: Tensor, width: float) -> Tensor:
    """The cell of each number, int64: cells of this width, with zero inside one of them."""
    return (x / width + OFFSET).floor().long()


def cloud_digest(cloud: Centred, moved: Motions, tolerance: float) -> str:
    """The digest of the smallest table of cells over all poses that the cloud's own points propose."""
    posed = _poses(cloud, moved, tolerance)
    table = torch.cat([cloud.ranks[None, :, None].expand(len(posed), -1, 1), cells(posed, tolerance)], -1)
    for column in reversed(range(table.shape[-1])):
        order = table[..., column].argsort(dim=-1, stable=True)
        table = table.gather(1, order[..., None].expand_as(table))
    smallest = min(raw(rows) for rows in table)
    return digest("cloud", [moved.name.encode(), float(tolerance).hex().encode(), kinds_of(cloud), smallest])


def kinds_of(cloud: Centred) -> bytes:
    """How many points there are of which kinds."""
    return b"".join(code(name) + code(count) for name, count in cloud.kinds)


def _poses(cloud: Centred, moved: Motions, width: float) -> Tensor:
    """The points in each pose, (poses, n, d).

    The axes are read off d - 1 points far from one another. Which points: those of the rarest signature, made of kinds and
    of cells of invariants, so that all copies of the cloud propose the same poses.
    """
    x, d = cloud.points, moved.dim
    n = len(x)
    basis = x.new_zeros(1, 0, d)
    marks = torch.stack([cloud.ranks, cells(_inner(x, cloud.size), width)], -1)
    for _ in range(d - 1):
        along = x @ basis.mT
        rest = x - along @ basis
        far = rest.norm(dim=-1)
        top = float(far.max()) if n else 0.0
        if top <= width / 4:
            # All that is left lies in the cell of zero, whatever the axes.
            break
        able = far >= SHARE * top
        signs = torch.cat([marks.expand(len(basis), -1, -1), cells(along, width), cells(far, width)[..., None]], -1)
        _, which, counts = torch.unique(signs[able], dim=0, return_inverse=True, return_counts=True)
        # Rows come sorted, so that the first of the rarest is the smallest.
        chosen = able.nonzero()[which == int(counts.argmin())]
        if len(chosen) * n * d > MOST:
            raise _crowded(n)
        picked = rest[chosen[:, 0], chosen[:, 1]]
        picked = picked / picked.norm(dim=-1, keepdim=True)
        basis = torch.cat([basis[chosen[:, 0]], picked[:, None]], 1)
    if basis.shape[1] < d - 1 or not n:
        flat = x @ basis.mT
        return torch.cat([flat, flat.new_zeros(*flat.shape[:-1], d - basis.shape[1])], -1)
    posed = x @ with_last(basis).mT
    if not moved.mirrors:
        return posed
    mirrored = posed.clone()
    mirrored[..., -1] *= -1
    return torch.cat([posed, mirrored])


def with_last(basis: Tensor) -> Tensor:
    """d - 1 orthonormal rows and the one that makes them a rotation matrix: (c, d - 1, d) to (c, d, d)."""
    d = basis.shape[-1]
    rows = basis[:, None].expand(-1, d, -1, -1)
    each = torch.eye(d, dtype=basis.dtype)[None, :, None].expand(len(basis), -1, -1, -1)
    last = torch.linalg.det(torch.cat([rows, each], 2))
    return torch.cat([basis, last[:, None]], 1)


def _inner(x: Tensor, size: float) -> Tensor:
    """For each point a length that tells how many others lie in its direction."""
    if not size:
        return x.new_zeros(len(x))
    scaled = x / size
    return ((scaled @ (scaled.mT @ scaled)) * scaled).sum(-1).clamp(min=0).div(len(x)).sqrt() * size


def _crowded(n: int) -> Exception:
    return refuse(
        "too many poses of this cloud are alike",
        got=f"{n} points that kinds and distances hardly tell apart",
        expected=f"at most {MOST:,} coordinates over all poses",
        fix="kinds= that tell points apart, or a smaller tolerance",
    )
