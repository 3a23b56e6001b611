"""Boxes and keypoints on an image of known size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from jaxtyping import Bool
from torch import Tensor

from canonize._tree import brief
from canonize._values import constant, unseen
from canonize.actions.base import fit, floating, matrix_of
from canonize.actions.grid import downward, lossless_on, refuse_swapped
from canonize.actions.linear import along_axes
from canonize.errors import refuse
from canonize.linalg import is_signed_permutation

FORMATS = ("xyxy", "xywh", "cxcywh")


@final
@dataclass(frozen=True, repr=False)
class Boxes:
    """Axis-parallel boxes in pixels, on an image of `size`; the image covers 0..width, 0..height.

    The middle of a box turns, and the box that encloses the turned one is returned: exact for quarter turns and flips,
    larger than the turned box for any other element. A box without width or height stays without it where it is exact.

    Args:
        size: (height, width) of the image in pixels. None for images of any size, of which normalised boxes need to know
            no more than that quarter turns come to square ones only; other than quarter turns and flips are then refused.
        format: "xyxy" (left, top, right, bottom), "xywh" (left, top, width, height) or "cxcywh" (middle, width, height).
        normalised: whether the image covers 0..1 in both directions instead: shares of its width and height.

    Values: (*batch, ..., 4), floating point.

    Raises:
        SymmetryError: a last axis that is not 4, a quarter turn where height and width differ, whole numbers, bad size,
            no size for boxes in pixels or for elements that are no quarter turns and flips, an unknown format.
    """

    __repr__ = brief

    size: tuple[int, int] | None
    format: Literal["xyxy", "xywh", "cxcywh"] = "xyxy"
    normalised: bool = False

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise refuse(
                "Boxes does not know this format",
                got=repr(self.format),
                expected=", ".join(map(repr, FORMATS)),
                fix="Boxes((480, 640), format='cxcywh', normalised=True)",
            )
        if self.size is not None or not self.normalised:
            _size(self, self.size)

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        """The turned boxes, of the shape of x."""
        matrix = matrix_of(self, g, 2)
        x = _components(self, matrix, x, 4, "xyxy boxes have four numbers, keypoints two; put them last")
        self._check_size(matrix)
        height, width = self.size or (1, 1)
        sides = constant([width, height], dtype=matrix.dtype, device=matrix.device)
        matrix = downward(matrix)
        if self.normalised:
            # The same turn, where both sides of the image have the length 1.
            matrix, sides = matrix * (sides / sides[:, None]), torch.ones_like(sides)
        center, extent = _middle_and_extent(x, self.format)
        origin = (sides / 2).to(x.dtype)
        center = along_axes(self, matrix, center - origin, rank=1) + origin
        extent = along_axes(self, matrix.abs(), extent, rank=1)
        return _as_format(center, extent, self.format)

    def lossless(self, g: Any, x: Tensor) -> Bool[Tensor, "*batch"]:
        """Whether each element keeps boxes parallel to the axes."""
        return lossless_on(matrix_of(self, g, 2), self.size or (1, 1))

    def _check_size(self, matrix: Tensor) -> None:
        if self.size is not None:
            refuse_swapped(self, matrix, self.size)
        elif not unseen(matrix) and not bool(is_signed_permutation(matrix).all()):
            raise refuse(
                f"{self!r}: the size of the image is needed here",
                got="an element that is no quarter turn or flip",
                expected="(height, width) in pixels: how shares turn depends on their ratio",
                fix="Boxes((480, 640), normalised=True), or a group such as C(4)",
            )


@final
@dataclass(frozen=True, repr=False)
class Keypoints:
    """Points (column, row) in pixels, on an image of `size`; whole numbers are the middles of pixels.

    The keypoint (column, row) follows the pixel `image[row, column]` under `Image`. A reflection does not exchange the
    names of points: a skeleton with a left and a right hand has the symmetry C(n), not D(n).

    Args:
        size: (height, width) of the image in pixels.
        visible: whether a third number follows, such as the visibility of COCO; it does not move.

    Values: (*batch, ..., 2), or (*batch, ..., 3) where `visible`; floating point.

    Raises:
        SymmetryError: another last axis, a quarter turn where height and width differ, whole numbers, bad size.
    """

    __repr__ = brief

    size: tuple[int, int]
    visible: bool = False

    def __post_init__(self) -> None:
        _size(self, self.size)

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        """The turned points, of the shape of x."""
        matrix = matrix_of(self, g, 2)
        hint = "put them last; Keypoints(size, visible=True) for (column, row, visibility)"
        x = _components(self, matrix, x, 3 if self.visible else 2, hint)
        refuse_swapped(self, matrix, self.size)
        middle = constant([(self.size[1] - 1) / 2, (self.size[0] - 1) / 2], dtype=x.dtype, device=x.device)
        moved = along_axes(self, downward(matrix), x[..., :2] - middle, rank=1) + middle
        return torch.cat([moved, x[..., 2:]], -1) if self.visible else moved


def _middle_and_extent(x: Tensor, form: str) -> tuple[Tensor, Tensor]:
    first, second = x[..., :2], x[..., 2:]
    if form == "cxcywh":
        return first, second
    if form == "xywh":
        return first + second / 2, second
    return (first + second) / 2, second - first


def _as_format(center: Tensor, extent: Tensor, form: str) -> Tensor:
    if form == "cxcywh":
        return torch.cat([center, extent], -1)
    low = center - extent / 2
    return torch.cat([low, extent if form == "xywh" else center + extent / 2], -1)


def _components(action: Any, matrix: Tensor, x: Tensor, count: int, hint: str) -> Tensor:
    x = floating(action, fit(action, matrix.shape[:-2], x, 1, matrix.device))
    if x.shape[-1] != count:
        raise refuse(
            f"{action!r}: the last axis does not fit",
            got=f"shape {tuple(x.shape)}",
            expected=f"(batch, ..., {count})",
            fix=hint,
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
