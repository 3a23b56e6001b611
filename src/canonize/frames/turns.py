"""Turns of the plane and of space for frames that search: coarse grids that lossless turns permute, and small turns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import torch
from torch import Tensor

from canonize.groups import SO, C, D, Icosahedral, O, Octahedral
from canonize.linalg import is_signed_permutation


@final
@dataclass(frozen=True)
class Kind:
    """What a group of turns is made of.

    Attributes:
        dim: 2 for the plane, 3 for space.
        mirrored: whether it has reflections.
        order: number of rotations of a finite group of the plane; None where turns are continuous.
    """

    dim: int
    mirrored: bool
    order: int | None = None

    @property
    def axes(self) -> int:
        """Number of parameters of a small turn."""
        return 1 if self.dim == 2 else 3

    def table(self) -> Tensor:
        """All elements of a finite group, float64: the rotations, then the reflections."""
        assert self.order is not None
        return (D if self.mirrored else C)(self.order).elements(dtype=torch.float64)

    def signed(self) -> Tensor:
        """The elements that are signed permutations of the axes, identity first, float64."""
        if self.order is not None:
            table = self.table()
            return table[is_signed_permutation(table)]
        group = (D if self.mirrored else C)(4) if self.dim == 2 else Octahedral(self.mirrored)
        return group.elements(dtype=torch.float64)


def kind_of(group: Any) -> Kind | None:
    """SO(2), O(2), SO(3), O(3), C(n) or D(n) in these terms; None for any other group."""
    if isinstance(group, C | D):
        return Kind(2, isinstance(group, D), group.n)
    if isinstance(group, SO | O) and group.n in (2, 3):
        return Kind(group.n, isinstance(group, O))
    return None


@final
@dataclass(frozen=True)
class Grid:
    """Coarse elements: multiplied from the left by a lossless turn of the group, they are the same set, bit for bit.

    Attributes:
        elements: (k, d, d), float64, identity first where it is among them.
        beside: (r, k), int64: the neighbours of each, itself where there are fewer than r.
        step: how far from an element refinement has to look, in rad.
        gap: the same in elements of a finite group; 1 where the grid is the whole group.
        places: (k,), int64: which rotation of a finite group each element is, after the reflection if it is one.
    """

    elements: Tensor
    beside: Tensor
    step: float
    gap: int = 1
    places: Tensor | None = None


def sizes(kind: Kind, angles: int, *, tilted: bool = False) -> list[int]:
    """How many elements the grids have that can be made, the smallest first; the last has `angles` angles, rounded up."""
    both = 2 if kind.mirrored else 1
    if kind.dim == 3:
        return [24 * both] if angles <= 4 else [24 * both, (96 if tilted else 120) * both]
    unit, top = (4, math.inf) if kind.order is None else (math.gcd(kind.order, 4), kind.order)
    last = int(min(-(-angles // unit) * unit, top))
    return [both * count for count in range(unit, last + 1, unit)]


def grid(kind: Kind, size: int, *, tilted: bool = False) -> Grid:
    """The grid of that size, one of `sizes`.

    In the plane: equally spaced angles, a multiple of 4, or for a finite group as equally as its elements allow, a multiple
    of the quarter or half turns that it has. In space: the 24 octahedral rotations, every place within 63 degrees of one;
    or 120, their products with the icosahedral rotations, every place within 40 degrees. (The 60 icosahedral rotations
    alone are not permuted by quarter turns.) Reflections add each element after a lossless reflection.

    Args:
        kind: of the group.
        size: number of elements.
        tilted: leave lossless elements out, for inputs that cannot be moved by all of them or have no derivative there.
    """
    # What is remembered must not be made of inference tensors, whoever asks first.
    with torch.inference_mode(False):
        return _remembered(kind, size, tilted)


@lru_cache(maxsize=64)
def _remembered(kind: Kind, size: int, tilted: bool) -> Grid:
    return _space(kind, size, tilted) if kind.dim == 3 else _plane(kind, size, tilted)


def _plane(kind: Kind, size: int, tilted: bool) -> Grid:
    count = size // 2 if kind.mirrored else size
    place = torch.arange(count)
    around = torch.stack([(place - 1) % count, (place + 1) % count])
    beside = torch.cat([around, around + count], 1) if kind.mirrored else around
    if kind.order is None:
        made = (D if kind.mirrored else C)(2 * count if tilted else count).elements(dtype=torch.float64)
        return Grid(made[1::2] if tilted else made, beside, 2 * math.pi / count)
    copies = math.gcd(kind.order, 4)
    part, each = kind.order // copies, count // copies
    places = (torch.arange(copies)[:, None] * part + torch.arange(each) * part // each).flatten()
    gap = -(-part // each)
    rows = places
    if kind.mirrored:
        # The table has each rotation after the reflection; the reflection after the k-th is the one before the -k-th.
        back = -places % kind.order
        rows, places = torch.cat([places, back + kind.order]), torch.cat([places, back])
    return Grid(kind.table()[rows], beside, 2 * math.pi * gap / kind.order, gap, places)


def _space(kind: Kind, size: int, tilted: bool) -> Grid:
    turns = Octahedral().elements(dtype=torch.float64)
    blocks = [turns]
    for other in Icosahedral().elements(dtype=torch.float64):
        if float((torch.cat(blocks) - other).abs().amax((1, 2)).min()) > 1e-9:
            # Each sum has one term that is not zero; adding zero makes -0.0 to 0.0.
            blocks.append(turns @ other + 0.0)
    both = 2 if kind.mirrored else 1
    coarse = size == 24 * both
    made = torch.cat(blocks[1 if tilted else 0 : (2 if tilted else 1) if coarse else 5])
    cosine = ((made.mT[:, None] @ made).diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    # Neighbours are 90 degrees apart; or 44 and 72, and the next 75.5.
    near = cosine > math.cos(math.radians(91.0 if coarse else 73.8))
    most = int(near.sum(1).max())
    self_first = torch.where(near, torch.arange(len(made)), torch.arange(len(made))[:, None])
    apart = near.int().argsort(dim=1, descending=True, stable=True)[:, :most]
    beside = self_first.gather(1, apart).T
    if kind.mirrored:
        made, beside = torch.cat([made, -made]), torch.cat([beside, beside + len(made)], 1)
    return Grid(made + 0.0, beside, 1.1 if coarse else 0.75)


def product(g: Tensor, h: Tensor) -> Tensor:
    """g h entry by entry, so that rows of g which are exchanged or change their sign give rows that do, bit for bit."""
    total = g[..., :, 0:1] * h[..., 0:1, :]
    for inner in range(1, h.shape[-2]):
        total = total + g[..., :, inner, None] * h[..., inner, None, :]
    return total


def turned(g: Tensor, xi: Tensor) -> Tensor:
    """g exp(xi), (*batch, d, d), for small turns xi (*batch, axes), in rad about the axes of the moved frame."""
    if g.shape[-1] == 2:
        cos, sin = xi[..., 0].cos(), xi[..., 0].sin()
        return product(g, torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2))
    angle = xi.square().sum(-1).sqrt()[..., None, None] / math.pi
    spin = _spin(xi)
    turn = torch.sinc(angle) * spin + torch.sinc(angle / 2).square() / 2 * product(spin, spin)
    return product(g, turn + torch.eye(3, dtype=g.dtype, device=g.device))


def near(g: Tensor, xi: Tensor) -> Tensor:
    """g exp(xi) up to the second order in xi: g itself at zero, bit for bit, with its first and second derivatives."""
    spin = _spin(xi)
    turn = spin + product(spin, spin) / 2 + torch.eye(g.shape[-1], dtype=g.dtype, device=g.device)
    return product(g, turn)


def _spin(xi: Tensor) -> Tensor:
    """The skew matrix of a small turn, (*batch, d, d)."""
    if xi.shape[-1] == 1:
        angle = xi[..., 0]
        zero = torch.zeros_like(angle)
        rows = [[zero, -angle], [angle, zero]]
    else:
        x, y, z = xi.unbind(-1)
        zero = torch.zeros_like(x)
        rows = [[zero, -z, y], [z, zero, -x], [-y, x, zero]]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def apart(g: Tensor, h: Tensor, angle: float) -> Tensor:
    """Whether elements are more than an angle apart, in rad; reflections are far from rotations. (*batch), bool."""
    return (g - h).square().sum((-2, -1)) > 4 * (1 - math.cos(min(angle, math.pi / 2)))
