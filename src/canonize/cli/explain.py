"""`canonize explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.table import Table
from rich.text import Text

from canonize.cli import words
from canonize.cli.console import (
    Column,
    Debug,
    Gray,
    Group,
    Inputs,
    Limit,
    Mean,
    Model,
    Outputs,
    Size,
    Std,
    Threads,
    Trust,
    err,
    out,
    progress,
    told,
)
from canonize.cli.data import load_data
from canonize.cli.load import load_model
from canonize.errors import refuse
from canonize.explain import Explanation, explain
from canonize.symmetry import Symmetry


def explain_command(
    model: Model,
    data: Annotated[str, typer.Option(help="A folder of images, or .npz, .npy, .pt, as for `canonize audit`.")],
    group: Group = None,
    inputs: Inputs = "image",
    outputs: Outputs = "scalar",
    frame: Annotated[
        list[str] | None,
        typer.Option(help="Only this frame, as for `canonize audit`; give it several times to compare several."),
    ] = None,
    report: Annotated[Path | None, typer.Option("--json", help="File for all figures.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Inputs in the timed call.")] = 16,
    column: Column = None,
    limit: Limit = None,
    size: Size = None,
    mean: Mean = None,
    std: Std = None,
    gray: Gray = False,
    threads: Threads = None,
    trust: Trust = False,
    debug: Debug = False,
) -> None:
    """Print what each frame would cost on a model, before one is chosen: passes, time, multiply-adds, memory."""
    if threads is not None:
        torch.set_num_threads(threads)
    with told(debug), progress() as tell:
        claim = Symmetry(words.group_for(group, frame or ()), inputs=words.tree(inputs), outputs=words.tree(outputs))
        loaded = load_model(model, trust=trust)
        read = load_data(
            data,
            size=size,
            gray=gray,
            # What is not timed need not be read.
            limit=min(limit or batch_size, batch_size),
            grids=words.grids(inputs),
            mean=words.numbers(mean, option="--mean"),
            std=words.numbers(std, option="--std", positive=True),
            column=column,
            report=lambda done, of: tell("reading", done, of),
        )
        frames = None if not frame else {word: words.behind(word, loaded, claim).frame for word in frame}
        found = explain(
            loaded,
            claim,
            read.inputs,
            frames=frames,
            batch_size=batch_size,
            progress=lambda done, of: tell("trying frames", done, of),
            name=Path(model).name if Path(model).is_file() else model,
        )
    with told(debug):
        _show(found)
        if report is not None:
            _write(report, found)


def _show(found: Explanation) -> None:
    head, *rows = found.rows()
    out.print(
        f"{found.name}: {1e3 * found.seconds:.3g} ms for {found.batch} inputs, plain", markup=False, highlight=False
    )
    out.print(f"claim: {found.symmetry}", markup=False, highlight=False)
    table = Table(show_lines=True)
    table.add_column(head[0], overflow="fold", min_width=24)
    for name in head[1:-1]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(Text(row[0], style="bold").append(f"\n{row[-1]}", style="not bold"), *map(Text, row[1:-1]))
    out.print(table)
    for choice in found.choices:
        if choice.refused is not None:
            err.print(f"{choice.frame}: {choice.refused}", markup=False, highlight=False)
    out.print(found.machine, markup=False, highlight=False)


def _write(target: Path, found: Explanation) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(found.to_json() + "\n", encoding="utf-8")
    except OSError as error:
        raise refuse(
            "the figures cannot be written",
            got=f"{target} ({type(error).__name__}: {error})",
            expected="a place that can be written to",
            fix="choose another place with --json",
        ) from error
    out.print(f"wrote {target}", markup=False, highlight=False, soft_wrap=True)
