"""The laws of an action."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from canonize._tree import map_tensors, spec_leaves, tensors
from canonize.actions import (
    Each,
    Image,
    Mask,
    Nodes,
    Numbering,
    Pairs,
    Rows,
    Scalar,
    VectorImage,
    Volume,
    lossless_tree,
    move,
)
from canonize.actions.rows import layout
from canonize.actions.trees import at, batch_of, take
from canonize.groups import identity
from canonize.groups.base import check_is_group
from canonize.symmetry import Symmetry, group_for
from canonize.testing.compare import Checked, Ledger, check_settings, errors, kind, lowest, same, spoken

_EXACT = (Image, Mask, Nodes, Pairs, Scalar, VectorImage, Volume)


def check_action(
    action: Any,
    group: Any,
    x: Any,
    *,
    count: int = 8,
    tolerance: float | None = None,
    generator: torch.Generator | None = None,
) -> Checked:
    """The laws of an action, or of a tree of actions, on a batch of values.

    Where an element is resampled (`lossless` is False), the laws that interpolation breaks are skipped for it, and that is
    said. Actions that only move entries must obey the laws bit for bit.

    Args:
        action: a function (g, x) -> x, or a tree of actions.
        group: where the elements come from.
        x: the value, batch first, finite.
        count: how many batches of elements are drawn.
        tolerance: relative error of a sample; eps^(2/3) of the lowest dtype where None.
        generator: source of randomness; seed 0 where None.

    Raises:
        LawError: it names the law, the violation, the sample and the tolerance.
    """
    __tracebackhide__ = True
    check_is_group(group, "check_action")
    check_settings("check_action", count, tolerance)
    laws, generator = Ledger(action), generator or torch.Generator().manual_seed(0)
    batch, dtype, _ = batch_of(action, x)
    index = layout(action, x)
    group = group_for(Symmetry(group, action, None), x)
    leaves = [
        part for leaf in spec_leaves(action) for part in (spec_leaves(leaf.entry) if isinstance(leaf, Each) else [leaf])
    ]
    kinds = [leaf.action if isinstance(leaf, Rows) else leaf for leaf in leaves]
    exact = all(leaf is None or isinstance(leaf, (*_EXACT, Numbering)) for leaf in kinds)
    tolerance = lowest(x) if tolerance is None else tolerance
    close = 0.0 if exact else tolerance
    before, total, lost = map_tensors(torch.clone, x), 0, 0

    def compare(law: str, a: Any, b: Any, valid: Tensor, within: float, **elements: Any) -> None:
        __tracebackhide__ = True
        for off in errors(action, a, b, index, batch).values():
            laws.hold(law, torch.where(valid, off, 0.0), within, of="sample", where=spoken(**elements))

    everywhere = torch.ones(batch, dtype=torch.bool)
    one = map_tensors(lambda t: t.expand(batch, *t.shape), identity(group, dtype=dtype))
    compare("identity, e x = x", move(action, one, x), x, everywhere, close, e=one)
    for number in range(count):
        g, h = (group.sample((batch,), generator=generator, dtype=dtype) for _ in range(2))
        gh, back = group.compose(g, h), group.inverse(g)
        hx, gx = move(action, h, x), move(action, g, x)
        laws.hold("the input is not changed", not same(before, x))
        laws.hold("shapes and dtypes are kept", [kind(t) for t in tensors(gx)] != [kind(t) for t in tensors(x)])
        told = [lossless_tree(action, each, x) for each in (g, h, gh)]
        free, free_g = (told[0] & told[1] & told[2]).expand(batch), told[0].expand(batch)
        total, lost = total + batch, lost + int((~free).sum())
        compare("composition, g (h x) = (g h) x", move(action, g, hx), move(action, gh, x), free, close, g=g, h=h)
        compare("inverse, g^-1 (g x) = x", move(action, back, gx), x, free_g, close, g=g)
        for i in range(min(batch, 4) if number == 0 else 0):
            sample = torch.tensor([i])
            alone = move(action, at(g, sample), take(action, x, sample))
            small = layout(action, alone)
            for off in errors(action, alone, take(action, gx, sample), small, 1).values():
                here = spoken(g=at(g, sample))
                laws.hold("one sample at a time equals the batch", off, tolerance, of="sample", where=here)
            rest = everywhere.clone()
            rest[i] = False
            compare("element i moves sample i only", move(action, _mixed(g, h, rest), x), gx, rest, tolerance, g=g)
    if lost:
        laws.skip(
            "composition and inverse at resampled elements",
            f"{lost} of {total} draws interpolate, which loses detail; lossless ones were checked",
        )
    return laws.done()


def _mixed(g: Any, h: Any, keep: Tensor) -> Any:
    """g where `keep`, h elsewhere."""
    both = iter(tensors(h))
    return map_tensors(lambda t: torch.where(keep.reshape(-1, *(1,) * (t.ndim - 1)), t, next(both)), g)
