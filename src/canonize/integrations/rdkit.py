"""Molecules of RDKit as graphs, stereochemistry included, and as clouds of atoms: what `canonical_hash` takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from rdkit import Chem, rdBase

from canonize.errors import refuse
from canonize.forms import Cloud, Graph

TURNS = {Chem.ChiralType.CHI_TETRAHEDRAL_CCW: False, Chem.ChiralType.CHI_TETRAHEDRAL_CW: True}
CIS = (Chem.BondStereo.STEREOZ, Chem.BondStereo.STEREOCIS)
TRANS = (Chem.BondStereo.STEREOE, Chem.BondStereo.STEREOTRANS)
AROUND = {0: (1, 2, 3), 1: (0, 3, 2), 2: (0, 1, 3), 3: (0, 2, 1)}
"""Of four ligands in their order: looking from each, the other three counterclockwise."""
ONE_WAY = ("DATIVE", "DATIVEONE", "DATIVEL", "DATIVER")


def molecule_graph(molecule: Chem.Mol, *, stereo: bool = True) -> Graph:
    """The molecule as a graph: equal hashes for equal molecules, whatever the order of their atoms.

    Atoms count with element, charge, isotope, hydrogens that are not atoms of their own, and unpaired electrons; bonds with
    their order, aromatic ones as RDKit perceives them. Atom maps, names and properties do not count. Tautomers, mesomeric
    forms that RDKit keeps apart and different salts are different molecules.

    Stereochemistry is part of the graph, not a label that was derived from it: around a stereocentre small nodes hold which
    of three ligands follows which, looking from the fourth; beside a double bond, which substituents lie on one side. So
    enantiomers, diastereomers, and cis and trans forms differ if and only if no relabelling joins them. Other kinds (axes,
    octahedral centres, groups of relative stereo) do not count.

    Args:
        molecule: sanitised, as the readers of RDKit return it.
        stereo: whether stereochemistry counts.

    Example:
        >>> from canonize import S, canonical_hash
        >>> from canonize.integrations.rdkit import molecule_graph, read_smiles
        >>> words = ["OC(=O)[C@H](C)N", "C[C@@H](C(O)=O)N", "C[C@H](C(O)=O)N"]
        >>> hashes = [canonical_hash(molecule_graph(read_smiles(word)), S()) for word in words]
        >>> hashes[0] == hashes[1], hashes[0] == hashes[2]
        (True, False)
    """
    made = _Graph()
    for atom in molecule.GetAtoms():
        charges = atom.GetFormalCharge(), atom.GetTotalNumHs(), atom.GetNumRadicalElectrons()
        made.node(("atom", atom.GetAtomicNum(), atom.GetIsotope(), *charges))
    for bond in molecule.GetBonds():
        one, two, name = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), str(bond.GetBondType())
        made.edge(one, two, name)
        made.edge(two, one, f"to {name}" if name in ONE_WAY else name)
    if stereo:
        for atom in molecule.GetAtoms():
            if atom.GetChiralTag() in TURNS:
                _centre(made, atom)
        for bond in molecule.GetBonds():
            if bond.GetStereo() in CIS + TRANS:
                _sides(made, bond)
    edges = torch.tensor(made.edges, dtype=torch.int64).reshape(-1, 2).T
    return Graph(edges, made.nodes, made.labels, count=len(made.nodes), directed=True)


def molecule_cloud(molecule: Chem.Mol) -> Cloud:
    """The atoms in space, hydrogens as far as they are atoms of their own: positions in angstrom, kinds (element, isotope).

    Bonds do not count: positions make them.

    Raises:
        SymmetryError: a molecule without three-dimensional coordinates.
    """
    if not molecule.GetNumConformers() or not (molecule.GetConformer().Is3D() or molecule.GetNumAtoms() < 2):
        raise refuse(
            "this molecule has no positions in space",
            got="no conformer, or a drawing",
            expected="three-dimensional coordinates",
            fix="the group S compares molecules as graphs",
        )
    points = torch.tensor(molecule.GetConformer().GetPositions().tolist(), dtype=torch.float64).reshape(-1, 3)
    return Cloud(points, [(atom.GetAtomicNum(), atom.GetIsotope()) for atom in molecule.GetAtoms()])


def read_smiles(text: str) -> Chem.Mol:
    """The molecule of a SMILES, sanitised.

    Raises:
        SymmetryError: one that RDKit does not read.
    """
    return _read(Chem.MolFromSmiles, text.strip(), text.strip()[:80])


def read_block(text: str, *, hydrogens: bool = False) -> Chem.Mol:
    """The molecule of a mol block or of one record of an SDF file, sanitised.

    Args:
        text: the block.
        hydrogens: keep hydrogens as atoms of their own.

    Raises:
        SymmetryError: one that RDKit does not read.
    """
    return _read(lambda block: Chem.MolFromMolBlock(block, removeHs=not hydrogens), text, text.partition("\n")[0][:80])


def _read(reader: Any, text: str, name: str) -> Chem.Mol:
    # RDKit tells what is wrong on the error stream only.
    with rdBase.BlockLogs():
        found: Chem.Mol | None = reader(text)
    if found is None or not text:
        raise refuse(
            "RDKit does not read this molecule",
            got=repr(name),
            expected="a valid molecule",
            fix="Chem.MolFromSmiles(..., sanitize=False) shows what it holds",
        )
    return found


class _Graph:
    """A graph as it is built."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.edges: list[tuple[int, int]] = []
        self.labels: list[str] = []

    def node(self, feature: Any) -> int:
        self.nodes.append(feature)
        return len(self.nodes) - 1

    def edge(self, one: int, two: int, label: str) -> None:
        self.edges.append((one, two))
        self.labels.append(label)


def _centre(made: _Graph, atom: Chem.Atom) -> None:
    centre = atom.GetIdx()
    ligands = [bond.GetOtherAtomIdx(centre) for bond in atom.GetBonds()]
    if len(ligands) not in (3, 4):
        return
    if len(ligands) == 3:
        # A hydrogen that is no atom of its own, or a lone pair, is the last ligand.
        ligands.append(made.node(("missing",)))
        made.edge(ligands[-1], centre, "missing")
    if TURNS[atom.GetChiralTag()]:
        ligands[2], ligands[3] = ligands[3], ligands[2]
    for one, others in AROUND.items():
        views = [made.node(("view",)) for _ in others]
        for place, (view, other) in enumerate(zip(views, others, strict=True)):
            made.edge(view, centre, "about")
            made.edge(view, ligands[one], "from")
            made.edge(view, ligands[other], "at")
            made.edge(view, views[(place + 1) % 3], "next")


def _sides(made: _Graph, bond: Chem.Bond) -> None:
    stated = list(bond.GetStereoAtoms())
    ends = (bond.GetBeginAtom(), bond.GetEndAtom())
    if len(stated) != 2:
        return
    for one in _substituents(ends[0], ends[1].GetIdx()):
        for two in _substituents(ends[1], ends[0].GetIdx()):
            near = ((one == stated[0]) == (two == stated[1])) == (bond.GetStereo() in CIS)
            pair = made.node(("cis" if near else "trans",))
            for place in (one, two):
                made.edge(pair, place, "side")
            for end in ends:
                made.edge(pair, end.GetIdx(), "bond")


def _substituents(atom: Chem.Atom, partner: int) -> Iterator[int]:
    return (other.GetIdx() for other in atom.GetNeighbors() if other.GetIdx() != partner)
