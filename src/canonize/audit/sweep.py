"""The measurement itself: every element on every input, in batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from canonize._own import own_unnamed
from canonize._tree import map_tensors, tensors, to_arrays, to_tensors, walk
from canonize.actions.rows import Layout, layout
from canonize.actions.single import sure_of_batches
from canonize.actions.trees import at, lossless_tree, move, take
from canonize.audit.choices import decision_of, per_sample_metric
from canonize.audit.energies import Energies, Parts
from canonize.audit.hints import failure
from canonize.audit.measure import Apart, compare, differ, round_trip
from canonize.audit.preflight import check_outputs
from canonize.audit.raw import Differences, Found, Raw, found_of
from canonize.errors import SymmetryError, within
from canonize.symmetrize import Symmetrized
from canonize.symmetry import Symmetry, call


@dataclass(frozen=True)
class Plan:
    """What is measured: `table` holds the elements, (elements, samples, *element), and `shape` is (elements, samples).

    `first` is the place of the first sample where these are some of many: what a sample meets depends on its own place.
    """

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
    scale: float | None
    first: int = 0

    def numbers(self, turn: int, members: Tensor) -> Tensor:
        """Which element each sample meets in one round, (count,), and by that which row of the results it fills.

        Neighbours meet different elements, so that a model which looks at the rest of the batch does not see all of it
        turned alike.
        """
        return (turn + self.first + members) % self.shape[0] if self.exhaustive else torch.full_like(members, turn)

    def turn(self, number: int, sample: int) -> int:
        """The round in which a sample meets an element: the inverse of `numbers`."""
        return (number - self.first - sample) % self.shape[0] if self.exhaustive else number

    def elements(self, numbers: Tensor, members: Tensor) -> Any:
        """These elements, (count, *element)."""
        device = tensors(self.table)[0].device
        return at(self.table, (numbers.to(device), members.to(device)))


def adapted(plan: Plan) -> Callable[..., Any]:
    """The model on tensors: NumPy models are handed arrays, and what they return becomes tensors."""
    if not plan.arrays:
        model: Callable[..., Any] = plan.model
        return model

    def through_arrays(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = to_arrays(args), to_arrays(kwargs)
        return to_tensors(plan.model(*args, **kwargs))[0]

    return through_arrays


def owned(plan: Plan, value: Any) -> Any:
    """A copy for the model alone, which may change what it is given."""
    spec = plan.symmetry.inputs
    return own_unnamed(spec, walk(lambda _, part, *, path: map_tensors(torch.clone, part), spec, value))


def run(plan: Plan, value: Any, where: str) -> Any:
    """The model's answer, with arrays as tensors.

    Raises:
        SymmetryError: whatever the model raises, explained.
    """
    try:
        with sure_of_batches():
            output = call(adapted(plan), plan.symmetry, owned(plan, value))
    except SymmetryError:
        raise
    except Exception as error:
        raise failure(error, value, where, model=plan.model, spec=plan.symmetry.inputs) from error
    return to_tensors(output)[0]


def inner_plan(plan: Plan) -> Plan | None:
    """The plan for the model behind all frames; None where there is no frame."""
    model = plan.model
    while isinstance(model, Symmetrized):
        model = model.model
    return None if model is plan.model else replace(plan, model=model)


def sweep(plan: Plan, progress: Callable[[int, int], None] | None) -> Found:
    """Every element on every input: the outputs are turned back and compared with those of the inputs as they came."""
    return found_of([measured(plan, progress)], plan.scale)


def measured(plan: Plan, progress: Callable[[int, int], None] | None) -> Raw:
    """The numbers behind `Found`, which those of other samples can be put beside."""
    (m, n), symmetry = plan.shape, plan.symmetry
    spec, behind, ask = symmetry.outputs, inner_plan(plan), round_trip(symmetry.group)
    answers, trips = Differences((m, n)), Differences((m, n))
    lossless, agreement = torch.ones(m, n, dtype=torch.bool), torch.ones(m, n, dtype=torch.bool)
    metrics, upright = torch.zeros(m, n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    energies: dict[str, list[Parts]] = {}
    inner: dict[str, list[Tensor]] = {}
    twice: dict[str, Apart] = {}
    tolerance, decides, moved = 0.0, True, False
    total, done = (m + 1) * -(-n // plan.batch_size), 0
    for start in range(0, n, plan.batch_size):
        members = torch.arange(start, min(start + plan.batch_size, n))
        b = len(members)
        some = take(symmetry.inputs, plan.value, members)
        index = layout(symmetry.inputs, some)
        base = run(plan, some, "the inputs as they came")
        check_outputs(spec, base, index, b)
        if start == 0:
            twice = compare(spec, base, run(plan, some, "the inputs, a second time"), index, b)
            tolerance = _default_tolerance(some, base)
        for path, size in _sizes(behind, some, index, b).items():
            inner.setdefault(path, []).append(size)
        choice = decision_of(plan.decision, spec, base, b)
        decides = decides and choice is not None
        if plan.metric is not None and plan.targets is not None:
            upright[members] = per_sample_metric(plan.metric, base, plan.targets[members])
        running = Energies()
        done += 1
        for turn in range(m):
            e = plan.numbers(turn, members)
            g = plan.elements(e, members)
            back = symmetry.group.inverse(g)
            shown = move(symmetry.inputs, g, some)
            moved = moved or differ(symmetry.inputs, some, shown, index, b)
            turned = run(plan, shown, "the moved inputs")
            with within("the model's output, declared as outputs={!r}", spec):
                answer = move(spec, back, turned, index=index)
            answers.put(e, members, compare(spec, base, answer, index, b))
            running.add(spec, answer, index, b)
            exact = lossless_tree(symmetry.inputs, g, some, ask=ask) & lossless_tree(spec, g, base, index=index)
            exact = exact.cpu()
            lossless[e, members] = exact
            if not bool(exact.all()):
                trip = run(plan, move(symmetry.inputs, back, shown), "the inputs after a round trip")
                trip = move(spec, back, move(spec, g, trip, index=index), index=index)
                trips.put(e, members, compare(spec, base, trip, index, b), ~exact)
            if plan.metric is not None and plan.targets is not None:
                metrics[e, members] = per_sample_metric(plan.metric, answer, plan.targets[members])
            if choice is not None:
                agreement[e, members] = _agree(choice, decision_of(plan.decision, spec, answer, b))
            done += 1
            if progress is not None:
                progress(done, total)
        for path, parts in running.split(exhaustive=plan.exhaustive).items():
            energies.setdefault(path, []).append(parts)
    scored = plan.metric is not None and plan.targets is not None
    return Raw(
        answers=answers.tables(),
        trips=trips.tables(),
        lossless=lossless,
        agreement=agreement if decides else None,
        metric=metrics if scored else None,
        upright=upright if scored else None,
        energies=energies,
        inner=inner,
        twice=twice,
        tolerance=tolerance,
        moved=moved,
        averages=plan.exhaustive or bool(getattr(symmetry.group, "haar", False)),
    )


def _sizes(behind: Plan | None, value: Any, index: Layout | None, count: int) -> dict[str, Tensor]:
    """The sizes of the inner model's answers, by output, (count,) each: what an average that vanishes is small beside."""
    if behind is None:
        return {}
    try:
        plain = run(behind, value, "the inputs as they came, without the frame")
        check_outputs(behind.symmetry.outputs, plain, index, count)
        return {path: one.size for path, one in compare(behind.symmetry.outputs, plain, plain, index, count).items()}
    except SymmetryError:
        # The frame may show the model only what it can take; then the answers' own sizes have to do.
        return {}


def _agree(choice: Tensor, other: Tensor | None) -> Tensor:
    """Whether all decisions of a sample are equal, (count,) bool."""
    if other is None or other.shape != choice.shape:
        return torch.zeros(len(choice), dtype=torch.bool)
    return (choice == other).flatten(1).all(1) if choice.ndim > 1 else choice == other


def _default_tolerance(inputs: Any, outputs: Any) -> float:
    kinds = [
        part.dtype for part in [*tensors(inputs), *tensors(outputs)] if part.is_floating_point() or part.is_complex()
    ]
    coarsest = max((torch.finfo(kind).eps for kind in kinds), default=torch.finfo(torch.float32).eps)
    return float(coarsest ** (2 / 3))
