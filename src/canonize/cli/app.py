"""The commands, their options and their exit codes."""

from __future__ import annotations

import textwrap
import traceback
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
from canonize.cli.data import load_data
from canonize.cli.load import load_model
from canonize.errors import SymmetryError, refuse
from canonize.groups import order
from canonize.report.verbs import targets as planned
from canonize.symmetrize import symmetrize
from canonize.symmetry import Symmetry

EXIT = {"pass": 0, "fail": 1, "undecided": 3}
"""Exit codes of a verdict; 2 is a wrong call, bad input, or anything that raised."""
PLAIN = str.maketrans("─│├┤┬┴┼╭╮╰╯━┃╷╵╴╶╞╡╪═║", "-|+++++++++-|||--+++=|")
"""Lines of tables in ASCII."""
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of every draw.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

app = typer.Typer(
    help="Gives any model the symmetry of its problem, and proves that it has it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
out, err = Console(), Console(stderr=True)


@contextmanager
def _told(debug: bool = False) -> Iterator[None]:
    """Whatever is raised is told in words and exits with 2: Python's own code for it, 1, would say that a model failed."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except (Exception, SystemExit) as error:
        # A model that calls sys.exit has not passed either.
        if debug:
            err.print(traceback.format_exc().rstrip(), markup=False, highlight=False, soft_wrap=True)
        elif isinstance(error, SymmetryError):
            err.print(f"canonize: {error}", markup=False, highlight=False, style="red", soft_wrap=True)
        else:
            told = textwrap.shorten(f"{type(error).__name__}: {error}", 600, placeholder=" ...")
            line = f"canonize: {told} (--debug shows where)"
            err.print(line, markup=False, highlight=False, style="red", soft_wrap=True)
        raise typer.Exit(2) from None


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for each step, on the error stream."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars = Progress(*columns, console=err, transient=not err.is_terminal)
    known: dict[str, Any] = {}

    def tell(what: str, done: int, total: int) -> None:
        if what not in known:
            known[what] = bars.add_task(what, total=total)
            bars.start()
        bars.update(known[what], completed=done, total=total)

    try:
        yield tell
    finally:
        if known:
            # Stopped without a start, it would still print an empty line.
            bars.stop()


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
    with _told(debug):
        pages = [path for path in _planned(folder) if path.suffix.lower() == ".html"]
        with _progress() as tell:
            found = demonstration.run(seed=seed, step=tell)
        _publish(found.audits, folder, elements=False)
        out.print(f"\n{demonstration.story(found)}", highlight=False)
        out.print(f"\nTook {sum(found.seconds.values()):.0f} s.", highlight=False)
        for page in pages:
            out.print(f"Open this in a browser:\n{page.resolve().as_uri()}", highlight=False, soft_wrap=True)


@app.command(name="audit")
def audit_command(
    model: Annotated[str, typer.Argument(help="module:object, or a file .onnx, .pt, .ts, .pt2.")],
    data: Annotated[
        str,
        typer.Option(
            help="A folder of images (subfolders are classes), or .npz, .npy, .pt. Images of 8 or 16 bits are scaled "
            "to 0..1, in arrays too; arrays of floats are taken as they are."
        ),
    ],
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
    elements: Annotated[int, typer.Option(min=2, help="Random elements for each input of a large group.")] = 32,
    tolerance: Annotated[float | None, typer.Option(min=0, help="Largest relative error that passes.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Inputs in one call.")] = 64,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many inputs, spread evenly.")] = None,
    size: Annotated[
        int | None, typer.Option(min=1, max=16_384, help="Scale and crop images to this side in pixels.")
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="Subtract this from images, one number or one a channel: 0.485,0.456,0.406.")
    ] = None,
    std: Annotated[str | None, typer.Option(help="Then divide images by this: 0.229,0.224,0.225.")] = None,
    gray: Annotated[bool, typer.Option(help="Read images with one channel.")] = False,
    targets: Annotated[bool, typer.Option(help="Measure accuracy where the data hold class numbers.")] = True,
    seed: Seed = 0,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="Threads of torch.")] = None,
    trust: Annotated[bool, typer.Option(help="Load TorchScript and exported files, which can run code.")] = False,
    debug: Debug = False,
) -> None:
    """Audit a model against a claim. Exits with 0 for pass, 1 for fail, 3 for undecided, 2 for a wrong call."""
    if threads is not None:
        torch.set_num_threads(threads)
    with _told(debug), _progress() as tell:
        _planned(folder)
        claim = Symmetry(words.group(group), inputs=words.tree(inputs), outputs=words.tree(outputs))
        center = words.numbers(mean, option="--mean")
        spread = words.numbers(std, option="--std", positive=True)
        loaded = load_model(model, trust=trust)
        read = load_data(
            data,
            size=size,
            gray=gray,
            limit=limit,
            grids=words.grids(inputs),
            mean=center,
            std=spread,
            report=lambda done, of: tell("reading images", done, of),
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
    with _told(debug):
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


def _planned(folder: Path | None) -> tuple[Path, ...]:
    """Where the report will go; a bad place is told before the work, not after it."""
    return () if folder is None else planned(folder)


def _publish(audits: Any, folder: Path | None, *, elements: bool) -> None:
    width = max(out.width, 60)
    text = report.to_text(list(audits), width=width, color=out.is_terminal, elements=elements)
    _show(text if text.endswith("\n") else f"{text}\n")
    if folder is None:
        return
    try:
        paths = report.write(list(audits), folder)
    except OSError as error:
        raise refuse(
            "the report cannot be written",
            got=f"{folder} ({type(error).__name__}: {error})",
            expected="a place that can be written to",
            fix="choose another place with --report",
        ) from error
    for path in paths:
        out.print(f"wrote {path}", highlight=False, soft_wrap=True)


def _show(text: str) -> None:
    """Print a table; where the terminal cannot show its lines they are drawn in ASCII."""
    encoding = getattr(out.file, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(PLAIN).encode(encoding, "replace").decode(encoding)
    out.file.write(text)
