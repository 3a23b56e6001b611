"""What the readers of files share: nothing but a `SymmetryError` comes out of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from canonize.errors import SymmetryError, refuse

_ADDRESS = re.compile(" at 0x[0-9a-f]+")
TABLES = (".parquet", ".arrow", ".feather")
MOST_NODES = 2**24
"""Nodes of one graph: room is made for each, so a few bytes that claim more are a mistake, or meant to fill the memory."""


@contextmanager
def readable(what: str, where: object, *, expected: str, fix: str) -> Iterator[None]:
    """Tell whatever is raised inside as a `SymmetryError`: readers of damaged files raise nearly anything.

    Args:
        what: the sentence that names the problem.
        where: the file, or the place in it.
        expected: what would have been right.
        fix: what to do next.

    Raises:
        SymmetryError: instead of any other exception; one of ours passes as it is.
    """
    try:
        yield
    except SymmetryError:
        raise
    except Exception as error:
        # An address in memory would be another one each time.
        told = _ADDRESS.sub("", str(error)).strip().splitlines()
        reason = f"{type(error).__name__}: {told[0][:200]}" if told else type(error).__name__
        raise refuse(what, got=f"{where}: {reason}", expected=expected, fix=fix) from error


def check_installed(error: Exception) -> None:
    """Raise again what was raised for want of a package: that is no property of a sample, and one word of it is enough.

    Raises:
        SymmetryError: the error itself, where it was raised in place of an `ImportError`.
    """
    if isinstance(error, SymmetryError) and isinstance(error.__context__, ImportError):
        raise error


def check_names(names: Sequence[str], where: str, *, fix: str) -> None:
    """Refuse a table in which columns share a name: nothing says which of them is meant.

    Raises:
        SymmetryError: two columns of one name.
    """
    twice = [f"{name} ({count} times)" for name, count in Counter(names).items() if count > 1]
    if twice:
        raise refuse(
            "columns of the table have the same name",
            got=f"{where} with {', '.join(twice)[:200]}",
            expected="a name of its own for each column",
            fix=fix,
        )


def check_column(path: Path, column: str | None) -> None:
    """Refuse the name of a column where there are none.

    Raises:
        SymmetryError: data of another kind than `TABLES`.
    """
    if column is not None and path.suffix.lower() not in TABLES:
        raise refuse(
            "only tables have columns",
            got=f"--column {column} for {path.name}",
            expected=f"a file or folder NAME{', NAME'.join(TABLES)}",
            fix="leave out --column",
        )


def check_nodes(edges: Tensor, count: Any) -> None:
    """Refuse a graph of a file that claims more nodes than `MOST_NODES`.

    Raises:
        SymmetryError: a larger count or number of a node, or a count that is no whole number.
    """
    if count is not None and (isinstance(count, bool) or not isinstance(count, int)):
        raise refuse(
            "the count of nodes is no count", got=f"{count!r}"[:80], expected="a whole number", fix="leave it out"
        )
    most = max(count or 0, int(edges.max()) + 1 if edges.numel() else 0)
    if most > MOST_NODES:
        raise refuse(
            "a graph of this file is too large",
            got=f"{most:,} nodes",
            expected=f"at most {MOST_NODES:,}",
            fix="number the nodes from 0 without gaps",
        )
