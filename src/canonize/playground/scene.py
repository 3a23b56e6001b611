"""What is looked at: the answers of a model, bare and behind a frame, for one input that is turned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cmp_to_key
from typing import Any

import torch
from torch import Tensor

from canonize._tree import tensors
from canonize.actions.trees import at, lossless_tree, move
from canonize.errors import refuse
from canonize.groups import SE, E, Rigid, Translation
from canonize.symmetrize import Symmetrized

Inputs = tuple[Tensor, ...]
"""The arguments of a model for one sample, the batch of one in front."""

CLOSE = 1e-5
"""Weights and canonical forms that agree to this share are taken to be equal when poses are put in order."""


@dataclass(frozen=True)
class Reading:
    """How the numbers of an answer are read.

    Attributes:
        names: of the numbers, in order; those without one are called by their place.
        shares: that the numbers are logits, and are shown as shares that sum to one.
    """

    names: tuple[str, ...] = ()
    shares: bool = False

    def name(self, place: int) -> str:
        """What the number at this place is called."""
        return self.names[place] if place < len(self.names) else f"output {place}"


@dataclass(frozen=True)
class Pose:
    """One pose of one input: its weight, its element (batch of one) and the canonical form that the model is shown."""

    weight: float
    element: Any
    form: Inputs


@dataclass(frozen=True)
class Look:
    """What is seen at one position of the slider.

    Attributes:
        shown: the turned input.
        poses: heaviest first; equal ones in an order that their canonical forms tell, so that the first is the same at
            each position.
        margin: how far the input is from a tie, dimensionless; None where the frame does not tell it.
        plain, symmetrized: (m,) float64, the answers turned back.
    """

    shown: Inputs
    poses: tuple[Pose, ...]
    margin: float | None
    plain: Tensor
    symmetrized: Tensor


@dataclass(frozen=True)
class Sweep:
    """The answers at every position of the slider, turned back: constant where the claim holds.

    Attributes:
        upright: (2, m) float64, the answers of the plain and of the symmetrized model to the input as it was given.
        plain, symmetrized: (positions, m) float64.
        covered: (positions,) bool, whether the claim says anything about this position.
        exact: (positions,) bool, whether the position is covered and turns the input without loss.
    """

    upright: Tensor
    plain: Tensor
    symmetrized: Tensor
    covered: Tensor
    exact: Tensor

    def moves(self, *, symmetrized: bool, where: Tensor | None = None) -> float | None:
        """The largest difference to the answer for the input as it was given; None where there is no such position.

        Args:
            symmetrized: of which model.
            where: (positions,) bool; all where None.
        """
        rows = self.symmetrized if symmetrized else self.plain
        rows = rows if where is None else rows[where]
        return float((rows - self.upright[int(symmetrized)]).abs().amax()) if rows.numel() else None


def look(behind: Symmetrized, inputs: Inputs, element: Any, reading: Reading) -> Look:
    """What is seen where the slider turns the input by one element.

    Args:
        behind: the symmetrized model; its `model` is the plain one.
        inputs: one sample.
        element: a batch of one element.
        reading: of the answers.

    Raises:
        SymmetryError: inputs or outputs that do not fit the claim.
    """
    with torch.no_grad():
        shown = turned(behind, inputs, element)
        poses = behind.poses(*shown)
        found = []
        for k in range(poses.count):
            weight = float(poses.weights[k, 0])
            if weight > 0:
                one = at(poses.elements, k)
                found.append(Pose(weight, one, turned(behind, shown, behind.symmetry.group.inverse(one))))
        margin = None if poses.margin is None else float(poses.margin[0])
        plain, symmetrized = (_answers(behind, model, shown, element, reading)[0] for model in (behind.model, behind))
    return Look(shown, tuple(sorted(found, key=cmp_to_key(_before))), margin, plain, symmetrized)


def sweep(
    behind: Symmetrized,
    inputs: Inputs,
    elements: Any,
    reading: Reading,
    *,
    chunk: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> Sweep:
    """The answers at all positions of the slider.

    Args:
        behind, inputs, reading: as for `look`.
        elements: (positions, *element).
        chunk: positions in one call.
        progress: called with (done, total).

    Raises:
        SymmetryError: inputs or outputs that do not fit the claim.
    """
    total = len(tensors(elements)[0])
    identity = _identity(elements)
    rows: tuple[list[Tensor], list[Tensor]] = ([], [])
    lossless = []
    with torch.no_grad():
        models = (behind.model, behind)
        start = turned(behind, inputs, identity)
        upright = torch.cat([_answers(behind, model, start, identity, reading) for model in models])
        for first in range(0, total, chunk):
            some = at(elements, slice(first, first + chunk))
            count = len(tensors(some)[0])
            many = tuple(part.expand(count, *part.shape[1:]) for part in inputs)
            shown = turned(behind, many, some)
            lossless.append(lossless_tree(behind.symmetry.inputs, some, _value(behind, many)))
            for model, kept in zip(models, rows, strict=True):
                kept.append(_answers(behind, model, shown, some, reading))
            if progress is not None:
                progress(first + count, total)
    known = covered(behind.symmetry.group, elements)
    return Sweep(upright, torch.cat(rows[0]), torch.cat(rows[1]), known, known & torch.cat(lossless))


def turned(behind: Symmetrized, inputs: Inputs, elements: Any) -> Inputs:
    """The arguments moved as the claim says, without a change of dtype."""
    found = move(behind.symmetry.inputs, elements, _value(behind, inputs))
    return found if isinstance(found, tuple) else (found,)


def back(elements: Any) -> Any:
    """The inverse of orthogonal matrices, rigid motions and permutations, whatever group they are taken from."""
    if isinstance(elements, Rigid):
        return E(elements.shift.shape[-1]).inverse(elements)
    return elements.mT if elements.is_floating_point() else elements.argsort(-1)


def covered(group: Any, elements: Any) -> Tensor:
    """For each element whether it belongs to the group, (positions,) bool, up to rounding.

    Example:
        >>> import torch
        >>> from canonize import C
        >>> covered(C(4), torch.tensor([[[0.0, -1.0], [1.0, 0.0]], [[0.8, -0.6], [0.6, 0.8]]])).tolist()
        [True, False]
    """
    count = len(tensors(elements)[0])
    linear = elements.linear if isinstance(elements, Rigid) else elements
    still = torch.ones(count, dtype=torch.bool)
    if isinstance(elements, Rigid) and not isinstance(group, SE | E | Translation):
        still = (elements.shift.abs() < CLOSE).all(-1)
        elements = linear
    if isinstance(elements, Tensor) and not elements.is_floating_point():
        # Every numbering of as many things is a permutation.
        return still if getattr(group, "n", None) in (None, elements.shape[-1]) else torch.zeros_like(still)
    if hasattr(group, "elements"):
        table = group.elements(dtype=linear.dtype)
        if table.shape[1:] != linear.shape[1:]:
            return torch.zeros_like(still)
        known: Tensor = ((linear[:, None] - table).abs().flatten(2).amax(-1) < CLOSE).any(1)
        return still & known
    if not hasattr(group, "residual"):
        return still
    near: Tensor = group.residual(elements) < CLOSE
    return still & near


def _value(behind: Symmetrized, inputs: Inputs) -> Any:
    """The arguments as the claim mirrors them; those that it does not name are left out."""
    spec = behind.symmetry.inputs
    wanted = len(spec) if isinstance(spec, tuple) else 1
    if wanted > len(inputs):
        raise refuse(
            "the claim has more inputs than there are here",
            got=f"inputs={spec!r} for {len(inputs)} tensors",
            expected="image, point or point,scalar, pairs",
            fix="--input point,scalar for a model of positions and atomic numbers",
        )
    return tuple(inputs[:wanted]) if isinstance(spec, tuple) else inputs[0]


def _answers(behind: Symmetrized, model: Any, shown: Inputs, elements: Any, reading: Reading) -> Tensor:
    """(positions, m) float64: g^-1 · model(g · x), as plain numbers."""
    output = move(behind.symmetry.outputs, back(elements), model(*shown))
    count = len(shown[0])
    parts = []
    for part in tensors(output):
        if part.is_complex():
            part = torch.view_as_real(part)
        if part.ndim < 1 or len(part) != count:
            raise refuse(
                "the model's answer has no batch in front",
                got=f"shape {tuple(part.shape)} for {count} inputs",
                expected=f"({count}, ...)",
                fix="return one answer for each sample",
            )
        parts.append(part.detach().cpu().double().reshape(count, -1))
    numbers = torch.cat(parts, 1) if parts else torch.zeros(count, 0, dtype=torch.float64)
    return numbers.softmax(1) if reading.shares else numbers


def _identity(elements: Any) -> Any:
    """The element that moves nothing, as a batch of one, of the kind of these."""
    if isinstance(elements, Rigid):
        return Rigid(_identity(elements.linear), torch.zeros_like(elements.shift[:1]))
    if not elements.is_floating_point():
        return torch.arange(elements.shape[-1])[None]
    return torch.eye(elements.shape[-1], dtype=elements.dtype)[None]


def _before(one: Pose, other: Pose) -> int:
    """Heavier poses first; of equal ones that with the larger canonical form, compared entry by entry."""
    if abs(one.weight - other.weight) > CLOSE:
        return -1 if one.weight > other.weight else 1
    for left, right in zip(one.form, other.form, strict=True):
        difference = (left.double() - right.double()).flatten()
        apart = (difference.abs() > CLOSE * max(1.0, float(left.abs().max()) if left.numel() else 1.0)).nonzero()
        if len(apart):
            return -1 if float(difference[apart[0, 0]]) > 0 else 1
    return 0
