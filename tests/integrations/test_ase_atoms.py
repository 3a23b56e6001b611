"""ASE: batches, claims, the audit, and the calculator; energies stand still while all else turns with the atoms."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

pytest.importorskip("ase", reason="ase is not installed")

from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule
from ase.calculators.calculator import CalculationFailed, PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.singlepoint import SinglePointCalculator

from canonize import (
    PCA,
    SE,
    SO,
    E,
    Fields,
    Index,
    O,
    Offsets,
    Planar,
    Point,
    Polar,
    Rows,
    Scalar,
    Symmetry,
    SymmetryError,
    Tensor,
    Vector,
    Weighted,
    symmetrize,
)
from canonize.actions import move
from canonize.integrations.ase import Calculator, atoms_batch, atoms_fields, atoms_symmetry, audit_atoms
from canonize.nn import EnergyForces


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


MOLECULES = [molecule(name) for name in ("CH4", "NH3", "H2O", "C6H6", "C2H4", "CO2")]


def shaken(atoms, amount=0.1, seed=0):
    atoms = atoms.copy()
    atoms.positions += amount * np.random.default_rng(seed).standard_normal(atoms.positions.shape)
    return atoms


def crystals():
    rock, iron = bulk("NaCl", "rocksalt", a=5.6) * (2, 1, 1), bulk("Fe", "bcc", a=2.87) * (2, 2, 1)
    return [shaken(one, 0.05, seed) for seed, one in enumerate((bulk("Si"), rock, iron, bulk("Ti")))]


def slab():
    atoms = fcc111("Cu", (2, 2, 3), vacuum=6.0, periodic=True)
    add_adsorbate(atoms, molecule("NH3"), 1.8, "ontop")
    return shaken(atoms, 0.05)


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


def test_a_batch_holds_what_the_systems_hold():
    systems = [shaken(one) for one in MOLECULES]
    for seed, one in enumerate(systems):
        one.set_velocities(np.random.default_rng(seed).standard_normal((len(one), 3)))
        one.set_initial_charges(np.arange(len(one)) / 10)
        one.calc = SinglePointCalculator(
            one, energy=seed, forces=one.positions, dipole=[0, 0, seed], stress=np.arange(6.0)
        )
    batch = atoms_batch(systems)
    assert batch["offsets"].tolist() == np.concatenate([[0], np.cumsum([len(one) for one in systems])]).tolist()
    for number, one in enumerate(systems):
        rows = batch["index"] == number
        for name, expected in (
            ("pos", one.positions),
            ("numbers", one.numbers),
            ("masses", one.get_masses()),
            ("velocities", one.get_velocities()),
            ("momenta", one.get_momenta()),
            ("charges", one.get_initial_charges()),
            ("forces", one.get_forces()),
        ):
            assert np.array_equal(batch[name][rows].numpy(), expected)
        assert batch["energy"][number] == number
        assert batch["dipole"][number].tolist() == [0, 0, number]
        assert np.array_equal(batch["stress"][number].numpy(), one.get_stress(voigt=False))
        assert batch["cell"][number].shape == batch["stress"][number].shape == (3, 3)
    assert set(atoms_fields(batch).parts) == set(batch)
    assert batch["pos"].dtype == torch.float64
    assert batch["numbers"].dtype == torch.int64
    assert batch["pbc"].dtype == torch.bool
    assert atoms_batch(systems, dtype=torch.float32)["cell"].dtype == torch.float32
    # What only some of the systems have is left out.
    assert "velocities" not in atoms_batch([*systems, molecule("H2")])


def test_a_batch_does_not_share_memory_that_the_systems_change():
    atoms = molecule("CH4")
    batch = atoms_batch(atoms)
    before = batch["pos"].clone()
    atoms.positions += 1.0
    assert torch.equal(batch["pos"], before)


def test_a_dense_batch_has_an_axis_of_atoms():
    batch = atoms_batch([molecule("CH4"), shaken(molecule("CH4"))], dense=True)
    assert batch["pos"].shape == (2, 5, 3)
    assert batch["numbers"].shape == (2, 5)
    assert not {"index", "offsets"} & set(batch)
    assert atoms_fields(batch).parts["pos"] == Point()
    assert set(atoms_fields(batch).parts) == set(batch)


def test_magnetic_moments_are_numbers_or_pseudovectors():
    numbers, vectors = molecule("O2"), Atoms("O2", [[0, 0, 0], [0, 0, 1.2]])
    vectors.set_initial_magnetic_moments(np.ones((2, 3)))
    assert atoms_fields(atoms_batch(numbers)).parts["magmoms"] == Rows(Scalar())
    assert atoms_fields(atoms_batch(vectors)).parts["spins"] == Rows(Tensor(1, odd=True))


def everything(atoms, seed=0):
    """The system with velocities, forces, stress and a dipole."""
    draw = np.random.default_rng(seed)
    atoms = atoms.copy()
    atoms.set_velocities(draw.standard_normal((len(atoms), 3)))
    stress = draw.standard_normal((3, 3))
    full = (stress + stress.T)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    atoms.calc = SinglePointCalculator(
        atoms, energy=1.0, forces=draw.standard_normal((len(atoms), 3)), stress=full, dipole=draw.standard_normal(3)
    )
    return atoms


@pytest.mark.parametrize(("axis", "group"), [(None, SO(3)), (None, O(3)), (2, SO(2)), (2, O(2)), (0, SO(2))])
def test_everything_that_a_system_carries_turns_together(axis, group):
    """Each part of the batch moves as physics has it, written out here; numbers stand still."""
    batch = atoms_batch([everything(slab()), everything(bulk("Si"))])
    g = group.sample(2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = move(atoms_fields(batch, axis=axis), g, batch)
    lifted = g if axis is None else Planar(Vector(), axis).lift(g)
    assert torch.allclose(moved["cell"], batch["cell"] @ lifted.mT)
    assert torch.allclose(moved["dipole"], (lifted @ batch["dipole"][..., None])[..., 0])
    assert torch.allclose(moved["stress"], lifted @ batch["stress"] @ lifted.mT)
    each = lifted[batch["index"]]
    for name in ("pos", "velocities", "momenta", "forces"):
        assert torch.allclose(moved[name], (each @ batch[name][..., None])[..., 0]), name
    for name in ("numbers", "masses", "pbc", "energy", "index", "offsets"):
        assert torch.equal(moved[name], batch[name])
    assert torch.allclose(
        (moved["velocities"] * moved["forces"]).sum(-1), (batch["velocities"] * batch["forces"]).sum(-1)
    )


def test_an_audit_of_molecules_tells_the_symmetrized_model_from_the_plain_one():
    claim = atoms_symmetry(E(3))
    results = {"energy": Scalar(), "forces": Rows(Vector())}
    whole = Symmetry(claim.group, claim.inputs, results)
    mended = EnergyForces(symmetrize(Tilted(), claim, Weighted(), chunk=64))
    options = {"cost": False, "elements": 4, "at_most": 0.6}
    assert audit_atoms(EnergyForces(Tilted()), whole, MOLECULES, **options).verdict == "fail"
    found = audit_atoms(mended, whole, MOLECULES, **options)
    assert found.verdict == "pass", found
    assert found.error.max < 1e-9
    assert set(found.by_output) == {".energy", ".forces"}


def test_an_audit_names_the_cell_that_was_forgotten():
    batch = ("pos", "numbers", "cell", "index", "offsets")
    claim = Symmetry(SO(3), Fields({**atoms_fields(batch).parts, "cell": Scalar()}), Scalar())
    found = audit_atoms(Crystal(tilt=0.0), claim, [*crystals(), *crystals()], cost=False, elements=8)
    assert found.verdict == "fail"
    assert "`cell` did not turn with `pos`" in str(found)
    assert "declare `cell=Vector()`" in str(found)
    whole = Symmetry(SO(3), atoms_fields(batch), Scalar())
    assert audit_atoms(Crystal(tilt=0.0), whole, crystals(), cost=False, at_most=0.9).verdict == "pass"


@pytest.mark.parametrize("group", [SO(3), O(3)], ids=repr)
def test_crystals_behind_the_frame_of_their_cell(group):
    claim = atoms_symmetry(group)
    results = {"energy": Scalar(), "forces": Rows(Vector()), "stress": Tensor(2)}
    whole = Symmetry(group, claim.inputs, results)
    options = {"cost": False, "elements": 6, "at_most": 0.9}
    plain = EnergyForces(Crystal(), cell="cell", index="index")
    mended = EnergyForces(symmetrize(Crystal(), claim, Polar(of="cell")), cell="cell", index="index")
    assert audit_atoms(plain, whole, crystals(), **options).verdict == "fail"
    found = audit_atoms(mended, whole, crystals(), **options)
    assert found.verdict == "pass", found
    assert set(found.by_output) == {".energy", ".forces", ".stress"}


@pytest.mark.parametrize("group", [SO(2), O(2)], ids=repr)
def test_slabs_turn_about_their_normal(group):
    claim = atoms_symmetry(group, axis=2)
    results = {"energy": Scalar(), "forces": Rows(Planar(Vector())), "stress": Planar(Tensor(2))}
    whole = Symmetry(group, claim.inputs, results)
    options = {"cost": False, "elements": 6, "at_most": 0.99}
    mended = EnergyForces(symmetrize(Crystal(), claim, Polar(of="cell")), cell="cell", index="index")
    systems = [slab(), shaken(slab(), seed=3)]
    assert audit_atoms(EnergyForces(Crystal(), cell="cell", index="index"), whole, systems, **options).verdict == "fail"
    found = audit_atoms(mended, whole, systems, **options)
    assert found.verdict == "pass", found


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


def ask(model, *args, system=None, what="get_potential_energy", **options):
    atoms = molecule("CH4") if system is None else system
    atoms.calc = Calculator(model, *args, **options)
    return getattr(atoms, what)()


REFUSED = {
    "no atoms": (lambda: atoms_batch([]), "takes Atoms"),
    "no systems": (lambda: atoms_batch([3]), "takes Atoms"),
    "a number": (lambda: atoms_batch(3), "takes Atoms"),
    "sizes": (lambda: atoms_batch(MOLECULES, dense=True), "of different size"),
    "a key that is not there": (
        lambda: atoms_batch(MOLECULES, keys=["velocities"]),
        "not all systems have 'velocities'",
    ),
    "an unknown field": (lambda: atoms_fields(["pos", "colour"]), "does not know 'colour'"),
    "a claim without names": (
        lambda: audit_atoms(Tilted(), Symmetry(E(3), Point(), Scalar()), MOLECULES),
        "with names",
    ),
    "a frame without a claim": (lambda: Calculator(Tilted(), None, Weighted()), "without a claim"),
    "forces twice": (lambda: Calculator(EnergyForces(Tilted())), "makes forces itself"),
    "periodic without a frame": (lambda: ask(Crystal(), atoms_symmetry(O(3)), system=bulk("Si")), "frame of the cell"),
    "no dict": (lambda: ask(lambda d: d["pos"].sum((1, 2)), dense=True, direct=True), "returns no energy"),
    "forces of another size": (
        lambda: ask(lambda d: {"energy": torch.zeros(1), "forces": torch.zeros(2, 3)}, dense=True, direct=True),
        "forces does not fit",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_told(case):
    call, words = REFUSED[case]
    with pytest.raises(SymmetryError, match=words):
        call()


def test_stress_of_a_molecule_is_no_property():
    with pytest.raises(PropertyNotImplementedError):
        ask(Tilted(), what="get_stress")


def test_a_claim_has_the_numbering_of_its_rows():
    assert atoms_symmetry(E(3)).inputs.parts["index"] == Index()
    assert atoms_symmetry(E(3)).inputs.parts["offsets"] == Offsets()
