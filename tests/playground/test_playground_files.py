"""Dropped files: good ones are read, all others are refused with a reason, and none runs code or fills the memory."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
import zlib
from pathlib import Path

import networkx
import numpy as np
import pytest
import torch
from PIL import Image as Picture

from canonize import SymmetryError
from canonize.playground import dropped, page, samples


def written(folder: Path, name: str, data: bytes | str) -> Path:
    file = folder / name
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return file


def png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Picture.fromarray(array).save(stream, format="PNG")
    return stream.getvalue()


def npy(array: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def bomb(width: int = 40_000, height: int = 30_000) -> bytes:
    """A PNG of a few bytes that says that it has a billion pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


class Trap:
    """Leaves a folder behind if it is ever unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = str(file)

    def __reduce__(self) -> object:
        return (os.mkdir, (self.file,))


def test_images_of_every_kind(tmp_path: Path) -> None:
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    expected = torch.from_numpy(gray / np.float32(255))[None, None]
    for file in (
        written(tmp_path, "a.png", png(gray)),
        written(tmp_path, "a.npy", npy(gray)),
        written(tmp_path, "b.npy", npy(gray[None].astype(np.float32) / 255)),
        written(tmp_path, "c.npy", npy(np.stack([gray] * 3, -1))),
    ):
        assert torch.allclose(dropped.image(file, 8, 1), expected, atol=1e-6), file.name
        assert torch.allclose(dropped.image(file, 8, 3), expected.expand(1, 3, 8, 8), atol=1e-6), file.name
    wide = written(tmp_path, "wide.png", png(np.zeros((20, 31, 3), dtype=np.uint8)))
    assert dropped.image(wide, 12, 1).shape == (1, 1, 12, 12)
    Picture.fromarray(gray).save(tmp_path / "a.jpg")
    assert float((dropped.image(tmp_path / "a.jpg", 8, 1) - expected).abs().max()) < 0.1


def test_molecules_and_graphs(tmp_path: Path) -> None:
    lines = "3\nwater\nO 0 0 0\nh 0.0 0.76 0.59 0.4\nH 0.0 -0.76 0.59\n"
    positions, numbers = dropped.molecule(written(tmp_path, "water.xyz", lines))
    assert numbers.tolist() == [[8, 1, 1]]
    assert positions.mean(1).abs().max() < 1e-12
    ring = networkx.cycle_graph(7)
    expected = torch.tensor(networkx.to_numpy_array(ring), dtype=torch.float32)[None]
    code = written(tmp_path, "ring.g6", networkx.to_graph6_bytes(ring))
    assert torch.equal(dropped.graph(code), expected)
    text = "# a ring\n" + "".join(f"{node},{(node + 1) % 7}\n" for node in range(7))
    assert torch.equal(dropped.graph(written(tmp_path, "ring.csv", text)), expected)
    assert dropped.graph(written(tmp_path, "names.txt", "ann bob 3.5\nbob\tcyd\n")).tolist() == [
        [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    ]


GRAY = np.zeros((8, 8), dtype=np.uint8)
BAD: dict[str, tuple[str, bytes | str]] = {
    "another kind": ("a.exe", b"MZ"),
    "empty": ("a.png", b""),
    "a cut image": ("a.png", png(np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8))[:300]),
    "no image at all": ("a.jpg", b"<script>alert(1)</script>"),
    "another format under this name": ("a.png", b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,"),
    "a billion pixels": ("a.png", bomb()),
    "a cut array": ("a.npy", npy(GRAY)[:-1]),
    "a cut header": ("a.npy", npy(GRAY)[:60]),
    "an array of strings": ("a.npy", npy(np.array([["a"]]))),
    "not a number": ("a.npy", npy(np.full((4, 4), np.nan))),
    "an array without pixels": ("a.npy", npy(np.zeros((0, 4)))),
    "five channels": ("a.npy", npy(np.zeros((5, 4, 4)))),
    "an xyz without a number": ("a.xyz", "water\n\nO 0 0 0\n"),
    "an xyz that is cut": ("a.xyz", "3\n\nO 0 0 0\n"),
    "an xyz of a million atoms": ("a.xyz", "999999\n\nO 0 0 0\n"),
    "an unknown element": ("a.xyz", "1\n\nQq 0 0 0\n"),
    "infinite coordinates": ("a.xyz", "1\n\nO inf 0 0\n"),
    "a line without coordinates": ("a.xyz", "1\n\nO\n"),
    "bytes for an xyz": ("a.xyz", bytes(range(256))),
    "no edges": ("a.txt", "# nothing\n"),
    "half an edge": ("a.txt", "0 1\n2\n"),
    "too many nodes": ("a.txt", "".join(f"{node} {node + 1}\n" for node in range(500))),
    "a cut graph6": ("a.g6", b"F"),
    "a graph6 of a billion nodes": ("a.g6", b"~~??????"),
    "no graph6": ("a.g6", "<b>\u20ac"),
}


def read(file: Path) -> object:
    if file.suffix == ".xyz":
        return dropped.molecule(file)
    return dropped.graph(file) if file.suffix in (".txt", ".g6") else dropped.image(file, 8, 1)


@pytest.mark.parametrize("which", BAD)
def test_a_bad_file_is_refused_with_a_reason(tmp_path: Path, which: str) -> None:
    file = written(tmp_path, *BAD[which])
    tracemalloc.start()
    try:
        with pytest.raises(SymmetryError, match="expected:") as refused:
            read(file)
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()
    assert (
        "<"
        not in page.told(refused.value)
        .removeprefix('<div class="pg"><pre class="pg-error" role="alert">')
        .split("</pre>")[0]
    )


@pytest.mark.parametrize("name", ["a.png", "a" * 90 + ".jpg", "a.npy", "gone.npy", "gone.xyz"])
def test_messages_tell_the_name_of_the_file_and_not_where_the_page_keeps_it(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "kept" / "by the page"
    folder.mkdir(parents=True)
    file = folder / name if name.startswith("gone") else written(folder, name, b"no such thing")
    with pytest.raises((SymmetryError, OSError)) as refused:
        dropped.molecule(file) if name.endswith(".xyz") else dropped.image(file, 8, 1)
    told = page.told(refused.value, file)
    assert name[-30:] in told
    for part in (str(tmp_path), "kept", "by the page"):
        assert part not in told


def test_a_header_that_claims_more_than_the_file_holds_takes_no_memory(tmp_path: Path) -> None:
    head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (200000, 200000), }"
    head += b" " * (118 - len(head) - 1) + b"\n"
    file = written(tmp_path, "a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + b"\0" * 100)
    with pytest.raises(SymmetryError, match="damaged"):
        dropped.image(file, 8, 1)


def test_a_small_file_with_more_pixels_than_are_shown_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    # Below the bound at which the library of images raises by itself.
    with pytest.raises(SymmetryError, match="the image is too large"):
        dropped.image(written(tmp_path, "a.png", bomb(6_000, 5_000)), 8, 1)


def test_a_pickled_array_does_not_run(tmp_path: Path) -> None:
    trap = Trap(tmp_path / "sprung")
    for name, data in (("a.npy", npy(np.array([trap], dtype=object))), ("b.npy", pickle.dumps(trap))):
        with pytest.raises(SymmetryError, match="without running code"):
            dropped.image(written(tmp_path, name, data), 8, 1)
    assert not (tmp_path / "sprung").exists()
    np.load(tmp_path / "a.npy", allow_pickle=True)
    assert (tmp_path / "sprung").exists(), "the trap is none"


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.xyz"
    with file.open("wb") as opened:
        opened.truncate(dropped.BYTES + 1)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("it was read"))
    with pytest.raises(SymmetryError, match="too large"):
        dropped.molecule(file)


def test_built_in_samples_make_sense() -> None:
    for name, (positions, numbers) in samples.molecules().items():
        assert positions.shape[1] == numbers.shape[1] <= dropped.ATOMS, name
        apart = torch.cdist(positions[0], positions[0]) + 9 * torch.eye(positions.shape[1], dtype=torch.float64)
        # Bonds in Å: no atom touches another, and none is left alone.
        assert float(apart.min()) > 0.9, name
        assert float(apart.amin(1).max()) < 2.0, name
    for name, matrix in samples.graphs().items():
        assert torch.equal(matrix, matrix.mT), name
        assert not bool(matrix.diagonal(dim1=1, dim2=2).any()), name
    isomorphic = networkx.is_isomorphic(
        networkx.from_numpy_array(samples.graphs()["Petersen"][0].numpy()), networkx.petersen_graph()
    )
    assert isomorphic
    assert samples.SYMBOLS.index("C") == 6
    assert samples.SYMBOLS.index("Og") == 118
