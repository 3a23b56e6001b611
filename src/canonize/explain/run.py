"""`explain`: what each frame would cost on a model, before one is chosen."""

from __future__ import annotations

import math
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from canonize._own import own
from canonize._tree import to_arrays, to_tensors
from canonize.actions.trees import batch_of, take
from canonize.adapt.modes import in_eval
from canonize.audit.cost import passes_of, peak_of, wait
from canonize.audit.hints import failure
from canonize.audit.preflight import check_inputs, check_model
from canonize.audit.result import Cost
from canonize.errors import SymmetryError, refuse, within
from canonize.explain.candidates import Offer, offers
from canonize.explain.result import Choice, Explanation
from canonize.frames.check import check_is_frame
from canonize.symmetrize import symmetrize
from canonize.symmetry import Symmetry, arguments, call

LEAST, MOST, ENOUGH = 3, 25, 0.5
"""Rounds of timing: at least and at most so many, and no more after so many seconds."""


def explain(
    model: Any,
    symmetry: Symmetry,
    inputs: Any,
    *,
    frames: Mapping[str, Any] | None = None,
    batch_size: int = 64,
    gradients: bool = False,
    progress: Callable[[int, int], None] | None = None,
    name: str | None = None,
) -> Explanation:
    """What each frame would cost on this model: forward passes, seconds, multiply-adds and memory, beside the plain model.

    Every frame that goes with the claim is put before the model and called on one batch, untrained where it has weights:
    training does not change what it costs. A frame that is refused is listed with the reason. The symmetry holds with each
    of those that are called exact; which answers best is for `audit` with a metric to say.

    Args:
        model: any callable, in eval mode.
        symmetry: the claim.
        inputs: what the model takes: a tensor or an array, a tuple of arguments, a dict; a batch of real inputs, since what
            a frame costs may depend on them (symmetric molecules have more poses).
        frames: others to compare, by name; the frames that fit the claim where None.
        batch_size: inputs in the timed call, at most.
        gradients: keep autograd on, for models that differentiate inside (forces).
        progress: called with (done, total) frames.
        name: what to call the model.

    Returns:
        The findings; `print` shows them as a table. Multiply-adds are those of products and convolutions, as torch counts
        them; the seconds are medians of a few calls in turn on this machine, as it is at that moment.

    Raises:
        SymmetryError: a model in train mode or one that raises, inputs that do not fit the claim or hold NaN, bad settings.

    Example:
        >>> import torch
        >>> from canonize import C, Image, Scalar, Symmetry, explain
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
        >>> found = explain(model, Symmetry(C(4), Image(), Scalar()), torch.rand(8, 1, 4, 4))
        >>> found["Average()"].cost.passes
        4.0
    """
    with within("explain(...)"):
        value, arrays = to_tensors(arguments(symmetry, inputs))
        count, _, device = batch_of(symmetry.inputs, value)
        check_model(model, value)
        check_inputs(symmetry.inputs, value, count)
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise refuse("explain: bad batch_size", got=repr(batch_size), expected="at least 1", fix="batch_size=64")
        chosen = _chosen(symmetry, model, value, frames, device)
        batch = min(batch_size, count)
        some = take(symmetry.inputs, value, torch.arange(batch, device=device))

        def run(one: Any) -> Any:
            mine = own(some, some)
            return call(one, symmetry, to_arrays(mine) if arrays else mine)

        # Frames that draw are not handed a source here; what they draw is put back.
        devices = [device] if device.type == "cuda" else []
        with torch.set_grad_enabled(gradients), torch.random.fork_rng(devices=devices):
            plain = _Plain(model, symmetry, some, run, batch, device)
            choices = []
            for number, (text, why, make) in enumerate(chosen):
                choices.append(_choice(text, why, make, plain))
                if progress is not None:
                    progress(number + 1, len(chosen))
    return Explanation(
        name=name or str(getattr(model, "__name__", type(model).__name__)),
        symmetry=f"{symmetry.group!r}, inputs {symmetry.inputs!r}, outputs {symmetry.outputs!r}",
        batch=batch,
        seconds=statistics.median(plain.seconds),
        memory=plain.memory,
        choices=tuple(sorted(choices, key=_dearness)),
        machine=f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads, {device.type}, "
        f"torch {torch.__version__}",
    )


def _dearness(choice: Choice) -> float:
    """Times the plain model, timed beside it: seconds of different moments do not compare on a busy machine."""
    cost = choice.cost
    return math.inf if cost is None else cost.seconds / max(cost.plain_seconds or 0.0, 1e-12)


def _placed(frame: Any, device: torch.device) -> Any:
    """A new frame as it is used: in eval mode, where the inputs are."""
    return frame.eval().to(device) if isinstance(frame, nn.Module) else frame


def _chosen(
    symmetry: Symmetry, model: Any, value: Any, frames: Mapping[str, Any] | None, device: torch.device
) -> list[Offer]:
    if frames is None:
        found = offers(symmetry, model, value)
        return [(text, why, lambda make=make: _placed(make(), device)) for text, why, make in found]  # type: ignore[misc]  # binds it
    if not isinstance(frames, Mapping) or not frames:
        raise refuse(
            "explain: frames go by name",
            got=repr(frames),
            expected="a dict with at least one frame",
            fix='frames={"mine": frame}',
        )
    for frame in frames.values():
        check_is_frame(frame, "explain")
    return [(str(text), "yours", lambda frame=frame: frame) for text, frame in frames.items()]  # type: ignore[misc]  # binds it


class _Plain:
    """The model as it is, and what a call of it costs."""

    def __init__(
        self,
        model: Any,
        symmetry: Symmetry,
        value: Any,
        run: Callable[[Any], Any],
        batch: int,
        device: torch.device,
    ) -> None:
        self.model = model
        self.symmetry = symmetry
        self.run = run
        self.batch = batch
        self.device = device
        try:
            run(model)
        except SymmetryError:
            raise
        except Exception as error:
            raise failure(error, value, "the inputs as they came", model=model, spec=symmetry.inputs) from error
        self.memory = peak_of(lambda: run(model), device, model)
        self.operations = _operations(lambda: run(model))
        self.seconds = _timed({"": lambda: run(model)}, device)[""]


def _choice(text: str, why: str, make: Callable[[], Any], plain: _Plain) -> Choice:
    frame, run = None, plain.run
    try:
        frame = make()
        mended = symmetrize(plain.model, plain.symmetry, frame)
        with in_eval(frame):
            passes = passes_of(run, mended, plain.batch)
            whole = _operations(lambda: run(mended))
            memory = peak_of(lambda: run(mended), plain.device, plain.model)
            calls = {
                "plain": lambda: run(plain.model),
                "whole": lambda: run(mended),
                "poses": lambda: run(mended.poses),
            }
            times = _timed(calls, plain.device)
    except Exception as error:
        # One frame less is no reason to lose what was found of the others.
        first = next(iter(str(error).strip().splitlines()), "")
        told = first if isinstance(error, SymmetryError) else f"{type(error).__name__}: {first}"
        return Choice(text, "" if frame is None else type(frame).__name__, why, refused=told)
    middle = {name: statistics.median(each) for name, each in times.items()}
    return Choice(
        frame=text,
        kind=type(frame).__name__,
        good_for=why,
        cost=Cost(
            plain.batch,
            passes,
            middle["whole"],
            memory,
            middle["plain"],
            plain.memory,
        ),
        pose_seconds=middle["poses"],
        operations=None if not plain.operations or whole is None else whole / plain.operations,
        parameters=sum(part.numel() for part in frame.parameters()) if isinstance(frame, nn.Module) else 0,
        made=frame,
    )


def _timed(calls: dict[str, Callable[[], Any]], device: torch.device) -> dict[str, list[float]]:
    """Seconds of each call, one after the other in turn, so that all meet the same disturbances."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    began = time.perf_counter()
    for repeat in range(MOST + 1):
        for name, once in calls.items():
            wait(device)
            start = time.perf_counter()
            once()
            wait(device)
            if repeat:
                # The first round warms caches up.
                times[name].append(time.perf_counter() - start)
        if repeat >= LEAST and time.perf_counter() - began > ENOUGH:
            break
    return times


def _operations(run: Callable[[], Any]) -> int | None:
    """Twice the multiply-adds of a call, as torch counts them; None where they cannot be counted."""
    counter = FlopCounterMode(display=False)
    try:
        with counter:
            run()
    except Exception:
        # The model has answered before: what fails here is the counting.
        return None
    return int(counter.get_total_flops())
