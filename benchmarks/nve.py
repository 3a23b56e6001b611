"""Energy conservation: NVE dynamics of symmetric molecules with a potential without symmetry, bare and behind frames."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from _bench import finish, progress, start, table

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

from molecular_dynamics import Tilted, at_rest, drift, run, turned

from canonize import PCA, E, Weighted
from canonize.integrations.ase import Calculator, atoms_symmetry

FRAMES = {"none": None, "weighted": Weighted(), "pca": PCA()}
TURNED = 0.1
"""Picoseconds over which the trajectory of the turned start is compared."""

RUNS = [
    ("none", torch.float64),
    ("weighted", torch.float64),
    ("weighted", torch.float32),
    ("pca", torch.float64),
]


def measured(molecule: str, frame: str, dtype: torch.dtype, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """One trajectory, whose first velocities `seed` draws, and the error of the one from a turned start."""
    model = Tilted().to(dtype)
    claim = None if frame == "none" else atoms_symmetry(E(3), dense=True)
    calculator = Calculator(model, claim, FRAMES[frame], dense=True, chunk=64)
    atoms = at_rest(molecule, calculator, seed=seed)
    other, rotation = turned(atoms)
    begin = time.perf_counter()
    energies, positions = run(atoms, options.picoseconds, options.step)
    seconds = time.perf_counter() - begin
    # Molecules are chaotic: after some time rounding alone would tell the two apart.
    _, elsewhere = run(other, min(TURNED, options.picoseconds), options.step)
    apart = np.abs(positions[: len(elsewhere)] @ rotation.T - elsewhere)
    return {
        "drift_ev": drift(energies),
        "spread_ev": float(energies.std()),
        "largest_change_ev": float(np.abs(energies - energies[0]).max()),
        "turned_angstrom": float(apart.max()),
        "milliseconds_a_step": 1e3 * seconds / max(1, len(energies) - 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--molecules", nargs="+", default=["CH4", "NH3"], help="names that ASE knows")
    parser.add_argument("--frames", nargs="+", choices=FRAMES, default=list(FRAMES), help="which frames (default: all)")
    parser.add_argument("--picoseconds", type=float, default=1.0, help="length of a trajectory (default: 1)")
    parser.add_argument("--step", type=float, default=0.1, help="time step in fs (default: 0.1)")
    parser.add_argument("--seeds", type=int, default=1, help="draws of the first velocities (default: 1)")
    options = start(parser)
    kinds = [(molecule, *one) for molecule in options.molecules for one in RUNS if one[0] in options.frames]
    rows = []
    with progress() as bar:
        task = bar.add_task("trajectories", total=len(kinds) * options.seeds)
        for molecule, frame, dtype in kinds:
            each = []
            for seed in range(options.seeds):
                each.append(measured(molecule, frame, dtype, seed, options))
                bar.advance(task)
            row = {"molecule": molecule, "frame": frame, "dtype": str(dtype).removeprefix("torch.")}
            medians = {name: statistics.median(one[name] for one in each) for name in each[0]}
            rows.append({**row, **medians, "starts": each})
    names = [name for name in rows[0] if name != "starts"]
    shown = [[f"{row[name]:.2g}" if isinstance(row[name], float) else str(row[name]) for name in names] for row in rows]
    title = f"{options.picoseconds} ps of NVE dynamics, steps of {options.step} fs, 300 K"
    table(f"{title}, medians over {options.seeds} starts", names, shown)
    settings = {"picoseconds": options.picoseconds, "step_fs": options.step, "turned_picoseconds": TURNED}
    settings |= {"starts": options.seeds}
    finish(options, {**settings, "rows": rows}, ["ase"])


if __name__ == "__main__":
    main()
