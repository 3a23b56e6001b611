"""What a run of `canonize adapt` leaves for the next one: a finished canonizer is kept, a run that was stopped goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from canonize.cli.console import err
from canonize.errors import SymmetryError, refuse


def check_unfinished(files: Any, folder: Path, checkpoint: Path) -> None:
    """Refuse to train anew over a canonizer that is there; where there is a checkpoint, the run goes on from it.

    Args:
        files: the module that saves and loads frames.
        folder: where the canonizer is to go.
        checkpoint: where a run that was stopped has left off.

    Raises:
        SymmetryError: one of the two files is there, whoever has written it, and no checkpoint.
    """
    there = [name for name in (files.WEIGHTS, files.CONFIG) if (folder / name).exists()]
    if not there or checkpoint.exists():
        return
    named = " and ".join(there)
    raise refuse(
        "the folder holds a finished canonizer",
        got=f"{named} in {folder}{_kind(files, folder)}",
        expected=f"none, or the checkpoint of a run that was stopped: there is no {checkpoint}",
        fix=f"delete {named} in {folder} to train anew, or another folder: --out",
    )


def _kind(files: Any, folder: Path) -> str:
    """The frame and the claim of the canonizer in a folder, as far as it can be read."""
    try:
        claim, frame = files.load(folder)
    except SymmetryError:
        return ""
    resolution = getattr(frame, "resolution", None)
    size = "" if resolution is None else f" at resolution {resolution}"
    return f", of {type(frame).__name__}{size} for {claim.group!r}, outputs {claim.outputs!r}"


@contextmanager
def goes_on_from(checkpoint: Path) -> Iterator[None]:
    """Tell on Ctrl-C that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        line = f"Stopped. The same command goes on from {checkpoint}"
        err.print(line, markup=False, highlight=False, soft_wrap=True)
        raise
