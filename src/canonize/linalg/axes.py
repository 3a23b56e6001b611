"""Orthonormal axes: of symmetric matrices, and completed from fewer vectors."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from canonize._values import constant, differentiated, unseen
from canonize.linalg.jacobi import LARGEST, jacobi_eigen
from canonize.linalg.small import dot


def principal_axes(
    matrix: Float[Tensor, "batch d d"], floor: float | Float[Tensor, " batch"]
) -> tuple[Float[Tensor, "batch d d"], Float[Tensor, "batch d"]]:
    """Eigenvectors as columns and eigenvalues, the largest first, of symmetric matrices; their signs are arbitrary.

    The derivative is that of each eigenvector, also when taken twice, where the smallest difference of neighbouring
    eigenvalues exceeds `floor` times the largest; below it, where it grows as one over the difference and at ties does not
    exist, it is zero.

    Args:
        matrix: (batch, d, d), symmetric, positive semi-definite, float64.
        floor: dimensionless, at least 0; one for all, or one a sample.

    Returns:
        Columns (batch, d, d) and eigenvalues (batch, d).
    """
    with torch.no_grad():
        # Run times that programs are exported to have no eigh, and on a GPU it makes the host wait.
        plain = torch.compiler.is_exporting() or matrix.device.type != "cpu"
        small = matrix.shape[-1] <= LARGEST
        values, vectors = jacobi_eigen(matrix) if plain and small else torch.linalg.eigh(matrix)
    if differentiated(matrix) and matrix.shape[-1] > 1:
        apart = values.diff(dim=-1).amin(-1) > floor * values[:, -1]
        ladder = torch.arange(1, matrix.shape[-1] + 1, dtype=matrix.dtype, device=matrix.device).diag()
        # At ties the derivative of eigh is 0/0; those matrices are taken out before it is formed, not after.
        smooth_values, smooth = torch.linalg.eigh(torch.where(apart[:, None, None], matrix, ladder))
        # Tangents of forward mode, which no_grad lets through, are taken off here.
        vectors = torch.where(apart[:, None, None], smooth, vectors.detach())
        values = torch.where(apart[:, None], smooth_values, values.detach())
    return vectors.flip(-1), values.flip(-1)


def last_axis(columns: Float[Tensor, "batch d few"]) -> Float[Tensor, "batch d"]:
    """The unit vector that completes d - 1 orthonormal columns to a matrix of determinant +1.

    The cross product in d dimensions: entry i is the cofactor of the missing column.

    Args:
        columns: (batch, d, d - 1), orthonormal.
    """
    d = columns.shape[-2]
    if d == 1:
        return columns.new_ones(*columns.shape[:-2], 1)
    if d == 2:
        return torch.stack([-columns[..., 1, 0], columns[..., 0, 0]], -1)
    if d == 3:
        cross: Tensor = torch.linalg.cross(columns[..., 0], columns[..., 1], dim=-1)
        return cross
    rows = list(range(d))
    minors = [torch.linalg.det(columns[..., rows[:i] + rows[i + 1 :], :]) for i in rows]
    signs = constant([(-1.0) ** (i + d - 1) for i in rows], dtype=columns.dtype, device=columns.device)
    return torch.stack(minors, -1) * signs


def side_of(matrix: Float[Tensor, "batch d d"]) -> Float[Tensor, " batch"]:
    """The determinant of orthogonal matrices, 1 or -1 to rounding; from sums and products where a program is exported."""
    if torch.compiler.is_exporting() and matrix.shape[-1] <= 3:
        return dot(last_axis(matrix[..., :-1]), matrix[..., -1])
    determinant: Tensor = torch.linalg.det(matrix)
    return determinant


def left_over(vector: Float[Tensor, "*batch d"], units: list[Tensor]) -> Float[Tensor, "*batch d"]:
    """What of a vector is orthogonal to orthonormal ones; taken away twice, since once leaves rounding behind."""
    for _ in range(2):
        for unit in units:
            vector = vector - dot(vector, unit)[..., None] * unit
    return vector


def direction(vector: Float[Tensor, "*batch d"], units: list[Tensor], floor: float) -> Float[Tensor, "*batch d"]:
    """The unit vector along what of `vector` is orthogonal to `units`; some orthogonal one where that is below `floor`.

    The derivative is finite everywhere, also when taken twice: zero with respect to vectors below `floor`.

    Args:
        vector: (*batch, d).
        units: orthonormal vectors (*batch, d), fewer than d.
        floor: a length; below it a vector has no direction.
    """
    rest = left_over(vector, units)
    known = rest.detach().square().sum(-1, keepdim=True) > floor**2
    if unseen(known) or not bool(known.all()):
        rest = torch.where(known, rest, _orthogonal(rest, units))
    unit = rest / rest.square().sum(-1, keepdim=True).sqrt()
    return left_over(unit, units) if units else unit


def _orthogonal(like: Tensor, units: list[Tensor]) -> Tensor:
    """The coordinate axis that is least along `units`, made orthogonal to them."""
    if not units:
        axis = torch.zeros_like(like)
        axis[..., 0] = 1.0
        return axis
    used = torch.stack([unit.detach().square() for unit in units]).sum(0)
    axis = torch.nn.functional.one_hot(used.argmin(-1), like.shape[-1]).to(like.dtype)
    return left_over(axis, units)
