"""The arguments of `adapt` beside the model and the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import torch

from canonize._tree import describe
from canonize.errors import refuse
from canonize.symmetrize import Symmetrized


@final
@dataclass(frozen=True)
class Settings:
    """The settings of `adapt` of the same names."""

    model: bool
    epochs: int
    batch_size: int
    rate: float
    decay: float
    clip: float
    average: float
    precision: torch.dtype | None
    patience: int | None

    def check(self) -> None:
        """Refuse what is out of range.

        Raises:
            SymmetryError: it names the setting.
        """
        for name in ("epochs", "batch_size", "patience"):
            number = getattr(self, name)
            whole = isinstance(number, int) and not isinstance(number, bool) and number >= 1
            if not whole and not (number is None and name == "patience"):
                raise _bad(name, number, "a whole number from 1")
        for name, least, most, expected in (
            ("rate", 5e-324, 1e300, "a finite number above 0"),
            ("decay", 0.0, 1e300, "a finite number from 0"),
            ("clip", 5e-324, math.inf, "a number above 0, infinity for no bound"),
            ("average", 0.0, 1 - 2**-53, "a number from 0 to below 1"),
        ):
            number = getattr(self, name)
            if not isinstance(number, int | float) or isinstance(number, bool) or not least <= number <= most:
                raise _bad(name, number, expected)
        if self.precision not in (None, torch.bfloat16, torch.float16):
            raise _bad("precision", self.precision, "torch.bfloat16, torch.float16, or None for that of the weights")
        if not isinstance(self.model, bool):
            raise _bad("model", self.model, "True to train the model as well, or False")


_USUAL = Settings(False, 10, 64, 1e-3, 1e-2, 1.0, 0.999, None, 3)


def _bad(name: str, value: Any, expected: str) -> Exception:
    return refuse(f"adapt: bad {name}", got=describe(value), expected=expected, fix=f"{name}={getattr(_USUAL, name)!r}")


def check_symmetrized(symmetrized: Any) -> None:
    """Refuse what `symmetrize` has not made.

    Raises:
        SymmetryError: anything else.
    """
    if not isinstance(symmetrized, Symmetrized):
        raise refuse(
            "adapt trains a symmetrized model",
            got=describe(symmetrized),
            expected="what symmetrize returned",
            fix="adapt(symmetrize(model, symmetry, Best(canonize.nn.Scorer(channels))), images)",
        )


def check_functions(generator: Any, loss: Any, **others: Any) -> None:
    """Refuse a generator that is none, and functions that cannot be called; all but the loss may be None.

    Raises:
        SymmetryError: it names the argument.
    """
    if generator is not None and not isinstance(generator, torch.Generator):
        raise refuse(
            "adapt: bad generator",
            got=describe(generator),
            expected="a torch.Generator, or None for the seed 0",
            fix=f"generator=torch.Generator().manual_seed({generator if isinstance(generator, int) else 0})",
        )
    for name, function in {"loss": loss, **others}.items():
        if (function is None and name != "loss") or (callable(function) and not isinstance(function, type)):
            continue
        raise refuse(
            f"adapt: the {name} cannot be called",
            got=f"the class {function.__name__}" if isinstance(function, type) else describe(function),
            expected="a function",
            fix="loss=canonize.prior_loss" if name == "loss" else f"leave {name}= out",
        )
