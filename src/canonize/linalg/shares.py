"""Shares that fade to zero: a smooth choice of the largest."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_STEPS = 14
"""The distance to the root is first halved by each step, then squared; enough where a million scores tie."""


def fading_shares(
    scores: Float[Tensor, "count batch"], width: float | Float[Tensor, " batch"]
) -> Float[Tensor, "count batch"]:
    """Shares (count, batch) of the highest scores of each sample, that sum to one and are zero for all that are far below.

    The share is the square of (score / width - threshold) where that is positive, and the threshold makes the sum one: a
    continuously differentiable function of the scores, unlike a cut below their maximum. A score `width` or more
    below the highest has no share; the highest alone has share one where all others are that far below. Scores of minus
    infinity never have one.

    Args:
        scores: (count, batch), any unit; at least one of each sample is finite.
        width: in the unit of the scores, positive; one for all, or one a sample.

    Returns:
        (count, batch), dimensionless; the derivative is finite everywhere, also when taken twice.

    Source: alpha-entmax with alpha = 3/2; Peters, Niculae, Martins, arXiv 1905.05702.
    """
    if len(scores) == 1:
        return torch.ones_like(scores)
    z = scores / width
    with torch.no_grad():
        near = z - z.amax(0)
        # Newton's steps on a convex, falling function, from below its root: they rise to it and never pass it.
        threshold = torch.full_like(near[0], -1.0)
        for _ in range(_STEPS):
            left = (near - threshold).clamp(min=0)
            step = (left.square().sum(0) - 1) / (2 * left.sum(0))
            threshold = threshold + step
            if not torch.compiler.is_compiling() and bool((step < 1e-9).all()):
                break
        chosen = near > threshold
    near = torch.where(chosen, z - z.detach().amax(0), 0.0)
    # Two more steps, with a derivative: that of the root, of first and of second order.
    for _ in range(2):
        left = torch.where(chosen, near - threshold, 0.0)
        threshold = threshold + (left.square().sum(0) - 1) / (2 * left.sum(0))
    shares = torch.where(chosen, near - threshold, 0.0).clamp(min=0).square()
    # The sum is one to rounding already.
    return shares / shares.sum(0)
