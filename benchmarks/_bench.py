"""What the benchmarks share: fair timing, what machine this is, JSON, tables."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

SEED = 0


def start(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments, with the number of threads and the seed set."""
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the result here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)
    return options


def machine(*packages: str) -> dict[str, Any]:
    """The processor, the threads, and the versions of python, torch, canonize and these packages."""
    names = ("torch", "canonize", *packages)
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "versions": {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names},
    }


def interleaved(
    candidates: dict[str, Callable[[], Any]],
    *,
    repeats: int,
    warm: float = 0.5,
    least: float = 0.005,
    tick: Callable[[], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds per call of each candidate, one entry a repeat.

    Each repeat times every candidate once, in an order that rotates, so that all of them see the same disturbances.

    Args:
        candidates: what to time.
        repeats: entries per candidate.
        warm: seconds that each candidate runs untimed before.
        least: seconds that one timing lasts at least; quick calls are repeated inside it.
        tick: called after each repeat.
        clock: `time.process_time` where other work shares the machine; it adds up the threads.
    """
    inner = {}
    for name, call in candidates.items():
        call()
        begin, count = clock(), 0
        while clock() - begin < warm:
            call()
            count += 1
        inner[name] = max(1, round(least * count / (clock() - begin)))
    times: dict[str, list[float]] = {name: [] for name in candidates}
    names = list(candidates)
    for repeat in range(repeats):
        turn = repeat % len(names)
        for name in names[turn:] + names[:turn]:
            begin = clock()
            for _ in range(inner[name]):
                candidates[name]()
            times[name].append((clock() - begin) / inner[name])
        if tick:
            tick()
    return times


def ratio(times: list[float], base: list[float]) -> dict[str, float]:
    """Median and quartiles of the ratios of timings that were taken side by side."""
    low, middle, high = statistics.quantiles([a / b for a, b in zip(times, base, strict=True)], n=4)
    return {"median": middle, "low": low, "high": high}


def progress() -> Progress:
    """A bar on stderr, so that stdout holds the result alone."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def finish(options: argparse.Namespace, result: dict[str, Any], packages: Iterable[str] = ()) -> None:
    """Print the command and the machine, and write the JSON where it is asked for."""
    result = {"command": _command(), "seed": SEED, "machine": machine(*packages)} | result
    here = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    print(f"command: {result['command']}")
    print(f"machine: {here['processor']}, {here['cores']} cores, {here['threads']} threads; {versions}; seed {SEED}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table, the first column to the left."""
    drawn = Table(title=title, title_justify="left")
    for position, column in enumerate(columns):
        drawn.add_column(column, justify="right" if position else "left", no_wrap=True)
    for row in rows:
        drawn.add_row(*row)
    console = Console()
    console.width = max(console.width, 140)
    console.print(drawn)


def _command() -> str:
    """How this run was started, without the folders of the data and of checkpoints, which are the reader's own."""
    words, skip = [], False
    for word in sys.argv[1:]:
        if skip or word.startswith(("--data=", "--checkpoints=")):
            skip = False
        elif word in ("--data", "--checkpoints"):
            skip = True
        else:
            words.append(word)
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])


def _processor() -> str:
    known = Path("/proc/cpuinfo")
    if known.is_file():
        for line in known.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
