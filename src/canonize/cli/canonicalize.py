"""`canonize canonicalize`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, final

import torch
import typer

from canonize._version import __version__
from canonize.cli import words
from canonize.cli.batch import Address, Engine, Workers, bars, check_engine, in_words, mapped, show_bad
from canonize.cli.console import Debug, Gray, Mean, Std, err, out, told
from canonize.cli.dedupe import check_tolerance
from canonize.cli.fitting import fitting
from canonize.cli.items import find_items
from canonize.cli.listing import Items
from canonize.cli.reading import check_installed
from canonize.errors import refuse
from canonize.forms import Cloud
from canonize.forms.digest import VERSION
from canonize.scale import Canonical, Chunk, Folder, Form, Missing, check_canonical, chunked
from canonize.scale.settings import digested, files
from canonize.scale.write import SUFFIXES, Layout, Sample, check_fits, columns, kind_of, schema, writer

AT_ONCE = 64
"""Samples that are posed together, and make one row group."""
EXIT = {"done": 0, "bad": 3}
"""Exit codes: all is written; something could not be read or posed, and all else is written. 2 is a wrong call."""


@final
@dataclass
class Written:
    """What a run has made.

    Attributes:
        samples: how many there are in the input.
        rows: how many were written.
        files: how many files they are in.
        bad: what has no canonical form, with the reason.
        resumed: samples that an earlier run had done.
    """

    samples: int
    rows: int
    files: int
    bad: list[tuple[str, str]] = field(default_factory=list)
    resumed: int = 0


@final
@dataclass(frozen=True)
class Writing:
    """The job of one chunk: read, pose, and write one file; the same file each time."""

    items: Items
    canonical: Canonical
    layout: Layout
    folder: str
    suffix: str

    def __call__(self, chunk: Chunk) -> dict[str, Any]:
        """What the journal says of the chunk."""
        from canonize.scale.folder import drafted

        bad: list[tuple[str, str]] = []
        name = f"part-{chunk.number:06d}{self.suffix}"
        rows = 0
        with drafted(Path(self.folder) / name) as draft:
            made = writer(draft, self.suffix, self.layout)
            try:
                for start in range(0, len(chunk.places), AT_ONCE):
                    samples = self._posed(chunk.places[start : start + AT_ONCE], bad)
                    made.add(samples)
                    rows += len(samples)
            finally:
                made.close()
        return {"file": name, "samples": len(chunk.places), "rows": rows, "bad": bad}

    def _posed(self, places: Any, bad: list[tuple[str, str]]) -> list[Sample]:
        read: list[tuple[int, str, Any, dict[str, Any]]] = []
        wrong: dict[int, tuple[str, str]] = {}
        for place in places:
            item = self.items[place]
            try:
                read.append((place, item.name, item.read(), item.more()))
            except Exception as error:  # readers of damaged files raise nearly anything
                check_installed(error)
                wrong[place] = (item.name, in_words(error))
        samples = []
        forms = self.canonical([value for _, _, value, _ in read])
        for (place, name, _, beside), form in zip(read, forms, strict=True):
            try:
                if isinstance(form, Missing):
                    raise form.error  # noqa: TRY301  # told with what else is wrong with a sample
                check_fits(self.layout, form)
                self._check_beside(beside)
                # Encoded here, so that a value that cannot be written is bad by itself.
                samples.append(Sample(place, name, columns(form, self.layout), beside))
            except Exception as error:
                check_installed(error)
                wrong[place] = (name, in_words(error))
        bad += [wrong[place] for place in sorted(wrong)]
        return samples

    def _check_beside(self, beside: dict[str, Any]) -> None:
        known = None if self.suffix == ".tar" else {field.name for field in self.layout.beside or ()}
        if known is not None and not set(beside) <= known:
            raise refuse(
                "the sample holds more than the first one does",
                got=", ".join(sorted(set(beside) - known)),
                expected=f"beside the value {', '.join(sorted(known)) or 'nothing'}",
                fix="--out with .tar takes any files; or give all samples the same",
            )


def canonicalize_command(
    where: Annotated[
        str,
        typer.Argument(
            help="A folder, or a file: images, .npy, .npz, .parquet, .arrow, .tar (WebDataset; name-{000000..000009}.tar), "
            "graph6 (.g6), SMILES (.smi, .csv, .tsv), .sdf, .mol.",
            show_default=False,
        ),
    ],
    target: Annotated[Path, typer.Option("--out", help="Folder to write: NAME.parquet or NAME.tar, for WebDataset.")],
    group: Annotated[
        str | None,
        typer.Option(
            help="C4 or D4 for images, others of the plane with --frame, which knows its group; S for graphs, sets, molecules; "
            "SxE3, SE3."
        ),
    ] = None,
    frame: Annotated[Path | None, typer.Option(help="A folder that `canonize adapt` has written, for images.")] = None,
    column: Annotated[str | None, typer.Option(help="Column of a table that holds the values.")] = None,
    stereo: Annotated[bool, typer.Option(help="Whether stereochemistry counts in molecules as graphs.")] = True,
    pose: Annotated[bool, typer.Option(help="Also write pose and margin: what turns a sample back.")] = True,
    hashed: Annotated[bool, typer.Option("--hash", help="Also write the canonical hash.")] = False,
    tolerance: Annotated[
        float | None, typer.Option(help="For the hash of coordinates: how far a point may be off, in their unit.")
    ] = None,
    shard: Annotated[int, typer.Option(min=1, max=10_000_000, help="Samples in one file of the output.")] = 1024,
    workers: Workers = None,
    engine: Engine = "local",
    address: Address = None,
    mean: Mean = None,
    std: Std = None,
    gray: Gray = False,
    seconds: Annotated[
        float, typer.Option(min=0.001, help="For one graph; one that takes longer is told as bad.")
    ] = 60.0,
    debug: Debug = False,
) -> None:
    """Write each sample in its canonical form. Stopped or killed, the same command goes on where it was.

    Exits with 0 when all is written, 3 when some samples could not be, 2 for a wrong call.
    """
    with told(debug), bars() as tell:
        wanted = words.group_for(group, [] if frame is None else [str(frame)])
        job = Canonical(
            wanted,
            None if frame is None else _loaded(frame),
            hashed,
            tolerance,
            seconds,
            words.numbers(mean, option="--mean"),
            words.numbers(std, option="--std", positive=True),
            gray,
        )
        try:
            made = canonicalize(
                Path(where),
                target,
                job,
                column=column,
                stereo=stereo,
                pose=pose,
                shard=shard,
                workers=workers,
                engine=engine,
                address=address,
                origin={"frame": None if frame is None else _fingerprint(frame)},
                report=tell,
            )
        except KeyboardInterrupt:
            err.print("Stopped. The same command goes on where it was.", markup=False, highlight=False)
            raise
    show_bad(made.bad, "_manifest.json in the output")
    line = f"{made.samples:,} samples, {made.rows:,} written to {target} in {made.files:,} files, {len(made.bad):,} bad"
    resumed = f" ({made.resumed:,} were done before)" if made.resumed else ""
    out.print(line + resumed, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(EXIT["bad" if made.bad else "done"])


def canonicalize(
    where: Path,
    target: Path,
    job: Canonical,
    *,
    column: str | None = None,
    stereo: bool = True,
    pose: bool = True,
    shard: int = 1024,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    origin: dict[str, Any] | None = None,
    report: Callable[[str, int, int], None] = lambda *_: None,
) -> Written:
    """Each sample of a data set in its canonical form, in a folder of Parquet files or WebDataset shards.

    Args:
        where: see `find_items`.
        target: the folder; its suffix, .parquet or .tar, says what is in it.
        job: the group, the frame, and what else is told.
        column, stereo: see `find_items`.
        pose: whether pose and margin are written.
        shard: samples in one file, the unit of resume.
        workers, engine, address: see `canonize.cli.batch.mapped`.
        origin: what else the content depends on; a run with another goes to another folder.
        report: called with (what, done, total).

    Raises:
        SymmetryError: a wrong call, nothing that has a canonical form, a folder of other settings, a package that is not
            installed.
    """
    check_engine(engine, address)
    check_canonical(job)
    if job.hashed or job.tolerance is not None:
        check_tolerance(job.group, job.tolerance)
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise refuse(
            "the suffix of the output says what it is",
            got=f"{target}",
            expected="NAME.parquet, or NAME.tar for WebDataset",
            fix="--out upright.parquet",
        )
    where, target = where.resolve(), target.resolve()
    if target.is_relative_to(where) or where.is_relative_to(target):
        raise refuse(
            "input and output overlap",
            got=f"{target} and {where}",
            expected="a folder outside the input",
            fix="another --out",
        )
    items = fitting(find_items(where, job.group, column=column, stereo=stereo), job.group)
    layout = _layout(items, job, pose=pose, suffix=suffix)
    named = {name: getattr(job, name) for name in ("hashed", "tolerance", "mean", "std", "gray")}
    every = None if layout.beside is None else schema(layout)
    told = ", ".join(f"{field.name} ({field.type})" for field in every or ())
    settings = {
        "group": repr(job.group),
        **named,
        **(origin or {}),
        "column": column,
        "stereo": stereo,
        "kind": layout.kind,
        "pose": pose,
        "shard": shard,
        "columns": None if every is None else digested(str(every).encode(), told),
        "samples": len(items),
        "input": files(items.files),
        "versions": {"canonize": __version__, "form": VERSION.decode(), "torch": torch.__version__},
    }
    work = Writing(items, job, layout, str(target), suffix)
    with Folder(target, settings) as folder:
        chunks = list(chunked(range(len(items)), shard))
        waiting = [chunk for chunk in chunks if chunk.number not in folder.known]
        resumed = done = len(items) - sum(len(chunk.places) for chunk in waiting)
        report("canonicalizing", done, len(items))
        if waiting and not folder.complete:
            for chunk, line in mapped(work, waiting, engine=engine, workers=workers, address=address):
                folder.record(chunk.number, line)
                done += len(chunk.places)
                report("canonicalizing", done, len(items))
        if not folder.complete:
            folder.finish()
    lines = folder.listed()
    bad = [(str(name), str(why)) for line in lines for name, why in line["bad"]]
    return Written(len(items), sum(line["rows"] for line in lines), len(lines), bad, resumed)


def _layout(items: Items, job: Canonical, *, pose: bool, suffix: str) -> Layout:
    """How samples are written, by the first that has a form.

    Raises:
        SymmetryError: none has.
    """
    first: Exception | None = None
    for item in items:
        try:
            (form,) = job([item.read()])
            beside = item.more()
        except Exception as error:  # readers of damaged files raise nearly anything
            check_installed(error)
            first = first or error
            continue
        if isinstance(form, Form):
            kind = kind_of(form.value)
            margin = pose and form.margin is not None
            dim = form.value.points.shape[1] if isinstance(form.value, Cloud) else 0
            more = _beside(items, beside) if suffix == ".parquet" else None
            return Layout(kind, tuple(form.pose) if pose else (), margin, job.hashed, dim, more)
        check_installed(form.error)
        first = first or form.error
    assert first is not None  # there is at least one item
    raise refuse(
        "no sample has a canonical form",
        got=f"{len(items):,} samples; the first: {in_words(first)}",
        expected="values that go with the group",
        fix="check --group, and --column for tables",
    ) from first


def _beside(items: Items, first: dict[str, Any]) -> Any:
    """The schema of Arrow for what stands beside the values: that of all tables, or what the first sample shows."""
    try:
        import pyarrow as pa

        from canonize.cli.tables import Rows, schema_of
    except ModuleNotFoundError as error:
        raise refuse(
            "tables are written by Apache Arrow",
            got=f"{error.name} is not installed",
            expected="pyarrow",
            fix="pip install 'canonize[tables]'; or --out NAME.tar, which needs nothing",
        ) from None
    schemas = [schema_of(block) for block in items.blocks if isinstance(block, Rows)]
    if schemas:
        try:
            return pa.unify_schemas(schemas).remove_metadata()
        except pa.ArrowException as error:
            raise refuse(
                "the tables differ in the types of their columns",
                got=f"{error}",
                expected="the same columns in all files",
                fix="one data set for each kind of table",
            ) from error
    kinds = {name: pa.binary() if isinstance(value, bytes) else pa.string() for name, value in first.items()}
    return pa.schema(list(kinds.items()))


def _loaded(frame: Path) -> Any:
    claim, found = words.files().load(frame)
    if isinstance(found, torch.nn.Module):
        found.eval()
    return claim, found


def _fingerprint(frame: Path) -> dict[str, str]:
    parts = [frame / name for name in ("canonizer.safetensors", "config.json")]
    return digested(b"".join(part.read_bytes() for part in parts if part.is_file()), str(frame))
