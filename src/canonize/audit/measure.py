"""Relative errors between two outputs of a model, and the running split into symmetric and antisymmetric energy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from canonize._tree import describe, walk
from canonize.actions import Index, Rows
from canonize.errors import refuse


def per_sample(squares: Tensor, action: Any, index: Tensor | None, count: int) -> Tensor:
    """The sum over everything but the sample, (count,) float64; rows are summed into their samples."""
    flat = squares.reshape(squares.shape[0], squares.shape[1:].numel()).sum(1)
    if isinstance(action, Rows) and index is not None:
        return torch.zeros(count, dtype=flat.dtype, device=flat.device).index_add(0, index, flat)
    return flat


def relative_error(first: Tensor, second: Tensor, action: Any, index: Tensor | None, count: int) -> Tensor:
    """How far two outputs of one shape are apart, for each sample: (count,) float64 on the CPU; infinite for NaN.

    The difference's norm over the larger of the two norms, or over 1 % of the batch's root-mean-square norm where a
    sample's own answer is smaller than that. For whole numbers and booleans the share of entries that differ.
    """
    if first.is_floating_point() or first.is_complex():
        wide = torch.complex128 if first.is_complex() else torch.float64
        a, b = first.detach().to(wide), second.detach().to(wide)
        if a.numel():
            # Dividing by the largest entry first keeps the squares of 1e-300 and 1e300 finite.
            unit = torch.stack([a.abs().amax(), b.abs().amax()]).amax().clamp(min=torch.finfo(torch.float64).tiny)
            a, b = a / unit, b / unit
        off = per_sample((a - b).abs().square(), action, index, count).sqrt()
        size = torch.maximum(
            per_sample(a.abs().square(), action, index, count), per_sample(b.abs().square(), action, index, count)
        ).sqrt()
        least = 0.01 * size.square().mean().sqrt()
        error = torch.where(off == 0, 0.0, off / torch.maximum(size, least))
    else:
        differs = per_sample((first != second).double(), action, index, count)
        error = differs / per_sample(torch.ones_like(first, dtype=torch.float64), action, index, count).clamp(min=1)
    return torch.where(error.isfinite(), error, torch.inf).cpu()


def compare(spec: Any, base: Any, other: Any, index: Tensor | None, count: int) -> dict[str, Tensor]:
    """The `relative_error` of each output and sample, by path: (count,) float64.

    Raises:
        SymmetryError: outputs whose shape or structure changes with the input's orientation.
    """
    errors: dict[str, Tensor] = {}

    def leaf(action: Any, first: Any, second: Any, *, path: str) -> Any:
        if action is None or isinstance(action, Index) or not isinstance(first, Tensor):
            return first
        if not isinstance(second, Tensor) or first.shape != second.shape:
            raise refuse(
                f"an output{path and ' at ' + path} changes its shape when the input is moved",
                got=f"{describe(second)} for the moved input",
                expected=f"{describe(first)}, as for the input itself",
                fix="declare None for outputs that cannot be compared, or pad them to one shape inside the model",
            )
        errors[path or "output"] = relative_error(first, second, action, index, count)
        return first

    walk(leaf, spec, base, other)
    if not errors:
        raise refuse(
            "no output can be compared",
            got=f"{describe(base)}, declared {spec!r}",
            expected="at least one tensor with an action",
            fix="outputs=Scalar() for logits, Vector() for forces, ...",
        )
    return errors


class Energies:
    """Running mean and variance of y_g = g^-1 f(g x) over elements, for each real-valued output of one batch."""

    def __init__(self) -> None:
        self._mean: dict[str, Tensor] = {}
        self._spread: dict[str, Tensor] = {}
        self._of: dict[str, tuple[Any, Tensor | None, int]] = {}
        self._count = 0

    def add(self, spec: Any, output: Any, index: Tensor | None, count: int) -> None:
        """Take in the outputs for one element, turned back."""
        self._count += 1

        def leaf(action: Any, part: Any, *, path: str) -> Any:
            if action is None or isinstance(action, Index) or not isinstance(part, Tensor):
                return part
            if part.is_floating_point() or part.is_complex():
                y = part.detach().to(torch.complex128 if part.is_complex() else torch.float64)
                mean = self._mean.get(path, torch.zeros_like(y))
                step = y - mean
                self._mean[path] = mean + step / self._count
                squares = (step.conj() * (y - self._mean[path])).real
                spread = per_sample(squares, action, index, count)
                self._spread[path] = self._spread.get(path, torch.zeros_like(spread)) + spread
                self._of[path] = (action, index, count)
            return part

        walk(leaf, spec, output)

    def split(self, *, exhaustive: bool) -> dict[str, tuple[Tensor, Tensor]]:
        """Symmetric and antisymmetric energy of each output, both (count,) float64.

        Over all elements of a group these are exact. Over independent random elements they are unbiased: the variance with
        one degree of freedom taken off is half the mean of |y_g - y_h|^2 over all pairs, and what it adds to the square of
        the mean is subtracted there.
        """
        result = {}
        for path, mean in self._mean.items():
            action, index, count = self._of[path]
            power = per_sample(mean.abs().square(), action, index, count)
            if exhaustive:
                anti = self._spread[path] / self._count
                result[path] = (power.cpu(), anti.cpu())
            else:
                anti = self._spread[path] / max(1, self._count - 1)
                result[path] = ((power - anti / self._count).cpu(), anti.cpu())
        return result
