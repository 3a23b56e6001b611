"""Energies, networks and pictures for the tests of frames that choose one element of a group."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Quadrants(nn.Module):
    """Energies of the four quarter turns, equivariant by construction: how bright each side of the image is."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        return self.scale * torch.stack([x.rot90(-k, (-2, -1))[..., :half, :].sum((1, 2, 3)) for k in range(4)], 1)


def scorer(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 1, 3, padding=1),
        nn.Flatten(),
        nn.LazyLinear(1),
        nn.Flatten(0),
    )


def ready(energy: nn.Module, size: int) -> nn.Module:
    energy(torch.zeros(1, 1, size, size))
    return energy


def net(size: int, channels: int = 1) -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * (size - 2) ** 2, 3))


def pictures(size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Generic, constant, zero, symmetric under half turns and under quarter turns, tiny and huge."""
    x = torch.rand(9, 1, size, size, generator=torch.Generator().manual_seed(2), dtype=dtype)
    x[1], x[2] = 0.5, 0
    x[3] = x[3] + x[3].rot90(2, (-2, -1))
    x[4] = sum(x[4].rot90(k, (-2, -1)) for k in range(4))
    x[5], x[6] = x[5] * 1e-20, x[6] * 1e20
    return x
