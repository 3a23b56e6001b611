"""Chunks of a data set, and the engine that maps a job over them: in this process, or in several."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch

from canonize.errors import refuse


@final
@dataclass(frozen=True)
class Chunk:
    """What is worked on together, and is the unit of resume.

    Attributes:
        number: which chunk of the data set, from 0; it depends on the data set and the size of chunks only.
        places: the places of its samples in the data set, in ascending order.
    """

    number: int
    places: Sequence[int]


Job = Callable[[Chunk], Any]
"""What is done with a chunk; it pickles, and its result depends on the chunk alone."""


def chunked(places: Sequence[int], size: int) -> Iterator[Chunk]:
    """These places in chunks of a size, the last one smaller.

    Raises:
        SymmetryError: a size below 1.

    Example:
        >>> from canonize.scale import chunked
        >>> [(chunk.number, *chunk.places) for chunk in chunked(range(5), 2)]
        [(0, 0, 1), (1, 2, 3), (2, 4)]
    """
    if size < 1:
        raise refuse("chunks need a size", got=repr(size), expected="at least one sample", fix="size=1024")
    for number, start in enumerate(range(0, len(places), size)):
        yield Chunk(number, places[start : start + size])


def run(job: Job, chunks: Sequence[Chunk], *, workers: int = 1) -> Iterator[tuple[Chunk, Any]]:
    """Each chunk with what the job made of it, as they are done.

    torch has one thread for each chunk wherever it is worked on: sums over several threads may round another way, and the
    results of one and of many processes are to be the same bit for bit.

    Args:
        job: called once for each chunk; what it raises ends the run.
        chunks: what to do; only a few wait in a queue at a time.
        workers: processes. One works here; more are started anew, get the job once, and end when this process does.

    Raises:
        SymmetryError: fewer than one worker; a worker that was killed.
    """
    if workers < 1:
        raise refuse("no workers", got=repr(workers), expected="at least 1", fix="workers=1")
    if workers == 1:
        for chunk in chunks:
            # Not around the yield, which would set the threads of whoever asks for the next chunk.
            with one_thread():
                found = job(chunk)
            yield chunk, found
        return
    # Forked copies of a process that has run torch may hang in its threads.
    pool = ProcessPoolExecutor(
        min(workers, max(len(chunks), 1)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(job,),
    )
    try:
        waiting: dict[Future[Any], Chunk] = {}
        for chunk in chunks:
            waiting[pool.submit(_work, chunk)] = chunk
            if len(waiting) > 2 * workers:
                yield from _done(waiting)
        while waiting:
            yield from _done(waiting)
    except BrokenProcessPool as error:
        raise refuse(
            "a worker was killed",
            got="a process that ended in the middle of a chunk",
            expected="enough memory for all workers",
            fix="call it again with fewer workers or smaller chunks; it goes on where it was",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch inside, as many as before outside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _done(waiting: dict[Future[Any], Chunk]) -> Iterator[tuple[Chunk, Any]]:
    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
        yield waiting.pop(future), future.result()


_job: list[Job] = []
"""The job of a worker; empty elsewhere."""


def _begin(job: Job) -> None:
    torch.set_num_threads(1)
    _job.append(job)
    # A worker whose parent was killed would wait for work for ever.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(chunk: Chunk) -> Any:
    return _job[0](chunk)
