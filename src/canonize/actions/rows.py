"""Ragged batches: which sample each row and each edge belongs to, and the errors where that is not told right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Int
from torch import Tensor

from canonize._tree import describe, matched, spec_leaves
from canonize._values import unseen
from canonize.actions.fields import Edges, Index, Numbering, Offsets, Rows
from canonize.errors import refuse
from canonize.linalg.segments import most_of, segment_counts, segment_owners


@final
@dataclass(frozen=True)
class Layout:
    """Which sample each row, and each edge, of a ragged batch belongs to.

    Attributes:
        index: (rows,) int64, sample of each row.
        offsets: (samples + 1,), as declared; None where nothing is declared as `Offsets()`.
        edges: (2, edges), as declared; None where nothing is declared as `Edges()`.
    """

    index: Tensor
    offsets: Tensor | None = None
    edges: Tensor | None = None

    @property
    def owners(self) -> Tensor | None:
        """(edges,) int64, the sample of each edge, which is that of its first row; None without edges."""
        return None if self.edges is None else self.index[self.edges[0].long()]

    def numbers(self, action: Numbering) -> Tensor | None:
        """The tensor that is declared as this, or would be."""
        return self.index if isinstance(action, Index) else self.offsets if isinstance(action, Offsets) else self.edges


def index_of(action: Any, where: Layout | Tensor | None) -> Tensor | None:
    """The sample of each entry of a value that is declared as `action`; None unless it is `Rows` and that is known.

    Args:
        action: a leaf of a tree of actions.
        where: of the inputs; a tensor is the sample of each row.
    """
    if not isinstance(action, Rows) or where is None:
        return None
    if isinstance(where, Tensor):
        return None if action.edges else where
    return where.owners if action.edges else where.index


def row_index(spec: Any, value: Any) -> Int[Tensor, " rows"] | None:
    """The sample of each row, (rows,) int64, as `Index()` or `Offsets()` tell it; None where there is neither.

    Raises:
        SymmetryError: as `layout`, but for edges.
    """
    index, _ = _numbered(spec, value)
    return index


def layout(spec: Any, value: Any, *, check: bool = False) -> Layout | None:
    """Which sample each row and each edge belongs to; None where nothing is declared as `Index()` or `Offsets()`.

    Args:
        spec: tree of actions.
        value: what it mirrors.
        check: whether to look at each edge too, which `batch_of` does for all that comes from outside.

    Raises:
        SymmetryError: several fields of one kind; an index that is negative or out of order, offsets that go down, the two
            at odds; edges without an index; if `check`, edges between samples or to no row. Messages name sample, row, edge.
    """
    index, offsets = _numbered(spec, value)
    edges = _only(spec, value, Edges)
    if edges is None:
        return None if index is None else Layout(index, offsets)
    if index is None:
        raise refuse(
            "a field is declared as Edges(), but none as Index() or Offsets()",
            got=repr(spec),
            expected="a field that names the sample of each row",
            fix="Fields(pos=Rows(Point()), batch=Index(), edge_index=Edges())",
        )
    if check:
        _check_edges(edges, index)
    return Layout(index, offsets, edges)


def check_told(spec: Any, index: Int[Tensor, " rows"]) -> None:
    """Refuse an index, of which alone the number of samples is known, that leaves out a sample.

    Raises:
        SymmetryError: it names the first sample without rows.
    """
    if any(isinstance(leaf, Index) and leaf.loose for leaf in spec_leaves(spec)) or unseen(index) or not index.shape[0]:
        return
    before = torch.cat([index.new_full((1,), -1), index[:-1]])
    skips = index - before > 1
    if bool(skips.any()):
        row = int(skips.int().argmax())
        raise refuse(
            f"the index of the rows skips sample {int(before[row]) + 1}, and nothing else tells that it is there",
            got=f"row {row} names sample {int(index[row])}"
            + (f" after sample {int(before[row])}" if row else " and is the first"),
            expected="samples numbered from 0, each with rows",
            fix="declare a field that counts the samples, such as ptr=Offsets() or one with an entry for each, as Scalar(); "
            "Index(loose=True) takes samples without rows",
        )


def rows_of(index: Int[Tensor, " rows"], samples: Int[Tensor, " count"]) -> tuple[Tensor, Tensor]:
    """The rows of these samples, one sample after the other, and the place in `samples` that each of them belongs to."""
    if unseen(index):
        counts = segment_counts(index, most_of(torch.cat([samples, index]) + 1))
    else:
        size = 1 + int(max(samples.max() if samples.shape[0] else 0, index.max() if index.shape[0] else 0))
        counts = torch.bincount(index, minlength=size)
    lengths = counts[samples]
    owner = segment_owners(lengths)
    # The sorted index holds the rows of a sample side by side, from its first place on.
    shift = (counts.cumsum(0) - counts)[samples] - (lengths.cumsum(0) - lengths)
    rows = torch.arange(owner.shape[0], device=index.device) + shift[owner]
    return (rows if not unseen(index) and _in_order(index) else index.argsort(stable=True)[rows]), owner


def repeated(action: Numbering, part: Tensor, times: int, batch: int, rows: int) -> Tensor:
    """What declares the numbering of `times` copies of a batch of `batch` samples and `rows` rows, one behind the other."""
    step = batch if isinstance(action, Index) else rows
    starts = torch.arange(times, device=part.device, dtype=part.dtype)[:, None] * step
    if isinstance(action, Edges):
        return (part[:, None] + starts).flatten(1)
    if isinstance(action, Offsets):
        return torch.cat([part[:1], (part[1:] + starts).flatten()])
    return (part + starts).flatten()


@final
class Taken:
    """Some samples of a ragged batch, also several times: their rows and edges, and how these are numbered then.

    Args:
        where: of the whole batch.
        samples: (count,) int64, their numbers.

    Attributes:
        rows, edges: places of their rows and edges in the whole batch, one sample after the other; no edges without any.
    """

    def __init__(self, where: Layout, samples: Tensor) -> None:
        self.where, self.count = where, samples.shape[0]
        samples = samples.to(where.index.device)
        self.rows, self.index = rows_of(where.index, samples)
        self.edges = torch.zeros(0, dtype=torch.int64)
        owners = where.owners
        if owners is not None:
            self.edges, self.owners = rows_of(owners, samples)

    def numbers(self, action: Numbering) -> Tensor:
        """What declares their numbering."""
        if isinstance(action, Index):
            return self.index
        counts = segment_counts(self.index, self.count)
        ends = counts.cumsum(0)
        if isinstance(action, Offsets):
            return torch.cat([ends.new_zeros(1), ends])
        assert self.where.edges is not None
        # An edge keeps to the same two rows of its sample, counted from the first row of that sample.
        index, place = self.where.index, torch.arange(self.where.index.shape[0], device=ends.device)
        if unseen(index) or not _in_order(index):
            place = torch.empty_like(index).index_copy(0, index.argsort(stable=True), place)
        sizes = segment_counts(index, most_of(index + 1)) if unseen(index) else torch.bincount(index)
        rank = place - (sizes.cumsum(0) - sizes)[index]
        return (ends - counts)[self.owners] + rank[self.where.edges[:, self.edges].long()]


def _in_order(index: Tensor) -> bool:
    return bool((index[1:] >= index[:-1]).all())


def _only(spec: Any, value: Any, kind: type[Numbering]) -> Tensor | None:
    """The one tensor that is declared so, or None."""
    if not any(isinstance(leaf, kind) for leaf in spec_leaves(spec)):
        return None
    found = [(part, path) for action, part, path in matched(spec, value) if isinstance(action, kind)]
    name = {Index: "index", Offsets: "offsets", Edges: "edges"}[kind]
    if len(found) != 1:
        raise refuse(
            f"rows need one {'field' if kind is Edges else 'index'}" + (" of edges" if kind is Edges else ""),
            got=f"{len(found)} fields declared as {kind.__name__}()",
            expected="one",
            fix="keep one of them",
        )
    part, path = found[0]
    at = path and " at " + path
    whole = isinstance(part, Tensor) and part.dtype in (torch.int64, torch.int32)
    if kind is Edges:
        if not whole or part.ndim != 2 or part.shape[0] != 2:
            raise refuse(
                f"the edges{at} are not two rows of whole numbers",
                got=describe(part),
                expected="an int64 tensor (2, edges) with the places of the rows that each edge joins, from 0",
                fix="edges.long(), transposed where the two places stand in the last axis",
            )
    elif not whole or part.ndim != 1:
        raise refuse(
            f"the {name} of the rows{at} is not a vector of whole numbers",
            got=describe(part),
            expected="an int64 tensor (rows,) that names the sample of each row, from 0"
            if kind is Index
            else "an int64 tensor (samples + 1,) with the place where the rows of each sample begin, and the end",
            fix="index.long(), one entry per row",
        )
    return part  # type: ignore[no-any-return]  # a tensor, which was just seen


def _numbered(spec: Any, value: Any) -> tuple[Tensor | None, Tensor | None]:
    """The index of the rows and the offsets, each None where it is not told; the first follows from the second."""
    index, offsets = _only(spec, value, Index), _only(spec, value, Offsets)
    if index is not None:
        index = index.long()
        _check_order(index, any(isinstance(leaf, Index) and leaf.loose for leaf in spec_leaves(spec)))
    if offsets is not None:
        if index is not None and index.device != offsets.device:
            raise refuse(
                "the index of the rows and their offsets are on different devices",
                got=f"index on {index.device}, offsets on {offsets.device}",
                expected="one device",
                fix=f"move one of them, for example offsets.to({str(index.device)!r})",
            )
        if unseen(offsets):
            # How many rows there are is read off shapes, which are known, unlike values.
            return (_counted(spec, value, offsets.long()) if index is None else index), offsets
        derived = _from(offsets.long())
        if index is not None:
            _check_agree(index, derived, offsets.shape[0] - 1)
        index = derived
    return index, offsets


def _check_order(index: Tensor, loose: bool) -> None:
    if unseen(index) or not index.shape[0]:
        return
    falls = index[1:] < index[:-1]
    wrong = index < 0
    if bool(wrong.any()):
        row = int(wrong.int().argmax())
        raise refuse(
            "the index of the rows is negative",
            got=f"sample {int(index[row])} for row {row}",
            expected="samples from 0",
            fix="check how the batch was built",
        )
    if loose or not bool(falls.any()):
        return
    row = 1 + int(falls.int().argmax())
    sample = int(index[row])
    again = bool((index[:row] == sample).any())
    raise refuse(
        f"the index of the rows names sample {sample} {'again ' if again else ''}after sample {int(index[row - 1])}",
        got=f"row {row} out of order",
        expected="all rows of a sample side by side, samples in the order 0, 1, 2, ...",
        fix="sort the rows: order = index.argsort(stable=True); or declare Index(loose=True) where this order is meant",
    )


def _from(offsets: Tensor) -> Tensor:
    """The sample of each row."""
    samples = torch.arange(max(offsets.shape[0] - 1, 0), device=offsets.device)
    if offsets.device.type == "meta":
        return samples
    lengths = offsets.diff()
    if not offsets.shape[0] or int(offsets[0]) != 0:
        raise refuse(
            "the offsets of the rows do not begin with 0",
            got=f"{int(offsets[0])} for sample 0" if offsets.shape[0] else "no entries",
            expected="0, and then the end of each sample's rows",
            fix="torch.cat([counts.new_zeros(1), counts.cumsum(0)]), with the number of rows of each sample",
        )
    if bool((lengths < 0).any()):
        sample = int((lengths < 0).int().argmax())
        raise refuse(
            f"the offsets of the rows go down at sample {sample}",
            got=f"from {int(offsets[sample])} to {int(offsets[sample + 1])}",
            expected="places that never go down",
            fix="torch.cat([counts.new_zeros(1), counts.cumsum(0)]), with the number of rows of each sample",
        )
    return samples.repeat_interleave(lengths)


def _counted(spec: Any, value: Any, offsets: Tensor) -> Tensor:
    """The sample of each row, (rows,), from offsets and the number of rows of the first field that has them."""
    for action, part, _ in matched(spec, value):
        if isinstance(action, Rows) and not action.edges:
            steps = offsets.new_zeros(part.shape[0] + 1).index_add(0, offsets[1:-1], torch.ones_like(offsets[1:-1]))
            return steps.cumsum(0)[:-1]
    return _from(offsets)


def _check_agree(index: Tensor, derived: Tensor, samples: int) -> None:
    """Refuse an index that says something else than the offsets do."""
    if index.device.type == "meta" or torch.equal(index, derived):
        return
    told, meant = (
        torch.bincount(one, minlength=max(samples, 1 + int(index.max()) if index.shape[0] else 0))
        for one in (index, derived)
    )
    if torch.equal(told, meant):
        row = int((index != derived).int().argmax())
        sample, got = int(derived[row]), f"sample {int(index[row])} for row {row} by the index"
        wanted = f"sample {sample}, as the offsets say"
    else:
        sample = int((told != meant).int().argmax())
        got = f"{int(told[sample])} rows by the index"
        wanted = (
            f"{int(meant[sample])} rows by the offsets" if sample < samples else f"{samples} samples by the offsets"
        )
    raise refuse(
        f"the index of the rows and their offsets disagree on sample {sample}",
        got=got,
        expected=wanted,
        fix="derive one from the other, or declare one of them only",
    )


def _check_edges(edges: Tensor, index: Tensor) -> None:
    """Refuse edges that do not join two rows of one sample."""
    if edges.device != index.device:
        raise refuse(
            "the edges and the index of the rows are on different devices",
            got=f"edges on {edges.device}, index on {index.device}",
            expected="one device",
            fix=f"move one of them, for example edges.to({str(index.device)!r})",
        )
    if unseen(edges) or not edges.shape[1]:
        return
    low, high = edges.aminmax()
    if int(low) < 0 or int(high) >= index.shape[0]:
        nowhere = ((edges < 0) | (edges >= index.shape[0])).any(0)
        edge = int(nowhere.int().argmax())
        raise refuse(
            f"edge {edge} points to a row that does not exist",
            got=f"rows {edges[:, edge].tolist()}",
            expected=f"rows 0 to {index.shape[0] - 1}" if index.shape[0] else "no edges, since there are no rows",
            fix="count rows through the whole batch: the edges of a sample begin at its first row",
        )
    first, second = index.take(edges.long()).unbind(0)
    if not torch.equal(first, second):
        edge = int((first != second).int().argmax())
        raise refuse(
            f"edge {edge} joins two samples",
            got=f"rows {edges[:, edge].tolist()} of samples {int(first[edge])} and {int(second[edge])}",
            expected="edges within a sample",
            fix="count rows through the whole batch: the edges of a sample begin at its first row",
        )
