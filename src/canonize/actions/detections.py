"""Boxes and keypoints on an image of known size, in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Bool
from torch import Tensor

from canonize._tree import brief
from canonize.actions.base import fit, floating, matrix_of
from canonize.actions.grid import downward, lossless_on, refuse_swapped
from canonize.actions.linear import along_axes
from canonize.errors import refuse


@final
@dataclass(frozen=True, repr=False)
class Boxes:
    """Axis-parallel boxes (left, top, right, bottom) in pixels, on an image of `size`; the image covers 0..width, 0..height.

    All four corners turn, and the box that encloses them is returned: exact for quarter turns and flips, larger than
    the turned box for any other element.

    Args:
        size: (height, width) of the image in pixels.

    Values: (*batch, ..., 4), floating point.

    Raises:
        SymmetryError: a last axis that is not 4, a quarter turn where height and width differ, whole numbers, bad size.
    """

    __repr__ = brief

    size: tuple[int, int]

    def __post_init__(self) -> None:
        _size(self, self.size)

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        """The turned boxes, of the shape of x."""
        matrix = matrix_of(self, g, 2)
        x = _components(self, matrix, x, 4)
        refuse_swapped(self, matrix, self.size)
        left, top, right, bottom = x.unbind(-1)
        corners = torch.stack(
            [torch.stack([a, b], -1) for a, b in ((left, top), (right, top), (right, bottom), (left, bottom))], -2
        )
        middle = torch.tensor([self.size[1] / 2, self.size[0] / 2], dtype=x.dtype, device=x.device)
        turned = along_axes(self, downward(matrix), corners - middle, rank=1) + middle
        return torch.cat([turned.amin(-2), turned.amax(-2)], -1)

    def lossless(self, g: Any, x: Tensor) -> Bool[Tensor, "*batch"]:
        """Whether each element keeps boxes parallel to the axes."""
        return lossless_on(matrix_of(self, g, 2), self.size)


@final
@dataclass(frozen=True, repr=False)
class Keypoints:
    """Points (column, row) in pixels, on an image of `size`; whole numbers are the middles of pixels.

    The keypoint (column, row) follows the pixel `image[row, column]` under `Image`.

    Args:
        size: (height, width) of the image in pixels.

    Values: (*batch, ..., 2), floating point.

    Raises:
        SymmetryError: a last axis that is not 2, a quarter turn where height and width differ, whole numbers, bad size.
    """

    __repr__ = brief

    size: tuple[int, int]

    def __post_init__(self) -> None:
        _size(self, self.size)

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        """The turned points, of the shape of x."""
        matrix = matrix_of(self, g, 2)
        x = _components(self, matrix, x, 2)
        refuse_swapped(self, matrix, self.size)
        middle = torch.tensor([(self.size[1] - 1) / 2, (self.size[0] - 1) / 2], dtype=x.dtype, device=x.device)
        return along_axes(self, downward(matrix), x - middle, rank=1) + middle


def _components(action: Any, matrix: Tensor, x: Tensor, count: int) -> Tensor:
    x = floating(action, fit(action, matrix.shape[:-2], x, 1, matrix.device))
    if x.shape[-1] != count:
        raise refuse(
            f"{action!r}: the last axis does not fit",
            got=f"shape {tuple(x.shape)}",
            expected=f"(batch, ..., {count})",
            fix="xyxy boxes have four numbers, keypoints two; put them last",
        )
    return x


def _size(action: Any, size: Any) -> None:
    if not (isinstance(size, tuple) and len(size) == 2 and all(isinstance(s, int) and s > 0 for s in size)):
        name = type(action).__name__
        raise refuse(
            f"{name} needs the size of the image",
            got=repr(size),
            expected="(height, width) in pixels",
            fix=f"{name}((224, 224))",
        )
