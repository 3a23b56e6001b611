"""The engine under a limit of time: what may take long runs in a process that can be ended."""

from __future__ import annotations

import marshal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from canonize.errors import SymmetryError, refuse
from canonize.labelling.engine import Call, Found, Plain, canonaut

# Up to here the engine has taken at most tens of milliseconds, also on graphs made to be hard; nodes that stand for kinds
# of edges make a graph larger, not harder.
AT_ONCE, AT_ONCE_WITH_KINDS = 128, 512
# Its tables hold n^2 bits several times over.
MOST = 20_000

WHAT_ELSE = (
    "raise limit=; give colours that tell nodes apart; where any order that respects features will do, sort the nodes by "
    "features (Sorted()); where nodes have names that all graphs share, use the one order of the names"
)


class Timed:
    """The engine for the parts of graphs: small parts at once, larger ones in a process that ends at the limit.

    A context manager; the process starts with the first part that needs it, and ends with the context.

    Args:
        limit: seconds for each graph, or None: no limit, and no process.
    """

    def __init__(self, limit: float | None) -> None:
        self.limit = limit
        self.call = canonaut()
        self._spent: dict[int, float] = {}
        self._since: float | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Timed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._end(self._process)

    def at(self, graph: int, own: int, size: int) -> Call:
        """The function that labels a part of this graph: of so many nodes of its own, and so many in all."""
        if own <= AT_ONCE and size <= AT_ONCE_WITH_KINDS:
            return self.call
        if size > MOST:
            raise refuse(
                f"graph {graph} is too large for exact labelling",
                got=f"{size} nodes that colour refinement cannot tell apart, in one piece",
                expected=f"pieces of at most {MOST} nodes: the engine's tables grow with their square",
                fix=WHAT_ELSE,
            )
        if self.limit is None:
            return self.call

        def call(*inputs: Any, **options: Any) -> Found:
            with self.counted(graph):
                return self._elsewhere(graph, size, inputs, options)

        return call

    @contextmanager
    def counted(self, graph: int) -> Iterator[None]:
        """Count the seconds in this context for this graph; a context in another counts nothing twice."""
        if self._since is not None:
            yield
            return
        self._since = time.perf_counter()
        try:
            yield
        finally:
            self._spent[graph], self._since = self._seconds(graph), None

    def check(self, graph: int, size: int) -> None:
        """Refuse where the time of this graph is up; inside `counted`."""
        if self.limit is not None and self._seconds(graph) > self.limit:
            raise self.late(graph, size)

    def _seconds(self, graph: int) -> float:
        now = 0.0 if self._since is None else time.perf_counter() - self._since
        return self._spent.get(graph, 0.0) + now

    def late(self, graph: int, size: int) -> SymmetryError:
        """The error for a graph whose time is up."""
        return refuse(
            f"graph {graph} was not labelled within the time limit",
            got=f"{size} nodes that colour refinement cannot tell apart, in one piece",
            expected=f"an exact labelling of each graph within {self.limit:g} seconds",
            fix=WHAT_ELSE,
        )

    def _elsewhere(self, graph: int, size: int, inputs: Sequence[Any], options: dict[str, Any]) -> Found:
        left = (self.limit or 0.0) - self._seconds(graph)
        if left <= 0:
            raise self.late(graph, size)
        if self._process is None:
            program = str(Path(__file__).with_name("worker.py"))
            self._process = subprocess.Popen(
                [sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            _send(self._process, sys.path)
        process, late = self._process, threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(left, stop)
        timer.daemon = True
        timer.start()
        try:
            _send(process, (list(inputs), options))
            assert process.stdout is not None
            answer = marshal.load(process.stdout)
        except (EOFError, OSError, ValueError, TypeError) as error:
            if late.is_set():
                raise self.late(graph, size) from None
            raise refuse(
                f"the engine ended without an answer on graph {graph}",
                got=f"{size} nodes; {type(error).__name__}: {error}",
                expected="a labelling",
                fix="check the memory that is left, or label(graphs, limit=None), which runs the engine in this process",
            ) from error
        finally:
            timer.cancel()
        return Plain(*answer)

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        process.wait()


def _send(process: subprocess.Popen[bytes], message: Any) -> None:
    assert process.stdin is not None
    marshal.dump(message, process.stdin)
    process.stdin.flush()
