"""What a symmetry costs: forward passes, seconds and peak memory, beside the plain model."""

from __future__ import annotations

import copy
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from canonize._tree import tensors, to_tensors
from canonize.actions.trees import batch_of
from canonize.audit.result import Cost
from canonize.errors import SymmetryError
from canonize.symmetrize import Symmetrized
from canonize.symmetry import Symmetry, collect


def cost_of(
    run: Callable[[Any], Any], model: Any, plain: Callable[[], Any] | None, batch: int, device: torch.device
) -> Cost:
    """The cost of `model` on a batch, beside `plain`, which calls the model behind the frame.

    Args:
        run: one call of the model that it is given, on the batch.
        model: the audited model; its inner model's calls are counted where it is a `Symmetrized` module.
        plain: one call of the inner model on the same inputs; None where the model is plain.
        batch: samples in a call.
        device: where the inputs lie.
    """
    return Cost(
        batch=batch,
        passes=passes_of(run, model, batch) if isinstance(model, Symmetrized) else 1.0,
        seconds=_seconds(lambda: run(model), device),
        memory=peak_of(lambda: run(model), device, model),
        plain_seconds=None if plain is None else _seconds(plain, device),
        plain_memory=None if plain is None else peak_of(plain, device, model),
    )


def passes_of(run: Callable[[Any], Any], model: Symmetrized, batch: int) -> float:
    """How many samples the inner model is shown for each sample of the batch, in one call."""
    with _counted(model) as (counting, seen):
        run(counting)
    return seen[0] / max(batch, 1)


@contextmanager
def _counted(model: Symmetrized) -> Iterator[tuple[Symmetrized, list[int]]]:
    """A model that answers as `model` does and counts the samples that the inner one is shown.

    Where that is an ordinary module, what an energy shows it counts too; of anything else only what the frame shows it.
    """
    seen, inner = [0], model.model

    def count(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen[0] += _samples(model.symmetry, args, kwargs)

    # TorchScript does not run hooks that were not compiled with it.
    if isinstance(inner, nn.Module) and not isinstance(inner, torch.jit.ScriptModule):
        handle = inner.register_forward_pre_hook(lambda _, args, kwargs: count(args, kwargs), with_kwargs=True)
        try:
            yield model, seen
        finally:
            handle.remove()
        return

    def counting(*args: Any, **kwargs: Any) -> Any:
        count(args, kwargs)
        return inner(*args, **kwargs)

    # A copy that shares everything but the table of its modules: nothing of the caller's may change.
    other = copy.copy(model)
    other.__dict__["_modules"] = {name: part for name, part in model._modules.items() if name != "model"}
    other.model = counting
    yield other, seen


def _samples(symmetry: Symmetry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """How many samples a call of the inner model holds."""
    try:
        return batch_of(symmetry.inputs, to_tensors(collect(symmetry, args, kwargs))[0])[0]
    except SymmetryError:
        # An energy may call the model in a way of its own.
        found = tensors((args, kwargs))
        return int(found[0].shape[0]) if found and found[0].ndim else 1


def _seconds(run: Callable[[], Any], device: torch.device, *, repeats: int = 3) -> float:
    """Median seconds of a call; a first one, which is not counted, warms caches up."""
    times = []
    for _ in range(repeats + 1):
        wait(device)
        start = time.perf_counter()
        run()
        wait(device)
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[repeats // 2]


def wait(device: torch.device) -> None:
    """Until a GPU has done what it was asked; nothing is waited for elsewhere."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_of(run: Callable[[], Any], device: torch.device, model: Any) -> int | None:
    """Peak bytes allocated during a call, above what was there before; None where that cannot be measured.

    So it is for a `model` that is no torch module: what another library takes, torch does not see.
    """
    while isinstance(model, Symmetrized):
        model = model.model
    if not isinstance(model, nn.Module):
        return None
    try:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
            run()
            return int(torch.cuda.max_memory_allocated(device) - before)
        watched = _Watched()
        with watched:
            run()
    except Exception:
        # The model has answered before: what fails here is the watching, and a number less is no reason to stop.
        return None
    return watched.peak


class _Watched(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """Adds up the storages that operations return for as long as they live; what a kernel takes inside is not seen."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self.live = 0
        self.peak = 0
        self._seen = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for part in tensors(result):
            if part.layout != torch.strided:
                # Sparse tensors have no storage of their own; the tensors they are made of have.
                continue
            storage = part.untyped_storage()
            if storage not in self._seen:
                size = storage.nbytes()
                self._seen[storage] = size
                self._add(size)
                weakref.finalize(storage, self._add, -size)
        return result

    def _add(self, size: int) -> None:
        self.live += size
        self.peak = max(self.peak, self.live)
