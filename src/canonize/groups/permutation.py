"""Groups of permutations: all relabellings of n things, and the subgroups that a few permutations generate."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
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
        """0, 1, ..., n - 1; of length 0 for `S()`, where it stands for all lengths."""
        return torch.arange(self.n or 0, device=device)

    def compose(self, g: Int[Tensor, "*#batch n"], h: Int[Tensor, "*#batch m"]) -> Int[Tensor, "..."]:
        """h first, then g: i goes to g[h[i]]."""
        g, h = self._permutations(g, h)
        both = torch.stack(torch.broadcast_tensors(g, h))  # type: ignore[no-untyped-call]  # torch leaves it so
        return both[0].gather(-1, both[1])

    def inverse(self, g: Int[Tensor, "*batch n"]) -> Int[Tensor, "*batch n"]:
        """The permutation that sends g[i] back to i."""
        return self._permutations(g)[0].argsort(-1)

    def residual(self, g: Int[Tensor, "*batch n"]) -> Bool[Tensor, "*batch"]:
        """1 where a row is not a permutation, 0 where it is."""
        self._permutations(g)
        return (g.sort(-1).values != torch.arange(g.shape[-1], device=g.device)).any(-1)

    def _permutations(self, *elements: Tensor) -> tuple[Tensor, ...]:
        """The elements, refused unless they are some; of one length where the group has none of its own."""
        if self.n is None and all(isinstance(element, Tensor) and element.ndim for element in elements):
            n = max(element.shape[-1] for element in elements)
            elements = tuple(_longer(element, n) for element in elements)
        else:
            n = self.n
        fitting(self, *elements, axes=(n,))
        if any(element.dtype != torch.int64 for element in elements):
            raise refuse(
                f"elements of {self!r} are permutations",
                got="; ".join(map(describe, elements)),
                expected=f"int64 tensors (*batch, {n})",
                fix="g.long()",
            )
        return elements


def _longer(g: Tensor, n: int) -> Tensor:
    """A permutation followed by the identity, up to the length n."""
    rest = torch.arange(g.shape[-1], n, dtype=g.dtype, device=g.device)
    return torch.cat([g, rest.expand(*g.shape[:-1], len(rest))], -1) if len(rest) else g


@final
@dataclass(frozen=True, repr=False)
class S(_Permutations):
    """All permutations of n things; an element g is an integer tensor (*batch, n) that sends i to g[i].

    `S()` permutes as many things as each sample has: graphs and sets of different sizes in one batch. Its elements are as
    long as the largest sample and leave in place what is beyond the end of a smaller one; a shorter permutation stands for
    itself followed by the identity.

    Args:
        n: how many things, at least 0; None for as many as there are in each sample.

    Raises:
        SymmetryError: n < 0; `elements` for n > 8, where there are more than 40,320, and for `S()`; `sample` of `S()`,
            which needs `for_sizes`.
    """

    __repr__ = brief

    n: int | None = None  # type: ignore[assignment]  # those with elements of one length have a number

    def __post_init__(self) -> None:
        if self.n is not None and (not isinstance(self.n, int) or self.n < 0):
            raise refuse("S(n) needs a size", got=repr(self.n), expected="a whole number n >= 0, or none", fix="S(5)")

    @property
    def order(self) -> int | None:
        """n!, the number of elements; None for `S()`."""
        return None if self.n is None else math.factorial(self.n)

    def elements(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Int[Tensor, "order n"]:
        """All permutations in lexicographic order, (n!, n), int64; `dtype` is accepted and has no effect."""
        if self.n is None or self.n > 8:
            raise refuse(
                f"{self!r} is too large to list",
                got="no size" if self.n is None else f"{self.n}! = {self.order} elements",
                expected="n <= 8 where every element is visited",
                fix="choose a frame that does not list the group: CanonicalOrder() for graphs, Sorted() for sets, "
                "Sampled(k) for k random elements",
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
        if self.n is None:
            raise refuse(
                "S() has no size of its own to draw permutations of",
                got="sample() without samples",
                expected="S(n), or the sizes of the samples",
                fix="S(5).sample(8), or S().for_sizes([3, 5, 4]).sample(3)",
            )
        sizes = torch.full((), self.n)
        return _drawn(sizes, batch_shape(shape), self.n, generator).to(device or torch.device("cpu"))

    def for_sizes(self, sizes: Sequence[int]) -> _Permutations:
        """The group whose elements permute the first `sizes[i]` things of sample i; S(n) where all are n.

        Raises:
            SymmetryError: sizes that are no whole numbers from 0, or that are not n.
        """
        sizes = tuple(int(size) for size in sizes)
        if min(sizes, default=0) < 0 or (self.n is not None and any(size != self.n for size in sizes)):
            raise refuse(
                f"{self!r} does not fit samples of these sizes",
                got=f"sizes {sorted(set(sizes))[:8]}",
                expected="whole numbers from 0" if self.n is None else f"{self.n} things in each sample",
                fix="S(), which takes as many as each sample has",
            )
        if self.n is not None or not sizes:
            return self if self.n is not None else S(0)
        return S(sizes[0]) if len(set(sizes)) == 1 else Relabellings(sizes)


@final
@dataclass(frozen=True)
class Relabellings(_Permutations):
    """Permutations of the things in each sample of a batch of samples of different sizes; made by `S().for_sizes`.

    Attributes:
        sizes: how many things each sample has.
    """

    sizes: tuple[int, ...]
    order = None

    @property
    def n(self) -> int:  # type: ignore[override]  # a field in S
        """The length of elements: the largest size."""
        return max(self.sizes)

    def sample(
        self,
        shape: Shape = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Int[Tensor, "*batch n"]:
        """Permutations drawn uniformly for each sample, (*shape, n), int64; the last number of `shape` counts the samples.

        Raises:
            SymmetryError: another number of samples.
        """
        wanted = batch_shape(shape)
        if not wanted or wanted[-1] != len(self.sizes):
            raise refuse(
                "relabellings are drawn for the samples whose sizes are known",
                got=f"shape {wanted}",
                expected=f"(..., {len(self.sizes)})",
                fix=f"sample((k, {len(self.sizes)})), or S().for_sizes(...) of the samples that are meant",
            )
        return _drawn(torch.tensor(self.sizes), wanted, self.n, generator).to(device or torch.device("cpu"))

    def __repr__(self) -> str:
        return f"S() for {len(self.sizes)} samples of {min(self.sizes)} to {max(self.sizes)}"


def _drawn(sizes: Tensor, shape: tuple[int, ...], n: int, generator: torch.Generator | None) -> Tensor:
    """Uniform permutations of the first `sizes` of n things, which leave the others in place."""
    source = generator.device if generator is not None else torch.device("cpu")
    keys = torch.rand(*shape, n, generator=generator, dtype=torch.float64, device=source)
    place = torch.arange(n, device=source)
    beyond = place >= sizes.to(source)[..., None]
    return torch.where(beyond, 1.0 + place, keys).argsort(-1)


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
