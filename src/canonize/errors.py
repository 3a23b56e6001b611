"""The one exception of the library, and the helper that adds the outer call's context to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class SymmetryError(ValueError):
    """Something handed to canonize does not fit: the message says what came, what was expected and what to do next."""


class LawError(SymmetryError, AssertionError):
    """A group, an action, a frame or a model breaks the law that it must obey; the message names the law.

    Attributes:
        violation: how far the law is off, as the check measures it; None where it was not measured.
    """

    violation: float | None = None


def refuse(what: str, *, got: object, expected: object, fix: str) -> SymmetryError:
    """A `SymmetryError` in the house form; the caller raises it.

    Args:
        what: the sentence that names the problem.
        got: what came.
        expected: what would have been right.
        fix: what to do next.
    """
    return SymmetryError(f"{what}\n  got:      {got}\n  expected: {expected}\n  try:      {fix}")


@contextmanager
def within(where: str, *values: object) -> Iterator[None]:
    """Add the outer call, as the user wrote it, to any `SymmetryError` that passes through.

    Args:
        where: a format string; it is filled in only when there is an error, so that the good case costs nothing.
        values: what to fill in.
    """
    try:
        yield
    except SymmetryError as error:
        error.args = (f"{error.args[0]}\n  in:       {where.format(*values)}", *error.args[1:])
        raise
