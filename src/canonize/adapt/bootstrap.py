"""Learning what upright is from data that do not stand upright."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from canonize._tree import tensors, to_tensors
from canonize.actions.trees import at, batch_of, move, take
from canonize.adapt.batches import check_finite, on_device
from canonize.adapt.log import FitLog
from canonize.adapt.loop import adapt
from canonize.adapt.settings import check_symmetrized
from canonize.errors import refuse
from canonize.frames.base import Coset, draws
from canonize.frames.check import check_is_frame
from canonize.symmetrize import Symmetrized
from canonize.symmetry import arguments

_PIECE = 64  # inputs that the teacher sees in one call


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
        settings: passed to `adapt` in each round, such as `epochs`. A `checkpoint` has the number of the round added to its
            name.

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
    check_symmetrized(symmetrized)
    check_is_frame(teacher, "bootstrap")
    if "targets" in settings or "unpack" in settings:
        raise refuse(
            "bootstrap learns without targets",
            got=", ".join(f"{name}=" for name in ("targets", "unpack") if name in settings),
            expected="all inputs in memory, and nothing else",
            fix="adapt(symmetrized, inputs, targets=targets, loss=task_loss)",
        )
    symmetry = symmetrized.symmetry
    value, _ = to_tensors(arguments(symmetry, data))
    check_finite(value, batch_of(symmetry.inputs, value)[0])
    place = next((parameter.device for parameter in symmetrized.parameters()), None)
    value = value if place is None else on_device(value, place)
    checkpoint = settings.pop("checkpoint", None)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    logs = []
    for number in range(rounds):
        share = keep + (1 - keep) * (number / (rounds - 1) if rounds > 1 else 0)
        upright = _upright(symmetry, value, teacher, share, generator)
        kept = None if checkpoint is None else _numbered(Path(checkpoint), number + 1)
        logs.append(adapt(symmetrized, upright, generator=generator, checkpoint=kept, **settings))
        teacher = copy.deepcopy(symmetrized.frame).eval()
    return logs


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}-{number}{path.suffix}")


@torch.no_grad()
def _upright(symmetry: Any, value: Any, teacher: Any, share: float, generator: torch.Generator | None) -> Any:
    """The inputs with the largest margins, turned upright as the teacher says."""
    batch = batch_of(symmetry.inputs, value)[0]
    elements, margins = [], []
    for start in range(0, batch, _PIECE):
        some = torch.arange(start, min(start + _PIECE, batch))
        poses = teacher(symmetry, take(symmetry.inputs, value, some), **draws(teacher, generator))
        elements.append(at(poses.elements, 0))
        margin = torch.ones(len(some)) if poses.margin is None else poses.margin.cpu().clone()
        if isinstance(poses.stabilizer, Coset):
            # Such as blank images: all poses are the same, so that nothing is learned from them. They come last.
            margin[poses.stabilizer.samples.cpu()] = -1.0
        margins.append(margin)
    surest = torch.cat(margins).argsort(descending=True, stable=True)[: max(1, round(share * batch))].sort().values
    joined = _joined(elements)
    g = at(joined, surest.to(tensors(joined)[0].device))
    return move(symmetry.inputs, symmetry.group.inverse(g), take(symmetry.inputs, value, surest))


def _joined(parts: list[Any]) -> Any:
    """Elements of several batches as those of one, for tensors and for tuples of them."""
    if isinstance(parts[0], torch.Tensor):
        return torch.cat(parts)
    columns = [_joined(list(column)) for column in zip(*parts, strict=True)]
    return type(parts[0])(*columns) if hasattr(parts[0], "_fields") else tuple(columns)
