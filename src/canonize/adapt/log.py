"""The record of a training run."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, final


@final
@dataclass(frozen=True)
class Epoch:
    """One pass over the data.

    Attributes:
        number: from 1.
        loss: mean over the samples of the epoch, in the unit of the loss.
        rate: learning rate of its last step.
        seconds: that the epoch took, the validation included.
        figure: of the validation after it, larger is better; None without one.
    """

    number: int
    loss: float
    rate: float
    seconds: float
    figure: float | None = None


@final
@dataclass(frozen=True)
class FitLog:
    """What `adapt` did; `print` it, plot `losses` and `figures`, or keep `as_dict()` as JSON.

    Attributes:
        epochs: one entry for each epoch that was run, those before a resume included.
        best: number of the epoch whose weights were kept.
        ended: "done", or "no better" where the validation's figure stopped rising.
        parameters: numbers that were trained.
        samples: inputs in the last epoch.
    """

    epochs: tuple[Epoch, ...]
    best: int
    ended: str
    parameters: int
    samples: int

    @property
    def losses(self) -> tuple[float, ...]:
        """Mean loss of each epoch."""
        return tuple(epoch.loss for epoch in self.epochs)

    @property
    def figures(self) -> tuple[float | None, ...]:
        """The validation's figure after each epoch."""
        return tuple(epoch.figure for epoch in self.epochs)

    @property
    def seconds(self) -> float:
        """Time spent in all epochs."""
        return sum(epoch.seconds for epoch in self.epochs)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; an infinite figure as a string."""
        told = dataclasses.asdict(self)
        told["epochs"] = [{name: _plain(value) for name, value in epoch.items()} for epoch in told["epochs"]]
        return told

    def __str__(self) -> str:
        lines = [f"{'epoch':>5}  {'loss':>10}  {'figure':>8}  {'rate':>8}  {'seconds':>7}"]
        for epoch in self.epochs:
            figure = "" if epoch.figure is None else f"{epoch.figure:.4g}"
            kept = "  kept" if epoch.number == self.best else ""
            lines.append(
                f"{epoch.number:>5}  {epoch.loss:>10.4g}  {figure:>8}  {epoch.rate:>8.2g}  {epoch.seconds:>7.1f}{kept}"
            )
        lines.append(f"{self.ended}; {self.parameters:,} parameters, {self.samples:,} samples, {self.seconds:.1f} s")
        return "\n".join(lines)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
