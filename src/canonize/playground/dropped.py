"""What is dropped on the page: images, molecules and graphs from a file. No file runs code, and none is large."""

from __future__ import annotations

import math
import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from canonize.errors import SymmetryError, refuse
from canonize.playground.samples import SYMBOLS, adjacency

IMAGES = (".png", ".jpg", ".jpeg", ".npy")
MOLECULES = (".xyz",)
GRAPHS = (".txt", ".edges", ".csv", ".tsv", ".g6")
BYTES = 8 * 2**20
"""The largest file."""
PIXELS = 24_000_000
"""The largest image: a small file may unpack to a huge one."""
ATOMS = 100
NODES = 60


def image(file: Path, side: int, channels: int) -> Tensor:
    """A .png, .jpg or .npy file as an image (1, channels, side, side) float32: scaled and cropped to a square, in [0, 1].

    Arrays are (height, width), (channels, height, width) or (height, width, channels); bytes are divided by 255, floats are
    taken as they are.

    Raises:
        SymmetryError: a file of another kind, too large, damaged, or one that would have to run code.
    """
    _small(file, IMAGES)
    pixels = _array(file) if file.suffix.lower() == ".npy" else _picture(file)
    if channels == 1 and len(pixels) == 3:
        # The weights of brightness, as the L of image libraries.
        pixels = (pixels * pixels.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True)
    elif len(pixels) == 1:
        pixels = pixels.expand(channels, -1, -1)
    if len(pixels) != channels:
        raise refuse(
            "the image has other channels than the model takes",
            got=f"{len(pixels)} channels",
            expected=f"1, 3 or {channels}",
            fix="save the image as RGB",
        )
    height, width = pixels.shape[-2:]
    shorter = min(height, width)
    top, left = (height - shorter) // 2, (width - shorter) // 2
    square = pixels[None, :, top : top + shorter, left : left + shorter]
    if shorter == side:
        return square.contiguous()
    return F.interpolate(square, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


def molecule(file: Path, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """An .xyz file as positions (1, atoms, 3) in Å about their mean and atomic numbers (1, atoms); the first frame counts.

    Raises:
        SymmetryError: a file of another kind, too large or damaged; too many atoms, unknown elements, numbers that are not
            finite.
    """
    lines = _text(file, MOLECULES).splitlines()
    first = lines[0].strip() if lines else ""
    if not re.fullmatch("[0-9]{1,6}", first) or not 1 <= int(first) <= ATOMS or len(lines) < int(first) + 2:
        raise refuse(
            "this is no xyz file that can be shown",
            got=f"a first line {first[:40]!r}, and {max(0, len(lines) - 2)} lines of atoms",
            expected=f"the number of atoms, at most {ATOMS}, a comment, then a line `symbol x y z` for each",
            fix="ase.io.write('molecule.xyz', atoms)",
        )
    numbers, places = [], []
    for row, line in enumerate(lines[2 : int(first) + 2], 3):
        words = line.split()
        symbol = words[0].capitalize() if words else ""
        try:
            place = [float(word) for word in words[1:4]]
        except ValueError:
            place = []
        known = symbol in SYMBOLS[1:]
        if not known or len(place) != 3 or not all(math.isfinite(value) and abs(value) < 1e6 for value in place):
            raise refuse(
                "a line of the xyz file holds no atom",
                got=f"line {row}: {line[:60]!r}",
                expected="symbol x y z, finite numbers in Å",
                fix="C 0.0 0.0 0.0",
            )
        numbers.append(SYMBOLS.index(symbol))
        places.append(place)
    positions = torch.tensor(places, dtype=dtype)
    return (positions - positions.mean(0))[None], torch.tensor(numbers)[None]


def graph(file: Path, dtype: torch.dtype = torch.float32) -> Tensor:
    """A list of edges, two names a line, or the first graph of a .g6 file, as a matrix (1, nodes, nodes) of zeros and ones.

    Names are any words, with spaces or commas between them; what stands behind the second one is left out, and so are lines
    that begin with `#`. Edges have no direction.

    Raises:
        SymmetryError: a file of another kind, too large or damaged; no edges, too many nodes.
    """
    text = _text(file, GRAPHS)
    if file.suffix.lower() == ".g6":
        return _graph6(next((line for line in text.splitlines() if line.strip()), ""), dtype)
    names: dict[str, int] = {}
    edges = []
    for row, line in enumerate(text.splitlines(), 1):
        words = [word for word in re.split(r"[\s,;]+", line) if word]
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 2:
            raise refuse(
                "a line of the list of edges holds no edge",
                got=f"line {row}: {line[:60]!r}",
                expected="two names with a space or a comma between them",
                fix="0 1",
            )
        edges.append((names.setdefault(words[0], len(names)), names.setdefault(words[1], len(names))))
        if len(names) > NODES:
            break
    return adjacency(_few(len(names)), edges, dtype)[None]


def _graph6(line: str, dtype: torch.dtype) -> Tensor:
    # It comes with torch.
    import networkx  # type: ignore[import-untyped]  # it has no types

    try:
        code = line.strip().removeprefix(">>graph6<<").encode("ascii")
        # The first byte tells the size of small graphs: a larger one is not even unpacked.
        _few(code[0] - 63 if code else 0)
        read = networkx.from_graph6_bytes(code)
    except SymmetryError:
        raise
    except Exception as error:
        raise refuse(
            "this is no graph6", got=repr(line[:40]), expected="one graph a line", fix="nauty's copyg -g converts"
        ) from error
    return adjacency(len(read), [(int(one), int(other)) for one, other in read.edges()], dtype)[None]


def _few(count: int) -> int:
    if not 1 <= count <= NODES:
        raise refuse(
            "there is no graph that can be drawn in this file",
            got=f"more than {NODES} nodes" if count > NODES else "no nodes",
            expected=f"1 to {NODES} nodes",
            fix="a part of it",
        )
    return count


def named(text: str, file: Path) -> str:
    """A text with the file's own name where it tells the whole path: where the page keeps files is of no use to anybody.

    Example:
        >>> named("no such file: '/tmp/kept/water.xyz'", Path("/tmp/kept/water.xyz"))
        "no such file: 'water.xyz'"
    """
    # Messages quote paths as Python does, which doubles the backslashes of Windows.
    for known in (repr(str(file))[1:-1], str(file)):
        text = text.replace(known, file.name[-40:])
    return text


def _small(file: Path, kinds: tuple[str, ...]) -> None:
    if file.suffix.lower() not in kinds:
        raise refuse(
            "files of this kind are not read here", got=file.name[-40:], expected=", ".join(kinds), fix="another file"
        )
    size = file.stat().st_size
    if not 0 < size <= BYTES:
        raise refuse(
            "the file is empty" if not size else "the file is too large",
            got=f"{size:,} bytes",
            expected=f"1 to {BYTES:,}",
            fix="a smaller one",
        )


def _text(file: Path, kinds: tuple[str, ...]) -> str:
    _small(file, kinds)
    return file.read_bytes().decode("utf-8-sig", "replace")


def _picture(file: Path) -> Tensor:
    import numpy as np
    from PIL import Image as Picture
    from PIL import ImageOps

    try:
        # Only these two readers: others of the library run outside programs or are seldom tried.
        with Picture.open(file, formats=("PNG", "JPEG")) as opened:
            _bounded(opened.width * opened.height)
            upright = ImageOps.exif_transpose(opened)
            gray = upright.mode in ("1", "L", "LA", "I;16", "I", "F")
            if upright.mode.startswith("I"):
                values = np.asarray(upright).astype(np.float32) / 65535
            else:
                values = np.asarray(upright.convert("L" if gray else "RGB"), dtype=np.float32) / 255
    except SymmetryError:
        raise
    except Exception as error:
        # Readers of damaged files raise nearly anything.
        raise refuse(
            "the image cannot be read",
            got=f"{file.name[-40:]}: {named(str(error), file).splitlines()[0][:80] if str(error) else type(error).__name__}",
            expected="an intact PNG or JPEG file",
            fix="open it in a program for pictures and save it again",
        ) from error
    pixels = torch.from_numpy(np.ascontiguousarray(values)).clamp(0, 1)
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def _array(file: Path) -> Tensor:
    import numpy as np

    try:
        # Mapped, so that a header that claims more than the file holds is refused before any memory is taken.
        mapped = np.load(file, mmap_mode="r", allow_pickle=False)
        good = isinstance(mapped, np.ndarray) and mapped.dtype.kind in "buif" and mapped.ndim in (2, 3) and mapped.size
        values = torch.from_numpy(np.array(mapped, dtype=np.float32)) if good else None
        scale = 255.0 if good and mapped.dtype == np.uint8 else 1.0
    except Exception as error:
        raise refuse(
            "this array cannot be read without running code, or is damaged",
            got=file.name[-40:],
            expected="numbers (height, width) or (channels, height, width)",
            fix="np.save('image.npy', x.astype('float32'))",
        ) from error
    if values is None or not bool(values.isfinite().all()):
        raise refuse(
            "this array is no image",
            got=f"{getattr(mapped, 'dtype', 'an archive')} of shape {getattr(mapped, 'shape', '?')}"
            if values is None
            else "NaN or infinity",
            expected="finite numbers (height, width) or (channels, height, width)",
            fix="np.save('image.npy', x)",
        )
    values = values / scale
    if values.ndim == 2:
        return values[None]
    return values.permute(2, 0, 1) if values.shape[-1] in (1, 3) and values.shape[0] not in (1, 3) else values


def _bounded(pixels: int) -> None:
    if pixels > PIXELS:
        raise refuse(
            "the image is too large",
            got=f"{pixels:,} pixels",
            expected=f"at most {PIXELS:,}",
            fix="scale it down",
        )
