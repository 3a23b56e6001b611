"""Positive scalings: changes of unit, brightness or volume."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from canonize._tree import brief
from canonize.errors import refuse
from canonize.groups.base import Shape, batch_shape, fitting, real


@final
@dataclass(frozen=True, repr=False)
class Scaling:
    """Positive numbers under multiplication; an element is a 1 x 1 matrix, (*batch, 1, 1), dimensionless.

    Not compact: no invariant probability law exists. `sample` draws exp(spread · z) with z normal: a choice.

    Args:
        spread: standard deviation of the logarithm of sampled elements, positive.

    Raises:
        SymmetryError: a spread that is not positive.
    """

    __repr__ = brief

    spread: float = 0.5
    haar = False
    order = None
    dim = 1

    def __post_init__(self) -> None:
        if not isinstance(self.spread, int | float) or not 0 < self.spread < math.inf:
            raise refuse(
                "Scaling: bad spread", got=repr(self.spread), expected="a positive number", fix="Scaling(spread=0.5)"
            )

    def identity(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Float[Tensor, "1 1"]:
        """One."""
        return torch.ones(1, 1, dtype=real(dtype), device=device)

    def sample(
        self,
        shape: Shape = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*batch 1 1"]:
        """Log-normal numbers, (*shape, 1, 1)."""
        source = generator.device if generator is not None else torch.device("cpu")
        normal = torch.randn(*batch_shape(shape), 1, 1, generator=generator, dtype=torch.float64, device=source)
        return (self.spread * normal).exp().to(dtype=real(dtype), device=device or torch.device("cpu"))

    def compose(self, g: Float[Tensor, "*#batch 1 1"], h: Float[Tensor, "*#batch 1 1"]) -> Float[Tensor, "*batch 1 1"]:
        """The product."""
        fitting(self, g, h, axes=(1, 1))
        return g * h

    def inverse(self, g: Float[Tensor, "*batch 1 1"]) -> Float[Tensor, "*batch 1 1"]:
        """The reciprocal."""
        fitting(self, g, axes=(1, 1))
        return g.reciprocal()

    def residual(self, g: Float[Tensor, "*batch 1 1"]) -> Bool[Tensor, "*batch"]:
        """1 where an element is not positive and finite, 0 where it is."""
        fitting(self, g, axes=(1, 1))
        return ~((g > 0) & g.isfinite())[..., 0, 0]
