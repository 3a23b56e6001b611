"""Closed forms for small matrices, exact where the entries are small integers."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def matmul(a: Float[Tensor, "*#batch l m"], b: Float[Tensor, "*#batch m n"]) -> Float[Tensor, "*batch l n"]:
    """The product a b in the precision of its factors, also inside `torch.autocast`, which would round group elements."""
    if not torch.is_autocast_enabled(a.device.type):
        return a @ b
    with torch.autocast(a.device.type, enabled=False):
        return a @ b


def dot(a: Float[Tensor, "*#batch n"], b: Float[Tensor, "*#batch n"]) -> Float[Tensor, "*batch"]:
    """Inner products along a short last axis; a product with ones sums many rows of two or three faster than sum does."""
    return matmul((a * b)[None], a.new_ones(a.shape[-1], 1))[0, ..., 0]


def inverse_small(matrix: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """The inverse of each matrix; by the adjugate for n <= 3, so that signed permutations are inverted without rounding.

    Args:
        matrix: (*batch, n, n), any units.

    Returns:
        (*batch, n, n), in inverse units. A singular matrix gives infinities or NaN for n <= 3.

    Raises:
        torch.linalg.LinAlgError: a singular matrix with n > 3.
    """
    n = matrix.shape[-1]
    inverse: Tensor
    if n == 1:
        return matrix.reciprocal()
    if n == 2:
        a, b, c, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 0], matrix[..., 1, 1]
        adjugate = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
        return adjugate.div((a * d - b * c)[..., None, None])
    if n == 3:
        rows = matrix.unbind(-2)
        columns = [torch.linalg.cross(rows[(i + 1) % 3], rows[(i + 2) % 3], dim=-1) for i in range(3)]
        determinant = (rows[0] * columns[0]).sum(-1)
        return torch.stack(columns, -1).div(determinant[..., None, None])
    inverse = torch.linalg.inv(matrix)
    return inverse


def is_signed_permutation(matrix: Float[Tensor, "*batch n n"]) -> Bool[Tensor, "*batch"]:
    """Whether each matrix is a signed permutation to within eight units of rounding.

    Args:
        matrix: (*batch, n, n), dimensionless.

    Returns:
        (*batch), bool. NaN gives False.
    """
    rounded = matrix.round()
    close = (matrix - rounded).abs().amax((-2, -1)) <= 8 * torch.finfo(matrix.dtype).eps
    ones = (rounded.abs().sum(-1) == 1).all(-1) & (rounded.abs().sum(-2) == 1).all(-1)
    return close & ones
