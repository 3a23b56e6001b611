"""Orders of the rows of sets: lexicographic, with a tolerance, and along a Hilbert curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from canonize._values import unseen
from canonize.errors import refuse
from canonize.linalg import hilbert_index

ROUNDING = 256
"""How many units of rounding of the largest number count as rounding."""
_SLACK = 1.0123
"""The box of a curve over that of its set: halves and thirds of a set then stand off the walls between cells."""


def check_within(where: str, within: float | str) -> None:
    """Refuse what does not tell which numbers count as equal.

    Raises:
        SymmetryError: neither a share of the range nor "rounding".
    """
    number = isinstance(within, int | float) and not isinstance(within, bool)
    if within != "rounding" and not (number and 0 <= within < 1):  # type: ignore[operator]  # a number by now
        raise refuse(
            f"{where}: bad within",
            got=repr(within),
            expected='a share of the range, from 0, below 1; or "rounding"',
            fix='within="rounding" for numbers that agree to rounding',
        )


def _check_fine(dtype: torch.dtype) -> None:
    """Refuse numbers that are so coarse that rounding would link what is far apart."""
    if ROUNDING * torch.finfo(dtype).eps > 0.1:
        raise refuse(
            'within="rounding": these numbers are too coarse',
            got=f"{str(dtype).removeprefix('torch.')}, where {ROUNDING} units of rounding are "
            f"{ROUNDING * torch.finfo(dtype).eps:.2g} of the largest number",
            expected="float32 or float64",
            fix="x.float(), or a share of the range such as within=0.01",
        )


@final
@dataclass(frozen=True)
class Table:
    """The rows of a batch of sets, padded to one length.

    Attributes:
        parts: (batch, n, columns) each, at least one column in all; columns of one part have one unit. Floats as they are,
            whole numbers as int64; no NaN in rows that are there.
        present: (batch, n), which rows are there; None where all are.
    """

    parts: tuple[Num[Tensor, "batch n _"], ...]
    present: Bool[Tensor, "batch n"] | None = None

    @property
    def columns(self) -> list[Tensor]:
        """All columns side by side, (batch, n) each."""
        return [column for part in self.parts for column in part.unbind(-1)]

    def classes(self) -> Int[Tensor, "batch n"]:
        """What rows are told apart by before any column: 0 for those that are there, a number of its own for each other."""
        shape, device = self.parts[0].shape[:2], self.parts[0].device
        if self.present is None:
            return torch.zeros(shape, dtype=torch.int64, device=device)
        own = torch.arange(1, shape[1] + 1, device=device).expand(shape)
        return torch.where(self.present, 0, own)

    def range(self, part: Tensor) -> Float[Tensor, " batch"]:
        """The largest range of the columns of a part, float64; infinite entries and absent rows aside."""
        low, high = self.limits(part)
        return (high - low).amax(1)

    def limits(self, part: Tensor) -> tuple[Float[Tensor, "batch columns"], Float[Tensor, "batch columns"]]:
        """The smallest and the largest entry of each column, float64; infinite entries and absent rows aside."""
        wide = part.double()
        known = wide.isfinite() if self.present is None else wide.isfinite() & self.present[..., None]
        none = wide.new_zeros(wide.shape[0], 1, wide.shape[2])
        some = known.any(1) if wide.shape[1] else none[:, 0].bool()
        low = torch.cat([torch.where(known, wide, torch.inf), none + torch.inf], 1).amin(1)
        high = torch.cat([torch.where(known, wide, -torch.inf), none - torch.inf], 1).amax(1)
        return torch.where(some, low, 0.0), torch.where(some, high, 0.0)


@final
@dataclass(frozen=True)
class Ordering:
    """An order of the rows of each set.

    Attributes:
        order: (batch, n), int64: row order[j] is the j-th.
        labels: (batch, n), int64: for each place the number of its class of interchangeable rows, from 0, not decreasing.
        margin: (batch,), float64, dimensionless.
    """

    order: Int[Tensor, "batch n"]
    labels: Int[Tensor, "batch n"]
    margin: Float[Tensor, " batch"]

    @property
    def ties(self) -> bool:
        """Whether any rows are interchangeable, or may be where values cannot be looked at."""
        return unseen(self.labels) or bool((self.labels[:, 1:] == self.labels[:, :-1]).any())


def lexicographic(columns: Sequence[Tensor], present: Bool[Tensor, "batch n"] | None = None) -> Int[Tensor, "batch n"]:
    """The order that sorts the rows of each sample by their columns, the first column first.

    Args:
        columns: one or more of shape (batch, n), real or whole numbers, no NaN.
        present: which rows are there, all where None; those that are not come last, in the order in which they stand.

    Returns:
        (batch, n), int64: row order[j] is the j-th; equal rows in the order in which they stand.
    """
    order = torch.arange(columns[0].shape[1], device=columns[0].device).expand(columns[0].shape)
    if present is not None:
        columns = [(~present).long(), *(column.masked_fill(~present, 0) for column in columns)]
    for column in reversed(columns):
        order = order.gather(1, column.gather(1, order).argsort(dim=1, stable=True))
    return order


@final
@dataclass(frozen=True)
class Neighbours:
    """The rows sorted by class, and in a class by a column.

    Attributes:
        order: (batch, n), int64.
        gaps: (batch, n - 1), from each row to the next one; of no meaning where these are of two classes.
        together: (batch, n - 1), whether they are of one class.
    """

    order: Int[Tensor, "batch n"]
    gaps: Num[Tensor, "batch steps"]
    together: Bool[Tensor, "batch steps"]

    def split(self, apart: Bool[Tensor, "batch steps"]) -> Int[Tensor, "batch n"]:
        """Classes anew: parted where they were, and where `apart`; (batch, n), numbered from 0 in this order."""
        ranks = (apart | ~self.together).cumsum(1)
        ranks = torch.cat([torch.zeros_like(self.order[:, :1]), ranks], 1)
        return torch.zeros_like(self.order).scatter(1, self.order, ranks)


def neighbours(column: Num[Tensor, "batch n"], labels: Int[Tensor, "batch n"]) -> Neighbours:
    """Who stands beside whom in each class of rows when these are sorted by a column."""
    order = column.argsort(dim=1, stable=True)
    order = order.gather(1, labels.gather(1, order).argsort(dim=1, stable=True))
    value, label = column.gather(1, order), labels.gather(1, order)
    return Neighbours(order, value[:, 1:] - value[:, :-1], label[:, 1:] == label[:, :-1])


def thresholds(table: Table, within: float | str) -> list[Float[Tensor, " batch"]]:
    """For each part up to which gap its numbers count as equal, (batch,) float64, in its unit; 0 for whole numbers."""
    found = []
    for part in table.parts:
        if not part.is_floating_point():
            found.append(part.new_zeros(part.shape[0], dtype=torch.float64))
        elif within == "rounding":
            _check_fine(part.dtype)
            low, high = table.limits(part)
            largest = torch.cat([low.abs(), high.abs()], 1).amax(1)
            found.append(ROUNDING * torch.finfo(part.dtype).eps * largest)
        else:
            assert not isinstance(within, str)
            found.append(within * table.range(part))
    return found


def linked(table: Table, within: float | str, *, alone: bool = False) -> tuple[list[Tensor], Float[Tensor, " batch"]]:
    """The classes of rows after each column, and how far the nearest gap is from the threshold.

    In each class so far the column's numbers are linked where the gap from one to the next is at most the threshold.

    Args:
        table: the rows.
        within: as in `Sorted`.
        alone: each column by itself, whatever the others say.

    Returns:
        For each column the classes (batch, n), int64, numbered along the order; and (batch,), float64: the smallest
        difference between a gap and its threshold over the range of the part, at most 1.
    """
    labels = start = table.classes()
    found: list[Tensor] = []
    margin = torch.ones(start.shape[0], dtype=torch.float64, device=start.device)
    for part, threshold in zip(table.parts, thresholds(table, within), strict=True):
        span = table.range(part)
        for column in part.unbind(-1):
            beside = neighbours(column, start if alone else labels)
            whole = not column.is_floating_point()
            gaps = beside.gaps if whole else beside.gaps.double()
            labels = beside.split(gaps != 0 if whole else gaps > threshold[:, None])
            found.append(labels)
            if not whole:
                near = torch.where(span[:, None] > 0, (gaps - threshold[:, None]).abs() / span[:, None], 1.0)
                margin = torch.minimum(margin, _least(near, beside.together))
    return found, margin


def along_rows(table: Table, within: float | str) -> Ordering:
    """The lexicographic order, in which numbers count as equal that differ by rounding or little; see `Sorted`."""
    order = lexicographic(table.columns, table.present)
    ordered = [column.gather(1, order) for column in table.columns]
    if within == 0:
        same = _same(ordered, table, order)
        return Ordering(order, _numbered(same, order), _first_gap(ordered[0], same, table, order))
    classes, margin = linked(table, within)
    order = order.gather(1, classes[-1].gather(1, order).argsort(dim=1, stable=True))
    return Ordering(order, classes[-1].gather(1, order), margin)


def along_curve(table: Table, bits: int | None, within: float | str) -> Ordering:
    """The order along a Hilbert curve through the box of the rows; see `Sorted`."""
    columns, count = table.columns, len(table.columns)
    most = 62 // count
    if most < (bits or 1):
        raise refuse(
            'Sorted(order="hilbert"): the curve has too many cells to be numbered',
            got=f"{count} columns of {bits or 1} bits",
            expected="columns times bits of at most 62",
            fix=f"bits={most}"
            if most
            else 'order="lexicographic", or sort by fewer columns: declare the others as None',
        )
    bits = min(16, most) if bits is None else bits
    near = torch.ones(columns[0].shape[0], dtype=torch.float64, device=columns[0].device)
    classes: list[Tensor] = []
    if within != 0:
        classes, near = linked(table, within, alone=True)
    units = _units(table, classes)
    cells = (units * 2**bits).long()
    places = hilbert_index(cells, bits)
    order = lexicographic([places, *(classes or columns), *(columns if classes else [])], table.present)
    same = _same([column.gather(1, order) for column in (classes or columns)], table, order)
    counted = ~same if table.present is None else ~same & table.present.gather(1, order)[:, 1:]
    ranked = units.gather(1, order[..., None].expand_as(units))
    margin = torch.minimum(near, _to_wall(ranked, places.gather(1, order), counted, bits))
    return Ordering(order, _numbered(same, order), margin)


def _units(table: Table, classes: list[Tensor]) -> Float[Tensor, "batch n columns"]:
    """Where each entry stands in the box of the curve, from 0, below 1 of its longest side; classes of entries as one."""
    found = []
    number = 0
    for part in table.parts:
        low, _ = table.limits(part)
        span = table.range(part)[:, None]
        for i, column in enumerate(part.unbind(-1)):
            wide = column.double()
            if classes:
                label = classes[number]
                ends = [
                    torch.zeros_like(wide).scatter_reduce(1, label, wide, kind, include_self=False).gather(1, label)
                    for kind in ("amin", "amax")
                ]
                wide = (ends[0] + ends[1]) / 2
            number += 1
            unit = torch.where(span > 0, (wide - low[:, i : i + 1]) / torch.where(span > 0, span, 1.0), 0.0)
            found.append(unit.nan_to_num(nan=0.0).clamp(0.0, 1.0) / _SLACK)
    return torch.stack(found, -1)


def _to_wall(units: Tensor, places: Tensor, counted: Tensor, bits: int) -> Float[Tensor, " batch"]:
    """How far the entries are from walls between cells whose crossing may change the order; 0 for different rows in one cell.

    Only walls matter of the coarsest grid on which a row is in another cell than those before and after it, where `counted`.
    """
    count = units.shape[-1]
    level = torch.zeros_like(places[:, 1:])
    for depth in range(1, bits + 1):
        level = level + (places[:, 1:] >> count * (bits - depth) == places[:, :-1] >> count * (bits - depth)).long()
    level = torch.where(counted, level + 1, 0)
    rim = torch.zeros_like(places[:, :1])
    needed = torch.maximum(torch.cat([rim, level], 1), torch.cat([level, rim], 1))
    width = torch.pow(2.0, -needed.clamp(max=bits).double())[..., None]
    wall = (units / width).round().clamp(min=1).minimum(1 / width - 1) * width
    far = torch.where((needed > 0)[..., None], (units - wall).abs(), 1.0).amin(-1)
    return _least(torch.where(needed > bits, 0.0, far * _SLACK), needed > 0)


def _same(ordered: list[Tensor], table: Table, order: Tensor) -> Bool[Tensor, "batch steps"]:
    """Whether each row is equal to the one before; rows that are not there are equal to none."""
    same = torch.ones_like(order[:, 1:], dtype=torch.bool)
    for column in ordered:
        same = same & (column[:, 1:] == column[:, :-1])
    return same if table.present is None else same & table.present.gather(1, order)[:, 1:]


def _numbered(same: Tensor, order: Tensor) -> Int[Tensor, "batch n"]:
    """Classes of places, from 0: a new one starts where a row is not the same as the one before."""
    return torch.cat([torch.zeros_like(order[:, :1]), (~same).cumsum(1)], 1)


def _least(values: Tensor, counted: Tensor) -> Float[Tensor, " batch"]:
    """The smallest of the values that count, at most 1; 0 for one that is no number."""
    values = torch.where(counted, values.nan_to_num(nan=0.0), 1.0)
    return torch.cat([values, values.new_ones(values.shape[0], 1)], 1).amin(1)


def _first_gap(first: Tensor, same: Tensor, table: Table, order: Tensor) -> Float[Tensor, " batch"]:
    """The smallest gap in the first column between different neighbours, over the column's range; 1 where none differ."""
    first = first.double()
    counted = ~same
    if table.present is None:
        span = first[:, -1:] - first[:, :1]
    else:
        there = table.present.gather(1, order)
        counted = counted & there[:, 1:]
        last = (there.sum(1, keepdim=True) - 1).clamp(min=0)
        span = first.gather(1, last) - first[:, :1]
    gaps = torch.where(span > 0, (first[:, 1:] - first[:, :-1]) / span, 0.0)
    return _least(gaps, counted)
