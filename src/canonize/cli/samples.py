"""Samples of a stored data set for an audit in chunks: read when it is their turn, the bad ones told by name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, final

from canonize.cli import words
from canonize.cli.batch import in_words
from canonize.cli.data import KINDS, STORED, floated, read_picture
from canonize.cli.empty import found_in
from canonize.cli.items import find_items
from canonize.cli.listing import Item, Items, spread
from canonize.cli.load import load_model
from canonize.cli.reading import check_column, check_installed
from canonize.cli.stored import gathered, label_of, shape_of, taken
from canonize.errors import refuse
from canonize.scale import Made, Samples
from canonize.symmetry import Symmetry


@final
@dataclass(frozen=True)
class Reading:
    """Reads samples by their places, as `load_data` reads them all at once."""

    items: Items
    chosen: Sequence[int]
    shape: tuple[int, ...]
    grids: tuple[int | None, ...]
    size: int | None
    gray: bool
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    column: str | None = None

    def __len__(self) -> int:
        return len(self.chosen)

    def __call__(self, places: Sequence[int]) -> Samples:
        """These samples; those that cannot be read, differ in shape or hold NaN are told as bad."""
        values, labels, kept, bad = [], [], [], []
        for place in places:
            item = self.items[self.chosen[place]]
            try:
                value = taken(item, size=self.size, gray=self.gray)
                _check(value, self.shape)
                label = label_of(item)
            except Exception as error:  # readers of damaged files raise nearly anything
                check_installed(error)
                bad.append((item.name, in_words(error)))
                continue
            values.append(value)
            labels.append(label)
            kept.append(place)
        if not kept:
            return Samples((), None, [], bad)
        data = floated(gathered(values, labels, len(self.grids)), self.grids, self.mean, self.std)
        return Samples(data.inputs, data.targets, kept, bad)


def reading(
    where: str,
    *,
    grids: tuple[int | None, ...],
    size: int | None = None,
    gray: bool = False,
    limit: int | None = None,
    seed: int = 0,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    column: str | None = None,
) -> Reading:
    """The reader of a folder of images, a table or shards. Arguments as for `load_data`.

    Raises:
        SymmetryError: nothing there, data of a kind that is read whole, not one sample that can be read.
    """
    path = Path(where).resolve()
    check_column(path, column)
    if not path.exists() and path.suffix.lower() not in STORED:
        raise refuse("no such data", got=found_in(path), expected="a folder of images or a file", fix="check the path")
    if path.is_dir() and path.suffix.lower() not in STORED:
        items = _pictures(path, size=size, gray=gray)
    elif path.suffix.lower() in STORED:
        items = find_items(path, None, column=column)
    else:
        raise refuse(
            "data of this kind are read whole",
            got=path.name,
            expected="a folder of images, .parquet, .arrow, or .tar where samples are read in chunks",
            fix="leave out --workers, --engine and --resume",
        )
    chosen = range(len(items)) if limit is None else spread(limit, len(items), seed)
    first: Exception | None = None
    for place in chosen:
        try:
            shape = shape_of(taken(items[place], size=size, gray=gray))
        except Exception as error:  # readers of damaged files raise nearly anything
            check_installed(error)
            first = first or error
            continue
        return Reading(items, chosen, shape, grids, size, gray, mean, std, column)
    assert first is not None  # there is at least one item
    raise refuse(
        "no sample can be read",
        got=f"{len(chosen):,} samples; the first: {in_words(first)}",
        expected="images, arrays or points",
        fix="check --data",
    ) from first


def _pictures(path: Path, *, size: int | None, gray: bool) -> Items:
    """A folder of images, of which the subfolders are the classes."""
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in KINDS and file.is_file())
    if not files:
        raise refuse("no images in this folder", got=found_in(path), expected=", ".join(KINDS), fix="check the path")
    classes = sorted({file.parent.relative_to(path).as_posix() for file in files})
    number = {name: place for place, name in enumerate(classes)} if len(classes) > 1 else {}
    block = []
    for file in files:
        stat, folder = file.stat(), file.parent.relative_to(path).as_posix()
        read = partial(read_picture, file, size=size, gray=gray)
        more: Any = partial(dict, label=number.get(folder)) if number else dict
        block.append(Item(file.relative_to(path).as_posix(), (stat.st_size, stat.st_mtime_ns), read, more))
    return Items([block], [(item.name, item.stamp) for item in block])


def _check(value: Any, shape: tuple[int, ...]) -> None:
    if shape_of(value) != shape:
        raise refuse(
            "the samples differ in shape",
            got=f"{shape_of(value)}, the first: {shape}",
            expected="one shape",
            fix="--size 224 scales and crops images to a square",
        )
    part = getattr(value, "points", value)
    if part.is_floating_point() and not bool(part.isfinite().all()):
        raise refuse(
            "the sample holds NaN or infinity", got="such an entry", expected="finite numbers", fix="repair it"
        )


@final
@dataclass(frozen=True)
class Loading:
    """Makes the model of the words of a command, in whatever process."""

    model: str
    claim: Symmetry
    frame: str | None
    trust: bool
    folder: str

    def __call__(self) -> Any:
        """The model, behind its frame."""
        if self.folder not in sys.path:
            sys.path.insert(0, self.folder)
        loaded = load_model(self.model, trust=self.trust)
        if self.frame is None:
            return loaded
        return words.behind(self.frame, loaded, self.claim)


def loading(model: str, claim: Symmetry, frame: str | None, *, trust: bool) -> Made:
    """The model by its words; files by their whole path, since another process may be elsewhere."""
    model = str(Path(model).resolve()) if Path(model).is_file() else model
    frame = str(Path(frame).resolve()) if frame is not None and Path(frame).is_dir() else frame
    return Made(Loading(model, claim, frame, trust, str(Path.cwd())))
