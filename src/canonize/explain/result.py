"""The findings of `explain`."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, final

from canonize.audit.result import Cost


@final
@dataclass(frozen=True)
class Choice:
    """What one frame costs on the model.

    Attributes:
        frame: the call that makes it, in words.
        kind: name of the class, which tells what a default is.
        good_for: what it is good for, in a few words.
        cost: passes, seconds and memory of one call beside the plain model's; None where the frame was refused.
        pose_seconds: median seconds for the poses alone, out of those of the call.
        operations: multiply-adds of one call over those of the plain model, which no clock and no machine changes; None
            where the plain model has none that are counted (products of matrices and convolutions are).
        refused: why the frame does not go with the model, in one line; None where it does.
        parameters: numbers that training sets; 0 where there is nothing to train.
        made: the frame itself, to pass to `symmetrize`; not in `as_dict()`.
    """

    frame: str
    kind: str
    good_for: str
    cost: Cost | None = None
    pose_seconds: float | None = None
    operations: float | None = None
    refused: str | None = None
    parameters: int = 0
    made: Any = field(default=None, repr=False, compare=False)


@final
@dataclass(frozen=True)
class Explanation:
    """What each frame costs on a model; `print` shows a table.

    Attributes:
        name: of the model.
        symmetry: the claim, in words.
        batch: samples in the timed call.
        seconds: median seconds of one call of the plain model.
        memory: peak bytes of tensors in that call; None where it cannot be measured.
        choices: one for each frame, those that work first, from cheap to dear.
        machine: where it was measured.
    """

    name: str
    symmetry: str
    batch: int
    seconds: float
    memory: int | None
    choices: tuple[Choice, ...]
    machine: str

    def __getitem__(self, frame: str) -> Choice:
        """The choice with this text of `frame`.

        Raises:
            KeyError: there is none.
        """
        for choice in self.choices:
            if choice.frame == frame:
                return choice
        raise KeyError(frame)

    def as_dict(self) -> dict[str, Any]:
        """All findings as plain numbers and strings."""
        found = {name: getattr(self, name) for name in ("name", "symmetry", "batch", "seconds", "memory", "machine")}
        return found | {"choices": [_plain(choice) for choice in self.choices]}

    def to_json(self) -> str:
        """`as_dict()` as JSON."""
        return json.dumps(self.as_dict(), indent=1, allow_nan=False)

    def rows(self) -> list[tuple[str, ...]]:
        """The table: a row of headings, then one for each frame that works.

        Time, multiply-adds and memory are those of a call over those of the plain model; "poses" is the share of that time
        that goes into finding the poses.
        """
        head = ("frame", "passes", "time", "poses", "mult-adds", "memory", "good for")
        return [head, *(_row(choice) for choice in self.choices if choice.cost is not None)]

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
        lines = [
            f"{self.name}: {1e3 * self.seconds:.3g} ms for {self.batch} inputs, plain",
            f"  claim: {self.symmetry}",
        ]
        for row in rows:
            cells = [
                cell.ljust(width) if not n else cell.rjust(width)
                for n, (cell, width) in enumerate(zip(row, widths, strict=False))
            ]
            lines.append("  " + "  ".join([*cells, row[-1]]).rstrip())
        lines += [f"  {choice.frame}: {choice.refused}" for choice in self.choices if choice.refused is not None]
        return "\n".join([*lines, f"  {self.machine}"])


def _plain(choice: Choice) -> dict[str, Any]:
    found = {name: getattr(choice, name) for name in Choice.__dataclass_fields__ if name not in ("made", "cost")}
    return found | {"cost": None if choice.cost is None else asdict(choice.cost)}


def _row(choice: Choice) -> tuple[str, ...]:
    cost = choice.cost
    assert cost is not None
    return (
        choice.frame,
        f"{cost.passes:.3g}",
        _times(cost.seconds, cost.plain_seconds),
        _percent(choice.pose_seconds, cost.seconds),
        _times(choice.operations, 1.0),
        _times(cost.memory, cost.plain_memory),
        choice.good_for,
    )


def _times(value: float | None, plain: float | None) -> str:
    return "-" if value is None or not plain or not math.isfinite(value / plain) else f"{value / plain:.2f} x"


def _percent(part: float | None, whole: float) -> str:
    return "-" if part is None or not whole > 0 else f"{min(1.0, part / whole):.0%}"
