"""Energies of all elements from one call of an equivariant network."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from canonize.actions.trees import take
from canonize.frames.base import Poses
from canonize.frames.choose import NEAR, checked, finite, lowest, shared
from canonize.frames.chooser import Chooser, Select
from canonize.frames.orbit import is_bitwise, keys, orbit, shrunk
from canonize.groups.base import leading
from canonize.symmetry import Symmetry, call


@final
class Scored(Chooser):
    """The pose of lowest energy, where one call of an equivariant network gives the energies of all elements.

    As exact as the network: for `canonize.nn.GroupCNN` over C(4) or D(4), to rounding. Energies that agree to rounding
    (4e-6 of the largest) are told apart by the content of their candidates, so that rounding decides nothing.

    Args:
        network: called as the model is; returns (batch, |G|), in the order of `group.elements()`, with
            energies(h · x)[h g] = energies(x)[g].
        resolution, gate, soft, select, temperature: as for `Best`.

    Raises:
        SymmetryError: a network that is not callable, returns another shape, NaN or infinity; a group that is not finite;
            an argument out of its range.

    Source: Kaba et al., arXiv 2211.06489, section 4; Mondal et al., arXiv 2310.01647.
    """

    def __init__(
        self,
        network: Any,
        *,
        resolution: int | None = None,
        gate: float = 0.0,
        soft: float = 0.0,
        select: Select = "straight-through",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(network, resolution=resolution, gate=gate, soft=soft, select=select, temperature=temperature)

    def _energies(self, symmetry: Symmetry, inputs: Any, elements: Any, batch: int) -> Tensor:
        k = leading(elements)
        if batch == 0:
            return torch.zeros((k, 0), dtype=torch.float64)
        small = inputs if self.resolution is None else shrunk(symmetry.inputs, inputs, self.resolution)
        fix = f"return (batch, {k}), one energy for each element of {symmetry.group!r}"
        return checked(call(self.energy, symmetry, small), (batch, k), "Scored", fix).mT

    def _lowest(self, symmetry: Symmetry, inputs: Any, elements: Any, batch: int) -> Poses:
        k = leading(elements)
        energies = self._gated(finite(self._energies(symmetry, inputs, elements, batch), "Scored"))
        best = energies.argmin(0)
        near = energies - energies.amin(0) <= NEAR * energies.abs().amax(0) if batch else energies > 0
        tied = torch.zeros_like(near).scatter(0, best[None], True)
        many = (near.sum(0) > 1).nonzero()[:, 0]
        if len(many):
            back = symmetry.group.inverse(elements)
            candidates = orbit(symmetry, take(symmetry.inputs, inputs, many), back, len(many))
            if not is_bitwise(symmetry, back, candidates, len(many)):
                return shared(elements, energies, spent=1)
            content = keys(symmetry.inputs, candidates, (k, len(many)))
            least = torch.where(near[:, many], content, torch.iinfo(torch.int64).max).amin(0)
            tied = tied.index_copy(1, many, near[:, many] & (content == least))
            best = best.index_copy(0, many, tied[:, many].int().argmax(0))
        return lowest(symmetry.group, elements, energies, tied=tied, best=best, spent=1)
