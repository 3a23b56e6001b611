"""Text formats with one thing a line or a record: graph6, SMILES, tables, SDF."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import torch

from canonize.cli.reading import check_names, readable
from canonize.errors import refuse
from canonize.forms import Graph

LONGEST = 2**26
"""Characters of one line: a longer one is a mistake, or meant to fill the memory."""


def lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines that hold something, with their numbers from 1.

    Raises:
        SymmetryError: a line longer than `LONGEST`.
    """
    with file.open(encoding="utf-8", errors="replace") as opened:
        for number, line in enumerate(_bounded(opened, file.name), 1):
            text = line.strip()
            if text and not (number == 1 and text in (">>graph6<<", ">>digraph6<<")):
                yield number, text


def _bounded(opened: IO[str], name: str) -> Iterator[str]:
    number = 0
    while line := opened.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            raise refuse(
                "a line of this file is too long",
                got=f"{name}, line {number}",
                expected=f"at most {LONGEST:,} characters",
                fix="check that it is a text file of one item a line",
            )
        yield line


def graph6(line: str) -> Graph:
    """The graph of one line of the graph6 format (B. McKay, formats.txt of nauty); the line bounds its size.

    Raises:
        SymmetryError: sparse6, digraph6, characters outside the format, a line of another length than the graph needs.
    """
    text = line.removeprefix(">>graph6<<")
    codes = [ord(letter) - 63 for letter in text]
    if not codes or any(not 0 <= number < 64 for number in codes):
        kind = {":": "sparse6", "&": "digraph6", ";": "incremental sparse6"}.get(text[:1], "other characters")
        raise refuse(
            "this is no graph6", got=f"{kind}: {text[:40]!r}", expected="graph6", fix="nauty's copyg -g converts"
        )
    digits = 1 if codes[0] < 63 else 3 if len(codes) > 1 and codes[1] < 63 else 6
    start = {1: 0, 3: 1, 6: 2}[digits]
    if len(codes) < start + digits:
        raise refuse("this graph6 is cut off", got=repr(text[:40]), expected="a size", fix="copy the line again")
    n = 0
    for number in codes[start : start + digits]:
        n = 64 * n + number
    rest = codes[start + digits :]
    if len(rest) != (n * (n - 1) // 2 + 5) // 6:
        raise refuse(
            "this graph6 is cut off",
            got=f"{len(rest)} characters for {n} nodes",
            expected=f"{(n * (n - 1) // 2 + 5) // 6}",
            fix="copy the line again",
        )
    bits = torch.tensor(rest, dtype=torch.int64)[:, None].bitwise_right_shift(torch.arange(5, -1, -1)) & 1
    # Column by column above the diagonal, which is row by row below it.
    rows, columns = torch.tril_indices(n, n, -1)
    there = bits.reshape(-1)[: len(rows)].bool()
    return Graph(torch.stack([columns[there], rows[there]]), count=n)


def records(file: Path) -> Iterator[tuple[int, int]]:
    """Start and length of each record of an SDF file."""
    start = place = 0
    filled = False
    with file.open("rb") as opened:
        while line := opened.readline(LONGEST + 1):
            place += len(line)
            if line.rstrip() == b"$$$$":
                yield start, place - start - len(line)
                start, filled = place, False
            else:
                filled = filled or bool(line.strip())
    if filled:
        yield start, place - start


def cells_of(file: Path, column: str | None) -> Iterator[tuple[int, str]]:
    """The cells of a column (by default `smiles`) of a table with a header, with the numbers of their lines.

    Raises:
        SymmetryError: no such column, a line longer than `LONGEST`, a cell of more than 131,072 characters.
    """
    with (
        readable("the table cannot be read", file.name, expected="a table of text", fix="write it again"),
        file.open(encoding="utf-8-sig", errors="replace", newline="") as opened,
    ):
        rows = csv.reader(_bounded(opened, file.name), delimiter="\t" if file.suffix.lower() == ".tsv" else ",")
        head = next(rows, [])
        names = [name.strip().lower() for name in head]
        wanted = (column or "smiles").strip().lower()
        check_names([wanted] * names.count(wanted), file.name, fix="rename or drop one of them in the first line")
        if wanted not in names:
            raise refuse(
                "the table has no such column",
                got=f"{file.name} with {', '.join(head)[:200] or 'no columns'}",
                expected=f"a column {column or 'smiles'!r}",
                fix="--column NAME",
            )
        place = names.index(wanted)
        for row in rows:
            if row:
                yield rows.line_num, row[place] if place < len(row) else ""
