"""Finite sets of rotations over which tensors have the same mean as over all rotations."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor

from canonize._tree import spec_leaves
from canonize._values import sent
from canonize.actions import Each, Numbering, Point, Scalar, Vector
from canonize.actions import Tensor as TensorAction
from canonize.groups import Icosahedral, Octahedral

UNKNOWN = 2
"""The rank that outputs are taken to have where their action does not say it."""


def band(outputs: Any) -> int:
    """The largest rank of the declared outputs: 0 for scalars, 1 for vectors; an action of your own may have an int `band`."""
    return max([0, *(_rank(leaf) for leaf in spec_leaves(outputs))])


def _rank(action: Any) -> int:
    told = getattr(action, "band", None)
    if isinstance(told, int):
        return told
    if action is None or isinstance(action, Scalar | Numbering):
        return 0
    if isinstance(action, Vector | Point):
        return 1
    if isinstance(action, TensorAction):
        return action.rank
    if isinstance(action, Each):
        return band(action.entry)
    within = getattr(action, "action", None)
    return _rank(within) if within is not None else UNKNOWN


def _design(n: int, rank: int) -> Tensor:
    if n == 1 or (n > 2 and rank == 0):
        return torch.eye(n, dtype=torch.float64)[None]
    if n == 2:
        # Three more than rank 0 needs: an energy is then smooth to second order where the direction is lost.
        angle = torch.arange(rank + 3, dtype=torch.float64) * (2 * torch.pi / (rank + 3))
        return torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).reshape(-1, 2, 2)
    if n == 3 and rank > 2:
        return (Octahedral() if rank == 3 else Icosahedral()).elements(dtype=torch.float64)
    # Cyclic permutations of the axes with an even number of signs turned over; in space the rotations of a tetrahedron.
    found = []
    for step in range(n):
        turn = torch.eye(n, dtype=torch.float64).roll(step, 0)
        # A cycle of an even number of axes is odd.
        if step * (n - 1) % 2:
            turn[0] = -turn[0]
        for signs in product((1.0, -1.0), repeat=n - 1):
            last = 1.0
            for sign in signs:
                last *= sign
            found.append(torch.tensor([*signs, last], dtype=torch.float64)[:, None] * turn)
    return torch.stack(found)


def design(n: int, rank: int, like: Tensor) -> Tensor:
    """Rotations of n-dimensional space, (m, n, n), whose mean of a tensor is that over all rotations; identity first.

    Exact for tensors up to `rank`: in the plane for every rank; in space for irreps up to l = 5, beyond which the
    rotations of an icosahedron are the best of the finite groups; in more dimensions up to rank 3.

    Args:
        n: dimension, at least 1.
        rank: at least 0.
        like: gives dtype and device.
    """
    return sent(_design(n, rank), like.device, like.dtype)
