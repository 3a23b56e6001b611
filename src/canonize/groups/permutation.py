"""The symmetric group: relabellings of n things."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from canonize._tree import brief, describe
from canonize.errors import refuse
from canonize.groups.base import Shape, batch_shape, fitting


@final
@dataclass(frozen=True, repr=False)
class S:
    """All permutations of n things; an element g is an integer tensor (*batch, n) that sends i to g[i].

    Raises:
        SymmetryError: n < 0; `elements` for n > 8, where there are more than 40,320.
    """

    __repr__ = brief

    n: int
    haar = True

    def __post_init__(self) -> None:
        if not isinstance(self.n, int) or self.n < 0:
            raise refuse("S(n) needs a size", got=repr(self.n), expected="a whole number n >= 0", fix="S(5)")

    @property
    def order(self) -> int:
        """n!, the number of elements."""
        return math.factorial(self.n)

    def elements(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Int[Tensor, "order n"]:
        """All permutations in lexicographic order, (n!, n), int64; `dtype` is accepted and has no effect."""
        if self.n > 8:
            raise refuse(
                f"S({self.n}) is too large to list",
                got=f"{self.n}! = {self.order} elements",
                expected="n <= 8 where every element is visited",
                fix="choose a frame that does not list the group: Sorted() for sets, Sampled(k) for k random elements",
            )
        return torch.tensor(list(itertools.permutations(range(self.n))), dtype=torch.int64, device=device)

    def identity(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Int[Tensor, " n"]:
        """0, 1, ..., n - 1."""
        return torch.arange(self.n, device=device)

    def sample(
        self,
        shape: Shape = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Int[Tensor, "*batch n"]:
        """Permutations drawn uniformly, (*shape, n), int64; `dtype` is accepted and has no effect."""
        source = generator.device if generator is not None else torch.device("cpu")
        keys = torch.rand(*batch_shape(shape), self.n, generator=generator, dtype=torch.float64, device=source)
        return keys.argsort(-1).to(device or torch.device("cpu"))

    def compose(self, g: Int[Tensor, "*#batch n"], h: Int[Tensor, "*#batch n"]) -> Int[Tensor, "*batch n"]:
        """h first, then g: i goes to g[h[i]]."""
        self._permutations(g, h)
        both = torch.stack(torch.broadcast_tensors(g, h))  # type: ignore[no-untyped-call]  # torch leaves it so
        return both[0].gather(-1, both[1])

    def inverse(self, g: Int[Tensor, "*batch n"]) -> Int[Tensor, "*batch n"]:
        """The permutation that sends g[i] back to i."""
        self._permutations(g)
        return g.argsort(-1)

    def residual(self, g: Int[Tensor, "*batch n"]) -> Bool[Tensor, "*batch"]:
        """1 where a row is not a permutation, 0 where it is."""
        self._permutations(g)
        return (g.sort(-1).values != self.identity(device=g.device)).any(-1)

    def _permutations(self, *elements: Tensor) -> None:
        fitting(self, *elements, axes=(self.n,))
        if any(element.dtype != torch.int64 for element in elements):
            raise refuse(
                f"elements of {self!r} are permutations",
                got="; ".join(map(describe, elements)),
                expected=f"int64 tensors (*batch, {self.n})",
                fix="g.long()",
            )
