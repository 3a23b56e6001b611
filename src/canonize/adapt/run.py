"""One training run: its epochs, and what it keeps."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from canonize._tree import describe, to_tensors
from canonize.actions.trees import batch_of
from canonize.adapt import identity
from canonize.adapt.batches import Held, Loaded, on_device
from canonize.adapt.damage import damage
from canonize.adapt.log import Epoch, FitLog
from canonize.adapt.processes import Processes, add_up, agree, alike, mixed, once, own_draws, part, together
from canonize.adapt.settings import Settings
from canonize.adapt.state import (
    Averaged,
    Weights,
    copied,
    lent,
    load,
    save,
    snapshot,
    trained,
    training,
    unreadable,
    wearing,
)
from canonize.errors import refuse
from canonize.frames.base import draws
from canonize.symmetrize import Symmetrized

Loss = Callable[..., Tensor]
Judge = Callable[[Symmetrized], float]
Tell = Callable[[int], None]


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
        judging: dict[str, Any],
        processes: Processes,
    ) -> None:
        self.symmetrized = symmetrized
        self.batches = batches
        self.processes = processes
        self.divided = isinstance(batches, Loaded) and processes.divides(batches.loader)
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
        # The small gradients of float16 are zero, unless they are scaled up.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == torch.float16)
        self.averaged = Averaged(self.subject, settings.average) if settings.average else None
        self.log: list[Epoch] = []
        self.samples = batches.samples
        self.rate = settings.rate
        self.best = 0
        self.kept: Weights | None = None
        self._about = self._identity() | judging
        if processes.count > 1:
            others = (
                identity.content(symmetrized.model.state_dict()) if isinstance(symmetrized.model, nn.Module) else []
            )
            drawn = identity.content([one.get_state()[None] for one in batches.generators])
            more = {"model": [] if settings.model else others, "generator of the loader": drawn}
            agree(processes, self._about | more, identity.agrees)
            alike(processes, self.subject)

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
        # Where each process has batches of its own, no two of them augment with the same draws.
        draw = torch.Generator().manual_seed(mixed(seed, self.processes.rank) if self.divided else seed)
        with lent(seed, self.device):
            with training(self.symmetrized, self.settings.model):
                for step, (inputs, targets) in enumerate(self.batches.epoch(draw), start=(number - 1) * self.steps + 1):
                    shown = inputs if self.augment is None else self.augment(inputs, draw)
                    shown, size = to_tensors(shown)[0], 1
                    if self.processes.count > 1 and not self.divided:
                        shown, targets, size = part(self.processes, self.symmetrized.symmetry, shown, targets)
                    if size:
                        shown, targets = on_device(shown, self.device), on_device(targets, self.device)
                        size = batch_of(self.symmetrized.symmetry.inputs, shown)[0]
                    told, size = self._step(shown, targets, size, draw, number, step)
                    total, count = total + size * told, count + size
                    if self.averaged is not None:
                        self.averaged.update(self.subject, step)
                    tell(step)
            alike(self.processes, self.subject, buffers=True)
            figure = None if judge is None else once(self.processes, lambda: self._judged(judge))
        before = [epoch.figure for epoch in self.log if epoch.figure is not None]
        if figure is None:
            self.best = number
        elif not before or figure > max(before):
            self.best, self.kept = number, self._weights()
        self.samples = count
        seconds = self.processes.shared(time.perf_counter() - start)
        self.log.append(Epoch(number, total / max(count, 1), self.rate, seconds, figure))

    def _step(
        self, inputs: Any, targets: Any, size: int, draw: torch.Generator, number: int, step: int
    ) -> tuple[float, int]:
        """One step of the optimizer: the mean loss of the batch, and its samples."""

        def work() -> tuple[Tensor, float]:
            precision = self.settings.precision
            cast = nullcontext() if precision is None else torch.autocast(self.device.type, precision)
            with own_draws(self.processes, self.seed, step, lent, self.device) as own, cast:
                value = self.loss(self.symmetrized, inputs, targets, **draws(self.loss, own or draw))
            return value, self._told(value, number)

        value, told, count = together(self.processes, size, work)
        self.optimizer.zero_grad()
        if value is None:
            # This process has no sample of the batch; its scaler begins with the others'.
            self.scaler.scale(torch.zeros((), device=self.device))
        else:
            torch.autograd.backward(self.scaler.scale(value))
        add_up(self.processes, list(self.parameters.values()))
        self.scaler.unscale_(self.optimizer)
        length = nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.clip)
        if not self.scaler.is_enabled() and not bool(length.isfinite()):
            raise _infinite("gradient", float(length), number)
        self.rate = float(self.schedule.get_last_lr()[0])
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        # A step that overflowed in float16 was left out, and must not count.
        if self.scaler.get_scale() >= scale:
            self.schedule.step()
        return told, count

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
            raise _infinite("loss", told, number)
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
        return snapshot(self.subject) if self.averaged is None else copied(self.averaged.weights)

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree on with the run that goes on from it."""
        told = dataclasses.asdict(self.settings) | {"precision": str(self.settings.precision)}
        # Patience decides when to stop, not how to train: it may change.
        told.pop("patience")
        shapes = {name: list(parameter.shape) for name, parameter in self.parameters.items()}
        told |= {"loss": identity.told(self.loss), "augment": identity.told(self.augment), "seed": self.seed}
        told |= {"claim": identity.plain(self.symmetrized.symmetry), "frame": identity.options(self.symmetrized.frame)}
        told |= {"steps": self.steps, "samples": self.batches.samples, "weights": shapes}
        return told | {"data": identity.data(self.batches)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that the next epoch depends on.

        Raises:
            SymmetryError: a place that cannot be written to.
        """
        state = {
            "run": self._about,
            "subject": self.subject.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.weights,
            "generators": [one.get_state() for one in self.batches.generators],
            "log": [dataclasses.asdict(epoch) for epoch in self.log],
            "samples": self.samples,
            "best": self.best,
            "kept": self.kept,
        }
        once(self.processes, lambda: save(Path(path), state))

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Go on from a checkpoint; where there is none, write the first, so that even the first epoch can be repeated.

        Raises:
            SymmetryError: it is of another run, or none at all; a place that cannot be written to.
        """
        state = once(self.processes, lambda: load(path, self._about))
        if state is None:
            self.save(path)
            return
        try:
            wrong = damage(state, self)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
            raise unreadable(path, type(error).__name__) from None
        if wrong is not None:
            raise unreadable(path, wrong)
        own = snapshot(self.subject)
        try:
            self.subject.load_state_dict(state["subject"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.scaler.load_state_dict(state["scaler"])
            if self.averaged is not None:
                self.averaged.weights = on_device(state["averaged"], self.device)
            for one, known in zip(self.batches.generators, state["generators"], strict=True):
                one.set_state(known)
            self.log = [Epoch(**epoch) for epoch in state["log"]]
            self.samples, self.best, self.kept = state["samples"], state["best"], state["kept"]
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            self.subject.load_state_dict(own)
            raise unreadable(path, type(error).__name__) from None

    def finish(self) -> FitLog:
        """The best weights in place, everything in eval mode and without gradients, and the record."""
        final = self.kept if self.kept is not None else (self.averaged.weights if self.averaged is not None else None)
        if final is not None:
            self.subject.load_state_dict(final)
        alike(self.processes, self.subject)
        self.optimizer.zero_grad()
        self.symmetrized.eval()
        numbers = sum(parameter.numel() for parameter in self.parameters.values())
        ended = "no better" if self._no_better and len(self.log) < self.settings.epochs else "done"
        return FitLog(tuple(self.log), self.best, ended, numbers, self.samples)


def _infinite(what: str, value: float, number: int) -> Exception:
    return refuse(
        f"adapt: the {what} is not finite",
        got=f"{value} in epoch {number}",
        expected="a finite number",
        fix="lower rate=, look for NaN in the data, or train without precision=",
    )
