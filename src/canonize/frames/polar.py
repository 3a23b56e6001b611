"""The pose of a matrix: its polar rotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from canonize._tree import brief, describe, walk
from canonize.actions import Planar, Rows, Vector
from canonize.actions.trees import batch_of
from canonize.errors import SymmetryError, refuse
from canonize.frames.base import Poses
from canonize.frames.cloud import cloud_of
from canonize.frames.declared import named
from canonize.frames.pairs import ramp
from canonize.frames.weighted import Weighted, with_fallback
from canonize.groups import SO, O
from canonize.linalg import polar
from canonize.symmetry import Symmetry, check_is_claim

_FALLBACK = Weighted()
_UNITS = 8
"""A margin of so many units of rounding of the input is not told from zero."""


@final
@dataclass(frozen=True, repr=False)
class Polar:
    """The polar rotation of a d x d matrix among the inputs, one pose a sample, for SO(d) and O(d): F = R S, S symmetric.

    With a deformation gradient, constitutive laws become objective by construction. With the cell of a crystal, the pose
    depends neither on where the origin is nor on how the atoms are wrapped or ordered.

    - SO(d): R is the nearest rotation, also where det F < 0 (S then has one negative eigenvalue).
    - O(d): R is the nearest orthogonal matrix; S has no negative eigenvalue.

    `Poses.margin` tells how far R is from not being the only one: with singular values s_1 >= ... >= s_d it is
    (s_{d-1} + sign(det F) s_d) / s_1 for SO(d) and s_d / s_1 for O(d). 0 is a tie. Equal singular values are none.

    Args:
        of: which input is the matrix, by the name of the field or its whole path: "cell", "state.cell", "[1]". Where None,
            the one that is declared `Vector(axis=-2)`.
        fallback: frame for samples whose rotation is not unique; None leaves them to rounding.

    The matrix, (batch, d, d), floating point, any unit, is one of these:

    - `Vector(axis=-2)`: moved from the left, F -> g F;
    - with `of`, `Vector()`: the d rows move, as the rows of a cell do, and the matrix is their transpose;
    - `Planar` of either, (batch, 3, 3) or with the in-plane vectors alone, under SO(2) and O(2): the in-plane block.

    Computed in float64, also inside `torch.autocast`; elements have the dtype of the inputs. They have derivatives of
    every order, finite everywhere.

    Raises:
        SymmetryError: no such input or several, another shape, whole numbers, NaN or infinity, another group.

    Singular case: where R is not unique (a matrix of rank below d for O(d), below d - 1 for SO(d), or with det F < 0 and
    equal smallest singular values for SO(d)), and near it (at a margin of some hundredths for float32, some
    ten-thousandths for float64), the frame fades into `fallback` on the columns of the matrix, so that the symmetrized
    model stays equivariant to rounding. Without a fallback R is one of the nearest matrices, and which one depends on
    rounding; the margin tells.

    Example:
        >>> import torch
        >>> from canonize import SO, Polar, Symmetry, Vector, symmetrize
        >>> def stress(F):
        ...     return F**3  # no law of nature: it depends on how the body is turned
        >>> law = symmetrize(stress, Symmetry(SO(3), Vector(axis=-2), Vector(axis=-2)), Polar())
        >>> F, R = torch.eye(3) + torch.rand(4, 3, 3) / 9, SO(3).sample(4)
        >>> torch.allclose(law(R @ F), R @ law(F), atol=1e-5)
        True

    Source: Ma et al., Learning Neural Constitutive Laws, arXiv 2304.14369; Higham, Computing the Polar
    Decomposition, doi 10.1137/0907079.
    """

    __repr__ = brief

    of: str | None = None
    fallback: Weighted | None = _FALLBACK

    def __post_init__(self) -> None:
        if self.fallback is not None and not isinstance(self.fallback, Weighted):
            raise refuse("Polar: bad fallback", got=repr(self.fallback), expected="a Weighted, or None", fix="Polar()")
        if self.of is not None and not isinstance(self.of, str):
            raise refuse(
                "Polar takes the name of an input",
                got=describe(self.of),
                expected='a word such as "cell", or None',
                fix="Polar() for the input that is declared Vector(axis=-2)",
            )

    def __call__(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """One pose for each sample, with its derivative. Draws nothing."""
        check_is_claim(symmetry, "Polar")
        group = symmetry.group
        if not isinstance(group, SO | O):
            raise refuse(
                f"Polar makes no elements of {group!r}",
                got=repr(group),
                expected="SO(d) or O(d)",
                fix="a finite group of matrices has Average() and Best(energy); of a group with translations take the "
                "rotations alone, and subtract the mean of the points or declare them Vector()",
            )
        batch, dtype, device = batch_of(symmetry.inputs, inputs)
        name, matrix = self._matrix(symmetry, inputs, batch)
        eps, special = torch.finfo(matrix.dtype).eps, isinstance(group, SO)
        matrix = matrix.double()
        g, margin = polar(matrix, special=special, floor=_UNITS * eps)
        turns, weights = g[None], torch.ones(1, batch, dtype=g.dtype, device=device)
        if self.fallback is None:
            return Poses(turns.to(dtype), weights.to(dtype), margin)
        # Rounding turns R by eps over margin, so that the margin must exceed a root of eps.
        cut = 2 * eps**0.25
        # `_uniqueness` is at least the margin over twice n squared: all other samples keep their rotation.
        near = (margin < 2 * group.n**2 * cut).nonzero()[:, 0]
        if len(near):
            own = _uniqueness(g[near].mT @ matrix[near], special, margin[near] < cut / 4)
            share = torch.ones_like(margin).index_copy(0, near, ramp(((own - cut / 2) / (cut / 2)).clamp(0, 1)))
            cloud = cloud_of(symmetry, inputs, "Polar", of=name)
            turns, weights = with_fallback(self.fallback, symmetry, inputs, cloud, turns, weights, share)
        return Poses(turns.to(dtype), weights.to(dtype), margin, sparse=True)

    def _matrix(self, symmetry: Symmetry, inputs: Any, batch: int) -> tuple[str, Tensor]:
        """The path of the matrix, and that of each sample, (batch, d, d), moved from the left by the group.

        Raises:
            SymmetryError: see the class.
        """
        found: list[tuple[str, Any, Any]] = []
        paths: list[str] = []

        def leaf(action: Any, part: Any, *, path: str) -> Any:
            if action is not None:
                name = path.removeprefix(".")
                paths.append(name)
                wanted = is_left(action) if self.of is None else named(path, self.of)
                if wanted:
                    found.append((name, action, part))
            return part

        walk(leaf, symmetry.inputs, inputs)
        if len(found) > 1 and self.of is not None:
            # A whole path comes before a last name.
            found = [entry for entry in found if entry[0] == self.of] or found
        if len(found) != 1:
            raise self._unclear([name for name, _, _ in found], paths)
        name, action, part = found[0]
        n = symmetry.group.n
        plane = list(action.plane) if isinstance(action, Planar) else None
        inner = action.action if isinstance(action, Planar) else action
        if not isinstance(inner, Vector) or inner.axis not in (-1, -2):
            raise refuse(
                f"Polar: {name or 'the input'} does not move as a matrix",
                got=repr(action),
                expected="Vector(axis=-2), Vector() for rows such as those of a cell, or Planar(...) of either",
                fix="for points alone take a frame of clouds; rows of many samples in one tensor, Rows(...), have no matrix "
                "each"
                if isinstance(action, Rows)
                else "declare it so, or name another input: Polar(of=...)",
            )
        columns = part if inner.axis == -2 else part.mT if part.ndim == 3 else part
        space = n if plane is None else 3
        shapes = [(space, space)] + ([(3, 2)] if plane is not None else [])
        if columns.shape not in [(batch, *shape) for shape in shapes] or (plane is not None and n != 2):
            raise refuse(
                f"Polar: {name or 'the input'} is no matrix of the group's size",
                got=f"{describe(part)}, declared {action!r}, under {symmetry.group!r}",
                expected=f"(batch, {space}, {space}), one matrix a sample"
                + ("" if plane is None else ", under SO(2) or O(2)"),
                fix="for several matrices a sample, pass the one that tells the pose as an input of its own",
            )
        if plane is not None:
            columns = columns[:, plane]
            columns = columns if columns.shape[-1] == 2 else columns[:, :, plane]
        return name, _checked(name, columns)

    def _unclear(self, names: list[str], paths: list[str]) -> SymmetryError:
        known = ", ".join(repr(path) for path in paths)
        if self.of is not None:
            what = f"Polar(of={self.of!r}): {'several inputs have' if names else 'no input has'} this name"
        else:
            what = f"Polar: {'several inputs are' if names else 'no input is'} declared Vector(axis=-2)"
        return refuse(
            what,
            got=f"inputs {known}" + (f", of which {', '.join(map(repr, names))}" if names else ""),
            expected="one input that is a matrix (batch, d, d)",
            fix=f"name it by its path, for example Polar(of={(names or paths or ['cell'])[-1]!r}); the rows of a cell are "
            "declared Vector(), a matrix that is moved from the left Vector(axis=-2)",
        )


def _uniqueness(stretch: Tensor, special: bool, lost: Tensor) -> Tensor:
    """How well R is known, (batch,): like the margin up to a factor, and smooth where singular values are equal.

    One over the product of the Frobenius norms of S and of the inverse of what a small turn of R does to it: S itself for
    O(d), and for SO(d) the map W -> S W + W S of antisymmetric matrices, whose eigenvalues are the sums of two of those of
    S. Zero, without a derivative, where `lost`.
    """
    d = stretch.shape[-1]
    stretch = (stretch + stretch.mT) / 2
    size = torch.where(lost, 1.0, torch.where(lost[:, None, None], 1.0, stretch).square().sum((1, 2)).sqrt())
    if special:
        pairs = [(i, j) for i in range(d) for j in range(i + 1, d)]
        if not pairs:
            return torch.ones_like(stretch[:, 0, 0])
        basis = stretch.new_zeros(len(pairs), d, d)
        for number, (i, j) in enumerate(pairs):
            basis[number, i, j], basis[number, j, i] = 0.5**0.5, -(0.5**0.5)
        moved = stretch[:, None] @ basis + basis @ stretch[:, None]
        stretch = torch.einsum("pij,bqij->bpq", basis, moved)
    unit = torch.eye(stretch.shape[-1], dtype=stretch.dtype, device=stretch.device)
    inverse = torch.linalg.inv(torch.where(lost[:, None, None], unit, stretch))
    return torch.where(lost, 0.0, 1 / (size * inverse.square().sum((1, 2)).sqrt()))


def is_left(action: Any) -> bool:
    """Whether an action moves matrices from the left."""
    return bool((action.action if isinstance(action, Planar) else action) == Vector(axis=-2))


def _checked(name: str, matrix: Tensor) -> Tensor:
    """Matrices as they came.

    Raises:
        SymmetryError: whole numbers or complex ones, NaN or infinity; it names the samples.
    """
    if not matrix.is_floating_point():
        raise refuse(
            f"Polar: {name or 'the input'} holds no real numbers",
            got=describe(matrix),
            expected="a floating-point tensor",
            fix="pass x.float()",
        )
    lost = ~matrix.detach().isfinite().flatten(1).all(1)
    if bool(lost.any()):
        raise refuse(
            f"Polar: {name or 'the input'} is not finite",
            got=f"NaN or infinity for sample {lost.nonzero()[:, 0].tolist()[:8]} of the batch",
            expected="numbers",
            fix="look for NaN and overflow in these samples",
        )
    return matrix
