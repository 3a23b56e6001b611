"""Groups and the data that they fit, by what names and types of columns say; a group that fits nothing is told at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from canonize.cli.data import KINDS as PICTURES
from canonize.cli.items import GRAPHS
from canonize.cli.listing import Item, Items
from canonize.errors import SymmetryError, refuse
from canonize.forms.cloud import motions
from canonize.groups import FiniteMatrixGroup, S

_SUFFIX = re.compile(r"(\.\w+)(?::[0-9]+)?$", re.ASCII)
_WANTED = {
    "images": ("C4 or D4: quarter turns and flips", "--group C4"),
    "graphs": ("S: any order of the nodes", "--group S"),
    "points": ("E3, SE3 and the like, SxE3 in any order, or S for sets", "--group SxE3 --tolerance 1e-3"),
}


def check_compared(group: Any) -> None:
    """Refuse a group under which `canonize dedupe` compares nothing.

    Raises:
        SymmetryError: a group that resamples pixels, or one without a canonical form.
    """
    if isinstance(group, FiniteMatrixGroup) and not group.signed:
        raise refuse(
            f"{group!r} does not map pixels onto pixels, so that its copies are not equal",
            got=f"{group!r}",
            expected="quarter turns and flips, which are exact: C4, D4",
            fix="--group C4; or first canonize canonicalize ... --frame, which turns images upright",
        )
    if not isinstance(group, FiniteMatrixGroup | S) and motions(group) is None:
        raise refuse(
            f"nothing is known of copies under {group!r}",
            got=f"{group!r}",
            expected="; ".join(f"for {kind} {wanted}" for kind, (wanted, _) in _WANTED.items()),
            fix="--group as the data need it",
        )


def fitting(items: Items, group: Any) -> Items:
    """The items, of which those that the group does not fit are bad; nothing but names and headers is read.

    A set of rows may well be what an array holds, and the channels of an image are no set: under S() no turned copy would be
    found, and none be missed. So images need a group of the plane, graphs S, points motions or S.

    Raises:
        SymmetryError: it fits none of them.
    """
    blocks: list[Sequence[Item]] = []
    first: SymmetryError | None = None
    fits = False
    for block in items.blocks:
        kind = _kind(block)
        if kind is None or _fits(kind, group):
            blocks.append(block)
            fits = True
            continue
        error = _misfit(kind, block[0].name, group)
        first = first or error
        blocks.append([Item(block[0].name, block[0].stamp, partial(_raised, error))])
    if first is not None and not fits:
        raise first
    return items if first is None else Items(blocks, items.files)


def _kind(block: Sequence[Item]) -> str | None:
    """What a block holds, if that is known before it is read."""
    told = getattr(block, "holds", None)
    if told is not None:
        found: str | None = told()
        return found
    suffix = _SUFFIX.search(block[0].name)
    if suffix is None:
        return None
    return {**dict.fromkeys(PICTURES, "images"), **dict.fromkeys(GRAPHS, "graphs")}.get(suffix[1].lower())


def _fits(kind: str, group: Any) -> bool:
    if kind == "images":
        return isinstance(group, FiniteMatrixGroup) and group.dim == 2
    return isinstance(group, S) or (kind == "points" and motions(group) is not None)


def _misfit(kind: str, name: str, group: Any) -> SymmetryError:
    expected, fix = _WANTED[kind]
    return refuse("the group does not fit the data", got=f"{kind} ({name}) under {group!r}", expected=expected, fix=fix)


def _raised(error: Exception) -> Any:
    raise error
