"""The figure by which the best epoch is known: the audit's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from canonize._tree import describe, to_tensors
from canonize.audit import accuracy, audit
from canonize.errors import refuse
from canonize.symmetrize import Symmetrized
from canonize.symmetry import Symmetry, arguments, call


def figure_of(symmetrized: Symmetrized, validation: Any, metric: Any) -> Callable[[Symmetrized], float] | None:
    """`symmetrized -> the audit's mean of the metric` on held-out data; None without data.

    Raises:
        SymmetryError: no targets, and a model whose answers are no classes.
    """
    if validation is None:
        return None
    inputs, targets = _parts(symmetrized.symmetry, validation)
    if targets is None:
        targets = _own_answers(symmetrized, inputs)
    chosen = accuracy if metric is None else metric

    def figure(candidate: Symmetrized) -> float:
        found = audit(candidate, candidate.symmetry, inputs, targets=targets, metric=chosen, cost=False)
        assert found.metric is not None
        return found.metric.mean

    return figure


def _parts(symmetry: Symmetry, validation: Any) -> tuple[Any, Any]:
    pair = isinstance(validation, tuple) and len(validation) == 2
    if pair and (not isinstance(symmetry.inputs, tuple) or isinstance(validation[0], tuple)):
        return validation[0], validation[1]
    return validation, None


@torch.no_grad()
def _own_answers(symmetrized: Symmetrized, inputs: Any) -> Tensor:
    """The classes that the model itself gives to upright inputs."""
    value, _ = to_tensors(arguments(symmetrized.symmetry, inputs))
    model = symmetrized.model
    modes = [(part, part.training) for part in model.modules()] if isinstance(model, torch.nn.Module) else []
    if modes:
        model.eval()
    try:
        output, _ = to_tensors(call(model, symmetrized.symmetry, value))
    finally:
        for part, mode in modes:
            part.training = mode
    if not isinstance(output, Tensor) or output.ndim != 2:
        raise refuse(
            "adapt: the validation needs targets",
            got=f"inputs alone, and a model that returns {describe(output)}",
            expected="a pair (inputs, targets) and a metric, unless the model returns logits (batch, classes)",
            fix="validation=(images, masks), metric=my_metric",
        )
    return output.argmax(1)
