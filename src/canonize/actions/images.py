"""Images, label masks, vector images and volumes: values on a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, final

from jaxtyping import Bool
from torch import Tensor

from canonize._tree import brief
from canonize.actions.base import always_bitwise, fit, floating, matrix_of, other_dimension
from canonize.actions.grid import PADDINGS, downward, lossless_on, move_grid
from canonize.actions.linear import along_axes
from canonize.errors import refuse

Padding = Literal["zeros", "border", "reflection"]
Interpolation = Literal["bilinear", "bicubic", "nearest"]


@final
@dataclass(frozen=True, repr=False)
class Image:
    """An image whose content turns about the middle; a quarter turn of C(4) is `torch.rot90(x, 1, (-2, -1))`.

    Quarter turns and flips of a square grid (and flips and half turns of any grid) are lossless: entries move, bit for bit.
    All other elements are resampled; for photographs `Image("border", "bicubic")` loses least (docs/auditing.md measures it).

    Args:
        padding: what stands outside the image where it is resampled: "border", its last pixel repeated; "reflection"; or
            "zeros".
        interpolation: "bilinear", "bicubic" (which overshoots beside edges) or "nearest".

    Values: (*batch, ..., height, width), usually (batch, channels, height, width); any dtype where nothing is resampled.

    Raises:
        SymmetryError: a quarter turn of an image that is not square, whole numbers that would be resampled, too few
            axes, elements that are not 2 x 2 matrices.
    """

    __repr__ = brief

    padding: Padding = "border"
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        _choices(self, ("bilinear", "bicubic", "nearest"))

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        """The turned image, of the shape of x."""
        matrix = matrix_of(self, _unshifted(self, g), 2)
        return move_grid(self, matrix, x, interpolation=self.interpolation, padding=self.padding)

    def lossless(self, g: Any, x: Tensor) -> Bool[Tensor, "*batch"]:
        """Whether each element only moves entries of x."""
        return lossless_on(matrix_of(self, g, 2), tuple(x.shape[-2:]))

    bitwise = always_bitwise


@final
@dataclass(frozen=True, repr=False)
class Mask:
    """Labels on a grid: moved, never mixed. Resampled elements take the nearest label.

    Args:
        fill: the label that stands outside the grid.

    Values: (*batch, ..., height, width), any dtype.

    Raises:
        SymmetryError: as for `Image`.
    """

    __repr__ = brief

    fill: float = 0

    labels = True  # never averaged: a mean of labels is no label

    def __post_init__(self) -> None:
        if not isinstance(self.fill, int | float):
            raise refuse("Mask: the fill is no number", got=repr(self.fill), expected="a label", fix="Mask(fill=255)")

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        """The turned mask, of the shape and dtype of x."""
        matrix = matrix_of(self, _unshifted(self, g), 2)
        return move_grid(self, matrix, x, interpolation="nearest", padding="zeros", fill=self.fill)

    def lossless(self, g: Any, x: Tensor) -> Bool[Tensor, "*batch"]:
        """Whether each element only moves entries of x."""
        return lossless_on(matrix_of(self, g, 2), tuple(x.shape[-2:]))

    bitwise = always_bitwise


@final
@dataclass(frozen=True, repr=False)
class VectorImage:
    """An image of vectors, such as optical flow: the picture turns, and the two channels turn as a vector too.

    Values: (*batch, ..., 2, height, width), floating point; channel 0 points to the right, channel 1 downwards (as
    optical flow in pixels does), in any unit.

    Args and raises: as for `Image`; and a channel axis that is not 2.
    """

    __repr__ = brief

    padding: Padding = "border"
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        _choices(self, ("bilinear", "bicubic", "nearest"))

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        """The turned field, of the shape of x."""
        matrix = matrix_of(self, _unshifted(self, g), 2)
        x = floating(self, fit(self, matrix.shape[:-2], x, 3, matrix.device))
        if x.shape[-3] != 2:
            raise refuse(
                "VectorImage needs two channels",
                got=f"shape {tuple(x.shape)}, so {x.shape[-3]} channels",
                expected="(batch, 2, height, width): right and down",
                fix="use Image() for channels that do not turn, or split the tensor into fields",
            )
        moved = move_grid(self, matrix, x, interpolation=self.interpolation, padding=self.padding)
        return along_axes(self, downward(matrix), moved.movedim(-3, -1), rank=1).movedim(-1, -3)

    def lossless(self, g: Any, x: Tensor) -> Bool[Tensor, "*batch"]:
        """Whether each element only moves entries of x, up to their sign."""
        return lossless_on(matrix_of(self, g, 2), tuple(x.shape[-2:]))

    def bitwise(self, g: Any, x: Tensor) -> Bool[Tensor, "*batch"]:
        """As `lossless`, for matrices without rounding in them: the channels are multiplied by them."""
        matrix = matrix_of(self, g, 2)
        return self.lossless(g, x) & (matrix == matrix.round()).flatten(-2).all(-1)


@final
@dataclass(frozen=True, repr=False)
class Volume:
    """A volume whose content turns about the middle: x along the width, y along the height upwards, z along the depth.

    Octahedral elements on a cube are lossless; all others are resampled (trilinear for "bilinear").

    Values: (*batch, ..., depth, height, width), usually (batch, channels, depth, height, width).

    Args and raises: as for `Image`, with 3 x 3 matrices; interpolation "bilinear" or "nearest".
    """

    __repr__ = brief

    padding: Padding = "border"
    interpolation: Literal["bilinear", "nearest"] = "bilinear"

    def __post_init__(self) -> None:
        _choices(self, ("bilinear", "nearest"))

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        """The turned volume, of the shape of x."""
        matrix = matrix_of(self, _unshifted(self, g), 3)
        return move_grid(self, matrix, x, interpolation=self.interpolation, padding=self.padding)

    def lossless(self, g: Any, x: Tensor) -> Bool[Tensor, "*batch"]:
        """Whether each element only moves entries of x."""
        return lossless_on(matrix_of(self, g, 3), tuple(x.shape[-3:]))

    bitwise = always_bitwise


def axes_of(action: Any) -> int:
    """How many axes behind the batch a value on a grid has at least; 0 for other actions."""
    return 2 if isinstance(action, Image | Mask) else 3 if isinstance(action, VectorImage | Volume) else 0


def check_dimension(group: Any, action: Any) -> None:
    """Refuse a grid of the plane under a group of space, and the reverse, before there is an element to tell it.

    Raises:
        SymmetryError: the group says its `dim`, and the grid has another.
    """
    known = getattr(group, "dim", None)
    dim = 3 if isinstance(action, Volume) else 2 if axes_of(action) else known
    if isinstance(known, int) and known != dim:
        raise other_dimension(action, (known, known), dim)


def _unshifted(action: Any, g: Any) -> Any:
    """`g` where it is a plain matrix: a shift has no defined unit on a grid of pixels."""
    if isinstance(g, tuple):
        raise refuse(
            f"{action!r} turns a grid about its middle and cannot shift it",
            got=f"elements of type {type(g).__name__}",
            expected="plain matrices, as C(n), D(n), SO(2), O(2) or Octahedral() have",
            fix="take the group without translations, or Factor(i, action) to pick one part of a product",
        )
    return g


def _choices(action: Any, interpolations: tuple[str, ...]) -> None:
    if action.padding not in PADDINGS:
        raise refuse(
            f"{type(action).__name__} does not know this padding",
            got=repr(action.padding),
            expected=", ".join(map(repr, PADDINGS)),
            fix=f"{type(action).__name__}(padding='border')",
        )
    if action.interpolation not in interpolations:
        raise refuse(
            f"{type(action).__name__} does not know this interpolation",
            got=repr(action.interpolation),
            expected=", ".join(map(repr, interpolations)),
            fix=f"{type(action).__name__}(interpolation='bilinear')",
        )
