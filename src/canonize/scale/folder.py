"""A folder of files that appear whole or not at all, with a journal: what a killed run has finished is not done again."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, final

from canonize.errors import SymmetryError, refuse
from canonize.scale.settings import differing, told_apart

FORM = 1
JOURNAL, MANIFEST = "_journal.jsonl", "_manifest.json"
"""Readers of folders of Parquet leave out what begins with an underscore."""
PART = ".part"
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""What lines of another kind raise."""


@final
class Folder:
    """The output of a run: one file for each chunk, a journal while it runs, a manifest when all is there.

    A file is written under another name, handed to the disk, and renamed; then a line of the journal says that it is there.
    Killed before the line, the file is written once more with the same content: nothing is lost and nothing is there twice.
    When all is done the journal gives way to `_manifest.json`, which does not depend on the order in which chunks were done.

    Args:
        path: the folder; made where it is missing.
        settings: what the content depends on, made of what JSON knows. A folder with others is refused.

    Raises:
        SymmetryError: a folder that holds something else or is of other settings, that another run is writing to, or that
            cannot be written to; a damaged journal.

    Example:
        >>> import tempfile
        >>> from canonize.scale import Folder
        >>> with tempfile.TemporaryDirectory() as place:
        ...     with Folder(place, {"group": "C4"}) as folder:
        ...         with folder.drafted("000000.txt") as draft:
        ...             _ = draft.write_text("all of it")
        ...         folder.record(0, {"file": "000000.txt"})
        ...         folder.finish()
        ...     sorted(path.name for path in folder.path.iterdir())
        ['000000.txt', '_manifest.json']
    """

    def __init__(self, path: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        # As JSON gives them back, so that they can be compared.
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self.known: dict[int, dict[str, Any]] = {}
        self.complete = False
        self._journal: IO[bytes] | None = None

    def __enter__(self) -> Folder:
        try:
            with _told(self.path):
                self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def drafted(self, name: str) -> Any:
        """A context with a path to write to, which becomes the file of this name when it is left without an error."""
        return drafted(self.path / name)

    def record(self, number: int, told: Mapping[str, Any]) -> None:
        """Write down that a chunk is done; `told["file"]` is its file."""
        with _told(self.path):
            line = {"chunk": number, **told, "bytes": (self.path / told["file"]).stat().st_size}
            self._append(line)
        self.known[number] = json.loads(json.dumps(line))

    def finish(self) -> None:
        """Say that all is there; the journal goes."""
        with _told(self.path):
            content = {"canonize": FORM, "settings": self.settings, "chunks": self.listed()}
            self._sweep()
            with drafted(self.path / MANIFEST) as draft:
                draft.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            # Some systems remove no file that is open.
            self._close()
            (self.path / JOURNAL).unlink(missing_ok=True)
        self.complete = True

    def listed(self) -> list[dict[str, Any]]:
        """What is known of each chunk that is done, in their order."""
        return [self.known[number] for number in sorted(self.known)]

    def _open(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        journal, manifest = self.path / JOURNAL, self.path / MANIFEST
        if manifest.exists():
            if self._finished():
                return
            # A file has gone since: back to a journal of those that are there.
            header = {"canonize": FORM, "settings": self.settings}
            with drafted(journal) as draft:
                lines = (json.dumps(line, ensure_ascii=True) + "\n" for line in (header, *self.listed()))
                draft.write_text("".join(lines), encoding="utf-8")
            manifest.unlink()
        if not journal.exists() and any(not each.name.startswith(".") for each in self.path.iterdir()):
            raise refuse(
                "the folder holds something else",
                got=f"{self.path}",
                expected="an empty folder, or one that a run with the same settings has begun",
                fix="choose another --out",
            )
        self._journal = journal.open("ab")
        self._lock()
        kept = self._read(journal)
        self._sweep()
        self._journal.truncate(kept)
        if not kept:
            self._append({"canonize": FORM, "settings": self.settings})

    def _sweep(self) -> None:
        """Remove what killed processes have left of files."""
        for draft in self.path.glob(f".*{PART}"):
            draft.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _finished(self) -> bool:
        """Take over the chunks of a manifest; whether all of their files are there."""
        try:
            found = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
            self._fitting(found["settings"])
            for told in found["chunks"]:
                self._take(told)
            if len(self.known) < len(found["chunks"]):
                return False
        except SymmetryError:
            raise
        except _DAMAGE as error:
            raise _damaged(self.path / MANIFEST) from error
        # A run that was killed between the manifest and this.
        (self.path / JOURNAL).unlink(missing_ok=True)
        self.complete = True
        return True

    def _lock(self) -> None:
        try:
            import fcntl
        except ModuleNotFoundError:
            # No such locks on this system; two runs at once write the same bytes.
            return
        assert self._journal is not None  # opened before
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise refuse(
                "another run is writing to this folder",
                got=f"{self.path}",
                expected="one run at a time",
                fix="wait for it or end it; the next run goes on where it was",
            ) from error
        except OSError:
            # A file system without locks.
            return

    def _read(self, journal: Path) -> int:
        """Take over the lines of an earlier run; the length in bytes of what is whole."""
        kept = 0
        for number, line in enumerate(journal.read_bytes().splitlines(keepends=True)):
            if not line.endswith(b"\n"):
                # Cut in two as it was written.
                break
            try:
                told = json.loads(line)
                if number == 0:
                    if told["canonize"] != FORM:
                        raise ValueError("another form")  # told with the other kinds of damage
                    self._fitting(told["settings"])
                else:
                    self._take(told)
            except SymmetryError:
                raise
            except _DAMAGE as error:
                raise _damaged(journal, number + 1) from error
            kept += len(line)
        return kept

    def _take(self, told: dict[str, Any]) -> None:
        file = self.path / str(told["file"])
        number, size = int(told["chunk"]), int(told["bytes"])
        if file.is_file() and file.stat().st_size == size:
            self.known[number] = told
        else:
            self.known.pop(number, None)

    def _fitting(self, settings: dict[str, Any]) -> None:
        if differing(settings, self.settings):
            raise refuse(
                "the folder is of other settings, or of other data",
                got=told_apart(settings, self.settings),
                expected=f"what {self.path} was begun with, to go on from what is there",
                fix="the settings and data of then; or another folder for those of now, and this one stays as it is",
            )

    def _append(self, line: Mapping[str, Any]) -> None:
        assert self._journal is not None  # opened before
        self._journal.write(json.dumps(line, ensure_ascii=True).encode() + b"\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """A new name beside `path` to write to; renamed to it, and on the disk, when the context is left without an error."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PART}")
    try:
        yield draft
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
        with suppress(OSError):  # not all systems open folders
            opened = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(opened)
            finally:
                os.close(opened)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise refuse(
            "the folder cannot be written to",
            got=f"{path} ({type(error).__name__}: {error})",
            expected="a folder in a place that can be written to",
            fix="choose another place with --out",
        ) from error


def _damaged(file: Path, line: int = 1) -> SymmetryError:
    return refuse(
        "this is no record of a run of canonize, or it is damaged",
        got=f"{file}, line {line}",
        expected="the file that a run has written",
        fix="choose another --out, or remove the folder and begin anew",
    )
