"""Sets: the rows in lexicographic order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Int
from torch import Tensor

from canonize._tree import describe, walk
from canonize.actions import Nodes, Pairs, Scalar
from canonize.errors import refuse
from canonize.frames.base import Poses
from canonize.groups import S
from canonize.symmetry import Symmetry


@final
@dataclass(frozen=True)
class Sorted:
    """The pose of a set: its rows in lexicographic order, by the first column, then by the second, and so on.

    Sorts by all inputs that are declared `Nodes()`, side by side. Equal rows cannot be told apart: outputs are averaged
    over them, so that they get equal answers. One model call.

    The order jumps where two different rows agree in the first column; `margin` is the smallest gap there, relative to
    the column's range.

    Raises:
        SymmetryError: no input declared `Nodes()`, one declared anything but `Nodes()`, `Scalar()` or None (an order of rows
            does not settle a graph), rows of another number than the group's, NaN among them; where rows are equal, an
            output that is no floating-point `Nodes()`, `Pairs()` or `Scalar()`.
    """

    def __call__(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """One permutation for each sample."""
        columns = _columns(symmetry, inputs)
        order = lexicographic(columns)
        ordered = [column.gather(1, order) for column in columns]
        same = torch.ones_like(order[:, 1:], dtype=torch.bool)
        for column in ordered:
            same = same & (column[:, 1:] == column[:, :-1])
        margin = _margin(ordered, same)
        weights = torch.ones(1, len(order), dtype=margin.dtype, device=order.device)
        if not bool(same.any()):
            return Poses(order[None], weights, margin)
        labels = torch.cat([torch.zeros_like(order[:, :1]), (~same).cumsum(1)], 1)
        return Poses(order[None], weights, margin, Classes(labels))


@final
@dataclass(frozen=True)
class Classes:
    """A stabilizer of S(n): all permutations that exchange nodes of equal label.

    Attributes:
        labels: (batch, n), int64, from 0 to n - 1.
    """

    labels: Int[Tensor, "batch n"]

    def __call__(self, action: Any, output: Tensor, index: Tensor | None) -> Tensor:
        """The mean over the stabilizer: over each class of nodes, or over each orbit of pairs (the diagonal apart)."""
        if isinstance(action, Scalar):
            return output
        rows = isinstance(action, Pairs) or (isinstance(action, Nodes) and action.axis == 0)
        if not rows or not (output.is_floating_point() or output.is_complex()):
            raise refuse(
                "equal rows: the output cannot be averaged over them",
                got=f"an output declared {action!r}, dtype {str(output.dtype).removeprefix('torch.')}",
                expected="floating-point outputs declared Scalar(), Nodes() or Pairs()",
                fix="symmetrize the logits and take the labels outside",
            )
        n = self.labels.shape[1]
        if isinstance(action, Nodes):
            return _mean_by(self.labels, output, n)
        unit = torch.eye(n, dtype=torch.int64, device=output.device)
        orbits = (self.labels[:, :, None] * n + self.labels[:, None]) * 2 + unit
        pairs = output.reshape(len(output), n * n, *output.shape[3:])
        return _mean_by(orbits.flatten(1), pairs, 2 * n * n).reshape(output.shape)


def lexicographic(columns: list[Tensor]) -> Int[Tensor, "batch n"]:
    """The order that sorts the rows of each sample by their columns, the first column first.

    Args:
        columns: one or more of shape (batch, n), real or whole numbers, no NaN.

    Returns:
        (batch, n), int64: row order[j] is the j-th.
    """
    order = torch.arange(columns[0].shape[1], device=columns[0].device).expand(columns[0].shape)
    for column in reversed(columns):
        order = order.gather(1, column.gather(1, order).argsort(dim=1, stable=True))
    return order


def _margin(ordered: list[Tensor], same: Tensor) -> Tensor:
    """The smallest gap in the first column between different neighbours, over the column's range; 1 where none differ."""
    first = ordered[0].double()
    span = first[:, -1:] - first[:, :1]
    gaps = torch.where(span > 0, (first[:, 1:] - first[:, :-1]) / span, 0.0).nan_to_num(nan=0.0)
    none = torch.ones(len(first), 1, dtype=torch.float64, device=first.device)
    return torch.cat([torch.where(same, 1.0, gaps), none], 1).amin(1)


def _mean_by(labels: Tensor, values: Tensor, count: int) -> Tensor:
    index = labels.reshape(*labels.shape, *(1,) * (values.ndim - 2)).expand(values.shape)
    sums = torch.zeros(len(values), count, *values.shape[2:], dtype=values.dtype, device=values.device)
    sums = sums.scatter_add(1, index, values)
    sizes = torch.zeros(len(values), count, dtype=torch.int64, device=values.device)
    sizes = sizes.scatter_add(1, labels, torch.ones_like(labels))
    return sums.gather(1, index) / sizes.gather(1, labels).reshape(*labels.shape, *(1,) * (values.ndim - 2))


def _columns(symmetry: Symmetry, inputs: Any) -> list[Tensor]:
    """The columns of all inputs declared `Nodes()`, (batch, n) each: floats as they are, whole numbers as int64."""
    found: list[Tensor] = []

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if action is None or isinstance(action, Scalar):
            return part
        if not isinstance(action, Nodes) or action.axis:
            raise refuse(
                f"Sorted orders sets; the input{path and ' at ' + path} is declared {action!r}",
                got="an input that may tell nodes apart in a way that an order of rows does not see",
                expected="inputs declared Nodes(), Scalar() or None",
                fix="Average() visits every order where n <= 8",
            )
        if not isinstance(part, Tensor) or part.ndim < 2:
            raise refuse(
                f"Sorted: the input{path and ' at ' + path} has no rows",
                got=describe(part),
                expected="a tensor (batch, n, ...)",
                fix="x[None] adds a batch axis to a single set, x[..., None] gives its numbers a column",
            )
        if isinstance(symmetry.group, S) and part.shape[1] != symmetry.group.n:
            raise refuse(
                f"Sorted: the input{path and ' at ' + path} does not have the size of the group",
                got=f"{part.shape[1]} rows, {symmetry.group!r}",
                expected=f"(batch, {symmetry.group.n}, ...)",
                fix=f"use S({part.shape[1]}), and put the rows right after the batch",
            )
        rows = torch.view_as_real(part) if part.is_complex() else part
        rows = rows if rows.is_floating_point() else rows.long()
        found.extend(rows.reshape(*rows.shape[:2], rows.shape[2:].numel()).unbind(-1))
        if not rows.shape[2:].numel():
            # Rows without entries are all equal.
            found.append(torch.zeros(rows.shape[:2], dtype=torch.int64, device=rows.device))
        return part

    walk(leaf, symmetry.inputs, inputs)
    if not found:
        raise refuse(
            "Sorted needs an input declared Nodes()",
            got=repr(symmetry.inputs),
            expected="Nodes() somewhere in the inputs",
            fix="Symmetry(S(n), inputs=Nodes(), outputs=Scalar())",
        )
    lost = torch.stack([column.isnan().any(1) for column in found]).any(0)
    if bool(lost.any()):
        raise refuse(
            "Sorted: rows that are not numbers have no order",
            got=f"NaN in sample {lost.nonzero()[:, 0].tolist()[:8]} of the batch",
            expected="numbers",
            fix="drop or fill these rows first",
        )
    return found
