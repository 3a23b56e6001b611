"""What an audit has measured: the numbers of each sample, which can be put beside those of others, and what follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, final

import torch
from torch import Tensor

from canonize.audit.energies import Parts, joined
from canonize.audit.measure import SMALL, Apart, relative, typical


@final
@dataclass(frozen=True)
class Raw:
    """The numbers of some samples, (elements, samples) each unless said otherwise.

    Attributes:
        answers: differences and sizes of the answers, by output.
        trips: the same of the round trip; zeros where nothing was lost, no outputs where nothing was resampled.
        lossless, agreement, metric: as in `Found`.
        upright: (samples,) float64.
        energies: by output, those of each batch.
        inner: sizes of the inner model's answers by output, of each batch.
        twice: two calls on the first batch, (batch,).
        tolerance: that the precision of inputs and outputs allows.
        moved: whether any element changed any input.
        averages: whether the elements are all or drawn from an invariant law, so that energies mean something.
    """

    answers: dict[str, Apart]
    trips: dict[str, Apart]
    lossless: Tensor
    agreement: Tensor | None
    metric: Tensor | None
    upright: Tensor | None
    energies: dict[str, list[Parts]]
    inner: dict[str, list[Tensor]]
    twice: dict[str, Apart]
    tolerance: float
    moved: bool
    averages: bool


@dataclass
class Found:
    """What was measured, (elements, samples) each unless said otherwise; rows are elements, whenever they were tried.

    `apart` holds what `errors` follow from, by output, and `inner` the sizes of the inner model's answers, (samples,).
    """

    errors: Tensor
    lossless: Tensor
    floors: Tensor | None
    metric: Tensor | None
    agreement: Tensor | None
    upright: Tensor | None
    by_output: dict[str, float]
    energies: tuple[Tensor, Tensor, float] | None
    noise: float
    tolerance: float
    moved: bool
    apart: dict[str, Apart]
    inner: dict[str, Tensor]


class Differences:
    """Differences and sizes of each output, (elements, samples), filled batch by batch."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._off: dict[str, Tensor] = {}
        self._size: dict[str, Tensor] = {}
        self._whole: dict[str, bool] = {}

    def put(self, numbers: Tensor, members: Tensor, found: dict[str, Apart], where: Tensor | None = None) -> None:
        """Take in one batch; `where` (count,) bool leaves the other samples without difference."""
        for path, one in found.items():
            for table, part in ((self._off, one.off), (self._size, one.size)):
                kept = part if where is None else torch.where(where, part, 0.0)
                table.setdefault(path, torch.zeros(self._shape, dtype=torch.float64))[numbers, members] = kept
            self._whole[path] = one.whole

    def tables(self) -> dict[str, Apart]:
        """Differences and sizes by output, (elements, samples) each."""
        return {path: Apart(off, self._size[path], self._whole[path]) for path, off in self._off.items()}


def found_of(parts: Sequence[Raw], scale: float | None) -> Found:
    """What follows from the numbers of all samples, in the order of the parts.

    Relative errors need the size of a typical answer, which all samples together have.

    Args:
        parts: at least one, of other samples at as many elements.
        scale: the size below which an answer counts as zero; see `audit`.
    """
    shapes = [part.lossless.shape for part in parts]
    answers, trips = (_beside([getattr(part, name) for part in parts], shapes) for name in ("answers", "trips"))
    inner = _listed([part.inner for part in parts])
    given = {path: typical(torch.cat(sizes)) for path, sizes in inner.items()}
    least = {
        path: scale if scale is not None and not one.whole else SMALL * max(typical(one.size), given.get(path, 0.0))
        for path, one in answers.items()
    }
    errors = {path: relative(one.off, one.size, least[path]) for path, one in answers.items()}
    floors = [relative(one.off, one.size, least[path]) for path, one in trips.items()]
    first = parts[0]
    return Found(
        errors=torch.stack(list(errors.values())).amax(0),
        lossless=torch.cat([part.lossless for part in parts], 1),
        floors=torch.stack(floors).amax(0) if floors else None,
        metric=_all([part.metric for part in parts]),
        agreement=_all([part.agreement for part in parts]),
        upright=_all([part.upright for part in parts]),
        by_output={path: float(part.max()) for path, part in errors.items()},
        energies=joined(_listed([part.energies for part in parts])) if first.averages else None,
        noise=max(float(relative(one.off, one.size, least[path]).max()) for path, one in first.twice.items()),
        tolerance=first.tolerance,
        moved=any(part.moved for part in parts),
        apart=answers,
        inner={path: torch.cat(sizes) for path, sizes in inner.items()},
    )


def plain(raw: Raw) -> dict[str, Any]:
    """The numbers in plain containers, which `torch.load` reads without running code; `raw_of` takes them back."""
    content = {field.name: getattr(raw, field.name) for field in fields(raw)}
    for name in ("answers", "trips", "twice"):
        content[name] = {path: tuple(one) for path, one in content[name].items()}
    return content


def raw_of(content: dict[str, Any]) -> Raw:
    """The numbers again, bit for bit."""
    tables = {
        name: {path: Apart(*one) for path, one in content[name].items()} for name in ("answers", "trips", "twice")
    }
    return Raw(**{**content, **tables})


def _beside(parts: Sequence[dict[str, Apart]], shapes: Sequence[tuple[int, ...]]) -> dict[str, Apart]:
    """The tables of all samples by output; zeros where a part has none of an output, as lists of detections may."""
    if len(parts) == 1:
        return parts[0]
    paths = dict.fromkeys(path for part in parts for path in part)
    made = {}
    for path in paths:
        whole = next(part[path].whole for part in parts if path in part)
        empty = [torch.zeros(shape, dtype=torch.float64) for shape in shapes]
        off, size = (
            torch.cat(
                [getattr(part[path], name) if path in part else zero for part, zero in zip(parts, empty, strict=True)],
                1,
            )
            for name in ("off", "size")
        )
        made[path] = Apart(off, size, whole)
    return made


def _listed(parts: Sequence[dict[str, list[Any]]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for part in parts:
        for path, batches in part.items():
            found.setdefault(path, []).extend(batches)
    return found


def _all(parts: Sequence[Tensor | None]) -> Tensor | None:
    """All of them along the samples; None where one is missing."""
    kept = [part for part in parts if part is not None]
    return torch.cat(kept, -1) if len(kept) == len(parts) else None
