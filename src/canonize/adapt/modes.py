"""Looking at a model without changing how it stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def in_eval(module: Any) -> Iterator[None]:
    """`module` in eval mode inside the block, each of its parts in its own mode after it; anything else as it is."""
    modes = [(part, part.training) for part in module.modules()] if isinstance(module, nn.Module) else []
    if modes:
        module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
