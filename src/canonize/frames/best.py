"""The pose of lowest energy over a finite group's orbit."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

from canonize._tree import describe, to_tensors, walk
from canonize.actions import Image, Index, Rows, Volume
from canonize.actions.base import bitwise
from canonize.actions.trees import at, lossless_tree, move, repeat, row_index, take
from canonize.errors import refuse
from canonize.frames.base import Coset, Poses, flat, one_each, over_batch
from canonize.groups.base import leading
from canonize.linalg import content_key, shrink
from canonize.symmetry import Symmetry, call


@final
class Best(nn.Module):
    """The one pose whose canonical input has the lowest energy: one model call, and the energies of the whole orbit.

    The orbit is scored in one batched call. Where every element only moves entries (quarter turns of square grids,
    permutations, signed permutations of coordinates), candidates are put into an order that depends on their content
    alone before they are scored, so that the choice is the same, bit for bit, for every moved copy of the input;
    candidates of equal energy give the same canonical input. Where several elements give that very input (a symmetric
    image), outputs are averaged over them. Where elements round or resample, candidates whose energies agree to rounding
    (1e-5 of the largest) share the weight, each with a model call of its own.

    Args:
        energy: called as the model is, on |G| x batch candidates; returns one number each, (count,). An `nn.Module`
            becomes part of this frame; any other callable is only called. The choice has no gradient: it is piecewise
            constant.
        resolution: score copies whose longer side is at most this many pixels or voxels, shrunk by area averaging;
            for real inputs declared `Image()` or `Volume()`. None scores them as they are.

    Raises:
        SymmetryError: an energy that is not callable, returns another shape, NaN or infinity; a group that is not finite.

    Source: energy minimisation over the orbit, Kaba et al., arXiv 2211.06489, section 3.
    """

    def __init__(self, energy: Any, *, resolution: int | None = None) -> None:
        super().__init__()
        if not callable(energy) or isinstance(energy, type):
            raise refuse(
                "Best needs an energy",
                got=describe(energy),
                expected="a callable that takes what the model takes and returns one number a sample",
                fix="Best(Confidence(model)), or Best(lambda x: x[..., :8, :].mean((1, 2, 3)))",
            )
        if resolution is not None and (not isinstance(resolution, int) or resolution < 1):
            raise refuse(
                "Best: bad resolution",
                got=repr(resolution),
                expected="pixels, at least 1, or None",
                fix="resolution=32",
            )
        self.energy = energy
        self.resolution = resolution

    def forward(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """The best pose of each sample, with its margin: the gap to the next candidate over the range of energies."""
        elements, batch = one_each(symmetry.group, inputs, symmetry)
        k = leading(elements)
        small = inputs if self.resolution is None else _shrink(symmetry.inputs, inputs, self.resolution)
        with torch.no_grad():
            back = symmetry.group.inverse(elements)
            orbit = _orbit(symmetry, small, back, batch)
            # A batch of none has nothing to round, and nothing to score either.
            turns = flat(over_batch(back, batch))
            if batch == 0 or bool(lossless_tree(symmetry.inputs, turns, orbit, ask=bitwise).all()):
                return self._exact(symmetry, inputs, elements, orbit, (k, batch))
            return self._rounded(elements, self._score(symmetry, orbit, (k, batch)))

    def _exact(self, symmetry: Symmetry, inputs: Any, elements: Any, orbit: Any, shape: tuple[int, int]) -> Poses:
        k, batch = shape
        keys = _keys(symmetry.inputs, orbit, shape)
        order = keys.argsort(dim=0, stable=True)
        sample = torch.arange(batch, device=keys.device)
        ordered = take(symmetry.inputs, orbit, (order * batch + sample).flatten())
        energies = self._score(symmetry, ordered, shape)
        best = order.gather(0, energies.argmin(0, keepdim=True))[0]
        energies = torch.empty_like(energies).scatter(0, order, energies)
        tied = keys == keys[best, sample]
        margin = _margin(energies, tied)
        many = (tied.sum(0) > 1).nonzero()[:, 0]
        if len(many) and self.resolution is not None:
            # Shrunk copies may agree where the full ones differ: decide again among them, on the full copies.
            full = _orbit(symmetry, take(symmetry.inputs, inputs, many), symmetry.group.inverse(elements), len(many))
            again = _keys(symmetry.inputs, full, (k, len(many)))
            lowest = torch.where(tied[:, many], again, torch.iinfo(torch.int64).max).amin(0)
            tied = tied.index_copy(1, many, tied[:, many] & (again == lowest))
            best = best.index_copy(0, many, tied[:, many].int().argmax(0))
        g = at(elements, best)
        weights = torch.ones((1, batch), dtype=energies.dtype, device=energies.device)
        return Poses(at(g, None), weights, margin, _stabilizer(symmetry.group, elements, g, tied))

    def _rounded(self, elements: Any, energies: Tensor) -> Poses:
        scale = energies.abs().amax(0)
        near = energies - energies.amin(0) <= 64 * torch.finfo(torch.float32).eps * scale
        count = int(near.sum(0).max())
        order = (energies + torch.where(near, -2 * scale, 0)).argsort(dim=0, stable=True)[:count]
        weights = near.gather(0, order).to(energies.dtype)
        return Poses(at(elements, order), weights / weights.sum(0), _margin(energies, near))

    def _score(self, symmetry: Symmetry, candidates: Any, shape: tuple[int, int]) -> Tensor:
        if shape[1] == 0:
            return torch.zeros(shape)
        energies, _ = to_tensors(call(self.energy, symmetry, candidates))
        count = shape[0] * shape[1]
        if not isinstance(energies, Tensor) or energies.shape != (count,) or energies.is_complex():
            raise refuse(
                "Best: the energy must be one number for each candidate",
                got=describe(energies),
                expected=f"a real tensor of shape ({count},), for {shape[0]} elements x {shape[1]} samples",
                fix="reduce every axis but the first, for example energy.mean((1, 2, 3))",
            )
        energies = energies.double().reshape(shape)
        lost = ~energies.isfinite().all(0)
        if bool(lost.any()):
            raise refuse(
                "Best: the energy is not finite",
                got=f"NaN or infinity for sample {lost.nonzero()[:, 0].tolist()[:8]} of the batch",
                expected="a finite energy for each candidate",
                fix="look for NaN and overflow in these inputs, or in the energy's own arithmetic",
            )
        return energies


def _orbit(symmetry: Symmetry, inputs: Any, back: Any, batch: int) -> Any:
    """All g^-1 · x, (k * batch) samples, the elements outermost."""
    index = row_index(symmetry.inputs, inputs)
    way_out = "use a frame that scores nothing, such as Average()"
    copies = repeat(symmetry.inputs, inputs, leading(back), index=index, batch=batch, way_out=way_out)
    return move(symmetry.inputs, flat(over_batch(back, batch)), copies)


def _keys(spec: Any, orbit: Any, shape: tuple[int, int]) -> Tensor:
    """The key of each candidate's content, (k, batch)."""
    total = torch.zeros(shape, dtype=torch.int64)
    index = row_index(spec, orbit)

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        nonlocal total
        if action is None or isinstance(action, Index) or not isinstance(part, Tensor):
            return part
        key = content_key(part)
        if isinstance(action, Rows) and index is not None:
            # The place of a row in its sample matters: rows are numbered within the samples by their order.
            sorter = index.argsort(stable=True)
            grouped = index[sorter]
            counted = torch.arange(len(key), device=key.device) - torch.searchsorted(grouped, grouped)
            place = torch.empty_like(counted).scatter(0, sorter, counted)
            key = torch.zeros(shape[0] * shape[1], dtype=torch.int64, device=key.device).index_add(
                0, index, key * (2 * place + 1)
            )
        total = total.to(key.device) * 31 + key.reshape(shape)
        return part

    walk(leaf, spec, orbit)
    return total


def _margin(energies: Tensor, tied: Tensor) -> Tensor:
    """The gap from the best to the nearest candidate that is not tied, over the range; 1 where all are tied."""
    lowest, spread = energies.amin(0), energies.amax(0) - energies.amin(0)
    gap = torch.where(tied, torch.inf, energies).amin(0) - lowest
    return torch.where(gap.isinf(), 1.0, torch.where(spread > 0, gap / spread, 0.0))


def _stabilizer(group: Any, elements: Any, g: Any, tied: Tensor) -> Coset | None:
    """g^-1 e for each element e that is tied with g, for the samples that have more than one."""
    many = (tied.sum(0) > 1).nonzero()[:, 0]
    if not len(many):
        return None
    count = int(tied.sum(0).max())
    active, order = tied[:, many].int().sort(dim=0, descending=True, stable=True)
    back = at(group.inverse(at(g, many)), None)
    return Coset(many, group.compose(back, at(elements, order[:count])), active[:count].bool())


def _shrink(spec: Any, inputs: Any, resolution: int) -> Any:
    """Images and volumes at a lower resolution; a turned image shrinks to the turned copy, bit for bit."""

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if not isinstance(action, Image | Volume) or part.is_complex():
            return part
        axes = 2 if isinstance(action, Image) else 3
        sizes = part.shape[-axes:]
        longest = max(sizes)
        if longest <= resolution:
            return part
        return shrink(part, tuple(max(1, round(size * resolution / longest)) for size in sizes))

    return walk(leaf, spec, inputs)
