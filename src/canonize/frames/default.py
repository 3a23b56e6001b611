"""The frame that is used where none is named."""

from __future__ import annotations

from typing import Any

from canonize._tree import spec_leaves
from canonize.actions import Nodes, Scalar
from canonize.errors import refuse
from canonize.frames.average import Average
from canonize.frames.declared import is_points
from canonize.frames.pca import PCA
from canonize.frames.polar import Polar, is_left
from canonize.frames.sort import Sorted
from canonize.groups import SE, SO, E, O, S, order
from canonize.symmetry import Symmetry, check_is_claim


def default_frame(symmetry: Symmetry) -> Any:
    """The frame that is exact for the claim and needs nothing else.

    `Sorted` for sets, `Average` for finite groups; for SO(d), O(d), SE(d) and E(d) `PCA(signs="ruled")` where the inputs
    hold points or vectors, which calls the model once unless axes or signs nearly tie, and `Polar` where they hold only
    matrices that are moved from the left.

    Raises:
        SymmetryError: another infinite group, for which no exact frame exists without further choices.
    """
    check_is_claim(symmetry, "default_frame")
    leaves = spec_leaves(symmetry.inputs)
    others = [leaf for leaf in leaves if not isinstance(leaf, Nodes | Scalar) and leaf is not None]
    sets = any(isinstance(leaf, Nodes) for leaf in leaves) and not others
    if isinstance(symmetry.group, S) and sets:
        return Sorted()
    if order(symmetry.group) is not None:
        return Average()
    points = [leaf for leaf in leaves if leaf is not None and is_points(leaf, symmetry.group)]
    if points and isinstance(symmetry.group, SO | O | SE | E):
        matrices = all(is_left(leaf) for leaf in points)
        return Polar() if matrices and isinstance(symmetry.group, SO | O) else PCA(signs="ruled")
    raise refuse(
        f"no frame is exact for {symmetry.group!r} without a choice of yours",
        got="an infinite group and no frame",
        expected="frame=..., or a finite group",
        fix="frame=Sampled(16) averages over random elements; or take a finite subgroup: C(8) in SO(2), Octahedral() in SO(3)",
    )
