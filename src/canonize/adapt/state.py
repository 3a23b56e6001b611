"""What a training run has to remember: modes to put back, averaged weights, and checkpoints that resume to the same numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from canonize.errors import refuse
from canonize.symmetrize import Symmetrized

Weights = dict[str, Tensor]


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
    return found


def snapshot(module: nn.Module) -> Weights:
    """A copy of all parameters and buffers."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


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
            mine = self.weights[name]
            if value.is_floating_point():
                mine.lerp_(value, share)
            else:
                mine.copy_(value)


@contextmanager
def wearing(module: nn.Module, weights: Weights | None) -> Iterator[None]:
    """`module` in eval mode with these weights inside the block, and with its own after it."""
    own, modes = snapshot(module) if weights is not None else None, [(m, m.training) for m in module.modules()]
    if weights is not None:
        module.load_state_dict(weights)
    module.eval()
    try:
        yield
    finally:
        if own is not None:
            module.load_state_dict(own)
        for part, mode in modes:
            part.training = mode


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; a kill in between leaves the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    torch.save(state, partial)
    partial.replace(path)


def load(path: str | os.PathLike[str], run: dict[str, Any], device: torch.device) -> dict[str, Any] | None:
    """The checkpoint of this run; None where there is none yet. Never runs code from the file.

    Raises:
        SymmetryError: a file that is no checkpoint, or the checkpoint of another run.
    """
    path = Path(path)
    if not path.exists():
        return None
    way_out = f"name another file, or delete {path.name} to start anew"
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise refuse(
            "adapt cannot read its checkpoint",
            got=f"{path.name}: {type(error).__name__}",
            expected="a file that adapt wrote",
            fix=way_out,
        ) from None
    if not isinstance(state, dict) or not isinstance(state.get("run"), dict):
        raise refuse("adapt cannot read its checkpoint", got=path.name, expected="a file that adapt wrote", fix=way_out)
    differing = sorted(name for name in run if state["run"].get(name) != run[name])
    if differing:
        raise refuse(
            "the checkpoint is of another run",
            got=", ".join(f"{name}: {state['run'].get(name)!r}, now {run[name]!r}" for name in differing[:4]),
            expected="the settings with which it was written",
            fix=way_out,
        )
    found: dict[str, Any] = state
    return found
