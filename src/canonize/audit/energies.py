"""The running split of a model's answers into symmetric and antisymmetric energy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from canonize._tree import walk
from canonize.actions import Numbering
from canonize.actions.rows import Layout
from canonize.audit.measure import beside, per_sample, unit_of

Parts = tuple[Tensor, Tensor, Tensor]
"""Symmetric and antisymmetric energy in squares of a unit, and that unit: (count,) float64 each."""


class Energies:
    """Running mean and variance of y_g = g^-1 f(g x) over elements, for each real-valued output of one batch.

    Infinite entries, as masked logits have, are left out; NaN makes its sample's energies NaN.
    """

    def __init__(self) -> None:
        self._mean: dict[str, Tensor] = {}
        self._spread: dict[str, Tensor] = {}
        self._unit: dict[str, Tensor] = {}
        self._of: dict[str, tuple[Any, Layout | None, int]] = {}
        self._count = 0

    def add(self, spec: Any, output: Any, index: Layout | None, count: int) -> None:
        """Take in the outputs for one element, turned back."""
        self._count += 1

        def leaf(action: Any, part: Any, *, path: str) -> Any:
            if action is None or isinstance(action, Numbering) or not isinstance(part, Tensor):
                return part
            if part.is_floating_point() or part.is_complex():
                y = part.detach().to(torch.complex128 if part.is_complex() else torch.float64)
                y = torch.where(y.isinf(), 0, y)
                unit = unit_of(y.abs().nan_to_num(nan=0.0), action, index, count)
                before = self._unit.get(path, unit)
                # The unit grows with the largest answer so far: squares of 1e-300 and 1e300 stay finite.
                unit = torch.maximum(unit, before)
                each = beside(unit, y, action, index)
                mean = self._mean.get(path, torch.zeros_like(y))
                step = y - mean
                self._mean[path] = mean + step / self._count
                squares = ((step / each).conj() * ((y - self._mean[path]) / each)).real
                spread = per_sample(squares, action, index, count)
                known = self._spread.get(path, torch.zeros_like(spread)) * (before / unit).square()
                self._spread[path] = known + spread
                self._unit[path] = unit
                self._of[path] = (action, index, count)
            return part

        walk(leaf, spec, output)

    def split(self, *, exhaustive: bool) -> dict[str, Parts]:
        """The energies of each output.

        Over all elements of a group these are exact. Over independent random elements they are unbiased: the variance with
        one degree of freedom taken off is half the mean of |y_g - y_h|^2 over all pairs, and what it adds to the square of
        the mean is subtracted there.
        """
        result = {}
        for path, mean in self._mean.items():
            action, index, count = self._of[path]
            unit = self._unit[path]
            power = per_sample((mean / beside(unit, mean, action, index)).abs().square(), action, index, count)
            if exhaustive:
                anti = self._spread[path] / self._count
            else:
                anti = self._spread[path] / max(1, self._count - 1)
                power = power - anti / self._count
            result[path] = (power.cpu(), anti.cpu(), unit.cpu())
        return result


def joined(energies: dict[str, list[Parts]]) -> tuple[Tensor, Tensor, float] | None:
    """Symmetric and antisymmetric energy of each sample in squares of one unit, and that unit; None without any.

    Several outputs count alike, each in units of its mean energy; then the unit is 1.
    """
    if not energies:
        return None
    parts, unit = [], 1.0
    for batches in energies.values():
        symmetric, antisymmetric, units = (torch.cat(part) for part in zip(*batches, strict=True))
        unit = float(units.max())
        scale = (units / unit).square()
        parts.append((symmetric * scale, antisymmetric * scale))
    if len(parts) == 1:
        return (*parts[0], unit)
    means = [float((symmetric + antisymmetric).mean()) or 1.0 for symmetric, antisymmetric in parts]
    scaled = [(s / mean, a / mean) for (s, a), mean in zip(parts, means, strict=True)]
    return torch.stack([s for s, _ in scaled]).sum(0), torch.stack([a for _, a in scaled]).sum(0), 1.0
