"""From energies to poses: the lowest, the best few with fading weights, or a choice that a gradient can pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from canonize._tree import describe, map_tensors
from canonize._values import sent, unseen
from canonize.actions.trees import at
from canonize.errors import refuse
from canonize.frames.base import Coset, Fixers, Poses

NEAR = 64 * torch.finfo(torch.float32).eps
"""Energies that agree to this share of the largest are taken to differ by rounding."""


def lowest(
    group: Any, elements: Any, energies: Tensor, *, tied: Tensor, best: Tensor, near: Tensor, spent: int
) -> Poses:
    """One pose a sample: `best` (batch,), shared with the elements of `tied` (k, batch), which give the same candidate."""
    g = at(elements, best)
    weights, unchecked = sure(torch.ones_like(energies[:1]), energies)
    told = torch.where((near & ~tied).any(0), 0.0, margin(energies, tied))
    return Poses(at(g, None), weights, told, _stabilizer(group, elements, g, tied), spent, unchecked=unchecked)


def settle(near: Tensor, content: Tensor) -> tuple[Tensor, Tensor]:
    """Among the near (k, batch), the candidate of lowest content key, (batch,); and all that have its content, (k, batch).

    Contents do not depend on how the input stood, so that neither does the choice, whatever rounding does to energies.
    """
    least = torch.where(near, content, torch.iinfo(torch.int64).max).amin(0)
    tied = content == least
    return tied.int().argmax(0), tied


def nearly(energies: Tensor, share: float = NEAR, least: float = 0.0) -> Tensor:
    """Which energies agree with the lowest of their sample to rounding: to `share` of the largest, or of `least`."""
    if not energies.shape[1]:
        return energies > 0
    return energies - energies.amin(0) <= share * energies.abs().amax(0).clamp(min=least)


def shared(elements: Any, energies: Tensor, *, spent: int) -> Poses:
    """The poses whose energies agree with the lowest to rounding, with equal weights."""
    near = nearly(energies)
    return _few(elements, energies, near.to(energies.dtype), near, spent)


def fading(elements: Any, energies: Tensor, width: float, *, spent: int) -> Poses:
    """The poses less than `width` above the lowest energy; weights fall to zero there, with their slope: continuous."""
    gap = energies - energies.amin(0)
    weights = (1 - gap / width).clamp(min=0).square()
    return _few(elements, energies, weights, nearly(energies.detach()), spent)


def _few(elements: Any, energies: Tensor, weights: Tensor, near: Tensor, spent: int) -> Poses:
    if unseen():
        count = weights.shape[0]
    else:
        count = int((weights > 0).sum(0).max()) if weights.shape[1] else 1
    weights, order = weights.sort(dim=0, descending=True, stable=True)
    weights, order = weights[:count], order[:count]
    weights, unchecked = sure(weights / weights.sum(0), energies)
    return Poses(at(elements, order), weights, margin(energies.detach(), near), spent=spent, unchecked=unchecked)


def relaxed(
    elements: Any, energies: Tensor, *, temperature: float, gumbel: bool, generator: torch.Generator | None
) -> Poses:
    """All elements; weights are one for the chosen and zero for the others, with the gradient of the soft choice.

    The soft choice is softmax(-energy / temperature). With `gumbel` the element is drawn from it, otherwise the likeliest
    is taken.

    Source: Bengio et al., arXiv 1308.3432 (straight-through); Jang et al., arXiv 1611.01144 (Gumbel).
    """
    scores = -energies / temperature
    if gumbel:
        source = generator.device if generator is not None else energies.device
        uniform = torch.rand(energies.shape, generator=generator, dtype=energies.dtype, device=source)
        noise = -(-uniform.clamp(min=torch.finfo(energies.dtype).tiny).log()).log()
        scores = scores + sent(noise, energies.device)
    soft = scores.softmax(0)
    hard = torch.zeros_like(soft).scatter(0, scores.argmax(0, keepdim=True), 1.0)
    tied = energies.detach() == energies.detach().amin(0)
    weights = hard + (soft - soft.detach())
    # The chosen pose first: it is what the model is shown.
    order = hard.argsort(dim=0, descending=True, stable=True)
    return Poses(
        at(elements, order), weights.gather(0, order), margin(energies.detach(), tied), spent=energies.shape[0]
    )


def margin(energies: Tensor, tied: Tensor) -> Tensor:
    """The gap from the best to the nearest candidate that is not tied, over the range; 1 where all are tied."""
    if energies.shape[1] == 0:
        return energies.new_zeros(0)
    least, spread = energies.amin(0), energies.amax(0) - energies.amin(0)
    gap = torch.where(tied, torch.inf, energies).amin(0) - least
    return torch.where(gap.isinf(), 1.0, torch.where(spread > 0, gap / spread, 0.0))


def checked(energies: Any, shape: tuple[int, ...], who: str, fix: str) -> Tensor:
    """Energies as float64, of `shape`.

    Raises:
        SymmetryError: another shape, complex, NaN or infinity.
    """
    if not isinstance(energies, Tensor) or energies.shape != shape or energies.is_complex():
        raise refuse(
            f"{who}: the energy must be one number for each candidate",
            got=describe(energies),
            expected=f"a real tensor of shape {shape}",
            fix=fix,
        )
    return energies.double()


def sure(weights: Tensor, found: Tensor) -> tuple[Tensor, bool]:
    """Weights (k, batch), and whether it is not known that `found` (n, batch, ...) are numbers: then those are none either."""
    if not unseen(found):
        return weights, False
    good = found.detach().isfinite().movedim(1, 0).flatten(1).all(1)
    return torch.where(good, weights, torch.nan), True


def finite(energies: Tensor, who: str) -> Tensor:
    """Energies (k, batch) as they are.

    Raises:
        SymmetryError: NaN or infinity among them; it names the samples.
    """
    if unseen(energies):
        return energies
    lost = ~energies.detach().isfinite().all(0)
    if bool(lost.any()):
        raise refuse(
            f"{who}: the energy is not finite",
            got=f"NaN or infinity for sample {lost.nonzero()[:, 0].tolist()[:8]} of the batch",
            expected="a finite energy for each candidate",
            fix="look for NaN and overflow in these inputs, or in the energy's own arithmetic",
        )
    return energies


def _stabilizer(group: Any, elements: Any, g: Any, tied: Tensor) -> Coset | Fixers | None:
    """g^-1 e for each element e that is tied with g, for the samples that have more than one."""
    if unseen(tied):
        back, shape = group.inverse(g), tied.shape
        each = map_tensors(lambda t: t[:, None].expand(*shape, *t.shape[1:]), elements)
        return Fixers(group.compose(at(back, None), each), tied)
    many = (tied.sum(0) > 1).nonzero()[:, 0]
    if not many.shape[0]:
        return None
    count = int(tied.sum(0).max())
    active, order = tied[:, many].int().sort(dim=0, descending=True, stable=True)
    back = at(group.inverse(at(g, many)), None)
    return Coset(many, group.compose(back, at(elements, order[:count])), active[:count].bool())
