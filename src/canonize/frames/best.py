"""The pose of lowest energy over a finite group's orbit."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from canonize._values import unseen
from canonize.actions.trees import take
from canonize.errors import refuse
from canonize.frames.base import Poses
from canonize.frames.choose import checked, finite, lowest, nearly, settle, shared
from canonize.frames.chooser import Chooser, Select
from canonize.frames.orbit import is_bitwise, keys, orbit, shrunk
from canonize.groups.base import leading
from canonize.symmetry import Symmetry, call


@final
class Best(Chooser):
    """The one pose whose canonical input has the lowest energy: one model call, and the energies of the whole orbit.

    With an energy that is a small network, such as `canonize.nn.Scorer`, this is the learned canonicalization to begin
    with: exactly equivariant for lossless actions whatever the weights of the network, and trained by `adapt`.

    The orbit is scored in one batched call. Where the action moves entries without rounding (quarter turns of square
    grids also as a part of finer rotations, permutations, signed permutations of coordinates), candidates are put into
    an order that depends on their content alone before they are scored, and those whose energies agree to rounding (8e-6 of
    the largest) are told apart by their content: the choice is the same, bit for bit, for every copy of the input that was
    moved without loss. Where several elements give the chosen candidate (a symmetric image), outputs are averaged over
    them. Where every element rounds, candidates whose energies agree to rounding share the weight, each with a model call of
    its own.

    Args:
        energy: called as the model is, on |G| x batch candidates; returns one number each, (count,). An `nn.Module`
            becomes part of this frame; any other callable is only called.
        resolution: score copies whose longer side is at most this many pixels or voxels, shrunk by area averaging;
            for real inputs declared `Image()` or `Volume()`. None scores them as they are.
        gate: leave the input as it is unless the energy of another candidate is lower by more than this. It protects
            inputs that stand upright, at a price: inputs with a smaller gap keep the pose in which they came, so that
            the claim does not hold for them. An audit shows how many there are. 0 keeps the claim.
        soft: average the candidates less than this above the lowest energy, with weights that fall to zero there: the
            output then depends on the input continuously, and differentiably where inputs require a gradient. Outputs
            must be floating point. Inputs with a larger gap cost one model call, on the CPU and where no gradient is
            wanted; otherwise each costs as many as the batch's largest number of poses. 0 takes the lowest.
        select: in training, "straight-through" takes the likeliest element and "gumbel" draws one.
        temperature: of the soft choice in training.
        chunk: elements of the group that are scored in one call of the energy; None for all.

    `gate`, `soft` and `temperature` are in units of the energy. A frame starts in eval mode; in train mode, where its energy
    has parameters to learn, `gate` and `soft` wait (see `forward`).

    Raises:
        SymmetryError: an energy that is not callable, returns another shape, NaN or infinity; a group that is not finite;
            an argument out of its range.

    Source: energy minimisation over the orbit, Kaba et al., arXiv 2211.06489, section 3; fading weights after Dym et al.,
    arXiv 2402.16077.
    """

    def __init__(
        self,
        energy: Any,
        *,
        resolution: int | None = None,
        gate: float = 0.0,
        soft: float = 0.0,
        select: Select = "straight-through",
        temperature: float = 1.0,
        chunk: int | None = None,
    ) -> None:
        super().__init__(energy, resolution=resolution, gate=gate, soft=soft, select=select, temperature=temperature)
        if chunk is not None and (not isinstance(chunk, int) or chunk < 1):
            raise refuse("Best: bad chunk", got=repr(chunk), expected="elements per call, at least 1", fix="chunk=8")
        self.chunk = chunk

    def _energies(self, symmetry: Symmetry, inputs: Any, elements: Any, batch: int) -> Tensor:
        back = symmetry.group.inverse(elements)
        return self._score(symmetry, self._candidates(symmetry, inputs, back, batch), (leading(elements), batch))

    def _lowest(self, symmetry: Symmetry, inputs: Any, elements: Any, batch: int) -> Poses:
        k = leading(elements)
        back = symmetry.group.inverse(elements)
        candidates = self._candidates(symmetry, inputs, back, batch)
        if not is_bitwise(symmetry, back, candidates, batch):
            energies = finite(self._score(symmetry, candidates, (k, batch)), "Best")
            return shared(elements, self._gated(energies), spent=k)
        content = keys(symmetry.inputs, candidates, (k, batch))
        order, sample = content.argsort(dim=0, stable=True), torch.arange(batch, device=content.device)
        ordered = take(symmetry.inputs, candidates, (order * batch + sample).flatten())
        scored = finite(self._score(symmetry, ordered, (k, batch)), "Best")
        energies = self._gated(torch.empty_like(scored).scatter(0, order, scored))
        near = nearly(energies)
        best, tied = settle(near, content)
        if unseen(tied):
            many = sample if self.resolution is not None else sample[:0]
        else:
            many = (tied.sum(0) > 1).nonzero()[:, 0]
        if many.shape[0] and self.resolution is not None:
            # Shrunk copies may agree where the full ones differ: decide again among them, on the full copies.
            full = orbit(symmetry, take(symmetry.inputs, inputs, many), back, many.shape[0])
            again = keys(symmetry.inputs, full, (k, many.shape[0]))
            among = tied[:, many]
            if self.gate:
                # An input that the gate leaves alone stays as it is.
                among = among & (~among[:1] | (again == again[:1]))
            first, same = settle(among, again)
            tied, best = tied.index_copy(1, many, among & same), best.index_copy(0, many, first)
        return lowest(symmetry.group, elements, energies, tied=tied, best=best, near=near, spent=k)

    def _candidates(self, symmetry: Symmetry, inputs: Any, back: Any, batch: int) -> Any:
        small = inputs if self.resolution is None else shrunk(symmetry.inputs, inputs, self.resolution)
        return orbit(symmetry, small, back, batch)

    def _score(self, symmetry: Symmetry, candidates: Any, shape: tuple[int, int]) -> Tensor:
        k, batch = shape
        if batch == 0:
            return torch.zeros(shape, dtype=torch.float64)
        step = k if self.chunk is None else min(self.chunk, k)
        parts = []
        for start in range(0, k, step):
            count = (min(start + step, k) - start) * batch
            some = candidates
            if step < k:
                some = take(symmetry.inputs, candidates, torch.arange(start * batch, start * batch + count))
            fix = "reduce every axis but the first, for example energy.mean((1, 2, 3))"
            parts.append(checked(call(self.energy, symmetry, some), (count,), "Best", fix))
        return torch.cat(parts).reshape(shape)
