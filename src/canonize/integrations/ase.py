"""ASE: batches of `Atoms`, the claims that fit them, their audit, and a calculator around any torch model of the energy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from ase import Atoms  # type: ignore[import-not-found, import-untyped, unused-ignore]  # no types
from ase.calculators.calculator import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
    CalculationFailed,
    PropertyNotImplementedError,
    all_changes,
)
from ase.calculators.calculator import (
    Calculator as _Base,
)
from torch import Tensor

from canonize._tree import describe
from canonize.actions import Index, Offsets, Rows
from canonize.audit import Audit, audit
from canonize.errors import refuse
from canonize.frames import Weighted
from canonize.integrations._atoms import STANDARD, atoms_batch, atoms_fields, atoms_symmetry
from canonize.nn import EnergyForces
from canonize.symmetrize import Symmetrized
from canonize.symmetry import Symmetry

__all__ = ["Calculator", "atoms_batch", "atoms_fields", "atoms_symmetry", "audit_atoms"]


def audit_atoms(model: Any, symmetry: Symmetry, images: Iterable[Atoms], **options: Any) -> Audit:
    """How far a model of atoms is from a claim, on these systems.

    Args:
        model: takes an `atoms_batch` with the parts that the claim names. With `EnergyForces` around it forces are audited too.
        symmetry: the claim, of `atoms_symmetry` or like it.
        images: the systems.
        options: of `canonize.audit`; "dtype" and "device" of the batch, float64 on the CPU where left out.

    Raises:
        SymmetryError: a claim that names other parts, and as `audit` and `atoms_batch`.

    Example:
        >>> from ase.build import molecule
        >>> from canonize import SO
        >>> from canonize.integrations.ase import atoms_symmetry, audit_atoms
        >>> found = audit_atoms(lambda atoms: atoms["pos"][..., 2].sum(1), atoms_symmetry(SO(3), dense=True), [molecule("CH4")])
        >>> found.verdict
        'fail'
    """
    parts = getattr(symmetry.inputs, "parts", symmetry.inputs)
    if not isinstance(parts, Mapping):
        raise refuse(
            "audit_atoms needs a claim with names",
            got=repr(symmetry.inputs),
            expected="inputs=Fields(pos=..., ...), a part of atoms_batch each",
            fix="atoms_symmetry(E(3))",
        )
    how: dict[str, Any] = {name: options.pop(name) for name in ("dtype", "device") if name in options}
    dense = not any(isinstance(action, Rows | Index | Offsets) for action in parts.values())
    return audit(model, symmetry, atoms_batch(images, keys=list(parts), dense=dense, **how), **options)


@final
class Calculator(_Base):  # type: ignore[misc, unused-ignore]  # of a library without types
    """An ASE calculator of energy (eV), forces (eV/Å) and stress (eV/Å^3, in ASE's order of six) from a torch model.

    Forces are the gradient of the energy, through the frame where there is one; stress is its derivative by strain, made
    only when asked for. The model is called with one system at a time, as a batch of one: with what `atoms_batch` makes of
    it, a dict with "pos", "numbers", "masses", "cell", "pbc", and, where it is ragged, "index" and "offsets".

    Args:
        model: a module or another callable that returns energies (1,) in eV, or a dict that holds "energy"; not changed.
        symmetry: a claim that the energy is to keep, such as `atoms_symmetry(E(3))`: the model is symmetrized. None takes
            the model as it is, also one that was symmetrized before.
        frame: how poses are chosen; `Weighted()` where None, with which energies are continuous and dynamics conserves
            them. For periodic systems name one that feels neither the origin nor the wrapping of atoms, `Polar(of="cell")`.
        dense: whether positions are (1, atoms, 3) in place of rows; as the claim says where there is one.
        extra: more keys of the batch than these, such as "charges"; a claim names them itself.
        inputs: `Atoms -> value`, what the model takes in place of the dict; with a "pos", and a "cell" for stress.
        direct: whether the model itself returns "energy", "forces" and, where it has one, "stress"; nothing is then derived.
        dtype: of the real numbers; that of the model's first parameter, float64 where it has none.
        device: likewise.
        chunk: poses in one call of the model, see `symmetrize`.

    Raises:
        SymmetryError: arguments that do not fit together; on use, what the model cannot take, periodic systems where no
            frame was named.
        CalculationFailed: energies, forces or stress that are NaN or infinite.

    Example:
        >>> import torch
        >>> from ase.build import molecule
        >>> from canonize import E
        >>> from canonize.integrations.ase import Calculator, atoms_symmetry
        >>> def uphill(atoms):
        ...     return (0.1 * atoms["pos"] ** 2 * torch.tensor([1.0, 2.0, 3.0])).sum((1, 2))
        >>> methane = molecule("CH4")
        >>> methane.calc = Calculator(uphill, atoms_symmetry(E(3), dense=True))
        >>> before = methane.get_potential_energy()
        >>> methane.rotate(90, "x")
        >>> abs(methane.get_potential_energy() - before) < 1e-12
        True
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 - as ASE declares it

    def __init__(
        self,
        model: Any,
        symmetry: Symmetry | None = None,
        frame: Any = None,
        *,
        dense: bool = False,
        extra: Sequence[str] = (),
        inputs: Callable[[Atoms], Any] | None = None,
        direct: bool = False,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        chunk: int = 1,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        if symmetry is None and frame is not None:
            raise refuse(
                "Calculator: a frame without a claim",
                got=f"frame={frame!r}",
                expected="the claim that the frame is to keep",
                fix="Calculator(model, atoms_symmetry(E(3)), frame)",
            )
        if isinstance(model, EnergyForces):
            raise refuse(
                "Calculator makes forces itself",
                got="a model inside EnergyForces",
                expected="the model of the energy",
                fix="pass model.energy_model; or direct=True to take the forces as they come",
            )
        chosen = Weighted() if frame is None else frame
        self.model = model if symmetry is None else Symmetrized(model, symmetry, chosen, chunk=chunk)
        parts = getattr(self.model.symmetry.inputs, "parts", {}) if isinstance(self.model, Symmetrized) else {}
        self.dense = not isinstance(parts.get("pos"), Rows) if parts else dense
        self.keys = tuple(parts) or (*STANDARD, *extra, *(() if dense else ("index", "offsets")))
        self.inputs = inputs
        self.direct = direct
        floats = (part for part in getattr(model, "parameters", list)() if part.is_floating_point())
        like = next(floats, torch.zeros((), dtype=torch.float64))
        self.dtype = like.dtype if dtype is None else dtype
        self.device = like.device if device is None else torch.device(device)
        self._frame_was_named = frame is not None or symmetry is None

    def calculate(
        self, atoms: Atoms | None = None, properties: Sequence[str] = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Fill `results`, as ASE asks for it."""
        super().calculate(atoms, list(properties), system_changes)  # type: ignore[no-untyped-call, unused-ignore]
        system: Any = self.atoms
        if not self._frame_was_named and bool(system.pbc.any()):
            raise refuse(
                "a frame that is read from positions depends on how the atoms of a periodic system are wrapped",
                got=f"{system.symbols}, periodic along {np.flatnonzero(system.pbc).tolist()}, and no frame",
                expected="a frame of the cell",
                fix="Calculator(model, atoms_symmetry(O(3)), Polar(of='cell')); the model must not depend on the origin",
            )
        value = self._value(system)
        stressed = "stress" in properties
        if stressed and not self.direct and system.cell.rank < 3:
            raise PropertyNotImplementedError("stress needs three lattice vectors")
        index = "index" if not self.dense and stressed else None
        model = self.model if self.direct else EnergyForces(self.model, cell="cell" if stressed else None, index=index)
        with torch.no_grad():
            found = model(value)
        self.results = self._results(found, len(system))
        missing = [name for name in properties if name not in self.results]
        if missing:
            raise PropertyNotImplementedError(f"the model returns no {missing[0]}")

    def _value(self, atoms: Atoms) -> Any:
        if self.inputs is not None:
            return self.inputs(atoms)
        return atoms_batch(atoms, keys=self.keys, dense=self.dense, dtype=self.dtype, device=self.device)

    def _results(self, found: Any, count: int) -> dict[str, Any]:
        """What the model returned, in ASE's shapes and in float64."""
        if not isinstance(found, Mapping) or "energy" not in found:
            raise refuse(
                "Calculator: the model returns no energy",
                got=describe(found),
                expected="a dict with 'energy' and 'forces'" if self.direct else "energies (1,)",
                fix="direct=False derives the forces" if self.direct else "return one energy for the system",
            )
        parts = {name: found[name] for name in ("energy", "forces", "stress") if name in found}
        shapes = {"energy": 1, "forces": 3 * count, "stress": 9}
        results: dict[str, Any] = {}
        for name, part in parts.items():
            if not isinstance(part, Tensor) or part.numel() != shapes[name]:
                raise refuse(
                    f"Calculator: the {name} does not fit one system of {count} atoms",
                    got=describe(part),
                    expected={"energy": "(1,)", "forces": f"({count}, 3)", "stress": "(1, 3, 3)"}[name],
                    fix="the model is called with a batch of one system",
                )
            if not bool(part.isfinite().all()):
                raise CalculationFailed(f"the {name} of the model is NaN or infinite")
            results[name] = part.detach().double().cpu().numpy()
        results["energy"] = results["free_energy"] = float(results["energy"].reshape(()))
        if "forces" in results:
            results["forces"] = results["forces"].reshape(count, 3)
        if "stress" in results:
            full = results["stress"].reshape(3, 3)
            results["stress"] = ((full + full.T) / 2)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        return results
