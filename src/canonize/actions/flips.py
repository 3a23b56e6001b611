"""Values that change their sign when what they belong to is turned over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from canonize._tree import brief, describe
from canonize._values import unseen
from canonize.actions.base import always_bitwise, fit
from canonize.errors import refuse


@final
@dataclass(frozen=True, repr=False)
class Flipped:
    """Entries along one axis take the sign of their thing: what thing i had is multiplied by g[i].

    So do flows on the edges of a complex when edges are written the other way round. Lossless, bit for bit; infinities
    and zeros keep their size too.

    Args:
        axis: which axis after the batch counts the things; negative from the end. A boundary matrix from edges to nodes,
            (batch, nodes, edges), has its edges at axis 1; one from triangles to edges feels both:
            `Chain(Factor(0, Flipped()), Factor(1, Flipped(axis=1)))`.

    Values: (*batch, ..., n, ...), floating point, complex or signed whole numbers, any unit.

    Raises:
        SymmetryError: an axis that is not n or not there, values without a sign, elements that are no signs.

    Example:
        >>> from canonize import Flipped
        >>> Flipped(axis=1)(torch.tensor([[1.0, -1.0]]), torch.tensor([[[-1.0, 0.0], [1.0, -1.0], [0.0, 1.0]]]))
        tensor([[[-1., -0.],
                 [ 1.,  1.],
                 [ 0., -1.]]])
    """

    __repr__ = brief

    axis: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.axis, int) or isinstance(self.axis, bool):
            raise refuse("Flipped: bad axis", got=describe(self.axis), expected="a whole number", fix="Flipped(axis=1)")

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        """The values with their signs changed, of the shape and dtype of x."""
        g = self._signs(g)
        x = fit(self, g.shape[:-1], x, 1, g.device)
        if x.dtype == torch.bool or (not x.is_complex() and not x.dtype.is_signed):
            raise refuse(
                f"{self!r} changes signs, which these values cannot have",
                got=f"dtype {str(x.dtype).removeprefix('torch.')}",
                expected="floating-point, complex or signed whole numbers",
                fix="declare Scalar() for what does not feel orientation, or pass x.long()",
            )
        after = x.shape[g.ndim - 1 :]
        place = self.place(after, g.shape[-1])
        signs = g.reshape(*g.shape[:-1], *(1,) * place, g.shape[-1], *(1,) * (len(after) - place - 1))
        if x.is_complex():
            # A product of complex numbers would make NaN of infinity.
            real = torch.view_as_real(x.resolve_conj())
            return torch.view_as_complex(real * signs[..., None].to(real.dtype))
        moved: Tensor = x * signs.to(x.dtype)
        return moved

    bitwise = always_bitwise

    def place(self, sizes: tuple[int, ...], n: int) -> int:
        """Which axis after the batch counts the things, from 0.

        Args:
            sizes: lengths of the axes after the batch.
            n: how many things.

        Raises:
            SymmetryError: no such axis, or one that is not n.
        """
        place = self.axis + len(sizes) if self.axis < 0 else self.axis
        if not 0 <= place < len(sizes) or sizes[place] != n:
            raise refuse(
                f"{self!r}: the value does not have the size of the flips",
                got=f"axes {tuple(sizes)} after the batch, signs of {n} things",
                expected=f"n = {n} at axis {self.axis} after the batch",
                fix="name the axis that counts the things, for example Flipped(axis=1), and use Flips of its length",
            )
        return place

    def _signs(self, g: Any) -> Tensor:
        good = isinstance(g, Tensor) and g.is_floating_point() and g.ndim > 0
        # Matrices of a small group would run and be wrong; looking at them on a GPU would stall it.
        if good and g.device.type == "cpu" and not unseen():
            good = bool((g.detach().abs() == 1).all())
        if not good:
            raise refuse(
                f"{self!r} needs elements that are signs",
                got=describe(g),
                expected="tensors (*batch, n) of -1.0 and 1.0, as Flips(n) has",
                fix="Factor(i, Flipped()) picks one part of a product; use Vector() for matrices, Nodes() for permutations",
            )
        signs: Tensor = g
        return signs
