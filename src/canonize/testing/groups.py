"""The laws of a group, and of its sampler."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from canonize._tree import map_tensors, tensors
from canonize.actions.trees import at
from canonize.errors import refuse
from canonize.groups import Product, Rigid, identity, order
from canonize.groups.base import check_is_group, leading
from canonize.testing.compare import Checked, Ledger, apart, check_settings, features, gaussian, rounding, same

_SIGMAS = 6.0
_LISTED = 1024


def check_group(
    group: Any,
    *,
    dtype: torch.dtype = torch.float64,
    count: int = 64,
    tolerance: float | None = None,
    generator: torch.Generator | None = None,
) -> Checked:
    """The group laws on samples and, where the group lists its elements, on the list; and the law of its sampler.

    Elements whose last two axes are equal and floating point are taken for matrices, integer ones for permutations, and
    `Rigid` ones for affine motions; products are then also formed without the group's own arithmetic.

    Args:
        group: anything with `sample`, `compose` and `inverse`.
        dtype: of the elements that are drawn.
        count: how many elements are drawn; the moments of the sampler take 32 times as many.
        tolerance: largest entry of a difference, relative to the elements; eps^(2/3) of `dtype` where None.
        generator: source of randomness; seed 0 where None.

    Raises:
        LawError: it names the law, the violation, the element and the tolerance.
    """
    __tracebackhide__ = True
    check_is_group(group, "check_group")
    check_settings("check_group", count, tolerance)
    if count < 2 or not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise refuse(
            "check_group: bad count or dtype",
            got=f"count={count}, dtype={dtype}",
            expected="at least 2 elements of a floating-point dtype",
            fix="check_group(group, dtype=torch.float64)",
        )
    laws, tolerance = Ledger(group), rounding(dtype) if tolerance is None else tolerance
    generator = generator or torch.Generator().manual_seed(0)
    _check_samples(laws, group, dtype, generator)
    g, h, k = (group.sample((count,), generator=generator, dtype=dtype) for _ in range(3))
    one, gh = identity(group, dtype=dtype), group.compose(g, h)
    units = map_tensors(lambda t: t.expand(count, *t.shape), one)
    laws.hold(
        "associativity, (gh)k = g(hk)", apart(group.compose(gh, k), group.compose(g, group.compose(h, k))), tolerance
    )
    laws.hold("identity, g e = g", apart(group.compose(g, one), g), tolerance)
    laws.hold("identity, e g = g", apart(group.compose(one, g), g), tolerance)
    laws.hold("inverse, g g^-1 = e", apart(group.compose(g, group.inverse(g)), units), tolerance)
    laws.hold("inverse, g^-1 g = e", apart(group.compose(group.inverse(g), g), units), tolerance)
    raw = _product(g, h)
    if raw is None:
        laws.skip("product, compose multiplies matrices", "the elements are neither matrices nor permutations")
    else:
        laws.hold("product, compose multiplies matrices", apart(gh, raw), tolerance)
    _check_closure(laws, group, dtype, (g, gh, group.inverse(g)), tolerance)
    if getattr(group, "haar", False):
        _check_moments(laws, group, dtype, 32 * count, generator)
    else:
        laws.skip("Haar moments", "the group does not say haar = True: its sampler has no invariant law")
    return laws.done()


def _check_samples(laws: Ledger, group: Any, dtype: torch.dtype, generator: torch.Generator) -> None:
    __tracebackhide__ = True
    single = [t.shape for t in tensors(group.sample((), generator=generator, dtype=dtype))]
    for shape in ((), 3, (3,), (2, 3)):
        lead = (shape,) if isinstance(shape, int) else shape
        parts = tensors(group.sample(shape, generator=generator, dtype=dtype))
        laws.hold("samples have the batch in front", [t.shape for t in parts] != [(*lead, *rest) for rest in single])
        laws.hold("samples have the dtype", any(t.is_floating_point() and t.dtype != dtype for t in parts))
        laws.hold("samples are on the device", any(t.device != torch.device("cpu") for t in parts))
    state = torch.get_rng_state()
    first, second, other = (
        group.sample((64,), generator=torch.Generator().manual_seed(seed), dtype=dtype) for seed in (1, 1, 2)
    )
    laws.hold("equal seeds give equal samples", not same(first, second))
    laws.hold("a generator that is passed is the only source", not torch.equal(state, torch.get_rng_state()))
    units = map_tensors(lambda t: t.expand(64, *t.shape), identity(group, dtype=dtype))
    if bool((apart(first, units) <= rounding(dtype)).all()) and order(group) in (None, 1):
        laws.skip("other seeds give other samples", "every sample is the identity")
    else:
        laws.hold("other seeds give other samples", same(first, other))


def _check_closure(laws: Ledger, group: Any, dtype: torch.dtype, parts: tuple[Any, ...], tolerance: float) -> None:
    __tracebackhide__ = True
    if order(group) is not None:
        _check_list(laws, group, dtype, parts[0], tolerance)
    elif isinstance(group, Product):
        for position, factor in enumerate(group.factors):
            _check_closure(laws, factor, dtype, tuple(part[position] for part in parts), tolerance)
    elif hasattr(group, "residual"):
        for part in parts:
            laws.hold("closure, products and inverses stay in the group", group.residual(part), tolerance)
    else:
        laws.skip("closure, products and inverses stay in the group", "the group has neither elements nor residual")


def _check_list(laws: Ledger, group: Any, dtype: torch.dtype, g: Any, tolerance: float) -> None:
    __tracebackhide__ = True
    elements = group.elements(dtype=dtype)
    count, table = leading(elements), features(elements)
    laws.hold("order is the number of elements", order(group) != count)
    laws.hold(
        "the identity is listed first",
        apart(at(elements, slice(0, 1)), _lead(identity(group, dtype=dtype))),
        tolerance,
    )
    if count > _LISTED:
        laws.skip("closure, products and inverses are listed", f"{count} elements are too many to compare with")
        return
    gaps = torch.cdist(table, table, compute_mode="donot_use_mm_for_euclid_dist") + torch.eye(count) * 1e9
    laws.hold("no element is listed twice", gaps.amin(1) <= 10 * tolerance)
    every = torch.arange(count)
    pairs = torch.cartesian_prod(every, every)
    if len(pairs) > 4096:
        pairs = pairs[torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0))[:4096]]
    a, b = at(elements, pairs[:, 0]), at(elements, pairs[:, 1])
    raw, size = _product(a, b), max([1.0, *table.abs().amax(0).tolist()])
    for part in (group.compose(a, b) if raw is None else raw, group.inverse(elements), g):
        near = torch.cdist(features(part), table, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
        laws.hold("closure, products, inverses and samples are listed", near / size, tolerance)


def _check_moments(laws: Ledger, group: Any, dtype: torch.dtype, count: int, generator: torch.Generator) -> None:
    """Random linear functionals of g and of g ⊗ g keep their mean under shifts from either side."""
    __tracebackhide__ = True

    def moments(g: Any) -> Tensor:
        plain = features(g, one_hot=True)
        draw = torch.Generator().manual_seed(3)
        first, second = plain @ gaussian(draw, plain.shape[1], 48), plain @ gaussian(draw, plain.shape[1], 48)
        return torch.cat([first, first * second], 1)

    def check(law: str, a: Tensor, b: Tensor, exact: bool = False) -> None:
        __tracebackhide__ = True
        spread = a.var(0) / len(a) + (0 if exact else b.var(0) / len(b))
        off = (a.mean(0) - b.mean(0)).abs() / (spread.sqrt() + 1e-9 * a.abs().amax(0).clamp(min=1))
        laws.hold(f"Haar moments, {law} (in standard errors)", off, _SIGMAS, of="moment")

    h = group.sample((3,), generator=generator, dtype=dtype)
    for number in range(3):
        g, other = (group.sample((count,), generator=generator, dtype=dtype) for _ in range(2))
        shift = at(h, slice(number, number + 1))
        check("h g is distributed as g", moments(group.compose(shift, g)), moments(other))
        check("g h is distributed as g", moments(group.compose(g, shift)), moments(other))
    size = order(group)
    if size is not None and size <= _LISTED:
        check("samples have the mean over all elements", moments(g), moments(group.elements(dtype=dtype)), exact=True)


def _product(g: Any, h: Any) -> Any:
    """g h by plain arithmetic, for matrices, affine motions, permutations and tuples of them; None for anything else."""
    if isinstance(g, Rigid):
        return Rigid(g.linear @ h.linear, (g.linear @ h.shift[..., None])[..., 0] + g.shift)
    if isinstance(g, tuple):
        parts = tuple(_product(a, b) for a, b in zip(g, h, strict=True))
        return None if any(part is None for part in parts) else parts
    if g.is_floating_point() and g.ndim > 2 and g.shape[-1] == g.shape[-2]:
        return g @ h
    return g.gather(-1, h) if not g.is_floating_point() and g.ndim > 1 else None


def _lead(g: Any) -> Any:
    return map_tensors(lambda t: t[None], g)
