"""Audits as tables for a terminal, drawn by rich."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.box import ROUNDED, SIMPLE
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from canonize.audit.result import Audit
from canonize.report import facts, words

STYLES = {"pass": "bold green", "fail": "bold red", "undecided": "bold yellow"}
LABELS, COLUMN = 26, 22
"""Columns of the terminal for the labels, and the fewest for one audit."""


def text(audits: Sequence[Audit], *, width: int, color: bool, elements: bool) -> str:
    """The tables as a string whose lines are at most `width` wide; with ANSI colours where asked."""
    stream = io.StringIO()
    # Everything that rich would otherwise learn from the environment is said here, so that equal audits give equal text.
    console = Console(
        file=stream,
        width=width,
        force_jupyter=False,
        color_system="standard" if color else None,
        no_color=not color,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
    )
    for part in _parts(audits, width, elements=elements):
        console.print(part)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()).strip("\n") + "\n"


def _parts(audits: Sequence[Audit], width: int, *, elements: bool) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(words.tally([audit.verdict for audit in audits]), style="bold")]
    # Audits that do not fit beside each other go into tables below each other.
    at_once = max(1, (width - LABELS) // COLUMN)
    parts += [_compared(audits[start : start + at_once]) for start in range(0, len(audits), at_once)]
    if elements:
        parts += [_by_element(audit) for audit in audits]
    return parts


def _compared(audits: Sequence[Audit]) -> Table:
    table = Table(box=ROUNDED, show_lines=False, expand=False)
    table.add_column("")
    for audit in audits:
        table.add_column(Text(words.clean(audit.name)), overflow="fold")
    table.add_row(
        Text("verdict", style="bold"),
        *(Text(f"{words.MARKS[a.verdict]} {a.verdict.upper()}", style=STYLES[a.verdict]) for a in audits),
    )
    table.add_row(Text("why"), *(Text(words.clean(audit.reason)) for audit in audits), end_section=True)
    rows = facts.comparison(audits)
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        last = following is not None and following.group != row.group
        table.add_row(Text(row.label), *(Text(value) for value in row.values), end_section=last)
    return table


def _by_element(audit: Audit) -> Table:
    names, rows = facts.element_table(audit)
    table = Table(box=SIMPLE, title=Text(f"{words.clean(audit.name)}, by element"), title_justify="left")
    for name in names:
        table.add_column(Text(name), justify="left" if name in ("element", "moved") else "right", overflow="fold")
    for row, values in rows:
        # NaN compares as false: only an error that is known to be small enough stays plain.
        table.add_row(*(Text(value) for value in values), style="" if row.worst <= audit.tolerance else "red")
    return table
