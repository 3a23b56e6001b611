"""ASE: batches, claims and the audit; what a system carries turns with its atoms. Misuse is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("ase", reason="ase is not installed")

from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase_cases import Crystal, Tilted, ask, crystals, shaken

from canonize import (
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

MOLECULES = [molecule(name) for name in ("CH4", "NH3", "H2O", "C6H6", "C2H4", "CO2")]


def slab():
    atoms = fcc111("Cu", (2, 2, 3), vacuum=6.0, periodic=True)
    add_adsorbate(atoms, molecule("NH3"), 1.8, "ontop")
    return shaken(atoms, 0.05)


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


def test_a_claim_has_the_numbering_of_its_rows():
    assert atoms_symmetry(E(3)).inputs.parts["index"] == Index()
    assert atoms_symmetry(E(3)).inputs.parts["offsets"] == Offsets()
