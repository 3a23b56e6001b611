"""What the commands share: where they print, how errors are told, progress, and the report."""

from __future__ import annotations

import textwrap
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.segment import Segment

from canonize import report
from canonize.errors import SymmetryError, refuse
from canonize.report.verbs import targets
from canonize.report.words import seen

PLAIN = str.maketrans("─│├┤┬┴┼╭╮╰╯━┃╷╵╴╶╞╡╪═║", "-|+++++++++-|||--+++=|")
"""Lines of tables in ASCII."""
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of every draw.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Threads = Annotated[int | None, typer.Option(min=1, max=1024, help="Threads of torch.")]
Trust = Annotated[bool, typer.Option(help="Load TorchScript and exported files, which can run code.")]
Limit = Annotated[
    int | None, typer.Option(min=1, help="At most this many inputs, one drawn from each of as many equal stretches.")
]
Size = Annotated[int | None, typer.Option(min=1, max=16_384, help="Scale and crop images to this side in pixels.")]
Column = Annotated[str | None, typer.Option(help="Column of a table that holds the values, such as images.")]
Mean = Annotated[
    str | None, typer.Option(help="Subtract this from images, one number or one a channel: 0.485,0.456,0.406.")
]
Std = Annotated[str | None, typer.Option(help="Then divide images by this: 0.229,0.224,0.225.")]
Gray = Annotated[bool, typer.Option(help="Read images with one channel.")]
Group = Annotated[
    str | None,
    typer.Option(
        help="Such as C8, D4, SO3, octahedral; `canonize groups` lists them. A folder for --frame knows its group.",
    ),
]
Inputs = Annotated[str, typer.Option("--input", help="How inputs move: image, point, ...; a,b for several.")]
Outputs = Annotated[str, typer.Option("--output", help="How outputs move: scalar, mask, vector, ...")]
Report = Annotated[Path | None, typer.Option("--report", help="Folder or file (.html, .json, .txt) to write.")]
Model = Annotated[str, typer.Argument(help="module:object, or a file .onnx, .pt, .ts, .pt2.")]
Targets = Annotated[bool, typer.Option(help="Measure accuracy where the data hold class numbers.")]


class Clean(Console):
    """A console on which names of files and words of errors cannot steer the terminal, nor turn a line around."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """The segments of `renderable` without characters that are not shown; the console's own control codes stay."""
        for part in super().render(renderable, options):
            yield part if part.control else Segment(seen(part.text), part.style)


# A file that is called x:a:y is no emoji.
out, err = Clean(emoji=False), Clean(emoji=False, stderr=True)


@contextmanager
def told(debug: bool = False) -> Iterator[None]:
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
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for each step, on the error stream."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
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


def planned(folder: Path | None) -> tuple[Path, ...]:
    """Where the report will go; a bad place is told before the work, not after it."""
    return () if folder is None else targets(folder)


def publish(audits: Any, folder: Path | None, *, elements: bool) -> None:
    """Print the audits side by side, and write the report where a folder is given."""
    width = max(out.width, 60)
    text = report.to_text(list(audits), width=width, color=out.is_terminal, elements=elements)
    show(text if text.endswith("\n") else f"{text}\n")
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
        out.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def show(text: str) -> None:
    """Print a table; where the terminal cannot show its lines they are drawn in ASCII."""
    encoding = getattr(out.file, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(PLAIN).encode(encoding, "replace").decode(encoding)
    out.file.write(text)
