"""Groups of the plane that turn three-dimensional values about an axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from canonize._tree import Listed, Node, brief, describe
from canonize.actions.base import bitwise, lossless, matrix_of
from canonize.actions.fields import Rows
from canonize.errors import refuse
from canonize.groups import Rigid


@final
@dataclass(frozen=True, repr=False)
class Planar:
    """A three-dimensional value under a group of the plane: it turns about `axis`, along which nothing moves.

    For what has an upright direction: slabs and what is adsorbed on them, objects on the ground, bodies under gravity.
    Rotations are counter-clockwise seen from the tip of the axis. A reflection of the plane is one of space, of
    determinant -1, so that pseudovectors and spherical tensors change sign as they should. A shift stays in the plane.

    Args:
        action: how three-dimensional elements move the value: `Point()`, `Vector()` (also for the rows of a cell),
            `Tensor(2)`, `Volume()`, ...
        axis: 0, 1 or 2: which of x, y, z stays. The two axes of the plane are then (y, z), (z, x) or (x, y).

    Values: as the inner action has them in three dimensions.

    Raises:
        SymmetryError: something that is no action of one tensor, another axis; on use, elements that are not 2 x 2
            matrices or rigid motions of the plane, and what the inner action refuses.

    Example:
        >>> import torch
        >>> from canonize import C, Planar, Point
        >>> quarter = C(4).elements()[1:2]
        >>> Planar(Point())(quarter, torch.tensor([[1.0, 2.0, 3.0]])).tolist()
        [[-2.0, 1.0, 3.0]]
    """

    __repr__ = brief

    action: Any
    axis: int = 2

    def __post_init__(self) -> None:
        if not callable(self.action) or isinstance(self.action, Rows | Node | Listed | Planar | type):
            raise refuse(
                "Planar wraps one action of three-dimensional values",
                got=f"the class {self.action.__name__}" if isinstance(self.action, type) else describe(self.action),
                expected="an action such as Point()",
                fix="Planar(Point()); Rows go outside, Rows(Planar(Point()))",
            )
        if not isinstance(self.axis, int) or isinstance(self.axis, bool) or not 0 <= self.axis <= 2:
            raise refuse(
                "Planar: bad axis", got=repr(self.axis), expected="0, 1 or 2, for x, y or z", fix="Planar(Point())"
            )

    @property
    def plane(self) -> tuple[int, int]:
        """The two axes of the plane, in the order in which a quarter turn takes the first to the second."""
        return (self.axis + 1) % 3, (self.axis + 2) % 3

    @property
    def labels(self) -> bool:
        """Whether the inner action moves labels, of which a mean is none."""
        return bool(getattr(self.action, "labels", False))

    def lift(self, g: Any) -> Any:
        """The element as one of space: (*batch, 3, 3), or a `Rigid` with shifts (*batch, 3)."""
        matrix = matrix_of(self, g, 2)
        first, second = self.plane
        zero, one = torch.zeros_like(matrix[..., 0, 0]), torch.ones_like(matrix[..., 0, 0])
        entries = {(self.axis, self.axis): one} | {
            (row, column): matrix[..., i, j]
            for i, row in enumerate((first, second))
            for j, column in enumerate((first, second))
        }
        linear = torch.stack(
            [torch.stack([entries.get((row, column), zero) for column in range(3)], -1) for row in range(3)], -2
        )
        if not isinstance(g, Rigid):
            return linear
        parts = {first: g.shift[..., 0], second: g.shift[..., 1], self.axis: torch.zeros_like(g.shift[..., 0])}
        return Rigid(linear, torch.stack([parts[axis] for axis in range(3)], -1))

    def __call__(self, g: Any, x: Any) -> Any:
        """The inner action of the element of space."""
        return self.action(self.lift(g), x)

    def lossless(self, g: Any, x: Tensor) -> Tensor:
        """As the inner action says."""
        return lossless(self.action, self.lift(g), x)

    def bitwise(self, g: Any, x: Tensor) -> Tensor:
        """As the inner action says."""
        return bitwise(self.action, self.lift(g), x)
