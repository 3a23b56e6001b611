"""What a symmetry costs: forward passes, seconds and peak memory, beside the plain model."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from canonize._tree import tensors
from canonize.audit.result import Cost
from canonize.symmetrize import Symmetrized


def cost_of(
    run: Callable[[], Any], model: Any, plain: Callable[[], Any] | None, batch: int, device: torch.device
) -> Cost:
    """The cost of `run`, which calls `model` on a batch, beside `plain`, which calls the model behind the frame.

    Args:
        run: one call of the audited model.
        model: the audited model; its inner model's calls are counted where it is a `Symmetrized` module.
        plain: one call of the inner model on the same inputs; None where the model is plain.
        batch: samples in a call.
        device: where the inputs lie.
    """
    passes = 1.0
    if isinstance(model, Symmetrized):
        with _counted(model) as seen:
            run()
        passes = seen[0] / max(batch, 1)
    return Cost(
        batch=batch,
        passes=passes,
        seconds=_seconds(run, device),
        memory=_peak(run, device),
        plain_seconds=None if plain is None else _seconds(plain, device),
        plain_memory=None if plain is None else _peak(plain, device),
    )


@contextmanager
def _counted(model: Symmetrized) -> Iterator[list[int]]:
    """Counts the samples that the inner model is shown, also by an energy that calls it."""
    seen = [0]

    def first_axis(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        found = tensors((args, kwargs))
        return int(found[0].shape[0]) if found and found[0].ndim else 1

    if isinstance(model.model, nn.Module):

        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            seen[0] += first_axis(args, kwargs)

        handle = model.model.register_forward_pre_hook(hook, with_kwargs=True)
        try:
            yield seen
        finally:
            handle.remove()
        return
    plain = model.model

    def counting(*args: Any, **kwargs: Any) -> Any:
        seen[0] += first_axis(args, kwargs)
        return plain(*args, **kwargs)

    # A plain function has no hooks. It is exchanged for this one measurement and put back, whatever happens.
    model.model = counting
    try:
        yield seen
    finally:
        model.model = plain


def _seconds(run: Callable[[], Any], device: torch.device, *, repeats: int = 3) -> float:
    times = []
    for _ in range(repeats + 1):
        _wait(device)
        start = time.perf_counter()
        run()
        _wait(device)
        times.append(time.perf_counter() - start)
    # The first call warms caches up and is not counted.
    return sorted(times[1:])[repeats // 2]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak(run: Callable[[], Any], device: torch.device) -> int:
    """Peak bytes allocated during a call, above what was there before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return int(torch.cuda.max_memory_allocated(device) - before)
    watched = _Watched()
    with watched:
        run()
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
