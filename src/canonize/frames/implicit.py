"""The derivative of a minimiser by the implicit function theorem."""

from __future__ import annotations

import torch
from torch import Tensor

from canonize._tree import tensors
from canonize.frames.descent import Probe, derivative, no_slope, zero_turns
from canonize.frames.turns import near, turned

FLAT = 1e-6
"""A curvature below this share of the largest one, or of the range of the energy, is taken to be none."""


def passes(axes: int, *, smooth: bool) -> int:
    """How many forward passes `minimiser` costs."""
    return 1 if smooth else 1 + 2 * axes + 2 * axes * (axes - 1)


def minimiser(probe: Probe, elements: Tensor, *, smooth: bool, width: float, spread: Tensor) -> tuple[Tensor, Tensor]:
    """The elements as they are, with the derivative that a minimiser of the energy has.

    At a minimum the slope along g exp(xi) is zero and stays zero where the input or the energy changes, so that
    d xi = -H^-1 d(slope), H being the second derivatives along xi.

    Args:
        probe: the energy.
        elements: (k, batch, d, d), float64, at minima.
        smooth: take derivatives automatically; otherwise by central differences over +-`width`.
        width: in rad.
        spread: (batch,), the range of the energy, to tell what is flat.

    Returns:
        Elements of the same value, without derivative where H is not positive definite; and where it is, (k, batch), bool.

    Source: Blondel et al., arXiv 2105.15183.
    """
    wanted = torch.is_grad_enabled()
    elements = elements.detach()
    energy, slope, bend = (
        _automatic(probe, elements, wanted) if smooth else _differences(probe, elements, width, wanted)
    )
    bend = ((bend + bend.mT) / 2).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    curvatures = bend[..., 0] if bend.shape[-1] == 1 else torch.linalg.eigvalsh(bend)
    rounding = 64 * torch.finfo(probe.dtype).eps * energy.abs() / (1.0 if smooth else width**2)
    floor = FLAT * torch.maximum(curvatures.abs().amax(-1), spread) + rounding
    sound = curvatures.amin(-1) > floor
    unit = torch.eye(bend.shape[-1], dtype=bend.dtype, device=bend.device)
    safe = torch.where(sound[..., None, None], bend, unit)
    change = (slope - slope.detach()).where(sound[..., None], 0.0)
    xi = -torch.linalg.solve(safe, change[..., None])[..., 0]
    return near(elements, xi), sound


def _automatic(probe: Probe, elements: Tensor, wanted: bool) -> tuple[Tensor, Tensor, Tensor]:
    with torch.enable_grad():
        xi = zero_turns(elements)
        energy = probe(near(elements, xi))
        slope = derivative(energy, xi, create_graph=True)
        if slope is None:
            raise no_slope(energy)
        rows = []
        for axis in range(slope.shape[-1]):
            row = None
            if slope.requires_grad:
                (row,) = torch.autograd.grad(slope[..., axis].sum(), xi, retain_graph=True, allow_unused=True)
            rows.append(torch.zeros_like(xi) if row is None else row)
    return energy.detach(), slope if wanted else slope.detach(), torch.stack(rows, -2).detach()


def _differences(probe: Probe, elements: Tensor, width: float, wanted: bool) -> tuple[Tensor, Tensor, Tensor]:
    axes = 1 if elements.shape[-1] == 2 else 3
    unit = width * torch.eye(axes, dtype=elements.dtype, device=elements.device)

    def seen(turns: list[Tensor]) -> Tensor:
        """(turns, k, batch)."""
        moved = torch.stack([turned(elements, turn.expand(*elements.shape[:-2], axes)) for turn in turns])
        return probe(moved.flatten(0, 1)).reshape(moved.shape[:-2])

    with torch.set_grad_enabled(wanted):
        up, down = seen([*unit, *-unit]).chunk(2)
        slope = ((up - down) / (2 * width)).movedim(0, -1)
    if wanted and not slope.requires_grad and any(part.requires_grad for part in tensors(probe.inputs)):
        raise no_slope(slope)
    up, down = up.detach(), down.detach()
    pairs = [(i, j) for i in range(axes) for j in range(i)]
    with torch.no_grad():
        corners = [unit[i] * a + unit[j] * b for i, j in pairs for a in (1, -1) for b in (1, -1)]
        middle, *crossed = seen([torch.zeros_like(unit[0]), *corners])
    bend = torch.diag_embed((up + down - 2 * middle).movedim(0, -1) / width**2)
    for number, (i, j) in enumerate(pairs):
        one, two, three, four = crossed[4 * number : 4 * number + 4]
        mixed = (one - two - three + four) / (4 * width**2)
        bend[..., i, j] = bend[..., j, i] = mixed
    return middle, slope, bend
