"""What frames that choose by energies share: how the choice is made in training and in use."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from canonize._tree import describe, tensors
from canonize._values import differentiated
from canonize.errors import refuse
from canonize.frames.base import Poses, island, one_each
from canonize.frames.choose import fading, finite, relaxed
from canonize.groups.base import leading
from canonize.symmetry import Symmetry

Select = Literal["straight-through", "gumbel"]


class Chooser(nn.Module):
    """The base of frames that give each element of a finite group an energy; a subclass writes `_energies` and `_lowest`.

    Attributes:
        resolution: longer side, in pixels or voxels, of the copies that are scored, or None.
        gate: how much lower than the input's own energy another one must be.
        soft: width of the fading weights, in units of the energy; 0 for one pose.
        select: how training chooses.
        temperature: of the soft choice in training, in units of the energy.
    """

    def __init__(
        self, network: Any, *, resolution: int | None, gate: float, soft: float, select: Select, temperature: float
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if not callable(network) or isinstance(network, type):
            raise refuse(
                f"{name} needs an energy",
                got=describe(network),
                expected="a callable that takes what the model takes",
                fix="Best(Confidence(model)), or Best(lambda x: x[..., :8, :].mean((1, 2, 3)))",
            )
        if resolution is not None and (not isinstance(resolution, int) or resolution < 1):
            raise refuse(
                f"{name}: bad resolution",
                got=repr(resolution),
                expected="pixels, at least 1, or None",
                fix="resolution=32",
            )
        for word, number, least in (("gate", gate, 0.0), ("soft", soft, 0.0), ("temperature", temperature, 1e-300)):
            if not isinstance(number, int | float) or not least <= number < float("inf"):
                raise refuse(
                    f"{name}: bad {word}",
                    got=repr(number),
                    expected=f"a finite number {'above 0' if least else 'from 0'}, in units of the energy",
                    fix=f"{word}=1.0",
                )
        if select not in get_args(Select):
            raise refuse(
                f"{name}: unknown way to select",
                got=repr(select),
                expected=" or ".join(map(repr, get_args(Select))),
                fix="select='straight-through'",
            )
        self.energy = network
        self.resolution = resolution
        self.gate = float(gate)
        self.soft = float(soft)
        self.select = select
        self.temperature = float(temperature)
        # In use until someone trains it; what is inside keeps its own mode.
        self.training = False

    @property
    def learns(self) -> bool:
        """Whether the choice carries a gradient now: in train mode, with gradients on, for an energy with parameters."""
        module = self.energy
        if not (self.training and torch.is_grad_enabled() and isinstance(module, nn.Module)):
            return False
        return any(parameter.requires_grad for parameter in module.parameters())

    def energies(self, symmetry: Symmetry, inputs: Any) -> Tensor:
        """(k, batch), float64, in the unit of the energy: low for a likely pose; in the order of `group.elements()`.

        With gradient wherever the energy has one: this is what the losses of `canonize.adapt` work on.

        Raises:
            SymmetryError: as on use.
        """
        elements, batch = one_each(symmetry.group, inputs, symmetry)
        return finite(self._energies(symmetry, inputs, elements, batch), type(self).__name__)

    def forward(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """The chosen poses, with their margin: the gap to the next candidate over the range of energies.

        In train mode, with an energy that has parameters to learn: all elements, the chosen one first, of which the
        weights of one are not zero, with the gradient of the soft choice. That costs |G| model calls; `gate` and `soft` do
        not count then. Otherwise the choice has no gradient, except that of `soft` by inputs that require one.
        """
        with island(inputs):
            return self._chosen(symmetry, inputs, generator)

    def _chosen(self, symmetry: Symmetry, inputs: Any, generator: torch.Generator | None) -> Poses:
        elements, batch = one_each(symmetry.group, inputs, symmetry)
        if self.learns:
            energies = finite(self._energies(symmetry, inputs, elements, batch), type(self).__name__)
            gumbel = self.select == "gumbel"
            return relaxed(elements, energies, temperature=self.temperature, gumbel=gumbel, generator=generator)
        if not self.soft:
            with torch.no_grad():
                return self._lowest(symmetry, inputs, elements, batch)
        # Fading weights depend on the input smoothly: without their part its derivative would be wrong.
        wanted = torch.is_grad_enabled() and any(map(differentiated, tensors(inputs)))
        with torch.set_grad_enabled(wanted):
            energies = finite(self._energies(symmetry, inputs, elements, batch), type(self).__name__)
            return fading(elements, self._gated(energies), self.soft, spent=leading(elements))

    def _gated(self, energies: Tensor) -> Tensor:
        """Energies with the input as it is, the first candidate, moved down by the gate."""
        if not self.gate:
            return energies
        return torch.cat([energies[:1] - self.gate, energies[1:]])

    def _energies(self, symmetry: Symmetry, inputs: Any, elements: Any, batch: int) -> Tensor:
        """(k, batch), float64."""
        raise NotImplementedError

    def _lowest(self, symmetry: Symmetry, inputs: Any, elements: Any, batch: int) -> Poses:
        """One pose a sample, and outputs averaged over what fixes its candidate."""
        raise NotImplementedError
