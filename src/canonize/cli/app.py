"""The commands, their options and their exit codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from canonize import report
from canonize._version import __version__
from canonize.audit import accuracy, audit
from canonize.cli import demo as demonstration
from canonize.cli import words
from canonize.cli.load import load_data, load_model
from canonize.errors import SymmetryError
from canonize.groups import order
from canonize.symmetrize import symmetrize
from canonize.symmetry import Symmetry

EXIT = {"pass": 0, "fail": 1, "undecided": 3}
"""Exit codes of a verdict; 2 is a wrong call or bad input."""

app = typer.Typer(
    help="Gives any model the symmetry of its problem, and proves that it has it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
out, err = Console(), Console(stderr=True)


@contextmanager
def _told() -> Iterator[None]:
    """Bad input is told in words, without a traceback, and exits with 2."""
    try:
        yield
    except SymmetryError as error:
        err.print(f"canonize: {error}", markup=False, highlight=False, style="red")
        raise typer.Exit(2) from None


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for each step, on the error stream."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=not err.is_terminal) as bars:
        known: dict[str, Any] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in known:
                known[what] = bars.add_task(what, total=total)
            bars.update(known[what], completed=done, total=total)

        yield tell


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
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
) -> None:
    """Train a small model on real scans, watch it fail when they are turned, mend it with one line, and prove it."""
    # Small tensors run several times slower when two threads fight over them.
    torch.set_num_threads(1)
    with _told():
        with _progress() as tell:
            found = demonstration.run(seed=seed, step=tell)
        _publish(found.audits, folder, elements=False)
    out.print(f"\n{demonstration.story(found)}", highlight=False)
    page = (folder / "report.html").resolve()
    out.print(f"\nTook {sum(found.seconds.values()):.0f} s. Open this in a browser:", highlight=False)
    out.print(page.as_uri(), soft_wrap=True)


@app.command(name="audit")
def audit_command(
    model: Annotated[str, typer.Argument(help="module:object, or a file .onnx, .pt, .ts, .pt2.")],
    data: Annotated[str, typer.Option(help="A folder of images (subfolders are classes), or .npz, .npy, .pt.")],
    group: Annotated[str, typer.Option(help="Such as C8, D4, SO3, octahedral; `canonize groups` lists them.")],
    inputs: Annotated[
        str, typer.Option("--input", help="How inputs move: image, point, ...; a,b for several.")
    ] = "image",
    outputs: Annotated[str, typer.Option("--output", help="How outputs move: scalar, mask, vector, ...")] = "scalar",
    frame: Annotated[
        str | None, typer.Option(help="Also audit the model behind this frame: average, confidence, logsumexp, ...")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--report", help="Folder or file (.html, .json, .txt) to write.")
    ] = None,
    elements: Annotated[int, typer.Option(help="Random elements for each input of a large group.")] = 32,
    tolerance: Annotated[float | None, typer.Option(help="Largest relative error that passes.")] = None,
    batch_size: Annotated[int, typer.Option(help="Inputs in one call.")] = 64,
    limit: Annotated[int | None, typer.Option(help="At most this many inputs.")] = None,
    size: Annotated[int | None, typer.Option(help="Scale and crop images to this side in pixels.")] = None,
    gray: Annotated[bool, typer.Option(help="Read images with one channel.")] = False,
    targets: Annotated[bool, typer.Option(help="Measure accuracy where the data hold class numbers.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Threads of torch.")] = None,
    trust: Annotated[bool, typer.Option(help="Load TorchScript and exported files, which can run code.")] = False,
) -> None:
    """Audit a model against a claim. Exits with 0 for pass, 1 for fail, 3 for undecided, 2 for a wrong call."""
    if threads is not None:
        torch.set_num_threads(threads)
    with _told(), _progress() as tell:
        claim = Symmetry(words.group(group), inputs=words.tree(inputs), outputs=words.tree(outputs))
        loaded = load_model(model, trust=trust)
        read = load_data(
            data, size=size, gray=gray, limit=limit, report=lambda done, of: tell("reading images", done, of)
        )
        audited = [(Path(model).name if Path(model).is_file() else model, loaded)]
        if frame is not None:
            audited.append((f"{audited[0][0]} behind {frame}", symmetrize(loaded, claim, words.frame(frame, loaded))))
        labels = read.targets if targets else None
        found = []
        for name, each in audited:
            found.append(
                audit(
                    each,
                    claim,
                    read.inputs,
                    targets=labels,
                    metric=None if labels is None else accuracy,
                    elements=elements,
                    tolerance=tolerance,
                    batch_size=batch_size,
                    generator=torch.Generator().manual_seed(seed),
                    progress=lambda done, of, name=name: tell(f"auditing {name}", done, of),  # type: ignore[misc]  # binds it
                    name=name,
                )
            )
    with _told():
        _publish(found, folder, elements=True)
    raise typer.Exit(EXIT[found[-1].verdict])


@app.command()
def groups() -> None:
    """List the groups that --group knows, with examples."""
    table = Table(
        title="Groups", caption="Products: S5xO3. From Python: generated_by(matrices) for any finite matrix group."
    )
    for column in ("word", "example", "elements", "what it is"):
        table.add_column(column)
    for pattern, _, meaning in words.GROUPS:
        example = pattern.format(n=4 if pattern[0] in "CDS" and pattern[1] == "{" else 3)
        size = order(words.group(example))
        table.add_row(pattern.format(n="n"), example, "infinite" if size is None else f"{size:,}", meaning)
    out.print(table)
    out.print(f"Actions for --input and --output: {', '.join(words.ACTIONS)}", highlight=False)


def _publish(audits: Any, folder: Path | None, *, elements: bool) -> None:
    width = max(out.width, 60)
    text = report.to_text(list(audits), width=width, color=out.is_terminal, elements=elements)
    out.file.write(text if text.endswith("\n") else f"{text}\n")
    if folder is not None:
        for path in report.write(list(audits), folder):
            out.print(f"wrote {path}", highlight=False, soft_wrap=True)
