"""Which of the declared inputs tell how a cloud stands."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from canonize._tree import spec_leaves
from canonize._values import unseen
from canonize.actions import Numbering, Planar, Point, Rows, Scalar, Vector
from canonize.actions import Tensor as TensorAction
from canonize.errors import refuse
from canonize.groups import SE, SO, E, O, Translation


def has_shifts(group: Any) -> bool:
    """Whether the elements are `Rigid` motions."""
    return isinstance(group, SE | E | Translation)


def check_is_euclidean(group: Any, where: str) -> None:
    """Refuse groups other than SO(d), O(d), SE(d), E(d).

    Raises:
        SymmetryError: another group.
    """
    if isinstance(group, SO | O | SE | E):
        return
    finite = hasattr(group, "elements")
    raise refuse(
        f"{where} makes no elements of {group!r}",
        got=repr(group),
        expected="SO(d), O(d), SE(d) or E(d)",
        fix="Average() runs over all elements of a finite group" if finite else "declare the group of the coordinates",
    )


def inner(action: Any) -> Any:
    """The action of one row."""
    return action.action if isinstance(action, Rows) else action


def moved_by(action: Any) -> Any:
    """The action that moves a value, also in a plane."""
    action = inner(action)
    return action.action if isinstance(action, Planar) else action


def is_points(action: Any, group: Any) -> bool:
    """Whether an action moves points or vectors: by their last axis, as columns of a matrix, or in a plane.

    Under rotations alone pseudovectors are vectors.
    """
    action = moved_by(action)
    if isinstance(action, Vector):
        return action.axis in (-1, -2)
    if isinstance(action, TensorAction):
        return action.rank == 1 and (not action.odd or isinstance(group, SO | SE))
    return isinstance(action, Point)


def unread(symmetry: Any) -> list[Any]:
    """The declared inputs that may turn and are neither points nor vectors, so that no pose is read from them."""
    still = (Scalar, Numbering)
    return [
        action
        for action in spec_leaves(symmetry.inputs)
        if action is not None and not isinstance(moved_by(action), still) and not is_points(action, symmetry.group)
    ]


def components(action: Any, part: Tensor) -> Tensor:
    """The coordinates that move, in the last axis."""
    found = part.mT if getattr(moved_by(action), "axis", -1) == -2 and part.ndim > 1 else part
    return found[..., list(inner(action).plane)] if isinstance(inner(action), Planar) else found


def has_more(symmetry: Any) -> bool:
    """Whether several fields of the inputs hold points or vectors."""
    return sum(action is not None and is_points(action, symmetry.group) for action in spec_leaves(symmetry.inputs)) > 1


def warn_of_wrapping(main: Any, found: dict[str, tuple[Any, Tensor]], where: str) -> None:
    """Tell that a pose is read from positions of a periodic system: which depend on how atoms are wrapped into the cell.

    Args:
        main: the action of what the pose is read from.
        found: declared fields by path. Periodic is what a field `pbc` says is, or where there is none, what has a field
            `cell` with a volume.
        where: who asks.
    """
    if unseen() or not isinstance(moved_by(main), Point):
        return
    cells, flags = ([part for path, (_, part) in found.items() if named(path, name)] for name in ("cell", "pbc"))
    if flags:
        periodic = any(bool(part.any()) for part in flags)
    else:
        square = [part for part in cells if part.ndim > 1 and part.shape[-1] == part.shape[-2]]
        periodic = any(bool((torch.linalg.det(part.detach().double()) != 0).any()) for part in square)
    if periodic:
        warnings.warn(
            f"{where}: the pose of a periodic system is read from its positions, and another choice of origin or of the atoms "
            'that stand for the lattice gives another pose. Polar(of="cell") reads it from the cell under O(3) and SO(3). This '
            "is right for whole molecules in a box.",
            UserWarning,
            stacklevel=4,
        )


def named(path: str, of: str) -> bool:
    """Whether the path of a leaf, such as `.state.pos` or `[0]`, is what `of` names: all of it, or its last name."""
    path = path.removeprefix(".")
    return of in (path, path.rpartition(".")[2])
