"""What the benchmark of Euclidean frames reads: molecules of QM9, the G2 set, solids, and networks for them."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import ase.build
import ase.collections
import numpy as np
import torch
from _data import data_option, file_in
from torch import Tensor, nn

from canonize import SE, E, Fields, Index, Learned, Point, Rows, Scalar, Symmetry, Vector
from canonize.nn import VectorNeurons

SOURCES = {
    "qm9_10000.npz": "10,000 molecules of QM9 (10.1038/sdata.2014.22): n_atoms (10000,), and over the atoms of all of them "
    "z and pos, float32, Angstrom"
}
GROUPS = {"SE(3)": SE(3), "E(3)": E(3)}
DENSE = {name: Symmetry(group, Point(), Scalar()) for name, group in GROUPS.items()}
MOLECULES = Fields(pos=Rows(Point()), z=Rows(Scalar()), batch=Index())
RAGGED = {name: Symmetry(group, MOLECULES, Scalar()) for name, group in GROUPS.items()}
ANSWERS = {"energy": Scalar(), "dipole": Vector()}
Molecule = tuple[Tensor, Tensor]


def molecules_option(parser: argparse.ArgumentParser) -> None:
    """The option --data PATH: the folder that holds `qm9` and `modelnet10`."""
    data_option(parser, "qm9")


def qm9(data: Path, count: int) -> list[Molecule]:
    """Positions (n, 3), float32, Angstrom, and atomic numbers (n,) of the first molecules."""
    with np.load(file_in(data, "qm9", "qm9_10000.npz", SOURCES)) as arrays:
        sizes = arrays["n_atoms"][:count].astype(int).tolist()
        pos = torch.from_numpy(arrays["pos"][: sum(sizes)]).float()
        z = torch.from_numpy(arrays["z"][: sum(sizes)].astype("int64"))
    return list(zip(pos.split(sizes), z.split(sizes), strict=True))


def batch(molecules: list[Molecule], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The molecules in one ragged batch."""
    sizes = torch.tensor([len(z) for _, z in molecules])
    return {
        "pos": torch.cat([pos for pos, _ in molecules]).to(dtype),
        "z": torch.cat([z for _, z in molecules]).to(dtype),
        "batch": torch.arange(len(molecules)).repeat_interleave(sizes),
    }


def symmetric() -> dict[str, Molecule]:
    """The 162 molecules of the G2 set, buckminsterfullerene and solids of unit size, in float64."""
    found = {}
    for name in [*ase.collections.g2.names, "C60"]:
        atoms = ase.build.molecule(name)
        pos, z = torch.from_numpy(atoms.get_positions()), torch.from_numpy(atoms.get_atomic_numbers()).long()
        found[name] = (pos - pos.mean(0), z)
    return found | {name: (pos, torch.full((len(pos),), 6)) for name, pos in _solids().items()}


def _solids() -> dict[str, Tensor]:
    double = torch.float64
    cube = torch.tensor(list(itertools.product((1.0, -1.0), repeat=3)), dtype=double)
    golden = (1 + 5**0.5) / 2
    thin = torch.tensor(list(itertools.product((0.0,), (1.0, -1.0), (golden, -golden))), dtype=double)
    angle = torch.arange(6, dtype=double) * (torch.pi / 3)
    hexagon = torch.stack([angle.cos(), angle.sin(), 0 * angle], -1)
    solids = {
        "cube": cube,
        "tetrahedron": cube[[0, 3, 5, 6]],
        "octahedron": torch.cat([torch.eye(3, dtype=double), -torch.eye(3, dtype=double)]),
        "icosahedron": torch.cat([thin.roll(step, 1) for step in range(3)]),
        "dodecahedron": torch.cat(
            [cube, *((thin * thin.new_tensor([1, 1 / golden, 1])).roll(step, 1) for step in range(3))]
        ),
        "hexagon": hexagon,
        "prism": torch.cat([hexagon[::2], hexagon[::2] + torch.tensor([0.0, 0, 1.6], dtype=double)]),
        "row of three": torch.tensor([[-1.0, 0, 0], [0, 0, 0], [1, 0, 0]], dtype=double),
    }
    centred = {name: pos - pos.mean(0) for name, pos in solids.items()}
    return {name: pos / pos.norm(dim=-1).amax() for name, pos in centred.items()}


class Generic(nn.Module):
    """A smooth model without any symmetry but that of the order of atoms: an energy and a dipole of each molecule."""

    def __init__(self, hidden: int = 12, *, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        shapes = {"inner": (3, hidden), "kinds": (1, hidden), "energy": (hidden, 1), "dipole": (hidden, 3)}
        for name, shape in shapes.items():
            weights = torch.randn(*shape, generator=generator, dtype=torch.float64) / shape[0] ** 0.5
            self.register_buffer(name, weights)

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        """The energy (batch,) and the dipole (batch, 3)."""
        pos, owner = data["pos"], data["batch"]
        inner, kinds, energy, dipole = (getattr(self, name).to(pos) for name in ("inner", "kinds", "energy", "dipole"))
        hidden = torch.sin(pos @ inner + (data["z"][:, None] / 4) @ kinds)
        count = torch.bincount(owner)
        mean = hidden.new_zeros(len(count), hidden.shape[1]).index_add(0, owner, hidden) / count[:, None].to(pos)
        mixed = torch.sin(2 * mean + 0.5)
        return {"energy": (mixed @ energy)[:, 0].cos(), "dipole": torch.tanh(mixed @ dipole + 0.3)}


class OfMolecules(nn.Module):
    """`canonize.nn.VectorNeurons` on ragged batches: three vectors of each molecule."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.network = VectorNeurons(3, generator=torch.Generator().manual_seed(0)).to(dtype)

    def forward(self, data: dict[str, Tensor]) -> Tensor:
        """Vectors (batch, 3, 3)."""
        return self.network(data["pos"], index=data["batch"])


def learned(dtype: torch.dtype = torch.float32) -> Any:
    """A learned frame for molecules as it is before training."""
    return Learned(OfMolecules(dtype)).eval()
