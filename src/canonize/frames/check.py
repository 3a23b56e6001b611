"""What can be a frame, and what only looks like one."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from canonize._tree import describe
from canonize.errors import refuse
from canonize.frames.energies import Confidence, LogSumExp


def check_is_frame(frame: Any, where: str) -> None:
    """Refuse what cannot be called as a frame is: classes, energies, other functions.

    Raises:
        SymmetryError: any of them.
    """
    if not callable(frame) or isinstance(frame, type):
        raise refuse(
            f"{where}: the frame cannot be called",
            got=f"the class {frame.__name__}" if isinstance(frame, type) else describe(frame),
            expected="a frame such as Average() or Best(energy)",
            fix="write it with brackets; a frame of yours is a function (symmetry, inputs, *, generator=None) -> Poses",
        )
    # These two take any arguments, so that their signature does not tell them from a frame.
    energy = isinstance(frame, Confidence | LogSumExp)
    if energy or not _takes_two(frame):
        name = f"{type(frame).__name__}(model)" if energy else "energy"
        raise refuse(
            f"{where}: the frame cannot be called as a frame is",
            got=f"{describe(frame)}, which looks like an energy"
            if energy
            else f"{describe(frame)}, not of two arguments",
            expected="a function (symmetry, inputs) -> Poses",
            fix=f"for an energy write Best({name}); a frame of yours takes the claim and the inputs",
        )


def _takes_two(frame: Any) -> bool:
    """Whether something can be called as `frame(symmetry, inputs)`; True where its signature is unknown."""
    try:
        inspect.signature(frame.forward if isinstance(frame, torch.nn.Module) else frame).bind(None, None)
    except TypeError:
        return False
    except ValueError:
        return True
    return True
