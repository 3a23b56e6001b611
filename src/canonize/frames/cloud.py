"""The points of an input, from which a pose can be read."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from canonize._tree import describe, walk
from canonize._values import unseen
from canonize.actions import Numbering, Point
from canonize.actions.rows import Layout, index_of, layout
from canonize.actions.trees import batch_of, rows_of
from canonize.errors import refuse
from canonize.frames.declared import components, has_shifts, is_points, moved_by, named, warn_of_wrapping
from canonize.linalg.segments import (
    positive,
    segment_first,
    segment_largest,
    segment_longest,
    segment_mean,
    segment_spread,
    segment_total,
)


@final
@dataclass(frozen=True)
class Cloud:
    """Points of a batch, about their origin and in units of their size; all numbers float64.

    Attributes:
        points: dense (batch, n, d), or (rows, d) with an index; the farthest of a sample has length one.
        index: (rows,), the sample of each row; None where dense.
        batch: number of samples.
        centre: (batch, d), where the origin was put: the weighted mean under groups with shifts, zero otherwise.
        size: (batch,), the length of the farthest point, in the unit of the input; detached.
        weights: as points without the last axis, at least 0; None where all are one.
        marks: as weights: what tells kinds of points apart, between 0 and 1; None where all are alike.
        noise: (batch,), dimensionless: how well points of this size are known: the rounding of the coordinates as they
            came, over the size. Infinite where the size is zero.
        eps: the unit of rounding of the input's dtype.
    """

    points: Tensor
    index: Tensor | None
    batch: int
    centre: Tensor
    size: Tensor
    weights: Tensor | None
    marks: Tensor | None
    noise: Tensor
    eps: float

    @property
    def dim(self) -> int:
        """d, the number of components."""
        return self.points.shape[-1]

    def total(self, values: Tensor) -> Tensor:
        """The sum over the points of each sample: (batch, ...) from one value a point."""
        return segment_total(values, self.index, self.batch)

    def spread(self, values: Tensor) -> Tensor:
        """For each point the value of its sample."""
        return segment_spread(values, self.index)

    def mean(self, values: Tensor) -> Tensor:
        """The weighted mean over the points of each sample, (batch, ...); 0 for samples without points."""
        if self.index is None and self.weights is None and self.points.shape[1]:
            return values.mean(1)
        ones = torch.ones_like(self.points[..., 0]) if self.weights is None else self.weights
        share = ones / self.spread(positive(self.total(ones)))
        return self.total(values * share.reshape(*share.shape, *(1,) * (values.ndim - share.ndim)))

    def count(self) -> Tensor:
        """How many points a sample has, (batch,); where they have weights, how many of equal weight would be as many."""
        if self.index is None and self.weights is None:
            return self.size.new_full((self.batch,), self.points.shape[1])
        ones = torch.ones_like(self.points[..., 0]) if self.weights is None else self.weights
        return self.total(ones).square() / positive(self.total(ones.square()))

    def moments(self, one: Tensor, two: Tensor) -> Tensor:
        """Weighted means of all products of features: (batch, p, q) from p and q features a point."""
        if self.index is None and self.weights is None:
            return one.mT @ two / max(1, one.shape[1])
        ones = torch.ones_like(self.points[..., 0]) if self.weights is None else self.weights
        share = (ones / self.spread(positive(self.total(ones))))[..., None]
        if self.index is None:
            return (one * share).mT @ two
        outer = (one * share)[:, :, None] * two[:, None, :]
        return self.total(outer.flatten(1)).reshape(self.batch, one.shape[-1], two.shape[-1])

    def take(self, samples: Tensor) -> Cloud:
        """The clouds of some samples, in the order of `samples`, each at most once."""
        if self.index is None:
            chosen, index = samples, None
        else:
            chosen, index = rows_of(self.index, samples)
        return Cloud(
            self.points[chosen],
            index,
            samples.shape[0],
            self.centre[samples],
            self.size[samples],
            None if self.weights is None else self.weights[chosen],
            None if self.marks is None else self.marks[chosen],
            self.noise[samples],
            self.eps,
        )

    def rows(self) -> tuple[Tensor, Tensor, Tensor]:
        """Points (rows, d), their samples (rows,), and what they weigh, relative to the heaviest of the sample."""
        weights = torch.ones_like(self.points[..., 0]) if self.weights is None else self.weights
        if self.index is None:
            b, n = self.points.shape[:2]
            owner = torch.arange(b, device=self.points.device)[:, None].expand(b, n).reshape(-1)
        else:
            owner = self.index
        flat = weights.reshape(-1)
        heaviest = torch.zeros(self.batch, dtype=flat.dtype, device=flat.device).scatter_reduce(
            0, owner, flat, "amax", include_self=True
        )
        return self.points.reshape(-1, self.dim), owner, flat / positive(heaviest)[owner]


def cloud_of(
    symmetry: Any,
    inputs: Any,
    where: str,
    *,
    of: str | None = None,
    weights: str | None = None,
    marks: str | None = None,
    every: bool = False,
) -> Cloud:
    """The points of the inputs.

    Args:
        symmetry: the claim.
        inputs: a batch that fits it.
        where: who asks, for messages.
        of: the field that holds the points; where None the first declared `Point()`, or else the first `Vector()`.
        weights: the field with the weight of each point, from 0; None where all count alike.
        marks: the field with the kind of each point (whole numbers such as atomic numbers, or any numbers).
        every: the points of `of` together with all other points and vectors of the input, each field in units of its own
            size.

    Raises:
        SymmetryError: no such field, shapes that do not fit, NaN or infinity (it names the samples), negative weights.
    """
    batch, _, _ = batch_of(symmetry.inputs, inputs)
    index = layout(symmetry.inputs, inputs)
    shifts = has_shifts(symmetry.group)
    found: dict[str, tuple[Any, Tensor]] = {}

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if action is not None and not isinstance(action, Numbering) and isinstance(part, Tensor):
            found[path] = (action, part)
        return part

    walk(leaf, symmetry.inputs, inputs)
    main = _choose(found, of, where, symmetry.group)
    if not every:
        warn_of_wrapping(found[main][0], found, where)
    names = [main]
    if every:
        names += [path for path, (action, _) in found.items() if path != main and is_points(action, symmetry.group)]
    heavy = None if weights is None else _field(found, weights, where, "weights")
    kinds = None if marks is None else _field(found, marks, where, "marks")
    parts = [_cloud(*found[main], batch, index, symmetry.group, heavy, kinds, main or "the input", where)]
    parts += [_cloud(*found[name], batch, index, symmetry.group, None, None, name, where) for name in names[1:]]
    whole = parts[0] if len(parts) == 1 else _together(parts, batch)
    if not shifts or isinstance(moved_by(found[main][0]), Point):
        return whole
    # Vectors do not feel shifts: the origin is that of the points beside them.
    for name, (action, part) in found.items():
        if isinstance(moved_by(action), Point):
            beside = _cloud(action, part, batch, index, symmetry.group, None, None, name, where)
            return replace(whole, centre=beside.centre)
    return whole


def _choose(found: dict[str, tuple[Any, Tensor]], of: str | None, where: str, group: Any) -> str:
    fits = [path for path, (action, _) in found.items() if is_points(action, group)]
    if of is not None:
        for path in found:
            if named(path, of):
                if path not in fits:
                    raise refuse(
                        f"{where}: the field {of!r} holds no points",
                        got=f"declared {found[path][0]!r}",
                        expected="Point() or Vector()",
                        fix=f"of= one of {fits}" if fits else "declare the coordinates as Point()",
                    )
                return path
        raise refuse(
            f"{where}: there is no field {of!r} in the inputs",
            got=f"declared: {sorted(found)}",
            expected="the name of a declared field",
            fix=f"of={fits[0].lstrip('.')!r}" if fits else "declare the coordinates as Point()",
        )
    for path in fits:
        if isinstance(moved_by(found[path][0]), Point):
            return path
    if fits:
        return fits[0]
    raise refuse(
        f"{where} reads the pose from points, and finds none in the inputs",
        got=f"declared: {', '.join(repr(action) for action, _ in found.values())}",
        expected="a Point() or a Vector() with the components in the last axis",
        fix="declare the coordinates: inputs=Point(), or Fields(pos=Rows(Point()), batch=Index())",
    )


def _field(found: dict[str, tuple[Any, Tensor]], name: str, where: str, role: str) -> Tensor:
    for path, (_, part) in found.items():
        if named(path, name):
            return part
    raise refuse(
        f"{where}: there is no field {name!r} for the {role} of the points",
        got=f"declared: {sorted(found)}",
        expected="the name of a declared field",
        fix=f"declare it as Scalar(), or Rows(Scalar()): Fields(..., {name}=Rows(Scalar()))",
    )


def _cloud(
    action: Any,
    part: Tensor,
    batch: int,
    index: Layout | None,
    group: Any,
    weights: Tensor | None,
    marks: Tensor | None,
    name: str,
    where: str,
) -> Cloud:
    if not part.is_floating_point():
        raise refuse(
            f"{where}: {name} are no coordinates",
            got=describe(part),
            expected="floating-point numbers",
            fix="positions.float()",
        )
    n = group.n
    owner = index_of(action, index)
    eps = float(torch.finfo(part.dtype).eps)
    part = components(action, part)
    if part.ndim < 2 or part.shape[-1] != n:
        raise refuse(
            f"{where}: {name} {'is' if name == 'the input' else 'are'} no coordinates of the group's space",
            got=describe(part),
            expected=f"(batch, ..., {n}), with {n} components in the last axis, for {group!r}",
            fix="declare the group of that dimension, or Planar(...) for values of space under a group of the plane",
        )
    points = part.reshape(part.shape[0], math.prod(part.shape[1:-1]), part.shape[-1])
    if owner is not None and points.shape[1] > 1:
        owner, points = owner.repeat_interleave(points.shape[1]), points.reshape(-1, part.shape[-1])
    elif owner is not None:
        points = points[:, 0]
    # Dense points lie component by component in memory, where sums over points take half the time.
    x = points.mT.contiguous().double().mT if owner is None else points.double()
    _finite(x, owner, f"{where}: the coordinates{'' if name == 'the input' else ' ' + name} are not finite")
    w = None if weights is None else _weights(_per_point(weights, x, where, "weights"), owner, where)
    kinds = None if marks is None else _kinds(_per_point(marks, x, where, "marks"))
    # Memory of our own, of which no derivative is taken, is written over: to ask for more takes longer than the sums.
    mine = x.dtype != part.dtype and not (x.requires_grad or unseen() or (w is not None and w.requires_grad))
    less = Tensor.sub_ if mine else Tensor.sub
    raw = segment_largest(x.detach(), owner, batch)
    if has_shifts(group) and isinstance(moved_by(action), Point):
        # A far origin is taken off before anything is summed up, so that the sum does not round what the points hold.
        first = segment_first(x, owner, batch).detach().clone()
        x = less(x, segment_spread(first, owner))
        mean = segment_mean(x, w, owner, batch)
        x, centre = less(x, segment_spread(mean, owner)), first + mean
    else:
        centre = x.new_zeros(batch, x.shape[-1])
    size = segment_longest(x.detach() if w is None else torch.where(w[..., None] > 0, x.detach(), 0.0), owner, batch)
    noise = torch.where(size > 0, eps * raw / positive(size), torch.inf)
    unit = segment_spread(positive(size), owner)[..., None]
    x = x.div_(unit) if mine else x / unit
    return Cloud(x, owner, batch, centre, size, w, kinds, noise, eps)


def _weights(w: Tensor, owner: Tensor | None, where: str) -> Tensor:
    _finite(w[..., None], owner, f"{where}: the weights of the points are not finite")
    if not unseen(w) and bool((w < 0).any()):
        raise refuse(
            f"{where}: weights of points are at least 0",
            got=f"{float(w.min()):.6g} in sample {_samples((w < 0).nonzero()[:, 0], owner)} of the batch",
            expected="masses, or other numbers from 0",
            fix="pass marks= for charges and other numbers that tell points apart",
        )
    return w.double()


def _kinds(value: Tensor) -> Tensor:
    """Kinds as numbers between 0 and 1 that have nothing to do with each other; the golden ratio keeps them apart."""
    if value.is_floating_point():
        return 0.5 + value.double().atan() / torch.pi
    return torch.frac(value.double() * 0.6180339887498949)


def _per_point(value: Tensor, x: Tensor, where: str, role: str) -> Tensor:
    shape = x.shape[:-1]
    if value.shape not in (shape, (*shape, 1)):
        raise refuse(
            f"{where}: the {role} do not fit the points",
            got=f"{describe(value)} for points {tuple(x.shape)}",
            expected=f"one number for each point, {tuple(shape)}",
            fix=f"reshape them to {tuple(shape)}",
        )
    return value.reshape(shape)


def _together(parts: list[Cloud], batch: int) -> Cloud:
    """One ragged cloud of several; the fields after the first are marked as other kinds."""
    points, owners, weights, marks = [], [], [], []
    for number, part in enumerate(parts):
        x, owner, w = part.rows()
        points.append(x)
        owners.append(owner)
        weights.append(w)
        own = torch.zeros_like(w) if part.marks is None or number else part.marks.reshape(-1)
        marks.append(torch.frac(own + 0.381966 * number))
    size = torch.stack([part.size for part in parts]).amax(0)
    noise = torch.stack([part.noise for part in parts]).amin(0)
    first = parts[0]
    return Cloud(
        torch.cat(points), torch.cat(owners), batch, first.centre, size, torch.cat(weights), torch.cat(marks), noise, first.eps
    )  # fmt: skip


def _finite(x: Tensor, owner: Tensor | None, what: str) -> None:
    # A finite sum says that all are finite, at a third of the cost of asking each.
    if unseen(x) or bool(x.detach().sum().isfinite()) or bool(x.isfinite().all()):
        return
    lost = (~x.isfinite()).flatten(1).any(1).nonzero()[:, 0]
    raise refuse(
        what,
        got=f"NaN or infinity in sample {_samples(lost, owner)} of the batch",
        expected="finite numbers",
        fix="drop or repair these samples: they have no pose",
    )


def _samples(places: Tensor, owner: Tensor | None) -> str:
    """The first few samples of these places, for a message."""
    found = torch.unique(places if owner is None else owner[places])
    return ", ".join(map(str, found.tolist()[:8]))
