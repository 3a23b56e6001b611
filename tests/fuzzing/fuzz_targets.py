"""Every reader of files with whole files that it reads, and what it does with another: an answer, or a `SymmetryError`."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from PIL import Image as Picture
from torch import nn

from canonize import Best, C, Image, S, Scalar, Symmetry, SymmetryError, canonical_hash, symmetrize
from canonize.adapt.state import load as load_state
from canonize.cli.data import load_data
from canonize.cli.items import find_items
from canonize.cli.journal import Journal
from canonize.cli.load import load_model
from canonize.forms import Graph
from canonize.integrations.safetensors import load as load_canonizer
from canonize.integrations.safetensors import save as save_canonizer
from canonize.nn import Scorer
from canonize.playground import dropped
from canonize.scale import Folder

MOST = 8
"""Things of one file that are read: a damaged file may claim very many."""
SETTINGS = {"group": "C4"}


@dataclass(frozen=True)
class Target:
    """A reader of one kind of file.

    Attributes:
        name: of the reader and the kind.
        file: the name under which the content is written.
        seeds: whole files, which it reads.
        read: called with the path of the file; the folder holds what stands beside it.
        beside: other files that it needs.
    """

    name: str
    file: str
    seeds: Callable[[], tuple[bytes, ...]]
    read: Callable[[Path], Any]
    beside: Callable[[], dict[str, bytes]] = dict


def outcome(target: Target, content: bytes, folder: Path) -> str:
    """ "read" or "refused"; whatever else is raised passes through."""
    for name, other in target.beside().items():
        (folder / name).write_bytes(other)
    path = folder / target.file
    path.write_bytes(content)
    try:
        target.read(path)
    except SymmetryError:
        return "refused"
    finally:
        path.unlink(missing_ok=True)
    return "read"


class Evil:
    """Would leave a file behind if anything unpickled it."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("ran"),)


def packed(entries: dict[str, bytes], *, how: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", how) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return held.getvalue()


def tarred(entries: dict[str, bytes]) -> bytes:
    """A tar archive."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for name, content in entries.items():
            told = tarfile.TarInfo(name)
            told.size = len(content)
            archive.addfile(told, io.BytesIO(content))
    return held.getvalue()


def npy(array: Any) -> bytes:
    """A .npy file; objects are pickled."""
    held = io.BytesIO()
    np.save(held, array, allow_pickle=True)
    return held.getvalue()


def npz(**arrays: Any) -> bytes:
    """A .npz file."""
    return packed({f"{name}.npy": npy(array) for name, array in arrays.items()}, how=zipfile.ZIP_DEFLATED)


def image(form: str, mode: str = "RGB", side: int = 6) -> bytes:
    """A small picture."""
    held = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Picture.fromarray(pixels).convert(mode).save(held, form)
    return held.getvalue()


def saved(value: Any, **options: Any) -> bytes:
    """A file of torch.save."""
    held = io.BytesIO()
    torch.save(value, held, **options)
    return held.getvalue()


@lru_cache(1)
def canonizer() -> dict[str, bytes]:
    """The two files of a saved canonizer."""
    import tempfile

    generator = torch.Generator().manual_seed(0)
    frame = Best(Scorer(1, width=2, depth=1, generator=generator))
    with tempfile.TemporaryDirectory() as folder:
        paths = save_canonizer(symmetrize(nn.Flatten(), Symmetry(C(4), Image(), Scalar()), frame), folder)
        return {path.name: path.read_bytes() for path in paths}


def sheet(kind: str) -> bytes:
    """A Parquet or Arrow file with graphs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    graphs = {"edges": [[[0, 1], [1, 2]], [[0, 1]]], "nodes": ["[1, 2, 3]", None], "count": [3, 4]}
    pictures = {"image": [image("PNG"), npy(X)], "label": [0, 1]}
    table = pa.table(pictures if kind == "images" else graphs)
    held = io.BytesIO()
    if kind != "arrow":
        pq.write_table(table, held)
    else:
        with pa.ipc.new_file(held, table.schema) as writer:
            writer.write_table(table)
    return held.getvalue()


@lru_cache(1)
def onnx_file() -> bytes:
    """A model that adds a constant."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 3]) for name in "xy"]
    held = numpy_helper.from_array(np.ones(3, dtype=np.float32), "c")
    graph = helper.make_graph([helper.make_node("Add", ["x", "c"], ["y"])], "g", value[:1], value[1:], [held])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


@lru_cache(1)
def script() -> bytes:
    """A TorchScript file."""
    import warnings

    held = io.BytesIO()
    with warnings.catch_warnings():
        # torch deprecates TorchScript; such files are still about.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(nn.Linear(2, 1)), held)
    return held.getvalue()


def lines(*told: Any) -> bytes:
    """Lines of JSON."""
    return b"".join(json.dumps(each).encode() + b"\n" for each in told)


MOL = b"""
  made by hand

  3  2  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.5000    0.0000    0.1000 C   0  0
    2.0000    1.2000    0.0000 O   0  0
  1  2  1  0
  2  3  1  0
M  END
"""
SDF = MOL + b"$$$$\n" + MOL + b"$$$$\n"


def _data(path: Path) -> Any:
    return load_data(str(path))


def _sized(path: Path) -> Any:
    return load_data(str(path), size=4, limit=1)


def _pictures(path: Path) -> Any:
    return load_data(str(path.parent), size=4)


def _items(path: Path) -> Any:
    """The first things of the file, and the hash of small graphs among them."""
    found = []
    for item in islice(iter(find_items(path, S())), MOST):
        value = item.read()
        item.more()
        if isinstance(value, Graph):
            canonical_hash(value, S(), limit=1)
        found.append(value)
    return found


def _journal(path: Path) -> Any:
    with Journal(path, SETTINGS) as found:
        return found.known


def _folder(path: Path) -> Any:
    (path.parent / "000000.txt").write_bytes(b"abc")
    with Folder(path.parent, SETTINGS) as found:
        return found.listed()


def _model(path: Path) -> Any:
    model = load_model(str(path))
    # A changed model may take other inputs; what it then raises is for its caller.
    with suppress(ValueError, RuntimeError, InvalidArgument):
        return model(torch.ones(1, 3))


def _drop(read: Callable[..., Any], *rest: Any) -> Callable[[Path], Any]:
    return lambda path: read(path, *rest)


X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
ENTRY = {"item": "a", "stamp": [1, 2], "keys": ["k"]}
DONE = {"chunk": 0, "file": "000000.txt", "bytes": 3}
IMAGES = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "bmp": "BMP", "webp": "WEBP", "tif": "TIFF", "ppm": "PPM"}
STATE = {"run": {"seed": 0}, "subject": {"w": torch.ones(2)}}


def _images() -> tuple[Target, ...]:
    made = []
    for suffix, form in IMAGES.items():
        seeds = lambda form=form: (image(form), image(form, "L"))  # noqa: E731  # one for each kind
        made += [Target(f"image {suffix}", f"a.{suffix}", seeds, _pictures)]
        made += [Target(f"item {suffix}", f"a.{suffix}", seeds, _items)]
    return tuple(made)


TARGETS: tuple[Target, ...] = (
    Target("data npy", "a.npy", lambda: (npy(X), npy(np.arange(4))), _data),
    Target("data npz", "a.npz", lambda: (npz(x=X, y=np.arange(2)), packed({"x.npy": npy(X)})), _data),
    Target(
        "data pt", "a.pt", lambda: (saved(torch.ones(2, 3)), saved({"x": X[0, 0, 0].item() + torch.ones(2)})), _data
    ),
    Target("data old pt", "b.pt", lambda: (saved(torch.ones(2, 3), _use_new_zipfile_serialization=False),), _data),
    Target("data tar", "a.tar", lambda: (tarred({"0.png": image("PNG"), "0.cls": b"1", "1.npy": npy(X[0])}),), _sized),
    Target("data parquet", "a.parquet", lambda: (sheet("images"),), _sized),
    *_images(),
    Target("item npy", "a.npy", lambda: (npy(X), npy(np.arange(4, dtype=">i2"))), _items),
    Target(
        "item npz", "a.npz", lambda: (npz(pos=X[0], kinds=np.arange(3), n_atoms=np.array([1, 2])), npz(x=X)), _items
    ),
    Target("item g6", "a.g6", lambda: (b">>graph6<<\nDQc\nBw\n", b"DQc\n~?@?" + b"?" * 336), _items),
    Target("item smi", "a.smi", lambda: (b"CCO ethanol\n# no\nC[C@H](N)C(=O)O\nc1ccccc1\n", b"F/C=C/F\n"), _items),
    Target("item csv", "a.csv", lambda: (b'name,smiles\na,CCO\n"b ""c""",CC\n', b"smiles\nO\n"), _items),
    Target("item sdf", "a.sdf", lambda: (SDF, MOL), _items),
    Target("item parquet", "a.parquet", lambda: (sheet("parquet"),), _items),
    Target("item arrow", "a.arrow", lambda: (sheet("arrow"),), _items),
    Target(
        "item tar",
        "a.tar",
        lambda: (
            tarred({"0.json": b'{"edges": [[0, 1]], "count": 3}', "0.cls": b"1", "1.png": image("PNG")}),
            tarred({"0.positions.npy": npy(X[0]), "0.species.npy": npy(np.arange(3)), "0.json": b'{"kinds": [1]}'}),
        ),
        _items,
    ),
    Target("journal", "book.jsonl", lambda: (lines({"canonize dedupe": 1, "settings": SETTINGS}, ENTRY),), _journal),
    Target("run journal", "_journal.jsonl", lambda: (lines({"canonize": 1, "settings": SETTINGS}, DONE),), _folder),
    Target(
        "run manifest",
        "_manifest.json",
        lambda: (lines({"canonize": 1, "settings": SETTINGS, "chunks": [DONE]}),),
        _folder,
    ),
    Target("checkpoint", "a.state", lambda: (saved(STATE),), lambda path: load_state(path, {"seed": 0})),
    Target(
        "canonizer numbers",
        "canonizer.safetensors",
        lambda: (canonizer()["canonizer.safetensors"],),
        lambda path: load_canonizer(path.parent),
        lambda: {"config.json": canonizer()["config.json"]},
    ),
    Target(
        "canonizer config",
        "config.json",
        lambda: (canonizer()["config.json"],),
        lambda path: load_canonizer(path.parent),
        lambda: {"canonizer.safetensors": canonizer()["canonizer.safetensors"]},
    ),
    Target("dropped png", "a.png", lambda: (image("PNG"),), _drop(dropped.image, 4, 3)),
    Target("dropped npy", "a.npy", lambda: (npy(X[0]),), _drop(dropped.image, 4, 1)),
    Target("dropped xyz", "a.xyz", lambda: (b"2\n\nC 0 0 0\nO 1.1 0 0\n",), _drop(dropped.molecule)),
    Target("dropped edges", "a.edges", lambda: (b"# a\n0 1\n1 2\n",), _drop(dropped.graph)),
    Target("dropped g6", "a.g6", lambda: (b">>graph6<<DQc\n",), _drop(dropped.graph)),
)
"""Readers that are tried in this process."""

OUTSIDE: tuple[Target, ...] = (Target("model onnx", "a.onnx", lambda: (onnx_file(),), _model),)
"""Readers that are written in C++ by others, for a process of their own."""
SEALED: tuple[Target, ...] = (
    Target("model pt", "a.pt", lambda: (script(), saved(nn.Linear(2, 1))), lambda path: load_model(str(path))),
    Target("model pt2", "a.pt2", lambda: (script(),), lambda path: load_model(str(path))),
)
"""Readers that refuse everything that is not trusted, also whole files."""
EVIL: dict[str, bytes] = {
    "a pickle": pickle.dumps(Evil()),
    "an array of objects": npy(np.array([Evil()], dtype=object)),
    "an archive with a pickle": packed(
        {"x.npy": npy(np.array([Evil()], dtype=object)), "inputs.npy": pickle.dumps(Evil())}
    ),
    "a torch file": packed(
        {"archive/data.pkl": pickle.dumps(Evil(), 2), "archive/version": b"3\n", "archive/byteorder": b"little"}
    ),
    "a torch file of an object": saved(Evil()),
    "an old torch file of an object": saved(Evil(), _use_new_zipfile_serialization=False),
    "a tar with a pickle": tarred({"0.npy": npy(np.array([Evil()], dtype=object)), "0.pkl": pickle.dumps(Evil())}),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(ran) (w) file closefile\n%%EOF\n",
}
"""Files that would run code in a reader that lets them."""
