"""Group elements in words, and their angles."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from canonize.groups import Rigid

_SPELLED = 12
"""Things of a permutation that is written out."""


def matrices(elements: Any) -> Tensor | None:
    """The orthogonal matrices of elements with any batch shape, (*batch, n, n) with n = 2 or 3; None for anything else."""
    linear: Any = elements.linear if isinstance(elements, Rigid) else elements
    if not isinstance(linear, Tensor) or not linear.is_floating_point() or linear.ndim < 2:
        return None
    n = linear.shape[-1]
    if n not in (2, 3) or linear.shape[-2] != n:
        return None
    off = linear.mT @ linear - torch.eye(n, dtype=linear.dtype, device=linear.device)
    orthogonal = not off.numel() or float(off.abs().max()) < 1e-4
    found: Tensor = linear
    return found if orthogonal else None


def mirrored(matrix: Tensor) -> Tensor:
    """Whether each matrix reverses orientation, (*batch), bool."""
    return torch.lt(torch.linalg.det(matrix), 0)


def plane_angles(matrix: Tensor) -> Tensor:
    """The angle of each 2 x 2 orthogonal matrix in degrees, from 0 up to 360; of the turn after diag(-1, 1) if mirrored."""
    sign = torch.where(mirrored(matrix), -1.0, 1.0)
    angle = torch.rad2deg(torch.atan2(sign * matrix[..., 1, 0], sign * matrix[..., 0, 0])) % 360
    # Rounding may leave 359.99999 for the identity.
    # Rounding may also leave -0.0, which prints as such.
    return torch.where((angle - angle.round()).abs() < 1e-3, angle.round(), angle) % 360 + 0.0


def turn_angles(matrix: Tensor) -> Tensor:
    """How far each 3 x 3 orthogonal matrix turns, in degrees from 0 to 180; of minus the matrix if mirrored."""
    sign = torch.where(mirrored(matrix), -1.0, 1.0)
    trace = matrix.diagonal(dim1=-2, dim2=-1).sum(-1) * sign
    return torch.rad2deg(torch.arccos(((trace - 1) / 2).clamp(-1, 1)))


def label(element: Any, number: int) -> str:
    """One element in words, such as "90°" or "45°, mirrored"; its number where there is no angle."""
    matrix = matrices(element)
    if matrix is None:
        return f"element {number}"
    tail = ", mirrored" if bool(mirrored(matrix)) else ""
    if matrix.shape[-1] == 2:
        return f"{_degrees(float(plane_angles(matrix)))}{tail}"
    angle = float(turn_angles(matrix))
    proper = -matrix if tail else matrix
    axis = torch.stack([proper[2, 1] - proper[1, 2], proper[0, 2] - proper[2, 0], proper[1, 0] - proper[0, 1]])
    if float(axis.norm()) < 1e-3:
        return f"{_degrees(angle)}{tail}" if angle < 1 else f"{_degrees(angle)} (element {number}){tail}"
    axis = axis / axis.abs().max()
    return f"{_degrees(angle)} about ({', '.join(f'{float(part) + 0.0:.2g}' for part in axis)}){tail}"


def in_words(element: Any, number: int) -> str:
    """One element as a sentence names it: "turn by 90°", "reflection (45°, mirrored)", "permutation (2, 0, 1)", "identity".

    Angles are those of `label`; its number where there are no words for it.
    """
    if isinstance(element, Rigid):
        parts = [in_words(element.linear, number)]
        if bool(element.shift.any()):
            shift = f"shift by ({', '.join(f'{float(part) + 0.0:.3g}' for part in element.shift)})"
            parts = [shift] if parts == ["identity"] else [*parts, f"the {shift}"]
        return " and ".join(parts)
    if isinstance(element, tuple):
        return f"pair of {' and '.join(f'the {in_words(part, number)}' for part in element)}"
    if isinstance(element, Tensor) and element.ndim == 1 and element.dtype == torch.int64:
        count = len(element)
        if bool((element.cpu() == torch.arange(count)).all()):
            return "identity"
        order = f"({', '.join(map(str, element.tolist()))})" if count <= _SPELLED else f"{number} of {count} things"
        return f"permutation {order}"
    square = isinstance(element, Tensor) and element.ndim == 2 and element.shape[0] == element.shape[1]
    if square and element.is_floating_point() and element.numel():
        if float((element.double().cpu() - torch.eye(len(element), dtype=torch.float64)).abs().max()) < 1e-6:
            return "identity"
        if (matrix := matrices(element)) is not None:
            # In space minus a half turn is a mirror, and minus one the reflection through a point.
            mirror = bool(mirrored(matrix)) and (len(matrix) == 2 or abs(float(turn_angles(matrix)) - 90) > 89.9)
            return f"reflection ({label(element, number)})" if mirror else f"turn by {label(element, number)}"
    return f"element {number}"


def _degrees(angle: float) -> str:
    return f"{angle:.4g}°"
