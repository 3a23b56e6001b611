"""Descending from coarse poses: golden sections, gradient steps, and steps among the elements of a finite group.

All of it is batched over beams and samples, and moves g to g exp(xi): what happens to one copy of an input happens to every
copy that was moved before, h g exp(xi).
"""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Tensor

from canonize._tree import describe
from canonize.actions.trees import move, repeat, row_index, take
from canonize.errors import refuse
from canonize.frames.base import flat
from canonize.frames.choose import checked, finite
from canonize.frames.orbit import orbit
from canonize.frames.turns import Kind, near, product, turned
from canonize.linalg import is_signed_permutation
from canonize.symmetry import Symmetry, call

_GOLDEN = (math.sqrt(5) - 1) / 2
_LINE = 3  # evaluations along one axis of space before the next one


@final
class Probe:
    """The energy of a batch of inputs seen from any elements, and how many forward passes that has cost so far.

    Attributes:
        spent: forward passes for each sample.
        uneven: whether the inputs refuse quarter turns, so that the search must keep off them.
    """

    def __init__(
        self, energy: Any, symmetry: Symmetry, inputs: Any, batch: int, like: Tensor, chunk: int | None
    ) -> None:
        self.energy, self.symmetry, self.inputs = energy, symmetry, inputs
        self.batch, self.dtype, self.device, self.chunk = batch, like.dtype, like.device, chunk
        self.index = row_index(symmetry.inputs, inputs)
        self.spent = 0
        self.uneven = False

    def off(self, elements: Tensor) -> Tensor:
        """Elements as they are, but where inputs are `uneven` 1e-5 rad away from signed permutations of the axes."""
        if not self.uneven:
            return elements
        hit = is_signed_permutation(elements.to(self.dtype))
        xi = torch.full((*elements.shape[:-2], 1 if elements.shape[-1] == 2 else 3), 1e-5, dtype=elements.dtype)
        return torch.where(hit[..., None, None], turned(elements, xi.to(elements.device)), elements)

    def cast(self, elements: Tensor) -> Tensor:
        """Elements as the actions are given them: off what the inputs refuse, in the dtype of the inputs."""
        return self.off(elements).to(self.dtype)

    def orbit(self, elements: Tensor) -> Any:
        """The candidates of the same elements (k, d, d) for each sample."""
        return orbit(self.symmetry, self.inputs, elements.to(self.dtype).mT, self.batch)

    def score(self, candidates: Any, count: int) -> Tensor:
        """Energies (count, batch), float64, of candidates that are there already."""
        step = count if self.chunk is None else min(self.chunk, count)
        parts = []
        for start in range(0, count, step):
            times, some = min(step, count - start), candidates
            if step < count:
                chosen = torch.arange(start * self.batch, (start + times) * self.batch)
                some = take(self.symmetry.inputs, candidates, chosen)
            parts.append(self._call(some, times))
        return torch.cat(parts)

    def __call__(self, elements: Tensor) -> Tensor:
        """Energies (k, batch), float64, of elements (k, batch, d, d), in the chunks that were asked for.

        Raises:
            SymmetryError: another shape, complex, NaN or infinity.
        """
        spec, step = self.symmetry.inputs, len(elements) if self.chunk is None else self.chunk
        parts = []
        for start in range(0, len(elements), step):
            some = self.cast(elements[start : start + step])
            way_out = "use a frame that scores nothing, such as Average()"
            copies = repeat(spec, self.inputs, len(some), index=self.index, batch=self.batch, way_out=way_out)
            parts.append(self._call(move(spec, flat(some).mT, copies), len(some)))
        return torch.cat(parts)

    def slopes(self, elements: Tensor, *, needed: bool = False) -> tuple[Tensor, Tensor]:
        """Energies (k, batch) and their derivatives (k, batch, axes) along exp(xi), which cost one forward pass.

        Raises:
            SymmetryError: where a derivative is `needed` and the energy has none.
        """
        with torch.enable_grad():
            xi = zero_turns(elements)
            energies = self(near(elements.detach(), xi))
            slopes = derivative(energies, xi)
        if slopes is None and needed:
            raise no_slope(energies)
        return energies.detach(), torch.zeros_like(xi) if slopes is None else slopes.detach()

    def _call(self, candidates: Any, times: int) -> Tensor:
        fix = "reduce every axis but the first, for example energy.mean((1, 2, 3))"
        found = call(self.energy, self.symmetry, candidates)
        self.spent += times
        return finite(checked(found, (times * self.batch,), "Search", fix).reshape(times, self.batch), "Search")


def zero_turns(elements: Tensor) -> Tensor:
    """xi = 0 for each element, (*batch, axes), float64, to take derivatives at."""
    axes = 1 if elements.shape[-1] == 2 else 3
    return torch.zeros(*elements.shape[:-2], axes, dtype=elements.dtype, device=elements.device, requires_grad=True)


def derivative(energies: Tensor, xi: Tensor, *, create_graph: bool = False) -> Tensor | None:
    """The derivative of each energy by its own xi, None where the energy has none."""
    if not energies.requires_grad:
        return None
    (found,) = torch.autograd.grad(energies.sum(), xi, create_graph=create_graph, allow_unused=True)
    return found


def no_slope(energies: Tensor) -> Exception:
    """The error for an energy without a derivative."""
    return refuse(
        "Search: the energy has no derivative by the pose",
        got=f"{describe(energies)} that does not depend on its input through differentiable operations",
        expected="an energy made of torch operations on floating-point inputs, without detach() or argmax",
        fix="refine='golden', which needs values only, and implicit=False",
    )


def golden(probe: Probe, g: Tensor, energy: Tensor, step: float, steps: int) -> tuple[Tensor, Tensor]:
    """Golden sections within `step` of each element, with a parabola at the end; `steps` evaluations along each axis.

    In the plane one section of the angle. In space sections of 3 evaluations along the axes in turn; the next one along an
    axis reaches twice as far as the last one moved, and a quarter as far at least.

    Args:
        probe: the energy.
        g: (beams, batch, d, d), float64.
        energy: (beams, batch), at g.
        step: in rad.
        steps: at least 2.

    Returns:
        The best elements that were seen, (beams, batch, d, d), and their energies.
    """
    if g.shape[-1] == 2:
        whole = torch.full((*energy.shape, 1), step, dtype=g.dtype, device=g.device)
        return _section(probe, g, energy, whole, steps)[:2]
    each = min(_LINE, steps)
    reach = torch.full((*energy.shape, 3), step, dtype=g.dtype, device=g.device)
    for line in range(3 * (steps // each)):
        axis = torch.eye(3, dtype=g.dtype, device=g.device)[line % 3]
        g, energy, share = _section(probe, g, energy, reach * axis, each)
        narrower = reach * (2 * share.abs()).clamp(0.25, 1.0)[..., None]
        reach = torch.where(axis > 0, narrower, reach)
    return g, energy


def _section(probe: Probe, g: Tensor, energy: Tensor, along: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """A golden section between g exp(-along) and g exp(along), whose last evaluation is at a parabola's vertex.

    Returns:
        The best elements, their energies, and which share of `along` leads to them, from -1 to 1.
    """

    def seen(shares: Tensor) -> Tensor:
        return probe(turned(g, shares[..., None] * along).flatten(0, 1)).reshape(shares.shape)

    high = torch.ones_like(energy)
    low = -high
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = seen(torch.stack([left, right]))
    shares = torch.stack([torch.zeros_like(energy), left, right])
    values = torch.stack([energy, at_left, at_right])
    for left_over in range(count - 2, 0, -1):
        lower = at_left < at_right
        low, high = torch.where(lower, low, left), torch.where(lower, right, high)
        new = torch.where(lower, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        if left_over == 1:
            new = _vertex(shares, values, new)
        (value,) = seen(new[None])
        left, right = torch.where(lower, new, right), torch.where(lower, left, new)
        at_left, at_right = torch.where(lower, value, at_right), torch.where(lower, at_left, value)
        shares, values = torch.cat([shares, new[None]]), torch.cat([values, value[None]])
    least, best = values.min(0)
    share = shares.gather(0, best[None])[0]
    return turned(g, share[..., None] * along), least, share


def _vertex(angles: Tensor, values: Tensor, otherwise: Tensor) -> Tensor:
    """The lowest point of the parabola through the best of some angles and its neighbours on both sides."""
    least, best = values.min(0, keepdim=True)
    middle = angles.gather(0, best)
    below, before = torch.where(angles < middle, angles, -torch.inf).max(0, keepdim=True)
    above, after = torch.where(angles > middle, angles, torch.inf).min(0, keepdim=True)
    left, right = middle - below, above - middle
    up, down = values.gather(0, before) - least, values.gather(0, after) - least
    bend = up * right + down * left
    vertex = middle + (up * right.square() - down * left.square()) / (2 * bend)
    return torch.where(vertex.isfinite() & (bend > 0), vertex, otherwise)[0]


def gradient(probe: Probe, g: Tensor, step: float, steps: int) -> tuple[Tensor, Tensor]:
    """Gradient descent along exp(xi) with backtracking: 1 + `steps` evaluations, no step longer than `step`.

    The slope is multiplied by an estimate of the inverse second derivatives, which learns from the change of the slope over
    each trial (Broyden, Fletcher, Goldfarb and Shanno). A trial is taken where the energy falls enough, or where it has
    stopped to change and the slope falls; one that is not taken shortens the next.

    Returns:
        As `golden`.
    """
    energy, slope = probe.slopes(g, needed=True)
    rounding = 16 * torch.finfo(probe.dtype).eps
    unit = torch.eye(slope.shape[-1], dtype=slope.dtype, device=slope.device)
    # The inverse of the second derivatives, as far as they are known.
    inverse = (step / _norm(slope).clamp(min=1e-300))[..., None, None] * unit
    for _ in range(steps):
        xi = -_times(inverse, slope)
        xi = xi * (step / _norm(xi).clamp(min=step))[..., None]
        trial = turned(g, xi)
        value, new = probe.slopes(trial)
        still = (value <= energy + rounding * energy.abs()) & (_norm(new) <= _norm(slope))
        taken = (value <= energy + 1e-4 * (xi * slope).sum(-1)) | still
        inverse = torch.where(taken[..., None, None], inverse, inverse / 4)
        change = new - slope
        bend = (xi * change).sum(-1)
        known = bend > 1e-9 * _norm(xi) * _norm(change)
        share = (1 / torch.where(known, bend, 1.0))[..., None, None]
        left = unit - share * xi[..., :, None] * change[..., None, :]
        updated = product(product(left, inverse), left.mT) + share * xi[..., :, None] * xi[..., None, :]
        inverse = torch.where(
            known[..., None, None], updated, torch.where(taken[..., None, None], 4 * inverse, inverse)
        )
        g = torch.where(taken[..., None, None], trial, g)
        energy, slope = torch.where(taken, value, energy), torch.where(taken[..., None], new, slope)
    return g, energy


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix * vector[..., None, :]).sum(-1)


def _norm(xi: Tensor) -> Tensor:
    return xi.square().sum(-1).sqrt()


def halvings(gap: int) -> int:
    """How many rounds `among` needs to look at every element less than `gap` away."""
    return math.ceil(math.log2(gap)) if gap > 1 else 0


def among(
    probe: Probe, kind: Kind, place: Tensor, flipped: Tensor, energy: Tensor, gap: int, rounds: int
) -> tuple[Tensor, Tensor]:
    """Steps of half the gap, a quarter of it and so on to one element, to whichever side is lower: 2 evaluations a round.

    Args:
        probe: the energy.
        kind: of a finite group.
        place: (beams, batch), which rotation, after the reflection where `flipped`.
        flipped: (beams, batch), bool, whether a reflection.
        energy: (beams, batch), at these elements.
        gap: how many elements away the neighbours on the grid are.
        rounds: at most so many.

    Returns:
        As `golden`; each is an element of the group, bit for bit.
    """
    assert kind.order is not None
    table = kind.table().to(place.device)
    start = flipped * kind.order
    # Multiplied by a turn from the right, a reflection goes back in the table.
    sense = torch.where(flipped, -1, 1)
    for _ in range(min(rounds, halvings(gap))):
        gap = -(-gap // 2)
        around = torch.stack([place - gap * sense, place + gap * sense]) % kind.order
        value = probe(table[(start + around).flatten(0, 1)]).reshape(around.shape)
        all_places, all_values = torch.cat([place[None], around]), torch.cat([energy[None], value])
        best = all_values.argmin(0, keepdim=True)
        place, energy = all_places.gather(0, best)[0], all_values.gather(0, best)[0]
    return table[start + place], energy
