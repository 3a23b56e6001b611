"""Which candidates of a search are kept, which of them wins, and what fixes it: the same for every copy of an input."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from canonize._tree import spec_leaves
from canonize.actions import Numbering, Rows, Scalar
from canonize.actions.base import bitwise
from canonize.actions.trees import lossless_tree, move, repeat, row_index, take
from canonize.frames.base import Coset, Poses, flat
from canonize.frames.choose import NEAR
from canonize.frames.descent import Probe
from canonize.frames.orbit import keys
from canonize.frames.turns import Grid, Kind, apart, product, turned


class Facts(NamedTuple):
    """What is known of a batch of inputs before anything is scored.

    Attributes:
        exact: whether copies of an input that were moved without loss have the same candidates, bit for bit.
        resampled: whether a turn of no special angle loses detail of the inputs.
        uneven: whether the inputs cannot be moved by all signed permutations of the group (grids of unequal sides).
        lossless: (n, d, d), float64, the signed permutations that move the inputs without loss, identity first.
    """

    exact: bool
    resampled: bool
    uneven: bool
    lossless: Tensor


def facts_of(kind: Kind, probe: Probe) -> Facts:
    """The facts of a probe's inputs, a batch of at least one."""
    spec, value = probe.symmetry.inputs, probe.inputs
    device = probe.device
    signed = kind.signed().to(device)

    def told(g: Tensor, **how: Any) -> bool:
        each = g.to(probe.dtype).expand(probe.batch, *g.shape)
        return bool(lossless_tree(spec, each, value, index=probe.index, **how).all())

    generic = turned(torch.eye(kind.dim, dtype=torch.float64), torch.tensor([0.3, 0.5, 0.7][: kind.axes]).double())
    if kind.order is not None:
        table = kind.table()
        others = table[(table != table.round()).flatten(1).any(1)]
        generic = others[0] if len(others) else table[-1]
    generic = generic.to(device)
    exact, resampled = told(generic, ask=bitwise), not told(generic)
    keep = torch.tensor([told(g) for g in signed] if exact or resampled else [True] * len(signed), device=device)
    return Facts(exact, resampled, not bool(keep.all()), signed[keep])


class Beams(NamedTuple):
    """The candidates of the grid that are refined, in an order that depends on their energies and contents alone.

    Attributes:
        chosen: (beams, batch), int64: which elements of the grid.
        elements: (beams, batch, d, d), float64.
        energy: (beams, batch).
        valid: (beams, batch), bool: False for a candidate that is there already.
        rest: (batch,), the lowest energy among other local minima of the grid, infinite where there is none.
        spread: (batch,), the range of the energies on the grid.
        largest: (batch,), the largest of their absolute values.
    """

    chosen: Tensor
    elements: Tensor
    energy: Tensor
    valid: Tensor
    rest: Tensor
    spread: Tensor
    largest: Tensor


def brought(probe: Probe, coarse: Grid, count: int, *, exact: bool) -> Beams:
    """The `count` lowest local minima of the grid, then the lowest of the others.

    Where inputs allow it (`exact`), candidates are scored in the order of their contents, and one of several equal ones
    stands for all, so that the energies are the same, bit for bit, for every copy that was moved without loss.
    """
    grid, beside = coarse.elements.to(probe.device), coarse.beside.to(probe.device)
    k, batch = len(grid), probe.batch
    order = torch.arange(k, device=grid.device)[:, None].expand(k, batch)
    again = torch.zeros(k, batch, dtype=torch.bool, device=grid.device)
    if exact:
        spec, candidates = probe.symmetry.inputs, probe.orbit(grid)
        content = keys(spec, candidates, (k, batch)).to(grid.device)
        order = content.argsort(dim=0, stable=True)
        sample = torch.arange(batch, device=grid.device)
        scored = probe.score(take(spec, candidates, (order * batch + sample).flatten()), k)
        content = content.gather(0, order)
        repeated = torch.cat([torch.zeros_like(again[:1]), content[1:] == content[:-1]])
        place = torch.arange(k, device=grid.device)[:, None].expand(k, batch)
        first = torch.where(repeated, 0, place).cummax(0).values
        energies = torch.empty_like(scored).scatter(0, order, scored.gather(0, first))
        again = again.scatter(0, order, repeated)
    else:
        energies = probe(grid[:, None].expand(k, batch, *grid.shape[1:]))
    local = torch.ones_like(again)
    for neighbour in beside:
        local &= energies <= energies[neighbour]
    # Sorted by the last criterion first: each sort keeps the order of equals.
    for criterion in (energies, (~local).double(), again.double()):
        order = order.gather(0, criterion.gather(0, order).argsort(dim=0, stable=True))
    chosen, others = order[:count], order[count:]
    left_out = torch.where((local & ~again).gather(0, others), energies.gather(0, others), torch.inf)
    rest = left_out.amin(0) if len(others) else torch.full_like(energies[0], torch.inf)
    spread, largest = energies.amax(0) - energies.amin(0), energies.abs().amax(0)
    return Beams(chosen, grid[chosen], energies.gather(0, chosen), ~again.gather(0, chosen), rest, spread, largest)


class Found(NamedTuple):
    """What a search has found.

    Attributes:
        elements: (k, batch, d, d), float64.
        weights: (k, batch), float64.
        margin: (batch,).
        spread: (batch,), the range of the energies on the grid.
    """

    elements: Tensor
    weights: Tensor
    margin: Tensor
    spread: Tensor


def lowest(beams: Beams, g: Tensor, energy: Tensor, *, distance: float | None, share: bool) -> Found:
    """The lowest of the refined beams.

    Args:
        beams: from which they came.
        g: (beams, batch, d, d), refined.
        energy: (beams, batch), refined.
        distance: refined beams closer than this, in rad, have found the same minimum; None where nothing was refined.
        share: give all beams whose energy is the lowest to rounding the same weight.
    """
    energy, order = torch.where(beams.valid, energy, torch.inf).sort(dim=0, stable=True)
    g = g.gather(0, order[..., None, None].expand(g.shape))
    kept = energy.isfinite()
    if distance is not None:
        for late in range(1, len(g)):
            for early in range(late):
                kept[late] &= ~kept[early] | apart(g[late], g[early], distance)
    tied = kept & (energy - energy[0] <= NEAR * beams.largest)
    tied = tied if share else torch.zeros_like(kept).index_fill(0, torch.zeros(1, dtype=torch.int64).to(g.device), True)
    gap = torch.minimum(torch.where(kept & ~tied, energy, torch.inf).amin(0), beams.rest) - energy[0]
    margin = torch.where(beams.spread > 0, gap.clamp(min=0) / beams.spread, 0.0)
    margin = torch.where(gap.isinf(), 1.0, margin)
    if share and distance is not None:
        # An energy that is the same for all poses to rounding has more minima than beams.
        margin = torch.where(beams.spread <= NEAR * beams.largest, 0.0, margin)
    count = int(tied.sum(0).max())
    weights, order = tied.double().sort(dim=0, descending=True, stable=True)
    weights = weights[:count] / weights[:count].sum(0)
    return Found(g.gather(0, order[:count, :, None, None].expand(count, *g.shape[1:])), weights, margin, beams.spread)


def shared_by_fixers(probe: Probe, inputs: Any, lossless: Tensor, g: Tensor, margin: Tensor) -> Poses:
    """The pose g, and outputs averaged over the lossless elements q that fix the input: they give q g for the same reasons.

    Seen from the pose, q is g^-1 q g. Where that is lossless too, one model call is enough, and a `Coset` averages its
    output; otherwise each q g is a pose of its own, so that nothing is resampled twice.

    Args:
        probe: with the inputs that were scored.
        inputs: the full ones, if those were shrunk.
        lossless: (n, d, d), identity first.
        g: (1, batch, d, d), float64.
        margin: (batch,).
    """
    spec, n = probe.symmetry.inputs, len(lossless)
    content = keys(spec, probe.orbit(lossless), (n, probe.batch)).to(g.device)
    fixing = content == content[0]
    many = (fixing.sum(0) > 1).nonzero()[:, 0]
    if len(many) and probe.inputs is not inputs:
        # Shrunk copies may agree where the full ones differ: decide again among them, on the full copies.
        some, count = take(spec, inputs, many), len(many)
        turns = product(lossless[:, None], g[0, many].detach()).to(probe.dtype)
        copies = repeat(spec, some, n, index=row_index(spec, some), batch=count)
        again = keys(spec, move(spec, flat(turns).mT, copies), (n, count)).to(g.device)
        least = torch.where(fixing[:, many], again, torch.iinfo(torch.int64).max).amin(0)
        fixing = fixing.index_copy(1, many, fixing[:, many] & (again == least))
    active, order = fixing.int().sort(dim=0, descending=True, stable=True)
    count = int(active.sum(0).max())
    active = active[:count].bool()
    # Adding zero makes -0.0 to 0.0.
    poses = product(lossless[order[:count]], g[0]) + 0.0
    one = torch.ones(1, probe.batch, dtype=probe.dtype, device=g.device)
    many = (active.sum(0) > 1).nonzero()[:, 0]
    if not len(many) or _unmoved(probe.symmetry.outputs):
        return Poses(poses[:1].to(probe.dtype), one, margin, spent=probe.spent)
    inner = product(poses[0, many].mT, poses[:, many]).detach()
    if bool(((inner - inner.round()).abs().amax((-2, -1)) < 1e-9)[active[:, many]].all()):
        stabilizer = Coset(many, (inner.round() + 0.0).to(probe.dtype), active[:, many])
        return Poses(poses[:1].to(probe.dtype), one, margin, stabilizer, probe.spent)
    return Poses(poses.to(probe.dtype), active.to(probe.dtype) / active.sum(0), margin, spent=probe.spent)


def _unmoved(spec: Any) -> bool:
    """Whether no output moves."""
    inner = [action.action if isinstance(action, Rows) else action for action in spec_leaves(spec)]
    return all(action is None or isinstance(action, Numbering | Scalar) for action in inner)
