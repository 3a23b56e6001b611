"""What a group is to the rest of the library, and the helpers that work for every group."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from canonize._tree import describe, map_tensors
from canonize.errors import refuse

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
    """`shape` as a tuple.

    Raises:
        SymmetryError: something other than whole numbers from 0.
    """
    sizes = (shape,) if isinstance(shape, int) else shape
    if not isinstance(sizes, tuple | list) or not all(isinstance(size, int) and size >= 0 for size in sizes):
        raise refuse(
            "sample: bad shape", got=repr(shape), expected="whole numbers from 0", fix="sample(8), sample((2, 8))"
        )
    return tuple(sizes)


def real(dtype: torch.dtype | None) -> torch.dtype:
    """The dtype that matrices are given: the default one where None.

    Raises:
        SymmetryError: whole numbers or complex ones.
    """
    dtype = dtype or torch.get_default_dtype()
    if not dtype.is_floating_point:
        raise refuse(
            "elements that are matrices have floating-point entries",
            got=f"dtype {str(dtype).removeprefix('torch.')}",
            expected="float32 or float64",
            fix="leave dtype= out",
        )
    return dtype


def fitting(group: Any, *elements: Any, axes: tuple[int, ...]) -> None:
    """Raise unless tensors are elements of `group` that can be computed with together.

    Args:
        group: for messages.
        elements: what should be its elements.
        axes: their last axes; (n, n) for matrices, (n,) for a shift or a permutation.

    Raises:
        SymmetryError: other axes, several dtypes or devices, batch shapes that do not broadcast.
    """
    for element in elements:
        if not isinstance(element, Tensor) or tuple(element.shape[element.ndim - len(axes) :]) != axes:
            raise refuse(
                f"this is no element of {group!r}",
                got=describe(element),
                expected=f"a tensor (*batch, {', '.join(map(str, axes))})",
                fix="take elements from sample() or elements() of the same group",
            )
    if len({(element.dtype, element.device) for element in elements}) > 1:
        raise refuse(
            f"elements of {group!r} differ in dtype or device",
            got="; ".join(map(describe, elements)),
            expected="one dtype and one device",
            fix="pass dtype= and device= where they are made, or use .to(...)",
        )
    try:
        torch.broadcast_shapes(*(element.shape[: element.ndim - len(axes)] for element in elements))  # type: ignore[no-untyped-call]  # torch leaves it so
    except RuntimeError:
        raise refuse(
            f"the batch shapes of elements of {group!r} do not go together",
            got="; ".join(map(describe, elements)),
            expected="batch shapes that broadcast",
            fix="add axes of length 1, for example g[:, None]",
        ) from None


def check_is_group(group: Any, where: str) -> None:
    """Refuse what is no group.

    Raises:
        SymmetryError: a class, or an object without the three methods.
    """
    missing = [name for name in ("sample", "compose", "inverse") if not callable(getattr(group, name, None))]
    if missing or isinstance(group, type):
        raise refuse(
            f"{where} needs a group",
            got=describe(group) + (f", without {', '.join(missing)}" if missing else ", a class"),
            expected="an object with the methods sample, compose and inverse",
            fix="C(4), SO(3), S(5), or a group of yours, with brackets",
        )


def order(group: Any) -> int | None:
    """The number of elements of a finite group; None for an infinite one.

    A group that has `elements` but no `order` is counted.
    """
    check_is_group(group, "order")
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
    check_is_group(group, "identity")
    if hasattr(group, "identity"):
        return group.identity(dtype=dtype, device=device)
    if hasattr(group, "elements"):
        return map_tensors(lambda t: t[0], group.elements(dtype=dtype, device=device))
    g = group.sample((), generator=torch.Generator().manual_seed(0), dtype=dtype, device=device)
    return group.compose(g, group.inverse(g))
