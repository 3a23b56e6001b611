"""`audit`: how far a model is from a claim, and what that costs the task."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from canonize._tree import describe, to_tensors
from canonize.actions.single import sure_of_batches, warn_of_single
from canonize.actions.trees import batch_of
from canonize.audit.conclude import WORST, conclude
from canonize.audit.forgotten import few_of
from canonize.audit.pictures import worst_cases
from canonize.audit.preflight import check_inputs, check_model
from canonize.audit.result import Audit
from canonize.audit.rows import ranges_of, rows_of
from canonize.audit.settings import check_settings, check_task
from canonize.audit.sweep import Plan, sweep
from canonize.errors import refuse, within
from canonize.frames.base import over_batch
from canonize.groups import order
from canonize.symmetry import Symmetry, arguments, group_for

EXHAUSTIVE = 64
"""Finite groups of up to this many elements are audited at every element."""


def audit(
    model: Any,
    symmetry: Symmetry,
    inputs: Any,
    *,
    targets: Any = None,
    metric: Callable[[Any, Tensor], Tensor] | None = None,
    higher_is_better: bool = True,
    decision: Callable[[Any], Tensor] | None = None,
    elements: int = 32,
    tolerance: float | None = None,
    scale: float | None = None,
    confidence: float = 0.99,
    at_most: float = 0.2,
    batch_size: int = 64,
    cost: bool = True,
    gradients: bool = False,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
    name: str | None = None,
) -> Audit:
    """How far a model is from a claim on real inputs, and what that costs.

    Every element of a finite group of up to 64 is tried on every input; otherwise `elements` random ones for each input.
    The samples of a batch meet different elements in one call, so that a model which looks at a sample's neighbours is found
    out. Where the claim fails, fields that were declared to stand still are tried as vectors, and what mends it is told.

    Args:
        model: any callable, in eval mode; a `Symmetrized` module is audited like any other.
        symmetry: the claim.
        inputs: what the model takes, with a batch of all the inputs: a tensor or an array, a tuple of arguments, a dict.
        targets: (samples, ...) what `metric` compares with; a tensor, an array or a list.
        metric: `(outputs, targets) -> (batch,)`, one number a sample, on outputs that have been turned back;
            `accuracy` is one.
        higher_is_better: the metric's direction.
        decision: `outputs -> (batch, ...)`, whole numbers that ought not to change; the argmax of logits where outputs are
            one `Scalar()` of shape (batch, classes).
        elements: random elements for each input of a large or infinite group.
        tolerance: the largest relative error that passes; eps^(2/3) of the lowest precision in play where None.
        scale: the size below which an answer counts as zero, in the unit of the outputs: errors are taken relative to it
            there. Where None, 1 % of the median answer over inputs and elements, or over the inner model's answers for the
            inputs as they came where the model is a `Symmetrized` one and these are larger. Whole numbers have none.
        confidence: of the certificate, in (0, 1).
        at_most: a pass needs a certificate that at most this share of pairs exceeds the tolerance.
        batch_size: inputs in one call of the model.
        cost: whether to time the model and measure its memory.
        gradients: keep autograd on, for models that differentiate inside (forces).
        generator: source of every draw, on the CPU; seeded with 0 where None, so that audits repeat.
        progress: called with (done, total) forward passes.
        name: what to call the model in reports.

    Returns:
        The findings; see `Audit`.

    Raises:
        SymmetryError: a model in train mode or one that raises, inputs that do not fit the claim, hold NaN or nothing at all or
            lie on another device, outputs that change their shape or have not the batch first, a metric or a decision that does
            not give one answer a sample, bad settings.

    Example:
        >>> import torch
        >>> from canonize import C, Image, Scalar, Symmetry, audit, symmetrize
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
        >>> claim = Symmetry(C(4), inputs=Image(), outputs=Scalar())
        >>> images = torch.rand(32, 1, 4, 4)
        >>> audit(model, claim, images, cost=False).verdict
        'fail'
        >>> audit(symmetrize(model, claim), claim, images, cost=False).verdict
        'pass'

    Source: the split into symmetric and antisymmetric energy, Elesedy and Zaidi, arXiv 2102.10333.
    """
    with within("audit(...)"):
        value, arrays = to_tensors(arguments(symmetry, inputs))
        count, dtype, device = batch_of(symmetry.inputs, value)
        check_model(model, value)
        check_inputs(symmetry.inputs, value, count)
        warn_of_single(symmetry.group, symmetry.inputs, value)
        check_settings(
            elements=elements,
            batch_size=batch_size,
            confidence=confidence,
            at_most=at_most,
            tolerance=tolerance,
            scale=scale,
            generator=generator,
        )
        elements, batch_size, confidence, at_most = int(elements), int(batch_size), float(confidence), float(at_most)
        tolerance = None if tolerance is None else float(tolerance)
        targets = check_task(targets, metric, decision, count)
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        group = group_for(symmetry, value)
        group_order = order(group)
        exhaustive = group_order is not None and group_order <= max(EXHAUSTIVE, elements)
        if exhaustive:
            table = over_batch(group.elements(dtype=dtype, device=device), count)
        else:
            table = group.sample((elements, count), generator=generator, dtype=dtype, device=device)
        m = group_order if exhaustive and group_order is not None else elements
        plan = Plan(
            model, symmetry, value, arrays, table, (m, count), batch_size, targets, metric, decision, exhaustive, scale
        )
        with nullcontext() if gradients else torch.no_grad(), sure_of_batches():
            found = sweep(plan, progress)
            return conclude(
                found,
                rows_of(table, found, exhaustive=exhaustive, ranges=None if exhaustive else ranges_of(table)),
                plan,
                worst=lambda: worst_cases(plan, found.errors, WORST),
                few=lambda: few_of(plan, found.errors),
                tolerance=tolerance,
                confidence=confidence,
                at_most=at_most,
                higher_is_better=higher_is_better,
                cost=cost,
                generator=generator,
                name=name,
            )


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """1.0 where the largest logit is at the target, else 0.0.

    Args:
        outputs: (batch, classes), logits or probabilities. NaN counts as wrong.
        targets: (batch,), int64 class numbers.

    Returns:
        (batch,) float64.

    Raises:
        SymmetryError: outputs that are no logits, or targets that are no class numbers.
    """
    fits = isinstance(outputs, Tensor) and outputs.ndim == 2 and targets.shape == outputs.shape[:1]
    if not fits or targets.is_floating_point():
        raise refuse(
            "accuracy needs logits and class numbers",
            got=f"outputs {describe(outputs)}, targets {describe(targets)}",
            expected="outputs (batch, classes) and whole-number targets (batch,)",
            fix="write a metric of your own, (outputs, targets) -> (batch,); on the command line, --no-targets leaves it out",
        )
    right = outputs.argmax(-1) == targets.to(outputs.device)
    return (right & ~outputs.isnan().any(-1)).double()
