"""One sample without its batch axis, where its shape gives it away although it can be read as a batch too."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor

from canonize._tree import matched
from canonize.actions.images import Image, VectorImage
from canonize.actions.linear import Point
from canonize.groups import SE, E, Translation

_CHANNELS = (1, 3, 4)
"""First axes that are the channels of one image more often than the size of a batch."""
_OURS = {"canonize", "torch", "contextlib", "jaxtyping"}
_asked: ContextVar[bool] = ContextVar("canonize_single_samples_asked", default=True)


def warn_of_single(group: Any, spec: Any, value: Any) -> None:
    """Warn, at the user's line, of inputs that look like one sample without a batch axis. Costs a look at the shapes.

    (N, height, width) is a batch of images without channels and (N, n) a batch of single points, so that neither is refused.
    Labels of pixels (`Mask`) have no channels as a rule; rows of many samples (`Rows`) and lists of entries (`Each`) are never
    meant.

    Args:
        group: the group of the claim; that a cloud is one point is told only where shifts leave nothing of it.
        spec: tree of actions.
        value: what it mirrors, as tensors.
    """
    if not _asked.get():
        return
    parts = list(matched(spec, value))
    # A cloud beside it, with the batch in front, shows that the single points are meant: a gripper beside what it grasps.
    batched = any(isinstance(action, Point) and isinstance(part, Tensor) and part.ndim > 2 for action, part, _ in parts)
    shifts = isinstance(group, Translation | SE | E) and not batched
    for action, part, path in parts:
        told = _reading(action, part, shifts=shifts)
        if told:
            text = f"{path.strip('.') + ' ' if path else ''}{tuple(part.shape)} declared {action!r} is read as {told}"
            warnings.warn(text, UserWarning, stacklevel=_level())


@contextmanager
def sure_of_batches() -> Iterator[None]:
    """Without that warning inside: whoever calls has looked, or hands over parts of a batch that are small by chance."""
    token = _asked.set(False)
    try:
        yield
    finally:
        _asked.reset(token)


def _reading(action: Any, part: Any, *, shifts: bool) -> str:
    if not isinstance(part, Tensor):
        return ""
    if isinstance(action, Image | VectorImage) and part.ndim == 3 and part.shape[0] in _CHANNELS:
        count, height, width = part.shape
        return (
            f"{count} sample{'s' if count > 1 else ''} of {height} x {width} without channels; "
            "one image needs its batch axis: x[None]"
        )
    if shifts and isinstance(action, Point) and part.ndim == 2 and len(part):
        count = len(part)
        return f"{count} sample{'s' if count > 1 else ''} of one point; one cloud needs its batch axis: x[None]"
    return ""


def _level() -> int:
    """How far up from who warns the user's line is: past the frames of this library and of torch."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        frame, level = frame.f_back, level + 1
    return level
