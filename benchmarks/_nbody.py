"""Five charged particles: the data, a plain network, an equivariant one, and frames whose poses are worked out once."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _data import data_option, file_in
from torch import Tensor, nn

from canonize import E, Point, Rigid, Scalar, Symmetry, Vector
from canonize.frames import Poses
from canonize.nn import EGNN, VectorNeurons

SOURCES = {
    "nbody_charged5.npz": "places and velocities of five charged particles at frames 30 and 40, from the generator of "
    "github.com/vgsatorras/egnn (nbody_small): arrays {train,valid,test}_{loc30,vel30,loc40,charge}"
}
PARTS = ("train", "valid", "test")
LINEAR = 0.72  # what the velocity is multiplied by before anything is learned; fitted on the training runs

# Places, velocities, charges, and the number of the run, which no element moves: by it kept poses are found.
CLAIM = Symmetry(E(3), inputs=(Point(), Vector(), Scalar(), Scalar()), outputs=Point())


@dataclass(frozen=True)
class Runs:
    """Runs of a part: places (n, 5, 3), velocities (n, 5, 3), charges (n, 5, 1), numbers (n,); places later (n, 5, 3)."""

    inputs: tuple[Tensor, Tensor, Tensor, Tensor]
    target: Tensor

    def __len__(self) -> int:
        return len(self.target)

    def take(self, which: Tensor) -> Runs:
        """Some of the runs."""
        loc, vel, charge, number = (part[which] for part in self.inputs)
        return Runs((loc, vel, charge, number), self.target[which])


def runs(data: Path, limit: int | None = None) -> dict[str, Runs]:
    """Training, validation and test runs, dimensionless; the first `limit` of each where it is given."""
    arrays = np.load(file_in(data, "nbody", "nbody_charged5.npz", SOURCES))
    found, first = {}, 0
    for part in PARTS:
        loc, vel, charge, target = (
            torch.from_numpy(arrays[f"{part}_{name}"][:limit]).float() for name in ("loc30", "vel30", "charge", "loc40")
        )
        found[part] = Runs((loc, vel, charge, torch.arange(first, first + len(loc))), target)
        first += len(loc)
    return found


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """The option --data PATH: the folder that holds `nbody`."""
    data_option(parser, "nbody")


class Plain(nn.Module):
    """Message passing that knows nothing of rotations: it is fed coordinates as they are, and moves particles in steps."""

    def __init__(self, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.stem = nn.Linear(7, width)
        self.layers = nn.ModuleList(_Layer(width) for _ in range(depth))

    def forward(self, loc: Tensor, vel: Tensor, charge: Tensor, number: Tensor) -> Tensor:
        """Places later, (batch, n, 3)."""
        others = 1 - torch.eye(loc.shape[1], dtype=loc.dtype)[:, :, None]
        product = charge[:, :, None] * charge[:, None]
        h = self.stem(torch.cat([loc, vel, charge], -1))
        for layer in self.layers:
            loc, vel, h = layer(loc, vel, h, product, others)
            loc = loc + vel * (LINEAR / len(self.layers))
        return loc


class _Layer(nn.Module):
    """One round of messages, after which places and velocities change by linear functions of what a particle knows."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hears, self.sends = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.between, self.message = nn.Linear(10, width, bias=False), nn.Linear(width, width)
        self.update = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.change = nn.Linear(width, 6)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)

    def forward(
        self, loc: Tensor, vel: Tensor, h: Tensor, product: Tensor, others: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        apart = loc[:, :, None] - loc[:, None]
        far = (apart.square().sum(-1, keepdim=True) + 1e-4).sqrt()
        near = 1 / (far + 0.3)
        between = self.between(torch.cat([apart, apart / far, far, near, product, product * near], -1))
        first = F.silu(self.hears(h)[:, :, None] + self.sends(h)[:, None] + between)
        heard = (F.silu(self.message(first)) * others).sum(2) / (loc.shape[1] - 1)
        h = h + self.update(torch.cat([h, heard], -1))
        of_loc, of_vel = self.change(h).chunk(2, -1)
        return loc + of_loc, vel + of_vel, h


class Equivariant(nn.Module):
    """`canonize.nn.EGNN` on the same inputs."""

    def __init__(self, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.net = EGNN(width=width, depth=depth, features=1, fields=1, edge_features=1)

    def forward(self, loc: Tensor, vel: Tensor, charge: Tensor, number: Tensor) -> Tensor:
        """Places later, (batch, n, 3)."""
        product = charge[:, :, None] * charge[:, None]
        moved: Tensor = self.net(loc, features=charge, fields=vel[:, :, None], edge_features=product)[0]
        return moved + LINEAR * vel


class Pointing(nn.Module):
    """`canonize.nn.VectorNeurons` on the same inputs: three vectors, of which a frame is made."""

    def __init__(self, channels: int = 16, depth: int = 2) -> None:
        super().__init__()
        self.net = VectorNeurons(3, channels=channels, depth=depth, features=1, fields=1)

    def forward(self, loc: Tensor, vel: Tensor, charge: Tensor, number: Tensor) -> Tensor:
        """Vectors (batch, 3, 3)."""
        vectors: Tensor = self.net(loc, features=charge, fields=vel[:, :, None])
        return vectors


class Kept:
    """A frame that looks the poses of a run up, which depend on its input alone: they are worked out once, and not each epoch.

    Args:
        poses: of all runs, in the order of their numbers.
        drawn: one of the poses of a run, with its weight as probability, in place of all.
    """

    def __init__(self, poses: Poses, *, drawn: bool = False) -> None:
        # Those in use first: few batches need as many poses as the run with the most of them.
        self.weights, order = poses.weights.sort(dim=0, descending=True, stable=True)
        runs = torch.arange(order.shape[1])
        self.linear, self.shift = poses.elements.linear[order, runs], poses.elements.shift[order, runs]
        self.drawn = drawn

    def __call__(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """The poses of these runs."""
        number = inputs[3]
        weights = self.weights[:, number]
        if self.drawn:
            pick = torch.multinomial(weights.mT, 1, generator=generator)[:, 0]
            one = Rigid(self.linear[pick, number][None], self.shift[pick, number][None])
            return Poses(one, torch.ones_like(weights[:1]))
        k = int((weights > 0).sum(0).max())
        return Poses(Rigid(self.linear[:k, number], self.shift[:k, number]), weights[:k], sparse=True)
