"""Inputs and targets from tables and shards, of which no more than the chosen samples are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from canonize._tree import describe
from canonize.cli.data import LEAVING_OUT, TARGET_KEYS, Data, shaped
from canonize.cli.items import find_items
from canonize.cli.listing import Item, spread
from canonize.cli.reading import check_installed
from canonize.errors import refuse
from canonize.forms import Cloud

TARGETS = (*TARGET_KEYS, "label", "cls", "class")
"""Columns of tables and files of shards that hold class numbers."""


def stored(
    where: Path,
    *,
    count: int = 1,
    size: int | None = None,
    gray: bool = False,
    limit: int | None = None,
    seed: int = 0,
    column: str | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Data:
    """Inputs and targets of Parquet and Arrow files and of WebDataset shards; images in [0, 1].

    Args:
        where: a file, a folder of files, or name-{000000..000009}.tar.
        count: arguments of the model; with two, points of clouds are the first and their kinds the second.
        size, gray, limit, seed, column, report: as for `load_data`.

    Raises:
        SymmetryError: nothing there, samples that differ in shape, a sample that cannot be read.
    """
    items = find_items(where, None, column=column)
    chosen = range(len(items)) if limit is None else spread(limit, len(items), seed)
    values: list[Any] = []
    labels: list[Any] = []
    for number, place in enumerate(chosen):
        item = items[place]
        values.append(taken(item, size=size, gray=gray))
        labels.append(label_of(item))
        if shape_of(values[-1]) != shape_of(values[0]):
            raise refuse(
                "the samples differ in shape",
                got=f"{item.name}: {shape_of(values[-1])}, the first: {shape_of(values[0])}",
                expected="one shape",
                fix="--size 224 scales and crops images to a square; clouds of one size each",
            )
        if report is not None:
            report(number + 1, len(chosen))
    return replace(gathered(values, labels, count), names=[items[place].name for place in chosen])


def taken(item: Item, *, size: int | None, gray: bool) -> Any:
    """One sample as an input: an image, an array, or a cloud with kinds.

    Raises:
        SymmetryError: it cannot be read, or is of another kind.
    """
    return _input(_value(item.name, item.read), size=size, gray=gray)


def label_of(item: Item) -> Any:
    """What stands beside a sample under one of the names of `TARGETS`; None without."""
    more = item.more()
    return next((more[name] for name in TARGETS if more.get(name) is not None), None)


def gathered(values: Sequence[Any], labels: Sequence[Any], count: int) -> Data:
    """Samples of one shape, as `taken` gives them, with their labels; `count` as for `stored`."""
    if isinstance(values[0], Cloud):
        points = torch.stack([value.points for value in values])
        return Data(
            (points, torch.stack([value.kinds for value in values])) if count == 2 else points, _targets(labels)
        )
    return Data(torch.stack(list(values)), _targets(labels))


def _value(name: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Exception as error:  # readers of damaged files raise nearly anything
        check_installed(error)
        raise refuse(
            "a sample cannot be read",
            got=f"{name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            expected="intact samples",
            fix=f"drop it or write it again; {LEAVING_OUT}",
        ) from error


def _input(value: Any, *, size: int | None, gray: bool) -> Any:
    if isinstance(value, Cloud) and isinstance(value.kinds, Tensor):
        return value
    if isinstance(value, Cloud):
        return value.points
    if not isinstance(value, Tensor):
        raise refuse(
            "samples of this kind are no inputs of a model",
            got=describe(value),
            expected="images, arrays or points",
            fix="graphs and molecules are audited from Python: canonize.audit",
        )
    whole = {torch.uint8: (1, 3, 4), torch.int64: (1,)}.get(value.dtype, ())
    return _picture(value, size=size, gray=gray) if value.ndim == 3 and len(value) in whole else value


def _picture(x: Tensor, *, size: int | None, gray: bool) -> Tensor:
    """An image as a folder of images gives it."""
    from PIL import Image as Picture

    if x.dtype == torch.int64:
        plain = Picture.fromarray((x[0].float() / 65535).numpy())
    else:
        array = x.permute(1, 2, 0).numpy()
        plain = Picture.fromarray(array if len(x) > 1 else array[..., 0]).convert("L" if gray else "RGB")
    return shaped(plain, size=size, gray=gray)


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of a sample as `taken` gives it; of a cloud that of its points."""
    return tuple((value.points if isinstance(value, Cloud) else value).shape)


def _targets(labels: Sequence[Any]) -> Tensor | None:
    """Class numbers, or None where some are missing or are no whole numbers."""
    try:
        found = [int(label) for label in labels]
    except (TypeError, ValueError):
        return None
    # A float would lose its fraction.
    return torch.tensor(found) if all(not isinstance(label, float) for label in labels) else None
