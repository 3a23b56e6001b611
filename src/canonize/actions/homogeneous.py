"""Values that are multiplied by a power of a number: under changes of sign and of scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from canonize._tree import brief
from canonize.actions.base import fit, floating, matrix_of
from canonize.errors import refuse


@final
@dataclass(frozen=True, repr=False)
class Homogeneous:
    """A value of some degree: g · x = g^degree x for a number g, given as a 1 x 1 matrix.

    With `Scaling()` a length has degree 1, an area 2, a rate -1; `Scalar()` is degree 0. With `O(1)`, the two signs, odd
    degrees change sign.

    Args:
        degree: a whole number.

    Values: (*batch, ...), floating point.

    Raises:
        SymmetryError: elements that are not 1 x 1 matrices, whole numbers, a degree that is no whole number.
    """

    __repr__ = brief

    degree: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.degree, int) or isinstance(self.degree, bool):
            raise refuse(
                "Homogeneous: bad degree",
                got=repr(self.degree),
                expected="a whole number",
                fix="Homogeneous(degree=2); the degree of a square root is reached by squaring the value first",
            )

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        """The multiplied value, of the shape of x."""
        matrix = matrix_of(self, g, 1)
        x = floating(self, fit(self, matrix.shape[:-2], x, 0, matrix.device))
        # Powers of a number are taken in its own precision, and cast once.
        factor = (matrix[..., 0, 0] ** self.degree).to(x.real.dtype)
        return x * factor.reshape(*factor.shape, *(1,) * (x.ndim - factor.ndim))

    def bitwise(self, g: Any, x: Tensor) -> Tensor:
        """Whether each element only keeps or changes the sign."""
        matrix = matrix_of(self, g, 1)
        return torch.eq(matrix.abs(), 1)[..., 0, 0]
