"""The calculator of ASE: forces and stress are derivatives of an energy that stands still while all else turns."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

pytest.importorskip("ase", reason="ase is not installed")

from ase.build import molecule
from ase.calculators.calculator import CalculationFailed, PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase_cases import Crystal, Tilted, ask, crystals, shaken

from canonize import (
    PCA,
    SE,
    SO,
    E,
    O,
    Planar,
    Polar,
    Scalar,
    Vector,
    Weighted,
    symmetrize,
)
from canonize.integrations.ase import Calculator, atoms_symmetry


def rotation(seed=1, axis=None):
    """A rotation, (3, 3) float64; about one axis where it is named."""
    draw = torch.Generator().manual_seed(seed)
    if axis is None:
        return SO(3).sample(generator=draw, dtype=torch.float64).numpy()
    return Planar(Vector(), axis).lift(SO(2).sample(generator=draw, dtype=torch.float64)).numpy()


def turned(atoms, matrix, shift=0.0, wrap=False):
    other = atoms.copy()
    other.set_cell(atoms.cell.array @ matrix.T)
    other.set_positions(atoms.positions @ matrix.T + shift)
    if "momenta" in atoms.arrays:
        other.set_momenta(atoms.get_momenta() @ matrix.T)
    if wrap:
        other.wrap()
    other.calc = atoms.calc
    return other


def worst(found, expected):
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def calculators():
    return {
        "bare": Calculator(Tilted()),
        "E(3)": Calculator(Tilted(), atoms_symmetry(E(3)), chunk=64),
        "SE(3)": Calculator(Tilted(), atoms_symmetry(SE(3)), chunk=64),
        "PCA": Calculator(Tilted(), atoms_symmetry(E(3)), PCA(), chunk=64),
        "symmetrized before": Calculator(symmetrize(Tilted(), atoms_symmetry(E(3)), Weighted(), chunk=64)),
    }


@pytest.mark.parametrize("kind", calculators())
def test_forces_are_those_of_finite_differences(kind):
    atoms = shaken(molecule("CH4"))
    atoms.calc = calculators()[kind]
    assert worst(atoms.get_forces(), calculate_numerical_forces(atoms, 1e-4)) < 1e-6


@pytest.mark.parametrize("name", ["CH4", "C6H6", "NH3"])
def test_forces_at_symmetric_molecules_too(name):
    atoms = molecule(name)
    atoms.calc = calculators()["E(3)"]
    assert worst(atoms.get_forces(), calculate_numerical_forces(atoms, 1e-4)) < 1e-6


@pytest.mark.parametrize("number", range(4))
def test_stress_of_crystals_is_that_of_finite_differences(number):
    atoms = crystals()[number]
    atoms.calc = Calculator(Crystal(), atoms_symmetry(O(3)), Polar(of="cell"))
    assert worst(atoms.get_forces(), calculate_numerical_forces(atoms, 1e-4)) < 1e-6
    assert worst(atoms.get_stress(), calculate_numerical_stress(atoms, 1e-4)) < 1e-6


def test_a_turned_shifted_wrapped_crystal_has_the_turned_forces_and_stress():
    matrix = rotation()
    for atoms in crystals():
        atoms.calc = Calculator(Crystal(), atoms_symmetry(O(3)), Polar(of="cell"))
        other = turned(atoms, matrix, shift=[0.3, -7.0, 2.0], wrap=True)
        assert abs(other.get_potential_energy() - atoms.get_potential_energy()) < 1e-10 * abs(
            atoms.get_potential_energy()
        )
        assert worst(other.get_forces(), atoms.get_forces() @ matrix.T) < 1e-9
        assert worst(other.get_stress(voigt=False), matrix @ atoms.get_stress(voigt=False) @ matrix.T) < 1e-9
        bare = turned(atoms, matrix)
        bare.calc = Calculator(Crystal())
        assert worst(bare.get_stress(voigt=False), matrix @ atoms.get_stress(voigt=False) @ matrix.T) > 1e-3


@pytest.mark.parametrize("kind", ["E(3)", "SE(3)", "PCA", "symmetrized before"])
def test_turned_molecules_have_turned_forces(kind):
    atoms, matrix = shaken(molecule("C2H4")), rotation()
    atoms.calc = calculators()[kind]
    other = turned(atoms, matrix, shift=5.0)
    assert worst(other.get_forces(), atoms.get_forces() @ matrix.T) < 1e-9
    assert abs(other.get_potential_energy() - atoms.get_potential_energy()) < 1e-10
    bare = turned(atoms, matrix)
    bare.calc = calculators()["bare"]
    assert worst(bare.get_forces(), atoms.get_forces() @ matrix.T) > 1e-2


def test_a_model_may_return_its_forces_itself():
    def direct(atoms):
        return {"energy": atoms["pos"].square().sum((1, 2)), "forces": -2 * atoms["pos"]}

    atoms = molecule("CH4")
    atoms.calc = Calculator(direct, dense=True, direct=True)
    assert np.allclose(atoms.get_forces(), -2 * atoms.positions)
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()
    claim = atoms_symmetry(E(3), {"energy": Scalar(), "forces": Vector()}, dense=True)
    atoms.calc = Calculator(direct, claim, direct=True)
    assert np.allclose(atoms.get_forces(), -2 * (atoms.positions - atoms.positions.mean(0)))


def test_inputs_of_ones_own():
    atoms = molecule("CH4")
    own = Calculator(
        lambda data: data["pos"].square().sum()[None], inputs=lambda atoms: {"pos": torch.as_tensor(atoms.positions)}
    )
    atoms.calc = own
    assert np.allclose(atoms.get_forces(), -2 * atoms.positions)


def test_precision_is_the_models_unless_it_is_named():
    seen = []

    class Seeing(torch.nn.Linear):
        def forward(self, atoms):
            seen.append(atoms["pos"].dtype)
            return atoms["pos"].square().sum((1, 2))

    for model, dtype, expected in (
        (Seeing(1, 1), None, torch.float32),
        (Seeing(1, 1).double(), None, torch.float64),
        (Seeing(1, 1), torch.float64, torch.float64),
    ):
        atoms = molecule("H2O")
        atoms.calc = Calculator(model, dense=True, dtype=dtype)
        assert isinstance(atoms.get_potential_energy(), float)
        assert atoms.get_forces().dtype == np.float64
        assert seen[-1] == expected


def test_it_leaves_the_model_and_the_atoms_as_they_were():
    model = Tilted().train()
    atoms = molecule("CH4")
    before = copy.deepcopy(atoms.arrays)
    atoms.calc = Calculator(model, atoms_symmetry(E(3)), chunk=64)
    atoms.get_forces()
    assert model.training
    assert all(part.grad is None and part.requires_grad for part in model.parameters())
    assert all(np.array_equal(before[name], atoms.arrays[name]) for name in before)


def test_it_pickles_and_copies():
    atoms = molecule("CH4")
    calculator = calculators()["E(3)"]
    atoms.calc = calculator
    expected = atoms.get_forces()
    for other in (pickle.loads(pickle.dumps(calculator)), copy.deepcopy(calculator)):
        atoms.calc = other
        assert np.array_equal(atoms.get_forces(), expected)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_lost_answers_stop_the_dynamics(wrong):
    atoms = molecule("CH4")
    atoms.calc = Calculator(lambda d: d["pos"].square().sum((1, 2)) * wrong, dense=True)
    with pytest.raises(CalculationFailed, match="NaN or infinite"):
        atoms.get_potential_energy()


def test_stress_of_a_molecule_is_no_property():
    with pytest.raises(PropertyNotImplementedError):
        ask(Tilted(), what="get_stress")
