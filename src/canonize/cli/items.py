"""The things in a folder or a file that the commands work on: each with a name, and read only when it is its turn."""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as header
from torch import Tensor

from canonize.cli.data import FORMATS, LARGEST, check_pixels
from canonize.cli.data import KINDS as PICTURES
from canonize.cli.empty import nothing, wrong
from canonize.cli.lines import cells_of, graph6, lines, records
from canonize.cli.listing import Item, Items
from canonize.cli.reading import TABLES, check_installed, readable
from canonize.errors import SymmetryError, refuse
from canonize.forms import Cloud, Graph
from canonize.groups import S

GRAPHS, SMILES, RECORDS, ARRAYS = (".g6",), (".smi", ".csv", ".tsv"), (".sdf", ".mol"), (".npy", ".npz")
SHARDS = (".tar",)
KNOWN = (*PICTURES, *ARRAYS, *GRAPHS, *SMILES, *RECORDS, *TABLES, *SHARDS)
VALUES = ("inputs", "x", "images", "data", "pos", "positions", "arr_0")
MARKS = ("kinds", "z", "numbers", "species")
COUNTS = ("n_atoms", "n_points", "counts")
MATRICES = ("adjacency",)
MOST_EMPTY = 2**16
LONGEST_SMILES = 50_000
"""Characters; RDKit takes a few hundred bytes for each, and far longer than in proportion for many."""


def find_items(where: Path, group: Any, *, column: str | None = None, stereo: bool = True) -> Items:
    """What there is to work on, in an order that depends on names and places only.

    Rows of tables and samples of shards are not listed one by one: an item of them is made when it is asked for.

    Raises:
        SymmetryError: nothing there, nothing of a known kind; for a single file also arrays that do not say what they hold
            (in a folder such a file is an item whose `read` raises); a package that is not installed.
    """
    files, root = _files(where)
    blocks: list[Sequence[Item]] = []
    stamps: list[tuple[str, tuple[int, int]]] = []
    for file in files:
        stat = file.stat()
        stamp, name = (stat.st_size, stat.st_mtime_ns), file.relative_to(root).as_posix()
        stamps.append((name, stamp))
        try:
            blocks.append(_block(file, name, stamp, group, column=column, stereo=stereo, single=where.is_dir()))
        except Exception as error:
            if not where.is_dir():
                raise
            check_installed(error)
            # One bad file among many is told with the bad things.
            blocks.append([Item(name, stamp, partial(_raised, error))])
    found = Items(blocks, stamps)
    if not found:
        raise nothing(where, KNOWN, files)
    return found


def _files(where: Path) -> tuple[list[Path], Path]:
    """The files of known kinds, and the folder to which their names are relative."""
    if where.is_dir():
        return sorted(file for file in where.rglob("*") if file.suffix.lower() in KNOWN and file.is_file()), where
    if where.is_file():
        return [where] if where.suffix.lower() in KNOWN else [], where.parent
    # Shards as WebDataset writes them: train-{000000..000146}.tar
    span = re.fullmatch(r"(.*)\{([0-9]+)\.\.([0-9]+)\}(.*)", where.name)
    if not span or where.suffix.lower() not in KNOWN:
        return [], where.parent
    before, first, last, after = span.groups()
    found: list[Path] = []
    # One after the other: a wrong last number is told at the first shard that is not there.
    for number in range(int(first), int(last) + 1):
        file = where.parent / f"{before}{number:0{len(first)}}{after}"
        if not file.is_file():
            raise refuse("a shard is missing", got=file.name, expected=f"all of {where.name}", fix="check the numbers")
        found.append(file)
    return found, where.parent


def _block(
    file: Path, name: str, stamp: tuple[int, int], group: Any, *, column: str | None, stereo: bool, single: bool
) -> Sequence[Item]:
    suffix = file.suffix.lower()
    if suffix in (*TABLES, *SHARDS):
        try:
            if suffix in TABLES:
                from canonize.cli.tables import rows_of

                return rows_of(file, name, stamp, column=column, stereo=stereo)
            from canonize.cli.shards import samples_of

            return samples_of(file, name, stamp)
        except ModuleNotFoundError as error:
            raise refuse(
                "tables are read by Apache Arrow",
                got=f"{error.name} is not installed",
                expected="pyarrow",
                fix="pip install 'canonize[tables]'",
            ) from None
    return [
        Item(f"{name}{place}", stamp, read, *more)
        for place, read, *more in _inside(file, group, column=column, stereo=stereo, single=single)
    ]


def _raised(error: Exception) -> Any:
    raise error


def _inside(file: Path, group: Any, *, column: str | None, stereo: bool, single: bool) -> Iterator[tuple[Any, ...]]:
    """What a file holds: where in it, how to read it, and what stands beside it. A .npy file is one thing where `single`."""
    suffix = file.suffix.lower()
    if suffix in PICTURES:
        yield "", partial(picture, file)
    elif suffix == ".npy" and single:
        yield "", partial(_whole, file)
    elif suffix in ARRAYS:
        yield from ((f"[{place}]", read) for place, read in _arrays(file))
    elif suffix in GRAPHS:
        yield from ((f":{number}", partial(graph6, text)) for number, text in lines(file))
    else:
        yield from ((f":{number}", *read) for number, *read in _molecules(file, group, column, stereo))


def picture(file: Path) -> Tensor:
    """The pixels of an image as they are shown, (channels, height, width), whole numbers.

    Three channels, or four where something is transparent; gray images of 16 bits keep one channel with all their bits.

    Raises:
        SymmetryError: a damaged image, one of another format, or one of more pixels than Pillow takes.
    """
    with readable("an image cannot be read", file.name, expected="an intact image", fix="save it again"):
        return _pixels(file)


def _pixels(file: Path | IO[bytes]) -> Tensor:
    from PIL import Image as Picture
    from PIL import ImageOps

    with Picture.open(file, formats=FORMATS) as opened:
        check_pixels(opened)
        upright = ImageOps.exif_transpose(opened)
        if upright.mode.startswith("I") or upright.mode == "F":
            array = np.asarray(upright)
            return torch.from_numpy(array.astype(np.float64 if upright.mode == "F" else np.int64))[None]
        see_through = "A" in upright.getbands() or "transparency" in upright.info
        pixels = torch.from_numpy(np.array(upright.convert("RGBA" if see_through else "RGB"))).permute(2, 0, 1)
    return pixels[:3] if see_through and bool((pixels[3] == 255).all()) else pixels


def bytes_picture(content: bytes) -> Tensor:
    """`picture` of the bytes of an image file.

    Raises:
        SymmetryError: bytes that no reader takes for an image, or of a damaged one.
    """
    from PIL import UnidentifiedImageError

    with readable("an image cannot be read", "bytes", expected="an intact image", fix="save it again"):
        try:
            return _pixels(io.BytesIO(content))
        except UnidentifiedImageError:
            # Pillow names the address of the bytes, which is another one each time.
            raise refuse(
                "these bytes are no image",
                got=f"{len(content):,} bytes that begin with {content[:8]!r}",
                expected=f"an image ({', '.join(FORMATS)}), or an array of np.save",
                fix="--column names another column",
            ) from None


def _whole(file: Path) -> Tensor:
    return torch.from_numpy(_loaded(file)["x"])


def _loaded(file: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The array of a .npy file as "x"; of a .npz file the entries that count, so that no other is unpacked.

    Raises:
        SymmetryError: a damaged file, no entry of a known name, an array that is too large or holds no numbers.
    """
    try:
        with file.open("rb") as opened:
            if file.suffix.lower() == ".npy" or opened.read(2) != b"PK":
                opened.seek(0)
                return {"x": _array(opened, file.stat().st_size, file.name)}
        with zipfile.ZipFile(file) as archive:
            return _entries(archive, file.name)
    except SymmetryError:
        raise
    except Exception as error:  # readers of damaged files raise nearly anything
        raise refuse(
            "this file cannot be read without running code, or is damaged",
            got=wrong(file, error),
            expected="arrays of numbers, no pickled objects",
            fix="save plain arrays: np.savez(..., pos=x.astype('float32'))",
        ) from error


def bytes_array(content: bytes) -> np.ndarray[Any, Any]:
    """The array of the bytes of a .npy file.

    Raises:
        SymmetryError: as for files.
    """
    with readable("an array cannot be read", "bytes of .npy", expected="an array of numbers", fix="save it again"):
        return _array(io.BytesIO(content), len(content), "an array")


def _entries(archive: zipfile.ZipFile, where: str) -> dict[str, np.ndarray[Any, Any]]:
    there = [entry.filename.removesuffix(".npy") for entry in archive.infolist()]
    names = [name for name in (*MATRICES, *VALUES) if name in there][:1]
    if not names:
        raise refuse(
            "the file does not say which entry holds the values",
            got=f"{where} with {sorted(there)}",
            expected=f"one of {', '.join((*MATRICES, *VALUES))}",
            fix="np.savez(..., pos=points, kinds=numbers)",
        )
    found = {}
    for name in (*names, *(name for name in (*MARKS, *COUNTS) if name in there)):
        entry = archive.getinfo(f"{name}.npy")
        with archive.open(entry) as stream:
            found[name] = _array(stream, entry.file_size, f"{name} in {where}")
    return found


def _array(stream: IO[bytes], size: int, where: str) -> np.ndarray[Any, Any]:
    """The array of numbers in a stream of `size` bytes, in the byte order of this machine.

    The header is judged first: room is made for what it claims, before it shows that the values are not there.
    """
    version = header.read_magic(stream)
    # The third version differs from the second in the names of fields only, and records are refused.
    read = header.read_array_header_1_0 if version == (1, 0) else header.read_array_header_2_0
    shape, _, dtype = read(stream)
    claimed = math.prod(shape) * dtype.itemsize
    if max(claimed, size) > LARGEST:
        raise refuse(
            "an array of this file is too large",
            got=f"{where}: {shape} of {dtype}, {max(claimed, size) / 2**30:,.1f} GiB",
            expected=f"at most {LARGEST / 2**30:g} GiB when unpacked",
            fix="split it over several files of one folder",
        )
    # Pickled objects are refused by numpy, which says why.
    if not dtype.hasobject and (dtype.kind not in "biufc" or dtype.char in "gG"):
        raise refuse(
            "an array of this file holds no numbers that can be compared",
            got=f"{where}: {shape} of {dtype}",
            expected="whole numbers, floats or complex numbers of at most 64 bits a part, or booleans",
            fix="x.astype('float64'); for kinds whole numbers: np.unique(kinds, return_inverse=True)[1]",
        )
    if not dtype.hasobject and (min(shape, default=0) < 0 or claimed > size - stream.tell()):
        raise refuse(
            "an array of this file is cut off",
            got=f"{where}: {shape} of {dtype}, with {size - stream.tell():,} bytes for {claimed:,}",
            expected="as many values as its header says",
            fix="copy or save the file again",
        )
    stream.seek(0)
    array = header.read_array(stream, allow_pickle=False)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _arrays(file: Path) -> Iterator[tuple[int, Callable[[], Any]]]:
    """What stands along the first axis of an array, or of the entries of an archive."""
    entries = _loaded(file)
    main = next(name for name in (*MATRICES, *VALUES) if name in entries)
    values = torch.from_numpy(entries[main])
    marks = next((torch.from_numpy(entries[name]) for name in MARKS if name in entries), None)
    told = next((entries[name] for name in COUNTS if name in entries), None)
    if values.ndim < 1:
        raise refuse(
            "the file holds one number, not things to compare",
            got=f"{file.name}: {main} of shape ()",
            expected="an array whose first axis goes over the things",
            fix="np.save(..., np.stack(things))",
        )
    if not values.numel() and len(values) > MOST_EMPTY:
        # They cost nothing in the file, and each is listed.
        raise refuse(
            "the file holds very many things without values",
            got=f"{file.name}: {main} {tuple(values.shape)}",
            expected=f"values in them, or at most {MOST_EMPTY:,}",
            fix="look at the shape of the array",
        )
    counts = None if told is None else _counts(told, len(values), file.name)
    total = len(values) if counts is None else sum(counts)
    if total != len(values) or (marks is not None and (marks.ndim < 1 or len(marks) != len(values))):
        raise refuse(
            "the entries of the file do not fit together",
            got=f"{file.name}: {main} {tuple(values.shape)}"
            + ("" if marks is None else f", kinds {tuple(marks.shape)}")
            + ("" if counts is None else f", counts that add up to {total}"),
            expected="as many kinds as values, and counts that add up to their number",
            fix="np.savez(..., pos=x, kinds=z), with n_atoms=counts where the clouds stand one after the other",
        )
    if counts is None:
        for place in range(len(values)):
            yield place, partial(_entry, main, values[place], None if marks is None else marks[place])
        return
    for place, (count, end) in enumerate(zip(counts, accumulate(counts), strict=True)):
        rows = slice(end - count, end)
        yield place, partial(_entry, main, values[rows], None if marks is None else marks[rows])


def _counts(told: np.ndarray[Any, Any], most: int, where: str) -> list[int]:
    """How many values each thing has, whole numbers from 0 to `most`; whole floats are taken as well."""
    good = told.ndim == 1 and told.dtype.kind in "iuf"
    wrong = told[~((told >= 0) & (told <= most) & (told == np.floor(told)))] if good else told
    if not good or len(wrong):
        raise refuse(
            "the counts of the file are no counts",
            got=f"{where}: {wrong[0]} among them" if good else f"{where}: {told.dtype} of shape {told.shape}",
            expected=f"one whole number for each thing, from 0 to the {most} values that there are",
            fix="np.savez(..., pos=np.concatenate(clouds), n_atoms=[len(cloud) for cloud in clouds])",
        )
    return [int(count) for count in told]


def _entry(name: str, value: Tensor, marks: Tensor | None) -> Any:
    if name in MATRICES:
        return Graph.dense(value, marks)
    return value if marks is None else Cloud(value, marks)


def _molecules(file: Path, group: Any, column: str | None, stereo: bool) -> Iterator[tuple[Any, ...]]:
    _chemistry()
    if file.suffix.lower() in RECORDS:
        for number, span in enumerate(records(file)):
            yield number + 1, partial(_of_record, file, span, isinstance(group, S), stereo)
    elif file.suffix.lower() == ".smi":
        for number, text in lines(file):
            if not text.startswith("#"):
                word = re.split(r"\s", text, maxsplit=1)[0]
                yield number, partial(smiles_graph, word, stereo), partial(dict, smiles=word)
    else:
        for number, text in cells_of(file, column):
            yield number, partial(smiles_graph, text, stereo), partial(dict, smiles=text)


def smiles_graph(text: str, stereo: bool) -> Any:
    """The molecule of a SMILES as a graph.

    Raises:
        SymmetryError: one that RDKit does not read or that is too long, or RDKit not installed.
    """
    chemistry = _chemistry()
    if len(text) > LONGEST_SMILES:
        raise refuse(
            "this SMILES is too long",
            got=f"{len(text):,} characters: {text[:40]} ...",
            expected=f"at most {LONGEST_SMILES:,}",
            fix="larger molecules stand in .sdf files or in tables as graphs",
        )
    return chemistry.molecule_graph(chemistry.read_smiles(text), stereo=stereo)


def _of_record(file: Path, span: tuple[int, int], graphs: bool, stereo: bool) -> Any:
    with file.open("rb") as opened:
        opened.seek(span[0])
        block = opened.read(span[1]).decode("utf-8", "replace")
    chemistry = _chemistry()
    read = chemistry.read_block(block, hydrogens=not graphs)
    return chemistry.molecule_graph(read, stereo=stereo) if graphs else chemistry.molecule_cloud(read)


@lru_cache(1)
def _chemistry() -> Any:
    try:
        from canonize.integrations import rdkit
    except ModuleNotFoundError as error:
        raise refuse(
            "molecules are read by RDKit",
            got=f"{error.name} is not installed",
            expected="rdkit",
            fix="pip install 'canonize[molecules]'",
        ) from None
    return rdkit
