"""Moving pixels and voxels: the one kernel behind `Image`, `Mask`, `VectorImage` and `Volume`.

Coordinates: origin in the middle of the grid, x along the width to the right, y along the height upwards, z along the
depth. A quarter turn of C(4) is then `torch.rot90(x, 1, (-2, -1))`. The content at p moves to g p: output(q) = input(g^-1 q).
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from canonize._values import constant, unseen
from canonize.actions.base import fit, floating
from canonize.errors import refuse
from canonize.linalg import inverse_small, is_signed_permutation, matmul

PADDINGS = ("zeros", "border", "reflection")
_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}


def downward(matrix: Float[Tensor, "*batch d d"]) -> Float[Tensor, "*batch d d"]:
    """The matrix in the basis of array axes, width first and height downwards: (x, y, z) with y turned over."""
    flipped = matrix.clone()
    flipped[..., 1, :] *= -1
    flipped[..., :, 1] *= -1
    return flipped


def lossless_on(matrix: Float[Tensor, "*batch d d"], sizes: tuple[int, ...]) -> Bool[Tensor, "*batch"]:
    """Whether each element maps the grid of the given sizes, (height, width) or (depth, height, width), onto itself."""
    return is_signed_permutation(matrix) & ~_swaps_unequal(matrix, sizes)


def _swaps_unequal(matrix: Tensor, sizes: tuple[int, ...]) -> Bool[Tensor, "*batch"]:
    lengths = constant(sizes[::-1], device=matrix.device)
    return ((matrix.abs() > 0.5) & (lengths[:, None] != lengths)).any(-1).any(-1)


def _hidden(value: Tensor) -> bool:
    """Whether a value cannot be looked at, not even by waiting for a device."""
    return unseen(value) if value.device.type in ("cpu", "meta") else unseen()


def refuse_swapped(action: Any, matrix: Tensor, sizes: tuple[int, ...]) -> None:
    """Raise where a quarter turn would exchange axes of different length; costs nothing on a square grid.

    On a device the host waits for that: what such a turn gives there is no symmetry of the grid.

    Raises:
        SymmetryError: it names the sizes and the way out.
    """
    if len(set(sizes)) == 1 or _hidden(matrix):
        return
    if bool((is_signed_permutation(matrix) & _swaps_unequal(matrix, sizes)).any()):
        names = " x ".join(map(str, sizes))
        raise refuse(
            f"{action!r}: a quarter turn exchanges height and width, which differ here",
            got=f"a grid of {names}",
            expected=f"equal sizes, for example {' x '.join([str(max(sizes))] * len(sizes))}",
            fix="pad to square first (torch.nn.functional.pad), or choose a group without quarter turns such as C(2) or D(2)",
        )


def move_grid(
    action: Any, matrix: Float[Tensor, "*batch d d"], x: Tensor, *, interpolation: str, padding: str, fill: float = 0
) -> Tensor:
    """Move the content of a grid by each element.

    Signed permutations only move entries (bit for bit, any dtype). Other elements first move entries by the nearest
    lossless element, then interpolate for the rest. A batch may mix both.

    Args:
        action: for messages.
        matrix: (*batch, d, d), dimensionless.
        x: (*batch, ..., *sizes) with d sizes; whatever is between is carried along.
        interpolation: "bilinear", "bicubic" (d = 2) or "nearest".
        padding: "zeros", "border" or "reflection", what stands outside the grid.
        fill: what "zeros" means for "nearest".

    Raises:
        SymmetryError: as `fit`, whole numbers where fractions are made, and unequal sizes under a quarter turn.
    """
    d, batch = matrix.shape[-1], matrix.shape[:-2]
    x = fit(action, batch, x, d, matrix.device)
    sizes = tuple(x.shape[-d:])
    refuse_swapped(action, matrix, sizes)
    lead = x.shape[: len(batch)]
    flat = x.reshape(math.prod(lead), math.prod(x.shape[len(batch) : -d]), *sizes)
    turns = matrix.expand(*lead, d, d).reshape(math.prod(lead), d, d)
    return _move(action, turns, flat, interpolation, padding, fill).reshape(x.shape)


def _move(action: Any, turns: Tensor, flat: Tensor, interpolation: str, padding: str, fill: float) -> Tensor:
    if flat.numel() == 0:
        return flat.clone()
    sizes = tuple(flat.shape[2:])
    exact = lossless_on(turns, sizes)
    # Whole numbers cannot be resampled: for them a device is waited for.
    fractions = interpolation == "nearest" or flat.is_floating_point() or flat.is_complex()
    # Nor has torch a derivative of resampling there that gives the same sums each time.
    hurried = fractions and not torch.are_deterministic_algorithms_enabled()
    if unseen(exact) if hurried else _hidden(exact):
        # Do both and choose.
        lossless, rest = split(turns, sizes)
        moved = _gather(flat, _permuted(torch.where(exact[:, None, None], turns, lossless), sizes))
        resampled = _resample(action, rest, moved, interpolation, padding, fill)
        return torch.where(exact.reshape(-1, *(1,) * (flat.ndim - 1)), moved, resampled)
    if bool(exact.all()):
        return _gather(flat, _permuted(turns, sizes))
    if not bool(turns.isfinite().all()):
        raise refuse(
            f"{action!r}: the elements are not numbers",
            got="NaN or infinity among the matrices",
            expected="finite matrices",
            fix="look where they were made, for example in a frame whose network has diverged",
        )
    lossless, rest = split(turns, sizes)
    moved = _gather(flat, _permuted(torch.where(exact[:, None, None], turns, lossless), sizes))
    if not bool(exact.any()):
        return _resample(action, rest, moved, interpolation, padding, fill)
    rows, others = exact.nonzero()[:, 0], (~exact).nonzero()[:, 0]
    resampled = _resample(action, rest[others], moved[others], interpolation, padding, fill)
    order = torch.cat([rows, others]).argsort()
    return torch.cat([moved[rows], resampled])[order]


def split(
    matrix: Float[Tensor, "b d d"], sizes: tuple[int, ...]
) -> tuple[Float[Tensor, "b d d"], Float[Tensor, "b d d"]]:
    """Each matrix g as a lossless move of the grid followed by a rest near the identity: (q, f) with g = f q.

    The rest is the same, bit for bit, for g and for g h, whatever lossless h came first. Moving by q and then by f is
    therefore bit for bit the same for x under g and for h · x under g h^-1: resampling spoils no lossless symmetry.
    """
    d = matrix.shape[-1]
    moves = constant(
        _lossless_moves(tuple(sizes.index(size) for size in sizes)), dtype=matrix.dtype, device=matrix.device
    )
    # Columns are exchanged and change their sign; nothing is rounded, because each sum has one term that is not zero.
    rests = matmul(matrix[:, None], moves.mT)
    # The identity, tilted so that no two of the rests of a regular rotation are equally near to it.
    ramp = torch.arange(d * d, dtype=matrix.dtype, device=matrix.device).reshape(d, d)
    toward = torch.eye(d, dtype=matrix.dtype, device=matrix.device) + 0.001 * (ramp * 1.618).cos()
    nearest = (rests * toward).sum((-2, -1)).argmax(1)
    rest = rests.gather(1, nearest[:, None, None, None].expand(-1, 1, d, d))[:, 0]
    return moves[nearest], rest


@lru_cache(maxsize=64)
def _lossless_moves(lengths: tuple[int, ...]) -> list[list[list[float]]]:
    """All signed permutations of the axes of a grid that exchange only axes of equal length (equal labels), as lists."""
    d = len(lengths)
    # Coordinates count from the last axis of the array.
    labels = lengths[::-1]
    found = []
    for order in itertools.permutations(range(d)):
        if all(labels[row] == labels[order[row]] for row in range(d)):
            for signs in itertools.product((1.0, -1.0), repeat=d):
                found.append([[signs[row] * (order[row] == column) for column in range(d)] for row in range(d)])
    return found


def _gather(flat: Tensor, index: Int[Tensor, "b cells"]) -> Tensor:
    if flat.dtype in _SIGNED:
        # Torch does not gather these dtypes; moving entries does not care how their bits are read.
        return _gather(flat.view(_SIGNED[flat.dtype]), index).view(flat.dtype)
    cells = flat.flatten(2)
    return cells.gather(2, index[:, None].expand(cells.shape)).reshape(flat.shape)


def _permuted(turns: Tensor, sizes: tuple[int, ...]) -> Int[Tensor, "b cells"]:
    """Where each cell comes from, in whole numbers throughout: twice the centred index is an integer for odd and even sizes."""
    inverse = inverse_small(downward(turns)).round().flip(-1, -2).to(torch.int64)
    strides = [1] * len(sizes)
    for axis in range(len(sizes) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * sizes[axis + 1]
    weights = (constant(strides, device=turns.device)[:, None] * inverse).sum(1)
    lengths = constant(sizes, device=turns.device)
    # Twice the first index is whole and even; the rest is one sum over the grid.
    first = ((constant(strides, device=turns.device) - weights) * (lengths - 1)).sum(1) // 2
    total = first.reshape(-1, *(1,) * len(sizes))
    for axis, size in reversed(list(enumerate(sizes))):
        place = torch.arange(size, device=turns.device).reshape(-1, *(1,) * (len(sizes) - 1 - axis))
        total = total + weights[:, axis].reshape(total.shape[0], *(1,) * len(sizes)) * place
    return total.flatten(1)


def _theta(turns: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """g^-1 in the coordinates of `affine_grid`, where each axis runs from -1 to 1 whatever its length."""
    lengths = constant(sizes[::-1], dtype=turns.dtype, device=turns.device)
    inverse = inverse_small(downward(turns)) * lengths / lengths[:, None]
    return torch.cat([inverse, torch.zeros_like(inverse[..., :1])], -1)


def _resample(action: Any, turns: Tensor, flat: Tensor, interpolation: str, padding: str, fill: float) -> Tensor:
    sizes = tuple(flat.shape[2:])
    if interpolation == "nearest":
        return _nearest(turns, flat, padding, fill)
    floating(action, flat)
    dtype = flat.dtype if flat.dtype == torch.float64 else torch.float32
    theta = _theta(turns.to(torch.float64), sizes).to(dtype)
    grid = F.affine_grid(theta, [flat.shape[0], 1, *sizes], align_corners=False)
    moved = F.grid_sample(flat.to(dtype), grid, mode=interpolation, padding_mode=padding, align_corners=False)
    return moved.to(flat.dtype)


def _nearest(turns: Tensor, flat: Tensor, padding: str, fill: float) -> Tensor:
    """The nearest cell, by index, so that labels of any dtype are moved and never computed with."""
    sizes = tuple(flat.shape[2:])
    grid = F.affine_grid(_theta(turns.to(torch.float64), sizes), [flat.shape[0], 1, *sizes], align_corners=False)
    index = torch.zeros(grid.shape[:-1], dtype=torch.int64, device=flat.device)
    inside = torch.ones_like(index, dtype=torch.bool)
    for axis, size in enumerate(sizes):
        cell = torch.floor((grid[..., len(sizes) - 1 - axis] + 1) * size / 2).to(torch.int64)
        if padding == "reflection":
            cell = cell.remainder(2 * size)
            cell = torch.minimum(cell, 2 * size - 1 - cell)
        elif padding == "zeros":
            inside &= (cell >= 0) & (cell < size)
        index = index * size + cell.clamp(0, size - 1)
    try:
        outside = constant(fill, dtype=flat.dtype, device=flat.device)
    except (RuntimeError, TypeError, ValueError):
        raise refuse(
            "the fill does not fit the dtype of the labels",
            got=f"fill={fill!r}, dtype {str(flat.dtype).removeprefix('torch.')}",
            expected="a label that the dtype can hold",
            fix="Mask(fill=0), or another dtype",
        ) from None
    return torch.where(inside[:, None], _gather(flat, index.flatten(1)), outside)
