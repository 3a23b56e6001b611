"""What no reader of a file may do, watched from inside the interpreter, whoever does it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

FORBIDDEN = (
    "pickle.find_class", "os.system", "os.exec", "os.fork", "os.forkpty", "os.spawn", "os.posix_spawn", "os.startfile",
    "subprocess.Popen", "socket.connect", "socket.getaddrinfo", "ctypes.dlopen", "code.__new__", "marshal.loads",
    "urllib.Request", "webbrowser.open",
)  # fmt: skip
_watchers: list[list[str]] = []
_placed: list[bool] = []


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _watchers:
        return
    if event == "exec":
        # A module that is imported late is executed too, and makes its named tuples with `exec`.
        if _importing():
            return
    elif event == "marshal.loads":
        # Compiled modules are read by it.
        if _importing():
            return
    elif event not in FORBIDDEN:
        return
    for watcher in _watchers:
        watcher.append(f"{event} {str(args)[:200]}")


def _importing() -> bool:
    frame: Any = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


@contextmanager
def watched() -> Iterator[list[str]]:
    """A list that fills with what was done that may not be: unpickled, executed, started, connected to."""
    if not _placed:
        # Hooks stay for the life of the process; without a watcher this one does nothing.
        sys.addaudithook(_hook)
        _placed.append(True)
    seen: list[str] = []
    _watchers.append(seen)
    try:
        yield seen
    finally:
        _watchers.remove(seen)
