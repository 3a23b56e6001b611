"""The findings by element, or by range of angles where elements are random."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from canonize.actions.trees import at
from canonize.audit.labels import label, matrices, mirrored, plane_angles, turn_angles
from canonize.audit.raw import Found
from canonize.audit.result import ElementRow

BINS = 24
"""Ranges of 15 degrees around the circle, for groups that turn the plane by any angle."""
SPACE = 12
"""Ranges of 15 degrees from 0 to 180, for turns of space."""


def ranges_of(table: Any) -> Tensor | None:
    """Which range of angles each element falls into, (elements, samples) int8; None where elements have no angle.

    The ranges of mirrored ones come after the others, and those of three dimensions after all of the plane.
    """
    matrix = matrices(table)
    if matrix is None:
        return None
    planar = matrix.shape[-1] == 2
    angles = (plane_angles(matrix) if planar else turn_angles(matrix)).cpu()
    count = BINS if planar else SPACE
    number = (angles / ((360 if planar else 180) / count)).long().clamp(max=count - 1)
    return (number + count * mirrored(matrix).cpu() + (0 if planar else 2 * BINS)).to(torch.int8)


def rows_of(table: Any, found: Found, *, exhaustive: bool, ranges: Tensor | None) -> tuple[ElementRow, ...]:
    """One row for each element of a finite group; else one for each range of angles that was hit, or one for all.

    Args:
        table: (elements, samples, *element) where `exhaustive`; of any number of samples.
        found: what was measured.
        exhaustive: whether row e of everything is element e for all samples.
        ranges: of random elements, for all samples; see `ranges_of`.
    """
    m, n = found.errors.shape
    if exhaustive:
        matrix = matrices(at(table, (slice(None), 0)))
        planar = matrix is not None and matrix.shape[-1] == 2
        return tuple(
            _row(
                found,
                torch.full((m, n), False).index_fill(0, torch.tensor([e]), True),
                label(at(table, (e, 0)), e),
                float(plane_angles(matrix[e])) if planar and matrix is not None else None,
                flipped=matrix is not None and bool(mirrored(matrix[e])),
            )
            for e in range(m)
        )
    if ranges is None:
        return (_row(found, torch.full((m, n), True), f"{m} random elements for each input", None, flipped=False),)
    planar = bool((ranges < 2 * BINS).all())
    count, start = (BINS, 0) if planar else (SPACE, 2 * BINS)
    width = (360 if planar else 180) / count
    rows = []
    for flipped in (False, True):
        for k in range(count):
            inside = ranges == start + count * flipped + k
            if bool(inside.any()):
                name = f"{k * width:g}° to {(k + 1) * width:g}°" + (", mirrored" if flipped else "")
                rows.append(_row(found, inside, name, (k + 0.5) * width if planar else None, flipped=flipped))
    return tuple(rows)


def _row(found: Found, inside: Tensor, name: str, angle: float | None, *, flipped: bool) -> ElementRow:
    errors = found.errors[inside]
    return ElementRow(
        label=name,
        angle=angle,
        mirrored=flipped,
        lossless=bool(found.lossless[inside].all()),
        pairs=len(errors),
        error=float(errors.median()),
        worst=float(errors.max()),
        floor=None if found.floors is None else float(found.floors[inside].median()),
        metric=None if found.metric is None else float(found.metric[inside].mean()),
        agreement=None if found.agreement is None else float(found.agreement[inside].double().mean()),
    )
