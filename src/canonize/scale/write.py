"""Samples in their canonical form as Parquet files and as WebDataset shards."""

from __future__ import annotations

import base64
import io
import json
import re
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, final

import torch
from torch import Tensor

from canonize._tree import describe
from canonize.errors import refuse
from canonize.forms import Cloud, Graph
from canonize.scale.forms import Form

SUFFIXES = (".parquet", ".tar")
POSE = {"linear": "float64", "shift": "float64", "order": "int64"}


@final
@dataclass(frozen=True)
class Layout:
    """What is written for each sample; the same for all samples of a data set.

    Attributes:
        kind: "image", "array", "cloud" or "graph".
        pose: the parts of the pose that are written.
        margin: whether the margin is.
        hashed: whether the hash is.
        dim: of the points of clouds.
        beside: for Parquet the columns that stood beside the values, a schema of Arrow or None.
    """

    kind: str
    pose: tuple[str, ...] = ()
    margin: bool = False
    hashed: bool = False
    dim: int = 0
    beside: Any = None


@final
@dataclass(frozen=True)
class Sample:
    """One line of the output.

    Attributes:
        place: in the input, from 0.
        source: its name in the input.
        columns: what to write, see `columns`.
        beside: what stood beside the value in the input.
    """

    place: int
    source: str
    columns: Mapping[str, Any]
    beside: Mapping[str, Any]


class Writer(Protocol):
    """A file that is being written."""

    def add(self, samples: Sequence[Sample]) -> None:
        """Write some samples."""
        ...

    def close(self) -> None:
        """End the file."""
        ...


def kind_of(value: Any) -> str:
    """How a value is written: images as they are read from files are PNG, which gives them back as they are.

    These have 8 bits and three channels, four where something is transparent, or one channel of 16 bits.
    """
    if isinstance(value, Graph):
        return "graph"
    if isinstance(value, Cloud):
        return "cloud"
    if value.ndim == 3 and 0 not in value.shape:
        deep = value.dtype == torch.int64 and len(value) == 1 and int(value.min()) >= 0 and int(value.max()) < 2**16
        seen = len(value) == 3 or (len(value) == 4 and bool((value[3] != 255).any()))
        if deep or (value.dtype == torch.uint8 and seen):
            return "image"
    return "array"


def check_fits(layout: Layout, form: Form) -> None:
    """Refuse a form that is of another kind than the data set's.

    Raises:
        SymmetryError: another kind, points of another dimension.
    """
    kind = kind_of(form.value)
    # What is an image can be written as an array.
    same = kind == layout.kind or (layout.kind == "array" and kind == "image")
    if not same or (kind == "cloud" and form.value.points.shape[1] != layout.dim):
        raise refuse(
            "the sample is of another kind than the first one",
            got=f"{kind}: {describe(form.value)}",
            expected=f"{layout.kind}" + (f" of points in {layout.dim} dimensions" if layout.dim else ""),
            fix="one data set for each kind",
        )


def columns(form: Form, layout: Layout) -> dict[str, Any]:
    """The columns of a form: bytes, strings, numbers, and tensors."""
    value, made = form.value, dict[str, Any]()
    if layout.kind == "image":
        made["image"] = png(value)
    elif layout.kind == "array":
        made["array"] = npy(value)
    elif layout.kind == "cloud":
        whole = _whole(value.kinds)
        made["positions"], made["species"] = value.points.double(), whole
        made["kinds"] = None if whole is not None or value.kinds is None else _json(value.kinds)
    else:
        made["edges"], made["count"], made["directed"] = value.edges.T.contiguous(), value.count, value.directed
        made |= {"nodes": _json(value.nodes), "labels": _json(value.labels)}
    made |= {f"pose_{name}": form.pose[name].flatten() for name in layout.pose}
    if layout.margin:
        made["margin"] = form.margin
    if layout.hashed:
        made["hash"] = form.hash
    return made


def png(x: Tensor) -> bytes:
    """An image as PNG, which loses nothing: (channels, height, width), 8 bits, or one channel of 16."""
    from PIL import Image as Picture

    array = x.permute(1, 2, 0).numpy() if len(x) > 1 else x[0].numpy()
    made = Picture.fromarray(array.astype("uint16") if x.dtype == torch.int64 else array)
    held = io.BytesIO()
    # The highest levels take five times as long for some percent.
    made.save(held, "PNG", compress_level=1)
    return held.getvalue()


def npy(x: Tensor) -> bytes:
    """A tensor as the bytes of a .npy file."""
    import numpy as np

    held = io.BytesIO()
    np.save(held, x.detach().cpu().contiguous().numpy(), allow_pickle=False)
    return held.getvalue()


def writer(path: Path, suffix: str, layout: Layout) -> Writer:
    """A file of this kind, open for writing.

    Raises:
        SymmetryError: pyarrow is not installed.
    """
    return _Tar(path, layout) if suffix == ".tar" else _Parquet(path, layout)


@final
class _Parquet:
    """Samples as rows."""

    def __init__(self, path: Path, layout: Layout) -> None:
        import pyarrow.parquet as pq

        self.layout, self.schema = layout, schema(layout)
        self.file = pq.ParquetWriter(path, self.schema, compression="zstd")

    def add(self, samples: Sequence[Sample]) -> None:
        """One row group."""
        import pyarrow as pa

        if not samples:
            return
        own: dict[str, list[Any]] = {"source": [sample.source for sample in samples]}
        own |= {name: [sample.columns[name] for sample in samples] for name in samples[0].columns}
        for name, ours in beside_names(self.layout).items():
            own[ours] = [sample.beside.get(name) for sample in samples]
        held = [_arrow(own[field.name], field.type) for field in self.schema]
        self.file.write_batch(pa.RecordBatch.from_arrays(held, schema=self.schema), row_group_size=len(samples))

    def close(self) -> None:
        """The footer."""
        self.file.close()


def schema(layout: Layout) -> Any:
    """The schema of Arrow of this layout."""
    import pyarrow as pa

    numbers = {"float64": pa.list_(pa.float64()), "int64": pa.list_(pa.int64())}
    fields: list[tuple[str, Any]] = [("source", pa.string())]
    fields += {
        "image": [("image", pa.binary())],
        "array": [("array", pa.binary())],
        "cloud": [
            ("positions", pa.list_(pa.list_(pa.float64(), max(layout.dim, 1)))),
            ("species", pa.list_(pa.int64())),
            ("kinds", pa.string()),
        ],
        "graph": [
            ("edges", pa.list_(pa.list_(pa.int64(), 2))),
            ("count", pa.int64()),
            ("directed", pa.bool_()),
            ("nodes", pa.string()),
            ("labels", pa.string()),
        ],
    }[layout.kind]
    fields += [(f"pose_{name}", numbers[POSE[name]]) for name in layout.pose]
    fields += [("margin", pa.float64())] * layout.margin + [("hash", pa.string())] * layout.hashed
    names = beside_names(layout)
    return pa.schema(fields + [(names[field.name], field.type) for field in layout.beside or ()])


def beside_names(layout: Layout) -> dict[str, str]:
    """What the columns of the input are called in the output: `_in` stands behind those that would be called as ours."""
    made: dict[str, str] = {}
    for field in layout.beside or ():
        name = field.name
        while name in OWN or name in made.values():
            name += "_in"
        made[field.name] = name
    return made


EXTENSIONS = ("png", "npy", "json", "positions.npy", "species.npy")
"""Files of ours in a shard; no column that stood beside the values is written under these names."""
_EXTENSION = re.compile(r"\w+(\.\w+)*", re.ASCII)
OWN = (
    "source", "image", "array", "positions", "species", "kinds", "edges", "count", "directed", "nodes", "labels",
    *(f"pose_{name}" for name in POSE), "margin", "hash",
)  # fmt: skip
"""Columns of ours."""


def _arrow(values: list[Any], kind: Any) -> Any:
    """A column; tensors by their memory, which is many times faster than number by number."""
    import pyarrow as pa

    if not values or not all(isinstance(value, Tensor) for value in values):
        listed = [value.tolist() if isinstance(value, Tensor) else value for value in values]
        return pa.array(listed, type=kind)
    lengths = torch.tensor([0] + [len(value) for value in values])
    flat = pa.array(torch.cat([value.flatten() for value in values]).numpy())
    if pa.types.is_fixed_size_list(kind.value_type):
        flat = pa.FixedSizeListArray.from_arrays(flat, kind.value_type.list_size)
    return pa.ListArray.from_arrays(pa.array(lengths.cumsum(0).to(torch.int32).numpy()), flat).cast(kind)


@final
class _Tar:
    """Samples as files whose names agree up to the first dot."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self.layout = layout
        self.file = tarfile.open(path, "w", format=tarfile.GNU_FORMAT)  # noqa: SIM115  # closed by close()

    def add(self, samples: Sequence[Sample]) -> None:
        """Some files for each sample."""
        for sample in samples:
            put: Callable[[str, bytes], None] = partial(self._put, f"{sample.place:09d}")
            told: dict[str, Any] = {"source": sample.source}
            for name, value in sample.columns.items():
                if name in ("image", "array"):
                    put("png" if name == "image" else "npy", value)
                elif name in ("positions", "species"):
                    if value is not None:
                        put(f"{name}.npy", npy(value))
                elif value is not None:
                    held = name in ("nodes", "labels", "kinds")
                    told[name] = json.loads(value) if held else value.tolist() if isinstance(value, Tensor) else value
            beside: dict[str, Any] = {}
            for name, value in sample.beside.items():
                if name in ("cls", "txt", "text", "transcript", "caption") and isinstance(value, str):
                    put(name, value.encode())
                elif isinstance(value, bytes) and name not in EXTENSIONS and _EXTENSION.fullmatch(name):
                    put(name, value)
                else:
                    beside[name] = _parsed(value) if name == "json" else value
            if beside:
                told["in"] = beside
            put("json", json.dumps(told, default=_plain).encode())

    def close(self) -> None:
        """The end of the archive."""
        self.file.close()

    def _put(self, key: str, extension: str, content: bytes) -> None:
        # No time and no owner: the same samples make the same bytes.
        info = tarfile.TarInfo(f"{key}.{extension}")
        info.size, info.mode = len(content), 0o644
        self.file.addfile(info, io.BytesIO(content))


def _parsed(value: Any) -> Any:
    """What a string of JSON says; what is no JSON as it is."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def _plain(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _whole(kinds: Any) -> Tensor | None:
    """Kinds as whole numbers; None where they are something else."""
    if isinstance(kinds, Tensor):
        return (
            kinds.to(torch.int64)
            if kinds.ndim == 1 and not kinds.is_floating_point() and not kinds.is_complex()
            else None
        )
    if kinds is None or not all(type(kind) is int for kind in kinds):
        return None
    return torch.tensor(list(kinds), dtype=torch.int64)


def _json(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return json.dumps(
            value.tolist() if isinstance(value, Tensor) else list(value), ensure_ascii=False, allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise refuse(
            "features of this form cannot be written",
            got=f"{describe(value)}: {error}",
            expected="numbers, strings, and lists of them",
            fix="numbers in place of objects",
        ) from error
