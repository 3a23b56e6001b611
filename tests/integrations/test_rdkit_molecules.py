"""Molecules of RDKit: hashes that agree with its canonical SMILES, stereochemistry included, and clouds of atoms."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

Chem: Any = pytest.importorskip("rdkit.Chem", reason="rdkit is not installed")
AllChem: Any = pytest.importorskip("rdkit.Chem.AllChem", reason="rdkit is not installed")
pytest.importorskip("canonaut", reason="canonaut is not installed")

from typer.testing import CliRunner  # noqa: E402  # after the check that RDKit is there

from canonize import SE, E, Product, S, SymmetryError, canonical_hash, canonical_hashes, equivalent  # noqa: E402
from canonize.cli.app import app  # noqa: E402
from canonize.integrations.rdkit import molecule_cloud, molecule_graph, read_block, read_smiles  # noqa: E402

# Pairs that differ in stereochemistry only, kinds of bonds, charges, isotopes, radicals, one molecule written in two ways.
WORDS = r"""
CCO c1ccccc1 C1=CC=CC=C1 C[C@H](N)C(=O)O C[C@@H](N)C(=O)O CC(N)C(=O)O F/C=C/F F/C=C\F FC=CF C/C=C\C
C[C@H]1CC[C@@H](C)CC1 C[C@H]1CC[C@H](C)CC1 C[N+](=O)[O-] [2H]C([2H])O CO C[S@](=O)CC C[S@@](=O)CC [Na+].[Cl-]
C1CC1 CC=C C=C=C N#N [NH3]->[Fe] C[C@H](O)[C@@H](O)C C[C@H](O)[C@H](O)C C[C@@H](O)[C@@H](O)C C/C=C/C=C\C
C/C=C\C=C/C C[C@H](O)C[C@@H](O)C C[C@H](O)C[C@H](O)C F[C@](Cl)(Br)I F[C@@](Cl)(Br)I O[C@H]1C[C@@H](O)C1
O[C@H]1C[C@H](O)C1 C/C(F)=C(/C)F C/C(F)=C(\C)F C(/C)(F)=C(/C)F [CH3] C [CH2] [13CH4] CN1C=NC2=C1C(=O)N(C(=O)N2C)C
""".split()  # noqa: SIM905  # as in a file of SMILES


def shuffled(molecule: Any, rng: random.Random) -> Any:
    order = list(range(molecule.GetNumAtoms()))
    rng.shuffle(order)
    return Chem.RenumberAtoms(molecule, order)


def test_hashes_agree_with_canonical_smiles() -> None:
    rng = random.Random(0)
    molecules, names = [], []
    for word in WORDS:
        first = read_smiles(word)
        again = [Chem.MolFromSmiles(Chem.MolToSmiles(first, doRandom=True)) for _ in range(3)]
        for each in [first, *again, *(shuffled(first, rng) for _ in range(3))]:
            molecules.append(each)
            names.append(Chem.MolToSmiles(first))
    hashes = canonical_hashes([molecule_graph(each) for each in molecules], S())
    assert len({*zip(hashes, names, strict=True)}) == len(set(hashes)) == len(set(names))


def test_many_stereocentres_in_one_ring() -> None:
    """Sugars, which are large graphs once their centres are in them."""
    rng = random.Random(0)
    words = ["OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O", "OC[C@H]1O[C@H](O)[C@H](O)[C@@H](O)[C@@H]1O"]
    first, second = (read_smiles(word) for word in words)
    graphs = [molecule_graph(shuffled(each, rng)) for each in (first, second) for _ in range(6)]
    hashes = canonical_hashes(graphs, S())
    assert len(set(hashes[:6])) == len(set(hashes[6:])) == 1
    assert hashes[0] != hashes[6]


def test_stereochemistry_may_be_left_out() -> None:
    left, right = (molecule_graph(read_smiles(f"C[C@{at}H](N)C(=O)O"), stereo=False) for at in ("", "@"))
    assert canonical_hash(left, S()) == canonical_hash(right, S())


def posed(word: str, seed: int) -> Any:
    molecule = Chem.AddHs(Chem.MolFromSmiles(word))
    assert AllChem.EmbedMolecule(molecule, randomSeed=seed) == 0
    return molecule


def test_atoms_in_space() -> None:
    hand = molecule_cloud(posed("C[C@H](N)C(=O)O", 3))
    mirrored = type(hand)(-hand.points.flip(0), hand.kinds[::-1])
    assert equivalent(hand, mirrored, Product(S(), E(3)), tolerance=1e-3)
    assert not equivalent(hand, mirrored, Product(S(), SE(3)), tolerance=1e-3)
    with pytest.raises(SymmetryError, match=r"^this molecule has no positions in space"):
        molecule_cloud(read_smiles("CCO"))


def test_what_rdkit_does_not_read_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    for word in ("C1CC", "not a molecule", "", "C(C)(C)(C)(C)C"):
        with pytest.raises(SymmetryError, match=r"^RDKit does not read this molecule"):
            read_smiles(word)
    with pytest.raises(SymmetryError, match=r"^RDKit does not read this molecule"):
        read_block("no block")
    assert not capfd.readouterr().err


def found_in(path: Path, *words: str) -> Any:
    out = path.with_suffix(".json")
    done = CliRunner().invoke(app, ["dedupe", str(path), "--out", str(out), *words])
    assert out.exists(), done.output
    return done.exit_code, json.loads(out.read_text(encoding="utf-8"))


def test_dedupe_of_smiles(tmp_path: Path) -> None:
    path = tmp_path / "a.smi"
    path.write_text(
        "# names follow\nOCC ethanol\nc1ccccc1 benzene\nC1CC broken\nC(O)C again\nC[C@H](F)O\nC[C@@H](F)O\n"
    )
    code, told = found_in(path, "--group", "S")
    assert (code, told["groups"]) == (3, [["a.smi:2", "a.smi:5"]])
    assert [part["item"] for part in told["bad"]] == ["a.smi:4"]
    _, told = found_in(path, "--group", "S", "--no-stereo")
    assert told["groups"] == [["a.smi:2", "a.smi:5"], ["a.smi:6", "a.smi:7"]]


def test_dedupe_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('name,Smiles\n"x, y",CCO\nz,CC\nw,OCC\nempty\n')
    code, told = found_in(path, "--group", "S")
    assert (code, told["groups"], [part["item"] for part in told["bad"]]) == (3, [["a.csv:2", "a.csv:4"]], ["a.csv:5"])
    done = CliRunner().invoke(app, ["dedupe", str(path), "--group", "S", "--column", "structure"])
    assert done.exit_code == 2
    assert "the table has no such column" in done.output


def test_dedupe_of_structures(tmp_path: Path) -> None:
    molecules = [posed("C[C@H](N)C(=O)O", 3), posed("CCO", 1), posed("CCO", 5)]
    turned = Chem.Mol(molecules[0])
    turn = Product(S(), SE(3)).factors[1].sample(generator=torch.Generator().manual_seed(0))
    points = torch.tensor(turned.GetConformer().GetPositions()).float() @ turn.linear.T + turn.shift
    for place, point in enumerate(points.tolist()):
        turned.GetConformer().SetAtomPosition(place, point)
    path = tmp_path / "a.sdf"
    with Chem.SDWriter(str(path)) as writer:
        for each in [*molecules, shuffled(turned, random.Random(0))]:
            writer.write(each)
    # Four decimals in the file: coordinates agree to about 1e-4.
    code, told = found_in(path, "--group", "SxSE3", "--tolerance", "0.001")
    assert (code, told["groups"]) == (1, [["a.sdf:1", "a.sdf:4"]])
    _, told = found_in(path, "--group", "S")
    assert told["groups"] == [["a.sdf:1", "a.sdf:4"], ["a.sdf:2", "a.sdf:3"]]
    code, told = found_in(path, "--group", "S", "--resume", str(tmp_path / "journal"))
    assert (code, told["bad"]) == (1, [])
