"""Inputs and targets from folders of images and from files of arrays. Nothing here runs code from a file."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from canonize._tree import describe, map_tensors, tensors
from canonize.cli.empty import found_in, wrong
from canonize.cli.listing import spread
from canonize.cli.reading import check_column
from canonize.errors import SymmetryError, refuse

INPUT_KEYS = ("inputs", "x", "images", "data", "pos", "arr_0")
TARGET_KEYS = ("targets", "y", "labels", "target", "arr_1")
LARGEST = 8 * 2**30
"""Bytes that one entry of an archive may unpack to: a small file that claims more is a mistake, or meant to fill the memory."""
STORED = (".parquet", ".arrow", ".feather", ".tar")
LEAVING_OUT = "canonize audit --workers 1 leaves out what is bad"
"""What to do where there is much to repair."""
KINDS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""What these hold. Pillow would look at the content and not at the name, and hand PostScript to an outside interpreter."""
PIXELS = 89_478_485
"""Pixels of one image, where Pillow begins to warn: a few bytes may claim very many."""


@dataclass(frozen=True)
class Data:
    """Inputs with their targets, if there are any; `classes` names the folders that images came from.

    `names` are words or row numbers of the samples; none stand for all rows in their order.
    """

    inputs: Any
    targets: Tensor | None = None
    classes: tuple[str, ...] = ()
    names: Sequence[str | int] = ()


def load_data(
    where: str,
    *,
    size: int | None = None,
    gray: bool = False,
    limit: int | None = None,
    seed: int = 0,
    grids: Sequence[int | None] = (2,),
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    column: str | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Data:
    """Inputs from a folder of images, or from a .npz, .npy or .pt file; targets where the file or the folders tell them.

    Images are floats in [0, 1]: those of a folder, and arrays of 8-bit (uint8) or 16-bit (uint16) images and volumes, are
    divided by 255 or 65,535. Arrays of floats are taken as they are.

    Args:
        where: a folder (one subfolder a class makes targets), or a file; folders NAME.parquet and NAME.tar of such files.
        size: side in pixels that images are scaled and centre-cropped to; None takes them as they are.
        gray: one channel instead of three.
        limit: at most this many samples, one drawn from each of as many equal stretches, so that data sorted by class show
            every class, and so do data that go through the classes in turn.
        seed: of that draw.
        grids: for each argument of the model 2 for images, 3 for volumes, 0 for other values; None leaves it alone.
        mean: subtracted from images and volumes, one number or one a channel.
        std: what they are divided by after that, likewise.
        column: of a table, that holds the inputs; None takes the first of a usual name.
        report: called with (done, total) as images are read.

    Raises:
        SymmetryError: nothing there, a file that would run code or unpack to more than 8 GiB, images of different sizes, no
            images at all, targets that are not as many as the inputs, a mean that does not fit the channels.
    """
    path = Path(where)
    suffix = path.suffix.lower()
    check_column(path, column)
    if path.is_dir() and suffix not in STORED:
        data = _folder(path, size=size, gray=gray, limit=limit, seed=seed, report=report)
    elif suffix in STORED:
        from canonize.cli.stored import stored

        data = stored(
            path, count=len(grids), size=size, gray=gray, limit=limit, seed=seed, column=column, report=report
        )
    elif not path.is_file():
        raise refuse(
            "no such data",
            got=where,
            expected="a folder of images or a file .npz, .npy, .pt, .parquet, .arrow, .tar",
            fix="check the path",
        )
    elif suffix in (".npz", ".npy"):
        data = _limited(_named(_numpy(path), path), grids, limit, seed)
    elif suffix in (".pt", ".pth"):
        data = _limited(_named(read_tensors(path), path), grids, limit, seed)
    else:
        raise refuse(
            "data of this kind cannot be read",
            got=path.name,
            expected="a folder of images, .npz, .npy, .pt, .parquet, .arrow, .tar",
            fix="np.savez(..., inputs=x)",
        )
    return floated(data, grids, mean, std)


def floated(data: Data, grids: Sequence[int | None], mean: Sequence[float] | None, std: Sequence[float] | None) -> Data:
    """The data with images in [0, 1], less the mean and over the deviation. Arguments as for `load_data`.

    Raises:
        SymmetryError: a mean that does not fit the channels, or no images to take it from.
    """
    inputs = _each(lambda x, axes: _floats(x, axes, alone=len(grids) == 1), data.inputs, grids)
    if mean is not None or std is not None:
        if not any(grids):
            raise refuse(
                "a mean and a deviation are for images",
                got="inputs that are no images",
                expected="--input image or --input volume",
                fix="leave out --mean and --std",
            )
        inputs = _each(lambda x, axes: _normal(x, axes, mean or (0.0,), std or (1.0,)) if axes else x, inputs, grids)
    return replace(data, inputs=inputs)


def read_tensors(path: Path) -> Any:
    """What a torch file holds, if it is made of tensors and plain containers.

    Raises:
        SymmetryError: it would have to run code, is damaged, or unpacks to more than the bound.
    """
    try:
        if zipfile.is_zipfile(path):
            _bounded(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except SymmetryError:
        raise
    except Exception as error:
        raise refuse(
            "this file would have to run code to be loaded",
            got=f"{path.name}: {_first_line(error)}",
            expected="tensors, in plain lists, tuples and dicts",
            fix="save the tensors alone: torch.save({'inputs': x, 'targets': y}, ...), or np.savez(..., inputs=x)",
        ) from error


def _numpy(path: Path) -> Any:
    """The array of a .npy file; of a .npz file the entries that count, so that no other is unpacked."""
    try:
        # Opened here: numpy leaves the file of a damaged archive open.
        with path.open("rb") as opened:
            loaded = np.load(opened, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return _native(loaded)
            with loaded:
                keys = [key for key in _keys(loaded.files, path) if key is not None]
                _bounded(path, {f"{key}.npy" for key in keys})
                return {key: _native(loaded[key]) for key in keys}
    except SymmetryError:
        raise
    except Exception as error:
        raise refuse(
            "this file cannot be read without running code, or is damaged",
            got=wrong(path, error),
            expected="arrays of numbers, no pickled objects",
            fix="save plain arrays: np.savez(..., inputs=x.astype('float32'))",
        ) from error


def _native(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array in the byte order of this machine, which torch asks for."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _bounded(path: Path, names: set[str] | None = None) -> None:
    """Refuse an archive with an entry that is declared too large; `zipfile` reads no more than what is declared."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if (names is None or entry.filename in names) and entry.file_size > LARGEST:
                raise refuse(
                    "an entry of this file is too large",
                    got=f"{entry.filename} in {path.name}, {entry.file_size / 2**30:,.1f} GiB when unpacked",
                    expected=f"at most {LARGEST / 2**30:g} GiB",
                    fix="save a part of the data, or call canonize.audit from Python",
                )


def _keys(names: Iterable[Any], path: Path) -> tuple[str, str | None]:
    """The names of the entries that hold inputs and targets."""
    names = list(names)
    inputs = next((key for key in INPUT_KEYS if key in names), None)
    if inputs is None:
        raise refuse(
            "the file does not say which entry holds the inputs",
            got=f"{path.name} with {sorted(map(str, names))}",
            expected=f"one of {', '.join(INPUT_KEYS)}; for targets one of {', '.join(TARGET_KEYS)}",
            fix="np.savez(..., inputs=x, targets=y)",
        )
    return inputs, next((key for key in TARGET_KEYS if key in names), None)


def _named(found: Any, path: Path) -> Data:
    """Inputs and targets among the entries of a file."""
    targets = None
    if isinstance(found, dict):
        first, second = _keys(found, path)
        targets = None if second is None else _tensor(found[second], second)
        found = found[first]
    inputs = _tensor(found, "inputs") if isinstance(found, np.ndarray) else found
    if not tensors(inputs):
        raise refuse(
            "the file holds no inputs",
            got=describe(inputs),
            expected="a tensor or an array",
            fix="np.savez(..., inputs=x)",
        )
    return Data(inputs, targets)


def _tensor(array: Any, name: str) -> Tensor:
    try:
        return torch.as_tensor(array)
    except (TypeError, ValueError, RuntimeError) as error:
        raise refuse(
            f"the entry {name!r} holds no numbers that torch knows",
            got=_first_line(error),
            expected="numbers",
            fix="array.astype('float32'), or 'int64' for classes",
        ) from error


def _limited(data: Data, grids: Sequence[int | None], limit: int | None, seed: int) -> Data:
    """The samples that are taken, with their targets."""
    counts = {len(x) for x in tensors(_each(lambda x, _: x, data.inputs, grids, rest=None)) if x.ndim}
    if data.targets is not None and data.targets.ndim and counts and counts != {len(data.targets)}:
        raise refuse(
            "inputs and targets differ in number",
            got=f"{' and '.join(map(str, sorted(counts)))} inputs, {len(data.targets)} targets",
            expected="one target for each input",
            fix="save both from the same selection, or leave the targets out",
        )
    if limit is None or len(counts) != 1 or limit >= min(counts):
        # Inputs of several lengths are for the audit to refuse, which names them.
        return data
    rows = torch.tensor(spread(limit, min(counts), seed))
    targets = data.targets if data.targets is None or not data.targets.ndim else data.targets[rows]
    return Data(_each(lambda x, _: x[rows] if x.ndim else x, data.inputs, grids), targets, names=rows.tolist())


def _each(function: Callable[[Tensor, int], Any], inputs: Any, grids: Sequence[int | None], rest: Any = ...) -> Any:
    """`function(tensor, grid)` at the tensors of each argument; what stands still is left alone, or replaced by `rest`."""

    def at(part: Any, axes: int | None) -> Any:
        if axes is None:
            return part if rest is ... else rest
        return map_tensors(lambda x: function(x, axes), part)

    if len(grids) == 1:
        return at(inputs, grids[0])
    if isinstance(inputs, tuple | list) and len(inputs) == len(grids):
        return tuple(at(part, axes) for part, axes in zip(inputs, grids, strict=True))
    # Another structure than the claim has: the audit refuses it and names the place.
    return inputs


def _floats(x: Tensor, axes: int, *, alone: bool) -> Tensor:
    """Images in [0, 1]; other small integers as floats where they are the only argument, which no index would be."""
    whole = {torch.uint8: 255.0, torch.uint16: 65535.0}.get(x.dtype) if axes else None
    if whole is not None:
        return x.float() / whole
    return x.float() if x.dtype in (torch.uint8, torch.int16, torch.uint16) and (axes or alone) else x


def _normal(x: Tensor, axes: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    channels = x.shape[-axes - 1] if x.ndim > axes + 1 else 1
    for word, numbers in (("--mean", mean), ("--std", std)):
        if len(numbers) not in (1, channels):
            raise refuse(
                f"{word} does not fit the channels",
                got=f"{len(numbers)} numbers for {describe(x)}",
                expected="one number" + (f", or {channels}, one for each channel" if channels > 1 else ""),
                fix=f"{word} " + ",".join(["0.5"] * channels),
            )

    def shaped(numbers: Sequence[float]) -> Tensor:
        found = torch.tensor(numbers, dtype=x.dtype if x.is_floating_point() else torch.float32)
        return found.reshape(-1, *[1] * axes) if len(numbers) > 1 else found

    return (x - shaped(mean)) / shaped(std)


def _folder(
    path: Path, *, size: int | None, gray: bool, limit: int | None, seed: int, report: Callable[[int, int], None] | None
) -> Data:
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in KINDS and file.is_file())
    if not files:
        raise refuse("no images in this folder", got=found_in(path), expected=", ".join(KINDS), fix="check the path")
    files = files if limit is None else [files[place] for place in spread(limit, len(files), seed)]
    classes = tuple(sorted({file.parent.relative_to(path).as_posix() for file in files}))
    pictures: list[Tensor] = []
    for number, file in enumerate(files):
        pictures.append(read_picture(file, size=size, gray=gray))
        if pictures[-1].shape != pictures[0].shape:
            raise refuse(
                "the images differ in size",
                got=f"{files[0].name}: {tuple(pictures[0].shape[1:])}, {file.name}: {tuple(pictures[-1].shape[1:])}",
                expected="one size",
                fix="--size 224 scales and crops them to a square",
            )
        if report is not None:
            report(number + 1, len(files))
    named = len(classes) > 1
    targets = (
        torch.tensor([classes.index(file.parent.relative_to(path).as_posix()) for file in files]) if named else None
    )
    names = [file.relative_to(path).as_posix() for file in files]
    return Data(torch.stack(pictures), targets, classes if named else (), names)


def check_pixels(opened: Any) -> None:
    """Refuse an image of Pillow that would unpack to more than `PIXELS`.

    Raises:
        SymmetryError: a larger one.
    """
    if opened.width * opened.height > PIXELS:
        raise refuse(
            "an image is too large",
            got=f"{opened.width:,} x {opened.height:,} pixels",
            expected=f"at most {PIXELS:,}",
            fix="scale it down or cut it into tiles",
        )


def read_picture(file: Path, *, size: int | None, gray: bool) -> Tensor:
    """One image, (channels, height, width) in [0, 1], turned as its EXIF orientation says."""
    from PIL import Image as Picture
    from PIL import ImageOps

    try:
        with Picture.open(file, formats=FORMATS) as opened:
            check_pixels(opened)
            upright = ImageOps.exif_transpose(opened)
            deep = upright.mode.startswith("I")
            if deep:
                # 16-bit gray: `convert` would clip it to white instead of scaling it.
                values = np.asarray(upright).astype(np.float32)
                if values.min() < 0 or values.max() > 65535:
                    raise _unranged(file, "32-bit integers")  # noqa: TRY301  # the message names the file
                plain = Picture.fromarray(values / 65535)
            elif upright.mode == "F":
                raise _unranged(file, "floating-point numbers")  # noqa: TRY301  # the message names the file
            else:
                plain = upright.convert("L" if gray else "RGB")
            return shaped(plain, size=size, gray=gray)
    except SymmetryError:
        raise
    except Exception as error:
        # Readers of damaged files raise nearly anything: OSError, ValueError, SyntaxError, struct.error.
        raise refuse(
            "an image cannot be read",
            got=f"{file}: {_first_line(error)}",
            expected="an intact image",
            fix=f"remove it or save it again; {LEAVING_OUT}",
        ) from error


def shaped(plain: Any, *, size: int | None, gray: bool) -> Tensor:
    """An image of Pillow as (channels, height, width) in [0, 1]: of mode F, with numbers in [0, 1], or L or RGB."""
    from PIL import ImageOps

    array = np.asarray(plain if size is None else ImageOps.fit(plain, (size, size)), dtype=np.float32)
    if plain.mode == "F":
        # Smooth scaling overshoots a little; 8-bit images are clipped by Pillow.
        picture = torch.from_numpy(array.clip(0, 1))[None]
        return picture if gray else picture.expand(3, -1, -1)
    picture = torch.from_numpy(array / 255)
    return picture[None] if gray else picture.permute(2, 0, 1)


def _unranged(file: Path, what: str) -> SymmetryError:
    return refuse(
        "the pixels of an image have no known range",
        got=f"{file}: {what}",
        expected="8 or 16 bits for each channel",
        fix="scale them yourself and save an array: np.savez(..., inputs=x)",
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
