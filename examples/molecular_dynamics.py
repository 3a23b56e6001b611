"""Molecular dynamics with a potential that knows up from down, made invariant: a turned start turns the trajectory.

python examples/molecular_dynamics.py --molecule CH4 --picoseconds 0.1
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.data import covalent_radii
from ase.md.verlet import VelocityVerlet
from torch import Tensor, nn

from canonize import SO, E
from canonize.integrations.ase import Calculator, atoms_symmetry


class Tilted(nn.Module):
    """Energies in eV of an `atoms_batch` with positions (batch, n, 3): Morse bonds, and a network on the bare coordinates.

    The network is what makes it a stand-in for any model that was trained without symmetry.
    """

    def __init__(self, strength: float = 0.01, hidden: int = 16) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("radii", torch.tensor(covalent_radii))
        self.first = nn.Parameter(torch.randn(hidden, 3, generator=generator, dtype=torch.float64))
        self.last = nn.Parameter(strength * torch.randn(hidden, generator=generator, dtype=torch.float64))

    def forward(self, atoms: dict[str, Tensor]) -> Tensor:
        """Energies (batch,)."""
        pos, reach = atoms["pos"], self.radii[atoms["numbers"]]
        i, j = torch.triu_indices(pos.shape[1], pos.shape[1], 1)
        stretch = (pos[:, i] - pos[:, j]).square().sum(-1).sqrt() - reach[:, i] - reach[:, j]
        bonds = (1 - (-2 * stretch).exp()).square().sum(1)
        lab = torch.tanh(pos @ self.first.T) @ self.last
        return bonds + (lab * (1 + 0.1 * atoms["numbers"])).sum(1)


def at_rest(name: str, model: Any, temperature: float = 300.0, seed: int = 0) -> Atoms:
    """The molecule in its symmetric shape, with random velocities of about that temperature (K), the same for each seed."""
    atoms = molecule(name)
    atoms.center(about=(0.0, 0.0, 0.0))
    draw = np.random.default_rng(seed).standard_normal((len(atoms), 3))
    atoms.set_momenta(draw * np.sqrt(atoms.get_masses() * units.kB * temperature)[:, None])
    atoms.set_velocities(atoms.get_velocities() - atoms.get_momenta().sum(0) / atoms.get_masses().sum())
    atoms.calc = model
    return atoms


def run(atoms: Atoms, picoseconds: float, step: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Total energies (steps + 1,) in eV, and positions (steps + 1, n, 3) in Å, by velocity Verlet; `step` in fs."""
    energies, positions = [], []

    def look() -> None:
        energies.append(atoms.get_potential_energy() + atoms.get_kinetic_energy())
        positions.append(atoms.get_positions())

    dynamics = VelocityVerlet(atoms, timestep=step * units.fs)
    dynamics.attach(look)
    dynamics.run(round(1000 * picoseconds / step))
    return np.array(energies), np.array(positions)


def drift(energies: np.ndarray) -> float:
    """How far the mean energy of the last tenth of a trajectory is from that of the first, in eV."""
    tenth = max(1, len(energies) // 10)
    return float(abs(energies[-tenth:].mean() - energies[:tenth].mean()))


def turned(atoms: Atoms, seed: int = 1) -> tuple[Atoms, np.ndarray]:
    """The same start, positions and velocities turned together, and the rotation (3, 3)."""
    rotation = SO(3).sample(generator=torch.Generator().manual_seed(seed), dtype=torch.float64).numpy()
    other = atoms.copy()
    other.set_positions(atoms.get_positions() @ rotation.T)
    other.set_velocities(atoms.get_velocities() @ rotation.T)
    other.calc = atoms.calc
    return other, rotation


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Print and return the drift of the energy and the error of the turned trajectory, with and without the frame."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--molecule", default="CH4", help="a name that ase.build.molecule knows (default: CH4)")
    parser.add_argument(
        "--picoseconds", type=float, default=0.1, help="length of each of the four trajectories (default: 0.1)"
    )
    parser.add_argument("--single", action="store_true", help="compute in float32")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    dtype = torch.float32 if options.single else torch.float64
    model = Tilted().to(dtype)
    invariant = Calculator(model, atoms_symmetry(E(3), dense=True), chunk=64)
    found: dict[str, float] = {}
    for name, calculator in (("bare", Calculator(model, dense=True)), ("symmetrized", invariant)):
        start = at_rest(options.molecule, calculator)
        other, rotation = turned(start)
        energies, positions = run(start, options.picoseconds)
        _, elsewhere = run(other, options.picoseconds)
        found[f"{name}: drift of the total energy, eV"] = drift(energies)
        found[f"{name}: turned start against turned trajectory, Å"] = float(
            np.abs(positions @ rotation.T - elsewhere).max()
        )
    for name, value in found.items():
        print(f"{name}: {value:.2g}")
    return found


if __name__ == "__main__":
    main()
