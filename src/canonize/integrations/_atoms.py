"""Batches of ASE's `Atoms` as tensors, and the claims that fit them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms  # type: ignore[import-not-found, import-untyped, unused-ignore]  # no types
from torch import Tensor

from canonize._tree import describe
from canonize.actions import Fields, Index, Offsets, Planar, Point, Rows, Scalar, Vector
from canonize.actions import Tensor as TensorAction
from canonize.errors import refuse
from canonize.symmetry import Symmetry

STANDARD = ("pos", "numbers", "masses", "cell", "pbc")
"""What every batch holds, besides "index" and "offsets" where it is ragged."""

INVARIANT = Scalar()
_PSEUDOVECTOR = TensorAction(1, odd=True)
_OF_ATOMS: dict[str, Any] = {
    "pos": Point(),
    "numbers": Scalar(),
    "masses": Scalar(),
    "velocities": Vector(),
    "momenta": Vector(),
    "charges": Scalar(),
    "magmoms": Scalar(),
    "spins": _PSEUDOVECTOR,
    "tags": Scalar(),
    "forces": Vector(),
}
_OF_SYSTEMS: dict[str, Any] = {
    "cell": Vector(),
    "pbc": Scalar(),
    "energy": Scalar(),
    "stress": TensorAction(2),
    "dipole": Vector(),
}


def atoms_batch(
    images: Atoms | Iterable[Atoms],
    *,
    keys: Sequence[str] | None = None,
    dense: bool = False,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> dict[str, Tensor]:
    """Atoms of one or several systems as a dict of tensors, in the units of ASE: Å, eV, u.

    For each atom (rows, ...), one system behind the other: "pos" (rows, 3), "numbers", "masses", and where they are set in
    all systems "velocities" and "momenta" (rows, 3), initial "charges", initial "magmoms" (rows,) or as vectors "spins"
    (rows, 3), "tags". For each system: "cell" (systems, 3, 3), lattice vectors in rows; "pbc" (systems, 3) bool. Where all
    systems have them as results of a calculator: "energy" (systems,), "forces" (rows, 3), "stress" (systems, 3, 3) in
    eV/Å^3, "dipole" (systems, 3) in e Å. "index" (rows,) names the system of each row, "offsets" (systems + 1,) tells where
    each begins.

    Args:
        images: one or several.
        keys: which of these; all that there are where None.
        dense: (systems, atoms, ...) in place of rows, for systems of equally many atoms; no "index" and no "offsets".
        dtype: of the real numbers.
        device: of the tensors.

    Raises:
        SymmetryError: no atoms, something else, systems of different size where `dense`, or a key that not all have.

    Example:
        >>> from ase.build import molecule
        >>> from canonize.integrations.ase import atoms_batch
        >>> batch = atoms_batch([molecule("CH4"), molecule("H2O")])
        >>> batch["pos"].shape, batch["cell"].shape, batch["offsets"].tolist()
        (torch.Size([8, 3]), torch.Size([2, 3, 3]), [0, 5, 8])
    """
    systems = [images] if isinstance(images, Atoms) else list(images) if isinstance(images, Iterable) else [images]
    wrong = [one for one in systems if not isinstance(one, Atoms)]
    if wrong or not systems:
        raise refuse(
            "atoms_batch takes Atoms",
            got=describe(wrong[0]) if wrong else "an empty list",
            expected="ase.Atoms, or a list of them",
            fix="atoms_batch([molecule('CH4'), molecule('H2O')]); ase.io.read(path, ':') reads all systems of a file",
        )
    sizes = [len(one) for one in systems]
    if dense and len(set(sizes)) > 1:
        raise refuse(
            "systems of different size do not fit into one dense batch",
            got=f"{sizes[:8]} atoms",
            expected="equally many in each",
            fix="dense=False: rows of all systems in one tensor",
        )
    found: dict[str, Tensor] = {}
    for name in (*STANDARD, *(name for name in (*_OF_ATOMS, *_OF_SYSTEMS) if name not in STANDARD)):
        if keys is not None and name not in keys:
            continue
        parts = [_read(one, name) for one in systems]
        known = [part for part in parts if part is not None]
        if len(known) == len(parts):
            joined = np.concatenate(known) if name in _OF_ATOMS else np.stack(known)
            tensor = torch.as_tensor(joined, device=device)
            tensor = tensor.to(dtype) if tensor.is_floating_point() else tensor
            found[name] = tensor.reshape(len(systems), -1, *tensor.shape[1:]) if dense and name in _OF_ATOMS else tensor
    if not dense:
        lengths = torch.tensor(sizes, device=device)
        numbered = {
            "index": torch.arange(len(sizes), device=device).repeat_interleave(lengths),
            "offsets": torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]),
        }
        found |= {name: part for name, part in numbered.items() if keys is None or name in keys}
    absent = [name for name in keys or () if name not in found]
    if absent:
        raise refuse(
            f"atoms_batch: not all systems have {absent[0]!r}",
            got=f"{len(systems)} systems that have {sorted(found)}",
            expected=f"some of {[*_OF_ATOMS, *_OF_SYSTEMS, 'index', 'offsets']}",
            fix="set it in each of them, for example atoms.set_velocities(...), or leave it out",
        )
    return found


def atoms_fields(
    batch: Mapping[str, Any] | Iterable[str], *, axis: int | None = None, dense: bool | None = None
) -> Fields:
    """How each part of an `atoms_batch` moves: cell, velocities, forces, stress and dipoles turn with the positions.

    Positions are `Point()`, which feel shifts; the rows of the cell, velocities, momenta, forces and dipoles `Vector()`;
    stress `Tensor(2)`; spins pseudovectors, `Tensor(1, odd=True)`; all else `Scalar()`.

    Args:
        batch: what `atoms_batch` returned, or the names of its parts.
        axis: 0, 1 or 2 for slabs: all is `Planar` about this axis, for groups of the plane.
        dense: whether atoms have an axis of their own; by whether the batch has no "index" and no "offsets" where None.

    Raises:
        SymmetryError: a name that `atoms_batch` does not know.

    Example:
        >>> from canonize.integrations.ase import atoms_fields
        >>> atoms_fields(["pos", "cell", "offsets"])
        Fields(pos=Rows(Point()), cell=Vector(), offsets=Offsets())
    """
    names = list(batch)
    rows = not {"index", "offsets"}.isdisjoint(names) if dense is None else not dense
    actions: dict[str, Any] = {}
    for name in names:
        if name in ("index", "offsets"):
            actions[name] = Index() if name == "index" else Offsets()
            continue
        if name not in _OF_ATOMS and name not in _OF_SYSTEMS:
            raise refuse(
                f"atoms_fields does not know {name!r}",
                got=repr(name),
                expected=f"some of {[*_OF_ATOMS, *_OF_SYSTEMS, 'index', 'offsets']}",
                fix="declare it yourself: Fields({**atoms_fields(...).parts, 'name': Vector()})",
            )
        action = _OF_ATOMS[name] if name in _OF_ATOMS else _OF_SYSTEMS[name]
        action = action if axis is None or isinstance(action, Scalar) else Planar(action, axis)
        actions[name] = Rows(action) if rows and name in _OF_ATOMS else action
    return Fields(actions)


def atoms_symmetry(
    group: Any, outputs: Any = INVARIANT, *, extra: Sequence[str] = (), axis: int | None = None, dense: bool = False
) -> Symmetry:
    """The claim of a model that takes an `atoms_batch` as its only argument.

    Args:
        group: E(3), SE(3); O(3), SO(3) for models that look at differences of positions only; for slabs with `axis` E(2),
            SO(2) and the like.
        outputs: tree of actions; energies (systems,) where left out. `atoms_fields(("energy", "forces", "index")).parts`
            has the actions of results; leave its index out.
        extra: more keys of the batch than `STANDARD`, such as "velocities".
        axis: as for `atoms_fields`.
        dense: as for `atoms_batch`.

    Raises:
        SymmetryError: no group, no such key.

    Example:
        >>> from canonize import E
        >>> from canonize.integrations.ase import atoms_symmetry
        >>> atoms_symmetry(E(3), dense=True).inputs
        Fields(pos=Point(), numbers=Scalar(), masses=Scalar(), cell=Vector(), pbc=Scalar())
    """
    names = [*STANDARD, *extra, *([] if dense else ["index", "offsets"])]
    return Symmetry(group, atoms_fields(names, axis=axis), outputs)


def _read(atoms: Atoms, name: str) -> np.ndarray[Any, Any] | None:
    """One part of one system; None where it has none."""
    arrays, calculated = atoms.arrays, getattr(atoms.calc, "results", {})
    if name == "magmoms" or name == "spins":
        part = arrays.get("initial_magmoms")
        return part if part is not None and (part.ndim == 2) == (name == "spins") else None
    if name == "stress":
        return _square(calculated["stress"]) if calculated.get("stress") is not None else None
    if name in ("energy", "forces", "dipole"):
        return np.asarray(calculated[name]) if calculated.get(name) is not None else None
    if name in ("velocities", "momenta"):
        return getattr(atoms, f"get_{name}")() if "momenta" in arrays else None
    if name in ("charges", "tags"):
        return arrays.get({"charges": "initial_charges"}.get(name, name))
    always: dict[str, np.ndarray[Any, Any]] = {
        "pos": atoms.positions,
        "numbers": atoms.numbers,
        "masses": atoms.get_masses(),
        "cell": atoms.cell.array,
        "pbc": atoms.pbc,
    }
    return always[name]


def _square(stress: Any) -> np.ndarray[Any, Any]:
    """A stress (3, 3) from ASE's order of six: xx, yy, zz, yz, xz, xy."""
    six = np.asarray(stress)
    return six if six.shape == (3, 3) else six[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
