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

    def draw(done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < 0.2 and done < total:
            return
        last = now
        left = (now - start) / max(done, 1) * (total - done)
        full = 30 * done // total
        sys.stderr.write(f"\radapt [{'=' * full}{' ' * (30 - full)}] {done}/{total}, {left:.0f} s left ")
        sys.stderr.flush()

    try:
        yield draw
    finally:
        sys.stderr.write("\n")
