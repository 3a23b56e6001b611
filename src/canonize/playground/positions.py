"""What the sliders stand for: turns of the plane, motions of space, numberings of nodes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from canonize.groups import Rigid

STEP = 15
"""Degrees from one position of a slider to the next."""
ANGLES = tuple(range(0, 360, STEP))
NUMBERINGS = tuple(range(24))
AXES: dict[str, tuple[float, float, float]] = {
    "x": (1.0, 0.0, 0.0),
    "y": (0.0, 1.0, 0.0),
    "z": (0.0, 0.0, 1.0),
    "diagonal": (1.0, 1.0, 1.0),
}


def turns(angles: Sequence[float], *, mirrored: bool = False, dtype: torch.dtype = torch.float32) -> Tensor:
    """Turns of the plane, counterclockwise, (positions, 2, 2); quarter turns without rounding.

    Args:
        angles: in degrees.
        mirrored: left and right are exchanged first.
        dtype: of the matrices.

    Example:
        >>> turns([90.0]).tolist()
        [[[0.0, -1.0], [1.0, 0.0]]]
    """
    cosines, sines = (torch.tensor([_exact(angle, part) for angle in angles], dtype=dtype) for part in (0, 1))
    matrices = torch.stack([torch.stack([cosines, -sines], -1), torch.stack([sines, cosines], -1)], -2)
    return matrices * torch.tensor([-1.0, 1.0], dtype=dtype) if mirrored else matrices


def motions(
    angles: Sequence[float],
    axis: str,
    *,
    mirrored: bool = False,
    shift: float = 0.0,
    dtype: torch.dtype = torch.float64,
) -> Rigid:
    """Motions of space: a turn about an axis through the origin, then a shift along x; (positions,) of them.

    Args:
        angles: in degrees, counterclockwise as seen from the tip of the axis.
        axis: one of `AXES`.
        mirrored: x becomes -x first.
        shift: in the unit of the coordinates (Å for molecules).
        dtype: of the matrices.

    Raises:
        KeyError: another axis.
    """
    u = torch.tensor(AXES[axis], dtype=dtype)
    u = u / u.norm()
    x, y, z = u.tolist()
    cross = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]], dtype=dtype)
    cosines, sines = (
        torch.tensor([_exact(angle, part) for angle in angles], dtype=dtype)[:, None, None] for part in (0, 1)
    )
    # Rodrigues: what lies along the axis stays, what lies across turns.
    linear = cosines * torch.eye(3, dtype=dtype) + sines * cross + (1 - cosines) * torch.outer(u, u)
    if mirrored:
        linear = linear * torch.tensor([-1.0, 1.0, 1.0], dtype=dtype)
    return Rigid(linear, torch.tensor([shift, 0.0, 0.0], dtype=dtype).expand(len(angles), 3))


def numberings(seeds: Sequence[int], count: int) -> Tensor:
    """Numberings of nodes, (positions, count) int64: seed 0 leaves them as they are, each other draws one.

    Example:
        >>> numberings([0], 4).tolist()
        [[0, 1, 2, 3]]
    """
    drawn = [
        torch.randperm(count, generator=torch.Generator().manual_seed(seed)) if seed else torch.arange(count)
        for seed in seeds
    ]
    return torch.stack(drawn) if drawn else torch.zeros(0, count, dtype=torch.int64)


def _exact(angle: float, part: int) -> float:
    """The cosine (part 0) or sine (part 1) of an angle in degrees, exact for quarter turns."""
    quarter, rest = divmod(angle, 90)
    if rest == 0:
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(quarter) % 4][part]
    radians = math.radians(angle)
    return math.sin(radians) if part else math.cos(radians)
