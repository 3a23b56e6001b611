"""A progress bar that needs nothing but a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(progress: Callable[[int, int], None] | bool | None, total: int) -> Iterator[Callable[[int], None]]:
    """A function to call with the steps done; it tells `progress`, or draws a bar on the error stream."""
    if callable(progress):
        tell = progress
        yield lambda done: tell(done, total)
        return
    if not (sys.stderr.isatty() if progress is None else progress):
        yield lambda done: None
        return
    start = last = time.monotonic()
    first: int | None = None
    width = 0

    def draw(done: int) -> None:
        nonlocal last, first, width
        now = time.monotonic()
        # A run that goes on from a checkpoint has not spent its time on the steps before.
        first = done - 1 if first is None else first
        if now - last < 0.2 and done < total:
            return
        last = now
        left = (now - start) / (done - first) * (total - done)
        full = 30 * done // total
        line = f"adapt [{'=' * full}{' ' * (30 - full)}] {done}/{total}, {left:.0f} s left"
        sys.stderr.write(f"\r{line.ljust(width)}")
        sys.stderr.flush()
        width = len(line)

    try:
        yield draw
    finally:
        if width:
            sys.stderr.write("\n")
