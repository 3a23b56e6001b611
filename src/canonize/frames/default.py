"""The frame that is used where none is named."""

from __future__ import annotations

from typing import Any

from canonize._tree import spec_leaves
from canonize.actions import Edges, Nodes, Numbering, Pairs, Point, Rows, Scalar
from canonize.actions.parts import factor_of
from canonize.actions.relabel import permutes
from canonize.errors import refuse
from canonize.frames.average import Average
from canonize.frames.canonical import CanonicalOrder
from canonize.frames.centred import Centred
from canonize.frames.declared import is_points, moved_by
from canonize.frames.flips import SignRule, signed
from canonize.frames.nested import Nested
from canonize.frames.pca import PCA
from canonize.frames.polar import Polar, is_left
from canonize.frames.sort import Sorted
from canonize.groups import SE, SO, E, O, Product, S, Translation, order
from canonize.symmetry import Symmetry, check_is_claim

_FEW = 128
"""Products of no more elements are averaged over."""


def default_frame(symmetry: Symmetry) -> Any:
    """The frame that is exact for the claim and needs nothing else.

    `Sorted` for sets, `CanonicalOrder` for graphs, `SignRule` for flips, `Average` for other finite groups; for SO(d),
    O(d), SE(d) and E(d) `PCA(signs="ruled")` where the inputs hold points or vectors, which calls the model once unless
    axes or signs nearly tie, and `Polar` where they hold only matrices that are moved from the left; `Centred` for shifts.
    For products of more than 128 elements `Nested`, with the frame of each factor.

    Raises:
        SymmetryError: another infinite group, for which no exact frame exists without further choices.
    """
    check_is_claim(symmetry, "default_frame")
    leaves = spec_leaves(symmetry.inputs)
    if isinstance(symmetry.group, S) and any(map(permutes, leaves)) and all(map(_known, leaves)):
        joined = any(isinstance(leaf, Pairs | Edges) or (isinstance(leaf, Rows) and leaf.edges) for leaf in leaves)
        return CanonicalOrder() if joined else Sorted()
    if signed(symmetry):
        return SignRule()
    if isinstance(symmetry.group, Product) and (order(symmetry.group) or _FEW + 1) > _FEW:
        return _nested(symmetry)
    if order(symmetry.group) is not None:
        return Average()
    points = [leaf for leaf in leaves if leaf is not None and is_points(leaf, symmetry.group)]
    if points and isinstance(symmetry.group, SO | O | SE | E):
        matrices = all(is_left(leaf) for leaf in points)
        return Polar() if matrices and isinstance(symmetry.group, SO | O) else PCA(signs="ruled")
    if isinstance(symmetry.group, Translation) and any(isinstance(moved_by(leaf), Point) for leaf in points):
        return Centred()
    raise refuse(
        f"no frame is exact for {symmetry.group!r} without a choice of yours",
        got="an infinite group and no frame",
        expected="frame=..., or a finite group",
        fix="frame=Sampled(16) averages over random elements; or take a finite subgroup: C(8) in SO(2), Octahedral() in SO(3)",
    )


def _known(leaf: Any) -> bool:
    """Whether orders of graphs and sets know how to read what is declared so."""
    inner = leaf.action if isinstance(leaf, Rows) else leaf
    return inner is None or isinstance(inner, Scalar | Nodes | Pairs | Numbering)


def _nested(symmetry: Symmetry) -> Nested:
    """The frame of each factor of a product: those that permute things last, in an order that knows of rounding."""
    factors = symmetry.group.factors
    frames: dict[int, Any] = {}
    for position in sorted(range(len(factors)), key=lambda position: isinstance(factors[position], S)):
        seen, made = (factor_of(tree, position, len(factors)) for tree in (symmetry.inputs, symmetry.outputs))
        frame = default_frame(Symmetry(factors[position], seen, made))
        posed = isinstance(frame, Sorted) and any(order(factors[other]) is None for other in frames)
        frames[position] = Sorted(within="rounding") if posed else frame
    return Nested(frames)
