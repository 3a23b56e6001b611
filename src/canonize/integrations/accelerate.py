"""Training of frames in several processes, on one machine or many, by Hugging Face Accelerate and torch.distributed."""

from __future__ import annotations

import os
from typing import Any, final

import torch
from accelerate import Accelerator
from accelerate.data_loader import DataLoaderDispatcher, DataLoaderShard
from accelerate.utils import broadcast_object_list
from torch import Tensor

from canonize._tree import describe
from canonize.errors import refuse


@final
class Accelerated:
    """The processes of an `Accelerator`, for `adapt(..., processes=Accelerated())`: each works on its part of every batch.

    The same script runs in all of them, started by `torchrun` or `accelerate launch`. Each process holds a copy of the frame
    and of the model; before the first step all take the trained weights of process 0. The parts of a batch differ by
    one sample at most, and the sum of the gradients is the gradient of the whole batch. So a run ends with the weights
    and the record of a run in one process, up to rounding, for any number of processes and any length of the last batch: its
    `batch_size` and `rate` keep their meaning, and its checkpoint can be resumed by another number of processes. What a
    loss draws for itself (random turns, dropout, `select="gumbel"`) is drawn anew in each process: such runs agree in
    distribution. Networks that look at a whole batch, such as batch normalisation, see the part of it.

    Process 0 alone validates, writes the checkpoint and draws the bar; an error there or in the loss of one process ends all.

    The gradients are summed by one all-reduce for each step, not by `DistributedDataParallel`, which looks at one `forward`
    of one module, where a loss asks a frame for energies or poses.

    A data set in memory, or a loader, is the same in every process, and each reads the whole batch. Where reading costs,
    pass `accelerator.prepare(loader)`: it yields the part of each process, of its own size, and Accelerate says how.

    Args:
        accelerator: made where None, for CPUs where there is no GPU. Mixed precision and accumulated gradients are for
            `adapt` to do, so that they are refused here, and so are engines that divide the weights (FSDP, DeepSpeed).

    Raises:
        SymmetryError: something else than an `Accelerator`, one with settings that are not for this, or one that has not met
            the processes beside which this one was started.

    Example:
        >>> import torch
        >>> from canonize import Best, C, Image, Scalar, Symmetry, adapt, nn, symmetrize
        >>> from canonize.integrations.accelerate import Accelerated
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> upright = symmetrize(model, Symmetry(C(4), Image(), Scalar()), Best(nn.Scorer(1)))
        >>> processes = Accelerated()
        >>> log = adapt(upright.to(processes.device), torch.rand(16, 1, 8, 8), epochs=1, processes=processes)
        >>> log.samples
        16

    Source: data-parallel training, Li et al., arXiv 2006.15704.
    """

    def __init__(self, accelerator: Accelerator | None = None) -> None:
        # Left to itself on a machine without a GPU, it takes each of several processes for the only one.
        made = Accelerator(cpu=not torch.accelerator.is_available()) if accelerator is None else accelerator
        if not isinstance(made, Accelerator):
            raise refuse(
                "Accelerated takes an Accelerator",
                got=f"the class {made.__name__}" if isinstance(made, type) else describe(made),
                expected="accelerate.Accelerator(), or nothing",
                fix="adapt(..., processes=Accelerated(Accelerator()))",
            )
        kind = str(made.distributed_type.value)
        if kind != "NO" and not kind.startswith("MULTI_"):
            raise refuse(
                "Accelerated keeps a whole copy of the frame in each process",
                got=f"an Accelerator of the type {kind}",
                expected="plain processes on CPUs or GPUs",
                fix="accelerate launch --multi_gpu script.py; frames are small enough",
            )
        if str(made.mixed_precision) != "no" or made.gradient_accumulation_steps != 1:
            raise refuse(
                "adapt itself sets precision and batches",
                got=f"mixed_precision={made.mixed_precision!r}, "
                f"gradient_accumulation_steps={made.gradient_accumulation_steps}",
                expected="an Accelerator that leaves both alone",
                fix="Accelerator(mixed_precision='no'), and adapt(..., precision=torch.bfloat16)",
            )
        started = int(os.environ.get("WORLD_SIZE", "1"))
        if started > 1 and made.num_processes == 1:
            raise refuse(
                "this process was started as one of several, and its Accelerator knows of itself alone",
                got=f"WORLD_SIZE={started}, num_processes=1",
                expected="an Accelerator that has met the others: otherwise each would train, and write, for itself",
                fix="Accelerated(Accelerator(cpu=True)) on CPUs, or Accelerated() as the first use of Accelerate",
            )
        self._accelerator = made

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        return int(self._accelerator.process_index)

    @property
    def count(self) -> int:
        """How many processes there are."""
        return int(self._accelerator.num_processes)

    @property
    def device(self) -> torch.device:
        """Where this process computes: `upright.to(processes.device)`."""
        return torch.device(self._accelerator.device)

    def total(self, numbers: Tensor) -> Tensor:
        """The sum of these numbers over all processes, of their shape and dtype, on their device."""
        summed: Tensor = self._accelerator.reduce(numbers.to(self.device), reduction="sum")
        return summed.to(numbers.device)

    def shared(self, value: Any) -> Any:
        """What process 0 has passed; anything that can be pickled."""
        if self.count == 1:
            return value
        (found,) = broadcast_object_list([value if self.rank == 0 else None])
        return found

    def divides(self, loader: Any) -> bool:
        """Whether `accelerator.prepare` has made this loader."""
        return isinstance(loader, DataLoaderShard | DataLoaderDispatcher)
