"""What people look at first: inputs beside their canonical forms, and the worst cases."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from canonize._tree import describe, tensors, walk
from canonize.actions import Image
from canonize.actions.trees import at, move, row_index, take
from canonize.audit.labels import label
from canonize.audit.result import Gallery, WorstCase
from canonize.symmetrize import Symmetrized
from canonize.symmetry import Symmetry, call


def picture(spec: Any, value: Any) -> Tensor | None:
    """The first input that is declared `Image()` and has the shape (batch, channels, height, width); None without one."""
    found: list[Tensor] = []

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if isinstance(action, Image) and isinstance(part, Tensor) and part.ndim == 4:
            found.append(part.detach().cpu())
        return part

    walk(leaf, spec, value)
    return found[0] if found else None


def gallery(
    model: Any, symmetry: Symmetry, value: Any, elements: Any, shape: tuple[int, int], count: int
) -> Gallery | None:
    """Up to `count` inputs, each also moved by another element, with what the model is shown for both.

    Args:
        model: the audited model.
        symmetry: the claim.
        value: all inputs.
        elements: (elements, samples, *element).
        shape: (elements, samples).
        count: how many inputs to show.
    """
    if picture(symmetry.inputs, value) is None:
        return None
    m, n = shape
    samples = torch.arange(min(count, n))
    # Spread over the elements, the first left out: in a finite group it is the identity, which shows nothing.
    step = max(1, (m - 1) // max(1, len(samples)))
    which = 1 + torch.arange(len(samples)) * step % (m - 1) if m > 1 else torch.zeros_like(samples)
    g = at(elements, (which, samples))
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


def worst_cases(
    model: Any, symmetry: Symmetry, value: Any, elements: Any, errors: Tensor, batch: int, count: int
) -> tuple[WorstCase, ...]:
    """The inputs with the largest errors, each at its worst element, the largest first; inputs without error left out."""
    largest, position = errors.max(0)
    cases = []
    for sample in largest.argsort(descending=True, stable=True)[:count].tolist():
        if not float(largest[sample]) > 0:
            break
        # Some models answer for a whole batch only: show the sample among its neighbours, as it was audited.
        start = sample // batch * batch
        members = torch.arange(start, min(start + batch, errors.shape[1]))
        some = take(symmetry.inputs, value, members)
        g = at(elements, int(position[sample]))
        g = at(g, members)
        turned = move(symmetry.inputs, g, some)
        index = row_index(symmetry.inputs, some)
        answer = call(model, symmetry, some)
        back = move(symmetry.outputs, symmetry.group.inverse(g), call(model, symmetry, turned), index=index)
        here = sample - start
        first, second = picture(symmetry.inputs, some), picture(symmetry.inputs, turned)
        cases.append(
            WorstCase(
                sample=sample,
                label=label(at(g, here), int(position[sample])),
                error=float(largest[sample]),
                answer=in_words(answer, here),
                turned_answer=in_words(back, here),
                picture=None if first is None else first[here],
                turned_picture=None if second is None else second[here],
            )
        )
    return tuple(cases)


def in_words(output: Any, sample: int) -> str:
    """One sample's answer: the class and its probability for logits, the number for a scalar, the shape otherwise."""
    found = tensors(output)
    if not found:
        return describe(output)
    first = found[0].detach()
    if first.ndim == 2 and first.is_floating_point() and first.shape[1] > 1 and len(found) == 1:
        chance = first[sample].double().softmax(0)
        best = int(chance.argmax())
        return f"class {best} ({float(chance[best]):.0%})" if bool(first[sample].isfinite().all()) else "not a number"
    if first.ndim >= 1 and first.shape[0] > sample and first[sample].numel() == 1:
        return f"{float(first[sample].double()):.6g}"
    return f"tensor of shape {tuple(first.shape[1:])}"
