"""Scalars, vectors, points and tensors: values that matrices act on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor as Array

from canonize._tree import brief
from canonize.actions.base import fit, floating, matrix_of
from canonize.errors import refuse
from canonize.groups import Rigid
from canonize.linalg import is_signed_permutation, matmul


@final
@dataclass(frozen=True)
class Scalar:
    """A value that no element moves, with the batch in front: logits, energies, atomic numbers. Any shape and dtype."""

    def __call__(self, g: Any, x: Any) -> Any:
        """x, unchanged."""
        return x

    def bitwise(self, g: Any, x: Array) -> Array:
        """True: nothing is computed."""
        return torch.ones((), dtype=torch.bool, device=x.device)


@final
@dataclass(frozen=True, repr=False)
class Vector:
    """A direction that turns and does not feel shifts: velocity, force, a normal, the rows of a crystal's cell.

    Args:
        axis: which axis holds the components, counted from the end. `Vector(axis=-2)` moves a matrix from the left,
            F -> g F, as a deformation gradient and the first Piola-Kirchhoff stress move.

    Values: (*batch, ..., n), floating point, any unit; n is the dimension of the group and stands at `axis`. Under a
    `Rigid` motion only the linear part acts.

    Raises:
        SymmetryError: an axis of another size than n, whole numbers, elements without a matrix, or an `axis` from the
            front.
    """

    __repr__ = brief

    axis: int = -1

    def __post_init__(self) -> None:
        if not isinstance(self.axis, int) or isinstance(self.axis, bool) or self.axis >= 0:
            raise refuse(
                "Vector counts its axis from the end",
                got=repr(self.axis),
                expected="a whole number below 0",
                fix="Vector() for the last axis, Vector(axis=-2) for matrices that are moved from the left",
            )

    def __call__(self, g: Any, x: Array) -> Array:
        """g x for each vector, of the shape of x."""
        return along_axes(self, matrix_of(self, g), x, rank=1, last=self.axis)

    def bitwise(self, g: Any, x: Array) -> Array:
        """Whether each element is a signed permutation."""
        return _moves_entries(matrix_of(self, g))


@final
@dataclass(frozen=True)
class Point:
    """A position that turns and shifts. Values, errors: as for `Vector`; under plain matrices a point moves as a vector."""

    def __call__(self, g: Any, x: Array) -> Array:
        """linear x + shift for each point, of the shape of x."""
        matrix = matrix_of(self, g)
        moved = along_axes(self, matrix, x, rank=1)
        if not isinstance(g, Rigid):
            return moved
        middle = moved.ndim - matrix.ndim + 1
        return moved + g.shift.to(moved.dtype).reshape(*g.shift.shape[:-1], *(1,) * middle, g.shift.shape[-1])

    def bitwise(self, g: Any, x: Array) -> Array:
        """Whether each element is a signed permutation without a shift."""
        return _moves_entries(matrix_of(self, g)) & (not isinstance(g, Rigid))


@final
@dataclass(frozen=True, repr=False)
class Tensor:
    """A tensor of the given rank: each of the last `rank` axes turns (stress and polarisability have rank 2).

    Args:
        rank: number of axes, at least 0.
        odd: whether reflections also change the sign (the factor det g): `Tensor(1, odd=True)` is a pseudovector such as
            a torque or a magnetic field, `Tensor(0, odd=True)` a pseudoscalar.

    Values: (*batch, ..., n, ..., n) with `rank` axes of size n, floating point.

    Raises:
        SymmetryError: a negative rank, and as for `Vector`.
    """

    __repr__ = brief

    rank: int
    odd: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.rank, int) or isinstance(self.rank, bool) or self.rank < 0:
            raise refuse("Tensor needs a rank", got=repr(self.rank), expected="a whole number >= 0", fix="Tensor(2)")

    def __call__(self, g: Any, x: Array) -> Array:
        """The moved tensor, of the shape of x."""
        matrix = matrix_of(self, g)
        moved = along_axes(self, matrix, x, rank=self.rank)
        if not self.odd:
            return moved
        sign = torch.where(torch.linalg.det(matrix) < 0, -1.0, 1.0).to(moved.dtype)
        return moved * sign.reshape((*sign.shape, *(1,) * (moved.ndim - sign.ndim)))

    def bitwise(self, g: Any, x: Array) -> Array:
        """Whether each element is a signed permutation."""
        return _moves_entries(matrix_of(self, g))


def _moves_entries(matrix: Array) -> Array:
    return is_signed_permutation(matrix) & (matrix == matrix.round()).flatten(-2).all(-1)


def along_axes(action: Any, matrix: Array, x: Array, *, rank: int, last: int = -1) -> Array:
    """Multiply `rank` neighbouring axes of `x`, of which the hindmost is `last` < 0, by the matrices, (*batch, n, n).

    The batch in front of them and all other axes are carried along.
    """
    n, batch = matrix.shape[-1], matrix.shape[:-2]
    x = floating(action, fit(action, batch, x, rank - last - 1, matrix.device))
    axes = range(x.ndim + last + 1 - rank, x.ndim + last + 1)
    if any(x.shape[axis] != n for axis in axes):
        sizes = tuple(x.shape[axis] for axis in axes)
        where = "the last axis" if rank == 1 else f"the last {rank} axes"
        raise refuse(
            f"{action!r}: the value does not have the dimension of the group",
            got=f"shape {tuple(x.shape)}, so components {sizes}",
            expected=f"{where if last == -1 else f'axis {last}'} of size {n}",
            fix=f"put the {n} components {'last' if last == -1 else f'on axis {last}'}, "
            "or declare another group or action, such as Scalar() for what no element moves",
        )
    matrix = matrix.to(x.dtype)
    for axis in axes:
        rows = x.movedim(axis, -1)
        lead, middle = rows.shape[: len(batch)], math.prod(rows.shape[len(batch) : -1])
        x = matmul(rows.reshape(*lead, middle, n), matrix.mT).reshape(rows.shape).movedim(-1, axis)
    return x
