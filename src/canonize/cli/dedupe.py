"""`canonize dedupe`."""

from __future__ import annotations

import json
import math
import os
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, final

import typer
from rich.table import Table
from rich.text import Text

from canonize._version import __version__
from canonize.cli import words
from canonize.cli.batch import Address, Engine, Workers, bars, check_engine, in_words, mapped, show_bad
from canonize.cli.console import Debug, out, told
from canonize.cli.fitting import check_compared, fitting
from canonize.cli.items import find_items
from canonize.cli.journal import Journal
from canonize.cli.listing import Item, Items
from canonize.cli.reading import check_installed
from canonize.errors import refuse
from canonize.forms import canonical_hashes, canonical_keys, decided_by_hash, equivalent, linked
from canonize.forms.cloud import motions
from canonize.forms.digest import VERSION
from canonize.groups import FiniteMatrixGroup
from canonize.scale import Chunk, chunked

AT_ONCE = 128
"""Things that are read, hashed and written down together."""
SHOWN = 20
"""Groups of duplicates in the table; the report has all."""
EXIT = {"none": 0, "found": 1, "bad": 3}
"""Exit codes: nothing twice; something twice; something that could not be read, whatever else. 2 is a wrong call."""


@dataclass
class Found:
    """What a run has found: groups of names, and what could not be read, with the reason."""

    items: int
    groups: list[list[str]]
    bad: list[tuple[str, str]] = field(default_factory=list)
    resumed: int = 0


def dedupe_command(
    where: Annotated[
        Path,
        typer.Argument(
            help="A folder, or a file: images, .npy, .npz, .parquet, .arrow, .tar (WebDataset; name-{000000..000009}.tar), "
            "graph6 (.g6), SMILES (.smi, .csv, .tsv), .sdf, .mol.",
            show_default=False,
        ),
    ],
    group: Annotated[
        str,
        typer.Option(help="C4 or D4 for images, S for graphs and molecules, SxE3, SxSE3, E3, ... for points in space."),
    ],
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="How far a point may be off, in the unit of the coordinates; for features of floats their step."
        ),
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="Column of a table that holds the values, such as SMILES, by default 'smiles'.")
    ] = None,
    stereo: Annotated[
        bool, typer.Option(help="Whether stereochemistry counts in molecules compared as graphs.")
    ] = True,
    report: Annotated[Path | None, typer.Option("--out", help="File (.json) for all groups of duplicates.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Journal: written as the run goes; a run that was stopped goes on from it.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.001, help="For one graph; one that takes longer is told as bad.")
    ] = 60.0,
    workers: Workers = None,
    engine: Engine = "local",
    address: Address = None,
    debug: Debug = False,
) -> None:
    """Find what is the same under a group. Exits with 0 for nothing, 1 for duplicates, 3 for things that cannot be read."""
    with told(debug):
        target = None if report is None else _target(report)
        wanted = words.group(group)
        check_engine(engine, address)
        with bars() as tell:
            found = find(
                where,
                wanted,
                tolerance=tolerance,
                column=column,
                stereo=stereo,
                journal=resume,
                limit=seconds,
                workers=workers,
                engine=engine,
                address=address,
                report=tell,
            )
        _show(found)
        if target is not None:
            _write(target, found, {"group": repr(wanted), "tolerance": tolerance, "stereo": stereo})
            out.print(f"wrote {target}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(EXIT["bad" if found.bad else "found" if found.groups else "none"])


def find(
    where: Path,
    group: Any,
    *,
    tolerance: float | None = None,
    column: str | None = None,
    stereo: bool = True,
    journal: Path | None = None,
    limit: float | None = 60.0,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    report: Callable[[str, int, int], None] = lambda *_: None,
) -> Found:
    """The duplicates in a folder or a file; what cannot be read is told at the end and stops nothing.

    Args:
        where: see `find_items`.
        group: the group.
        tolerance: as for `canonical_hash`.
        column: of a table with SMILES.
        stereo: whether stereochemistry counts.
        journal: see `Journal`.
        limit: seconds for the labelling of one graph.
        workers, engine, address: who computes the keys; see `canonize.cli.batch.mapped`.
        report: called with (what, done, total).

    Raises:
        SymmetryError: a group that does not fit the data, a tolerance that does not go with the group, nothing to compare, a
            journal that does not fit, or a package that is not installed.
    """
    check_compared(group)
    check_tolerance(group, tolerance)
    items = fitting(find_items(where, group, column=column, stereo=stereo), group)
    settings = {
        "group": repr(group),
        "tolerance": tolerance,
        "column": column,
        "stereo": stereo,
        "form": VERSION.decode(),
    }
    options = {"tolerance": tolerance, "limit": limit}
    wrong: dict[int, str] = {}
    with Journal(journal, settings) as book:
        keys = [book.keys(item) for item in items]
        waiting = [place for place, own in enumerate(keys) if own is None]
        resumed = done = len(items) - len(waiting)
        report("looking", done, len(items))
        work = Hashing(items, group, options)
        for chunk, found in mapped(work, [*chunked(waiting, AT_ONCE)], engine=engine, workers=workers, address=address):
            for place, own in zip(chunk.places, found, strict=True):
                if isinstance(own, str):
                    wrong[place] = own
                    book.add(items[place], None, own)
                else:
                    keys[place] = own
                    book.add(items[place], own)
            book.flush()
            done += len(chunk.places)
            report("looking", done, len(items))
    good = [place for place, own in enumerate(keys) if own is not None]

    @lru_cache(256)
    def value(place: int) -> Any:
        return items[good[place]].read()

    def same(i: int, j: int) -> bool:
        return decided_by_hash(value(i), group) or equivalent(value(i), value(j), group, **options)

    # One key is a hash that decides; several are of clouds, which have to be compared.
    listed = [own for own in keys if own is not None]
    several = any(len(own) > 1 for own in listed)
    groups = linked(
        listed,
        same if several else None,
        lambda done, total: report("comparing", done, total) if several else None,
    )
    named = [[items[good[place]].name for place in places] for places in groups]
    return Found(len(items), named, [(items[place].name, wrong[place]) for place in sorted(wrong)], resumed)


@final
@dataclass(frozen=True)
class Hashing:
    """The job of one chunk: the keys of its items."""

    items: Items
    group: Any
    options: dict[str, Any]

    def __call__(self, chunk: Chunk) -> list[tuple[str, ...] | str]:
        """The keys of each item, or in words what is wrong with it."""
        return _keys([self.items[place] for place in chunk.places], self.group, self.options)


def check_tolerance(group: Any, tolerance: float | None) -> None:
    """Refuse once, before anything is read, what each thing would refuse.

    Raises:
        SymmetryError: no positive number, none where there are coordinates, one where there are pixels.
    """
    if tolerance is not None and not 0 < tolerance < math.inf:
        raise refuse(
            "the tolerance is no positive number",
            got=f"{tolerance!r}",
            expected="a positive, finite number",
            fix="--tolerance 1e-3",
        )
    if tolerance is None and motions(group) is not None:
        raise refuse(
            "coordinates are equal up to a tolerance only",
            got=f"no tolerance for {group!r}",
            expected="a length in the unit of the coordinates: how far a point may move",
            fix="--tolerance 1e-3",
        )
    if tolerance is not None and isinstance(group, FiniteMatrixGroup):
        raise refuse(
            "entries that only move are compared exactly",
            got=f"tolerance={tolerance:g} for {group!r}",
            expected="no tolerance",
            fix="leave out --tolerance",
        )


def _keys(chunk: Sequence[Item], group: Any, options: dict[str, Any]) -> list[tuple[str, ...] | str]:
    """The keys of each item, or in words what is wrong with it."""
    values: list[Any] = []
    found: list[tuple[str, ...] | str] = [""] * len(chunk)
    for place, item in enumerate(chunk):
        try:
            values.append((place, item.read()))
        except Exception as error:  # readers of damaged files raise nearly anything
            check_installed(error)
            found[place] = in_words(error)
    exact = [(place, value) for place, value in values if decided_by_hash(value, group)]
    try:
        for (place, _), key in zip(exact, canonical_hashes([v for _, v in exact], group, **options), strict=True):
            found[place] = (key,)
        rest = [(place, value) for place, value in values if not found[place]]
    except Exception:  # one of them: each by itself says which
        rest = values
    for place, value in rest:
        try:
            found[place] = canonical_keys(value, group, **options)
        except Exception as error:
            check_installed(error)
            found[place] = in_words(error)
    return found


def _show(found: Found) -> None:
    extra = sum(len(names) - 1 for names in found.groups)
    if found.groups:
        table = Table(
            "copies", "the same", caption=f"{len(found.groups):,} groups" if len(found.groups) > SHOWN else None
        )
        for names in found.groups[:SHOWN]:
            listed = ", ".join(names[:6]) + (f", and {len(names) - 6:,} more" if len(names) > 6 else "")
            table.add_row(f"{len(names):,}", Text(listed))
        out.print(table)
    show_bad(found.bad, "--out")
    told = f"{found.items:,} looked at, {extra:,} to drop in {len(found.groups):,} groups, {len(found.bad):,} bad"
    resumed = f" ({found.resumed:,} from the journal)" if found.resumed else ""
    out.print(told + resumed, markup=False, highlight=False, soft_wrap=True)


def _target(path: Path) -> Path:
    if path.suffix.lower() != ".json" or path.is_dir():
        raise refuse(
            "the report is a JSON file", got=f"{path}", expected="a name that ends in .json", fix="--out found.json"
        )
    # Found out now, not after hours of work.
    with _drafted(path) as draft:
        draft.touch(exist_ok=False)
        # What a run that was killed as it wrote has left; of another name than anything of the user's.
        mark = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{32}}\.part")
        for other in path.parent.iterdir():
            if other != draft and mark.fullmatch(other.name):
                other.unlink(missing_ok=True)
    return path


@contextmanager
def _drafted(path: Path) -> Iterator[Path]:
    """A new name beside the report, because a move between file systems is not atomic; nothing of that name stays."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield draft
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise refuse(
            "the report cannot be written",
            got=f"{path} ({type(error).__name__}: {error})",
            expected="a place that can be written to",
            fix="choose another place with --out",
        ) from error


def _write(path: Path, found: Found, settings: dict[str, Any]) -> None:
    content = {
        "canonize": __version__,
        "settings": settings,
        "items": found.items,
        "groups": found.groups,
        "bad": [{"item": name, "why": why} for name, why in found.bad],
    }
    with _drafted(path) as draft:
        with draft.open("x", encoding="utf-8", newline="\n") as file:
            json.dump(content, file, indent=1, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
