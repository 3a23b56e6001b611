"""Frames that do not look at the input: all elements of a finite group, or random ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch

from canonize._tree import brief
from canonize.actions.trees import batch_of
from canonize.errors import refuse
from canonize.frames.base import Poses, one_each, over_batch
from canonize.groups.base import leading
from canonize.symmetry import Symmetry, check_is_claim, group_for


@final
@dataclass(frozen=True)
class Average:
    """All elements of a finite group with equal weights: group averaging, exact for every input and |G| model calls.

    Raises:
        SymmetryError: a group that does not list its elements.

    Source: the Reynolds operator; Elesedy and Zaidi, arXiv 2102.10333.
    """

    def __call__(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """The whole group for each sample."""
        elements, batch = one_each(group_for(symmetry, inputs), inputs, symmetry)
        k = leading(elements)
        _, dtype, device = batch_of(symmetry.inputs, inputs)
        return Poses(over_batch(elements, batch), torch.full((k, batch), 1 / k, dtype=dtype, device=device))


@final
@dataclass(frozen=True, repr=False)
class Sampled:
    """Random elements with equal weights, drawn anew for each sample and call: an unbiased estimate of the group average.

    Not exact: the answer varies from call to call by the spread of the model over the group, divided by sqrt(count).

    Args:
        count: number of poses, at least 1.

    Raises:
        SymmetryError: count < 1.
    """

    __repr__ = brief

    count: int

    def __post_init__(self) -> None:
        if not isinstance(self.count, int) or self.count < 1:
            raise refuse(
                "Sampled needs a number of poses", got=repr(self.count), expected="at least 1", fix="Sampled(8)"
            )

    def __call__(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """`count` elements for each sample, from `generator`."""
        check_is_claim(symmetry, "Sampled")
        batch, dtype, device = batch_of(symmetry.inputs, inputs)
        shape = (self.count, batch)
        elements = group_for(symmetry, inputs).sample(shape, generator=generator, dtype=dtype, device=device)
        return Poses(elements, torch.full(shape, 1 / self.count, dtype=dtype, device=device))
