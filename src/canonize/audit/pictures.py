"""What people look at first: inputs beside their canonical forms, and the worst cases."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from canonize._tree import walk
from canonize.actions import Each, Image, Numbering, Rows
from canonize.actions.rows import Layout, index_of, layout
from canonize.actions.trees import at, move, take
from canonize.audit.labels import label
from canonize.audit.result import Gallery, WorstCase
from canonize.audit.sweep import Plan, run
from canonize.symmetrize import Symmetrized
from canonize.symmetry import call


def picture(spec: Any, value: Any) -> Tensor | None:
    """The first input that is declared `Image()` and has the shape (batch, channels, height, width); None without one."""
    found: list[Tensor] = []

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if isinstance(action, Image) and isinstance(part, Tensor) and part.ndim == 4:
            found.append(part.detach().cpu())
        return part

    walk(leaf, spec, value)
    return found[0] if found else None


def gallery(plan: Plan, count: int) -> Gallery | None:
    """Up to `count` inputs, each also moved by another element, with what the model is shown for both; None without images."""
    model, symmetry, value = plan.model, plan.symmetry, plan.value
    if picture(symmetry.inputs, value) is None:
        return None
    m, n = plan.shape
    samples = torch.arange(min(count, n))
    # Spread over the elements, the first left out: in a finite group it is the identity, which shows nothing.
    step = max(1, (m - 1) // max(1, len(samples)))
    which = 1 + torch.arange(len(samples)) * step % (m - 1) if m > 1 else torch.zeros_like(samples)
    g = plan.elements(which, samples)
    some = take(symmetry.inputs, value, samples)
    turned = move(symmetry.inputs, g, some)
    canonical = canonical_turned = margins = None
    if isinstance(model, Symmetrized):
        poses = call(model.poses, symmetry, turned)
        if poses.count == 1:
            canonical = picture(symmetry.inputs, call(model.canonical, symmetry, some))
            canonical_turned = picture(symmetry.inputs, call(model.canonical, symmetry, turned))
            margins = None if poses.margin is None else poses.margin.detach().cpu()
    first, second = picture(symmetry.inputs, some), picture(symmetry.inputs, turned)
    assert first is not None
    assert second is not None
    labels = tuple(label(at(g, i), int(which[i])) for i in range(len(samples)))
    return Gallery(first, second, canonical, canonical_turned, labels, margins)


def worst_cases(plan: Plan, errors: Tensor, count: int) -> tuple[WorstCase, ...]:
    """The inputs with the largest errors, each at its worst element, the largest first; inputs without error left out."""
    return tuple(worst_case(plan, sample, sample, number, error) for sample, number, error in worst_of(errors, count))


def worst_of(errors: Tensor, count: int) -> list[tuple[int, int, float]]:
    """Sample, element and error of the samples with the largest errors; those without error left out."""
    largest, position = errors.max(0)
    chosen = largest.argsort(descending=True, stable=True)[:count].tolist()
    return [(n, int(position[n]), float(largest[n])) for n in chosen if float(largest[n]) > 0]


def worst_case(plan: Plan, sample: int, name: int, number: int, error: float) -> WorstCase:
    """One sample of the plan, which the report calls `name`, at one element."""
    symmetry, batch = plan.symmetry, plan.batch_size
    # Show the sample among its neighbours, turned as they were: some models answer for the batch as a whole.
    start = sample // batch * batch
    members = torch.arange(start, min(start + batch, plan.shape[1]))
    some = take(symmetry.inputs, plan.value, members)
    g = plan.elements(plan.numbers(plan.turn(number, sample), members), members)
    turned = move(symmetry.inputs, g, some)
    index = layout(symmetry.inputs, some)
    answer = run(plan, some, "the inputs as they came")
    back = run(plan, turned, "the moved inputs")
    back = move(symmetry.outputs, symmetry.group.inverse(g), back, index=index)
    here = sample - start
    first, second = picture(symmetry.inputs, some), picture(symmetry.inputs, turned)
    return WorstCase(
        sample=name,
        label=label(at(g, here), number),
        error=error,
        answer=in_words(symmetry.outputs, answer, index, here),
        turned_answer=in_words(symmetry.outputs, back, index, here),
        picture=None if first is None else first[here],
        turned_picture=None if second is None else second[here],
    )


def in_words(spec: Any, output: Any, index: Layout | None, sample: int) -> str:
    """One sample's answer: the class and its probability for logits, the number for a scalar, the shape otherwise.

    Args:
        spec: tree of actions of the outputs.
        output: the model's answer for a batch.
        index: which sample each row belongs to.
        sample: which one, from 0 in the batch.
    """
    found: list[tuple[Any, Tensor]] = []
    entries: list[str] = []

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if isinstance(action, Each):
            shapes = (tuple(tensor.shape) for _, tensor in action.tensors([part[sample]]))
            entries.append(f"an entry with tensors of shape {', '.join(map(str, shapes))}")
        elif action is not None and not isinstance(action, Numbering) and isinstance(part, Tensor):
            found.append((action, part.detach()))
        return part

    walk(leaf, spec, output)
    if not found:
        return entries[0]
    action, first = found[0]
    if isinstance(action, Rows):
        owners = index_of(action, index)
        rows = 0 if owners is None else int((owners == sample).sum())
        return f"{rows} rows of shape {tuple(first.shape[1:])}"
    if first.ndim == 2 and first.is_floating_point() and first.shape[1] > 1 and len(found) == 1:
        chance = first[sample].double().softmax(0)
        best = int(chance.argmax())
        return f"class {best} ({float(chance[best]):.0%})" if bool(chance.isfinite().all()) else "not a number"
    if first[sample].numel() == 1:
        one = first[sample].item()
        return f"{one:.6g}"
    return f"tensor of shape {tuple(first.shape[1:])}"
