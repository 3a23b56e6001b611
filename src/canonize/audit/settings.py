"""The arguments of `audit` beside the model, the claim and the inputs."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from canonize._tree import describe, to_tensors
from canonize.errors import SymmetryError, refuse


def check_settings(
    *, elements: Any, batch_size: Any, confidence: Any, at_most: Any, tolerance: Any, scale: Any, generator: Any
) -> None:
    """Refuse settings of another type or out of range.

    Raises:
        SymmetryError: the first that does not fit.
    """
    tests = [
        ("elements", elements, _whole(elements, 2), "a whole number, at least 2"),
        ("batch_size", batch_size, _whole(batch_size, 1), "a whole number, at least 1"),
        ("confidence", confidence, _real(confidence) and 0 < confidence < 1, "a number between 0 and 1"),
        ("at_most", at_most, _real(at_most) and 0 < at_most <= 1, "a share above 0, at most 1"),
        (
            "tolerance",
            tolerance,
            tolerance is None or (_real(tolerance) and tolerance >= 0),
            "a number from 0, or None",
        ),
        (
            "scale",
            scale,
            scale is None or (_real(scale) and 0 < scale < math.inf),
            "a finite number above 0 in the unit of the outputs, or None",
        ),
        (
            "generator",
            generator,
            generator is None or (isinstance(generator, torch.Generator) and generator.device.type == "cpu"),
            "a torch.Generator on the CPU, or None",
        ),
    ]
    for name, value, fits, expected in tests:
        if not fits:
            raise refuse(f"audit: bad {name}", got=repr(value), expected=expected, fix=f"leave {name} at its default")


def check_task(targets: Any, metric: Any, decision: Any, count: int) -> Tensor | None:
    """The targets as a tensor, (samples, ...).

    Raises:
        SymmetryError: targets without a metric or the other way round, another number of them, functions that are none.
    """
    for name, function in (("metric", metric), ("decision", decision)):
        if function is not None and (not callable(function) or isinstance(function, type)):
            raise refuse(
                f"audit: bad {name}",
                got=f"the class {function.__name__}" if isinstance(function, type) else describe(function),
                expected="a function of the outputs" + (" and the targets" if name == "metric" else ""),
                fix="metric=accuracy, or a function (outputs, targets) -> (batch,)"
                if name == "metric"
                else "a function outputs -> (batch,), such as lambda outputs: outputs.argmax(1)",
            )
    if (targets is None) != (metric is None):
        raise refuse(
            "audit: targets and metric go together",
            got="targets without a metric" if metric is None else "a metric without targets",
            expected="both or neither",
            fix="audit(..., targets=labels, metric=accuracy)",
        )
    if targets is None:
        return None
    found = _tensor(targets)
    if found is None or found.ndim == 0 or len(found) != count:
        raise refuse(
            "audit: the targets do not fit the inputs",
            got=describe(targets if found is None else found),
            expected=f"a tensor with one target for each of {count} samples",
            fix="targets=torch.as_tensor(labels), in the order of the inputs",
        )
    return found


def _tensor(targets: Any) -> Tensor | None:
    """A tensor, an array or a list of numbers as a tensor; None for anything else."""
    if isinstance(targets, Tensor):
        return targets
    try:
        # Arrays first: torch shares memory only with some of them.
        return torch.as_tensor(to_tensors(targets)[0] if not isinstance(targets, list) else targets)
    except (SymmetryError, TypeError, ValueError, RuntimeError):
        return None


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def _real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
