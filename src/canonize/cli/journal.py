"""The journal of `canonize dedupe`: one line for each thing that was looked at, so that a killed run goes on where it was."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from canonize.cli.listing import Item
from canonize.errors import refuse
from canonize.scale.settings import differing, told_apart

FORM = 1
START = b'{"canonize dedupe": '
EVERY = 512
"""Lines between two syncs to the disk; a killed process loses none, a machine that loses its power at most these."""


@dataclass
class Journal:
    """What is known of the items, in memory and, where there is a file, on disk: a header, then lines that are only appended.

    A line that a kill has cut in two is dropped and written anew. What could not be read before is tried again, and so is
    a file that has changed; the last line on an item counts.

    Args:
        path: the file; None keeps everything in memory.
        settings: what the keys depend on; a file with others is refused.

    Raises:
        SymmetryError: a file that is no journal, of other settings, damaged before its last line, or in no place to write to.
    """

    path: Path | None
    settings: dict[str, Any]

    def __post_init__(self) -> None:
        self.known: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {}
        self.file: IO[bytes] | None = None
        self.written = 0

    def __enter__(self) -> Journal:
        if self.path is None:
            return self
        try:
            kept = self._read() if self.path.exists() else 0
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file = self.path.open("ab")
            self.file.truncate(kept)
        except OSError as error:
            raise refuse(
                "the journal cannot be written",
                got=f"{self.path} ({type(error).__name__}: {error})",
                expected="a file in a place that can be written to",
                fix="choose another place with --resume",
            ) from error
        if not kept:
            self._append({"canonize dedupe": FORM, "settings": self.settings})
            self._sync()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.file is not None:
            self._sync()
            self.file.close()

    def keys(self, item: Item) -> tuple[str, ...] | None:
        """The keys of an item that was looked at before and has not changed; None for another."""
        found = self.known.get(item.name)
        return None if found is None or found[0] != item.stamp else found[1]

    def add(self, item: Item, keys: tuple[str, ...] | None, why: str = "") -> None:
        """Write down the keys of an item, or why there are none."""
        told = {"item": item.name, "stamp": item.stamp}
        self._append({**told, "bad": why} if keys is None else {**told, "keys": keys})
        if keys is not None:
            self.known[item.name] = (item.stamp, keys)

    def flush(self) -> None:
        """Hand what was written to the system."""
        if self.file is not None:
            self.file.flush()
            if self.written >= EVERY:
                self._sync()

    def _append(self, line: dict[str, Any]) -> None:
        if self.file is not None:
            self.file.write(json.dumps(line, ensure_ascii=True).encode() + b"\n")
            self.written += 1

    def _sync(self) -> None:
        assert self.file is not None  # opened before
        self.file.flush()
        os.fsync(self.file.fileno())
        self.written = 0

    def _read(self) -> int:
        """Take over the lines of an earlier run; the length in bytes of what is whole."""
        assert self.path is not None  # asked before
        kept = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file):
                try:
                    if not line.endswith(b"\n"):
                        # Cut in two as it was written; but no other file is taken for one of ours and overwritten.
                        if number == 0 and not (line.startswith(START) or START.startswith(line)):
                            raise ValueError("no header")  # noqa: TRY301  # told with the other kinds of damage
                        break
                    told = json.loads(line)
                    self._take(told, first=number == 0)
                except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
                    raise refuse(
                        "this is no journal of canonize dedupe, or it is damaged",
                        got=f"{self.path}, line {number + 1}: {line[:60]!r}",
                        expected="the file that --resume has written",
                        fix="name another file, or remove it and begin anew",
                    ) from error
                if number == 0 and differing(told["settings"], self.settings):
                    raise refuse(
                        "the journal is of other settings",
                        got=told_apart(told["settings"], self.settings),
                        expected=f"what {self.path} was begun with, to go on from what is there",
                        fix="the settings of then; or another file for --resume, and this one stays as it is",
                    )
                kept += len(line)
        return kept

    def _take(self, told: dict[str, Any], *, first: bool) -> None:
        if first:
            if told["canonize dedupe"] != FORM or not isinstance(told["settings"], dict):
                raise ValueError("another form")
            return
        stamp, name = tuple(int(number) for number in told["stamp"]), str(told["item"])
        if "bad" in told:
            self.known.pop(name, None)
        else:
            self.known[name] = (stamp, tuple(str(key) for key in told["keys"]))
