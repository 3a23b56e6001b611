"""Models of atoms that are not symmetric, and molecules, crystals and slabs to try them on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("ase", reason="ase is not installed")

from ase.build import bulk, molecule

from canonize.integrations.ase import Calculator


class Tilted(torch.nn.Module):
    """Energies of molecules in rows: bonds, and a network on the bare coordinates, which knows up from down."""

    def __init__(self, strength=0.05):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = torch.nn.Parameter(torch.randn(8, 3, generator=generator, dtype=torch.float64))
        self.last = torch.nn.Parameter(strength * torch.randn(8, generator=generator, dtype=torch.float64))

    def forward(self, atoms):
        pos, index, count = atoms["pos"], atoms["index"], len(atoms["offsets"]) - 1
        i, j = torch.triu_indices(len(pos), len(pos), 1)
        bond = index[i] == index[j]
        i, j = i[bond], j[bond]
        distance = (pos[i] - pos[j]).square().sum(-1).sqrt()
        energy = pos.new_zeros(count).index_add(0, index[i], (1 - (-2 * (distance - 1.1)).exp()).square())
        lab = (torch.tanh(pos @ self.first.T) @ self.last) * atoms["numbers"]
        return energy.index_add(0, index, lab)


class Crystal(torch.nn.Module):
    """Energies of periodic systems in rows, from waves of the reciprocal lattice: neither origin nor wrapping matters.

    A term reads how the cell stands, as no potential should.
    """

    def __init__(self, tilt=0.3):
        super().__init__()
        self.tilt = tilt
        waves = torch.cartesian_prod(*[torch.arange(-1, 2)] * 3)
        self.register_buffer("waves", waves[waves.abs().sum(1) > 0].double())

    def forward(self, atoms):
        cell, index = atoms["cell"], atoms["index"]
        fractional = torch.linalg.solve(cell[index].mT, atoms["pos"][..., None])[..., 0]
        phase = 2 * torch.pi * fractional @ self.waves.T
        zero = phase.new_zeros(len(cell), len(self.waves))
        weight = atoms["numbers"].to(phase.dtype)[:, None]
        real, imaginary = (zero.index_add(0, index, weight * part) for part in (phase.cos(), phase.sin()))
        vectors = self.waves @ torch.linalg.inv(cell).mT
        length = vectors.square().sum(-1)
        towards = (vectors @ vectors.new_tensor([1.0, 2.0, 3.0])).tanh()
        strength = (-length).exp() * (1 + self.tilt * towards.square())
        return ((real.square() + imaginary.square()) * strength).sum(1) / 100 + torch.linalg.det(cell).abs() / 10


def shaken(atoms, amount=0.1, seed=0):
    atoms = atoms.copy()
    atoms.positions += amount * np.random.default_rng(seed).standard_normal(atoms.positions.shape)
    return atoms


def crystals():
    rock, iron = bulk("NaCl", "rocksalt", a=5.6) * (2, 1, 1), bulk("Fe", "bcc", a=2.87) * (2, 2, 1)
    return [shaken(one, 0.05, seed) for seed, one in enumerate((bulk("Si"), rock, iron, bulk("Ti")))]


def ask(model, *args, system=None, what="get_potential_energy", **options):
    atoms = molecule("CH4") if system is None else system
    atoms.calc = Calculator(model, *args, **options)
    return getattr(atoms, what)()
