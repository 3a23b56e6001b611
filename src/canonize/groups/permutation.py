"""Groups of permutations: all relabellings of n things, and the subgroups that a few permutations generate."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from canonize._tree import brief, describe
from canonize.errors import refuse
from canonize.groups.base import Shape, batch_shape, fitting
from canonize.linalg import uniform_integers


class _Permutations:
    """What all groups of permutations of n things share; an element g is an int64 tensor (*batch, n) that sends i to g[i]."""

    n: int
    haar = True

    def identity(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Int[Tensor, " n"]:
        """0, 1, ..., n - 1."""
        return torch.arange(self.n, device=device)

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


@final
@dataclass(frozen=True, repr=False)
class S(_Permutations):
    """All permutations of n things; an element g is an integer tensor (*batch, n) that sends i to g[i].

    Raises:
        SymmetryError: n < 0; `elements` for n > 8, where there are more than 40,320.
    """

    __repr__ = brief

    n: int

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


@final
@dataclass(frozen=True, repr=False)
class GeneratedPermutations(_Permutations):
    """The group of the given permutations, which are already closed; made by `permutations_by`."""

    table: tuple[tuple[int, ...], ...]

    @property
    def n(self) -> int:  # type: ignore[override]  # a field in S
        """The number of things that are permuted."""
        return len(self.table[0])

    @property
    def order(self) -> int:
        """The number of elements."""
        return len(self.table)

    def elements(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Int[Tensor, "order n"]:
        """All elements, (order, n), int64, identity first; `dtype` is accepted and has no effect."""
        return torch.tensor(self.table, dtype=torch.int64, device=device).reshape(self.order, self.n)

    def sample(
        self,
        shape: Shape = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Int[Tensor, "*batch n"]:
        """Elements drawn uniformly, (*shape, n), int64; `dtype` is accepted and has no effect."""
        index = uniform_integers(self.order, batch_shape(shape), generator=generator, device=device)
        return self.elements(device=device)[index]

    def __repr__(self) -> str:
        return f"GeneratedPermutations(order={self.order}, n={self.n})"


def permutations_by(generators: Any, *, limit: int = 2048) -> GeneratedPermutations:
    """The group that some permutations of n things generate: all their products.

    A circular shift of a signal of n samples is `torch.arange(n).roll(1)`, its flip `torch.arange(n).flip(0)`.

    Args:
        generators: (count, n), whole numbers: generator g sends i to g[i].
        limit: the largest group that is accepted.

    Returns:
        The group, identity first.

    Raises:
        SymmetryError: rows that are no permutations, or that generate more than `limit` elements.

    Example:
        >>> from canonize import permutations_by
        >>> permutations_by([torch.arange(6).roll(1), torch.arange(6).flip(0)]).order
        12
    """
    try:
        rows = [tuple(int(i) for i in row) for row in generators]
    except (TypeError, ValueError):
        rows = []
    if not rows or any(sorted(row) != list(range(len(rows[0]))) for row in rows):
        raise refuse(
            "permutations_by needs permutations",
            got=describe(generators)
            if not rows
            else f"{next(row for row in rows if sorted(row) != [*range(len(rows[0]))])}",
            expected="rows that hold each of 0 to n - 1 once",
            fix="permutations_by([torch.arange(n).roll(1)])",
        )
    identity = tuple(range(len(rows[0])))
    found, frontier = {identity: None}, [identity]
    while frontier:
        products = [tuple(g[i] for i in h) for h in frontier for g in rows]
        frontier = [product for product in dict.fromkeys(products) if product not in found]
        found |= dict.fromkeys(frontier)
        if len(found) > limit:
            raise refuse(
                "permutations_by found too many elements",
                got=f"more than {limit} products of {len(rows)} generators",
                expected=f"a group of at most {limit} elements",
                fix="raise limit=, or take S(n), which lists nothing",
            )
    return GeneratedPermutations(tuple(found))
