"""`audit`: how far a model is from a claim, and what that costs the task."""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from canonize._tree import describe, to_tensors
from canonize._version import __version__
from canonize.actions.trees import batch_of, take
from canonize.audit.cost import cost_of
from canonize.audit.pictures import gallery, worst_cases
from canonize.audit.preflight import check_inputs, check_model
from canonize.audit.result import Audit, Cost, ElementRow, Metric
from canonize.audit.rows import rows_of
from canonize.audit.stats import certificate, quantiles, split_of
from canonize.audit.sweep import Found, Plan, adapted, sweep
from canonize.audit.verdict import decide
from canonize.errors import refuse, within
from canonize.frames.base import over_batch
from canonize.groups import order
from canonize.symmetrize import Symmetrized
from canonize.symmetry import Symmetry, arguments, call

EXHAUSTIVE = 64
"""Finite groups of up to this many elements are audited at every element."""


def audit(
    model: Any,
    symmetry: Symmetry,
    inputs: Any,
    *,
    targets: Tensor | None = None,
    metric: Callable[[Any, Tensor], Tensor] | None = None,
    higher_is_better: bool = True,
    decision: Callable[[Any], Tensor] | None = None,
    elements: int = 32,
    tolerance: float | None = None,
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

    Args:
        model: any callable, in eval mode; a `Symmetrized` module is audited like any other.
        symmetry: the claim.
        inputs: what the model takes, with a batch of all the inputs: a tensor or an array, a tuple of arguments, a dict.
        targets: (samples, ...) what `metric` compares with.
        metric: `(outputs, targets) -> (batch,)`, one number a sample, on outputs that have been turned back;
            `accuracy` is one.
        higher_is_better: the metric's direction.
        decision: `outputs -> (batch, ...)`, whole numbers that ought not to change; the argmax of logits where outputs are
            one `Scalar()` of shape (batch, classes).
        elements: random elements for each input of a large or infinite group.
        tolerance: the largest relative error that passes; eps^(2/3) of the lowest precision in play where None.
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
        SymmetryError: a model in train mode, inputs that do not fit the claim, hold NaN or lie on another device, outputs
            that change their shape, a metric that does not give one number a sample, bad settings.

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
        check_inputs(value, count)
        _check_settings(
            {
                "elements": (elements, isinstance(elements, int) and elements >= 2, "a whole number, at least 2"),
                "confidence": (confidence, 0 < confidence < 1, "a number between 0 and 1"),
                "at_most": (at_most, 0 < at_most <= 1, "a share above 0, at most 1"),
                "batch_size": (batch_size, isinstance(batch_size, int) and batch_size >= 1, "at least 1"),
                "tolerance": (tolerance, tolerance is None or tolerance >= 0, "a number from 0, or None"),
            },
            targets,
            metric,
            count,
        )
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        group_order = order(symmetry.group)
        exhaustive = group_order is not None and group_order <= max(EXHAUSTIVE, elements)
        if exhaustive:
            table = over_batch(symmetry.group.elements(dtype=dtype, device=device), count)
        else:
            table = symmetry.group.sample((elements, count), generator=generator, dtype=dtype, device=device)
        m = group_order if exhaustive and group_order is not None else elements
        plan = Plan(
            model, symmetry, value, arrays, table, (m, count), batch_size, targets, metric, decision, exhaustive
        )
        with nullcontext() if gradients else torch.no_grad():
            found = sweep(plan, progress)
            tolerance = found.tolerance if tolerance is None else tolerance
            errors = found.errors
            certain = certificate(errors, tolerance, confidence, generator)
            verdict, reason = decide(errors, found.floors, found.lossless, tolerance, certain, found.noise, at_most)
            split = split_of(*found.energies, generator) if found.energies is not None else None
            rows = rows_of(table, found, exhaustive=exhaustive)
            first = take(symmetry.inputs, value, torch.arange(min(batch_size, count)))
            frame = type(model.frame).__name__ if isinstance(model, Symmetrized) else None
            return Audit(
                name=name or _name(model),
                symmetry=f"{symmetry.group!r}, inputs {symmetry.inputs!r}, outputs {symmetry.outputs!r}",
                frame=frame,
                verdict=verdict,
                reason=reason,
                tolerance=tolerance,
                samples=count,
                elements=m,
                exhaustive=exhaustive,
                error=quantiles(errors),
                floor=None if found.floors is None else quantiles(found.floors),
                by_output={path: float(part) for path, part in found.by_output.items()},
                noise=found.noise,
                rows=rows,
                split=split,
                certificate=certain,
                metric=_metric(metric, found, rows, higher_is_better=higher_is_better),
                agreement=None if found.agreement is None else float(found.agreement.double().mean()),
                cost=_cost(plan, first, device) if cost else None,
                worst=worst_cases(adapted(plan), symmetry, value, table, errors, batch_size, 6),
                gallery=gallery(model, symmetry, value, table, (m, count), 8),
                versions={
                    "canonize": __version__,
                    "torch": str(torch.__version__),
                    "python": platform.python_version(),
                    "machine": f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads, {device.type}",
                },
                errors=errors,
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


def _metric(metric: Any, found: Found, rows: tuple[ElementRow, ...], *, higher_is_better: bool) -> Metric | None:
    if metric is None or found.metric is None or found.upright is None:
        return None
    known = [row for row in rows if row.metric is not None]
    pick = min if higher_is_better else max
    worst = pick(known, key=lambda row: row.metric if row.metric is not None else 0.0)
    cases = found.metric.amin(0) if higher_is_better else found.metric.amax(0)
    return Metric(
        name=str(getattr(metric, "__name__", type(metric).__name__)),
        higher_is_better=higher_is_better,
        upright=float(found.upright.mean()),
        mean=float(found.metric.mean()),
        worst_element=float(worst.metric if worst.metric is not None else 0.0),
        worst_label=worst.label,
        worst_case=float(cases.mean()),
    )


def _cost(plan: Plan, value: Any, device: torch.device) -> Cost:
    inner = plan.model.model if isinstance(plan.model, Symmetrized) else None
    batch = min(plan.batch_size, plan.shape[1])
    behind = None if inner is None else replace(plan, model=inner)
    return cost_of(
        lambda: call(adapted(plan), plan.symmetry, value),
        plan.model,
        None if behind is None else (lambda: call(adapted(behind), plan.symmetry, value)),
        batch,
        device,
    )


def _name(model: Any) -> str:
    inner = model.model if isinstance(model, Symmetrized) else model
    name = str(getattr(inner, "__name__", type(inner).__name__))
    return f"{name} behind {type(model.frame).__name__}" if isinstance(model, Symmetrized) else name


def _check_settings(
    numbers: dict[str, Any],
    targets: Tensor | None,
    metric: Any,
    count: int,
) -> None:
    for name, (value, fits, expected) in numbers.items():
        if not fits:
            raise refuse(f"audit: bad {name}", got=repr(value), expected=expected, fix=f"leave {name} at its default")
    if (targets is None) != (metric is None):
        raise refuse(
            "audit: targets and metric go together",
            got="targets without a metric" if metric is None else "a metric without targets",
            expected="both or neither",
            fix="audit(..., targets=labels, metric=accuracy)",
        )
    if targets is not None and (not isinstance(targets, Tensor) or targets.ndim == 0 or len(targets) != count):
        raise refuse(
            "audit: the targets do not fit the inputs",
            got=describe(targets),
            expected=f"a tensor with one target for each of {count} samples",
            fix="targets=torch.as_tensor(labels), in the order of the inputs",
        )
