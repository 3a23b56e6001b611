"""Chunks of a data set on Ray Data: the same work as `canonize.scale.run`, on one machine or on a cluster."""

from __future__ import annotations

import logging
import os
import pickle
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import ray
import ray.data
import torch

from canonize.errors import refuse
from canonize.scale import Chunk, Job

BLOCKS = 10_000
"""Tasks of Ray at most; where there are more chunks, several share one."""
SMALL = 2**20
"""Bytes of a job that is sent to each actor as it is; a larger one is put where actors fetch it."""
UNTOLD = ("ray._private.authentication.authentication_token_setup", "ray.data._internal.progress")
"""Loggers whose remarks (that tokens are in use, that there are no bars) say nothing of the work; their errors are told."""
HUSHED = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
"""Settings of Ray while it starts, where the user has none: no counts are sent, for which nobody was asked, and the core does
not write on the terminal, where it calls the arguments of each actor of Ray Data an error. What fails is an exception."""
ANNOUNCED = b"Set ray log level from environment variable"
"""What the core says when it finds that setting, before it keeps to it."""


def run(
    job: Job, chunks: Sequence[Chunk], *, address: str | None = None, workers: int | None = None
) -> Iterator[tuple[Chunk, Any]]:
    """Each chunk with what the job made of it, as they are done; the results are those of `canonize.scale.run`, bit for bit.

    Chunks go through `ray.data` as descriptors; each actor gets the job once and reads the data itself, so that files need a
    place that all machines see, and canonize has to be installed on all. torch has one thread for each chunk.

    Args:
        job: called once for each chunk (once more where an actor was lost).
        chunks: what to do.
        address: of a cluster, such as "auto"; None starts Ray here and ends it afterwards, unless it runs already.
        workers: actors with one core each; all cores of the cluster where None.

    Raises:
        SymmetryError: no cluster at this address, fewer than one worker.
    """
    if workers is not None and workers < 1:
        raise refuse("no workers", got=repr(workers), expected="at least 1", fix="workers=2")
    if not chunks:
        return
    with _quiet():
        started = not ray.is_initialized()
        if started:
            _start(address, workers)
        try:
            cores = max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]  # Ray leaves it so
            held = pickle.dumps(job)
            # Ray warns of references among the arguments of actors; where it matters one is held here until the end.
            handed: Any = held if len(held) < SMALL else ray.put(held)
            described = [{"chunk": pickle.dumps(chunk)} for chunk in chunks]
            several = ray.data.from_items(described, override_num_blocks=min(len(chunks), BLOCKS))
            done = several.map_batches(
                _Worker,
                batch_size=1,
                fn_constructor_args=(handed,),
                num_cpus=1,
                compute=ray.data.ActorPoolStrategy(size=min(workers or cores, cores, len(chunks))),
            )
            for row in done.iter_rows():
                yield pickle.loads(row["chunk"]), pickle.loads(row["told"])
        finally:
            if started:
                ray.shutdown()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Ray tells beside the work; all is set back afterwards."""
    context = ray.data.DataContext.get_current()
    bars = context.enable_progress_bars
    levels = {name: logging.getLogger(name).level for name in ("ray.data", *UNTOLD)}
    # The caller has a bar of its own.
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    for name in UNTOLD:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = bars
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _start(address: str | None, workers: int | None) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    try:
        with _hushed(), _without(ANNOUNCED):
            if address is None:
                # One of its own, whatever else runs here or has left its address. Descriptors and summaries are small; the
                # data never come here.
                ray.init("local", num_cpus=workers, include_dashboard=False, object_store_memory=200 * 2**20, **quiet)
            else:
                ray.init(address=address, **quiet)
    except Exception as error:  # Ray raises a plain one where it gives up on itself
        raise refuse(
            "Ray cannot be reached" if address is not None else "Ray did not start",
            got=f"address {address!r}: {error}" if address is not None else f"{error}",
            expected="a cluster that runs, or a machine with a free core, where Ray is up within a quarter of a minute",
            fix="ray start --head on one machine, then --address auto; --engine local --workers 2 needs no Ray",
        ) from error


@contextmanager
def _hushed() -> Iterator[None]:
    """With the settings of `HUSHED` that the user has not made; they are read as Ray starts."""
    ours = [name for name in HUSHED if name not in os.environ]
    os.environ.update({name: HUSHED[name] for name in ours})
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


@contextmanager
def _without(remark: bytes) -> Iterator[None]:
    """What is written on the error stream meanwhile, by any code, comes afterwards, without lines that hold this remark."""
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
        stream = os.dup(2)
    except (OSError, ValueError):
        # A program without streams, or one that has closed them.
        yield
        return
    with tempfile.TemporaryFile() as held, os.fdopen(stream, "wb") as real:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(stream, 2)
            held.seek(0)
            real.writelines(line for line in held if remark not in line)


class _Worker:
    """An actor with the job."""

    def __init__(self, job: Any) -> None:
        self.job: Job = pickle.loads(ray.get(job) if isinstance(job, ray.ObjectRef) else job)
        torch.set_num_threads(1)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        told = [pickle.dumps(self.job(pickle.loads(each))) for each in batch["chunk"]]
        return {"chunk": batch["chunk"], "told": np.array(told, dtype=object)}
