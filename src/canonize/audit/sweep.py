"""The measurement itself: every element on every input, in batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from canonize._tree import describe, tensors, to_arrays, to_tensors
from canonize.actions import Scalar
from canonize.actions.trees import at, lossless_tree, move, row_index, take
from canonize.audit.measure import Energies, compare
from canonize.audit.preflight import explain
from canonize.errors import SymmetryError, refuse, within
from canonize.symmetry import Symmetry, call


@dataclass(frozen=True)
class Plan:
    """What is measured: `table` holds the elements, (elements, samples, *element), and `shape` is (elements, samples)."""

    model: Any
    symmetry: Symmetry
    value: Any
    arrays: bool
    table: Any
    shape: tuple[int, int]
    batch_size: int
    targets: Tensor | None
    metric: Callable[[Any, Tensor], Tensor] | None
    decision: Callable[[Any], Tensor] | None
    exhaustive: bool


@dataclass
class Found:
    """What was measured, (elements, samples) each unless said otherwise."""

    errors: Tensor
    lossless: Tensor
    floors: Tensor | None
    metric: Tensor | None
    agreement: Tensor | None
    upright: Tensor | None
    by_output: dict[str, float]
    energies: tuple[Tensor, Tensor] | None
    noise: float
    tolerance: float


def adapted(plan: Plan) -> Callable[..., Any]:
    """The model on tensors: NumPy models are handed arrays, and what they return becomes tensors."""
    if not plan.arrays:
        model: Callable[..., Any] = plan.model
        return model

    def through_arrays(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = to_arrays(args), to_arrays(kwargs)
        return to_tensors(plan.model(*args, **kwargs))[0]

    return through_arrays


def _run(plan: Plan, value: Any, where: str) -> Any:
    try:
        output = call(adapted(plan), plan.symmetry, value)
    except SymmetryError:
        raise
    except (RuntimeError, TypeError, ValueError, IndexError, KeyError) as error:
        raise explain(error, value, where) from error
    return to_tensors(output)[0]


def sweep(plan: Plan, progress: Callable[[int, int], None] | None) -> Found:
    """Every element on every input: the outputs are turned back and compared with those of the inputs as they came."""
    (m, n), symmetry = plan.shape, plan.symmetry
    errors = torch.zeros(m, n, dtype=torch.float64)
    floors, lossless = torch.zeros(m, n, dtype=torch.float64), torch.ones(m, n, dtype=torch.bool)
    metrics, agreement = torch.zeros(m, n, dtype=torch.float64), torch.ones(m, n, dtype=torch.bool)
    upright = torch.zeros(n, dtype=torch.float64)
    by_output: dict[str, float] = {}
    energies: dict[str, list[tuple[Tensor, Tensor]]] = {}
    noise, tolerance, decides, resampled = 0.0, 0.0, True, False
    total, done = (m + 1) * -(-n // plan.batch_size), 0
    for start in range(0, n, plan.batch_size):
        members = torch.arange(start, min(start + plan.batch_size, n))
        b = len(members)
        some = take(symmetry.inputs, plan.value, members)
        index = row_index(symmetry.inputs, some)
        base = _run(plan, some, "the inputs as they came")
        if start == 0:
            again = _run(plan, some, "the inputs, a second time")
            noise = max(float(part.max()) for part in compare(symmetry.outputs, base, again, index, b).values())
            tolerance = _default_tolerance(some, base)
        choice = _decision(plan, base)
        decides = decides and choice is not None
        if plan.metric is not None and plan.targets is not None:
            upright[members] = _per_sample_metric(plan.metric, base, plan.targets[members])
        running = Energies()
        done += 1
        for e in range(m):
            g = at(at(plan.table, e), members.to(tensors(plan.table)[0].device))
            back = symmetry.group.inverse(g)
            turned = _run(plan, move(symmetry.inputs, g, some), "the moved inputs")
            with within("the model's output, declared as outputs={!r}", symmetry.outputs):
                answer = move(symmetry.outputs, back, turned, index=index)
            for path, part in compare(symmetry.outputs, base, answer, index, b).items():
                errors[e, members] = torch.maximum(errors[e, members], part)
                by_output[path] = max(by_output.get(path, 0.0), float(part.max()))
            running.add(symmetry.outputs, answer, index, b)
            exact = lossless_tree(symmetry.inputs, g, some) & lossless_tree(symmetry.outputs, g, base, index=index)
            lossless[e, members] = exact.cpu()
            if not bool(exact.all()):
                resampled = True
                around = move(symmetry.inputs, back, move(symmetry.inputs, g, some))
                trip = _run(plan, around, "the inputs after a round trip")
                trip = move(symmetry.outputs, back, move(symmetry.outputs, g, trip, index=index), index=index)
                worst = torch.stack(list(compare(symmetry.outputs, base, trip, index, b).values())).amax(0)
                floors[e, members] = torch.where(exact.cpu(), 0.0, worst)
            if plan.metric is not None and plan.targets is not None:
                metrics[e, members] = _per_sample_metric(plan.metric, answer, plan.targets[members])
            if choice is not None:
                same = torch.eq(choice, torch.as_tensor(_decision(plan, answer)))
                agreement[e, members] = same.reshape(b, -1).all(1).cpu()
            done += 1
            if progress is not None:
                progress(done, total)
        for path, pair in running.split(exhaustive=plan.exhaustive).items():
            energies.setdefault(path, []).append(pair)
    return Found(
        errors=errors,
        lossless=lossless,
        floors=floors if resampled else None,
        metric=metrics if plan.metric is not None else None,
        agreement=agreement if decides else None,
        upright=upright if plan.metric is not None else None,
        by_output=by_output,
        energies=_joined(energies),
        noise=noise,
        tolerance=tolerance,
    )


def _joined(energies: dict[str, list[tuple[Tensor, Tensor]]]) -> tuple[Tensor, Tensor] | None:
    """Symmetric and antisymmetric energy of each sample; several outputs count alike, each in units of its mean energy."""
    if not energies:
        return None
    joined = []
    for pairs in energies.values():
        symmetric, antisymmetric = torch.cat([s for s, _ in pairs]), torch.cat([a for _, a in pairs])
        unit = float((symmetric + antisymmetric).mean()) if len(energies) > 1 else 1.0
        joined.append((symmetric / (unit or 1.0), antisymmetric / (unit or 1.0)))
    return torch.stack([s for s, _ in joined]).sum(0), torch.stack([a for _, a in joined]).sum(0)


def _default_tolerance(inputs: Any, outputs: Any) -> float:
    kinds = [
        part.dtype for part in [*tensors(inputs), *tensors(outputs)] if part.is_floating_point() or part.is_complex()
    ]
    coarsest = max((torch.finfo(kind).eps for kind in kinds), default=torch.finfo(torch.float32).eps)
    return float(coarsest ** (2 / 3))


def _decision(plan: Plan, output: Any) -> Tensor | None:
    """The decision for each sample, on the CPU; None where there is none."""
    if plan.decision is not None:
        chosen: Tensor = plan.decision(output).cpu()
        return chosen
    logits = isinstance(output, Tensor) and output.ndim == 2 and output.is_floating_point() and output.shape[1] > 1
    if not isinstance(plan.symmetry.outputs, Scalar) or not logits:
        return None
    best: Tensor = output.argmax(-1).cpu()
    return best


def _per_sample_metric(metric: Callable[[Any, Tensor], Tensor], output: Any, targets: Tensor) -> Tensor:
    value = metric(output, targets)
    if not isinstance(value, Tensor) or value.shape != (len(targets),):
        raise refuse(
            "the metric must give one number for each sample",
            got=describe(value),
            expected=f"a tensor of shape ({len(targets)},)",
            fix="return the unreduced values, for example (outputs.argmax(1) == targets).float()",
        )
    return value.detach().double().cpu()
