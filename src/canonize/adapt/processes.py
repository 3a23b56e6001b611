"""One training run in several processes: who does what, and how they stay equal. The talking itself is somebody else's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, final

import torch
from torch import Tensor, nn

from canonize._tree import describe, map_leaves
from canonize.actions.trees import batch_of, take
from canonize.errors import SymmetryError, refuse
from canonize.symmetry import Symmetry

T = TypeVar("T")


class Processes(Protocol):
    """Processes that train one frame together; each holds a copy of it and works on its own part of every batch.

    `canonize.integrations.accelerate.Accelerated` is one for torch.distributed. To write another, these are enough; no base
    class is needed.
    """

    @property
    def rank(self) -> int:
        """The number of this process, from 0; process 0 writes checkpoints and draws the bar."""

    @property
    def count(self) -> int:
        """How many processes there are."""

    def total(self, numbers: Tensor) -> Tensor:
        """The sum of these numbers over all processes, of the same shape and dtype; all processes call it together."""

    def shared(self, value: Any) -> Any:
        """What process 0 has passed, in all processes; all call it together."""

    def divides(self, loader: Any) -> bool:
        """Whether a loader yields the part of this process alone, so that its batches must not be divided again."""


@final
@dataclass(frozen=True)
class Alone:
    """One process, which has nobody to talk to."""

    rank: int = 0
    count: int = 1

    def total(self, numbers: Tensor) -> Tensor:
        """The numbers themselves."""
        return numbers

    def shared(self, value: Any) -> Any:
        """The value itself."""
        return value

    def divides(self, loader: Any) -> bool:
        """Never."""
        return False


def check_processes(processes: Any) -> None:
    """Refuse what cannot talk.

    Raises:
        SymmetryError: something without the members of `Processes`.
    """
    if isinstance(processes, type) or not all(
        hasattr(processes, name) for name in ("rank", "count", "total", "shared", "divides")
    ):
        raise refuse(
            "adapt: these are no processes",
            got=f"the class {processes.__name__}" if isinstance(processes, type) else describe(processes),
            expected="an object with rank, count, total, shared and divides",
            fix="processes=canonize.integrations.accelerate.Accelerated(accelerator)",
        )


def once(processes: Processes, work: Callable[[], T]) -> T:
    """What `work` returns in process 0, in all of them; the others do not run it. An error there is an error everywhere.

    Raises:
        SymmetryError: in the other processes, whatever `work` has raised.
    """
    if processes.count == 1:
        return work()
    result: Any = None
    error: Exception | None = None
    if processes.rank == 0:
        try:
            result = work()
        except Exception as raised:
            # Told to the others before it goes on its way; they would wait for this process for ever.
            error = raised
    result, told, ours = processes.shared((result, _told(error), isinstance(error, SymmetryError)))
    if error is not None:
        raise error
    if told is not None:
        raise SymmetryError(told) if ours else _elsewhere(told)
    found: T = result
    return found


def agree(processes: Processes, known: dict[str, Any], agrees: Callable[[Any, Any], bool]) -> None:
    """Refuse runs that are not one: what each process knows of its run must be what process 0 knows.

    Raises:
        SymmetryError: in every process, where one of them differs.
    """
    if processes.count == 1:
        return
    first = processes.shared(known)
    differing = sorted(name for name in known if not agrees(first.get(name), known[name]))
    wrong = processes.total(torch.tensor(float(bool(differing)), dtype=torch.float64))
    if float(wrong):
        raise refuse(
            "adapt: the processes are not at one run",
            got=f"other {', '.join(differing)} in process {processes.rank} than in process 0"
            if differing
            else f"{float(wrong):.0f} of {processes.count} processes differ from process 0",
            expected="the same data, settings, seed and model in all of them",
            fix="run the same script in all of them, with torch.manual_seed(0) before anything is drawn",
        )


def part(processes: Processes, symmetry: Symmetry, inputs: Any, targets: Any) -> tuple[Any, Any, int]:
    """The inputs and targets of this process from those of a whole batch, and how many; parts differ by one sample at most.

    Args:
        processes: who shares the batch.
        symmetry: how the inputs are declared.
        inputs: a batch.
        targets: None, or tensors with the batch first in any container.

    Raises:
        SymmetryError: targets that cannot be divided.
    """
    size = batch_of(symmetry.inputs, inputs)[0]
    first, last = (size * place // processes.count for place in (processes.rank, processes.rank + 1))
    some = torch.arange(first, last)

    def taken(leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and leaf.ndim and len(leaf) == size:
            return leaf[first:last]
        raise refuse(
            "adapt: targets that cannot be divided among processes",
            got=f"{describe(leaf)} for a batch of {size}",
            expected="tensors with the batch first",
            fix="a loader that yields the part of each process: accelerator.prepare(loader)",
        )

    if first == last:
        return None, None, 0
    return take(symmetry.inputs, inputs, some), None if targets is None else map_leaves(taken, targets), last - first


def together(
    processes: Processes, size: int, work: Callable[[], tuple[Tensor, float]]
) -> tuple[Tensor | None, float, int]:
    """A loss, each process's on its own part: the summand of this process, the mean over all samples, and their number.

    The gradients of the summands add up to the gradient of the mean.

    Args:
        processes: who shares the batch.
        size: samples in the part of this process; where it is 0 the summand is None.
        work: the mean loss of this part, and the same as a number.

    Raises:
        SymmetryError: in all processes, where the work of one has failed.
    """
    if processes.count == 1:
        return *work(), size
    value: Tensor | None = None
    told, error = 0.0, None
    if size:
        try:
            value, told = work()
        except Exception as raised:
            # The others have to be told first, as above.
            error = raised
    sums = torch.tensor([size, size * told, error is not None], dtype=torch.float64)
    count, total, failed = processes.total(sums).tolist()
    if error is not None:
        raise error
    if failed or not count:
        raise _elsewhere("the loss could not be taken" if failed else "a batch without samples in all of them")
    return None if value is None else value * (size / count), total / count, int(count)


def add_up(processes: Processes, parameters: Sequence[nn.Parameter]) -> None:
    """Replace each gradient by its sum over all processes; one that no process has stays None."""
    if processes.count == 1:
        return
    kinds = dict.fromkeys((one.dtype, one.device) for one in parameters)
    for kind in kinds:
        group = [one for one in parameters if (one.dtype, one.device) == kind]
        grads = [torch.zeros_like(one) if one.grad is None else one.grad for one in group]
        there = torch.tensor([float(one.grad is not None) for one in group], dtype=kind[0], device=kind[1])
        # One message for all of them: the networks are small, so that the number of messages is what costs.
        summed = processes.total(torch.cat([*(grad.flatten() for grad in grads), there]))
        *pieces, there = torch.split(summed, [*(grad.numel() for grad in grads), len(group)])
        for one, piece, had in zip(group, pieces, there.tolist(), strict=True):
            if had:
                one.grad = piece.view_as(one)


def alike(processes: Processes, module: nn.Module, *, buffers: bool = False) -> None:
    """Give a module in all processes the weights that it has in process 0, or its buffers alone."""
    if processes.count == 1:
        return
    own = dict(module.named_buffers()) if buffers else module.state_dict()
    if not own:
        return
    # On the CPU: what arrives must not lie on the device of process 0.
    told = processes.shared({name: _still(value) for name, value in own.items()})
    if buffers:
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(told[name])
    else:
        module.load_state_dict(told)


@contextmanager
def own_draws(
    processes: Processes, seed: int, step: int, lent: Callable[..., Any], device: torch.device
) -> Iterator[Any]:
    """A generator for one step of this process, and torch's global ones likewise: equal in no two steps or processes.

    What all processes draw together, such as the order of the samples, is not touched. None where there is one process.
    """
    if processes.count == 1:
        yield None
        return
    with lent(mixed(seed, step, processes.rank, 0), device):
        yield torch.Generator().manual_seed(mixed(seed, step, processes.rank, 1))


def mixed(*numbers: int) -> int:
    """A seed made of several whole numbers, from 0 to 2^62; the same in every process.

    Generators on the CPU look at the last 32 bits of a seed only, so that sums and shifts would not keep seeds apart.
    """
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest(), "little") >> 2


def _still(value: Any) -> Any:
    return value.detach().cpu() if isinstance(value, Tensor) else value


def _told(error: Exception | None) -> str | None:
    if error is None:
        return None
    return str(error) if isinstance(error, SymmetryError) else f"{type(error).__name__}: {error}"


def _elsewhere(what: str) -> SymmetryError:
    return refuse(
        "adapt: another process has failed",
        got=what,
        expected="all processes to come to the end",
        fix="look at what the other process has printed",
    )
