"""Batches of inputs and targets, from tensors in memory or from a loader."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from canonize._tree import describe, to_tensors
from canonize.actions.trees import batch_of, take
from canonize.errors import refuse
from canonize.symmetry import Symmetry, arguments

Unpack = Callable[[Any], tuple[Any, Any]]


@final
@dataclass(frozen=True)
class Held:
    """Inputs that are in memory, shuffled anew for each epoch.

    Attributes:
        symmetry: how the inputs are declared.
        value: all inputs.
        targets: (samples, ...), or None.
        size: samples in a batch.
    """

    symmetry: Symmetry
    value: Any
    targets: Tensor | None
    size: int

    def __len__(self) -> int:
        return -(-self.samples // self.size)

    @property
    def samples(self) -> int:
        """How many inputs there are."""
        return batch_of(self.symmetry.inputs, self.value)[0]

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[Any, Any]]:
        """The batches of one epoch, in an order drawn from `generator`."""
        order = torch.randperm(self.samples, generator=generator)
        for start in range(0, len(order), self.size):
            some = order[start : start + self.size]
            taken = take(self.symmetry.inputs, self.value, some)
            yield taken, None if self.targets is None else self.targets[some.to(self.targets.device)]


@final
@dataclass(frozen=True)
class Loaded:
    """A loader: anything that can be iterated over again and again, such as a `DataLoader`.

    Attributes:
        symmetry: how the inputs are declared.
        loader: yields batches.
        unpack: from a batch to (inputs, targets).
    """

    symmetry: Symmetry
    loader: Any
    unpack: Unpack | None

    def __len__(self) -> int:
        try:
            return len(self.loader)
        except TypeError:
            raise refuse(
                "adapt needs to know how many batches an epoch has",
                got=f"{describe(self.loader)} without a length",
                expected="a loader with len(), or all inputs as one tensor",
                fix="wrap it in a DataLoader of a data set with a length, or in a list",
            ) from None

    @property
    def samples(self) -> int:
        """How many inputs there are, as far as the loader tells; 0 where it does not."""
        dataset = getattr(self.loader, "dataset", None)
        return len(dataset) if isinstance(dataset, Sized) else 0

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[Any, Any]]:
        """The batches of one epoch; a loader that shuffles does so from torch's global generator, or its own."""
        for batch in self.loader:
            inputs, targets = self._unpacked(batch)
            yield to_tensors(arguments(self.symmetry, inputs))[0], targets

    def _unpacked(self, batch: Any) -> tuple[Any, Any]:
        if self.unpack is not None:
            return self.unpack(batch)
        # Data sets usually yield pairs; where the model takes one argument, the first of a pair is the input.
        if not isinstance(self.symmetry.inputs, tuple | list) and isinstance(batch, tuple | list) and len(batch) == 2:
            return batch[0], batch[1]
        if not isinstance(self.symmetry.inputs, tuple | list) and isinstance(batch, tuple | list):
            if len(batch) == 1:
                return batch[0], None
            raise refuse(
                "adapt cannot tell inputs from targets in a batch of the loader",
                got=describe(batch),
                expected="inputs, or a pair (inputs, targets)",
                fix="pass unpack=lambda batch: (inputs, targets)",
            )
        return batch, None


def source(symmetry: Symmetry, data: Any, targets: Any, size: int, unpack: Unpack | None) -> Held | Loaded:
    """Where batches come from.

    Raises:
        SymmetryError: no data, targets of another length, or targets beside a loader.
    """
    if _is_loader(symmetry, data):
        if targets is not None:
            raise refuse(
                "adapt: targets come from the loader",
                got="a loader and targets=",
                expected="a loader of pairs (inputs, targets)",
                fix="leave targets= out, or pass all inputs as one tensor",
            )
        return Loaded(symmetry, data, unpack)
    value, _ = to_tensors(arguments(symmetry, data))
    count = batch_of(symmetry.inputs, value)[0]
    if count == 0:
        raise refuse("adapt has nothing to learn from", got="no inputs", expected="at least one", fix="check the data")
    labels = None if targets is None else torch.as_tensor(to_tensors(targets)[0])
    if labels is not None and (labels.ndim == 0 or len(labels) != count):
        raise refuse(
            "adapt: inputs and targets differ in length",
            got=f"{count} inputs, targets {describe(labels)}",
            expected="one target for each input",
            fix="check how they were read",
        )
    return Held(symmetry, value, labels, size)


def _is_loader(symmetry: Symmetry, data: Any) -> bool:
    """Whether data are batches to iterate over; a list is, unless the claim declares a list."""
    if isinstance(data, list):
        return not isinstance(symmetry.inputs, list)
    one = isinstance(data, Tensor | tuple | Mapping) or hasattr(data, "__array__") or hasattr(data, "keys")
    return not one and hasattr(data, "__iter__")
