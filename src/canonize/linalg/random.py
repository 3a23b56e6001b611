"""Draws that take their randomness from the `generator` that is passed and from nowhere else."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from canonize._values import sent


def haar_orthogonal(
    shape: tuple[int, ...],
    n: int,
    *,
    special: bool,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Float[Tensor, "*batch n n"]:
    """Orthogonal matrices drawn from the Haar measure of O(n), or of SO(n) where `special`.

    The orthogonal factor of a Gaussian matrix, with the signs of the triangular factor's diagonal divided out; without
    that step the law is not Haar. Computed in float64, then cast.

    Args:
        shape: batch shape.
        n: size of the matrices, at least 1.
        special: whether the determinant must be +1.
        generator: source of the randomness.
        dtype: of the result.
        device: of the result.

    Returns:
        (*shape, n, n), dimensionless. SO(1) is the single matrix 1.

    Source: F. Mezzadri, How to generate random matrices from the classical compact groups, arXiv math-ph/0609050.
    """
    source = generator.device if generator is not None else torch.device("cpu")
    gaussian = torch.randn(*shape, n, n, generator=generator, dtype=torch.float64, device=source)
    factor: Tensor
    factor, triangle = torch.linalg.qr(gaussian)
    signs = torch.where(triangle.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(factor)
    factor = factor * signs[..., None, :]
    if special:
        # Turning the first column over where the determinant is -1 maps the Haar measure of O(n) onto that of SO(n).
        handed = torch.where(torch.linalg.det(factor) < 0, -1.0, 1.0).to(factor)
        factor = torch.cat([factor[..., :1] * handed[..., None, None], factor[..., 1:]], -1)
    return sent(factor, device or torch.device("cpu"), dtype)


def uniform_integers(
    high: int,
    shape: tuple[int, ...],
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Int[Tensor, "*batch"]:
    """Integers from 0 to high - 1, uniformly; `shape` in front, on `device`."""
    source = generator.device if generator is not None else torch.device("cpu")
    return sent(torch.randint(high, shape, generator=generator, device=source), device or torch.device("cpu"))
