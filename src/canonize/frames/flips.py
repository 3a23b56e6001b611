"""Orientations: signs that the data themselves tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from canonize._tree import describe, matched, spec_leaves
from canonize._values import unseen
from canonize.actions import Chain, Factor, Flipped, Scalar
from canonize.actions.trees import batch_of
from canonize.errors import refuse
from canonize.frames.base import Poses
from canonize.groups import Flips, Product
from canonize.symmetry import Symmetry, check_is_claim

Rule = Callable[[Tensor], tuple[Tensor, Tensor]]
"""`(entries (batch, n, m)) -> (signs, margins)`, both (batch, n); signs are -1, 0 or 1, and odd in the entries."""
_CLEAR = 0.5  # an entry is clear that has at least this share of the largest one


def first_clear(entries: Float[Tensor, "batch n m"]) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch n"]]:
    """The sign of the first entry that is at least half as large as the largest one; 0 where all are zero.

    The margin is how far the entries up to that one are from half of the largest, as a share of it: from 0 to 1/2.
    """
    if not entries.shape[-1]:
        return entries.sum(-1), entries.sum(-1)
    sizes = entries.abs()
    largest = sizes.amax(-1, keepdim=True)
    share = sizes / torch.where(largest > 0, largest, 1.0)
    first = (share >= _CLEAR).int().argmax(-1, keepdim=True)
    signs = entries.gather(-1, first)[..., 0].sign()
    asked = torch.arange(entries.shape[-1], device=entries.device) <= first
    return signs, torch.where(asked, (share - _CLEAR).abs(), 1.0).amin(-1)


def total(entries: Float[Tensor, "batch n m"]) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch n"]]:
    """The sign of the sum; it does not depend on the order of the entries.

    The margin is the size of the sum over the sum of the sizes, from 0 to 1.
    """
    return _balance(entries)


def skewness(entries: Float[Tensor, "batch n m"]) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch n"]]:
    """The sign of the sum of cubes; it does not depend on the order of the entries, and large ones count most.

    The margin is the size of that sum over the sum of the sizes of the cubes, from 0 to 1.
    """
    return _balance(entries**3)


def _balance(entries: Tensor) -> tuple[Tensor, Tensor]:
    found, sizes = entries.sum(-1), entries.abs().sum(-1)
    return found.sign(), found.abs() / torch.where(sizes > 0, sizes, 1.0)


@final
@dataclass(frozen=True)
class SignRule:
    """One pose of flips: each thing is turned so that its own entries point the way that a rule calls upright.

    First come the things that have entries of their own, such as flows on edges or columns of a boundary matrix; then
    those that are tied to them by values that feel two flips at once, such as triangles by the matrix from triangles to
    edges; and so on. Things that nothing ties to an upright one are turned relative to the first of them, and stay free to
    turn over together: that fixes the input, and outputs are averaged over it, which leaves zero where a flip would have
    changed the sign. One model call, for any number of things, exact for every input.

    Args:
        rule: `(entries (batch, n, m)) -> (signs, margins)`, odd in the entries; see `first_clear`, `total`, `skewness`.
            Where it says 0 though the entries are not, `first_clear` decides, with a margin of 0.

    `margin` is the smallest of the rule's, and of the largest entry of each thing as a share of the largest of the input:
    near 0 a small change turns something over. Entries that are exactly 0 are no tie; 1 where no sign was asked for.

    Raises:
        SymmetryError: on use, a group other than `Flips` and products of them, inputs declared anything but `Flipped()`, in
            a `Factor`, in a `Chain` of two, `Scalar()` or None; infinities or NaN; where something is free, an output
            that is declared otherwise.

    Example:
        >>> from canonize import Flipped, Flips, SignRule, Symmetry, symmetrize
        >>> upright = symmetrize(torch.exp, Symmetry(Flips(3), Flipped(), Flipped()), SignRule())
        >>> upright(torch.tensor([[2.0, -2.0, 0.0]]))
        tensor([[ 7.3891, -7.3891,  0.0000]])

    Source: signs of eigenvectors, Lim et al., arXiv 2202.13013, where both signs are averaged instead; orientations of
    simplices, Roddenberry, Glaze and Segarra, arXiv 2102.10058.
    """

    rule: Rule = first_clear

    def __post_init__(self) -> None:
        if not callable(self.rule) or isinstance(self.rule, type):
            raise refuse(
                "SignRule needs a rule",
                got=describe(self.rule),
                expected="a function of entries (batch, n, m) that returns signs and margins",
                fix="SignRule(), SignRule(total), SignRule(skewness) from canonize.frames",
            )

    def __call__(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """One choice of signs for each sample."""
        check_is_claim(symmetry, "SignRule")
        sizes = _sizes(symmetry.group)
        batch, dtype, device = batch_of(symmetry.inputs, inputs)
        ties = _ties(symmetry, inputs, sizes)
        signs, owner, margin = self._upright(ties, sizes, torch.ones(batch, sum(sizes), dtype=dtype, device=device))
        parts = tuple(part[None] for part in _split(signs, sizes))
        free = Free(tuple(_split(owner, sizes))) if bool((owner > 0).any()) else None
        elements = parts if isinstance(symmetry.group, Product) else parts[0]
        return Poses(elements, torch.ones(1, batch, dtype=dtype, device=device), margin, free)

    def _upright(self, ties: list[_Tie], sizes: list[int], units: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Signs (batch, all), the free set each thing belongs to (0 for none), and margins (batch,)."""
        signs, owner = torch.zeros_like(units), torch.zeros_like(units, dtype=torch.int64)
        margin, numbers = torch.ones_like(units), torch.arange(units.shape[1], device=units.device)
        # Nothing tells of these, and they tell of nothing.
        alone = ~torch.cat([_entries(ties, sizes, part, units).ne(0).any(-1) for part in range(len(sizes))], 1)
        signs, owner = torch.where(alone, units, signs), torch.where(alone, numbers + 1, owner)
        phase = torch.zeros_like(owner[:, :1])
        while bool((signs == 0).any()):
            found = [
                # Nothing is asked of a factor that is settled for the whole batch.
                (own, own) if bool(own.all()) else self._said(_entries(ties, sizes, part, signs))
                for part, own in enumerate(_split(signs, sizes))
            ]
            new, clear = torch.cat([sign for sign, _ in found], 1), torch.cat([one for _, one in found], 1)
            fresh = (signs == 0) & (new != 0)
            # Where nothing more follows, the first that is left begins a set of its own.
            left = signs == 0
            root = left & (left.int().cumsum(1) == 1) & ~fresh.any(1, keepdim=True)
            phase = torch.where(root.any(1, keepdim=True), root.int().argmax(1, keepdim=True) + 1, phase)
            signs = torch.where(fresh, new, torch.where(root, units, signs))
            margin = torch.where(fresh, clear, margin)
            owner = torch.where(fresh | root, phase, owner)
        none = margin.new_ones(len(margin), 1)
        return signs, owner, torch.cat([margin, none], 1).amin(1)

    def _said(self, entries: Tensor) -> tuple[Tensor, Tensor]:
        signs, margins = self.rule(entries)
        otherwise = signs if self.rule is first_clear else first_clear(entries)[0]
        sizes = entries.abs().amax(-1) if entries.shape[-1] else entries.sum(-1)
        silent = (signs == 0) & (otherwise != 0)
        return torch.where(silent, otherwise, signs), torch.where(silent, 0.0, torch.minimum(margins, sizes))


@final
@dataclass(frozen=True)
class Free:
    """A stabilizer of flips: sets of things that may each turn over together.

    Attributes:
        owners: for each factor (batch, n), int64: which set a thing belongs to; 0 for those that cannot turn.
    """

    owners: tuple[Int[Tensor, "batch _"], ...]

    def __call__(self, action: Any, output: Tensor, index: Any) -> Tensor:
        """The mean over the stabilizer: 0 where an entry changes its sign with some set, the entry itself elsewhere."""
        flips = _flips(action, len(self.owners))
        if flips is None:
            raise refuse(
                "SignRule: an output cannot be averaged over flips that leave the input as it is",
                got=f"an output declared {action!r}",
                expected="Flipped(), in a Factor, in a Chain of two, Scalar() or None",
                fix="Average() where the group is small",
            )
        if not flips:
            return output
        sets = []
        for part, flip in flips:
            owners, axes = self.owners[part], output.ndim - 1
            place = flip.place(output.shape[1:], owners.shape[1])
            sets.append(owners.reshape(len(owners), *(1,) * place, owners.shape[1], *(1,) * (axes - place - 1)))
        # Two flips of one set undo each other.
        other = sets[1] if len(sets) == 2 else torch.zeros_like(sets[0])
        return torch.where(sets[0] == other, output, torch.zeros((), dtype=output.dtype, device=output.device))


@dataclass(frozen=True)
class _Tie:
    """An input as (batch, n, k, m) in units of its largest entry: what thing i of one factor has with thing j of another."""

    values: Tensor
    one: int
    two: int | None


def signed(symmetry: Symmetry) -> bool:
    """Whether `SignRule` knows the group and each input."""
    group = symmetry.group
    factors = group.factors if isinstance(group, Product) else (group,)
    if not all(isinstance(factor, Flips) for factor in factors):
        return False
    return all(_flips(leaf, len(factors)) is not None for leaf in spec_leaves(symmetry.inputs))


def _sizes(group: Any) -> list[int]:
    factors: tuple[Any, ...] = group.factors if isinstance(group, Product) else (group,)
    if not all(isinstance(factor, Flips) for factor in factors):
        raise refuse(
            "SignRule makes flips and nothing else",
            got=repr(group),
            expected="Flips(n), or Product(Flips(edges), Flips(triangles))",
            fix="Average() runs over all elements of a finite group",
        )
    return [factor.n for factor in factors]


def _flips(action: Any, count: int) -> list[tuple[int, Flipped]] | None:
    """Which factors an action feels, and along which axes; None where it is no such action."""
    if action is None or isinstance(action, Scalar):
        return []
    if isinstance(action, Flipped):
        return [(0, action)] if count == 1 else None
    if isinstance(action, Factor):
        inner = action.action
        if isinstance(inner, Flipped) and -count <= action.position < count:
            return [(action.position % count, inner)]
        return [] if isinstance(inner, Scalar) else None
    if isinstance(action, Chain):
        parts = [_flips(part, count) for part in action.actions]
        found = [flip for part in parts if part is not None for flip in part]
        return found if None not in parts and len(found) < 3 else None
    return None


def _ties(symmetry: Symmetry, inputs: Any, sizes: list[int]) -> list[_Tie]:
    found = []
    for action, part, path in matched(symmetry.inputs, inputs):
        flips = _flips(action, len(sizes))
        if flips is None:
            raise refuse(
                f"SignRule: the input{path and ' at ' + path} is declared {action!r}",
                got="an input that may feel more than signs",
                expected="Flipped(), in a Factor, in a Chain of two, Scalar() or None",
                fix="Factor(0, Flipped()) for edges, Chain(Factor(0, Flipped()), Factor(1, Flipped(axis=1))) for boundaries",
            )
        if flips:
            found.append(_tie(part.detach(), flips, sizes, path))
    return found


def _tie(part: Tensor, flips: list[tuple[int, Flipped]], sizes: list[int], path: str) -> _Tie:
    values = torch.view_as_real(part.resolve_conj()) if part.is_complex() else part
    places = [1 + flip.place(part.shape[1:], sizes[number]) for number, flip in flips]
    if len(set(places)) < len(places):
        raise refuse(
            f"SignRule: the input{path and ' at ' + path} feels two flips along one axis",
            got=f"axis {places[0]} of {describe(part)}",
            expected="one group of flips for each axis",
            fix="Chain(Factor(0, Flipped()), Factor(1, Flipped(axis=1)))",
        )
    lost = ~values.isfinite().flatten(1).all(1) if values.shape[1:].numel() else values.new_zeros(0, dtype=torch.bool)
    if not unseen(lost) and bool(lost.any()):
        raise refuse(
            f"SignRule: the input{path and ' at ' + path} holds NaN or infinity",
            got=f"in sample {lost.nonzero()[:, 0].tolist()[:8]} of the batch",
            expected="finite numbers",
            fix="drop or repair these samples first",
        )
    values = values.movedim(places, tuple(range(1, 1 + len(places))))
    if len(places) == 1:
        values = values[:, :, None]
    values = values.reshape(*values.shape[:3], prod(values.shape[3:]))
    # In float64 whatever came, so that units do not round signs away.
    values = (
        values.double()
        if not values.is_floating_point()
        else values.to(torch.promote_types(values.dtype, torch.float32))
    )
    one, two = flips[0][0], flips[1][0] if len(flips) == 2 else None
    if one == two:
        # What a thing has with itself does not change its sign.
        values = values * (1 - torch.eye(values.shape[1], dtype=values.dtype, device=values.device))[..., None]
    largest = values.abs().flatten(1).amax(1) if values.shape[1:].numel() else values.new_ones(len(values))
    return _Tie(values / torch.where(largest > 0, largest, 1.0).reshape(-1, 1, 1, 1), one, two)


def _split(values: Tensor, sizes: list[int]) -> list[Tensor]:
    """The columns (batch, all) of each factor."""
    ends = list(accumulate(sizes))
    return [values[:, end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _entries(ties: list[_Tie], sizes: list[int], part: int, signs: Tensor) -> Tensor:
    """What the things of one factor have of their own, (batch, n, m), given the signs of others (batch, all); 0: unknown."""
    found, each = [], _split(signs, sizes)
    for tie in ties:
        if tie.two is None:
            if tie.one == part:
                found.append(tie.values.flatten(2))
            continue
        if tie.one == part:
            found.append((tie.values * each[tie.two].to(tie.values.dtype)[:, None, :, None]).flatten(2))
        if tie.two == part:
            found.append((tie.values.transpose(1, 2) * each[tie.one].to(tie.values.dtype)[:, None, :, None]).flatten(2))
    if not found:
        return signs.new_zeros(len(signs), sizes[part], 0)
    return torch.cat([one.to(signs.dtype) for one in found], -1)
