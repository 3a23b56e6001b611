"""Moving whole inputs and outputs: the actions of a tree, applied to the value that it mirrors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from canonize._tree import describe, map_tensors, rebuild, spec_leaves, tensors, to_tensors, unnamed, walk
from canonize.actions.base import lossless
from canonize.actions.each import Each
from canonize.actions.fields import Index, Rows
from canonize.errors import refuse, within


def move(spec: Any, g: Any, value: Any, *, index: Tensor | None = None) -> Any:
    """g · value, leaf by leaf, for a tree of actions and the value that it mirrors.

    Args:
        spec: tree of actions; `None` leaves a value alone.
        g: elements (batch, *element).
        value: the value; it is not changed. NumPy arrays are taken and give tensors back.
        index: sample of each row for `Rows`, (rows,) int64; found in the value where it holds an `Index()`.

    Raises:
        SymmetryError: a value that does not fit its action; the message names the place in the tree.
    """
    value, _ = to_tensors(value)
    index = row_index(spec, value) if index is None else index

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if action is None or isinstance(action, Index):
            return part
        with within("the value{}, declared as {!r}", path and " at " + path, action):
            if isinstance(action, Rows):
                return action.action(_of_rows(g, index, part, action), part)
            return action(g, part)

    return walk(leaf, spec, value)


def lossless_tree(
    spec: Any, g: Any, value: Any, *, index: Tensor | None = None, ask: Callable[..., Tensor] = lossless
) -> Tensor:
    """For each element whether every action of the tree moves `value` without loss, (batch,) bool.

    Arguments as for `move`; `ask` is `lossless`, or `bitwise` for the stricter question.
    """
    first = tensors(g)[0]
    told = torch.ones(first.shape[0], dtype=torch.bool, device=first.device)
    index = row_index(spec, value) if index is None else index

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        nonlocal told
        if isinstance(action, Rows):
            each = ask(action.action, _of_rows(g, index, part, action), part).expand(len(part))
            lost = torch.zeros_like(told).index_put((index,), ~each, accumulate=True)
            told = told & ~lost
        elif isinstance(action, Each) or (
            action is not None and not isinstance(action, Index) and isinstance(part, Tensor)
        ):
            told = told & ask(action, g, part)
        return part

    walk(leaf, spec, value)
    return told


def row_index(spec: Any, value: Any) -> Int[Tensor, " rows"] | None:
    """The tensor that is declared as `Index()`, or None where there is none.

    Raises:
        SymmetryError: several of them, or one that is not a vector of whole numbers from 0.
    """
    found: list[Tensor] = []

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if isinstance(action, Index):
            if not isinstance(part, Tensor) or part.ndim != 1 or part.dtype not in (torch.int64, torch.int32):
                raise refuse(
                    f"the index of the rows{path and ' at ' + path} is not a vector of whole numbers",
                    got=describe(part),
                    expected="an int64 tensor (rows,) that names the sample of each row, from 0",
                    fix="index.long(), one entry per row",
                )
            found.append(part.long())
        return part

    if not any(isinstance(action, Index) for action in spec_leaves(spec)):
        return None
    walk(leaf, spec, value)
    if len(found) != 1:
        raise refuse(
            "rows need one index",
            got=f"{len(found)} fields declared as Index()",
            expected="one",
            fix="keep one of them",
        )
    if found[0].numel() and int(found[0].min()) < 0:
        raise refuse(
            "the index of the rows is negative",
            got=f"{int(found[0].min())}",
            expected="samples from 0",
            fix="check how the batch was built",
        )
    return found[0]


def batch_of(spec: Any, value: Any) -> tuple[int, torch.dtype, torch.device]:
    """How many samples a value holds, and the floating dtype and the device that its group elements should have.

    The dtype is float64 where any declared leaf is, float32 otherwise: lower precisions compute their elements in float32.

    Raises:
        SymmetryError: leaves that disagree on the batch or on the device, a leaf without a batch axis, nothing declared.
    """
    sizes: dict[str, int] = {}
    devices: dict[str, torch.device] = {}
    double = False
    index = row_index(spec, value)

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        nonlocal double
        if action is None or isinstance(action, Index):
            return part
        name = path or "the input"
        if isinstance(action, Each):
            action.check(part)
            sizes[name] = len(part)
            for place, tensor in action.tensors(part):
                devices[name + place] = tensor.device
                double = double or tensor.dtype in (torch.float64, torch.complex128)
            return part
        if not isinstance(part, Tensor):
            raise refuse(
                f"{name} is declared as {action!r} but is no tensor",
                got=describe(part),
                expected="a tensor or a NumPy array, batch first",
                fix="convert it, or declare None for what has no batch and does not move",
            )
        if part.ndim == 0:
            raise refuse(
                f"{name} has no batch axis",
                got=describe(part),
                expected="the batch first",
                fix="x[None], or declare None",
            )
        devices[name] = part.device
        double = double or part.dtype in (torch.float64, torch.complex128)
        if isinstance(action, Rows):
            if index is None:
                raise refuse(
                    f"{name} is declared as {action!r}, but no field is declared as Index()",
                    got=describe(part),
                    expected="a field that names the sample of each row",
                    fix="Fields(pos=Rows(Point()), batch=Index())",
                )
            if len(index) != len(part):
                raise refuse(
                    f"{name} and the index of its rows differ in length",
                    got=f"{len(part)} rows, {len(index)} entries in the index",
                    expected="one entry for each row",
                    fix="check how the batch was built",
                )
            return part
        sizes[name] = part.shape[0]
        return part

    walk(leaf, spec, value)
    if index is not None and not sizes:
        sizes["the index"] = int(index.max()) + 1 if len(index) else 0
    if len(set(sizes.values())) > 1 or len(set(devices.values())) > 1:
        raise refuse(
            "the parts of the input disagree",
            got=", ".join(
                [f"{name}: {size} samples" for name, size in sizes.items()]
                + [f"{name} on {device}" for name, device in devices.items()]
            ),
            expected="one batch size and one device",
            fix="declare None for what has no batch axis, and Rows(...) for rows of many samples",
        )
    if not sizes:
        raise refuse(
            "nothing in the input is declared to belong to a sample",
            got=repr(spec),
            expected="at least one action",
            fix="declare how the input moves, for example Image() or Fields(pos=Point())",
        )
    size = next(iter(sizes.values()))
    if index is not None and len(index) and int(index.max()) >= size:
        raise refuse(
            "the index of the rows names a sample that does not exist",
            got=f"sample {int(index.max())} of {size}",
            expected=f"0 to {size - 1}",
            fix="check how the batch was built",
        )
    device = next(iter(devices.values())) if devices else torch.device("cpu")
    return size, torch.float64 if double else torch.float32, device


def repeat(
    spec: Any, value: Any, times: int, *, index: Tensor | None = None, batch: int = 0, way_out: str = "leave chunk=1"
) -> Any:
    """The value `times` times, one copy behind the other along the batch, so that several poses fit into one call.

    Raises:
        SymmetryError: a tensor that is declared None or not at all, which has no batch axis to repeat.
    """
    if times == 1:
        return value
    _refuse_unnamed(spec, value, f"several poses cannot share a call; {way_out}")

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if isinstance(action, Index):
            offsets = torch.arange(times, device=part.device, dtype=part.dtype) * batch
            return (part + offsets[:, None]).flatten()
        if action is None:
            if isinstance(part, Tensor) and part.ndim:
                raise refuse(
                    f"several poses cannot share a call: the tensor{path and ' at ' + path} is declared None",
                    got=describe(part),
                    expected="Scalar() for a value that belongs to each sample",
                    fix=f"declare Scalar(), or {way_out}",
                )
            return part
        if isinstance(action, Each):
            return rebuild(part, list(part) * times)
        return part.expand(times, *part.shape).flatten(0, 1)

    return walk(leaf, spec, value)


def separable(spec: Any, value: Any) -> bool:
    """Whether every tensor says which samples its entries belong to, so that some samples can be taken without the others."""
    found = any(part.ndim for _, part in unnamed(spec, value))

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        nonlocal found
        found = found or (action is None and any(tensor.ndim for tensor in tensors(part)))
        return part

    walk(leaf, spec, value)
    return not found


def _refuse_unnamed(spec: Any, value: Any, why: str) -> None:
    """Refuse tensors that a `Fields` leaves out: whether they have a batch axis, nobody has said."""
    for path, part in unnamed(spec, value):
        if part.ndim:
            raise refuse(
                f"the tensor at {path} is not declared, and samples have to be told apart here",
                got=describe(part),
                expected="an action for every tensor that belongs to a sample",
                fix=f"declare it: Scalar() where it belongs to each sample, Rows(Scalar()) where to each row ({why})",
            )


def take(spec: Any, value: Any, samples: Tensor, *, index: Tensor | None = None) -> Any:
    """The samples with these numbers, (count,) int64, also several times; rows follow their sample and are numbered anew."""
    index = row_index(spec, value) if index is None else index
    if len(samples) == batch_of(spec, value)[0] and torch.equal(samples.cpu(), torch.arange(len(samples))):
        return value
    _refuse_unnamed(spec, value, "or take all samples in one batch")
    rows, renumbered = (None, None) if index is None else rows_of(index, samples.to(index.device))

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if isinstance(action, Index):
            assert renumbered is not None
            return renumbered.to(part.dtype)
        if isinstance(action, Rows):
            return part[rows]
        if isinstance(action, Each):
            return rebuild(part, [part[sample] for sample in samples.tolist()])
        if action is None or not isinstance(part, Tensor):
            return part
        return part[samples.to(part.device)]

    return walk(leaf, spec, value)


def rows_of(index: Int[Tensor, " rows"], samples: Int[Tensor, " count"]) -> tuple[Tensor, Tensor]:
    """The rows of these samples, one sample after the other, and the place in `samples` that each of them belongs to."""
    size = 1 + int(max(samples.max() if len(samples) else 0, index.max() if len(index) else 0))
    counts = torch.bincount(index, minlength=size)
    lengths = counts[samples]
    owner = torch.arange(len(samples), device=index.device).repeat_interleave(lengths)
    # The sorted index holds the rows of a sample side by side, from its first place on.
    shift = (counts.cumsum(0) - counts)[samples] - (lengths.cumsum(0) - lengths)
    return index.argsort(stable=True)[torch.arange(len(owner), device=index.device) + shift[owner]], owner


def batch_first(action: Any, part: Any, path: str, index: Tensor | None, count: int) -> Any:
    """An output as it came, refused unless it has one entry for each of `count` samples, or for each row of `index`.

    Raises:
        SymmetryError: no tensor (no list where `Each` is declared), or another first axis.
    """
    if isinstance(action, Each):
        with within("an output{}", path and " at " + path):
            return action.check(part, count)
    if not isinstance(part, Tensor):
        raise refuse(
            f"an output{path and ' at ' + path} is no tensor",
            got=f"{describe(part)}, declared {action!r}",
            expected="a tensor or a NumPy array, batch first",
            fix="make the tree of outputs mirror what the model returns, for example (Scalar(), None); "
            "None leaves a value alone",
        )
    wanted = len(index) if isinstance(action, Rows) and index is not None else count
    if part.ndim == 0 or part.shape[0] != wanted:
        raise refuse(
            f"an output{path and ' at ' + path} does not have the batch first",
            got=f"{describe(part)}, declared {action!r}",
            expected=f"first axis {wanted}",
            fix="let the model keep one output for each sample; declare None for what has no batch; samples without "
            "rows at the end are counted only where another input has one entry for each sample",
        )
    return part


def at(g: Any, position: Any) -> Any:
    """Elements `g[position]` along the first axis, for tensors and for tuples of them."""
    return map_tensors(lambda t: t[position], g)


def _of_rows(g: Any, index: Tensor | None, rows: Any, action: Any) -> Any:
    if index is None or not isinstance(rows, Tensor) or rows.ndim == 0 or len(rows) != len(index):
        raise refuse(
            f"{action!r} needs one entry of the index for each row",
            got=f"{describe(rows)}, index {'missing' if index is None else f'of {len(index)}'}",
            expected="a tensor (rows, ...) and an input declared as Index()",
            fix="Fields(pos=Rows(Point()), batch=Index()) in the inputs; outputs use the same index",
        )
    return at(g, index)
