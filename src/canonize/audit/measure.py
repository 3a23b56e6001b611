"""How far two values are apart: norms of differences for each sample, and the relative errors that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from canonize._tree import describe, walk
from canonize.actions import Each, Numbering
from canonize.actions.base import lossless
from canonize.actions.rows import Layout, index_of
from canonize.actions.sparse import is_sparse
from canonize.errors import refuse

SMALL = 0.01
"""Answers below this share of the median answer count as if they were that large."""


class Apart(NamedTuple):
    """Two tensors of one shape, compared sample by sample.

    Attributes:
        off: (count,) float64 on the CPU, the norm of the difference in the unit of the values; infinite where there is none.
            For whole numbers and booleans the share of entries that differ.
        size: (count,) float64 on the CPU, the larger of the two norms over finite entries; 1 for whole numbers and booleans.
        whole: whether the entries are whole numbers or booleans.
    """

    off: Tensor
    size: Tensor
    whole: bool


def per_sample(squares: Tensor, action: Any, index: Layout | Tensor | None, count: int) -> Tensor:
    """The sum over everything but the sample, (count,) float64; rows are summed into their samples."""
    flat = squares.reshape(squares.shape[0], squares.shape[1:].numel()).sum(1)
    owners = index_of(action, index)
    if owners is not None:
        return torch.zeros(count, dtype=flat.dtype, device=flat.device).index_add(0, owners, flat)
    return flat


def unit_of(sizes: Tensor, action: Any, index: Layout | Tensor | None, count: int) -> Tensor:
    """Each sample's largest entry, (count,) float64 above 0: in this unit the squares of 1e-300 and 1e300 stay finite.

    Args:
        sizes: magnitudes, (count, ...), or (rows, ...) where the action is `Rows`; float64.
        action: what the values are declared as.
        index: which sample each row belongs to; a tensor is (rows,) int64.
        count: samples.
    """
    limits = torch.finfo(torch.float64)
    flat = sizes.reshape(sizes.shape[0], sizes.shape[1:].numel())
    largest = flat.amax(1) if flat.shape[1] else flat.new_zeros(len(flat))
    owners = index_of(action, index)
    if owners is not None:
        largest = largest.new_zeros(count).scatter_reduce(0, owners, largest, "amax")
    return largest.clamp(limits.tiny, limits.max)


def beside(units: Tensor, value: Tensor, action: Any, index: Layout | Tensor | None) -> Tensor:
    """The units (count,) in a shape that divides `value`; each row has its sample's."""
    owners = index_of(action, index)
    each = units if owners is None else units[owners]
    return each.reshape(-1, *(1,) * (value.ndim - 1))


def apart(first: Tensor, second: Tensor, action: Any, index: Layout | Tensor | None, count: int) -> Apart:
    """How far two tensors of one shape are apart.

    Equal infinities, as masked logits have, are no difference. Where one entry is NaN, where infinities differ, and where
    nothing in a sample's answer is finite, the difference of that sample is infinite.

    Args:
        first: (count, ...), or (rows, ...) where the action is `Rows`.
        second: the same shape.
        action: what both are declared as.
        index: which sample each row belongs to; a tensor is (rows,) int64.
        count: samples.
    """
    first, second = (part.to_dense() if is_sparse(part) else part for part in (first, second))
    if not any(part.is_floating_point() or part.is_complex() for part in (first, second)):
        differs = per_sample((first != second).double(), action, index, count)
        entries = per_sample(torch.ones_like(first, dtype=torch.float64), action, index, count)
        share = (differs / entries.clamp(min=1)).cpu()
        return Apart(share, torch.ones_like(share), whole=True)
    wide = torch.complex128 if first.is_complex() or second.is_complex() else torch.float64
    a, b = first.detach().to(wide), second.detach().to(wide)
    usable = a.isfinite() & b.isfinite()
    lost = per_sample((~usable & (a != b)).double(), action, index, count) > 0
    finite = per_sample(usable.double(), action, index, count) > 0
    entries = per_sample(torch.ones_like(usable, dtype=torch.float64), action, index, count)
    a, b = torch.where(a.isfinite(), a, 0), torch.where(b.isfinite(), b, 0)
    # The unit is each sample's own: one huge answer must not make the others underflow.
    unit = unit_of(torch.maximum(a.abs(), b.abs()), action, index, count)
    a, b = a / beside(unit, a, action, index), b / beside(unit, b, action, index)
    off = per_sample((a - b).abs().square(), action, index, count).sqrt()
    squares = [per_sample(part.abs().square(), action, index, count) for part in (a, b)]
    limit = torch.finfo(torch.float64).max
    size = (torch.maximum(*squares).sqrt() * unit).clamp(max=limit)
    off = torch.where(lost | (~finite & (entries > 0)), torch.inf, (off * unit).clamp(max=limit))
    return Apart(off.cpu(), size.cpu(), whole=False)


def apart_in_lists(action: Each, first: Any, second: Any, path: str) -> dict[str, Apart]:
    """How far two lists of entries are `apart`, by the path in an entry, and whether their shapes agree.

    Detections are compared in the order in which they come. Two entries of different shapes, such as another number of
    detections, differ by 1 in the part called `shapes`, and not in what cannot be compared.
    """
    action.check(second, len(action.check(first)))
    count, shapes = len(first), torch.zeros(len(first), dtype=torch.float64)
    found: dict[str, Apart] = {}

    for i in range(count):

        def leaf(inner: Any, one: Any, two: Any, *, path: str, i: int = i) -> Any:
            if inner is None or not isinstance(one, Tensor):
                return one
            if not isinstance(two, Tensor) or one.shape != two.shape:
                shapes[i] = 1.0
                return one
            part = apart(one[None], two[None], inner, None, 1)
            fresh = Apart(torch.zeros_like(shapes), torch.zeros_like(shapes), whole=part.whole)
            whole = found.setdefault(path, fresh)
            whole.off[i], whole.size[i] = part.off[0], part.size[0]
            return one

        walk(leaf, action.entry, first[i], second[i], path=f"{path}[i]")
    return {**found, f"{path}[i] shapes": Apart(shapes, torch.ones_like(shapes), whole=True)}


def typical(sizes: Tensor) -> float:
    """The median of the sizes that are finite and not zero; 0.0 without any. Any shape."""
    counted = sizes[sizes.isfinite() & (sizes > 0)]
    return float(counted.median()) if len(counted) else 0.0


def relative(off: Tensor, size: Tensor, least: float) -> Tensor:
    """Differences over sizes, over `least` where a size is smaller; 0 where nothing differs. Any shape."""
    return torch.where(off == 0, 0.0, off / size.clamp(min=least))


def relative_error(
    first: Tensor, second: Tensor, action: Any, index: Layout | Tensor | None, count: int, *, scale: float | None = None
) -> Tensor:
    """How far two tensors of one shape are apart, for each sample: (count,) float64 on the CPU; infinite for NaN.

    The difference's norm over the larger of the two norms, or over `scale` where both are smaller than that: the size
    below which an answer counts as zero, 1 % of the median over these samples where None. For whole numbers and booleans
    the share of entries that differ. Arguments as for `apart`.
    """
    found = apart(first, second, action, index, count)
    least = SMALL * typical(found.size) if scale is None or found.whole else scale
    return relative(found.off, found.size, least)


def compare(spec: Any, base: Any, other: Any, index: Layout | Tensor | None, count: int) -> dict[str, Apart]:
    """How far each output is `apart`, by path.

    Raises:
        SymmetryError: outputs whose shape or structure changes with the input's orientation; lists of detections may.
    """
    found: dict[str, Apart] = {}

    def leaf(action: Any, first: Any, second: Any, *, path: str) -> Any:
        if isinstance(action, Each):
            found.update(apart_in_lists(action, first, second, path))
            return first
        if action is None or isinstance(action, Numbering) or not isinstance(first, Tensor):
            return first
        if not isinstance(second, Tensor) or first.shape != second.shape:
            raise refuse(
                f"an output{path and ' at ' + path} changes its shape when the input is moved",
                got=f"{describe(second)} for the moved input",
                expected=f"{describe(first)}, as for the input itself",
                fix="declare None for outputs that cannot be compared, or pad them to one shape inside the model",
            )
        found[path or "output"] = apart(first, second, action, index, count)
        return first

    walk(leaf, spec, base, other)
    if not found:
        raise refuse(
            "no output can be compared",
            got=f"{describe(base)}, declared {spec!r}",
            expected="at least one tensor with an action",
            fix="outputs=Scalar() for logits, Vector() for forces, ...",
        )
    return found


def differ(spec: Any, before: Any, after: Any, index: Layout | Tensor | None, count: int) -> bool:
    """Whether any declared part of any sample differs by more than rounding."""
    found = False

    def leaf(action: Any, first: Any, second: Any, *, path: str) -> Any:
        nonlocal found
        if isinstance(action, Each):
            pairs = zip(action.tensors(first), action.tensors(second), strict=True)
            found = found or any(_differs(one, two, None, None, 1) for (_, one), (_, two) in pairs)
            return first
        if action is None or isinstance(action, Numbering) or not isinstance(first, Tensor) or found:
            return first
        found = not isinstance(second, Tensor) or _differs(first, second, action, index, count)
        return first

    walk(leaf, spec, before, after)
    return found


def _differs(first: Tensor, second: Tensor, action: Any, index: Layout | Tensor | None, count: int) -> bool:
    if first.shape != second.shape:
        return True
    if action is None:
        first, second = first[None], second[None]
    one = apart(first, second, action, index, count)
    return bool((one.off > _slack(first) * one.size).any())


def round_trip(group: Any) -> Callable[[Any, Any, Any], Tensor]:
    """What `lossless_tree` is to ask of inputs: the action's own word, or a measurement where it has none.

    A plain function `(g, x) -> x` may well interpolate. It is taken to move a sample without loss where g^-1 · (g · x)
    returns x to rounding.
    """

    def ask(action: Any, g: Any, x: Any) -> Tensor:
        if isinstance(action, Each):
            return action.told(ask, g, x)
        if hasattr(action, "lossless"):
            return lossless(action, g, x)
        there = action(g, x)
        back = action(group.inverse(g), there)
        if there.shape != x.shape or back.shape != x.shape:
            return torch.zeros(len(x), dtype=torch.bool, device=x.device)
        around = apart(x, back, None, None, len(x))
        # A far shift and back rounds at the size of the shifted value.
        size = torch.maximum(around.size, apart(x, there, None, None, len(x)).size)
        return (around.off <= _slack(x) * size).to(x.device)

    return ask


def _slack(x: Tensor) -> float:
    """Rounding of long sums: 1e3 eps; less for the half precisions, in which that would be everything."""
    if not (x.is_floating_point() or x.is_complex()):
        return 0.0
    eps = torch.finfo(x.dtype).eps
    return float(min(1e3 * eps, eps**0.5))
