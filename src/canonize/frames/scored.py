"""Energies of all elements from one call of an equivariant network."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from canonize._own import own
from canonize._values import unseen
from canonize.actions.trees import take
from canonize.frames.base import Poses
from canonize.frames.choose import NEAR, checked, finite, lowest, nearly, settle, shared
from canonize.frames.chooser import Chooser, Select
from canonize.frames.orbit import is_bitwise, keys, orbit, shrunk
from canonize.groups.base import leading
from canonize.symmetry import Symmetry, call

COARSE = 2.0**-5
"""As `NEAR`, for networks that compute in bfloat16 or float16."""
SMALL = 32
"""Pixels of the copies on which symmetric inputs are looked for first."""


@final
class Scored(Chooser):
    """The pose of lowest energy, where one call of an equivariant network gives the energies of all elements.

    As exact as the network: for `canonize.nn.GroupCNN` over C(4) or D(4), to rounding. Energies that agree to rounding (8e-6
    of the largest, or of 1 where that is less; 3 % in bfloat16 and float16) are told apart by the content of their candidates,
    so that rounding decides nothing. Where several elements give the chosen candidate, outputs are averaged over them.

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
        return self._told(symmetry, inputs, elements, batch).double()

    def _told(self, symmetry: Symmetry, inputs: Any, elements: Any, batch: int) -> Tensor:
        """(k, batch), in the dtype of the network."""
        k = leading(elements)
        if batch == 0:
            return torch.zeros((k, 0), dtype=torch.float64)
        small = inputs if self.resolution is None else shrunk(symmetry.inputs, inputs, self.resolution)
        fix = f"return (batch, {k}), one energy for each element of {symmetry.group!r}"
        # A network that changes its input in place must not change the caller's.
        found = call(self.energy, symmetry, own(small, inputs))
        checked(found, (batch, k), "Scored", fix)
        energies: Tensor = found.mT
        return energies

    def _lowest(self, symmetry: Symmetry, inputs: Any, elements: Any, batch: int) -> Poses:
        k = leading(elements)
        raw = self._told(symmetry, inputs, elements, batch)
        energies = self._gated(finite(raw.double(), "Scored"))
        # Energies that are small by cancellation still carry the rounding of layers of about one in size.
        coarse = torch.is_autocast_enabled(raw.device.type) or raw.dtype in (torch.bfloat16, torch.float16)
        near = nearly(energies, COARSE if coarse else NEAR, least=1.0)
        back = symmetry.group.inverse(elements)
        # What fixes an input is read off its content, not off energies; small copies rule most inputs out.
        small = orbit(symmetry, shrunk(symmetry.inputs, inputs, self.resolution or SMALL, whole=True), back, batch)
        if not is_bitwise(symmetry, back, small, batch):
            return shared(elements, energies, spent=1)
        content = keys(symmetry.inputs, small, (k, batch))
        best = energies.argmin(0) if batch else torch.zeros(0, dtype=torch.int64, device=energies.device)
        tied = torch.zeros_like(near).scatter(0, best[None], True)
        alike = content == content.gather(0, best[None])
        if unseen(near):
            many = torch.arange(batch, device=energies.device)
        else:
            many = ((near | alike).sum(0) > 1).nonzero()[:, 0]
        if many.shape[0]:
            full = orbit(symmetry, take(symmetry.inputs, inputs, many), back, many.shape[0])
            first, same = settle(near[:, many], keys(symmetry.inputs, full, (k, many.shape[0])))
            tied, best = tied.index_copy(1, many, same), best.index_copy(0, many, first)
        return lowest(symmetry.group, elements, energies, tied=tied, best=best, near=near, spent=1)
