"""Flips of orientation: one sign for each of n things."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from canonize._tree import brief
from canonize.errors import refuse
from canonize.groups.base import Shape, batch_shape, fitting, real
from canonize.linalg import uniform_integers

LISTED = 16
"""Groups of up to this many flips are listed: 65,536 elements."""


@final
@dataclass(frozen=True, repr=False)
class Flips:
    """All choices of orientation of n things, {-1, 1}^n; an element g is a floating-point tensor (*batch, n) of signs.

    The edges and triangles of a simplicial complex are written down in some orientation, which means nothing; so are
    eigenvectors. Thing i is turned over where g[i] = -1. Every element is its own inverse, and all arithmetic is exact in
    every floating-point dtype. A simplicial complex takes one such group for each dimension above that of nodes:
    `Product(Flips(edges), Flips(triangles))`.

    Args:
        n: how many things, at least 0.

    Raises:
        SymmetryError: n < 0; `elements` for n > 16, where there are more than 65,536.

    Example:
        >>> from canonize import Flips
        >>> Flips(2).elements()
        tensor([[ 1.,  1.],
                [ 1., -1.],
                [-1.,  1.],
                [-1., -1.]])
    """

    __repr__ = brief

    n: int
    haar = True

    def __post_init__(self) -> None:
        if not isinstance(self.n, int) or isinstance(self.n, bool) or self.n < 0:
            raise refuse("Flips(n) needs a size", got=repr(self.n), expected="a whole number n >= 0", fix="Flips(5)")

    @property
    def order(self) -> int:
        """2^n, the number of elements."""
        return int(2**self.n)

    def elements(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Float[Tensor, "order n"]:
        """All elements, (2^n, n), the identity first; the last thing turns over fastest."""
        if self.n > LISTED:
            raise refuse(
                f"Flips({self.n}) is too large to list",
                got=f"2^{self.n} elements",
                expected=f"n <= {LISTED} where every element is visited",
                fix="choose a frame that does not list the group: SignRule(), or Sampled(k) for k random elements",
            )
        bits = torch.arange(self.order, device=device)[:, None] >> torch.arange(self.n - 1, -1, -1, device=device)
        return 1 - 2 * (bits & 1).to(real(dtype))

    def identity(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Float[Tensor, " n"]:
        """All signs plus."""
        return torch.ones(self.n, dtype=real(dtype), device=device)

    def sample(
        self,
        shape: Shape = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*batch n"]:
        """Signs drawn independently, either with probability 1/2, (*shape, n)."""
        bits = uniform_integers(2, (*batch_shape(shape), self.n), generator=generator, device=device)
        return 1 - 2 * bits.to(real(dtype))

    def compose(self, g: Float[Tensor, "*#batch n"], h: Float[Tensor, "*#batch n"]) -> Float[Tensor, "*batch n"]:
        """The products of the signs."""
        fitting(self, g, h, axes=(self.n,))
        return g * h

    def inverse(self, g: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        """A copy: every flip undoes itself."""
        fitting(self, g, axes=(self.n,))
        return g.clone()

    def residual(self, g: Float[Tensor, "*batch n"]) -> Bool[Tensor, "*batch"]:
        """1 where an entry is neither -1 nor 1, 0 where all are."""
        fitting(self, g, axes=(self.n,))
        return (g.abs() != 1).any(-1)
