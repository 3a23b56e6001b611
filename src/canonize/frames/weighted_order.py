"""A continuous frame for sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from canonize._tree import brief, spec_leaves
from canonize.actions import Numbering, Scalar
from canonize.actions.trees import batch_of
from canonize.errors import refuse
from canonize.frames.base import Poses
from canonize.frames.orders import Table, lexicographic, neighbours
from canonize.frames.pairs import ramp
from canonize.frames.sort import Classes, table_of
from canonize.symmetry import Symmetry, check_is_claim

_MOST = 4096
"""Poses of one sample beyond which a set is refused."""


@final
@dataclass(frozen=True, repr=False)
class WeightedOrder:
    """Orders of the rows of a set, with weights that fade near ties: a continuous frame for sets.

    Two rows whose numbers in a column differ by less than a threshold are ordered by the next column, as
    `Sorted(within=...)` does; here the threshold takes all values from zero to `width`, and each order that occurs is a pose,
    weighted by the share of thresholds for which it occurs. An order that holds by a small gap has a small weight,
    and none by the time that the gap is gone. So the symmetrized model is continuous where the model is, also where rows
    cross in one column or come to coincide, which no single order can be. A set without gaps below `width` has one pose;
    each gap below it adds at most about one.

    Rows that all columns link are ordered by what sets them apart most, on their own scale; for outputs other than scalars
    these rows then also change places in turn, so that their outputs become equal as the rows do. Outputs of exactly equal
    rows are averaged.

    Args:
        width: the largest threshold, in units of the mean gap: range / (n - 1), where the range is the largest of the columns
            of an input; positive. Wider is smoother and needs more poses: about 1 + n (1 - exp(-width)) / 2 for random rows and
            outputs that are scalars; several times more for others where rows are linked in all columns, which in one column
            most are: 13 for 7 random numbers and 175 for 30 at the default.

    `Poses.margin` is width / (n - 1), at most 1: to move all the weight of a pose to others, an input has to change by about
    this share of its range, wherever it is. Weights are computed in float64, have the dtype of the inputs and a derivative
    that is finite everywhere; it jumps where two fading gaps become equal.

    Raises:
        SymmetryError: a width that is not positive; on use, as `Sorted`, and for infinite entries, or where so many rows
            nearly coincide that a sample has more than 4,096 poses.

    Singular case: an input all of whose rows coincide has no scale of its own, and what its rows differ by in the least sets
    their order: near it an output that is no scalar jumps, and so do all where rows are tied in the inputs before.
    Outputs declared `Pairs()` are equivariant as all are, and continuous but where three or more rows coincide, or two pairs.

    Source: that a continuous frame of permutations needs weights is from Dym, Lawrence, Siegel, arXiv 2402.16077, who sort
    along many directions; the thresholds here are our own.

    Example:
        >>> import torch
        >>> from canonize import Nodes, S, Scalar, Symmetry, WeightedOrder
        >>> x = torch.tensor([[[0.00, 1.0], [0.02, 0.0], [1.0, 0.0]]])
        >>> poses = WeightedOrder(0.1)(Symmetry(S(3), Nodes(), Scalar()), x)
        >>> poses.elements[:, 0].tolist()
        [[1, 0, 2], [0, 1, 2]]
        >>> [round(weight, 3) for weight in poses.weights[:, 0].tolist()]
        [0.648, 0.352]
    """

    __repr__ = brief

    width: float = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.width, int | float) or isinstance(self.width, bool) or not 0 < self.width < float("inf"):
            raise refuse(
                "WeightedOrder: bad width",
                got=repr(self.width),
                expected="a positive number of mean gaps",
                fix="WeightedOrder(0.5)",
            )

    def __call__(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """The weighted orders of each sample. Draws nothing."""
        check_is_claim(symmetry, "WeightedOrder")
        table = table_of(symmetry, inputs, "WeightedOrder")
        leaves = [leaf for leaf in spec_leaves(symmetry.outputs) if leaf is not None]
        turning = any(not isinstance(leaf, Scalar | Numbering) for leaf in leaves)
        orders, weights, labels, margin = weighted_orders(table, self.width, turning=turning)
        tied = bool((labels.sort(2).values.diff(dim=2) == 0).any())
        fixed = Classes(labels.flatten(0, 1)) if tied else None
        dtype = batch_of(symmetry.inputs, inputs)[1]
        return Poses(orders, weights.to(dtype), margin, fixed, sparse=True)


def weighted_orders(
    table: Table, width: float, *, turning: bool
) -> tuple[Int[Tensor, "k batch n"], Float[Tensor, "k batch"], Int[Tensor, "k batch n"], Float[Tensor, " batch"]]:
    """The orders of `WeightedOrder`.

    Args:
        table: the rows.
        width: the largest threshold, in mean gaps.
        turning: whether rows that nearly coincide change places in turn.

    Returns:
        Orders, int64; their weights, float64, of sum one; for each place of each order the class of equal rows, int64; and
        the margin, float64.
    """
    batch, n = table.parts[0].shape[:2]
    columns, margin = _scaled(table, width)
    base = lexicographic([column.detach() for column in table.columns], table.present)
    equal = _equal([column.detach() for column in columns], table.classes())
    listing: list[tuple[Tensor, Tensor]] = []
    upper = columns[0].new_ones(batch)
    while True:
        levels, lower = _levels(columns, equal, upper, table.classes())
        order = base.gather(1, levels[-1].gather(1, base).argsort(dim=1, stable=True))
        # Rounding may put the end of a short interval before its start.
        share = (ramp(upper) - ramp(lower)).clamp(min=0)
        found = _turned(order, levels[:-1], equal) if turning else [(order, torch.ones_like(share.detach()))]
        listing += [(one, share * part) for one, part in found]
        _check_count(len(listing), n)
        upper = lower
        if not bool((upper > 0).any()):
            break
    orders, weights = _gathered(listing)
    return orders, weights, equal.expand_as(orders).gather(2, orders), margin


def _scaled(table: Table, width: float) -> tuple[list[Float[Tensor, "batch n"]], Float[Tensor, " batch"]]:
    """The columns in units of their largest threshold, float64, and that over the range of their input.

    Different whole numbers are farther apart than the threshold.
    """
    found = []
    n = table.parts[0].shape[1]
    count = table.parts[0].new_full((len(table.parts[0]),), n, dtype=torch.float64)
    if table.present is not None:
        count = table.present.sum(1).double()
    share = width / (count - 1).clamp(min=1)
    for part in table.parts:
        if not part.is_floating_point():
            for column in part.unbind(-1):
                beside = neighbours(column, table.classes())
                found.append(2.0 * beside.split(beside.gaps != 0).double())
            continue
        _check_finite(part, table)
        unit = (share * table.range(part))[:, None]
        for column, low in zip(part.double().unbind(-1), table.limits(part)[0].unbind(-1), strict=True):
            about = column - low[:, None]
            if table.present is not None:
                about = torch.where(table.present, about, 0.0)
            found.append(torch.where(unit > 0, about / torch.where(unit > 0, unit, 1.0), 0.0))
    return found, share.clamp(max=1.0)


def _equal(columns: list[Tensor], labels: Tensor) -> Int[Tensor, "batch n"]:
    """Classes of equal rows, from 0."""
    for column in columns:
        beside = neighbours(column, labels)
        labels = beside.split(beside.gaps != 0)
    return labels


def _levels(
    columns: list[Tensor], equal: Tensor, upper: Tensor, labels: Tensor
) -> tuple[list[Tensor], Float[Tensor, " batch"]]:
    """The classes of rows for a threshold just below `upper`, and down to which threshold they stay the same.

    What all columns leave in one class is parted on: there the threshold is that share of the largest gap in the class. So
    each level parts the classes of the one before, and the last one holds equal rows alone.

    Args:
        columns: (batch, n) each, in units of the largest threshold.
        equal: (batch, n), classes of equal rows.
        upper: (batch,), from 0 to 1.
        labels: (batch, n), what is told apart before.

    Returns:
        For each level (batch, n), int64, numbered along the order; and (batch,), below `upper` where that is not 0.
    """
    levels: list[Tensor] = []
    lower = torch.zeros_like(upper)
    scale = torch.ones_like(columns[0])
    while True:
        for column in columns:
            beside = neighbours(column, labels)
            own = scale.gather(1, beside.order[:, 1:])
            ratio = torch.where(own > 0, beside.gaps / torch.where(own > 0, own, 1.0), 0.0)
            tied = beside.together & (ratio < upper[:, None]).detach()
            lower = torch.cat([lower[:, None], torch.where(tied, ratio, 0.0)], 1).amax(1)
            labels = beside.split(~tied)
        levels.append(labels)
        mixed = _mixed(labels, equal)
        if not bool(mixed.any()):
            return levels, lower
        widest = torch.zeros_like(columns[0])
        for column in columns:
            beside = neighbours(column, labels)
            gaps = torch.where(beside.together, beside.gaps, 0.0)
            widest = widest.scatter_reduce(1, labels.gather(1, beside.order[:, 1:]), gaps, "amax")
        scale = torch.where(mixed, widest.gather(1, labels), 0.0)


def _mixed(labels: Tensor, equal: Tensor) -> Tensor:
    """Which rows are in a class with one that is not equal, (batch, n)."""
    least, most = (
        torch.zeros_like(equal).scatter_reduce(1, labels, equal, kind, include_self=False) for kind in ("amin", "amax")
    )
    return (least != most).gather(1, labels)


def _turned(order: Tensor, levels: list[Tensor], equal: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The order, and those in which the rows of each linked class have changed places in turn; with shares (batch,)."""
    found = [(order, torch.ones_like(order[:, 0], dtype=torch.float64))] if order.shape[1] else []
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    # From the inside outwards: a class changes places as a whole, with what its parts did.
    for labels in reversed(levels):
        ranked = labels.gather(1, order)
        mixed = _mixed(labels, equal).gather(1, order)
        size = torch.zeros_like(order).scatter_add(1, ranked, torch.ones_like(order)).gather(1, ranked)
        first = torch.full_like(order, order.shape[1]).scatter_reduce(1, ranked, places, "amin").gather(1, ranked)
        # Each class has every turn for an equal share of the parameter; those of several classes go side by side.
        start = torch.where(mixed, (places - first).double() / size, 0.0).sort(1).values
        length = torch.cat([start, torch.ones_like(start[:, :1])], 1).diff(dim=1)
        rank = (length <= 0).int().argsort(dim=1, stable=True)
        start, length = start.gather(1, rank), length.gather(1, rank)
        more: list[tuple[Tensor, Tensor]] = []
        count = int((length > 0).sum(1).max())
        _check_count(count * len(found), order.shape[1])
        for turn in range(count):
            middle = (start + length / 2)[:, turn, None]
            shift = torch.minimum((middle * size).long(), size - 1)
            source = torch.where(mixed, first + (places - first + shift) % size, places)
            more += [(one.gather(1, source), share * length[:, turn]) for one, share in found]
        found = more
    return found or [(order, torch.ones(len(order), dtype=torch.float64, device=order.device))]


def _gathered(listing: list[tuple[Tensor, Tensor]]) -> tuple[Int[Tensor, "k batch n"], Float[Tensor, "k batch"]]:
    """All orders with their weights, equal ones in a row as one; those without weight last, and as few as can be."""
    orders = torch.stack([order for order, _ in listing])
    weights = [weight for _, weight in listing]
    for i in range(1, len(weights)):
        same = (orders[i] == orders[i - 1]).all(1)
        weights[i] = weights[i] + torch.where(same, weights[i - 1], 0.0)
        weights[i - 1] = torch.where(same, 0.0, weights[i - 1])
    table = torch.stack(weights)
    idle = table.detach() <= 0
    rank = idle.int().argsort(dim=0, stable=True)
    rank = rank[: max(1, int((~idle).sum(0).max()) if idle.numel() else 1)]
    return orders.gather(0, rank[..., None].expand(*rank.shape, orders.shape[2])), table.gather(0, rank)


def _check_finite(part: Tensor, table: Table) -> None:
    lost = ~part.detach().isfinite().all(2)
    lost = lost if table.present is None else lost & table.present
    if bool(lost.any()):
        raise refuse(
            "WeightedOrder: infinite entries have no distance",
            got=f"infinity in sample {lost.any(1).nonzero()[:, 0].tolist()[:8]} of the batch",
            expected="finite numbers",
            fix="Sorted() orders infinite entries too",
        )


def _check_count(count: int, n: int) -> None:
    if count > _MOST:
        raise refuse(
            "WeightedOrder: a set has too many poses",
            got=f"more than {_MOST} orders of {n} rows",
            expected="few gaps below the width, and few rows that nearly coincide",
            fix="a smaller width, or Sorted(within=...), which calls the model once",
        )
