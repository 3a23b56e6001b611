"""The example of somebody else's network: exact behind our frames, where its own frames are not."""

import importlib.util
import runpy
import warnings
from pathlib import Path

import pytest
import torch

pytest.importorskip("ase", reason="ase is not installed")
pytest.importorskip("torch_geometric", reason="torch-geometric is not installed")
if not all(importlib.util.find_spec(name) for name in ("faenet", "torch_scatter")):
    pytest.skip("faenet needs torch-scatter, which has no wheels for this torch", allow_module_level=True)

from canonize import PCA, Poses, Rigid, Rows, Scalar, Symmetry, SymmetryError, Vector, Weighted, symmetrize

SCRIPT = Path(__file__).parents[2] / "examples" / "faenet_model.py"
with warnings.catch_warnings():
    # What faenet imports warns of its own age.
    warnings.simplefilter("ignore")
    EXAMPLE = runpy.run_path(str(SCRIPT))
    MODEL = EXAMPLE["faenet"](torch.float64)
NAMES = ("CH3CH2OH", "CH4", "C6H6")
BATCH = EXAMPLE["molecules"](NAMES, torch.float64)
PREDICTIONS = EXAMPLE["Predictions"](MODEL)


class Halved(torch.nn.Module):
    """The planted fault: the poses of the first half only."""

    def forward(self, symmetry, inputs):
        poses = PCA(fallback=None)(symmetry, inputs)
        half = poses.count // 2
        return Poses(Rigid(poses.elements.linear[:half], poses.elements.shift[:half]), poses.weights[:half] * 2)


class Detached(torch.nn.Module):
    """The planted fault: a frame that stops the gradient, so that forces are those of no energy."""

    def forward(self, symmetry, inputs):
        with torch.no_grad():
            return Weighted()(symmetry, inputs)


def largest(frame, what):
    network = symmetrize(PREDICTIONS, EXAMPLE["claim"](BATCH), frame)
    with torch.no_grad():
        return torch.tensor(EXAMPLE["changes"](network, NAMES, torch.float64, count=4)[what])


@pytest.mark.parametrize("what", ["energy", "forces"])
@pytest.mark.parametrize("frame", [PCA(), PCA(signs="ruled"), Weighted()], ids=repr)
def test_behind_our_frames_every_molecule_is_exact(frame, what):
    assert (largest(frame, what) < 1e-11).all()


def test_half_of_the_frame_is_not_enough():
    # Benzene has an inversion, which makes the half as good as the whole.
    assert largest(Halved(), "energy")[0] > 1e-6


def test_its_own_frames_are_exact_on_generic_molecules_only():
    with torch.no_grad():
        bare, own = (
            torch.tensor(EXAMPLE["changes"](network, NAMES, torch.float64, count=4)["energy"])
            for network in (PREDICTIONS, EXAMPLE["own_frames"](MODEL, "all"))
        )
    assert (bare > 1e-3).all()
    assert own[0] < 1e-11
    assert own[1] > 1e-4


@pytest.mark.parametrize("name", ["CH3CH2OH", "CH4"])
def test_forces_are_the_gradient_of_the_averaged_energy(name):
    assert EXAMPLE["our_forces"](MODEL, name, Weighted()) < 1e-6


def test_without_the_frames_gradient_they_are_not():
    assert EXAMPLE["our_forces"](MODEL, "CH3CH2OH", Detached()) > 1e-3
    assert EXAMPLE["own_forces"](MODEL, "CH3CH2OH") > 1e-3


def test_the_model_as_it_is_leaves_the_input_alone():
    """In its train mode FAENet sets requires_grad on the positions that it is given, and returns more than predictions."""
    batch = EXAMPLE["molecules"](NAMES, torch.float64)
    before, claim = batch.pos.clone(), EXAMPLE["claim"](batch)
    outputs = {**claim.outputs, "hidden_state": Rows(Scalar()), "forces_grad_target": Rows(Vector())}
    averaged = symmetrize(MODEL, Symmetry(claim.group, claim.inputs, outputs), PCA())
    assert set(averaged(batch)) == set(outputs)
    assert torch.equal(batch.pos, before)
    assert not batch.pos.requires_grad


def test_a_hidden_state_that_nobody_declared_is_refused():
    with pytest.raises(SymmetryError, match=r"not declared: .*hidden_state"):
        symmetrize(MODEL, EXAMPLE["claim"](BATCH), PCA())(BATCH)
