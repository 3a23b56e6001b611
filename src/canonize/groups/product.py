"""Direct products: several groups at once, each with its own part of the element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, final

import torch

from canonize._tree import describe, map_tensors
from canonize.errors import refuse
from canonize.groups.base import Group, Shape, identity, leading, order


@final
@dataclass(frozen=True, init=False, repr=False)
class Product:
    """The direct product of groups; its elements are tuples with one element of each.

    `Factor(0, action)` lets an action feel one part of the element. The product is finite where all factors are, and has
    a Haar law where all have one.

    Raises:
        SymmetryError: no factors, or one that is no group; `elements` where a factor is infinite.
    """

    factors: tuple[Group[Any], ...]

    def __init__(self, *factors: Group[Any]) -> None:
        if not factors:
            raise refuse("Product needs factors", got="none", expected="one group or more", fix="Product(S(5), O(3))")
        for factor in factors:
            if isinstance(factor, type) or not isinstance(factor, Group):
                raise refuse(
                    "a factor of Product is no group",
                    got=f"the class {factor.__name__}" if isinstance(factor, type) else describe(factor),
                    expected="objects with the methods sample, compose and inverse",
                    fix="Product(S(5), O(3))",
                )
        object.__setattr__(self, "factors", factors)

    def __repr__(self) -> str:
        return f"Product({', '.join(map(repr, self.factors))})"

    @property
    def haar(self) -> bool:
        """Whether `sample` draws from an invariant probability law."""
        return all(getattr(factor, "haar", False) for factor in self.factors)

    @property
    def order(self) -> int | None:
        """The number of elements; None where a factor is infinite."""
        orders = [order(factor) for factor in self.factors]
        return prod(size for size in orders if size is not None) if None not in orders else None

    def elements(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> tuple[Any, ...]:
        """All elements, identity first: a tuple with one (order, *element) tensor for each factor."""
        if self.order is None:
            raise refuse(
                f"{self} has infinitely many elements",
                got="elements()",
                expected="a product of finite groups",
                fix="sample() draws elements; Sampled(k) is the frame that does so",
            )
        parts = [factor.elements(dtype=dtype, device=device) for factor in self.factors]  # type: ignore[attr-defined]  # finite
        index = torch.cartesian_prod(*(torch.arange(leading(part), device=device) for part in parts))
        columns = index.reshape(-1, len(parts)).unbind(-1)
        return tuple(
            map_tensors(lambda t, column=column: t[column], part)  # type: ignore[misc]  # the default binds the loop's value
            for part, column in zip(parts, columns, strict=True)
        )

    def identity(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> tuple[Any, ...]:
        """The tuple of the factors' identities."""
        return tuple(identity(factor, dtype=dtype, device=device) for factor in self.factors)

    def sample(
        self,
        shape: Shape = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> tuple[Any, ...]:
        """An element of each factor, drawn independently."""
        return tuple(factor.sample(shape, generator=generator, dtype=dtype, device=device) for factor in self.factors)

    def compose(self, g: tuple[Any, ...], h: tuple[Any, ...]) -> tuple[Any, ...]:
        """Factor by factor."""
        self._parts(g, h)
        return tuple(factor.compose(a, b) for factor, a, b in zip(self.factors, g, h, strict=True))

    def inverse(self, g: tuple[Any, ...]) -> tuple[Any, ...]:
        """Factor by factor."""
        self._parts(g)
        return tuple(factor.inverse(a) for factor, a in zip(self.factors, g, strict=True))

    def for_sizes(self, sizes: Sequence[int]) -> Product:
        """The product in which each factor that permutes things does so with those of samples of these sizes; see `S`."""
        return Product(
            *(factor.for_sizes(sizes) if hasattr(factor, "for_sizes") else factor for factor in self.factors)
        )

    def _parts(self, *elements: Any) -> None:
        for element in elements:
            if type(element) is not tuple or len(element) != len(self.factors):
                raise refuse(
                    f"this is no element of {self!r}",
                    got=describe(element),
                    expected=f"a tuple of {len(self.factors)}, one part for each factor",
                    fix="take elements from sample() or elements() of the same group",
                )
