"""Moving whole inputs and outputs: the actions of a tree, applied to the value that it mirrors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from canonize._tree import describe, map_tensors, matched, rebuild, tensors, to_tensors, unnamed, walk
from canonize._values import unseen
from canonize.actions.base import lossless
from canonize.actions.each import Each
from canonize.actions.fields import Edges, Numbering, Rows
from canonize.actions.images import axes_of
from canonize.actions.relabel import ask_rows, over_rows, renumbered
from canonize.actions.rows import (
    Layout,
    Taken,
    check_told,
    index_of,
    layout,
    repeated,
    row_index,
    rows_of,
)
from canonize.actions.sparse import is_sparse, taken_entries
from canonize.errors import refuse, within

__all__ = [
    "at",
    "batch_first",
    "batch_of",
    "lossless_tree",
    "move",
    "repeat",
    "row_index",
    "rows_of",
    "separable",
    "take",
]


def move(spec: Any, g: Any, value: Any, *, index: Layout | Tensor | None = None) -> Any:
    """g · value, leaf by leaf, for a tree of actions and the value that it mirrors.

    Args:
        spec: tree of actions; `None` leaves a value alone.
        g: elements (batch, *element).
        value: the value; it is not changed. NumPy arrays are taken and give tensors back.
        index: sample of each row for `Rows`, (rows,) int64, or the `layout` of the inputs; found in the value where it
            holds an `Index()` or `Offsets()`.

    Raises:
        SymmetryError: a value that does not fit its action; the message names the place in the tree.
    """
    value, _ = to_tensors(value)
    index = layout(spec, value) if index is None else index

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if action is None or (isinstance(action, Numbering) and not isinstance(action, Edges)):
            return part
        with within("the value{}, declared as {!r}", path and " at " + path, action):
            if isinstance(action, Edges):
                return renumbered(action, g, part, index)
            if isinstance(action, Rows):
                return over_rows(action.action, g, part, _owners(index, part, action))
            return action(g, part)

    return walk(leaf, spec, value)


def lossless_tree(
    spec: Any,
    g: Any,
    value: Any,
    *,
    index: Layout | Tensor | None = None,
    ask: Callable[..., Tensor] = lossless,
) -> Tensor:
    """For each element whether every action of the tree moves `value` without loss, (batch,) bool.

    Arguments as for `move`; `ask` is `lossless`, or `bitwise` for the stricter question.
    """
    first = tensors(g)[0]
    told = torch.ones(first.shape[0], dtype=torch.bool, device=first.device)
    index = layout(spec, value) if index is None else index
    for action, part, _ in matched(spec, value):
        if isinstance(action, Rows):
            owners = _owners(index, part, action)
            each = ask_rows(ask, action.action, g, part, owners)
            lost = torch.zeros_like(told).index_put((owners,), ~each, accumulate=True)
            told = told & ~lost
        elif isinstance(action, Each) or (
            action is not None and not isinstance(action, Numbering) and isinstance(part, Tensor)
        ):
            told = told & ask(action, g, part)
    return told


def batch_of(spec: Any, value: Any) -> tuple[int, torch.dtype, torch.device]:
    """How many samples a value holds, and the floating dtype and the device that its group elements should have.

    The dtype is float64 where any declared leaf is, float32 otherwise: lower precisions compute their elements in float32.

    Raises:
        SymmetryError: leaves that disagree on the batch or on the device, a leaf without a batch axis, nothing declared.
    """
    sizes: dict[str, int] = {}
    devices: dict[str, torch.device] = {}
    double = False
    where = layout(spec, value, check=True)
    for action, part, path in matched(spec, value):
        name = path or "the input"
        if isinstance(action, Each):
            action.check(part)
            sizes[name] = len(part)
            for place, tensor in action.tensors(part):
                devices[name + place] = tensor.device
                double = double or tensor.dtype in (torch.float64, torch.complex128)
        elif action is not None:
            part = _tensor(action, part, name)
            devices[name] = part.device
            double = double or part.dtype in (torch.float64, torch.complex128)
            if isinstance(action, Rows):
                _check_rows(action, part, name, where)
            elif not isinstance(action, Numbering):
                sizes[name] = part.shape[0]
    if where is not None and where.offsets is not None:
        sizes["the offsets"] = where.offsets.shape[0] - 1
    index = None if where is None else where.index
    if index is not None and not sizes and len(set(devices.values())) < 2:
        check_told(spec, index)
        sizes["the index"] = int(index.max()) + 1 if index.shape[0] else 0
    counts = list(sizes.values())
    if any(count != counts[0] for count in counts) or len(set(devices.values())) > 1:
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
    if index is not None and not unseen(index) and index.shape[0] and int(index.max()) >= size:
        raise refuse(
            "the index of the rows names a sample that does not exist",
            got=f"sample {int(index.max())} of {size}, for row {int(index.argmax())}",
            expected=f"0 to {size - 1}" if size else "no rows, since there are no samples",
            fix="check how the batch was built",
        )
    device = next(iter(devices.values())) if devices else torch.device("cpu")
    return size, torch.float64 if double else torch.float32, device


def _tensor(action: Any, part: Any, name: str) -> Tensor:
    if not isinstance(part, Tensor):
        raise refuse(
            f"{name} is declared as {action!r} but is no tensor",
            got=describe(part),
            expected="a tensor or a NumPy array, batch first",
            fix="convert it, or declare None for what has no batch and does not move",
        )
    if part.ndim == 0:
        raise refuse(
            f"{name} has no batch axis", got=describe(part), expected="the batch first", fix="x[None], or declare None"
        )
    return part


def _check_rows(action: Rows, part: Tensor, name: str, where: Layout | None) -> None:
    """Refuse rows of which nobody says whose they are, and another number of them than the index has."""
    owners = index_of(action, where)
    if owners is None:
        raise refuse(
            f"{name} is declared as {action!r}, but no field is declared as {'Edges' if action.edges else 'Index'}()",
            got=describe(part),
            expected="a field that names the rows of each edge"
            if action.edges
            else "a field that names the sample of each row",
            fix="Fields(pos=Rows(Point()), batch=Index()"
            + (", edge_index=Edges(), edge_attr=Rows(Scalar(), edges=True))" if action.edges else ")"),
        )
    if owners.shape[0] != part.shape[0]:
        what = "edges" if action.edges else "rows"
        raise refuse(
            f"{name} and the {'edges' if action.edges else 'index of its rows'} differ in length",
            got=f"{len(part)} {what}, {owners.shape[0]} entries in the {'field of edges' if action.edges else 'index'}",
            expected=f"one entry for each {what[:-1]}",
            fix="check how the batch was built",
        )


def repeat(
    spec: Any,
    value: Any,
    times: int,
    *,
    index: Layout | Tensor | None = None,
    batch: int = 0,
    way_out: str = "leave chunk=1",
) -> Any:
    """The value `times` times, one copy behind the other along the batch, so that several poses fit into one call.

    Raises:
        SymmetryError: a tensor that is declared None or not at all, which has no batch axis to repeat.
    """
    if times == 1:
        return value
    _refuse_unnamed(spec, value, f"several poses cannot share a call; {way_out}")
    if index is None:
        index = row_index(spec, value)
    rows = 0 if index is None else (index.index if isinstance(index, Layout) else index).shape[0]

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if isinstance(action, Numbering):
            return repeated(action, part, times, batch, rows)
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
        if is_sparse(part):
            return taken_entries(part, torch.arange(len(part)).repeat(times))
        return part.expand(times, *part.shape).flatten(0, 1)

    return walk(leaf, spec, value)


def separable(spec: Any, value: Any) -> bool:
    """Whether every tensor says which samples its entries belong to, so that some samples can be taken without the others."""
    return not any(part.ndim for _, part in unnamed(spec, value)) and not any(
        action is None and any(tensor.ndim for tensor in tensors(part)) for action, part, _ in matched(spec, value)
    )


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


def take(spec: Any, value: Any, samples: Tensor, *, index: Layout | Tensor | None = None) -> Any:
    """The samples with these numbers, (count,) int64, also several times; rows follow their sample and are numbered anew.

    So do edges: each joins the same two rows of its sample as before.
    """
    if (
        not unseen(samples)
        and samples.shape[0] == batch_of(spec, value)[0]
        and torch.equal(samples, torch.arange(samples.shape[0]))
    ):
        return value
    _refuse_unnamed(spec, value, "or take all samples in one batch")
    where = index if isinstance(index, Layout) else layout(spec, value)
    taken = None if where is None else Taken(where, samples)

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if isinstance(action, Numbering | Rows):
            assert taken is not None
            if isinstance(action, Numbering):
                return taken.numbers(action).to(part.dtype)
            return part[taken.edges if action.edges else taken.rows]
        if isinstance(action, Each):
            return rebuild(part, [part[sample] for sample in samples.tolist()])
        if action is None or not isinstance(part, Tensor):
            return part
        return taken_entries(part, samples) if is_sparse(part) else part[samples.to(part.device)]

    return walk(leaf, spec, value)


def batch_first(action: Any, part: Any, path: str, index: Layout | Tensor | None, count: int) -> Any:
    """An output as it came, refused unless it has one entry for each of `count` samples, or for each row (edge) of `index`.

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
    owners = index_of(action, index)
    wanted = count if owners is None else owners.shape[0]
    if part.ndim == 0 or part.shape[0] != wanted:
        raise refuse(
            f"an output{path and ' at ' + path} does not have the batch first",
            got=f"{describe(part)}, declared {action!r}",
            expected=f"first axis {wanted}",
            fix="let the model keep one output for each sample; declare None for what has no batch; samples without "
            "rows at the end are counted only where another input has one entry for each sample; one sample alone needs "
            "a batch axis, x[None]",
        )
    inner = action.action if isinstance(action, Rows) else action
    if part.ndim < 1 + axes_of(inner):
        raise refuse(
            f"an output{path and ' at ' + path} has too few axes for its action",
            got=f"{describe(part)}, declared {action!r}",
            expected=f"the batch, and at least {axes_of(inner)} axes more",
            fix="outputs=Scalar() for logits, energies and all else that does not turn with the input; Vector() for directions",
        )
    return part


def at(g: Any, position: Any) -> Any:
    """Elements `g[position]` along the first axis, for tensors and for tuples of them."""
    return map_tensors(lambda t: t[position], g)


def _owners(index: Layout | Tensor | None, rows: Any, action: Rows) -> Tensor:
    """The sample of each row (edge) of a value."""
    owners = index_of(action, index)
    if owners is None or not isinstance(rows, Tensor) or rows.ndim == 0 or rows.shape[0] != owners.shape[0]:
        what = "edges" if action.edges else "index"
        raise refuse(
            f"{action!r} needs one entry of the {what} for each {'edge' if action.edges else 'row'}",
            got=f"{describe(rows)}, {what} {'missing' if owners is None else f'of {owners.shape[0]}'}",
            expected=f"a tensor (rows, ...) and an input declared as {what.capitalize()}()",
            fix="Fields(pos=Rows(Point()), batch=Index()) in the inputs; outputs use the same index",
        )
    return owners
