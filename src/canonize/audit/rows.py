"""The findings by element, or by range of angles where elements are random."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from canonize.actions.trees import at
from canonize.audit.labels import label, matrices, mirrored, plane_angles, turn_angles
from canonize.audit.result import ElementRow
from canonize.audit.sweep import Found

BINS = 24
"""Ranges of 15 degrees around the circle, for groups that turn the plane by any angle."""


def rows_of(table: Any, found: Found, *, exhaustive: bool) -> tuple[ElementRow, ...]:
    """One row for each element of a finite group; else one for each range of angles that was hit, or one for all.

    Args:
        table: (elements, samples, *element).
        found: what was measured.
        exhaustive: whether row e of everything is element e for all samples.
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
    matrix = matrices(table)
    if matrix is None:
        return (_row(found, torch.full((m, n), True), f"{m} random elements for each input", None, flipped=False),)
    planar = matrix.shape[-1] == 2
    angles = (plane_angles(matrix) if planar else turn_angles(matrix)).cpu()
    turned_over = mirrored(matrix).cpu()
    width = 360 / BINS if planar else 180 / 12
    number = (angles / width).long().clamp(max=(BINS if planar else 12) - 1)
    rows = []
    for flipped in (False, True):
        for k in range(BINS if planar else 12):
            inside = (number == k) & (turned_over == flipped)
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
