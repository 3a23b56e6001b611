"""Rows of Parquet and Arrow files, read a few at a time: images, arrays, clouds, graphs and SMILES among their columns."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import Any, final, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from canonize.cli.items import bytes_array, bytes_picture, smiles_graph
from canonize.cli.listing import Item
from canonize.cli.reading import check_names, check_nodes, readable
from canonize.errors import SymmetryError, refuse
from canonize.forms import Cloud, Graph

AT_ONCE = 256
"""Rows that are decoded together."""
ROWS = 4096
"""Rows for each byte of a file: one that claims more is damaged, and would be listed for ever."""
EDGES, POINTS = ("edges", "edge_index"), ("positions", "pos", "coordinates", "points")
IMAGES, ARRAYS = ("image", "img", "jpg", "jpeg", "png"), ("array", "x", "inputs", "data", "values", "adjacency")
SPECIES, KINDS = ("species", "z", "numbers"), ("kinds",)
NODES, LABELS, COUNT, DIRECTED = (
    ("nodes", "node_features"),
    ("labels", "edge_attr"),
    ("count", "num_nodes"),
    ("directed",),
)


@final
@dataclass(frozen=True)
class Plan:
    """Which columns make the value of a row.

    Attributes:
        kind: "edges", "positions", "smiles", "bytes" or "array".
        main: the column that holds it.
        rest: columns that belong to it, by what they are.
    """

    kind: str
    main: str
    rest: tuple[tuple[str, str], ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of the value."""
        return (self.main, *(name for _, name in self.rest))


def plan_of(schema: pa.Schema, column: str | None, where: str) -> Plan:
    """Which columns of a table make a value, by their names and types; `column` names the one that holds it.

    Raises:
        SymmetryError: no such column, none of a known name or type, or two of one name.
    """
    names = list(schema.names)
    check_names(names, where, fix="table.rename_columns([...]) before it is written, or drop one of them")
    if column is not None and column not in names:
        raise refuse(
            "the table has no such column",
            got=f"{where} with {', '.join(names)[:200]}",
            expected=f"a column {column!r}",
            fix="--column NAME",
        )
    known = (*EDGES, *POINTS, "smiles", "SMILES", *IMAGES, *ARRAYS)
    main = column if column is not None else next((name for name in known if name in names), None)
    if main is None:
        raise refuse(
            "the table does not say which column holds the values",
            got=f"{where} with {', '.join(names)[:200] or 'no columns'}",
            expected=f"one of {', '.join(dict.fromkeys(known))}",
            fix="--column NAME",
        )
    found = schema.field(main).type

    def rest(**several: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        told = ((what, next((name for name in among if name in names), None)) for what, among in several.items())
        return tuple((what, name) for what, name in told if name is not None)

    if main in EDGES:
        return Plan("edges", main, rest(nodes=NODES, labels=LABELS, count=COUNT, directed=DIRECTED))
    if main in POINTS:
        return Plan("positions", main, rest(species=SPECIES, kinds=KINDS))
    if pa.types.is_string(found) or pa.types.is_large_string(found):
        return Plan("smiles", main)
    if pa.types.is_binary(found) or pa.types.is_large_binary(found) or pa.types.is_struct(found):
        return Plan("bytes", main)
    if _is_list(found) or isinstance(found, pa.FixedShapeTensorType):
        return Plan("array", main)
    raise refuse(
        "a column of this type holds no values",
        got=f"{main} of {found} in {where}",
        expected="bytes of images, lists of numbers, or strings",
        fix="--column NAME",
    )


@final
@dataclass(frozen=True)
class Rows(Sequence[Item]):
    """The rows of one file as items; nothing is read before an item is.

    Attributes:
        file: where they are.
        name: of the file, relative to the folder.
        stamp: of the file.
        total: how many.
        plan: what makes a value.
        stereo: whether stereochemistry counts in molecules.
    """

    file: Path
    name: str
    stamp: tuple[int, int]
    total: int
    plan: Plan
    stereo: bool

    def __len__(self) -> int:
        return self.total

    def holds(self) -> str | None:
        """What the values are, as far as columns tell: "images", "graphs" or "points"; None for arrays."""
        if self.plan.kind == "bytes":
            return "images" if self.plan.main in IMAGES else None
        return {"edges": "graphs", "smiles": "graphs", "positions": "points"}.get(self.plan.kind)

    @overload
    def __getitem__(self, place: int) -> Item: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Item]: ...

    def __getitem__(self, place: int | slice) -> Item | Sequence[Item]:
        if isinstance(place, slice):
            return [self[each] for each in range(self.total)[place]]
        return Item(f"{self.name}[{place}]", self.stamp, partial(_value, self, place), partial(_beside, self, place))


def rows_of(file: Path, name: str, stamp: tuple[int, int], *, column: str | None, stereo: bool) -> Rows:
    """The rows of a Parquet or Arrow file.

    Raises:
        SymmetryError: a damaged file, or one that does not say which column holds the values.
    """
    with readable(
        "the table cannot be read", name, expected="an intact file of Parquet or Arrow", fix="write it again"
    ):
        opened = _opened(file, stamp)
        return Rows(file, name, stamp, opened.count, plan_of(opened.schema, column, name), stereo)


def schema_of(rows: Rows) -> pa.Schema:
    """The columns that stand beside the values, with their types."""
    schema = _opened(rows.file, rows.stamp).schema
    beside = [field for field in schema if field.name not in rows.plan.columns or rows.plan.kind == "smiles"]
    return pa.schema(beside)


@lru_cache(8)
def _opened(file: Path, stamp: tuple[int, int]) -> _Opened:
    try:
        return _Opened(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise refuse(
            "the table cannot be read",
            got=f"{file.name}: {error}",
            expected="an intact file of Parquet or Arrow",
            fix="write it again",
        ) from error


@final
class _Opened:
    """An open file with a few rows of it at hand: those after the last ones asked for come without going back."""

    def __init__(self, file: Path) -> None:
        self.parquet = None if file.suffix.lower() in (".arrow", ".feather", ".ipc") else pq.ParquetFile(file)
        if self.parquet is None:
            # Mapped, not read: only what is looked at comes into memory.
            mapped = pa.memory_map(str(file))
            try:
                opened = pa.ipc.open_file(mapped)
                self.parts = [opened.get_batch(number) for number in range(opened.num_record_batches)]
            except pa.ArrowInvalid:
                mapped.seek(0)
                opened = pa.ipc.open_stream(mapped)
                self.parts = list(opened)
            self.schema = opened.schema
            sizes = [len(part) for part in self.parts]
        else:
            self.schema = self.parquet.schema_arrow
            told = self.parquet.metadata
            sizes = [told.row_group(number).num_rows for number in range(told.num_row_groups)]
        if min(sizes, default=0) < 0 or sum(sizes) > ROWS * file.stat().st_size:
            raise ValueError(f"{sum(sizes):,} rows in {file.stat().st_size:,} bytes")
        self.starts = list(accumulate(sizes, initial=0))
        self.count = self.starts[-1]
        self.group, self.start = -1, 0
        self.rows: Any = ()
        self.coming: Iterator[Any] = iter(())

    def row(self, place: int) -> dict[str, Any]:
        """The scalars of a row."""
        group = bisect_right(self.starts, place) - 1
        if group != self.group or place < self.start:
            self.group, self.start, self.rows = group, self.starts[group], ()
            self.coming = (
                iter([self.parts[group]]) if self.parquet is None else self.parquet.iter_batches(AT_ONCE, [group])
            )
        while place >= self.start + len(self.rows):
            self.start += len(self.rows)
            self.rows = next(self.coming)
            # What is mapped is taken as it stands: an offset that points elsewhere would end the process.
            self.rows.validate(full=True)
        return {name: self.rows.column(name)[place - self.start] for name in self.rows.schema.names}


def _row(rows: Rows, place: int) -> dict[str, Any]:
    try:
        with _readable(rows, place):
            return _opened(rows.file, rows.stamp).row(place)
    except SymmetryError:
        # What is left of a cursor that stopped half-way is of no use.
        _opened.cache_clear()
        raise


def _readable(rows: Rows, place: int) -> Any:
    where = f"{rows.name}[{place}]"
    return readable("a row of a table cannot be read", where, expected="an intact one", fix="write it again")


def _beside(rows: Rows, place: int) -> dict[str, Any]:
    kept = set(schema_of(rows).names)
    with _readable(rows, place):
        return {name: scalar.as_py() for name, scalar in _row(rows, place).items() if name in kept}


def _value(rows: Rows, place: int) -> Any:
    with _readable(rows, place):
        return _made(rows, place)


def _made(rows: Rows, place: int) -> Any:
    found, plan = _row(rows, place), rows.plan
    main = found[plan.main]
    if not main.is_valid:
        raise refuse(
            "the value is missing",
            got=f"null in column {plan.main}",
            expected="a value in each row",
            fix="drop the row",
        )
    rest = {what: found[name] for what, name in plan.rest if found[name].is_valid}
    if plan.kind == "edges":
        return _graph(main, rest, joined=plan.main == "edge_index")
    if plan.kind == "positions":
        return _cloud(main, rest)
    if plan.kind == "smiles":
        return smiles_graph(main.as_py(), rows.stereo)
    if plan.kind == "bytes":
        held = main.as_py()
        return decoded(held["bytes"] if isinstance(held, dict) else held)
    values = torch.from_numpy(nested(main))
    return Graph.dense(values) if plan.main == "adjacency" else values


def decoded(content: bytes | None) -> torch.Tensor:
    """The value of bytes: an image, or an array of NumPy.

    Raises:
        SymmetryError: none, or a damaged one.
    """
    if not content:
        raise refuse("the value is missing", got="no bytes", expected="an image or an array", fix="drop the row")
    if content.startswith(b"\x93NUMPY"):
        return torch.from_numpy(bytes_array(content))
    return bytes_picture(content)


def nested(scalar: Any) -> np.ndarray[Any, Any]:
    """The array of a cell of lists of lists of numbers, or of a tensor type of Arrow.

    Raises:
        SymmetryError: lists of different lengths side by side, missing numbers.
    """
    if isinstance(scalar.type, pa.FixedShapeTensorType):
        flat = scalar.value.values.to_numpy(zero_copy_only=False)
        return np.array(flat).reshape(tuple(scalar.type.shape))
    values, shape = scalar.values, [len(scalar.values)]
    while _is_list(values.type):
        lengths = pc.list_value_length(values).unique()
        if len(lengths) > 1 or values.null_count:
            raise refuse(
                "the lists of a cell differ in length",
                got=f"lengths {lengths.to_pylist()[:8]}",
                expected="an array: lists of one length on each level",
                fix="pad them, or save each as bytes of np.save",
            )
        shape.append(lengths[0].as_py() if len(lengths) else getattr(values.type, "list_size", 0))
        values = values.flatten()
    if values.null_count or not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise refuse(
            "a cell holds no array of numbers",
            got=f"{values.null_count} missing of {len(values)} {values.type}",
            expected="numbers",
            fix="drop the row",
        )
    return np.array(values.to_numpy(zero_copy_only=False)).reshape(shape)


def _is_list(found: pa.DataType) -> bool:
    return bool(pa.types.is_list(found) or pa.types.is_large_list(found) or pa.types.is_fixed_size_list(found))


def _graph(main: Any, rest: dict[str, Any], *, joined: bool) -> Graph:
    edges = torch.from_numpy(nested(main)).to(torch.int64)
    edges = edges.reshape(2, -1) if joined else edges.reshape(-1, 2).T
    count = rest["count"].as_py() if "count" in rest else None
    directed = rest["directed"].as_py() if "directed" in rest else joined
    check_nodes(edges, count)
    nodes, labels = (_features(rest.get(what)) for what in ("nodes", "labels"))
    return Graph(edges, nodes, labels, count=count, directed=directed)


def _features(scalar: Any) -> Any:
    if scalar is None:
        return None
    held = scalar.as_py()
    return json.loads(held) if isinstance(held, str) else held


def _cloud(main: Any, rest: dict[str, Any]) -> Any:
    points = torch.from_numpy(nested(main))
    if "kinds" in rest:
        return Cloud(points, _features(rest["kinds"]))
    return Cloud(points, torch.from_numpy(nested(rest["species"]))) if "species" in rest else points
