"""Batches of inputs and targets, from tensors in memory or from a loader."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from canonize._tree import Listed, describe, leaves, map_leaves, tensors, to_tensors
from canonize.actions.sparse import numbers
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

    @property
    def generators(self) -> list[torch.Generator]:
        """Sources of its own that the order is drawn from: none."""
        return []

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
            count = len(self.loader)
        except (TypeError, NotImplementedError):
            raise refuse(
                "adapt needs to know how many batches an epoch has",
                got=f"{describe(self.loader)} without a length",
                expected="a loader with len(), or all inputs as one tensor",
                fix="wrap it in a DataLoader of a data set with a length, or in a list",
            ) from None
        if count < 1:
            raise refuse(
                "adapt has nothing to learn from",
                got="a loader of no batches",
                expected="at least one",
                fix="check the data; drop_last=True drops the only batch of a small data set",
            )
        return count

    @property
    def samples(self) -> int:
        """How many inputs there are, as far as the loader tells; 0 where it does not."""
        dataset = getattr(self.loader, "dataset", None)
        try:
            return len(dataset) if isinstance(dataset, Sized) else 0
        except (TypeError, NotImplementedError):
            return 0

    @property
    def generators(self) -> list[torch.Generator]:
        """The loader's own sources of randomness, which a run that is resumed has to put back."""
        holders = (self.loader, getattr(self.loader, "sampler", None))
        found = [getattr(holder, "generator", None) for holder in holders]
        return list({id(one): one for one in found if isinstance(one, torch.Generator)}.values())

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[Any, Any]]:
        """The batches of one epoch; a loader that shuffles does so from torch's global generator, or its own.

        Raises:
            SymmetryError: no batches, or more of them than the loader has told.
        """
        told, count = len(self), 0
        for count, batch in enumerate(self.loader, start=1):
            if count > told:
                raise refuse(
                    "the loader yields more batches than it has told",
                    got=f"batch {count} in one epoch",
                    expected=f"{told}, its len()",
                    fix="correct its __len__",
                )
            inputs, targets = self._unpacked(batch)
            yield to_tensors(arguments(self.symmetry, inputs))[0], targets
        if not count:
            raise refuse(
                "the loader yields no batches",
                got=f"{describe(self.loader)}, empty in this epoch",
                expected="something that can be iterated over once for each epoch",
                fix="pass the DataLoader or a list of batches, not an iterator over it",
            )

    def _unpacked(self, batch: Any) -> tuple[Any, Any]:
        if self.unpack is not None:
            pair = self.unpack(batch)
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise refuse(
                    "adapt: unpack must return inputs and targets",
                    got=describe(pair),
                    expected="a pair (inputs, targets)",
                    fix="unpack=lambda batch: (batch['image'], batch['label']); None for no targets",
                )
            return pair[0], pair[1]
        spec = self.symmetry.inputs
        if not isinstance(batch, tuple | list) or hasattr(batch, "_fields"):
            return batch, None
        if isinstance(spec, tuple | list | Listed):
            # The inputs are a sequence themselves: a pair is told by a sequence in its first place.
            inner = isinstance(spec, tuple | list) and isinstance(spec[0], tuple | list | Listed)
            paired = len(batch) == 2 and isinstance(batch[0], tuple | list) and not inner
            return (batch[0], batch[1]) if paired else (batch, None)
        # Data sets usually yield pairs; where the model takes one argument, the first of a pair is the input.
        if len(batch) in (1, 2):
            return batch[0], batch[1] if len(batch) == 2 else None
        raise refuse(
            "adapt cannot tell inputs from targets in a batch of the loader",
            got=describe(batch),
            expected="inputs, or a pair (inputs, targets)",
            fix="pass unpack=lambda batch: (inputs, targets)",
        )


def on_device(value: Any, device: torch.device) -> Any:
    """A value with all its tensors on `device`, and whatever else knows the way there itself, such as a batch of graphs."""
    if all(tensor.device == device for tensor in tensors(value)) and isinstance(value, Tensor | tuple | list | Mapping):
        return value

    def moved(leaf: Any) -> Any:
        return leaf.to(device) if callable(getattr(leaf, "to", None)) else leaf

    return map_leaves(moved, value)


def source(symmetry: Symmetry, data: Any, targets: Any, size: int, unpack: Unpack | None) -> Held | Loaded:
    """Where batches come from.

    Raises:
        SymmetryError: no data, data in memory that are not finite, targets of another length, or targets beside a loader.
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
    if unpack is not None:
        raise refuse(
            "adapt: unpack is for the batches of a loader",
            got=f"unpack= and {describe(data)}",
            expected="a loader, or inputs in memory with targets=",
            fix="adapt(symmetrized, inputs, targets=targets)",
        )
    labels = None if targets is None else _tensor(targets)
    if targets is not None and (labels is None or labels.ndim == 0 or len(labels) != count):
        raise refuse(
            "adapt: inputs and targets differ in length",
            got=f"{count} inputs, targets {describe(targets if labels is None else labels)}",
            expected="one target for each input",
            fix="check how they were read",
        )
    check_finite(value, count)
    return Held(symmetry, value, labels, size)


def check_finite(value: Any, count: int) -> None:
    """Refuse inputs that are not finite; in a shuffled batch they would have other numbers.

    Raises:
        SymmetryError: it names the first few samples.
    """
    for path, part in leaves(value):
        if not isinstance(part, Tensor) or not part.is_floating_point() or bool(numbers(part).isfinite().all()):
            continue
        of_samples = part.ndim > 0 and len(part) == count and part.layout == torch.strided
        where = (~part.isfinite()).reshape(count, -1).any(1).nonzero()[:, 0].tolist() if of_samples else []
        named = ", ".join(map(str, where[:8])) + (f" and {len(where) - 8:,} more" if len(where) > 8 else "")
        raise refuse(
            f"adapt: the inputs{path and ' at ' + path} hold NaN or infinity",
            got=f"in sample {named} of {count:,}" if where else describe(part),
            expected="finite numbers",
            fix="drop or repair these samples",
        )


def _tensor(targets: Any) -> Tensor | None:
    try:
        return torch.as_tensor(to_tensors(targets)[0] if not isinstance(targets, list) else targets)
    except (TypeError, ValueError, RuntimeError):
        return None


def _is_loader(symmetry: Symmetry, data: Any) -> bool:
    """Whether data are batches to iterate over; a list is, unless the claim declares one."""
    if isinstance(data, list):
        return not isinstance(symmetry.inputs, list | Listed)
    one = isinstance(data, Tensor | tuple | Mapping) or hasattr(data, "__array__") or hasattr(data, "keys")
    return not one and hasattr(data, "__iter__")
