"""Values under a finite group that only moves their entries: the smallest digest of the orbit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from canonize._tree import describe, map_tensors
from canonize.actions import lossless
from canonize.actions.grid import downward
from canonize.errors import refuse
from canonize.forms.digest import bulk, digest, least
from canonize.groups import FiniteMatrixGroup
from canonize.groups.base import leading
from canonize.linalg import is_signed_permutation


def grid_digest(x: Tensor, group: FiniteMatrixGroup) -> str:
    """The digest of an image or a volume: the same for all its turns, whose pixels are the same bit for bit.

    A quarter turn may exchange axes of different length: a picture of 640 x 480 and its copy of 480 x 640 have one digest.

    Raises:
        SymmetryError: elements that do not map the grid onto itself, too few axes.
    """
    matrices = _lossless(x, group)
    x = least(x)
    return min(digest("grid", [bulk(_turned(x, matrix))]) for matrix in downward(matrices))


def least_turn(x: Tensor, group: FiniteMatrixGroup) -> tuple[Tensor, Tensor, str]:
    """The turn of an image or a volume with the smallest digest, the element that takes it back to `x`, and that digest.

    Of the turns with that digest, whose pixels are the same, the first element of the group is taken.

    Raises:
        SymmetryError: as for `grid_digest`.
    """
    matrices = _lossless(x, group)
    told = [digest("grid", [bulk(_turned(least(x), matrix))]) for matrix in downward(matrices)]
    best = min(range(len(told)), key=told.__getitem__)
    # The inverse of a signed permutation is its transpose.
    return _turned(x, downward(matrices)[best]).contiguous(), matrices[best].mT.contiguous(), told[best]


def _lossless(x: Tensor, group: FiniteMatrixGroup) -> Tensor:
    matrices = group.elements(dtype=torch.float64)
    d = matrices.shape[-1]
    if not bool(is_signed_permutation(matrices).all()):
        raise refuse(
            f"{group!r} does not map pixels onto pixels",
            got=f"{int((~is_signed_permutation(matrices)).sum())} elements of {len(matrices)} between the axes",
            expected="quarter turns and flips, which are exact: C(4), D(4), C(2), D(2), Octahedral()",
            fix="C(4) or D(4); equality after resampling would be a matter of taste",
        )
    if x.ndim < d:
        raise refuse(
            f"{group!r} turns grids with {d} axes",
            got=describe(x),
            expected=f"one image (channels, {'depth, ' if d == 3 else ''}height, width)",
            fix="one image at a time, without a batch axis",
        )
    return matrices


def _turned(x: Tensor, matrix: Tensor) -> Tensor:
    """The grid moved by a signed permutation of its axes, width first as in `downward`."""
    d, lead = len(matrix), x.ndim - len(matrix)
    # Row r of the matrix makes the new axis r out of the old axis that its entry stands at.
    source = matrix.abs().argmax(1)
    signs = matrix.sum(1)
    axes = [x.ndim - 1 - int(source[d - 1 - place]) for place in range(d)]
    flips = [lead + place for place in range(d) if float(signs[d - 1 - place]) < 0]
    return x.permute(*range(lead), *axes).flip(flips)


def listed_digest(x: Any, group: Any, action: Any) -> str:
    """The digest of a value under any finite group and an action that moves its entries without loss.

    Raises:
        SymmetryError: a group that is not finite, an action that rounds.
    """
    if not hasattr(group, "elements"):
        raise refuse(
            f"{group!r} has no list of elements",
            got="action= for a group that is not finite",
            expected="a finite group",
            fix="leave action= out: canonical_hash knows SO, O, SE, E and S() by themselves",
        )
    elements = group.elements()
    best = ""
    for place in range(leading(elements)):
        g = map_tensors(lambda t, place=place: t[place][None], elements)  # type: ignore[misc]  # the default binds it
        if not bool(lossless(action, g, x[None]).all()):
            raise refuse(
                f"{action!r} resamples under {group!r}",
                got=f"element {place} rounds",
                expected="elements that only move entries",
                fix="a smaller group, such as C(4) for images",
            )
        told = digest("listed", [bulk(least(action(g, x[None])[0]))])
        best = told if not best else min(best, told)
    return best
