"""What a checkpoint must agree on with the run that goes on from it, in words that are the same in every process."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from canonize._tree import children, tensors, to_tensors
from canonize.adapt.batches import Held, Loaded
from canonize.adapt.validate import halves
from canonize.linalg import content_key
from canonize.symmetry import Symmetry

_SAMPLES = 64  # whose contents are compared


def told(value: Any) -> str:
    """A function or a setting in words; of a `functools.partial` also what it sets."""
    inner = getattr(value, "func", None)
    if inner is not None and hasattr(value, "keywords"):
        parts = [told(part) for part in value.args]
        parts += [f"{name}={told(part)}" for name, part in sorted(value.keywords.items())]
        return f"{told(inner)} with {', '.join(parts)}"
    if isinstance(value, Tensor):
        return f"tensor {content(value)}"
    if isinstance(value, nn.Module):
        return f"{type(value).__name__} {options(value)}"
    if children(value) is None and callable(value):
        return str(getattr(value, "__qualname__", type(value).__qualname__))
    return plain(value)


def plain(value: Any) -> str:
    """An object in its own words, without where it lives in memory, which differs from one process to the next."""
    return re.sub(" at 0x[0-9a-fA-F]+", "", repr(value))


def options(frame: nn.Module) -> dict[str, str]:
    """The plain attributes of a frame, and of the parts of it that torch and canonize have made, by name."""
    found = {}
    for place, part in frame.named_modules():
        # Modules of others may count or remember in theirs.
        if place and type(part).__module__.partition(".")[0] not in ("canonize", "torch"):
            continue
        for name, value in sorted(vars(part).items()):
            if name != "training" and not name.startswith("_") and _is_plain(value):
                found[f"{place}.{name}" if place else name] = repr(value)
    return found


def data(batches: Held | Loaded) -> list[list[Any]]:
    """Shapes and contents of what is in memory: all inputs with their targets, a loader's tensors, or its first batch."""
    if isinstance(batches, Held):
        return [*content(batches.value), *content(batches.targets)]
    loader = batches.loader
    if isinstance(loader, list):
        return content(loader[0])
    return content(getattr(getattr(loader, "dataset", None), "tensors", None))


def validation(symmetry: Symmetry, value: Any) -> list[list[Any]]:
    """Likewise of a validation. Of targets that are no whole numbers the shapes alone: they may be answers of a model."""
    inputs, targets = halves(symmetry, value)
    return [*content(inputs), *content(targets, floats=False)]


def content(value: Any, *, floats: bool = True) -> list[list[Any]]:
    """For some of the tensors the shape, and a number for what some of the samples hold; spread evenly."""
    found: list[list[Any]] = []
    parts = tensors(to_tensors(value)[0])
    for place in _spread(len(parts)):
        part = parts[place].detach()
        rows = part if part.ndim else part[None]
        found.append([len(parts), list(part.shape)])
        whole = not part.is_floating_point() and not part.is_complex()
        if part.layout == torch.strided and (floats or whole):
            keys = content_key(rows[torch.tensor(_spread(len(rows)), dtype=torch.int64, device=part.device)])
            found[-1].append(int(content_key(keys[None])))
    return found


def _spread(count: int) -> list[int]:
    some = min(_SAMPLES, count)
    return [position * count // some for position in range(some)]


def agrees(known: Any, now: Any) -> bool:
    """Whether two plain values are equal, whatever a file has put in the place of one."""
    if isinstance(known, dict) and isinstance(now, dict):
        return known.keys() == now.keys() and all(agrees(known[name], now[name]) for name in now)
    if isinstance(known, list) and isinstance(now, list):
        return len(known) == len(now) and all(map(agrees, known, now))
    return _is_plain(known) and _is_plain(now) and bool(known == now)


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, int | float | str | bool)
