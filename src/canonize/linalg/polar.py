"""The polar decomposition of small matrices, with derivatives of every order that stay finite at equal singular values."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def polar(
    matrix: Float[Tensor, "*batch d d"], *, special: bool, floor: float = 0.0
) -> tuple[Float[Tensor, "*batch d d"], Float[Tensor, "*batch"]]:
    """The nearest orthogonal matrix R to each matrix F = R S, and how far it is from not being the only one.

    Args:
        matrix: (*batch, d, d), float64, finite, any unit.
        special: whether det R must be +1; S is then symmetric with its smallest eigenvalue negative where det F < 0.
            Otherwise S is positive semi-definite.
        floor: margin, per pair of axes, up to which R is taken not to feel a turn in their plane: at least the relative
            precision that the entries of F had.

    Returns:
        R, (*batch, d, d), dimensionless, with its derivative; and the margin, (*batch), without one: with singular values
        s_1 >= ... >= s_d it is s_d / s_1, or (s_{d-1} + sign(det F) s_d) / s_1 where `special` (1 for d = 1). It is 0
        where R is not unique, and for F = 0.

    The derivative of R has the sums s_i + s_j in its denominators, never a difference, so that equal singular values are
    nothing special. In the plane of two axes whose sum (with the sign above) is at most `floor` s_1, where R is not unique
    to that precision, it is taken to be zero, and so are all higher ones.

    Source: the derivative follows from R^T dF - dF^T R = W S + S W with dR = R W; Kenney and Laub, Polar Decomposition
    and Matrix Sign Function Condition Estimates, doi 10.1137/0912027.
    """
    d = matrix.shape[-1]
    # R does not depend on the scale, so that dividing by it as by a constant leaves every derivative exact.
    largest = matrix.detach().abs().amax((-2, -1), keepdim=True)
    matrix = matrix / torch.where(largest > 0, largest, 1.0)
    left, values, right = torch.linalg.svd(matrix.detach())
    if special:
        sign = torch.where(torch.linalg.det(left @ right) < 0, -1.0, 1.0).to(values)
        last = torch.cat([torch.ones_like(left[..., 0, :-1]), sign[..., None]], -1)
        left, values = left * last[..., None, :], values * last
    axes, top = right.mT, values[..., :1].abs()
    sums = values[..., :, None] + values[..., None, :]
    # The diagonal meets nothing but the rounding of an antisymmetric matrix, which 1 / (2 s_d) must not blow up.
    unique = (sums > floor * top[..., None]) & ~torch.eye(d, dtype=torch.bool, device=matrix.device)
    inverse = torch.where(unique, 1 / torch.where(unique, sums, 1.0), 0.0)
    if d == 1 and special:
        margin = torch.ones_like(values[..., 0])
    else:
        least = values[..., -2] + values[..., -1] if special else values[..., -1]
        margin = torch.where(top[..., 0] > 0, least / torch.where(top > 0, top, 1.0)[..., 0], 0.0)
    rotation: Tensor = _Polar.apply(matrix, left @ right, axes, inverse)  # type: ignore[no-untyped-call]
    return rotation, margin.clamp(min=0)


class _Polar(torch.autograd.Function):
    """R as it was found; its derivative solves W S + S W = R^T dF - dF^T R."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor, rotation: Tensor, axes: Tensor, inverse: Tensor) -> Tensor:
        return rotation.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        matrix, _, axes, inverse = inputs
        ctx.save_for_backward(matrix, output, axes, inverse)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        matrix, rotation, axes, inverse = ctx.saved_tensors
        (grad,) = grads
        # The output is a function of the matrix here too, so that this can be differentiated again.
        turned = rotation.mT @ matrix
        stretch = (turned + turned.mT) / 2
        pull = rotation.mT @ grad
        return rotation @ _Lyapunov.apply(stretch, pull - pull.mT, axes, inverse), None, None, None  # type: ignore[no-untyped-call]


class _Lyapunov(torch.autograd.Function):
    """The X with X S + S X = Y, for S = V diag(s) V^T given with V and the inverses of s_i + s_j."""

    generate_vmap_rule = True

    @staticmethod
    def forward(stretch: Tensor, right_side: Tensor, axes: Tensor, inverse: Tensor) -> Tensor:
        return axes @ (inverse * (axes.mT @ right_side @ axes)) @ axes.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        stretch, _, axes, inverse = inputs
        ctx.save_for_backward(stretch, output, axes, inverse)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        stretch, solution, axes, inverse = ctx.saved_tensors
        (grad,) = grads
        pulled: Tensor = _Lyapunov.apply(stretch, grad, axes, inverse)  # type: ignore[no-untyped-call]
        return -(pulled @ solution.mT + solution.mT @ pulled), pulled, None, None
