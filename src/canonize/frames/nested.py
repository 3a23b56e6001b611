"""Products of groups: a frame for each factor, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, nn

from canonize._tree import describe, map_tensors, spec_leaves
from canonize.actions.parts import factor_of
from canonize.actions.relabel import permutes
from canonize.actions.rows import Layout
from canonize.actions.trees import batch_of, move, repeat
from canonize.errors import refuse, within
from canonize.frames.base import Poses, Stabilizer, draws, flat
from canonize.frames.check import check_is_frame
from canonize.groups import Product
from canonize.symmetry import Symmetry, check_is_claim


@final
class Nested(nn.Module):
    """The pose under a product of groups: that of one factor first, then, of the input seen from it, that of the next.

    `Nested({1: PCA(), 0: Sorted(within="rounding")})` is a frame of `Product(S(), O(3))`: a molecule is turned upright, and
    then its atoms are put in order, so that any network, also an MLP on the flattened coordinates, keeps both symmetries.
    Actions name their factor: `Chain(Factor(0, Nodes()), Factor(1, Point()))`.

    A frame must not mind what the factors after it do: `PCA`, `Weighted` and `Learned` with a network that takes sets do
    not mind how points are numbered. It must see what the factors before it have settled as settled: after a pose that is
    exact to rounding, orders need `within="rounding"`, or a share of the range where a far origin has cost more digits.

    The number of poses is the product of the frames' numbers, the margin the smallest of theirs.

    Args:
        frames: the frame of each factor, by its position in the product, in the order in which they are asked.

    Raises:
        SymmetryError: no frames, a position twice or none at all; on use, another group than a product with exactly these
            factors, an action that does not say which factor moves it, an input that two factors permute.
    """

    def __init__(self, frames: Mapping[int, Any]) -> None:
        super().__init__()
        if not isinstance(frames, Mapping) or not frames or sorted(frames) != list(range(len(frames))):
            raise refuse(
                "Nested needs a frame for each factor",
                got=describe(frames),
                expected="a mapping from each position, 0, 1, ..., to a frame",
                fix='Nested({1: PCA(), 0: Sorted(within="rounding")})',
            )
        for position, frame in frames.items():
            check_is_frame(frame, "Nested")
            setattr(self, f"frame{position}", frame)
        self.positions = tuple(frames)

    @property
    def frames(self) -> dict[int, Any]:
        """The frame of each factor, in the order in which they are asked."""
        return {position: getattr(self, f"frame{position}") for position in self.positions}

    def extra_repr(self) -> str:
        """The frames, for `print(model)`."""
        return ", ".join(f"{position}: {frame!r}" for position, frame in self.frames.items())

    def forward(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """The poses of all factors."""
        factors = _factors(symmetry, len(self.positions))
        spec, count = symmetry.inputs, len(factors)
        _check_apart(spec, self.positions, factors)
        batch, dtype, device = batch_of(spec, inputs)
        elements: dict[int, Any] = {}
        weights = torch.ones(1, batch, dtype=dtype, device=device)
        margin: Tensor | None = None
        fixed: list[_Part] = []
        value, spent, sparse = inputs, 0, False
        for position, frame in self.frames.items():
            seen = factor_of(spec, position, count)
            outputs = factor_of(symmetry.outputs, position, count)
            with within("the frame of factor {}, {!r}", position, factors[position]):
                poses = frame(Symmetry(factors[position], seen, outputs), value, **draws(frame, generator))
            k, entries = poses.count, weights.numel()
            if poses.stabilizer is not None:
                fixed.append(_Part(position, count, poses.stabilizer, k * entries))
            # The poses of this factor come slowest, so that entry e of those before is entry e + i * entries now.
            margin = _smaller(margin, poses.margin, weights)
            elements = {
                name: map_tensors(lambda t, k=k: t.repeat(k, *(1,) * (t.ndim - 1)), part)  # type: ignore[misc]  # the loop's k
                for name, part in elements.items()
            }
            elements[position] = flat(poses.elements)
            weights = (poses.weights.reshape(k, *weights.shape) * weights).flatten(0, 1)
            spent, sparse = spent + poses.spent, sparse or poses.sparse
            if position != self.positions[-1]:
                copies = repeat(
                    spec, value, k, batch=entries, way_out="use frames with one pose for all factors but the last"
                )
                value = move(seen, factors[position].inverse(elements[position]), copies)
        shape = weights.shape
        together = tuple(map_tensors(lambda t: t.reshape(*shape, *t.shape[1:]), elements[i]) for i in range(count))
        stabilizer = _Together(tuple(fixed)) if fixed else None
        return Poses(together, weights, margin, stabilizer, spent, sparse)


@final
@dataclass(frozen=True)
class _Part:
    """The stabilizer of one factor, for the (pose, sample) pairs that stood when its frame was asked."""

    position: int
    count: int
    inner: Stabilizer
    size: int

    def take(self, entries: Tensor) -> _Part:
        return replace(self, inner=self.inner.take(entries % self.size), size=len(entries))  # type: ignore[attr-defined]  # all have it

    def __call__(self, action: Any, output: Tensor, where: Layout | None) -> Tensor:
        return self.inner(factor_of(action, self.position, self.count), output, where)


@final
@dataclass(frozen=True)
class _Together:
    """The stabilizers of several factors, which commute."""

    parts: tuple[_Part, ...]

    def take(self, entries: Tensor) -> _Together:
        return _Together(tuple(part.take(entries) for part in self.parts))

    def __call__(self, action: Any, output: Tensor, where: Layout | None) -> Tensor:
        for part in self.parts:
            output = part(action, output, where)
        return output


def _smaller(before: Tensor | None, told: Tensor | None, weights: Tensor) -> Tensor | None:
    """The margin with that of the next frame, which is the smallest over the poses in use."""
    if told is None:
        return before
    each = torch.where(weights == 0, torch.inf, told.reshape(weights.shape).to(weights.dtype)).amin(0)
    return each if before is None else torch.minimum(before, each)


def _check_apart(spec: Any, positions: tuple[int, ...], factors: tuple[Any, ...]) -> None:
    """Refuse values whose entries two factors move from place to place: no order of one is blind to the other's."""
    for action in spec_leaves(spec):
        moving = [one for one in positions if permutes(factor_of(action, one, len(positions)))]
        if len(moving) > 1:
            raise refuse(
                "Nested: two factors move the entries of one input from place to place",
                got=f"{action!r}, factors {factors[moving[0]]!r} and {factors[moving[1]]!r}",
                expected="at most one factor that permutes each input: an order of the rows of a matrix depends on the order "
                "of its columns",
                fix="Average() where the groups are small; or a graph of rows and columns under one S(), with the matrix as "
                "weights of its edges and CanonicalOrder()",
            )


def _factors(symmetry: Symmetry, count: int) -> tuple[Any, ...]:
    check_is_claim(symmetry, "Nested")
    group = symmetry.group
    if not isinstance(group, Product) or len(group.factors) != count:
        raise refuse(
            "Nested does not fit the group",
            got=repr(group),
            expected=f"a Product of {count} groups",
            fix="one frame for each factor: Product(S(), O(3)) goes with Nested({1: ..., 0: ...})",
        )
    return group.factors
