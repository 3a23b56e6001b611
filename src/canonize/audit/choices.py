"""What the caller's own functions make of the outputs: decisions and the task's metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from canonize._tree import describe, to_tensors
from canonize.actions import Scalar
from canonize.errors import refuse


def decision_of(decision: Callable[[Any], Any] | None, spec: Any, output: Any, count: int) -> Tensor | None:
    """The decision for each sample, (count, ...) on the CPU; None where there is none.

    Raises:
        SymmetryError: a decision of the caller's that is no tensor with the batch first.
    """
    if decision is not None:
        chosen = to_tensors(decision(output))[0]
        if not isinstance(chosen, Tensor) or chosen.ndim == 0 or len(chosen) != count:
            raise refuse(
                "the decision must give one answer for each sample",
                got=describe(chosen),
                expected=f"a tensor with first axis {count}",
                fix="return whole numbers, batch first, for example outputs.argmax(1)",
            )
        return chosen.detach().cpu()
    logits = isinstance(output, Tensor) and output.ndim == 2 and output.is_floating_point() and output.shape[1] > 1
    if not isinstance(spec, Scalar) or not logits:
        return None
    best: Tensor = output.argmax(-1).cpu()
    return best


def per_sample_metric(metric: Callable[[Any, Tensor], Any], output: Any, targets: Tensor) -> Tensor:
    """The metric of each sample, (count,) float64 on the CPU.

    Raises:
        SymmetryError: anything but one number for each sample.
    """
    value = to_tensors(metric(output, targets))[0]
    if not isinstance(value, Tensor) or value.shape != (len(targets),):
        raise refuse(
            "the metric must give one number for each sample",
            got=describe(value),
            expected=f"a tensor of shape ({len(targets)},)",
            fix="return the unreduced values, for example (outputs.argmax(1) == targets).float()",
        )
    return value.detach().double().cpu()
