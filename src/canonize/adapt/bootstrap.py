"""Learning what upright is from data that do not stand upright."""

from __future__ import annotations

import copy
from typing import Any

import torch

from canonize._tree import to_tensors
from canonize.actions.trees import at, batch_of, move, take
from canonize.adapt.log import FitLog
from canonize.adapt.loop import adapt
from canonize.errors import refuse
from canonize.frames.base import draws
from canonize.symmetrize import Symmetrized
from canonize.symmetry import arguments


def bootstrap(
    symmetrized: Symmetrized,
    data: Any,
    *,
    teacher: Any,
    rounds: int = 3,
    keep: float = 0.5,
    generator: torch.Generator | None = None,
    **settings: Any,
) -> list[FitLog]:
    """Train a frame on inputs in arbitrary poses: turn them as a teacher says, learn from the surest, and go on from there.

    In the first round the teacher says how each input stands; in each later one the frame of the round before does. Only
    inputs with a large margin are learned from: the share `keep` in the first round, rising evenly to all in the last.

    Args:
        symmetrized: a model behind a frame with parameters; trained in place.
        data: all inputs, in memory, in any pose.
        teacher: a frame with one pose a sample, for example `Best(LogSumExp(model))`.
        rounds: at least 1.
        keep: share of the inputs in the first round, in (0, 1].
        generator: source of every draw.
        settings: passed to `adapt` in each round, such as `epochs`.

    Returns:
        The record of each round.

    Raises:
        SymmetryError: as `adapt`; rounds or keep out of range.
    """
    if not isinstance(rounds, int) or rounds < 1 or not isinstance(keep, int | float) or not 0 < keep <= 1:
        raise refuse(
            "bootstrap: bad settings",
            got=f"rounds={rounds!r}, keep={keep!r}",
            expected="rounds from 1, keep above 0 and at most 1",
            fix="rounds=3, keep=0.5",
        )
    symmetry = symmetrized.symmetry
    value, _ = to_tensors(arguments(symmetry, data))
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    logs = []
    for number in range(rounds):
        share = keep + (1 - keep) * (number / (rounds - 1) if rounds > 1 else 0)
        upright = _upright(symmetry, value, teacher, share, settings.get("batch_size", 64), generator)
        logs.append(adapt(symmetrized, upright, generator=generator, **settings))
        teacher = copy.deepcopy(symmetrized.frame).eval()
    return logs


@torch.no_grad()
def _upright(
    symmetry: Any, value: Any, teacher: Any, share: float, size: int, generator: torch.Generator | None
) -> Any:
    """The inputs with the largest margins, turned upright as the teacher says."""
    batch = batch_of(symmetry.inputs, value)[0]
    elements, margins = [], []
    for start in range(0, batch, size):
        some = torch.arange(start, min(start + size, batch))
        poses = teacher(symmetry, take(symmetry.inputs, value, some), **draws(teacher, generator))
        elements.append(at(poses.elements, 0))
        margins.append(poses.margin if poses.margin is not None else torch.ones(len(some)))
    surest = torch.cat(margins).argsort(descending=True, stable=True)[: max(1, round(share * batch))].sort().values
    g = at(_joined(elements), surest)
    return move(symmetry.inputs, symmetry.group.inverse(g), take(symmetry.inputs, value, surest))


def _joined(parts: list[Any]) -> Any:
    """Elements of several batches as those of one, for tensors and for tuples of them."""
    if isinstance(parts[0], torch.Tensor):
        return torch.cat(parts)
    columns = [_joined(list(column)) for column in zip(*parts, strict=True)]
    return type(parts[0])(*columns) if hasattr(parts[0], "_fields") else tuple(columns)
