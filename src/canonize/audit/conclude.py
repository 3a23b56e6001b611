"""From what was measured to the findings: verdict, split, rows, certificate, and what people look at first."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from canonize._tree import tensors
from canonize._version import __version__
from canonize.actions.trees import take
from canonize.audit.cost import cost_of
from canonize.audit.forgotten import forgotten
from canonize.audit.pictures import gallery
from canonize.audit.raw import Found
from canonize.audit.result import Audit, Cost, ElementRow, Metric, WorstCase
from canonize.audit.stats import certificate, quantiles, split_of
from canonize.audit.sweep import Plan, adapted, owned
from canonize.audit.verdict import decide
from canonize.symmetrize import Symmetrized
from canonize.symmetry import call

WORST, SHOWN = 6, 8
"""Worst cases, and pictures of the gallery."""


def conclude(
    found: Found,
    rows: tuple[ElementRow, ...],
    plan: Plan,
    *,
    worst: Callable[[], tuple[WorstCase, ...]],
    few: Callable[[], Plan],
    tolerance: float | None,
    confidence: float,
    at_most: float,
    higher_is_better: bool,
    cost: bool,
    generator: torch.Generator,
    name: str | None,
) -> Audit:
    """The findings.

    Args:
        found: the numbers of all samples.
        rows: these by element.
        plan: of all samples, or of the first ones: at least a batch and `SHOWN`, as far as there are as many.
        worst: gives the worst cases.
        few: gives the plan in which `forgotten` tries other declarations.
        tolerance, confidence, at_most, higher_is_better, cost, generator, name: see `audit`.
    """
    model, symmetry = plan.model, plan.symmetry
    tolerance = found.tolerance if tolerance is None else tolerance
    elements, count = found.errors.shape
    device = tensors(plan.table)[0].device
    certain = certificate(found.errors, tolerance, confidence, generator)
    verdict, reason = decide(
        found.errors, found.floors, found.lossless, tolerance, certain, found.noise, at_most, moved=found.moved
    )
    split = split_of(*found.energies[:2], generator, unit=found.energies[2]) if found.energies else None
    first = take(symmetry.inputs, plan.value, torch.arange(min(plan.batch_size, plan.shape[1])))
    return Audit(
        name=name or name_of(model),
        symmetry=f"{symmetry.group!r}, inputs {symmetry.inputs!r}, outputs {symmetry.outputs!r}",
        frame=type(model.frame).__name__ if isinstance(model, Symmetrized) else None,
        verdict=verdict,
        reason=reason,
        tolerance=tolerance,
        samples=count,
        elements=elements,
        exhaustive=plan.exhaustive,
        error=quantiles(found.errors),
        floor=None if found.floors is None else quantiles(found.floors),
        by_output={path: float(part) for path, part in found.by_output.items()},
        noise=found.noise,
        rows=rows,
        split=split,
        certificate=certain,
        metric=_metric(plan.metric, found, rows, higher_is_better=higher_is_better),
        agreement=None if found.agreement is None else float(found.agreement.double().mean()),
        cost=_cost(plan, first, device) if cost else None,
        worst=worst(),
        gallery=gallery(plan, SHOWN),
        versions={
            "canonize": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads, {device.type}",
        },
        errors=found.errors,
        # Last, since it calls the model again: the other results are what they would be without it.
        forgotten=forgotten(few, tolerance) if verdict == "fail" else None,
    )


def _metric(metric: Any, found: Found, rows: tuple[ElementRow, ...], *, higher_is_better: bool) -> Metric | None:
    if metric is None or found.metric is None or found.upright is None:
        return None
    known = [row for row in rows if row.metric is not None]
    sign = 1.0 if higher_is_better else -1.0

    def goodness(row: ElementRow) -> float:
        # NaN compares as neither better nor worse; it is the worst.
        return -math.inf if row.metric is None or math.isnan(row.metric) else sign * row.metric

    worst = min(known, key=goodness)
    # These propagate NaN, so that an input with one has no worst value.
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
    batch = min(plan.batch_size, plan.shape[1])
    value = owned(plan, value)

    def run(model: Any) -> Any:
        return call(adapted(replace(plan, model=model)), plan.symmetry, value)

    inner = plan.model.model if isinstance(plan.model, Symmetrized) else None
    return cost_of(run, plan.model, None if inner is None else (lambda: run(inner)), batch, device)


def name_of(model: Any) -> str:
    """What a model is called where nobody has named it: its class or function, and the frame that it stands behind."""
    inner = model.model if isinstance(model, Symmetrized) else model
    name = str(getattr(inner, "__name__", type(inner).__name__))
    return f"{name} behind {type(model.frame).__name__}" if isinstance(model, Symmetrized) else name
