"""What a frame is, and what it returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

import torch
from torch import Tensor

from canonize._tree import describe, map_tensors, tensors
from canonize.actions import Rows, Scalar
from canonize.actions.rows import Layout, index_of
from canonize.actions.trees import at, batch_of
from canonize.errors import refuse
from canonize.symmetry import Symmetry

Stabilizer = Callable[[Any, Tensor, "Layout | None"], Tensor]
"""`(action, output, layout) -> output`: the mean of an output over the elements that fix the canonical input.

The action is the leaf as it is declared, `Rows` included, and the layout tells whose the rows and edges are. One that goes
with several poses has a method `take(entries)`, which gives the stabilizer of some of the (pose, sample) pairs, numbered
`pose * batch + sample`.
"""


@final
@dataclass(frozen=True)
class Poses:
    """How each sample of a batch stands: k group elements a sample, with weights.

    Attributes:
        elements: (k, batch, *element); x = element · canonical input.
        weights: (k, batch), dimensionless, at least 0, summing to one over k.
        margin: (batch,), dimensionless, at least 0: how far the input is from a tie between different canonical inputs;
            0 is a tie. None where the frame does not know it.
        stabilizer: the mean of an output over the elements that fix the canonical input (see `Stabilizer`); None where
            only the identity does, or where outputs are to be left as they come. For k > 1 it has to have `take`.
        spent: how many forward passes of its energy or network the choice cost for each sample.
        sparse: that samples have different numbers of poses: one of weight zero is none, its weight has no derivative, and
            the model is not called for it, in training either.
        unchecked: that nobody looked whether the frame found numbers: where it did not, in a graph or on a device, weights
            are not-a-number, and floating-point outputs become that too.

    Raises:
        SymmetryError: shapes that do not fit together, no poses.
    """

    elements: Any
    weights: Tensor
    margin: Tensor | None = None
    stabilizer: Stabilizer | None = None
    spent: int = 0
    sparse: bool = False
    unchecked: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.weights, Tensor):
            raise refuse(
                "Poses needs weights",
                got=describe(self.weights),
                expected="a tensor (k, batch)",
                fix="for one pose a sample: Poses(g[None], torch.ones(1, len(g)))",
            )
        shape = self.weights.shape
        parts = tensors(self.elements)
        if self.weights.ndim != 2 or shape[0] < 1 or not parts or any(part.shape[:2] != shape for part in parts):
            raise refuse(
                "Poses: the shapes do not fit together",
                got=f"weights {tuple(shape)}, elements {[tuple(part.shape) for part in parts]}",
                expected="weights (k, batch) with k >= 1 and elements (k, batch, *element)",
                fix="for one pose a sample: Poses(g[None], torch.ones(1, len(g)))",
            )
        if self.margin is not None and self.margin.shape != shape[1:]:
            raise refuse(
                "Poses: the margin does not fit",
                got=f"shape {tuple(self.margin.shape)}",
                expected=f"(batch,) = {tuple(shape[1:])}",
                fix="one number a sample, or None",
            )
        if self.stabilizer is not None and shape[0] != 1 and not hasattr(self.stabilizer, "take"):
            raise refuse(
                "Poses: a stabilizer of several poses a sample has to say which is which",
                got=f"{shape[0]} poses, a stabilizer without take(entries)",
                expected="k = 1, a method take, or stabilizer=None",
                fix="list the elements of the stabilizer among the poses",
            )

    @property
    def count(self) -> int:
        """k, the number of poses a sample, those of weight zero included."""
        return int(self.weights.shape[0])


@runtime_checkable
class Frame(Protocol):
    """How poses are chosen: a function; nobody has to inherit from this class. An `nn.Module` where it has parameters.

    `generator` feeds every random draw, and is passed only where a caller gave one: a frame that draws nothing need not
    take it. A frame must obey frame(h · x) = h · frame(x) as a weighted set, which `canonize.testing.check_frame` checks.
    """

    def __call__(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """The poses of a batch of inputs."""
        ...


@contextmanager
def island(inputs: Any) -> Iterator[None]:
    """No autocast inside: poses do not depend on the precision in which the model runs.

    Inputs of half precision are left to autocast, which is what brings them and a network's parameters together.
    """
    kinds = {part.device.type for part in tensors(inputs)}
    half = any(part.dtype in (torch.bfloat16, torch.float16) for part in tensors(inputs))
    with ExitStack() as stack:
        for kind in kinds:
            if torch.is_autocast_enabled(kind) and not half:
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def draws(frame: Any, generator: torch.Generator | None) -> dict[str, torch.Generator]:
    """The keyword with which to hand `generator` to a frame: none where there is none, or where the frame takes none."""
    if generator is None:
        return {}
    call = frame.forward if isinstance(frame, torch.nn.Module) else frame
    names = inspect.signature(call).parameters
    takes = "generator" in names or any(one.kind is inspect.Parameter.VAR_KEYWORD for one in names.values())
    return {"generator": generator} if takes else {}


def is_labels(action: Any) -> bool:
    """Whether an action moves labels, of which a mean is none, whatever their dtype."""
    return bool(getattr(action.action if isinstance(action, Rows) else action, "labels", False))


def one_each(group: Any, inputs: Any, symmetry: Symmetry) -> tuple[Any, int]:
    """All elements of a finite group in the dtype and on the device of the inputs, and the batch size.

    Raises:
        SymmetryError: a group that does not list its elements.
    """
    batch, dtype, device = batch_of(symmetry.inputs, inputs)
    if not hasattr(group, "elements"):
        raise refuse(
            f"{group!r} has no list of elements",
            got="an infinite group, or one without the method elements()",
            expected="a finite group such as C(4), D(4), Octahedral()",
            fix="use a finite subgroup, or Sampled(k), which draws k random elements",
        )
    return group.elements(dtype=dtype, device=device), batch


def over_batch(elements: Any, batch: int) -> Any:
    """Elements (k, *element) as (k, batch, *element), the same for each sample."""
    return map_tensors(lambda t: t[:, None].expand(t.shape[0], batch, *t.shape[1:]), elements)


def flat(elements: Any) -> Any:
    """Elements (k, batch, *element) as (k * batch, *element)."""
    return map_tensors(lambda t: t.flatten(0, 1), elements)


@final
@dataclass(frozen=True)
class Coset:
    """A stabilizer given by its elements, for those samples that have one beyond the identity.

    Attributes:
        samples: (m,), int64: which samples of the batch.
        elements: (s, m, *element): they fix the canonical input of their sample.
        active: (s, m), bool: which of the s entries count; at least one a sample.
    """

    samples: Tensor
    elements: Any
    active: Tensor

    def take(self, entries: Tensor) -> Coset:
        """That of some entries, numbered as the samples are."""
        size = 1 + int(torch.cat([self.samples, entries, entries.new_zeros(1)]).max())
        place = torch.full((size,), -1, dtype=torch.int64, device=self.samples.device)
        place[self.samples] = torch.arange(len(self.samples), device=place.device)
        which = place[entries.to(place.device)]
        samples = (which >= 0).nonzero()[:, 0]
        elements = map_tensors(lambda t: t[:, which[samples]], self.elements)
        return Coset(samples, elements, self.active[:, which[samples]])

    def __call__(self, action: Any, output: Tensor, where: Layout | None) -> Tensor:
        """The mean of s · output over the stabilizer; for labels, the commonest one (the smallest of several)."""
        index = index_of(action, where)
        action = action.action if isinstance(action, Rows) else action
        if isinstance(action, Scalar):
            return output
        rows = torch.isin(index, self.samples).nonzero()[:, 0] if index is not None else self.samples
        if index is not None:
            size = int(torch.cat([index, self.samples]).max()) + 1
            place = torch.zeros(size, dtype=torch.int64, device=index.device)
            place[self.samples] = torch.arange(len(self.samples), device=index.device)
            owner = place[index[rows]]
        else:
            owner = torch.arange(len(self.samples), device=self.samples.device)
        part = output[rows]
        turned = torch.stack(
            [action(at(self.elements, (position, owner)), part) for position in range(self.active.shape[0])]
        )
        mean = _mean(action, turned, self.active[:, owner])
        return output.index_copy(0, rows, mean.to(output.dtype))


@final
@dataclass(frozen=True)
class Fixers:
    """A stabilizer given by candidates for its elements, the same number for each sample: for where no value is looked at.

    Attributes:
        elements: (s, batch, *element).
        active: (s, batch), bool: which of them fix the canonical input; at least one a sample.
    """

    elements: Any
    active: Tensor

    def __call__(self, action: Any, output: Tensor, where: Layout | None) -> Tensor:
        """The mean of s · output over the stabilizer; for labels, the commonest one (the smallest of several)."""
        index = index_of(action, where)
        action = action.action if isinstance(action, Rows) else action
        if isinstance(action, Scalar):
            return output
        owner = torch.arange(self.active.shape[1], device=self.active.device) if index is None else index
        turned = torch.stack([action(at(self.elements, (s, owner)), output) for s in range(self.active.shape[0])])
        return _mean(action, turned, self.active[:, owner]).to(output.dtype)


def _mean(action: Any, turned: Tensor, active: Tensor) -> Tensor:
    """The mean along the first axis of the active entries (s, rows), or the commonest of them for labels."""
    active = active.reshape(active.shape + (1,) * (turned.ndim - 2))
    if (turned.is_floating_point() or turned.is_complex()) and not is_labels(action):
        return torch.where(active, turned, 0).sum(0) / active.sum(0)
    return _vote(turned, active)


def _vote(labels: Tensor, active: Tensor) -> Tensor:
    """The commonest label along the first axis, the smallest of several; a symmetric function of the active entries."""
    votes = torch.stack([((labels == label) & active).sum(0) for label in labels])
    votes = torch.where(active, votes, -1)
    best = votes == votes.amax(0)
    if labels.is_floating_point():
        return torch.where(best, labels, torch.inf).amin(0)
    wide = labels.to(torch.int64)
    return torch.where(best, wide, torch.iinfo(torch.int64).max).amin(0)
