"""The candidates among which a frame chooses: all moved copies of each input, and what tells them apart."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from canonize._tree import describe, spec_leaves, walk
from canonize._values import sent, unseen
from canonize.actions import Each, Image, Numbering, Point, Rows, Scalar, Vector, VectorImage, Volume
from canonize.actions import Tensor as TensorAction
from canonize.actions.base import always_bitwise, bitwise
from canonize.actions.rows import index_of, layout
from canonize.actions.trees import lossless_tree, move, repeat
from canonize.errors import refuse
from canonize.frames.base import flat, over_batch
from canonize.groups.base import leading
from canonize.groups.finite import FiniteMatrixGroup
from canonize.linalg import content_key, shrink
from canonize.symmetry import Symmetry


def orbit(symmetry: Symmetry, inputs: Any, back: Any, batch: int) -> Any:
    """All g^-1 · x, (k * batch) samples, the elements outermost; `back` holds the k elements g^-1."""
    index = layout(symmetry.inputs, inputs)
    way_out = "use a frame that scores nothing, such as Average()"
    copies = repeat(symmetry.inputs, inputs, leading(back), index=index, batch=batch, way_out=way_out)
    return move(symmetry.inputs, flat(over_batch(back, batch)), copies)


def is_bitwise(symmetry: Symmetry, back: Any, candidates: Any, batch: int) -> bool:
    """Whether copies of an input that were moved without loss have the same candidates, bit for bit."""
    # What holds of every element needs no look at any.
    signed = isinstance(symmetry.group, FiniteMatrixGroup) and symmetry.group.signed
    if all(_always(leaf, signed) for leaf in spec_leaves(symmetry.inputs)):
        return True
    if unseen():
        return False
    # A batch of none has nothing to round.
    turns = flat(over_batch(back, batch))
    return batch == 0 or bool(lossless_tree(symmetry.inputs, turns, candidates, ask=bitwise).all())


def _always(action: Any, signed: bool) -> bool:
    """Whether an action moves entries bit for bit under every element, of which all may be signed permutations."""
    inner = action.action if isinstance(action, Rows) else action
    return (
        inner is None
        or isinstance(inner, Numbering | Scalar)
        or (signed and isinstance(inner, Point | Vector | TensorAction | VectorImage))
        or getattr(type(inner), "bitwise", None) is always_bitwise
    )


def keys(spec: Any, candidates: Any, shape: tuple[int, int]) -> Tensor:
    """The key of each candidate's content, (k, batch)."""
    total = torch.zeros(shape, dtype=torch.int64)
    where = layout(spec, candidates)

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        nonlocal total
        if isinstance(action, Each):
            total = total * 31 + action.keys(part).to(total.device).reshape(shape)
            return part
        if action is None or isinstance(action, Numbering) or not isinstance(part, Tensor):
            return part
        key = content_key(part)
        index = index_of(action, where)
        if index is not None:
            # The place of a row in its sample matters: rows are numbered within the samples by their order.
            sorter = index.argsort(stable=True)
            grouped = index[sorter]
            counted = torch.arange(key.shape[0], device=key.device) - torch.searchsorted(grouped, grouped)
            place = torch.empty_like(counted).scatter(0, sorter, counted)
            key = torch.zeros(shape[0] * shape[1], dtype=torch.int64, device=key.device).index_add(
                0, index, key * (2 * place + 1)
            )
        total = sent(total, key.device) * 31 + key.reshape(shape)
        return part

    walk(leaf, spec, candidates)
    return total


def shrunk(spec: Any, inputs: Any, resolution: int, *, whole: bool = False) -> Any:
    """Images and volumes at a lower resolution; a turned image shrinks to the turned copy, bit for bit.

    Raises:
        SymmetryError: whole numbers, unless `whole`.
    """

    def smaller(action: Any, part: Tensor) -> Tensor:
        if not isinstance(action, Image | Volume) or part.is_complex():
            return part
        axes = 2 if isinstance(action, Image) else 3
        sizes = part.shape[-axes:]
        longest = max(sizes)
        if not part.is_floating_point() and not whole:
            raise refuse(
                "resolution= averages pixels, and whole numbers have no averages",
                got=describe(part),
                expected="floating-point images",
                fix="pass x / 255 for bytes, and let the model take that; or resolution=None",
            )
        if longest <= resolution:
            return part
        return shrink(part, tuple(max(1, round(size * resolution / longest)) for size in sizes))

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        return action.mapped(smaller, part) if isinstance(action, Each) else smaller(action, part)

    return walk(leaf, spec, inputs)
