"""The job of an audit in chunks: a reader and a model, the elements that each sample meets, and the numbers that come of it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, final

import torch
from torch import Tensor, nn

from canonize._tree import map_tensors, tensors, to_tensors
from canonize.actions.trees import batch_of, separable
from canonize.audit.preflight import check_inputs, check_model
from canonize.audit.raw import plain
from canonize.audit.rows import ranges_of
from canonize.audit.run import EXHAUSTIVE
from canonize.audit.settings import check_task
from canonize.audit.sweep import Plan, measured
from canonize.errors import refuse
from canonize.frames.base import over_batch
from canonize.groups import order
from canonize.scale.chunks import Chunk
from canonize.symmetry import Symmetry, arguments, group_for


@final
@dataclass(frozen=True)
class Samples:
    """What a reader returns for the places that it was asked for.

    Attributes:
        inputs: of the samples that could be read, in the order of their places; as for `audit`.
        targets: one for each of them; None where there are none.
        places: which samples these are; all that were asked for where None.
        bad: names of the others, each with what is wrong.
    """

    inputs: Any
    targets: Any = None
    places: Sequence[int] | None = None
    bad: Sequence[tuple[str, str]] = ()


@final
@dataclass(frozen=True)
class Made:
    """A model that each process makes for itself, where it does not pickle or is large.

    Args:
        make: returns the model, the same in each process; it pickles and can be hashed, such as `functools.partial`.
    """

    make: Callable[[], Any]


@final
@dataclass(frozen=True)
class Measuring:
    """The job of one chunk: the numbers of its samples, as bytes that are read without running code."""

    model: Any
    mark: str
    symmetry: Symmetry
    read: Callable[[Sequence[int]], Samples]
    metric: Any
    decision: Any
    elements: int
    batch_size: int
    scale: float | None
    seed: int
    gradients: bool

    def __call__(self, chunk: Chunk) -> bytes:
        """What `_Part` reads."""
        samples = self.read(chunk.places)
        places = chunk.places if samples.places is None else samples.places
        told: dict[str, Any] = {"places": torch.tensor([*places], dtype=torch.int64), "bad": [*map(tuple, samples.bad)]}
        if len(places):
            with nullcontext() if self.gradients else torch.no_grad():
                plan = self.plan(samples, places, chunk.places[0])
                told["raw"] = plain(measured(plan, None))
                told["ranges"] = None if plan.exhaustive else ranges_of(plan.table)
        held = io.BytesIO()
        torch.save(told, held)
        return held.getvalue()

    def of(self, places: Sequence[int], first: int) -> Plan:
        """The plan of these samples, read once more.

        Raises:
            SymmetryError: one that can no longer be read.
        """
        samples = self.read(places)
        if samples.places is not None and [*samples.places] != [*places]:
            raise refuse(
                "samples have changed since they were measured",
                got=", ".join(f"{name}: {why}" for name, why in samples.bad[:3]) or f"{len(samples.places)} samples",
                expected=f"the same {len(places)} samples as before",
                fix="leave the data as they are while they are audited",
            )
        return self.plan(samples, places, first)

    def plan(self, samples: Samples, places: Sequence[int], first: int) -> Plan:
        """What is measured on these samples, of which the first of the chunk has the place `first`."""
        model = ready(self.model.make, self.mark) if isinstance(self.model, Made) else self.model
        claim = self.symmetry
        value, arrays = to_tensors(arguments(claim, samples.inputs))
        count, dtype, device = batch_of(claim.inputs, value)
        if count != len(places):
            raise refuse(
                "the reader returned another number of samples",
                got=f"{count} samples",
                expected=f"{len(places)}, one for each place",
                fix="Samples(inputs, places=[...]) names those that are there",
            )
        check_model(model, value)
        check_inputs(claim.inputs, value, count)
        group = group_for(claim, value)
        if group is not claim.group or not separable(claim.inputs, value):
            raise refuse(
                "this claim cannot be audited in chunks",
                got=f"{claim.group!r}, inputs {claim.inputs!r}",
                expected="a group of one size, and an action for every input that has one entry for each sample",
                fix="S(n) in place of S(), Scalar() in place of None; or audit(...) all samples at once",
            )
        # A metric goes where the targets go: chunks without them show in the merged audit.
        metric = None if samples.targets is None else self.metric
        targets = check_task(None if metric is None else samples.targets, metric, self.decision, count)
        size = order(group)
        exhaustive = size is not None and size <= max(EXHAUSTIVE, self.elements)
        if exhaustive:
            table = over_batch(group.elements(dtype=dtype, device=device), count)
        else:
            table = drawn(group, self.elements, places, seed=self.seed, dtype=dtype, device=device)
        m = size if exhaustive and size is not None else self.elements
        return Plan(
            model,
            claim,
            value,
            arrays,
            table,
            (m, count),
            self.batch_size,
            targets,
            metric,
            self.decision,
            exhaustive,
            self.scale,
            first,
        )


def drawn(
    group: Any, elements: int, places: Sequence[int], *, seed: int, dtype: torch.dtype, device: torch.device
) -> Any:
    """Random elements for each place, (elements, places, *element); those of a place do not depend on the other places."""
    found = []
    for place in places:
        digest = hashlib.blake2b(f"{seed}:{place}".encode(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
        found.append(group.sample((elements, 1), generator=generator, dtype=dtype, device=device))
    columns = iter(zip(*map(tensors, found), strict=True))
    return map_tensors(lambda _: torch.cat(next(columns), 1), found[0])


def fingerprint(model: Any) -> str:
    """What tells whether two processes have the same model: type and weights of a module, the name of anything else."""
    if not isinstance(model, nn.Module):
        return named(model)
    made = hashlib.sha256()
    for name, value in model.state_dict().items():
        made.update(name.encode())
        if isinstance(value, Tensor) and value.layout == torch.strided:
            whole = value.detach().cpu().contiguous()
            made.update(f"{whole.dtype}{tuple(whole.shape)}".encode())
            made.update(whole.flatten().view(torch.uint8).numpy().data if whole.numel() else b"")
    return f"{type(model).__qualname__} {made.hexdigest()[:16]}"


@lru_cache(4)
def ready(make: Callable[[], Any], mark: str | None) -> Any:
    """The model of this process, made once."""
    model = make()
    if mark is not None and fingerprint(model) != mark:
        raise refuse(
            "the model is another one each time it is made",
            got=f"{fingerprint(model)}, at first {mark}",
            expected="the same weights in each process",
            fix="load the weights from a file, or set the seed before they are drawn",
        )
    return model


def named(thing: Any) -> str:
    """Where a function is defined and what it is called; of an object its class."""
    inner = thing.func if isinstance(thing, partial) else thing
    return f"{getattr(inner, '__module__', '')}.{getattr(inner, '__qualname__', type(inner).__qualname__)}"
