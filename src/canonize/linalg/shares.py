"""Shares that fade to zero: a smooth choice of the largest."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from canonize._values import unseen


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
    if not unseen() and len(scores) == 1:
        return torch.ones_like(scores)
    z = scores / width
    with torch.no_grad():
        near = z - z.amax(0)
        ranked = near.sort(0, descending=True).values
        # Beyond the width nothing can have a share; without these the sums hold no infinity.
        inside = ranked > -1
        kept = torch.where(inside, ranked, 0.0)
        count = inside.cumsum(0)
        total, square = kept.cumsum(0), kept.square().cumsum(0)
        mean = total / count
        edge = mean - ((1 - square + total * mean).clamp(min=0) / count).sqrt()
        # The threshold of the largest set of the best whose members all exceed it.
        size = ((edge <= ranked) & inside).sum(0, keepdim=True)
        chosen = near > edge.gather(0, size - 1)
    count = chosen.sum(0)
    kept = torch.where(chosen, z - z.detach().amax(0), 0.0)
    mean = kept.sum(0) / count
    spread = torch.where(chosen, kept - mean, 0.0).square().sum(0)
    threshold = mean - ((1 - spread).clamp(min=torch.finfo(z.dtype).tiny) / count).sqrt()
    shares = torch.where(chosen, kept - threshold, 0.0).clamp(min=0).square()
    # The sum is one to rounding already.
    return shares / shares.sum(0)
