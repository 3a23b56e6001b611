"""Sets: the rows in order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Int
from torch import Tensor

from canonize._tree import brief, describe, walk
from canonize._values import unseen
from canonize.actions import Index, Nodes, Offsets, Pairs, Rows, Scalar
from canonize.actions.relabel import ranked
from canonize.actions.rows import Layout, layout
from canonize.actions.trees import batch_of
from canonize.errors import refuse
from canonize.frames.base import Poses
from canonize.frames.orders import Table, along_curve, along_rows, check_within
from canonize.groups import S
from canonize.symmetry import Symmetry


@final
@dataclass(frozen=True, repr=False)
class Sorted:
    """The pose of a set: its rows in order, by the first column, then by the second, and so on, or along a Hilbert curve.

    Sorts by all inputs that are declared `Nodes()`, side by side. Equal rows cannot be told apart: outputs are averaged
    over them, so that they get equal answers. One model call.

    Args:
        order: "lexicographic", or "hilbert": along a Hilbert curve through the box of the rows, rows in one cell
            lexicographically. Along the curve neighbours are near each other in all columns, not in the first alone.
        within: up to which gap floating-point numbers of a column count as equal, as a share of the range of their input
            (the largest of its columns), from 0, below 1; where numbers agree to rounding only, such as coordinates that
            another frame has posed, "rounding": 256 units of rounding of the largest number of their input. Rows whose
            numbers are linked by such gaps are one class, inside which the next column decides; what no column decides is
            averaged over as equal rows are. Columns of one input should have one unit; others go into an input of their own.
        bits: of the curve in each column; 16 where None, less where there are more than 3 columns. Columns times bits is
            at most 62.

    The order is constant between jumps, so that it has no derivative of its own. It jumps where two different rows agree in
    the first column, and `Poses.margin` is the smallest gap there, relative to the column's range. With `within` it jumps
    where a gap crosses the threshold, and the margin is the smallest difference of a gap and the threshold; on the curve it
    jumps where a row crosses a wall between cells that its place depends on, and the margin is the distance to the nearest
    such wall; both over the range of the input. A set whose numbers change by less than a fifth of the margin keeps its
    order, up to rows that `within` takes as equal.

    Raises:
        SymmetryError: an order, a width or a number of bits that is none of these; on use, no input declared `Nodes()`, one
            declared anything but `Nodes()`, `Scalar()` or None (an order of rows does not settle a graph), rows of another
            number than the group's, NaN among them, too many columns for a curve; where rows are equal, an output that is
            no floating-point `Nodes()`, `Pairs()` or `Scalar()`.

    Source: for the curve against the lexicographic order, Sverdlov et al., arXiv 2605.11008.

    Example:
        >>> import torch
        >>> from canonize import Nodes, S, Scalar, Sorted, Symmetry, symmetrize
        >>> x = torch.tensor([[[0.1 + 0.2, 0.0], [0.3, 1.0], [0.0, 0.5]]], dtype=torch.float64)
        >>> claim = Symmetry(S(3), Nodes(), Scalar())
        >>> for within in (0, "rounding"):
        ...     symmetrize(torch.nn.Flatten(), claim, Sorted(within=within)).canonical(x)[0, :, 1].tolist()
        [0.5, 1.0, 0.0]
        [0.5, 0.0, 1.0]
    """

    __repr__ = brief

    order: str = "lexicographic"
    within: float | str = 0.0
    bits: int | None = None

    def __post_init__(self) -> None:
        if self.order not in ("lexicographic", "hilbert"):
            raise refuse(
                "Sorted: no such order",
                got=repr(self.order),
                expected='"lexicographic" or "hilbert"',
                fix='Sorted(order="hilbert")',
            )
        check_within("Sorted", self.within)
        if self.bits is not None and (not isinstance(self.bits, int) or not 1 <= self.bits <= 62):
            raise refuse(
                "Sorted: bad bits", got=repr(self.bits), expected="a whole number from 1 to 62", fix="leave it out"
            )

    def __call__(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """One permutation for each sample."""
        table = table_of(symmetry, inputs)
        if self.order == "hilbert":
            found = along_curve(table, self.bits, self.within)
        else:
            found = along_rows(table, self.within)
        weights = torch.ones(1, found.order.shape[0], dtype=found.margin.dtype, device=found.order.device)
        return Poses(found.order[None], weights, found.margin, Classes(found.labels) if found.ties else None)


@final
@dataclass(frozen=True)
class Classes:
    """A stabilizer of S(n): all permutations that exchange nodes of equal label.

    Attributes:
        labels: (batch, n), int64, from 0 to n - 1.
    """

    labels: Int[Tensor, "batch n"]

    def take(self, entries: Int[Tensor, " count"]) -> Classes:
        """That of some entries, numbered as the samples are."""
        return Classes(self.labels[entries])

    def __call__(self, action: Any, output: Tensor, where: Layout | None) -> Tensor:
        """The mean over the stabilizer: over each class of nodes, or over each orbit of pairs (the diagonal apart)."""
        if isinstance(action, Scalar):
            return output
        ragged = isinstance(action, Rows) and action.action == Nodes()
        rows = ragged or isinstance(action, Pairs) or (isinstance(action, Nodes) and action.axis == 0)
        if not rows or not (output.is_floating_point() or output.is_complex()):
            raise refuse(
                "equal rows: the output cannot be averaged over them",
                got=f"an output declared {action!r}, dtype {str(output.dtype).removeprefix('torch.')}",
                expected="floating-point outputs declared Scalar(), Nodes(), Pairs() or Rows(Nodes())",
                fix="symmetrize the logits and take the labels outside",
            )
        n = self.labels.shape[1]
        if ragged:
            assert where is not None
            ranks, _ = ranked(where.index)
            padded = output.new_zeros(self.labels.shape[0], n, *output.shape[1:]).index_put(
                (where.index, ranks), output
            )
            return mean_by(self.labels, padded, n)[where.index, ranks]
        if isinstance(action, Nodes):
            return mean_by(self.labels, output, n)
        unit = torch.eye(n, dtype=torch.int64, device=output.device)
        orbits = (self.labels[:, :, None] * n + self.labels[:, None]) * 2 + unit
        pairs = output.reshape(output.shape[0], n * n, *output.shape[3:])
        return mean_by(orbits.flatten(1), pairs, 2 * n * n).reshape(output.shape)


def mean_by(labels: Int[Tensor, "batch m"], values: Tensor, count: int) -> Tensor:
    """For each entry the mean of those of its sample that have its label.

    Args:
        labels: (batch, m), int64, from 0 to count - 1.
        values: (batch, m, ...), floating-point or complex.
        count: how many labels there may be.
    """
    index = labels.reshape(*labels.shape, *(1,) * (values.ndim - 2)).expand(values.shape)
    # Sums in float32 at least: many equal rows overflow half precision.
    wide = torch.promote_types(values.dtype, torch.float32)
    sums = torch.zeros(values.shape[0], count, *values.shape[2:], dtype=wide, device=values.device)
    sums = sums.scatter_add(1, index, values.to(wide))
    sizes = torch.zeros(values.shape[0], count, dtype=torch.int64, device=values.device)
    sizes = sizes.scatter_add(1, labels, torch.ones_like(labels))
    means = sums.gather(1, index) / sizes.gather(1, labels).reshape(*labels.shape, *(1,) * (values.ndim - 2))
    return means.to(values.dtype)


def table_of(symmetry: Symmetry, inputs: Any, where: str = "Sorted") -> Table:
    """The rows of all inputs declared `Nodes()` or `Rows(Nodes())`, side by side; of sets of different sizes, padded.

    Args:
        symmetry: the claim.
        inputs: what it is about.
        where: who asks, for the message.

    Raises:
        SymmetryError: as `Sorted` says.
    """
    found: list[Tensor] = []
    told = layout(symmetry.inputs, inputs)
    owners = None if told is None else told.index
    batch = 0 if owners is None else batch_of(symmetry.inputs, inputs)[0]
    ranks = owners if owners is None else ranked(owners)[0]
    longest = int(ranks.max()) + 1 if ranks is not None and ranks.shape[0] else 0

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if action is None or isinstance(action, Scalar | Index | Offsets):
            return part
        ragged = isinstance(action, Rows) and not action.edges
        if ragged:
            action = action.action
        if not isinstance(action, Nodes) or action.axis or ragged != (owners is not None):
            raise refuse(
                f"{where} orders sets; the input{path and ' at ' + path} is declared {action!r}",
                got="an input that may tell nodes apart in a way that an order of rows does not see",
                expected="inputs declared Nodes(), Scalar() or None; in ragged batches Rows(Nodes())",
                fix="Average() visits every order where n <= 8",
            )
        if ragged and owners is not None:
            part = part.new_zeros(batch, longest, *part.shape[1:]).index_put((owners, ranks), part)
        if not isinstance(part, Tensor) or part.ndim < 2:
            raise refuse(
                f"{where}: the input{path and ' at ' + path} has no rows",
                got=describe(part),
                expected="a tensor (batch, n, ...)",
                fix="x[None] adds a batch axis to a single set, x[..., None] gives its numbers a column",
            )
        if isinstance(symmetry.group, S) and symmetry.group.n not in (None, part.shape[1]):
            raise refuse(
                f"{where}: the input{path and ' at ' + path} does not have the size of the group",
                got=f"{part.shape[1]} rows, {symmetry.group!r}",
                expected=f"(batch, {symmetry.group.n}, ...)",
                fix=f"use S({part.shape[1]}), and put the rows right after the batch",
            )
        rows = torch.view_as_real(part) if part.is_complex() else part
        rows = rows if rows.is_floating_point() else rows.long()
        if not rows.shape[2:].numel():
            # Rows without entries are all equal.
            rows = torch.zeros(*rows.shape[:2], 1, dtype=torch.int64, device=rows.device)
        found.append(rows.reshape(*rows.shape[:2], math.prod(rows.shape[2:])))
        return part

    walk(leaf, symmetry.inputs, inputs)
    if not found:
        raise refuse(
            f"{where} needs an input declared Nodes()",
            got=repr(symmetry.inputs),
            expected="Nodes() somewhere in the inputs",
            fix="Symmetry(S(n), inputs=Nodes(), outputs=Scalar())",
        )
    lost = torch.stack([part.isnan().flatten(1).any(1) for part in found]).any(0)
    if not unseen(lost) and bool(lost.any()):
        raise refuse(
            f"{where}: rows that are not numbers have no order",
            got=f"NaN in sample {lost.nonzero()[:, 0].tolist()[:8]} of the batch",
            expected="numbers",
            fix="drop or fill these rows first",
        )
    if owners is None:
        return Table(tuple(found))
    present = torch.zeros(batch, longest, dtype=torch.bool, device=owners.device)
    return Table(tuple(found), present.index_put((owners, ranks), present.new_ones(())))
