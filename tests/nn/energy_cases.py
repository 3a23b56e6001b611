"""What the laws of energies and forces run over: potentials with a preferred direction, and clouds with symmetry."""

from __future__ import annotations

import math

import torch
from torch import nn

from canonize import Poses, Rigid


def methane(dtype=torch.float64):
    """CH4, Å, carbon first."""
    corners = torch.tensor([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]], dtype=dtype)
    return torch.cat([torch.zeros(1, 3, dtype=dtype), 1.09 / math.sqrt(3) * corners])


def cube(dtype=torch.float64):
    return torch.tensor([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=dtype)


def benzene(dtype=torch.float64):
    """Twelve atoms in a plane, Å."""
    angle = torch.arange(6, dtype=dtype) * math.pi / 3
    ring = torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], -1)
    return torch.cat([1.395 * ring, 2.482 * ring])


def generic(dtype=torch.float64):
    return torch.randn(7, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(dtype)


CLOUDS = {"methane": methane, "cube": cube, "benzene": benzene, "generic": generic}


class Lab(nn.Module):
    """A smooth energy of a cloud that knows up from down: a pair potential and a network on the coordinates.

    It does not change when points of a cloud change places. Takes (batch, n, 3), returns (batch,).
    """

    def __init__(self, hidden=16, seed=0, strength=0.3):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = nn.Parameter(torch.randn(hidden, 3, generator=generator))
        self.last = nn.Parameter(strength * torch.randn(hidden, generator=generator) / math.sqrt(hidden))

    def forward(self, pos):
        n = pos.shape[1]
        i, j = torch.triu_indices(n, n, 1)
        distance = (pos[:, i] - pos[:, j]).square().sum(-1).sqrt()
        pairs = (1 - (1.2 - distance).exp()).square().sum(1)
        up = torch.tanh(pos @ self.first.T) @ self.last
        return pairs + (up + up.square()).sum(1)


class Pairs(nn.Module):
    """A naive twin of a weighted pair frame for E(3) and O(3): every ordered pair of points makes two poses.

    The formula of arXiv 2402.16077 with a compact support; nothing is left out or batched cleverly.
    """

    def forward(self, symmetry, inputs):
        pos = inputs["pos"] if isinstance(inputs, dict) else inputs
        shift = pos.mean(1)
        x = pos - shift[:, None]
        b, n, _ = x.shape
        first, second = (
            part.reshape(b, n * n, 3) for part in (x[:, :, None].expand(b, n, n, 3), x[:, None].expand(b, n, n, 3))
        )
        across = torch.linalg.cross(first, second)
        score = first.square().sum(-1) * across.square().sum(-1)
        weight = torch.relu(score / score.amax(1, keepdim=True) - 0.5).square()
        weight = weight / weight.sum(1, keepdim=True)
        sound = weight > 0
        first = torch.where(sound[..., None], first, torch.eye(3, dtype=x.dtype)[0])
        across = torch.where(sound[..., None], across, torch.eye(3, dtype=x.dtype)[2])
        one, three = (part / part.square().sum(-1, keepdim=True).sqrt() for part in (first, across))
        two = torch.linalg.cross(three, one)
        linear = torch.cat([torch.stack([one, two, sign * three], -1) for sign in (1, -1)], 1).transpose(0, 1)
        weights = torch.cat([weight, weight], 1).T / 2
        rigid = hasattr(symmetry.group, "identity") and isinstance(symmetry.group.identity(), Rigid)
        return Poses(Rigid(linear, shift.expand(len(linear), b, 3)) if rigid else linear, weights)


def differences(energy, pos, step=1e-3):
    """-dE/dpos of one cloud (1, n, 3) by central differences of the sixth order, all displaced clouds in one call; float64."""
    size = pos.numel()
    stencil = [
        (sign * times, sign * weight) for times, weight in ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60)) for sign in (1, -1)
    ]
    unit = torch.eye(size, dtype=pos.dtype).reshape(size, *pos.shape[1:])
    moved = torch.cat([pos + steps * step * unit for steps, _ in stencil])
    weights = torch.tensor([weight for _, weight in stencil], dtype=pos.dtype)
    return -(weights @ energy(moved).reshape(len(stencil), size)).reshape(pos.shape) / step
