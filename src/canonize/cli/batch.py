"""What the commands for whole data sets share: the engine, a bar with a rate, and how one bad sample is told."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from canonize.cli.console import err
from canonize.errors import SymmetryError, refuse
from canonize.scale import Chunk, Job, run

Workers = Annotated[int | None, typer.Option(min=1, max=4096, help="Processes, one by default; for Ray its actors.")]
Engine = Annotated[str, typer.Option(help="local, or ray: the same work on Ray Data.")]
Address = Annotated[str | None, typer.Option(help="Of a Ray cluster, such as auto; without it Ray is started here.")]
SHOWN = 20
"""Bad samples that are named; the report has all."""


def mapped(
    job: Job, chunks: Sequence[Chunk], *, engine: str, workers: int | None, address: str | None
) -> Iterator[tuple[Chunk, Any]]:
    """Each chunk with what the job made of it, as they are done, on the engine of this name.

    Raises:
        SymmetryError: Ray is not installed.
    """
    if engine == "local":
        return run(job, chunks, workers=workers or 1)
    try:
        from canonize.integrations import ray as cluster
    except ModuleNotFoundError as error:
        raise refuse(
            "this engine is Ray",
            got=f"{error.name} is not installed",
            expected="ray with its part for data",
            fix="pip install 'canonize[ray]'; --engine local --workers 8 needs nothing more",
        ) from None
    return cluster.run(job, chunks, address=address, workers=workers)


def check_engine(engine: str, address: str | None) -> None:
    """Refuse a wrong word before anything is read.

    Raises:
        SymmetryError: an unknown engine, or an address without Ray.
    """
    if engine not in ("local", "ray") or (address is not None and engine != "ray"):
        raise refuse(
            "this is no engine" if engine not in ("local", "ray") else "an address is for Ray",
            got=f"--engine {engine}" + ("" if address is None else f" --address {address}"),
            expected="local or ray",
            fix="--engine ray --address auto",
        )


def in_words(error: Exception) -> str:
    """What is wrong with a sample, in one line."""
    if isinstance(error, SymmetryError):
        lines = str(error).splitlines()
        got = next((line.partition(":")[2].strip() for line in lines if line.startswith("  got:")), "")
        return textwrap.shorten(f"{lines[0]} ({got})", 300, placeholder=" ...")
    # An address is another one each time, and the journal of one run is to be that of the next.
    plain = re.sub(r" at 0x[0-9a-fA-F]+", "", str(error))
    return textwrap.shorten(f"{type(error).__name__}: {plain}", 300, placeholder=" ...")


def show_bad(bad: Sequence[tuple[str, str]], where: str) -> None:
    """Name the first bad samples on the error stream; `where` says where all are named."""
    for name, why in bad[:SHOWN]:
        err.print(f"bad: {name}: {why}", markup=False, highlight=False, style="red", soft_wrap=True)
    if len(bad) > SHOWN:
        err.print(f"bad: {len(bad) - SHOWN:,} more; {where} names them all", markup=False, highlight=False)


class _Rate(ProgressColumn):
    """Things a second."""

    def render(self, task: Task) -> Text:
        """The speed, once there is one."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


@contextmanager
def bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar with rate and remaining time for each step, on the error stream; what an earlier run did has no rate."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    # Chunks come seconds apart, so that the rate is that of the last minutes.
    made = Progress(*columns, console=err, transient=not err.is_terminal, speed_estimate_period=300)
    known: dict[str, Any] = {}

    def tell(what: str, done: int, total: int) -> None:
        if what not in known:
            # What an earlier run has done does not count for the rate.
            known[what] = made.add_task(what, total=total, completed=done)
            made.start()
        made.update(known[what], completed=done, total=total)

    try:
        yield tell
    finally:
        if known:
            made.stop()
