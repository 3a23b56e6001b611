"""The commands, and those of them that are short."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.table import Table

from canonize._version import __version__
from canonize.cli import demo as demonstration
from canonize.cli import words
from canonize.cli.adapt import adapt_command
from canonize.cli.audit import audit_command
from canonize.cli.canonicalize import canonicalize_command
from canonize.cli.console import Debug, Seed, out, planned, progress, publish, told
from canonize.cli.dedupe import dedupe_command
from canonize.cli.explain import explain_command
from canonize.cli.playground import playground_command
from canonize.groups import order

app = typer.Typer(
    help="Gives any model the symmetry of its problem, and proves that it has it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--report", help="Folder for the report.")] = Path("canonize-report"),
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Train a small model on real scans, watch it fail when they are turned, mend it with one line, and prove it."""
    # Small tensors run several times slower when two threads fight over them.
    torch.set_num_threads(1)
    with told(debug):
        pages = [path for path in planned(folder) if path.suffix.lower() == ".html"]
        with progress() as tell:
            found = demonstration.run(seed=seed, step=tell)
        publish(found.audits, folder, elements=False)
        out.print(f"\n{demonstration.story(found)}", markup=False, highlight=False)
        out.print(f"\nTook {sum(found.seconds.values()):.0f} s.", highlight=False)
        for page in pages:
            line = f"Open this in a browser:\n{page.resolve().as_uri()}"
            out.print(line, markup=False, highlight=False, soft_wrap=True)


app.command(name="audit")(audit_command)
app.command(name="explain")(explain_command)
app.command(name="adapt")(adapt_command)
app.command(name="dedupe")(dedupe_command)
app.command(name="canonicalize")(canonicalize_command)
app.command(name="playground")(playground_command)


@app.command()
def groups() -> None:
    """List the groups that --group knows, with examples."""
    table = Table(title="Groups", caption="Those without a word are made from Python, and audited there.")
    for column in ("word", "example", "elements", "what it is"):
        table.add_column(column)
    for pattern, _, meaning in words.GROUPS:
        example = pattern.format(n=4 if pattern in ("C{n}", "D{n}", "S{n}") else 3)
        size = order(words.group(example))
        count = "depends" if pattern == "S" else "infinite" if size is None else f"{size:,}"
        table.add_row(pattern.format(n="n"), example, count, meaning)
    for made, meaning in words.PYTHON:
        table.add_row("", made, "", meaning)
    out.print(table)
    out.print(f"Actions for --input and --output: {', '.join(words.ACTIONS)}", highlight=False)
