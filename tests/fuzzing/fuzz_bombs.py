"""Small files that claim to be huge, read with little memory: `fuzz_bombs.py FOLDER` prints what became of each."""

from __future__ import annotations

import io
import json
import resource
import struct
import sys
import time
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import fuzz_targets as made
import numpy as np

ROOM = 2**29
"""Bytes that the process may take beside what it has taken when it begins."""
BIG = 2**40


def header(shape: str, kind: str = "<f8", version: int = 1) -> bytes:
    """A .npy file that holds nothing but this shape."""
    told = (
        f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(
            118 if version == 1 else 4096
        )
        + b"\n"
    )
    return b"\x93NUMPY" + bytes((version, 0)) + struct.pack("<H" if version == 1 else "<I", len(told)) + told


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these claims, with a few bytes of pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    first = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rest = b"".join(chunk(*one) for one in (*chunks, (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")))
    return b"\x89PNG\r\n\x1a\n" + first + rest


def gif(width: int, height: int) -> bytes:
    """A GIF of one pixel on a canvas of this size."""
    return (
        b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0\0\0\0\xff\xff\xff"
        b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\x02\x02D\x01\0;"
    )  # fmt: skip


def safetensors(told: object) -> bytes:
    """A safetensors file with this header and eight bytes."""
    words = json.dumps(told).encode()
    return struct.pack("<Q", len(words)) + words + bytes(8)


@lru_cache(1)
def unpacks(count: int) -> bytes:
    """An archive whose entry unpacks to `count` bytes."""
    held = io.BytesIO()
    with (
        zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w") as entry,
    ):
        entry.write(header(f"({count},)", "|u1"))
        for _ in range(count // 2**20):
            entry.write(bytes(2**20))
    return held.getvalue()


def claims(size: int) -> bytes:
    """An archive whose directory says that an entry has `size` bytes."""
    content = bytearray(made.npz(x=np.zeros(3)))
    place = content.index(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", size)
    return bytes(content)


def long_tar(size: int) -> bytes:
    """A tar whose member claims `size` bytes."""
    import tarfile

    told = tarfile.TarInfo("0.npy")
    told.size = size
    return told.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


def repeated(rows: int) -> bytes:
    """A Parquet file whose one cell is a list of `rows` zeros."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    held = io.BytesIO()
    # Without what takes most of the time to write: the compression alone makes it small.
    plain = {"compression": "zstd", "use_dictionary": False, "write_statistics": False}
    pq.write_table(pa.table({"x": pa.array([np.zeros(rows, dtype=np.int8)])}), held, **plain)
    return held.getvalue()


def onnx(*dims: int, outside: str = "") -> bytes:
    """A model with a constant of this shape and no numbers, or with its numbers in another file."""
    import onnx as library

    model = library.load_from_string(made.onnx_file())
    held = model.graph.initializer[0]
    held.ClearField("raw_data")
    del held.dims[:]
    held.dims.extend(dims)
    if outside:
        held.data_location = library.TensorProto.EXTERNAL
        entry = held.external_data.add()
        entry.key, entry.value = "location", outside
    return bytes(model.SerializeToString())


def bombs() -> Iterator[tuple[str, str, bytes]]:
    """What it is, the reader, and the content."""
    shapes = (f"({BIG},)", f"({2**62}, 8)", "(-1, -5)", "(1,) * 9", "(" * 500, "(" + "1," * 900 + ")", f"({2**31}, 0)")
    for shape in shapes:
        for reader in ("data npy", "item npy", "dropped npy"):
            yield f"npy {shape[:20]}", reader, header(shape, version=2)
        for reader in ("data npz", "item npz"):
            yield f"npz {shape[:20]}", reader, made.packed({"x.npy": header(shape, version=2)})
    for reader in ("data npz", "item npz"):
        yield "an entry that claims 4 GiB", reader, claims(2**32 - 2)
        yield "an entry that unpacks to 640 MiB", reader, unpacks(5 * 2**27)
    for reader in ("image png", "item png", "dropped png"):
        yield "a picture of 4e9 pixels", reader, png(2**16, 2**16)
        yield "a picture of 1e8 pixels", reader, png(10_000, 10_000)
        yield (
            "a comment that unpacks to 64 MiB",
            reader,
            png(4, 4, (b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26), 1))),
        )
    for reader in ("image gif", "item gif"):
        yield "a canvas of 4e9 pixels", reader, gif(2**16 - 1, 2**16 - 1)
        yield "a canvas of 1e8 pixels", reader, gif(10_000, 10_000)
    deep = b"[" * 500_000
    for reader in ("journal", "run journal", "run manifest", "canonizer config"):
        yield "half a million brackets", reader, deep + b"\n"
    yield "brackets in a shard", "item tar", made.tarred({"0.json": deep})
    yield "brackets in a table", "item csv", b"smiles\n" + deep
    for told in ({"edges": [], "count": 10**12}, {"edges": [[0, 10**12]]}, {"edges": [], "count": 1e12}):
        yield f"a graph {told}", "item tar", made.tarred({"0.json": json.dumps(told).encode()})
    yield "a member of 8 TiB", "item tar", long_tar(2**43)
    yield "graph6 of 68e9 nodes", "item g6", b"~~" + b"~" * 6 + b"\n"
    yield "graph6 of 258,047 nodes", "dropped g6", b"~}~~\n"
    yield "a chain of 20,000 atoms", "item smi", b"C" * 20_000
    yield "12,000 branches", "item smi", b"C(" * 12_000 + b"C" + b")" * 12_000
    yield "many rings", "item smi", b"C%10" * 10_000
    yield "a mol block of 10^9 atoms", "item sdf", made.MOL.replace(b"  3  2", b"999999")
    yield "xyz of 10^9 atoms", "dropped xyz", b"1000000000\n\nC 0 0 0\n"
    yield "a cell of 2^26 numbers", "item parquet", repeated(2**26)
    for offsets in ([0, 2**63 - 1], [0, 8], [8, 0], [-8, 0], [0, 2**64]):
        told = {"energy.stem.weight": {"dtype": "F32", "shape": [2**31, 2**31], "data_offsets": offsets}}
        yield f"safetensors {offsets}", "canonizer numbers", safetensors(told)
    lap = {
        name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
        for name in ("energy.stem.weight", "energy.stem.bias")
    }
    yield "safetensors that overlap", "canonizer numbers", safetensors(lap)
    yield (
        "a torch file of huge size",
        "data pt",
        made.saved(made.torch.zeros(1)).replace(b"K\x01", b"J\xff\xff\xff\x7f"[:2]),
    )
    yield "an old torch file of huge size", "data old pt", _old(2**40)
    yield "onnx of 2^60 numbers", "model onnx", onnx(2**30, 2**30)
    yield "onnx that reads another file", "model onnx", onnx(3, outside="../../../../../../etc/hostname")
    yield "onnx that reads an absolute file", "model onnx", onnx(3, outside="/etc/hostname")


def _old(size: int) -> bytes:
    """A file of the old form whose storage claims `size` numbers."""
    content = made.saved(made.torch.zeros(3), _use_new_zipfile_serialization=False)
    at = content.rindex(struct.pack("<q", 3))
    return content[:at] + struct.pack("<q", size) + content[at + 8 :]


def main() -> None:
    """Print one line of JSON: for each bomb what became of it, the seconds, and how the largest size of the process grew."""
    folder = Path(sys.argv[1])
    targets = {target.name: target for target in (*made.TARGETS, *made.OUTSIDE)}
    waiting = list(bombs())
    for name in {reader for _, reader, _ in waiting}:
        # What is imported late is imported before the memory is bounded.
        made.outcome(targets[name], targets[name].seeds()[0], folder)
    taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, taken + ROOM))
    found = []
    for what, name, content in waiting:
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        try:
            result = made.outcome(targets[name], content, folder)
        except Exception as error:
            result = f"{type(error).__name__}: {error}"[:300]
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
        found.append((what, name, result, round(time.process_time() - start, 2), grown, len(content)))
    print(json.dumps(found))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
