"""Why a model failed on its inputs, as far as their shapes and dtypes tell it."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from canonize._tree import describe, matched, tensors
from canonize.actions.images import Volume, axes_of
from canonize.errors import SymmetryError, refuse

_WORDS = 400
"""Characters of the model's own words that are shown: runtimes tell what is wrong in a second and third line."""
_ITSELF = (
    "call the model on these inputs yourself; check dtype, shape, and that the inputs are declared as it takes them"
)


def failure(error: Exception, value: Any, where: str, *, model: Any = None, spec: Any = None) -> SymmetryError:
    """The model's own failure as a `SymmetryError` that shows what it was given, and the likely cause where there is one.

    Args:
        error: what the model raised.
        value: what it was given.
        where: which inputs these were.
        model: what was called; its first convolution and the dtype of its weights are looked at.
        spec: tree of actions of the inputs.
    """
    given = "; ".join(describe(part) for part in tensors(value)) or describe(value)
    words = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
    found = _hints(str(error), value, model, spec)
    return refuse(
        f"the model failed on {where}",
        got=f"{type(error).__name__}: {words[:_WORDS]}{'...' if len(words) > _WORDS else ''} (inputs: {given})",
        expected="an answer",
        fix="; or ".join(found) if found else _ITSELF,
    )


def _hints(words: str, value: Any, model: Any, spec: Any) -> list[str]:
    parts = [(action, part) for action, part, _ in matched(spec, value) if isinstance(part, Tensor)]
    if not parts:
        return []
    found = _dtypes(words, [part for _, part in parts], model)
    images = [part for action, part in parts if axes_of(action) and not isinstance(action, Volume)]
    for part in images[:1]:
        found += _of_runtime(words, part) or _shapes(part, _channels(model))
    return found


def _dtypes(words: str, parts: list[Tensor], model: Any) -> list[str]:
    """Whole numbers or doubles for a model of floats; whole numbers beside floats may well be meant."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    kinds = {weight.dtype for module in modules for weight in module.parameters(recurse=False)}
    float32 = kinds == {torch.float32} or "expected: (tensor(float))" in words
    if not float32 or any(isinstance(module, nn.Embedding | nn.EmbeddingBag) for module in modules):
        return []
    if any(part.dtype == torch.float32 for part in parts):
        return []
    if any(part.dtype == torch.uint8 for part in parts):
        return ["bytes were given to a model of floats: x.float() / 255"]
    if not any(part.is_floating_point() or part.is_complex() for part in parts):
        return ["whole numbers were given to a model of floats: x.float()"]
    return [f"{str(parts[0].dtype).removeprefix('torch.')} was given to a model of float32: x.float()"]


def _channels(model: Any) -> int | None:
    """What the first convolution of a model takes; None where there is none."""
    if not isinstance(model, nn.Module):
        return None
    return next((module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d)), None)


def _of_runtime(words: str, part: Tensor) -> list[str]:
    """What ONNX Runtime says that the file expects, as a shape."""
    wanted = {int(axis): int(size) for axis, size in re.findall(r"index: (\d+) Got: \d+ Expected: (\d+)", words)}
    if not wanted or max(wanted) >= part.ndim:
        return []
    sizes = [str(wanted.get(axis, size)) for axis, size in enumerate(part.shape)]
    shape = ", ".join([sizes[0] if 0 in wanted else "N", *sizes[1:]])
    return [f"the file expects the shape ({shape})", *_shapes(part, wanted.get(1))]


def _shapes(part: Tensor, channels: int | None) -> list[str]:
    """What one batch of images may have wrong beside a model that takes so many channels (None: nobody knows)."""
    if part.ndim == 3:
        return ["the images have no axis of channels: x[:, None]"]
    if part.ndim != 4 or part.shape[1] == channels:
        return []
    if part.shape[3] in (1, 3, 4) and part.shape[1] > 4 and channels in (None, part.shape[3]):
        return ["the channels seem to come last: x.permute(0, 3, 1, 2)"]
    if (part.shape[1], channels) == (3, 1):
        return ["the model takes 1 channel and got 3: x.mean(1, keepdim=True), on the command line --gray"]
    if (part.shape[1], channels) == (1, 3):
        return ["the model takes 3 channels and got 1: x.expand(-1, 3, -1, -1), on the command line without --gray"]
    return []
