"""What is told of data that hold nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from canonize.errors import SymmetryError, refuse

_WORDS = {
    "a table of 0 rows": (".parquet", ".arrow", ".feather", ".csv", ".tsv"),
    "a shard of 0 samples": (".tar",),
    "an array of 0 entries": (".npy", ".npz"),
    "a list of 0 molecules": (".smi", ".sdf", ".mol"),
    "a list of 0 graphs": (".g6",),
}
_SHOWN = 6
"""Kinds of files that are named."""


def nothing(where: Path, known: Sequence[str], files: Sequence[Path]) -> SymmetryError:
    """What to raise where there is nothing to work on.

    Args:
        where: what was asked for.
        known: suffixes that are read.
        files: those among `where` that have one of them.
    """
    if files:
        return refuse(
            "there is nothing to work on",
            got=_inside(where, files),
            expected="at least one",
            fix="check how it was written",
        )
    return refuse(
        "there is nothing to work on",
        got=found_in(where),
        expected=f"a folder or a file with {', '.join(known)}",
        fix="check the path",
    )


def found_in(where: Path) -> str:
    """What is there instead of anything that can be read: nothing, an empty folder, or files of other kinds."""
    if where.is_file():
        return f"{where}, of a kind that is not known"
    if not where.is_dir():
        return f"{where}, which does not exist"
    suffixes = [file.suffix.lower() for file in where.rglob("*") if file.is_file()]
    if not suffixes:
        return f"{where}, an empty folder"
    kinds = sorted({suffix or "without a suffix" for suffix in suffixes})
    more = ", ..." if len(kinds) > _SHOWN else ""
    return f"{where} with {_count(suffixes)}, of kind{'s' * (len(kinds) > 1)} {', '.join(kinds[:_SHOWN])}{more}"


def wrong(file: Path, error: Exception) -> str:
    """What a reader says of a file, in one line; of an empty one that it is empty."""
    try:
        if not file.stat().st_size:
            return f"{file.name}, an empty file"
    except OSError:
        pass
    return f"{file.name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"


def _inside(where: Path, files: Sequence[Path]) -> str:
    if where.is_dir():
        return f"{where} with {_count(files)}, and not one row in them"
    suffix = where.suffix.lower()
    return f"{where}, {next((words for words, suffixes in _WORDS.items() if suffix in suffixes), 'an empty file')}"


def _count(things: Sequence[object]) -> str:
    return "1 file" if len(things) == 1 else f"{len(things):,} files"
