"""Whether a checkpoint holds what it must, told before anything of it is loaded."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from canonize.adapt.log import Epoch


class Running(Protocol):
    """What of a run a checkpoint is compared with."""

    subject: nn.Module
    parameters: dict[str, nn.Parameter]
    optimizer: torch.optim.AdamW
    schedule: torch.optim.lr_scheduler.OneCycleLR
    scaler: torch.amp.GradScaler
    averaged: Any
    batches: Any
    settings: Any
    steps: int


def damage(state: dict[str, Any], run: Running) -> str | None:
    """What is wrong with a checkpoint of this run, in words; None where nothing is.

    Raises:
        LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError: what cannot even be compared.
    """
    own = run.subject.state_dict()
    log, kept, best = state["log"], state["kept"], state["best"]
    if not isinstance(log, list) or not all(_is_epoch(epoch, number) for number, epoch in enumerate(log, start=1)):
        return "its log is no list of epochs"
    if len(log) > run.settings.epochs:
        return f"{len(log)} epochs in its log, of {run.settings.epochs}"
    figures = [epoch["figure"] for epoch in log if epoch["figure"] is not None]
    if figures and len(figures) != len(log):
        return "figures for some epochs only"
    if not _is_whole(best) or best != (figures.index(max(figures)) + 1 if figures else len(log)):
        return "the best epoch is not the best of its log"
    if not _is_whole(state["samples"]) or state["samples"] < 0:
        return "its count of samples is none"
    if (kept is None) != (not figures) or (state["averaged"] is None) != (run.averaged is None):
        return "weights that belong to it are missing, or others are there"
    for name in ("subject", "averaged", "kept"):
        if (name == "subject" or state[name] is not None) and not _fits(own, state[name]):
            return f"the weights in {name!r} have other names, shapes or dtypes, or are not finite"
    schedule = state["schedule"]
    if not _alike(run.schedule.state_dict(), schedule) or schedule["total_steps"] != run.schedule.total_steps:
        return "a schedule of another length or kind"
    if not 0 <= schedule["last_epoch"] <= len(log) * run.steps:
        return f"a schedule at step {schedule['last_epoch']}, after {len(log)} epochs of {run.steps}"
    if not _alike(run.scaler.state_dict(), state["scaler"]):
        return "a scaler of another kind"
    if not _is_optimizer(run, state["optimizer"]):
        return "the state of its optimizer does not fit the weights"
    return _generators(run.batches.generators, state["generators"])


def _generators(own: list[torch.Generator], states: Any) -> str | None:
    if not isinstance(states, list) or len(states) != len(own):
        return "the states of other generators"
    for one, state in zip(own, states, strict=True):
        # On a generator that nobody else uses.
        torch.Generator(one.device).set_state(state)
    return None


def _is_epoch(epoch: Any, number: int) -> bool:
    if not isinstance(epoch, dict) or set(epoch) != set(Epoch.__dataclass_fields__):
        return False
    figure = epoch["figure"]
    known = [epoch[name] for name in ("loss", "rate", "seconds")]
    return (
        _is_whole(epoch["number"])
        and epoch["number"] == number
        and all(isinstance(value, float) and math.isfinite(value) for value in known)
        and (figure is None or (isinstance(figure, float) and not math.isnan(figure)))
    )


def _is_optimizer(run: Running, found: Any) -> bool:
    own = run.optimizer.state_dict()
    if not isinstance(found, dict) or set(found) != set(own) or not isinstance(found["state"], dict):
        return False
    if not _alike(own["param_groups"], found["param_groups"]):
        return False
    parameters = list(run.parameters.values())
    for place, part in found["state"].items():
        if not _is_whole(place) or not 0 <= place < len(parameters) or not isinstance(part, dict):
            return False
        shape = parameters[place].shape
        if set(part) != {"step", "exp_avg", "exp_avg_sq"} or not all(map(_is_finite, part.values())):
            return False
        if part["step"].numel() != 1 or not part["exp_avg"].shape == part["exp_avg_sq"].shape == shape:
            return False
        if float(part["step"]) < 1 or bool((part["exp_avg_sq"] < 0).any()):
            return False
    return True


def _fits(own: dict[str, Any], found: Any) -> bool:
    """Whether weights could be the own ones at another time: finite wherever these are."""
    if not isinstance(found, dict) or set(found) != set(own):
        return False
    for name, value in own.items():
        if not isinstance(value, Tensor):
            continue
        other = found[name]
        if not isinstance(other, Tensor) or other.shape != value.shape or other.dtype != value.dtype:
            return False
        # A buffer may hold an infinity on purpose; a parameter may not.
        if bool(value.isfinite().all()) and not bool(other.isfinite().all()):
            return False
    return True


def _is_finite(value: Any) -> bool:
    return isinstance(value, Tensor) and bool(value.isfinite().all())


def _alike(own: Any, found: Any) -> bool:
    """Whether two plain values have the same keys, lengths and types, with finite numbers."""
    if isinstance(own, dict):
        return isinstance(found, dict) and set(own) == set(found) and all(_alike(own[k], found[k]) for k in own)
    if isinstance(own, list | tuple):
        return type(own) is type(found) and len(own) == len(found) and all(map(_alike, own, found))
    if isinstance(own, int | float) and not isinstance(own, bool):
        return isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)
    return type(own) is type(found)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
