"""The pose of lowest energy, found by search among infinitely many elements."""

from __future__ import annotations

from typing import Any, Literal, final

import torch
from torch import nn

from canonize._tree import describe, map_tensors
from canonize.actions.trees import batch_of
from canonize.errors import refuse
from canonize.frames.base import Poses
from canonize.frames.beams import Facts, Found, brought, facts_of, lowest, shared_by_fixers
from canonize.frames.descent import Probe, among, golden, gradient, halvings
from canonize.frames.implicit import minimiser, passes
from canonize.frames.orbit import shrunk
from canonize.frames.turns import Grid, Kind, grid, kind_of, sizes
from canonize.symmetry import Symmetry, check_is_claim


@final
class Search(nn.Module):
    """The one pose whose canonical input has the lowest energy, by search: a coarse grid, the best few of it refined.

    For SO(2), O(2), SO(3), O(3), and for C(n) and D(n) of any size. The grid is permuted by lossless turns of the input:
    in the plane `grid` equally spaced angles, rounded up to a multiple of 4 so that quarter turns permute them (for C(n)
    and D(n) as many of its elements), and as many reflections for O(2) and D(n); in space the 24 octahedral rotations
    where `grid` is at most 4, otherwise 120, the products of octahedral and icosahedral ones (the 60 icosahedral ones
    alone are not permuted by quarter turns of a volume); twice as many for O(3). The `beams` lowest local minima of the
    grid are refined, each by multiplication with small turns from the right, g exp(xi), so that the refinement of a moved
    input is the moved refinement.

    What holds, frame(h · x) = h · frame(x):

    - Images and volumes, h lossless (quarter turns, half turns, flips): the canonical input is the same, bit for bit, for
      every input, also symmetric and constant ones. Outputs are averaged over the lossless turns that fix the input: after
      one model call, or with one call for each of them where they turn pixels by fractions when seen from the pose.
    - Coordinates under any h, and pixels under any other: as far as search and resampling go, where one minimum is the
      lowest by more than that. Minima whose energies agree to rounding (8e-6 of the largest) share the weight, as many as
      there are beams. An invariant energy, or more equal minima than beams, has no such pose: the margin is 0 or near it.
    - Finite groups that the grid holds as a whole (n at most `grid`): as `Best`.

    `Poses.margin` is the gap from the lowest refined energy to the next different one (or to the next local minimum of the
    grid that was not refined), over the range of the energies on the grid.

    Args:
        energy: called as the model is; returns one number for each candidate, (count,). Any callable; an `nn.Module`
            becomes part of this frame.
        grid: angles in a full turn, at least 4.
        beams: how many local minima are refined.
        refine: "golden", golden sections within one step of the grid and a parabola at the end (in space along the three
            axes in turn, which is slow: 0.03 rad with 12 steps; in a finite group steps of half the distance to the next
            grid element, then a quarter of it, down to one element: it never leaves the group); "gradient", gradient
            descent with backtracking, for energies with a derivative; None, the grid alone.
        steps: forward passes for each beam, at least 2; in space "golden" takes as many along each axis. With 12, smooth
            minima are found to 1e-6 rad in the plane, and to rounding by "gradient", which takes 20 to 30 in space. Kinks
            that interpolation makes in an energy of pixels are found as far as the width of the last section, 0.005 rad.
        budget: at most so many forward passes of the energy for each sample. Where the settings ask for more, the grid is
            cut down to half the budget; then there are as many beams as can make all their steps; where not even one can,
            one makes fewer (none where less than 2 are left). What was spent stands in `Poses.spent`.
        resolution: as for `Best`.
        chunk: elements that are scored in one call of the energy; None for all.
        implicit: give the pose the derivative of the minimiser by the input and by the parameters of the energy, for
            infinite groups; values are the same. Where the second derivatives are not positive definite (flat, saddle) the
            derivative is zero and the margin 0. Exact at an exact minimum: take enough steps. Costs one more forward pass
            a pose where turns lose nothing (coordinates), which must have second derivatives. The derivative is the first
            one alone: a second derivative through it would be wrong. Where pixels are resampled,
            central differences over +-`width` smooth the kinks of interpolation out, for 3 passes in the plane, 19 in
            space; some 5 % off at 64 x 64 pixels.
        width: of the differences, in rad.

    `spent` counts forward passes for each sample; a step of "gradient" is one forward and one backward pass.

    Raises:
        SymmetryError: an energy that is not callable, returns another shape, NaN or infinity, or has no derivative where one
            is needed; another group; an argument out of its range; a budget that cannot pay for the smallest grid.

    Singular case: a constant energy gives a pose of the grid with margin 0. A valley, where an energy does not change with
    turns about one axis of space, is known for certain with `implicit` only, which sets the margin to 0. Grids leave
    lossless elements out where an image or volume is not square, and where derivatives of pixels are needed, which lossless
    elements do not have.

    Source: energy minimisation, Kaba et al., arXiv 2211.06489, section 3; search by beams, Schmidt and Stober, arXiv
    2405.03730; implicit differentiation, Blondel et al., arXiv 2105.15183.
    """

    def __init__(
        self,
        energy: Any,
        *,
        grid: int = 16,
        beams: int = 2,
        refine: Literal["golden", "gradient"] | None = "golden",
        steps: int = 12,
        budget: int | None = None,
        resolution: int | None = None,
        chunk: int | None = None,
        implicit: bool = False,
        width: float = 0.05,
    ) -> None:
        super().__init__()
        if not callable(energy) or isinstance(energy, type):
            raise refuse(
                "Search needs an energy",
                got=describe(energy),
                expected="a callable that takes what the model takes",
                fix="Search(Confidence(model)), or Search(lambda x: x[..., :8, :].mean((1, 2, 3)))",
            )
        optional = {"budget": (budget, 1), "resolution": (resolution, 1), "chunk": (chunk, 1)}
        for word, (number, least) in {"grid": (grid, 4), "beams": (beams, 1), "steps": (steps, 2), **optional}.items():
            none = word in optional and number is None
            if not none and (not isinstance(number, int) or isinstance(number, bool) or number < least):
                or_none = ", or None" if word in optional else ""
                raise refuse(
                    f"Search: bad {word}",
                    got=repr(number),
                    expected=f"a whole number, at least {least}{or_none}",
                    fix=f"{word}={max(least, 16)}",
                )
        if refine not in ("golden", "gradient", None):
            raise refuse(
                "Search: unknown refinement",
                got=repr(refine),
                expected="'golden', 'gradient' or None",
                fix="refine='golden'",
            )
        if not isinstance(width, int | float) or not 0 < width < 1:
            raise refuse("Search: bad width", got=repr(width), expected="an angle in rad, below 1", fix="width=0.05")
        if implicit and refine is None:
            raise refuse(
                "Search: a pose of the grid is no minimum and has no derivative",
                got="implicit=True with refine=None",
                expected="a refinement",
                fix="refine='gradient', steps=30",
            )
        self.energy = energy
        self.grid, self.beams, self.refine, self.steps, self.budget = grid, beams, refine, steps, budget
        self.resolution, self.chunk, self.implicit, self.width = resolution, chunk, bool(implicit), float(width)

    def forward(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """The chosen poses. Draws nothing; no gradient unless `implicit`."""
        check_is_claim(symmetry, "Search")
        kind = self._kind(symmetry.group)
        if torch.is_inference_mode_enabled() and (self.implicit or self.refine == "gradient"):
            with torch.inference_mode(False), torch.no_grad():
                # Derivatives cannot be taken through tensors of inference mode; copies made outside of it are none.
                return self.forward(symmetry, map_tensors(torch.clone, inputs), generator=generator)
        batch, dtype, device = batch_of(symmetry.inputs, inputs)
        if batch == 0:
            g = torch.eye(kind.dim, dtype=dtype, device=device).expand(1, 0, -1, -1)
            return Poses(
                g, torch.ones(1, 0, dtype=dtype, device=device), torch.zeros(0, dtype=torch.float64, device=device)
            )
        small = inputs if self.resolution is None else shrunk(symmetry.inputs, inputs, self.resolution)
        probe = Probe(self.energy, symmetry, small, batch, torch.empty(0, dtype=dtype, device=device), self.chunk)
        with torch.no_grad():
            facts = facts_of(kind, probe)
            probe.uneven = facts.uneven and kind.order is None
            coarse, beams, steps = self._plan(kind, facts)
            found = self._descend(kind, probe, coarse, beams, steps, facts)
        g, margin = probe.off(found.elements), found.margin
        if self.implicit:
            g, sound = minimiser(probe, g, smooth=not facts.resampled, width=self.width, spread=found.spread)
            margin = torch.where((sound | (found.weights == 0)).all(0), margin, 0.0)
        if facts.exact:
            return shared_by_fixers(probe, inputs, facts.lossless, g, margin)
        return Poses(g.to(dtype), found.weights.to(dtype), margin, spent=probe.spent)

    def extra_repr(self) -> str:
        """The settings, for `print(model)`."""
        words = ("grid", "beams", "refine", "steps", "budget", "resolution", "chunk", "implicit", "width")
        return ", ".join(f"{word}={getattr(self, word)!r}" for word in words)

    def _kind(self, group: Any) -> Kind:
        kind = kind_of(group)
        if kind is None:
            finite = hasattr(group, "elements")
            raise refuse(
                f"Search does not know how to search {group!r}",
                got=repr(group),
                expected="SO(2), O(2), SO(3), O(3), C(n) or D(n)",
                fix="Best(energy), which visits every element of a finite group"
                if finite
                else "take the group without translations and subtract the mean of the points; Sampled(k) for others",
            )
        if kind.order is not None and (self.implicit or self.refine == "gradient"):
            raise refuse(
                f"Search: {group!r} is finite and has no derivative",
                got="implicit=True" if self.implicit else "refine='gradient'",
                expected="refine='golden', which steps from element to element, and implicit=False",
                fix=f"refine='golden', or {'O(2)' if kind.mirrored else 'SO(2)'} as the group",
            )
        return kind

    def _plan(self, kind: Kind, facts: Facts) -> tuple[Grid, int, int]:
        """The grid, beams and steps that the budget pays for."""
        tilted = kind.order is None and (
            facts.uneven or (facts.resampled and (self.refine == "gradient" or self.implicit))
        )
        possible = sizes(kind, self.grid, tilted=tilted)
        first = int(self.refine == "gradient")
        unit = 1 if kind.axes == 1 or first else 3
        last = passes(kind.axes, smooth=not facts.resampled) if self.implicit else 0

        def made(size: int) -> Grid:
            return grid(kind, size, tilted=tilted)

        def worth(size: int) -> int:
            most = self.steps if kind.order is None else 2 * halvings(made(size).gap)
            return min(self.steps, most) if self.refine is not None else 0

        def each(steps: int) -> int:
            return last + (first + unit * steps if steps else 0)

        size, beams = possible[-1], self.beams
        steps = worth(size)
        if self.budget is None or size + beams * each(steps) <= self.budget:
            return made(size), beams, steps
        # A pose that is to have a derivative has to be refined.
        least = each(2) if self.implicit else 0
        if possible[0] + least > self.budget:
            raise refuse(
                "Search: the budget cannot pay for the smallest grid",
                got=f"budget={self.budget}",
                expected=f"at least {possible[0] + least} forward passes: {possible[0]} for the grid"
                + (f", {least} for the derivative of a refined pose" if least else ""),
                fix=f"budget={possible[0] + beams * each(worth(possible[0]))}",
            )
        limit = min(max(self.budget // 2 if steps else self.budget, possible[0]), self.budget - least)
        size = max(one for one in possible if one <= limit)
        left, steps = self.budget - size, worth(size)
        beams = max(1, min(beams, left // max(1, each(steps))))
        steps = max(0, min(steps, (left // beams - last - first) // unit))
        return made(size), beams, steps if steps >= 2 else 0

    def _descend(self, kind: Kind, probe: Probe, coarse: Grid, beams: int, steps: int, facts: Facts) -> Found:
        beam = brought(probe, coarse, beams if steps else len(coarse.elements), exact=facts.exact)
        g, energy = beam.elements, beam.energy
        if steps and kind.order is not None:
            assert coarse.places is not None
            place = coarse.places.to(beam.chosen.device)[beam.chosen]
            g, energy = among(probe, kind, place, torch.linalg.det(g) < 0, energy, coarse.gap, steps // 2)
        elif steps and self.refine == "gradient":
            g, energy = gradient(probe, g, coarse.step, steps)
        elif steps:
            g, energy = golden(probe, g, energy, coarse.step, steps)
        return lowest(beam, g, energy, distance=coarse.step / 2 if steps else None, share=not facts.exact)
