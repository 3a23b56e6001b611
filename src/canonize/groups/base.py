"""What a group is to the rest of the library, and the helpers that work for every group."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from canonize._tree import map_tensors

E = TypeVar("E")
Shape = int | tuple[int, ...]


class Rigid(NamedTuple):
    """An affine motion `x -> linear x + shift`.

    Attributes:
        linear: (*batch, n, n), dimensionless.
        shift: (*batch, n), in the unit of the coordinates it moves.

    """

    linear: Tensor
    shift: Tensor


@runtime_checkable
class Group(Protocol[E]):
    """Three methods make a group; nobody has to inherit from this class.

    Elements are tensors, or tuples of tensors, with the batch in front. A finite group also has
    `elements(*, dtype=None, device=None)`, all of them with the identity first, and `order`. A compact group says
    `haar = True` when `sample` draws from its invariant probability measure.
    """

    def sample(
        self,
        shape: Shape = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> E:
        """Random elements with batch shape `shape`."""
        ...

    def compose(self, g: E, h: E) -> E:
        """The product g h, which acts as h first and g after it; batch shapes broadcast."""
        ...

    def inverse(self, g: E) -> E:
        """The inverse of each element."""
        ...


def batch_shape(shape: Shape) -> tuple[int, ...]:
    """`shape` as a tuple."""
    return (shape,) if isinstance(shape, int) else tuple(shape)


def order(group: Any) -> int | None:
    """The number of elements of a finite group; None for an infinite one.

    A group that has `elements` but no `order` is counted.
    """
    if hasattr(group, "order"):
        known: int | None = group.order
        return known
    if hasattr(group, "elements"):
        return leading(group.elements())
    return None


def leading(elements: Any) -> int:
    """The length of the first batch axis of an element or a tuple of them."""
    while isinstance(elements, tuple):
        elements = elements[0]
    return int(elements.shape[0])


def identity(group: Any, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Any:
    """The identity with no batch axis: the group's own `identity` where it has one, else g g^-1 for one g."""
    if hasattr(group, "identity"):
        return group.identity(dtype=dtype, device=device)
    if hasattr(group, "elements"):
        return map_tensors(lambda t: t[0], group.elements(dtype=dtype, device=device))
    g = group.sample((), generator=torch.Generator().manual_seed(0), dtype=dtype, device=device)
    return group.compose(g, group.inverse(g))
