"""What a frame can be trained on: plain functions `(symmetrized, inputs, targets, generator=...) -> loss`.

They run in `adapt`, in Lightning or in a loop of your own. Options are set with `functools.partial`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from canonize._tree import describe, tensors, to_tensors
from canonize.actions.trees import at, batch_of, lossless_tree, move
from canonize.errors import refuse
from canonize.frames.base import Poses, draws, over_batch
from canonize.frames.check import check_is_frame
from canonize.frames.chooser import Chooser
from canonize.groups import order
from canonize.symmetrize import Symmetrized
from canonize.symmetry import Keywords, Symmetry, arguments, group_for

Turns = Any


def prior_loss(
    symmetrized: Symmetrized,
    inputs: Any,
    targets: Any = None,
    *,
    generator: torch.Generator | None = None,
    turns: Turns = None,
    smoothing: float = 0.0,
) -> Tensor:
    """How far the frame is from the identity on inputs that stand upright. Neither labels nor the model are used.

    For frames that choose by energies: the cross-entropy of softmax(-energies), with the right element as the target. For
    all others: the mean over samples of |pose - right element|^2 / (2 d), entry by entry, for d x d matrices.

    Args:
        symmetrized: a model behind a frame with parameters.
        inputs: a batch, as the model takes it, upright.
        targets: not used.
        generator: source of the random turns.
        turns: a group: inputs are first turned by random elements of it, and the right element is the turn. By default the
            claim's own group where it resamples, because traces of resampling would otherwise give the upright candidate
            away, and none where it is lossless. A larger group may be named: the nearest element is then the target.
            `SO(2)` leaves no trace at all; with the group's own, a candidate that was resampled once is never the right one,
            which can be seen. `False` for none.
        smoothing: of the targets of the cross-entropy, in [0, 1).

    Returns:
        A scalar.

    Raises:
        SymmetryError: inputs that do not fit the claim; a group that cannot be drawn from.

    Source: Mondal et al., arXiv 2310.01647, equation 4.
    """
    if not isinstance(smoothing, int | float) or not 0 <= smoothing < 1:
        raise refuse(
            "prior_loss: bad smoothing", got=repr(smoothing), expected="a number in [0, 1)", fix="smoothing=0.1"
        )
    symmetry = symmetrized.symmetry
    value, _ = to_tensors(arguments(symmetry, inputs))
    batch, dtype, device = batch_of(symmetry.inputs, value)
    h = _turns(symmetry, value, turns, generator)
    if h is not None:
        value = move(symmetry.inputs, h, value)
    if isinstance(symmetrized.frame, Chooser):
        energies = symmetrized.frame.energies(symmetry, value)
        right = torch.zeros(batch, dtype=torch.int64, device=device)
        if h is not None:
            right = nearest(symmetry.group.elements(dtype=dtype, device=device), h)
        return F.cross_entropy(-energies.mT, right, label_smoothing=smoothing)
    poses = symmetrized.frame(symmetry, value, **draws(symmetrized.frame, generator))
    return _distance(poses, h)


def task_loss(
    symmetrized: Symmetrized,
    inputs: Any,
    targets: Any,
    *,
    loss: Callable[[Any, Any], Tensor] = F.cross_entropy,
    generator: torch.Generator | None = None,
    turns: Turns = False,
) -> Tensor:
    """The task's own loss of the symmetrized model. Its gradient reaches the frame through the choice of poses.

    Args:
        symmetrized: a model behind a frame.
        inputs: a batch, as the model takes it.
        targets: what `loss` compares outputs with; they do not turn.
        loss: `(outputs, targets) -> scalar`.
        generator: source of the random turns and of the frame's draws.
        turns: a group: inputs are turned by random elements of it first, for data that come in any pose; outputs must
            then be invariant. None for the claim's own.

    Returns:
        A scalar.

    Raises:
        SymmetryError: inputs that do not fit the claim, no targets.

    Source: Kaba et al., arXiv 2211.06489, section 4.
    """
    if targets is None:
        raise refuse(
            "task_loss needs targets",
            got="None",
            expected="what the outputs are compared with, such as labels",
            fix="adapt(..., targets=labels), a loader of pairs (inputs, labels), or prior_loss, which needs none",
        )
    symmetry = symmetrized.symmetry
    value, _ = to_tensors(arguments(symmetry, inputs))
    h = None if turns is False else _drawn(symmetry.group if turns is None else turns, symmetry, value, generator)
    if h is not None:
        value = move(symmetry.inputs, h, value)
    return loss(called(symmetrized, value, generator), targets)


def distillation_loss(
    symmetrized: Symmetrized,
    inputs: Any,
    targets: Any = None,
    *,
    teacher: Any,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """How far the frame is from the poses that another frame finds: a search, at the cost of one small network.

    Inputs may stand in any pose. For frames that choose by energies: the cross-entropy with softmax(-energies /
    temperature) of a teacher that has energies too, or with the weights of the teacher's poses; for all others the mean
    over samples of |pose - teacher's pose|^2 / (2 d).

    Args:
        symmetrized: a model behind a frame with parameters.
        inputs: a batch, as the model takes it.
        targets: not used.
        teacher: a frame, for example `Best(LogSumExp(model))` or a `Search`.
        temperature: of the teacher's energies, in their unit; 0 for its choice alone.
        generator: source of the teacher's draws.

    Returns:
        A scalar.

    Raises:
        SymmetryError: inputs that do not fit the claim, a teacher that is no frame.
    """
    check_is_frame(teacher, "distillation_loss")
    if not isinstance(temperature, int | float) or not 0 <= temperature < float("inf"):
        raise refuse(
            "distillation_loss: bad temperature",
            got=repr(temperature),
            expected="a finite number from 0, in the unit of the teacher's energies",
            fix="temperature=1.0",
        )
    symmetry = symmetrized.symmetry
    value, _ = to_tensors(arguments(symmetry, inputs))
    _, dtype, device = batch_of(symmetry.inputs, value)
    student = symmetrized.frame
    if not isinstance(student, Chooser):
        with torch.no_grad():
            wanted = teacher(symmetry, value, **draws(teacher, generator))
        return _distance(student(symmetry, value, **draws(student, generator)), at(wanted.elements, 0))
    energies = student.energies(symmetry, value)
    elements = symmetry.group.elements(dtype=dtype, device=device)
    with torch.no_grad():
        if isinstance(teacher, Chooser) and temperature:
            shares = (-teacher.energies(symmetry, value) / temperature).softmax(0)
        else:
            wanted = teacher(symmetry, value, **draws(teacher, generator))
            shares = torch.zeros_like(energies)
            for number, weight in enumerate(wanted.weights):
                place = nearest(elements, at(wanted.elements, number))
                shares = shares.scatter_add(0, place[None], weight[None].to(shares.dtype))
    return F.cross_entropy(-energies.mT, shares.mT)


def nearest(elements: Any, g: Any) -> Tensor:
    """The place of the element nearest to each g, entry by entry: (k, *element), (batch, *element) to (batch,)."""
    parts = zip(tensors(elements), tensors(g), strict=True)
    gaps = [(one.detach()[:, None] - table).flatten(2).double().square().sum(-1) for table, one in parts]
    return torch.stack(gaps).sum(0).argmin(1)


def called(symmetrized: Symmetrized, value: Any, generator: torch.Generator | None) -> Any:
    """The symmetrized model on a value in the form that the claim declares."""
    spec = symmetrized.symmetry.inputs
    extra = {} if generator is None else {"generator": generator}
    if isinstance(spec, Keywords):
        return symmetrized(**value, **extra)
    return symmetrized(*value, **extra) if isinstance(spec, tuple) else symmetrized(value, **extra)


def _distance(poses: Poses, right: Tensor | None) -> Tensor:
    """Half the mean squared distance to the right matrices, the identity where None."""
    found = poses.elements
    if not isinstance(found, Tensor) or found.ndim != 4 or found.shape[-1] != found.shape[-2]:
        raise refuse(
            "this loss compares matrices",
            got=f"poses {describe(found)}",
            expected="elements (k, batch, d, d), or a frame that chooses by energies, such as Best",
            fix="write the loss for this group yourself: a function (symmetrized, inputs, targets, generator=...)",
        )
    size = found.shape[-1]
    unit = torch.eye(size, dtype=found.dtype, device=found.device) if right is None else right
    off = (found - unit).flatten(2).square().sum(-1) / (2 * size)
    mean: Tensor = (poses.weights * off).sum(0).mean()
    return mean


def _turns(symmetry: Symmetry, value: Any, turns: Turns, generator: torch.Generator | None) -> Any:
    if turns is False:
        return None
    if turns is not None:
        return _drawn(turns, symmetry, value, generator)
    return None if _all_lossless(symmetry, value) else _drawn(symmetry.group, symmetry, value, generator)


def _all_lossless(symmetry: Symmetry, value: Any) -> bool:
    """Whether every element of a small group moves the inputs without loss."""
    count = order(symmetry.group)
    if count is None or count > 128:
        return False
    batch, dtype, device = batch_of(symmetry.inputs, value)
    each = over_batch(symmetry.group.elements(dtype=dtype, device=device), batch)
    return all(bool(lossless_tree(symmetry.inputs, at(each, position), value).all()) for position in range(count))


def _drawn(group: Any, symmetry: Symmetry, value: Any, generator: torch.Generator | None) -> Any:
    batch, dtype, device = batch_of(symmetry.inputs, value)
    if not hasattr(group, "sample"):
        raise refuse(
            "the turns of a loss come from a group",
            got=describe(group),
            expected="a group such as SO(2), None for the claim's own, False for no turns",
            fix="functools.partial(prior_loss, turns=SO(2))",
        )
    return group_for(symmetry, value, group).sample((batch,), generator=generator, dtype=dtype, device=device)
