"""Shares that fade to zero: a smooth choice of the largest."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def fading_shares(
    scores: Float[Tensor, "count batch"], width: float | Float[Tensor, " batch"]
) -> Float[Tensor, "count batch"]:
    """Shares (count, batch) of the highest scores of each sample, that sum to one and are zero for all that are far below.

    The share is the square of (score / width - threshold) where that is positive, and the threshold makes the sum one: a
    continuously differentiable function of the scores, unlike a cut below their maximum. A score more than `width` below
    the highest has no share; the highest alone has share one where all others are `width` below it. Scores of minus
    infinity never have one.

    Args:
        scores: (count, batch), any unit; at least one of each sample is finite.
        width: in the unit of the scores, positive; one for all, or one a sample.

    Returns:
        (count, batch), dimensionless; the derivative is finite everywhere, also when taken twice.

    Source: the 1.5-entmax of Peters, Niculae, Martins, arXiv 1905.05702, computed from sorted scores.
    """
    z = scores / width
    with torch.no_grad():
        top = z.amax(0)
        near = z - top
        ranked = near.sort(0, descending=True).values
        # Beyond the width nothing can have a share; taking these out keeps infinities out of the sums.
        inside = ranked > -1
        kept = torch.where(inside, ranked, 0.0)
        count = inside.cumsum(0).clamp(min=1).to(z.dtype)
        mean = kept.cumsum(0) / count
        spread = (kept.square().cumsum(0) - count * mean.square()).clamp(min=0)
        tau = mean - ((1 - spread).clamp(min=0) / count).sqrt()
        size = ((tau <= ranked) & inside).sum(0).clamp(min=1)
        threshold = tau.gather(0, size[None] - 1)
        chosen = near > threshold
    count = chosen.sum(0).to(z.dtype)
    kept = torch.where(chosen, z - top, 0.0)
    mean = kept.sum(0) / count
    spread = (torch.where(chosen, kept - mean, 0.0)).square().sum(0)
    tau = mean - ((1 - spread).clamp(min=torch.finfo(z.dtype).tiny) / count).sqrt()
    shares = torch.where(chosen, kept - tau, 0.0).square()
    # The sum is one to rounding already, save where a score was at the edge.
    return shares / shares.sum(0)
