"""The example of molecular dynamics, in short: energy is conserved in both precisions, and a turned start turns all."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("ase", reason="ase is not installed")

from canonize import E, Poses, Rigid, Weighted
from canonize.integrations.ase import Calculator, atoms_symmetry

SCRIPT = Path(__file__).parents[2] / "examples" / "molecular_dynamics.py"
EXAMPLE = runpy.run_path(str(SCRIPT))
CLAIM = atoms_symmetry(E(3), dense=True)


def start(name, dtype, frame=None):
    return EXAMPLE["at_rest"](name, Calculator(EXAMPLE["Tilted"]().to(dtype), CLAIM, frame, chunk=64))


class Detached(torch.nn.Module):
    """The planted fault: a frame that stops the gradient, so that forces are those of no energy."""

    def forward(self, symmetry, inputs):
        poses = Weighted()(symmetry, {**inputs, "pos": inputs["pos"].detach()})
        return Poses(Rigid(poses.elements.linear.detach(), poses.elements.shift.detach()), poses.weights.detach())


def test_energy_is_conserved_as_the_double_twin_does():
    """From the symmetric shape, where poses merge. What is left is the error of the time step, the same in both."""
    single, double = (
        EXAMPLE["run"](start("CH4", dtype), 0.02, step=0.25)[0] for dtype in (torch.float32, torch.float64)
    )
    assert abs(np.ptp(single) - np.ptp(double)) < 0.02 * np.ptp(double)
    # A smaller step conserves better, as it must where forces are the gradient of a continuously differentiable energy.
    finer = EXAMPLE["run"](start("CH4", torch.float64), 0.02, step=0.0625)[0]
    assert np.ptp(finer) < np.ptp(double) / 4


def test_forces_without_the_frames_gradient_do_not_conserve():
    double, wrong = (
        EXAMPLE["run"](start("CH4", torch.float64, frame), 0.02, step=0.125)[0] for frame in (None, Detached())
    )
    assert np.ptp(wrong) > 3 * np.ptp(double)


@pytest.mark.parametrize("name", ["CH4", "C6H6"])
def test_a_turned_start_has_the_turned_trajectory(name):
    atoms = start(name, torch.float64)
    other, rotation = EXAMPLE["turned"](atoms)
    _, positions = EXAMPLE["run"](atoms, 0.01, step=0.25)
    _, elsewhere = EXAMPLE["run"](other, 0.01, step=0.25)
    assert np.abs(positions[-1] - positions[0]).max() > 0.03
    assert np.abs(positions @ rotation.T - elsewhere).max() < 1e-9


def test_the_script_prints_what_it_finds():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--picoseconds", "0.002"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    lines = dict(line.rsplit(": ", 1) for line in done.stdout.splitlines())
    assert float(lines["bare: turned start against turned trajectory, Å"]) > 1e-4
    assert float(lines["symmetrized: turned start against turned trajectory, Å"]) < 1e-9
