"""The figure by which the best epoch is known: the audit's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from canonize._tree import describe, tensors, to_arrays, to_tensors
from canonize.actions import Scalar
from canonize.actions.trees import batch_of, take
from canonize.adapt.batches import on_device
from canonize.adapt.modes import in_eval
from canonize.audit import accuracy, audit
from canonize.errors import SymmetryError, refuse
from canonize.symmetrize import Symmetrized
from canonize.symmetry import Symmetry, arguments, call

_PIECE = 64  # inputs that the model answers in one call


def figure_of(
    symmetrized: Symmetrized, validation: Any, metric: Any, device: torch.device, *, trained: bool
) -> Callable[[Symmetrized], float] | None:
    """`symmetrized -> the audit's mean of the metric` on held-out data; None without data.

    Raises:
        SymmetryError: no targets, and answers of the model that cannot stand for them: it is trained itself, or has not one
            answer for each input.
    """
    if validation is None:
        return None
    inputs, targets = halves(symmetrized.symmetry, validation)
    inputs = on_device(inputs, device)
    if targets is None and trained:
        raise refuse(
            "adapt: the validation needs targets",
            got="inputs alone, and model=True",
            expected="a pair (inputs, targets): a model that is trained cannot be compared with its own answers",
            fix="validation=(images, labels)",
        )
    if targets is None:
        targets, own = own_answers(symmetrized.model, symmetrized.symmetry, inputs)
        metric = own if metric is None else metric
    chosen = accuracy if metric is None else metric

    def figure(candidate: Symmetrized) -> float:
        found = audit(candidate, candidate.symmetry, inputs, targets=targets, metric=chosen, cost=False)
        assert found.metric is not None
        return found.metric.mean

    return figure


def halves(symmetry: Symmetry, validation: Any) -> tuple[Any, Any]:
    """Inputs and targets of a validation; None for targets where it has none."""
    pair = isinstance(validation, tuple) and len(validation) == 2 and not hasattr(validation, "_fields")
    if pair and (not isinstance(symmetry.inputs, tuple) or isinstance(validation[0], tuple)):
        return validation[0], validation[1]
    return validation, None


@torch.no_grad()
def own_answers(model: Any, symmetry: Symmetry, inputs: Any) -> tuple[Tensor, Callable[[Any, Tensor], Tensor]]:
    """What a model itself says of upright inputs, as targets, and the metric for them.

    Classes and `accuracy` where it returns logits that are declared `Scalar()`; otherwise all numbers of its outputs side by
    side, (samples, numbers), and `closeness`. The model is called in eval mode and left in the mode in which it came.

    Raises:
        SymmetryError: outputs without one entry for each input, of which no targets can be made.
    """
    value, arrays = to_tensors(arguments(symmetry, inputs))
    count = batch_of(symmetry.inputs, value)[0]
    found: list[Tensor] = []
    classes = False
    with in_eval(model):
        for start in range(0, count, _PIECE):
            some = torch.arange(start, min(start + _PIECE, count))
            piece = take(symmetry.inputs, value, some)
            output, _ = to_tensors(call(model, symmetry, to_arrays(piece) if arrays else piece))
            classes = isinstance(symmetry.outputs, Scalar) and isinstance(output, Tensor) and _are_logits(output)
            found.append(output.argmax(1) if classes else _flat(output, len(some)))
    return torch.cat(found), accuracy if classes else closeness


def closeness(outputs: Any, targets: Tensor) -> Tensor:
    """1 - |outputs - targets| / (|outputs| + |targets|) for each sample, (batch,) float64, from 0 to 1; 1 where both are zero.

    Whole numbers: the share of entries that are equal.

    Args:
        outputs: tensors with the batch first, in any container.
        targets: (batch, numbers), all entries of such outputs side by side.

    Raises:
        SymmetryError: outputs without one entry for each sample.
    """
    answers = _flat(outputs, len(targets))
    targets = targets.to(answers.device)
    if not answers.is_floating_point():
        return (answers == targets).double().mean(1)
    answers, targets = answers.double(), targets.double()
    # Infinities, as masked logits have, are no distance where they are equal.
    gap = torch.where(answers == targets, 0.0, answers - targets).norm(dim=1)
    sizes = [torch.where(part.isinf(), 0.0, part).norm(dim=1) for part in (answers, targets)]
    total = sizes[0] + sizes[1]
    return torch.where(gap == 0, 1.0, (1 - gap / total).clamp(min=0))


def _are_logits(output: Tensor) -> bool:
    return output.ndim == 2 and output.is_floating_point() and output.shape[1] > 1


def _flat(output: Any, count: int) -> Tensor:
    parts = [torch.view_as_real(part) if part.is_complex() else part for part in tensors(output)]
    if not parts or any(part.ndim == 0 or len(part) != count for part in parts):
        raise _untold(output, count)
    return torch.cat([part.reshape(count, -1) for part in parts], 1)


def _untold(output: Any, count: int) -> SymmetryError:
    return refuse(
        "adapt: the validation needs targets",
        got=f"inputs alone, and a model that returns {describe(output)} for {count} of them",
        expected="a pair (inputs, targets) and a metric, unless all outputs have one entry for each input",
        fix="validation=(images, masks), metric=my_metric; or figure=, a function of the symmetrized model",
    )
