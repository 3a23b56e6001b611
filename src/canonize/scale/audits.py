"""Audits of data sets that do not fit one process: measured in chunks, in several processes, and merged into one `Audit`."""

from __future__ import annotations

import io
import os
import pickle
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, final

import torch
from torch import Tensor, nn

from canonize._version import __version__
from canonize.audit import Audit
from canonize.audit.conclude import SHOWN, WORST, conclude
from canonize.audit.forgotten import at_worst, worst_samples
from canonize.audit.pictures import worst_case, worst_of
from canonize.audit.raw import found_of, raw_of
from canonize.audit.rows import rows_of
from canonize.audit.settings import check_settings
from canonize.audit.sweep import Plan
from canonize.errors import refuse, within
from canonize.scale.chunks import Chunk, chunked, run
from canonize.scale.folder import Folder
from canonize.scale.measuring import Made, Measuring, Samples, fingerprint, named, ready
from canonize.scale.settings import digested
from canonize.symmetry import Symmetry

Engine = Callable[[Any, Sequence[Chunk]], Iterator[tuple[Chunk, Any]]]
"""Maps a job over chunks, as `canonize.scale.run` does."""


@final
@dataclass(frozen=True)
class Merged:
    """One audit of all chunks.

    Attributes:
        audit: as `audit` of all samples at once would be.
        bad: names of samples that could not be read, each with what is wrong; they are not in the audit.
        resumed: samples whose numbers an earlier run had written down.
    """

    audit: Audit
    bad: tuple[tuple[str, str], ...]
    resumed: int


def audit_chunks(
    model: Any,
    symmetry: Symmetry,
    read: Callable[[Sequence[int]], Samples],
    count: int,
    *,
    metric: Callable[[Any, Tensor], Tensor] | None = None,
    higher_is_better: bool = True,
    decision: Callable[[Any], Tensor] | None = None,
    elements: int = 32,
    tolerance: float | None = None,
    scale: float | None = None,
    confidence: float = 0.99,
    at_most: float = 0.2,
    batch_size: int = 64,
    cost: bool = True,
    gradients: bool = False,
    seed: int = 0,
    chunk: int | None = None,
    workers: int = 1,
    engine: Engine | None = None,
    resume: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
    name: str | None = None,
) -> Merged:
    """One audit of samples that are read, measured and forgotten chunk by chunk.

    The findings are those of `audit` of all samples at once, whatever the chunks and the number of processes: kept are a few
    numbers for each sample and element, and relative errors are taken when all are there. Inputs are read again for the worst
    cases and the first pictures. Random elements depend on the seed and the place of a sample alone.

    Args:
        model: as for `audit`; `Made` where each process is to make its own.
        symmetry: the claim; not with `S()`, whose elements depend on the other samples of a batch.
        read: `places -> Samples`, the same each time it is asked; it pickles where there are several processes.
        count: samples, at places 0 to count - 1.
        metric: as for `audit`; left out where some chunk has no targets.
        chunk: samples in one chunk, rounded up to whole batches; four batches where None.
        workers: processes. One works here.
        engine: maps the job over the chunks in place of `canonize.scale.run`.
        resume: folder with the numbers of each chunk that is done; what is there is not measured again.
        settings: what else the numbers depend on, of what JSON knows, such as the data; a folder with others is refused.
        progress: called with (done, total) samples.
        higher_is_better, decision, elements, tolerance, scale, confidence, at_most, batch_size, cost, gradients, seed, name:
            as for `audit`; `seed` is that of its generator.

    Raises:
        SymmetryError: as for `audit`; no sample that can be read; a model that does not pickle, or is another one in each
            process; a folder of other settings.

    Example:
        >>> import torch
        >>> from canonize import C, Image, Scalar, Symmetry
        >>> from canonize.scale import Samples, audit_chunks
        >>> claim = Symmetry(C(4), inputs=Image(), outputs=Scalar())
        >>> def read(places):
        ...     return Samples(torch.stack([torch.full((1, 4, 4), 1.0 + n).tril() for n in places]))
        >>> audit_chunks(lambda x: x.sum((1, 2, 3))[:, None], claim, read, 100, batch_size=16, cost=False).audit.verdict
        'pass'
    """
    with within("audit_chunks(...)"):
        check_settings(
            elements=elements,
            batch_size=batch_size,
            confidence=confidence,
            at_most=at_most,
            tolerance=tolerance,
            scale=scale,
            generator=None,
        )
        for what, number in (("count", count), ("chunk", 1 if chunk is None else chunk)):
            if number < 1:
                raise refuse(f"audit_chunks: bad {what}", got=repr(number), expected="at least 1", fix=f"{what}=1024")
        own = ready(model.make, None) if isinstance(model, Made) else model
        mark = fingerprint(own)
        job = Measuring(model, mark, symmetry, read, metric, decision, elements, batch_size, scale, seed, gradients)
        size = -(-(4 * batch_size if chunk is None else chunk) // batch_size) * batch_size
        chunks = [*chunked(range(count), size)]
        if workers > 1 or engine is not None:
            _check_pickles(job)
        depends = {
            "claim": repr(symmetry),
            "model": digested(mark.encode(), _called(own)),
            "metric": None if metric is None else named(metric),
            "decision": None if decision is None else named(decision),
            "elements": elements,
            "batch_size": batch_size,
            "seed": seed,
            "samples": count,
            "chunk": size,
            **(settings or {}),
            "versions": {"canonize": __version__, "torch": str(torch.__version__)},
        }
        mapped = partial(run, workers=workers) if engine is None else engine
        try:
            parts, resumed = _measured(job, chunks, mapped, resume, depends, progress)
            with nullcontext() if gradients else torch.no_grad():
                found = _concluded(
                    job,
                    parts,
                    tolerance=tolerance,
                    confidence=confidence,
                    at_most=at_most,
                    higher_is_better=higher_is_better,
                    cost=cost,
                    generator=torch.Generator().manual_seed(seed),
                    name=name,
                )
        finally:
            ready.cache_clear()
        return Merged(found, tuple(pair for part in parts for pair in part.bad), resumed)


def _called(model: Any) -> str:
    """A model in words: the name of a function, or a module's with how many numbers it holds."""
    if not isinstance(model, nn.Module):
        return named(model)
    return f"{type(model).__name__} of {sum(part.numel() for part in model.state_dict().values()):,} numbers"


def _check_pickles(job: Measuring) -> None:
    try:
        pickle.dumps(job)
    except Exception as error:  # pickle raises nearly anything
        raise refuse(
            "the audit cannot be sent to other processes",
            got=f"{type(error).__name__}: {error}",
            expected="a model, a claim, a reader and a metric that pickle",
            fix="Made(make) for a model that each process makes itself; functions of a module, no lambdas",
        ) from error


@final
@dataclass(frozen=True)
class _Part:
    """What is known of one chunk."""

    chunk: Chunk
    told: dict[str, Any]

    @property
    def places(self) -> list[int]:
        found: list[int] = self.told["places"].tolist()
        return found

    @property
    def bad(self) -> list[tuple[str, str]]:
        return [(str(name), str(why)) for name, why in self.told["bad"]]


def _measured(
    job: Measuring,
    chunks: Sequence[Chunk],
    engine: Engine,
    resume: str | os.PathLike[str] | None,
    settings: Mapping[str, Any],
    progress: Callable[[int, int], None] | None,
) -> tuple[list[_Part], int]:
    """The numbers of all chunks in their order, and how many samples an earlier run had measured."""
    total = sum(len(chunk.places) for chunk in chunks)
    made: dict[int, bytes] = {}
    with nullcontext() if resume is None else Folder(resume, settings) as folder:
        waiting = [chunk for chunk in chunks if folder is None or chunk.number not in folder.known]
        resumed = done = total - sum(len(chunk.places) for chunk in waiting)
        if progress is not None:
            progress(done, total)
        for chunk, content in engine(job, waiting) if waiting else ():
            if folder is None:
                made[chunk.number] = content
            else:
                name = f"part-{chunk.number:06d}.pt"
                with folder.drafted(name) as draft:
                    draft.write_bytes(content)
                folder.record(chunk.number, {"file": name, "bad": _read(content)["bad"]})
            done += len(chunk.places)
            if progress is not None:
                progress(done, total)
        if folder is not None:
            if not folder.complete:
                folder.finish()
            made = {line["chunk"]: (folder.path / line["file"]).read_bytes() for line in folder.listed()}
    parts = []
    for chunk in chunks:
        parts.append(_Part(chunk, _read(made.pop(chunk.number))))
    return parts, resumed


def _read(content: bytes) -> dict[str, Any]:
    """What `Measuring` has made."""
    told: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return told


def _concluded(job: Measuring, parts: Sequence[_Part], **options: Any) -> Audit:
    """One audit of all parts that have samples."""
    full = [part for part in parts if part.places]
    if not full:
        bad = [pair for part in parts for pair in part.bad]
        raise refuse(
            "nothing to audit",
            got=f"{len(bad):,} bad samples" + (f"; the first: {bad[0][0]}: {bad[0][1]}" if bad else ""),
            expected="samples that can be read",
            fix="check the data",
        )
    places = [place for part in full for place in part.places]
    ends = [*accumulate(len(part.places) for part in full)]
    found = found_of([raw_of(part.told["raw"]) for part in full], job.scale)
    ranges = [part.told["ranges"] for part in full]
    plan = job.of(places[: max(job.batch_size, SHOWN)], full[0].chunk.places[0])
    angles = None if any(each is None for each in ranges) else torch.cat(ranges, 1)

    def worst() -> Any:
        cases = []
        for sample, number, error in worst_of(found.errors, WORST):
            position = bisect_right(ends, sample)
            part = full[position]
            here = sample - (ends[position - 1] if position else 0)
            start = here // job.batch_size * job.batch_size
            batch = job.of(part.places[start : start + job.batch_size], part.chunk.places[0] + start)
            # By its place, under which the caller finds it, whatever else was bad.
            cases.append(worst_case(batch, here - start, places[sample], number, error))
        return tuple(cases)

    def few() -> Plan:
        samples = worst_samples(found.errors)
        return at_worst(job.of([places[n] for n in samples.tolist()], 0), found.errors[:, samples])

    rows = rows_of(plan.table, found, exhaustive=plan.exhaustive, ranges=angles)
    return conclude(found, rows, plan, worst=worst, few=few, **options)
