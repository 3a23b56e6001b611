"""What a training run has to remember: modes to put back, averaged weights, and checkpoints that resume to the same numbers."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from canonize.adapt.identity import agrees
from canonize.adapt.modes import in_eval
from canonize.errors import SymmetryError, refuse
from canonize.symmetrize import Symmetrized

Weights = dict[str, Any]


@contextmanager
def training(symmetrized: Symmetrized, model: bool) -> Iterator[None]:
    """The frame in train mode and the model too where `model`; what is frozen stays in eval mode. All in eval mode after.

    A frozen model keeps its running statistics, and gets no gradients.
    """
    inner = symmetrized.model if isinstance(symmetrized.model, nn.Module) else None
    frozen = [] if inner is None or model else [p for p in inner.parameters() if p.requires_grad]
    symmetrized.train()
    if inner is not None and not model:
        inner.eval()
    for module in symmetrized.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
        symmetrized.eval()


@contextmanager
def lent(seed: int, device: torch.device) -> Iterator[None]:
    """torch's global generators, of the CPU and of `device`, seeded inside the block and put back after it.

    Loaders that shuffle, dropout and the like draw from them. Those of other devices are left alone.
    """
    gpu = device if device.type == "cuda" else None
    state, other = torch.get_rng_state(), None if gpu is None else torch.cuda.get_rng_state(gpu)
    torch.default_generator.manual_seed(seed)
    if gpu is not None:
        with torch.cuda.device(gpu):
            torch.cuda.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)
        if gpu is not None and other is not None:
            torch.cuda.set_rng_state(other, gpu)


def trained(symmetrized: Symmetrized, model: bool) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name: the frame's, and the model's where `model`.

    Raises:
        SymmetryError: there are none.
    """
    inner = symmetrized.model if isinstance(symmetrized.model, nn.Module) else None
    kept = set() if inner is None or model else {id(parameter) for parameter in inner.parameters()}
    found = {
        name: parameter
        for name, parameter in symmetrized.named_parameters()
        if parameter.requires_grad and id(parameter) not in kept
    }
    if not found:
        raise refuse(
            "adapt finds nothing to learn",
            got=f"the frame {type(symmetrized.frame).__name__} without trainable parameters",
            expected="a frame with parameters, or model=True",
            fix="symmetrize(model, symmetry, Best(canonize.nn.Scorer(channels), resolution=32))",
        )
    for name, parameter in found.items():
        if is_lazy(parameter):
            raise refuse(
                "adapt: a parameter has no shape yet",
                got=f"{name}, of a lazy module that was never called",
                expected="a frame that was called once",
                fix="symmetrized.poses(inputs[:1]) makes the shapes known",
            )
    return found


def snapshot(module: nn.Module) -> Weights:
    """A copy of all parameters and buffers, and of whatever else the module saves."""
    return copied(module.state_dict())


def copied(weights: Any) -> Weights:
    """A copy of weights, without gradients."""
    return {
        name: value.detach().clone() if isinstance(value, torch.Tensor) else copy.deepcopy(value)
        for name, value in weights.items()
    }


class Averaged:
    """An exponential moving average of all floating-point weights; at step t the decay is at most t / (t + 10)."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = snapshot(module)

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights after `step` steps."""
        share = 1 - min(self.decay, step / (step + 10))
        for name, value in module.state_dict().items():
            if isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex()):
                self.weights[name].lerp_(value, share)
            else:
                self.weights[name] = copy.deepcopy(value)


@contextmanager
def wearing(module: nn.Module, weights: Weights | None) -> Iterator[None]:
    """`module` in eval mode with these weights inside the block, and with its own after it."""
    own = snapshot(module) if weights is not None else None
    with in_eval(module):
        if weights is not None:
            module.load_state_dict(weights)
        try:
            yield
        finally:
            if own is not None:
                module.load_state_dict(own)


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; a kill in between leaves the one before.

    Raises:
        SymmetryError: a place that cannot be written to.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, partial)
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        # torch tells a folder that is not there, or a full disk, by a RuntimeError.
        raise refuse(
            "adapt cannot write its checkpoint",
            got=f"{path} ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})",
            expected="a file in a folder that can be written to",
            fix="choose another place: checkpoint=... (--checkpoint)",
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def load(path: str | os.PathLike[str], run: dict[str, Any]) -> dict[str, Any] | None:
    """The checkpoint of this run, on the CPU; None where there is none yet. Never runs code from the file.

    Raises:
        SymmetryError: a file that is no checkpoint, or the checkpoint of another run.
    """
    path = Path(path)
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise unreadable(path, type(error).__name__) from None
    if not isinstance(state, dict) or not isinstance(state.get("run"), dict):
        raise unreadable(path)
    differing = sorted(name for name in run if not agrees(state["run"].get(name), run[name]))
    if differing:
        raise refuse(
            "the checkpoint is of another run",
            got=", ".join(_apart(name, state["run"].get(name), run[name]) for name in differing[:4]),
            expected="the settings and data with which it was written",
            fix=_way_out(path),
        )
    found: dict[str, Any] = state
    return found


def unreadable(path: str | os.PathLike[str], what: str | None = None) -> SymmetryError:
    """What to raise for a file that is no checkpoint."""
    path = Path(path)
    return refuse(
        "adapt cannot read its checkpoint",
        got=f"{path}" if what is None else f"{path}: {what}",
        expected="a file that adapt wrote",
        fix=_way_out(path),
    )


def _way_out(path: Path) -> str:
    return f"delete {path} to start anew, or name another file: checkpoint=... (--checkpoint)"


def _apart(name: str, known: Any, now: Any) -> str:
    """What a setting was and is; of tensors their shapes, of several values under one name those that differ."""
    if isinstance(known, dict) and isinstance(now, dict):
        keys = [key for key in {**known, **now} if not agrees(known.get(key), now.get(key))]
        some = (f"{key} {_short(known.get(key))}, now {_short(now.get(key))}" for key in keys[:2])
        return f"{name}: {'; '.join(some)}{' and more' if len(keys) > 2 else ''}"
    was, is_now = _short(known), _short(now)
    return f"{name}: {was}, now {is_now if was != is_now else 'the same shapes with other content'}"


def _short(value: Any) -> str:
    if _is_content(value):
        return ", ".join(" x ".join(map(str, shape)) for _, shape, *_ in value[:3]) or "none"
    told = repr(value)
    return told if len(told) <= 60 else f"{told[:56]} ..."


def _is_content(value: Any) -> bool:
    """Whether these are shapes with numbers for what is in them, as `canonize.adapt.identity.content` has made them."""
    return isinstance(value, list) and all(
        isinstance(part, list) and len(part) in (2, 3) and isinstance(part[1], list) for part in value
    )
