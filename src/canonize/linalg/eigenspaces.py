"""Eigenspaces of symmetric matrices, and bases of them that do not depend on the order of rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

_CHANNELS, _ROUNDS = 8, 3
_ACCURACY = 1e-5
"""A direction counts as fixed where rounding moves it by less than that."""


def symmetric_eigen(
    matrix: Float[Tensor, "batch n n"], tolerance: float
) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch n n"], Int[Tensor, "batch n"]]:
    """Eigenvalues, the smallest first, eigenvectors as columns, of arbitrary sign and basis, and which share a space.

    The derivative of a column of a one-dimensional space is that of the eigenvector; of the other columns it holds only
    what leaves their space, so that functions of the whole space have theirs. Eigenvalues of one space share the
    derivative of their mean. Finite everywhere, and so is the second derivative.

    Args:
        matrix: (batch, n, n), symmetric, float64, finite.
        tolerance: neighbouring eigenvalues that differ by at most this, relative to the largest in size, share a space.

    Returns:
        (batch, n), (batch, n, n) and the numbers of the spaces, int64, from 0.
    """
    values, vectors, space = _Eigen.apply(matrix, tolerance)  # type: ignore[no-untyped-call]
    return values, vectors, space


class _Eigen(torch.autograd.Function):
    """The eigenvalue problem with a derivative that leaves out what happens inside of a space."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(matrix)
        largest = values.abs().amax(-1, keepdim=True) if values.shape[-1] else values[:, :1]
        apart = values.diff(dim=-1) > tolerance * largest
        space = torch.cat([torch.zeros_like(values[:, :1], dtype=torch.int64), apart.cumsum(-1)], -1)
        ctx.save_for_backward(values, vectors, space)
        ctx.mark_non_differentiable(space)
        return values, vectors, space

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None]:
        values, vectors, space = ctx.saved_tensors
        same = space[:, :, None] == space[:, None, :]
        away = torch.where(same, 0.0, 1 / torch.where(same, 1.0, values[:, None, :] - values[:, :, None]))
        mean = same.to(values.dtype) / same.sum(-1, keepdim=True)
        inner = away * (vectors.mT @ grads[1]) + torch.diag_embed((mean @ grads[0][..., None])[..., 0])
        found = vectors @ inner @ vectors.mT
        return (found + found.mT) / 2, None


class Pinned(NamedTuple):
    """Bases of some eigenspaces of one dimension d.

    Attributes:
        basis: (spaces, d, n), orthonormal rows: those that the rule fixes first.
        fixed: (spaces, d), bool.
        margin: (spaces, d), dimensionless, 0 to 1: how far each direction is from a tie.
        error: (spaces, d): about how far rounding moves each direction; infinite where nothing fixes it.
    """

    basis: Tensor
    fixed: Tensor
    margin: Tensor
    error: Tensor


def pinned(
    rows: Float[Tensor, "spaces d n"],
    guides: Float[Tensor, "spaces d n"],
    gap: Float[Tensor, " spaces"],
    clear: Float[Tensor, " spaces"],
    further: Float[Tensor, "spaces d n"] | None = None,
) -> Pinned:
    """Orthonormal bases along the projections of guiding vectors: of the first, of what is left of the second, and so on.

    Where the guides move with the nodes, so do the bases, whatever basis and signs came in.

    Args:
        rows: orthonormal bases, arbitrary.
        guides: vectors of length at least 0. From the first that has no part left on, none is used.
        gap: distance of each space from the rest of the spectrum, relative to the largest eigenvalue in size.
        clear: 0 to 1: how far from another division of the spectrum into spaces.
        further: guides that are used where the first ones end.
    """
    # The first is what a solver leaves in an eigenvector, the second what it leaves in the guides.
    noise = torch.finfo(rows.dtype).eps * (64 * rows.shape[-1] ** 0.5 / gap.clamp(max=1.0) + 2.0**15)
    found = _along(rows, guides, noise, clear)
    if further is None or bool(found.fixed.all()):
        return found
    count = found.fixed.sum(-1)
    place = torch.arange(rows.shape[1], device=rows.device)
    late = (place - count[:, None]).clamp(min=0)[..., None].expand(rows.shape)
    mixed = torch.where((place < count[:, None])[..., None], guides, further.gather(1, late))
    return _along(rows, mixed, noise, clear)


def _along(rows: Tensor, guides: Tensor, noise: Tensor, clear: Tensor) -> Pinned:
    length = guides.square().sum(-1).sqrt()
    parts = rows @ (guides / torch.where(length > 0, length, 1.0)[..., None]).mT
    if rows.shape[1] == 1:
        turn, margin = torch.where(parts < 0, -1.0, 1.0).to(parts.dtype), parts[:, 0].abs()
    else:
        turn, upper = torch.linalg.qr(parts)
        turn = turn * torch.where(upper.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0)[:, None, :]
        margin = _independence(upper)
    margin = torch.minimum(margin, clear[:, None]).cummin(-1).values
    error = noise[:, None] / margin
    return Pinned(turn.mT @ rows, error <= _ACCURACY, margin, error)


def _independence(upper: Tensor) -> Tensor:
    """How far each column of unit triangles (spaces, d, d) is from the span of the earlier ones and of their rounding.

    One over the length of the columns of the inverse: also what is left of a guide is small where the directions before
    it are badly known.
    """
    diagonal = upper.diagonal(dim1=-2, dim2=-1)
    # Below that nothing is left; the inverse may overflow there, in that column and later ones only.
    floored = upper + torch.diag_embed(torch.where(diagonal.abs() > 1e-30, 0.0, 1e-30 - diagonal))
    unit = torch.eye(upper.shape[-1], dtype=upper.dtype, device=upper.device).expand_as(upper)
    inverse = torch.linalg.solve_triangular(floored, unit, upper=True)
    left: Tensor = 1 / inverse.square().sum(-2).sqrt().nan_to_num(nan=torch.inf)
    return left


def eigenspace_gaps(
    values: Float[Tensor, "batch n"], space: Int[Tensor, "batch n"], tolerance: float
) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch n"]]:
    """For each eigenvalue the distance of its space from its neighbours, relative to the largest eigenvalue in size.

    And how far, 0 to 1, that distance and the differences inside of the space are from `tolerance`, where spaces would join
    or divide. Distances are at most 1, which they are where there is one space.
    """
    largest = values.abs().amax(-1, keepdim=True)
    step = values.diff(dim=-1) / torch.where(largest > 0, largest, 1.0)
    inside = space.diff(dim=-1) == 0
    ends = torch.ones_like(values[:, :1])
    outer = torch.cat([ends, torch.where(inside, 1.0, step).clamp(max=1.0), ends], -1)
    inner = torch.cat([ends * 0, torch.where(inside, step, 0.0), ends * 0], -1)
    gap = _least_of_space(torch.minimum(outer[:, 1:], outer[:, :-1]), space)
    spread = _least_of_space(-torch.maximum(inner[:, 1:], inner[:, :-1]), space).neg()
    clear = torch.minimum(gap / tolerance - 1, 1 - spread / tolerance)
    return gap, clear.clamp(0.0, 1.0)


def _least_of_space(values: Tensor, space: Tensor) -> Tensor:
    least = torch.full_like(values, torch.inf).scatter_reduce(1, space, values, "amin")
    return least.gather(1, space)


def node_invariants(
    values: Float[Tensor, "batch n"],
    vectors: Float[Tensor, "batch n n"],
    space: Int[Tensor, "batch n"],
    colours: Float[Tensor, "batch n few"],
) -> Float[Tensor, "batch n channels"]:
    """Eight numbers a node, between -1 and 1, smooth functions of the matrix, that move with the nodes.

    Three kernels f(matrix), with f linear and two heat kernels, give each node their diagonals and sums of cubes of their
    rows; three rounds of messages with the kernels as weights mix them, and the colours, through sines.
    """
    # Of a whole space, lest the kernels depend on its basis.
    total = torch.zeros_like(values).scatter_add(1, space, values)
    count = torch.zeros_like(values).scatter_add(1, space, torch.ones_like(values))
    values = (total / count.clamp(min=1)).gather(1, space)
    span = values[:, -1:] - values[:, :1]
    unit = (values - values[:, :1]) / torch.where(span > 0, span, 1.0)
    shape = torch.stack([2 * unit - 1, (-2 * unit).exp(), (-8 * unit).exp()], 1)
    # In one product, which does not copy the vectors three times.
    kernels = (vectors[:, None] * shape[:, :, None, :]).flatten(1, 2) @ vectors.mT
    kernels = kernels.reshape(len(kernels), 3, *vectors.shape[1:])
    squares = kernels.square()
    cubes = (kernels * squares).sum(-1)
    about = torch.cat([kernels.diagonal(dim1=-2, dim2=-1).mT, cubes.mT, _standard(colours)], -1)
    # What one node tells another.
    weights = [kernels[:, 0], squares[:, 1], squares[:, 2]]
    about = about - about.mean(1, keepdim=True)
    # Nodes that are alike stay so: what is smaller than the floor is not blown up, lest rounding be.
    about = about / (about.square().mean(1, keepdim=True).sqrt() + 1e-2)
    hidden = (about @ _table(about.shape[-1], _CHANNELS, about, salt=1)).sin()
    for number in range(_ROUNDS):
        own, *told = (hidden @ _table(_CHANNELS, 4 * _CHANNELS, about, salt=2 + number)).chunk(4, -1)
        for weight, message in zip(weights, told, strict=True):
            own = own + weight @ message
        hidden = (own + 0.3).sin()
    return hidden


def _standard(colours: Tensor) -> Tensor:
    """Colours in units of the largest difference from the mean of their graph."""
    colours = colours - colours.mean(1, keepdim=True)
    largest = colours.abs().amax(1, keepdim=True)
    return colours / torch.where(largest > 0, largest, 1.0)


def guides(
    invariants: Float[Tensor, "batch n channels"],
    owner: Int[Tensor, " spaces"],
    share: Float[Tensor, "spaces n"],
    count: int,
) -> Float[Tensor, "spaces count n"]:
    """Vectors over the nodes that move with them, `count` for each space, none like another.

    The first is led by the share of each node in the space: for one direction v that makes an odd moment of v.

    Args:
        invariants: from `node_invariants`.
        owner: which matrix of the batch each space belongs to.
        share: the diagonal of the projector, times n over the dimension: 1 on average.
        count: how many.
    """
    bounded = (share / (1 + share))[:, None]
    number = torch.arange(count, dtype=share.dtype, device=share.device)[:, None]
    pitch = _table(invariants.shape[-1] + 2, count, invariants, salt=6)
    phase = (invariants @ (pitch[:-2] * (2 + number.mT)) + 3 * pitch[-1]).mT
    found = (phase[owner] + (4 + number) * (1.5 + pitch[-2, :, None]) * bounded).sin()
    # With a mean above zero, so that vectors of one sign come out positive.
    lead = 1.5 + 4 * (bounded - bounded.mean(-1, keepdim=True))
    return found + torch.where(number == 0, lead, 0.0)


def ranked_guides(ranks: Int[Tensor, "spaces n"], count: int) -> Float[Tensor, "spaces count n"]:
    """For each rank `count` numbers between -1 and 1, as if random: equal ranks get equal ones."""
    number = torch.arange(count, device=ranks.device)[:, None]
    return _hashed(ranks[:, None, :], number, salt=7)


def _table(rows: int, columns: int, like: Tensor, *, salt: int) -> Tensor:
    """Numbers between -1 and 1, (rows, columns), as if random, on every machine the same."""
    place = torch.arange(max(rows, columns), device=like.device)
    return _hashed(place[:rows, None], place[:columns], salt=salt)


def _hashed(a: Tensor, b: Tensor, *, salt: int) -> Float[Tensor, "..."]:
    """Whole numbers a, b as a number between -1 and 1: the finalizer of SplitMix64 on the integers of 64 bits."""
    z = (a + 1) * -7046029254386353131 + (b + 1) * (-4658895280553007687 + 2 * salt)
    z = (z ^ ((z >> 30) & 0x3FFFFFFFF)) * -4658895280553007687
    z = (z ^ ((z >> 27) & 0x1FFFFFFFFF)) * -7723592293110705685
    z = z ^ ((z >> 31) & 0x1FFFFFFFF)
    return ((z >> 12) & (2**52 - 1)).double() / 2**51 - 1
