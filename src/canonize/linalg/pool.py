"""Area averages whose rounding does not depend on the orientation of the input."""

from __future__ import annotations

import torch
from torch import Tensor


def shrink(x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Average the last axes of `x` down to `sizes`, so that a turned input gives the turned result bit for bit.

    Entries are first rounded to 36 bits below the largest of their sample, so that every sum is a whole number that
    float64 holds exactly, in whatever order it is taken. Windows are those of adaptive average pooling.

    Args:
        x: (batch, ..., *old sizes), real; at most 2^17 entries in one window.
        sizes: new lengths of the last axes, each at least 1 and at most the old one.

    Returns:
        (batch, ..., *sizes), in the dtype of x if that is floating point, float32 otherwise. A sample with NaN or
        infinity gives NaN. The gradient is that of the plain average.
    """
    dtype = x.dtype if x.is_floating_point() else torch.float32
    wide = x.double()
    scale = wide.detach().abs().flatten(1).amax(1) if wide[0:1].numel() else wide.new_ones(len(x))
    scale = torch.where(scale > 0, scale, 1.0).reshape(-1, *(1,) * (x.ndim - 1)) / 2**36
    total, count = wide / scale, torch.ones((), dtype=torch.float64, device=x.device)
    # The difference is zero; it carries the gradient, which rounding has none of.
    total = total.detach().round() + (total - total.detach()) if x.requires_grad else total.round()
    for position, new in enumerate(sizes):
        axis = x.ndim - len(sizes) + position
        window = _windows(x.shape[axis], new, x.device)
        total = (total.movedim(axis, -1) @ window.mT).movedim(-1, axis)
        count = count[..., None] * window.sum(1)
    return (total / count * scale).to(dtype)


def _windows(old: int, new: int, device: torch.device) -> Tensor:
    """(new, old): 1 where an old entry falls into the window of a new one; symmetric under reversal of both axes."""
    first = torch.arange(new, device=device) * old // new
    last = -(-(torch.arange(1, new + 1, device=device) * old) // new)
    entry = torch.arange(old, device=device)
    return ((entry >= first[:, None]) & (entry < last[:, None])).double()
