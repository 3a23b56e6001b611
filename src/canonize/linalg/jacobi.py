"""The eigenvalue problem of small symmetric matrices from sums and products alone, for where no solver is at hand."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from canonize._values import constant

LARGEST = 10
"""Up to this size rotations are few enough to be written down one after the other."""


def jacobi_eigen(
    matrix: Float[Tensor, "*batch d d"],
) -> tuple[Float[Tensor, "*batch d"], Float[Tensor, "*batch d d"]]:
    """Eigenvalues, the smallest first, and eigenvectors as columns of symmetric matrices, as `torch.linalg.eigh` gives them.

    Jacobi's rotations, all disjoint pairs of axes at once, in a fixed number of rounds: no branch, no library routine and,
    on a GPU, no wait for the host. The error is a few units of rounding of the largest eigenvalue in size, whatever the
    spectrum: equal eigenvalues have orthonormal vectors, and a diagonal matrix has the axes themselves.

    Args:
        matrix: (*batch, d, d), symmetric, any unit, finite, d at most 10; only its symmetric part counts.

    Returns:
        (*batch, d) in the unit of the matrix, and (*batch, d, d), orthonormal; signs, and bases of equal eigenvalues, are
        arbitrary. The derivative is not that of the eigenvectors: use it on what is detached.

    Source: Golub and Van Loan, Matrix Computations, 4th edition, section 8.5; the order of pairs is that of a round robin.

    Example:
        >>> import torch
        >>> values, vectors = jacobi_eigen(torch.tensor([[2.0, 1.0], [1.0, 2.0]]))
        >>> values.round(decimals=5)
        tensor([1., 3.])
    """
    d = matrix.shape[-1]
    a = (matrix + matrix.mT) / 2
    # The largest entry is divided out, so that squares neither overflow nor vanish.
    largest = a.abs().amax((-2, -1), keepdim=True) if d else a.sum((-2, -1), keepdim=True)
    unit = torch.where(largest > 0, largest, 1.0)
    a = a / unit
    v = torch.eye(d, dtype=a.dtype, device=a.device).expand_as(a)
    for _ in range(_sweeps(d)):
        for pairs in _rounds(d):
            turn = _rotation(a, pairs)
            a = turn.mT @ a @ turn
            a = (a + a.mT) / 2
            v = v @ turn
    values = a.diagonal(dim1=-2, dim2=-1)
    values, order = values.sort(-1)
    return values * unit[..., 0], v.gather(-1, order[..., None, :].expand(v.shape))


def _sweeps(d: int) -> int:
    """How often all pairs are turned: convergence is quadratic, and one sweep is added to what the worst matrix needs."""
    return 0 if d < 2 else 2 if d == 2 else 6 if d == 3 else 8 if d < 7 else 11


def _rounds(d: int) -> list[list[tuple[int, int]]]:
    """All pairs of axes in rounds of disjoint ones: a round robin, with a bye where d is odd."""
    seats = list(range(d + d % 2))
    found = []
    for _ in range(len(seats) - 1):
        half = len(seats) // 2
        pairs = [tuple(sorted((seats[i], seats[-1 - i]))) for i in range(half)]
        found.append([(p, q) for p, q in pairs if q < d])
        seats = [seats[0], seats[-1], *seats[1:-1]]
    return found


def _rotation(a: Tensor, pairs: list[tuple[int, int]]) -> Tensor:
    """The rotation (*batch, d, d) that makes the entries of these pairs zero, by the smaller angle."""
    d = a.shape[-1]
    low, high = constant(pairs, device=a.device).unbind(1)
    diagonal = a.diagonal(dim1=-2, dim2=-1)
    off = a.flatten(-2)[..., low * d + high]
    gap = diagonal[..., high] - diagonal[..., low]
    # tan of the angle: the smaller root of t^2 + t gap / off - 1, written so that nothing is divided by zero.
    spread = (gap.square() + 4 * off.square()).sqrt()
    below = gap.abs() + spread
    tan = torch.where(gap < 0, -2 * off, 2 * off) / torch.where(below > 0, below, 1.0)
    cos = 1 / (1 + tan.square()).sqrt()
    sin = tan * cos
    # Entries are placed by products with constants, which every run time knows.
    place = torch.zeros(2, len(pairs), d, d, dtype=a.dtype, device=a.device)
    fixed = torch.eye(d, dtype=a.dtype, device=a.device)
    for number, (p, q) in enumerate(pairs):
        place[0, number, p, p] = place[0, number, q, q] = 1.0
        place[1, number, p, q], place[1, number, q, p] = 1.0, -1.0
        fixed[p, p] = fixed[q, q] = 0.0
    turn = cos @ place[0].flatten(1) + sin @ place[1].flatten(1)
    return turn.reshape(a.shape) + fixed
