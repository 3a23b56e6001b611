"""One training run: its settings, its epochs, and what it keeps."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from canonize._tree import describe, to_tensors
from canonize.actions.trees import batch_of
from canonize.adapt.batches import Held, Loaded
from canonize.adapt.log import Epoch, FitLog
from canonize.adapt.state import Averaged, Weights, load, save, snapshot, trained, training, wearing
from canonize.errors import refuse
from canonize.symmetrize import Symmetrized

Loss = Callable[..., Tensor]
Judge = Callable[[Symmetrized], float]
Tell = Callable[[int], None]


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

    def check(self, symmetrized: Any) -> None:
        """Refuse what is out of range.

        Raises:
            SymmetryError: it names the setting.
        """
        if not isinstance(symmetrized, Symmetrized):
            raise refuse(
                "adapt trains a symmetrized model",
                got=describe(symmetrized),
                expected="what symmetrize returned",
                fix="adapt(symmetrize(model, symmetry, Best(canonize.nn.Scorer(channels))), images)",
            )
        for name, low, high, whole in (
            ("epochs", 1, math.inf, True),
            ("batch_size", 1, math.inf, True),
            ("patience", 1, math.inf, True),
            ("rate", 0, math.inf, False),
            ("decay", 0, math.inf, False),
            ("clip", 0, math.inf, False),
            ("average", 0, 1, False),
        ):
            number = getattr(self, name)
            if number is None and name == "patience":
                continue
            good = isinstance(number, int if whole else (int, float)) and not isinstance(number, bool)
            good = good and low <= number <= high and not (name in ("rate", "clip") and number == 0)
            if not good or (name in ("rate", "decay") and number == math.inf) or (name == "average" and number == 1):
                raise refuse(
                    f"adapt: bad {name}",
                    got=repr(number),
                    expected=f"a {'whole ' if whole else ''}number from {low}" + (" to below 1" if high == 1 else ""),
                    fix=f"{name}={getattr(_USUAL, name)!r}",
                )


_USUAL = Settings(False, 10, 64, 1e-3, 1e-2, 1.0, 0.999, None, 3)


class Run:
    """A training run between two epochs."""

    def __init__(
        self,
        symmetrized: Symmetrized,
        batches: Held | Loaded,
        loss: Loss,
        settings: Settings,
        augment: Callable[[Any, torch.Generator], Any] | None,
        seed: int,
    ) -> None:
        self.symmetrized = symmetrized
        self.batches = batches
        self.loss = loss
        self.settings = settings
        self.augment = augment
        self.seed = seed
        self.parameters = trained(symmetrized, settings.model)
        self.subject: nn.Module = symmetrized if settings.model else symmetrized.frame
        self.device = next(iter(self.parameters.values())).device
        self.steps = len(batches)
        self.optimizer = torch.optim.AdamW(self.parameters.values(), lr=settings.rate, weight_decay=settings.decay)
        # The cycle needs two steps at least; a run of one step uses the first of them.
        total = max(2, settings.epochs * self.steps)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, settings.rate, total_steps=total)
        half = settings.precision == torch.float16 and self.device.type == "cuda"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=half)
        self.averaged = Averaged(self.subject, settings.average) if settings.average else None
        self.log: list[Epoch] = []
        self.best = 0
        self.kept: Weights | None = None

    @property
    def goes_on(self) -> bool:
        """Whether another epoch is due."""
        return len(self.log) < self.settings.epochs and not self._no_better

    @property
    def _no_better(self) -> bool:
        return self.settings.patience is not None and len(self.log) - self.best >= self.settings.patience

    def epoch(self, judge: Judge | None, tell: Tell) -> None:
        """One pass over the data, and its validation."""
        number, start, total, count = len(self.log) + 1, time.perf_counter(), 0.0, 0
        seed = self.seed * 100_003 + number
        draw = torch.Generator().manual_seed(seed)
        # Loaders, dropout and the like draw from the global generator: it is lent to them, and put back.
        lent = torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else [])
        with lent, training(self.symmetrized, self.settings.model):
            torch.manual_seed(seed)
            for step, (inputs, targets) in enumerate(self.batches.epoch(draw), start=(number - 1) * self.steps + 1):
                shown = inputs if self.augment is None else self.augment(inputs, draw)
                size = batch_of(self.symmetrized.symmetry.inputs, to_tensors(shown)[0])[0]
                total, count = total + size * self._step(shown, targets, draw, number), count + size
                if self.averaged is not None:
                    self.averaged.update(self.subject, step)
                tell(step)
        figure = None if judge is None else self._judged(judge)
        before = [epoch.figure for epoch in self.log if epoch.figure is not None]
        if figure is None:
            self.best = number
        elif not before or figure > max(before):
            self.best, self.kept = number, self._weights()
        seconds = time.perf_counter() - start
        self.log.append(Epoch(number, total / max(count, 1), float(self.schedule.get_last_lr()[0]), seconds, figure))

    def _step(self, inputs: Any, targets: Any, draw: torch.Generator, number: int) -> float:
        precision = self.settings.precision
        with nullcontext() if precision is None else torch.autocast(self.device.type, precision):
            value = self.loss(self.symmetrized, inputs, targets, generator=draw)
        told = self._told(value, number)
        self.optimizer.zero_grad()
        torch.autograd.backward(self.scaler.scale(value))
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        return told

    def _told(self, value: Any, number: int) -> float:
        if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
            raise refuse(
                "adapt: the loss must be one number with a gradient",
                got=describe(value) + ("" if not isinstance(value, Tensor) or value.requires_grad else ", no gradient"),
                expected="a scalar tensor that depends on the trained parameters",
                fix="return loss.mean(); the frame's choice has a gradient in train mode only",
            )
        told = float(value.detach())
        if not math.isfinite(told):
            raise refuse(
                "adapt: the loss is not finite",
                got=f"{told} in epoch {number}",
                expected="a finite number",
                fix="lower rate=, look for NaN in the data, or train without precision=",
            )
        return told

    def _judged(self, judge: Judge) -> float:
        with wearing(self.symmetrized, None), wearing(self.subject, self._weights() if self.averaged else None):
            figure = float(judge(self.symmetrized))
        if math.isnan(figure):
            raise refuse(
                "adapt: the figure of the validation is not a number",
                got="NaN",
                expected="a number, larger is better",
                fix="look at the audit of the validation data",
            )
        return figure

    def _weights(self) -> Weights:
        if self.averaged is None:
            return snapshot(self.subject)
        return {name: value.clone() for name, value in self.averaged.weights.items()}

    @property
    def _about(self) -> dict[str, Any]:
        """What a checkpoint must agree on with the run that goes on from it."""
        told = dataclasses.asdict(self.settings) | {"precision": str(self.settings.precision)}
        # Patience decides when to stop, not how to train: it may change.
        told.pop("patience")
        shapes = {name: list(parameter.shape) for name, parameter in self.parameters.items()}
        return told | {"seed": self.seed, "steps": self.steps, "samples": self.batches.samples, "weights": shapes}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that the next epoch depends on."""
        state = {
            "run": self._about,
            "subject": self.subject.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.weights,
            "log": [dataclasses.asdict(epoch) for epoch in self.log],
            "best": self.best,
            "kept": self.kept,
        }
        save(Path(path), state)

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Go on from a checkpoint, where there is one.

        Raises:
            SymmetryError: it is of another run, or none at all.
        """
        state = load(path, self._about, self.device)
        if state is None:
            return
        self.subject.load_state_dict(state["subject"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        if self.averaged is not None:
            self.averaged.weights = state["averaged"]
        self.log = [Epoch(**epoch) for epoch in state["log"]]
        self.best, self.kept = state["best"], state["kept"]

    def finish(self) -> FitLog:
        """The best weights in place, everything in eval mode, and the record."""
        final = self.kept if self.kept is not None else (self.averaged.weights if self.averaged is not None else None)
        if final is not None:
            self.subject.load_state_dict(final)
        self.symmetrized.eval()
        numbers = sum(parameter.numel() for parameter in self.parameters.values())
        ended = "no better" if self._no_better and len(self.log) < self.settings.epochs else "done"
        return FitLog(tuple(self.log), self.best, ended, numbers, self.batches.samples)
