"""The pose of an input under scaling: its size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from canonize._own import own
from canonize._tree import brief, describe, tensors
from canonize.actions.trees import batch_of
from canonize.errors import refuse
from canonize.frames.base import Poses
from canonize.groups.scaling import Scaling
from canonize.symmetry import Symmetry, call


@final
@dataclass(frozen=True, repr=False)
class Sized:
    """One pose for `Scaling()`: how large the input is. The model is shown inputs of size one.

    Exact to rounding, and smooth wherever the size is not zero. In front of another symmetrized model it adds scaling to
    the symmetries of that one, provided that these leave the size as it is.

    Args:
        measure: called as the model is; returns (batch,), positive, and s times as much for s · x. Where None, the root
            mean square of the entries of the first input, for inputs of degree one.

    Raises:
        SymmetryError: another group; a measure that is negative, infinite, not a number or of another shape.

    Singular case: an input of size zero, or so small that its reciprocal overflows, stays as it is, with margin 0; all
    others have margin 1.
    """

    __repr__ = brief

    measure: Callable[..., Tensor] | None = None

    def __call__(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """The size of each sample."""
        if not isinstance(symmetry.group, Scaling):
            raise refuse(
                "Sized is a frame for scaling",
                got=repr(symmetry.group),
                expected="Scaling()",
                fix="Symmetry(Scaling(), inputs=Homogeneous(), outputs=Scalar())",
            )
        batch, dtype, device = batch_of(symmetry.inputs, inputs)
        size = _size(inputs) if self.measure is None else call(self.measure, symmetry, own(inputs, inputs))
        if not isinstance(size, Tensor) or size.shape != (batch,):
            raise refuse(
                "Sized: the measure must be one number for each sample",
                got=describe(size),
                expected=f"(batch,) = ({batch},)",
                fix="Sized(lambda x: x.abs().amax((1, 2)))",
            )
        lost = ~size.isfinite() | (size < 0)
        if bool(lost.any()):
            raise refuse(
                "Sized: the size of an input is no size",
                got=f"{size[lost][:4].tolist()} for sample {lost.nonzero()[:, 0].tolist()[:8]} of the batch",
                expected="finite numbers from 0",
                fix="look for NaN and overflow in these inputs",
            )
        size = size.to(dtype)
        usable = size.detach() > torch.finfo(dtype).tiny * 4
        elements = torch.where(usable, size, 1.0).reshape(1, batch, 1, 1)
        return Poses(elements, torch.ones(1, batch, dtype=dtype, device=device), usable.to(dtype))


def _size(inputs: Any) -> Tensor:
    first = tensors(inputs)[0]
    flat = first.abs().flatten(1).double()
    if not flat.shape[1]:
        return flat.new_zeros(len(flat))
    # Squares of large and of small entries would leave the range.
    largest = flat.detach().amax(1)
    scale = torch.where(largest > 0, largest, 1.0)
    mean = (flat / scale[:, None]).square().mean(1)
    return torch.where(largest > 0, torch.where(mean > 0, mean, 1.0).sqrt(), 0.0) * scale
