"""Sets: the rows in lexicographic order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float, Int
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
        SymmetryError: no input declared `Nodes()`, one declared `Pairs()` (an order of nodes alone does not settle a graph),
            rows of another number than the group's, NaN among
            them, or an output that is neither `Nodes()`, `Pairs()` nor `Scalar()` where rows are equal.
    """

    def __call__(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """One permutation for each sample."""
        rows = _columns(symmetry, inputs)
        order = lexicographic(rows)
        ordered = rows.gather(1, order[..., None].expand(rows.shape))
        same = (ordered[:, 1:] == ordered[:, :-1]).all(-1)
        gaps = (ordered[:, 1:, 0] - ordered[:, :-1, 0]) if rows.shape[-1] else torch.zeros_like(same, dtype=rows.dtype)
        span = (
            (ordered[:, -1:, 0] - ordered[:, :1, 0])
            if rows.shape[1] and rows.shape[-1]
            else torch.ones_like(gaps[:, :1])
        )
        relative = torch.where(same, 1.0, torch.where(span > 0, gaps / span, 0.0)).nan_to_num(nan=0.0)
        margin = torch.cat([relative, torch.ones_like(rows[:, :1, :1].sum(-1))], 1)
        margin = margin.amin(1) if margin.shape[1] else torch.ones(len(rows), dtype=rows.dtype, device=rows.device)
        weights = torch.ones(1, len(rows), dtype=rows.dtype, device=rows.device)
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
        if not isinstance(action, Nodes | Pairs) or not (output.is_floating_point() or output.is_complex()):
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


def lexicographic(rows: Float[Tensor, "batch n d"]) -> Int[Tensor, "batch n"]:
    """The order that sorts the rows of each sample by their columns, the first column first.

    Args:
        rows: (batch, n, d), real, no NaN.

    Returns:
        (batch, n), int64: row order[j] is the j-th.
    """
    order = torch.arange(rows.shape[1], device=rows.device).expand(rows.shape[:2])
    for column in reversed(rows.unbind(-1)):
        order = order.gather(1, column.gather(1, order).argsort(dim=1, stable=True))
    return order


def _mean_by(labels: Tensor, values: Tensor, count: int) -> Tensor:
    index = labels.reshape(*labels.shape, *(1,) * (values.ndim - 2)).expand(values.shape)
    sums = torch.zeros(len(values), count, *values.shape[2:], dtype=values.dtype, device=values.device)
    sums = sums.scatter_add(1, index, values)
    sizes = torch.zeros(len(values), count, dtype=torch.int64, device=values.device)
    sizes = sizes.scatter_add(1, labels, torch.ones_like(labels))
    return sums.gather(1, index) / sizes.gather(1, labels).reshape(*labels.shape, *(1,) * (values.ndim - 2))


def _columns(symmetry: Symmetry, inputs: Any) -> Tensor:
    found: list[Tensor] = []

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if isinstance(action, Pairs):
            raise refuse(
                f"Sorted orders sets; the input{path and ' at ' + path} is declared Pairs()",
                got="an input with pairs of nodes",
                expected="inputs declared Nodes()",
                fix="Average() visits every order where n <= 8",
            )
        if isinstance(action, Nodes):
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
            part = torch.view_as_real(part) if part.is_complex() else part
            wide = part.double() if not part.is_floating_point() or part.dtype == torch.float64 else part.float()
            found.append(wide.reshape(*part.shape[:2], part.shape[2:].numel()))
        return part

    walk(leaf, symmetry.inputs, inputs)
    if not found:
        raise refuse(
            "Sorted needs an input declared Nodes()",
            got=repr(symmetry.inputs),
            expected="Nodes() somewhere in the inputs",
            fix="Symmetry(S(n), inputs=Nodes(), outputs=Scalar())",
        )
    rows = torch.cat(found, -1)
    lost = rows.isnan().flatten(1).any(1)
    if bool(lost.any()):
        raise refuse(
            "Sorted: rows that are not numbers have no order",
            got=f"NaN in sample {lost.nonzero()[:, 0].tolist()[:8]} of the batch",
            expected="numbers",
            fix="drop or fill these rows first",
        )
    return rows
