"""What an action is, and how the parts of an element and the batch axes of a value are found."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from canonize._tree import describe
from canonize.errors import SymmetryError, refuse
from canonize.groups import Rigid


@runtime_checkable
class Action(Protocol):
    """How an element moves one kind of value: a function `(g, x) -> x`; nobody has to inherit from this class.

    The batch shape of `g` stands for the leading axes of `x`; `x` is not changed. An action may also have a method
    `lossless(g, x)`, which says for each element whether moving `x` by it and back returns `x` up to rounding; an
    action without it is taken to be lossless always. One of which no lossless move that came before shows in the bits
    may say so with `bitwise(g, x)`: `Best` then chooses the same pose, bit for bit, for every copy moved without loss.
    """

    def __call__(self, g: Any, x: Any) -> Any:
        """g · x."""
        ...


def lossless(action: Any, g: Any, x: Tensor) -> Tensor:
    """For each element whether `action` moves `x` by it without loss, bool; (*batch), or () where it is so for all."""
    if hasattr(action, "lossless"):
        told: Tensor = action.lossless(g, x)
        return told
    return torch.ones((), dtype=torch.bool, device=x.device)


def bitwise(action: Any, g: Any, x: Tensor) -> Tensor:
    """For each element whether no lossless move made before shows in the bits: g · (h · x) = (g h) · x for lossless h.

    (*batch) bool, or () where it is so for all. So it is where entries only move or change their sign, and where
    `action` moves by a lossless element first and computes afterwards, as `Image` does. An action without the method
    `bitwise(g, x)` is taken to round.
    """
    if hasattr(action, "bitwise"):
        told: Tensor = action.bitwise(g, x)
        return told
    return torch.zeros((), dtype=torch.bool, device=x.device)


def always_bitwise(action: Any, g: Any, x: Tensor) -> Tensor:
    """The method `bitwise` of actions for which it is true of every element."""
    return torch.ones((), dtype=torch.bool, device=x.device)


def matrix_of(action: Any, g: Any, dim: int | None = None) -> Tensor:
    """The matrix of an element: itself, or the linear part of a rigid motion.

    Raises:
        SymmetryError: the element has no matrix, or it is not dim x dim.
    """
    matrix = g.linear if isinstance(g, Rigid) else g
    if not isinstance(matrix, Tensor) or not matrix.is_floating_point() or matrix.ndim < 2:
        raise refuse(
            f"{action!r} needs elements that are matrices",
            got=describe(g),
            expected="a group of matrices, such as C(4), SO(3) or E(3)",
            fix="use Nodes() or Pairs() for permutations, and Factor(i, action) to pick one part of a product",
        )
    if matrix.shape[-1] != matrix.shape[-2] or (dim is not None and matrix.shape[-1] != dim):
        raise other_dimension(action, (matrix.shape[-2], matrix.shape[-1]), dim)
    return matrix


def other_dimension(action: Any, shape: tuple[int, int], dim: int | None) -> SymmetryError:
    """What to raise for matrices of this shape where an action needs dim x dim ones (square ones where None)."""
    return refuse(
        f"{action!r} does not fit the dimension of the group",
        got=f"matrices {shape[0]} x {shape[1]}",
        expected=f"{dim} x {dim} matrices" if dim is not None else "square matrices",
        fix="match them: Image() goes with the plane (C(4), D(4)), Volume() with space (Octahedral(), SO(3))",
    )


def permutation_of(action: Any, g: Any) -> Tensor:
    """The integer tensor (*batch, n) of a permutation.

    Raises:
        SymmetryError: the element is something else.
    """
    if not isinstance(g, Tensor) or g.is_floating_point() or g.dtype == torch.bool or g.ndim < 1:
        raise refuse(
            f"{action!r} needs elements that are permutations",
            got=describe(g),
            expected="integer tensors (*batch, n), as S(n) has",
            fix="use Vector(), Point() or Image() for matrices, and Factor(i, action) to pick one part of a product",
        )
    return g


def fit(action: Any, batch: torch.Size, x: Any, trailing: int, device: torch.device) -> Tensor:
    """`x` expanded so that its leading axes are `batch`, with at least `trailing` axes behind them.

    Raises:
        SymmetryError: not a tensor, too few axes, a batch that does not fit, or another device.
    """
    if not isinstance(x, Tensor):
        raise refuse(f"{action!r} moves tensors", got=describe(x), expected="a tensor", fix="pass a tensor or an array")
    if x.device != device:
        raise refuse(
            f"{action!r}: the value and the group element are on different devices",
            got=f"value on {x.device}, element on {device}",
            expected="one device",
            fix=f"move one of them, for example value.to({str(device)!r})",
        )
    lead = len(batch)
    if x.ndim < lead + trailing:
        raise refuse(
            f"{action!r}: the value has too few axes",
            got=f"shape {tuple(x.shape)}",
            expected=f"{lead} batch axes and at least {trailing} more",
            fix="put the batch first: x[None] adds a batch axis to a single sample",
        )
    try:
        shape = torch.broadcast_shapes(batch, x.shape[:lead])  # type: ignore[no-untyped-call]  # torch leaves it so
    except RuntimeError:
        raise refuse(
            f"{action!r}: the batch of the value and of the group elements differ",
            got=f"value of shape {tuple(x.shape)}, elements with batch shape {tuple(batch)}",
            expected=f"a value whose first {lead} axes are {tuple(batch)}",
            fix="give one element per sample, batch first; wrap the action in Rows(...) if the rows belong to samples",
        ) from None
    return x.expand((*shape, *x.shape[lead:]))


def floating(action: Any, x: Tensor) -> Tensor:
    """`x` itself, refused unless it holds floating-point or complex numbers."""
    if not (x.is_floating_point() or x.is_complex()):
        raise refuse(
            f"{action!r} makes fractions, which whole numbers cannot hold",
            got=f"dtype {str(x.dtype).removeprefix('torch.')}",
            expected="a floating-point tensor",
            fix="pass x.float(); for labels use Mask(), which only moves them",
        )
    return x
