"""Energies with their derivatives: forces, and stress of a periodic cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn

from canonize._tree import describe, map_tensors, replace
from canonize.errors import refuse


@final
class EnergyForces(nn.Module):
    """Energy, forces = -dE/dx, and stress where a cell is named, of a model that returns energies.

    Around a `Symmetrized` model the forces are the gradient of the averaged energy, through the frame: they are conservative
    and turn with the positions as exactly as the energy stands still. (`symmetrize(EnergyForces(model), ...)` is another thing:
    the average of the plain model's forces, which is the gradient of no energy unless the poses do not depend on the input.)

    Args:
        energy_model: called as this module is. Returns one energy for each sample, (batch,), (batch, 1) or (), or a dict
            that holds it; the rest of the dict is passed on. A sample's energy must depend on its own positions only.
        of: where the positions are: the number of an argument, or the name of a keyword argument, or of a key or attribute of
            the first argument that has it. Positions are (batch, n, d), or rows (rows, d) of many samples.
        cell: where the cell is, (batch, d, d), or (d, d) for one sample; its rows are the lattice vectors. Its strain gives the
            stress; None for no stress. A model that reads lengths or shifts in Å must compute them from this cell.
        index: where the sample of each row is, (rows,) whole numbers; for stress of positions that are rows.
        energy: the key of the energy in a dict.

    Returns:
        "energy" (batch,); "forces" of the shape of the positions, energy / length, such as eV/Å; with a cell "stress"
        (batch, d, d), energy / length^d, such as eV/Å^3: (1/V) dE/d strain, positive under tension, symmetric.

    In train mode, and where the positions require a gradient, the results keep their graph (second derivatives for training
    on forces); in eval mode and under `torch.no_grad()` they are detached. Works under `no_grad` and `inference_mode`. What the
    caller passed is not changed, `requires_grad` included.

    Raises:
        SymmetryError: no model; on use, positions or cell that are not there or hold no real numbers, a cell without volume,
            energies of another shape, and an energy that does not depend on the positions, as of a model that detaches them.

    Singular case: where atoms coincide, or a model takes the root of zero, autograd may return NaN; it is passed on, and
    `audit(..., gradients=True)` counts it as failure.

    Example:
        >>> import torch
        >>> from canonize.nn import EnergyForces
        >>> springs = EnergyForces(lambda pos: 0.5 * pos.square().sum((1, 2)), of=0).eval()
        >>> found = springs(torch.tensor([[[1.0, 2.0, 3.0]]]))
        >>> found["energy"], found["forces"]
        (tensor([7.]), tensor([[[-1., -2., -3.]]]))

    Source: Chmiela et al., Machine learning of accurate energy-conserving molecular force fields, arXiv 1611.04678; the strain
    derivative, Knuth et al., doi 10.1016/j.cpc.2015.01.003; gradients of averages over frames, Puny et al., arXiv 2110.03336.
    """

    def __init__(
        self,
        energy_model: Any,
        of: int | str = "pos",
        *,
        cell: int | str | None = None,
        index: int | str | None = None,
        energy: str = "energy",
    ) -> None:
        super().__init__()
        if not callable(energy_model) or isinstance(energy_model, type):
            raise refuse(
                "EnergyForces needs a model of the energy",
                got=f"the class {energy_model.__name__}" if isinstance(energy_model, type) else describe(energy_model),
                expected="a module or another callable that returns energies (batch,)",
                fix="EnergyForces(model, of='pos'), with an instance of the model",
            )
        for name, place in (("of", of), ("cell", cell), ("index", index)):
            optional = place is None and name != "of"
            if not optional and (not isinstance(place, int | str) or isinstance(place, bool)):
                raise refuse(
                    f"EnergyForces: bad {name}",
                    got=describe(place),
                    expected="the number of an argument or a name" + (", or None" if name != "of" else ""),
                    fix=f"{name}=0 for the first argument, {name}='pos' for a key, an attribute or a keyword",
                )
        self.energy_model = energy_model
        self.of = of
        self.cell = cell
        self.index = index
        self.energy = energy

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The model's energies with their derivatives; see the class."""
        wanted = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        with _differentiable():
            args, kwargs = map_tensors(_usable, args), map_tensors(_usable, kwargs)
            given = _numbers("positions", "of", _find(args, kwargs, self.of, "of"))
            keep = wanted and (self.training or given.requires_grad)
            # A leaf of our own, or a node behind the caller's graph: either way no tensor of the caller's is touched.
            pos = given.clone() if keep and given.requires_grad else given.detach().clone().requires_grad_()
            # The model gets a copy, which it may change in place as a leaf may not be.
            shown, strain, volume = pos.clone(), None, None
            if self.cell is not None:
                cell = _numbers("cell", "cell", _find(args, kwargs, self.cell, "cell"))
                strain, volume = _no_strain(cell, pos)
                both = (strain + strain.mT) / 2
                shown = shown + _strained(pos, both, self._owners(args, kwargs, pos, cell))
                args, kwargs = _put(args, kwargs, self.cell, cell + cell @ both.to(cell.dtype))
            args, kwargs = _put(args, kwargs, self.of, shown)
            output = self.energy_model(*args, **kwargs)
            energy = _energies(output, self.energy, pos)
            forces, pulled = _derivatives(energy, pos, strain, keep=keep)
            found = dict(output) if isinstance(output, Mapping) else {}
            found.pop(self.energy, None)
            found |= {"energy": energy, "forces": forces}
            if pulled is not None and volume is not None:
                found["stress"] = pulled / volume[..., None, None]
            return found if keep else {name: map_tensors(Tensor.detach, part) for name, part in found.items()}

    def extra_repr(self) -> str:
        """The settings, for `print(model)`."""
        return f"of={self.of!r}, cell={self.cell!r}, index={self.index!r}"

    def _owners(self, args: Any, kwargs: Any, pos: Tensor, cell: Tensor) -> Tensor | None:
        """The sample of each row; None where positions have the batch axes of the cell."""
        if self.index is not None:
            return _index(_find(args, kwargs, self.index, "index"), pos)
        if pos.ndim - 2 == cell.ndim - 2 and pos.shape[:-2] == cell.shape[:-2]:
            return None
        if pos.ndim == 2 and cell.shape[:-2] == (1,):
            return torch.zeros(len(pos), dtype=torch.int64, device=pos.device)
        raise refuse(
            "EnergyForces: the positions and the cells are of different batches",
            got=f"positions {tuple(pos.shape)}, cells {tuple(cell.shape)}",
            expected="(batch, n, d) and (batch, d, d); or rows (rows, d) with the sample of each row",
            fix="EnergyForces(model, cell='cell', index='batch')",
        )


@contextmanager
def _differentiable() -> Iterator[None]:
    """Autograd on, whatever the caller has switched off."""
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(False), torch.enable_grad():
            yield
    else:
        with torch.enable_grad():
            yield


def _usable(value: Tensor) -> Tensor:
    """The tensor itself, a copy where it was made in inference mode: autograd refuses to save such a one."""
    return value.clone() if value.is_inference() else value


def _holder(args: tuple[Any, ...], kwargs: dict[str, Any], place: int | str, name: str) -> int | None:
    """The number of the argument that has the place, or None where it is a keyword argument."""
    if isinstance(place, int):
        if -len(args) <= place < len(args):
            return place % len(args)
    elif place in kwargs:
        return None
    else:
        for number, value in enumerate(args):
            has = place in value if isinstance(value, Mapping) else hasattr(value, place)
            if has and not isinstance(value, Tensor):
                return number
    came = [describe(value) for value in args] + [f"{key}={describe(value)}" for key, value in kwargs.items()]
    raise refuse(
        f"EnergyForces: there is no {name}={place!r}",
        got=f"{len(came)} arguments: {'; '.join(came) or 'none'}",
        expected="the number of a positional argument, or the name of a keyword, a key or an attribute",
        fix=f"{name}=0 for the first argument",
    )


def _find(args: tuple[Any, ...], kwargs: dict[str, Any], place: int | str, name: str) -> Any:
    holder = _holder(args, kwargs, place, name)
    if holder is None:
        return kwargs[str(place)]
    if isinstance(place, int):
        return args[holder]
    whole = args[holder]
    return whole[place] if isinstance(whole, Mapping) else getattr(whole, place)


def _put(args: tuple[Any, ...], kwargs: dict[str, Any], place: int | str, value: Tensor) -> tuple[Any, dict[str, Any]]:
    """The arguments with another value at the place; containers are copied, not changed."""
    holder = _holder(args, kwargs, place, "of")
    if holder is None:
        return args, {**kwargs, str(place): value}
    new = value if isinstance(place, int) else replace(args[holder], {place: value})
    return (*args[:holder], new, *args[holder + 1 :]), kwargs


def _numbers(what: str, name: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim < 2:
        raise refuse(
            f"EnergyForces: the {what} are not vectors of real numbers",
            got=describe(value),
            expected="a floating-point tensor (batch, n, d), (rows, d), or for cells (batch, d, d)",
            fix=f"pass floats, batch first; {name}=... says where they are",
        )
    return value


def _index(index: Any, pos: Tensor) -> Tensor:
    if not isinstance(index, Tensor) or index.is_floating_point() or index.shape != pos.shape[:1]:
        raise refuse(
            "EnergyForces: the index does not name the sample of each row",
            got=describe(index),
            expected=f"whole numbers ({len(pos)},)",
            fix="index='batch', one entry for each row of the positions",
        )
    return index.long()


def _no_strain(cell: Tensor, pos: Tensor) -> tuple[Tensor, Tensor]:
    """A strain of zero for each cell, and the volumes."""
    if cell.shape[-1] != pos.shape[-1] or cell.shape[-2] != cell.shape[-1]:
        raise refuse(
            "EnergyForces: the cells do not fit the positions",
            got=f"cells {tuple(cell.shape)}, positions {tuple(pos.shape)}",
            expected=f"cells (batch, {pos.shape[-1]}, {pos.shape[-1]}), lattice vectors in rows",
            fix="batch first; leave cell=None where there is none",
        )
    volume = torch.linalg.det(cell.detach().double()).abs()
    if not bool((volume > 0).all()):
        raise refuse(
            "EnergyForces: stress needs cells with a volume",
            got=f"volumes {volume.flatten().tolist()[:8]}",
            expected="three lattice vectors that span space",
            fix="leave cell=None for molecules; give a slab a cell with vacuum in it",
        )
    return torch.zeros_like(cell, dtype=pos.dtype).requires_grad_(), volume.to(pos.dtype)


def _strained(pos: Tensor, strain: Tensor, owners: Tensor | None) -> Tensor:
    """What the strain adds to the positions."""
    if owners is None:
        return pos @ strain
    return (pos[:, None] @ strain[owners])[:, 0]


def _energies(output: Any, name: str, pos: Tensor) -> Tensor:
    """The energies of what the model returned, (batch,) or ()."""
    if isinstance(output, Mapping) and name not in output:
        raise refuse(
            "EnergyForces: the model returns no energy",
            got=describe(output),
            expected=f"a tensor (batch,), or a dict with {name!r}",
            fix="EnergyForces(model, energy='total_energy'), with the key that it has",
        )
    energy = output[name] if isinstance(output, Mapping) else output
    flat = isinstance(energy, Tensor) and (energy.ndim < 2 or energy.shape[1:].numel() == 1)
    batch = pos.shape[0] if pos.ndim > 2 else None
    if not flat or not energy.is_floating_point() or (batch is not None and energy.ndim and len(energy) != batch):
        raise refuse(
            "EnergyForces: the model does not return one energy for each sample",
            got=describe(energy),
            expected=f"real numbers ({'batch' if batch is None else batch},)",
            fix="sum the energies of the atoms: energies.sum(1)",
        )
    assert isinstance(energy, Tensor)
    return energy.reshape(-1) if energy.ndim else energy


def _derivatives(energy: Tensor, pos: Tensor, strain: Tensor | None, *, keep: bool) -> tuple[Tensor, Tensor | None]:
    """Forces, and the derivative with respect to the strain.

    Raises:
        SymmetryError: an energy that autograd cannot follow to the positions.
    """
    leaves = [pos] if strain is None else [pos, strain]
    grads: Any = [None] * len(leaves)
    if energy.requires_grad:
        # One backward pass for all samples: the energy of each depends on its own positions only.
        grads = torch.autograd.grad(energy.sum(), leaves, create_graph=keep, allow_unused=True)
    if grads[0] is None:
        raise refuse(
            "EnergyForces: the energy does not depend on the positions",
            got=describe(energy) + ", without a gradient to them",
            expected="an energy that autograd can follow to the positions",
            fix="look for .detach(), .numpy() or torch.no_grad() inside the model, and whether of=... names what it reads",
        )
    return -grads[0], None if strain is None else grads[1]
