"""Area averages whose rounding does not depend on the orientation of the input."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from canonize._values import differentiated


def shrink(x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Average the last axes of `x` down to `sizes`, so that a turned input gives the turned result bit for bit.

    Entries are first rounded to whole multiples of a small share of the largest of their sample, so that every sum is
    a whole number that is held exactly, in whatever order it is taken: to 36 bits; where all windows are alike and x is not
    float64, quicker and to 24 bits less those of the number of entries in a window (18 bits for 7 x 7). Windows are those of
    adaptive average pooling.

    Args:
        x: (batch, ..., *old sizes), real; at most 2^17 entries in one window.
        sizes: new lengths of the last axes, each at least 1 and at most the old one.

    Returns:
        (batch, ..., *sizes), in the dtype of x if that is floating point, float32 otherwise. A sample with NaN or
        infinity gives NaN. The gradient is that of the plain average.
    """
    dtype = x.dtype if x.is_floating_point() else torch.float32
    olds = x.shape[x.ndim - len(sizes) :]
    entries = math.prod([old // new for old, new in zip(olds, sizes, strict=True)])
    bits = 24 - (entries - 1).bit_length()
    # Torch divides by the sides of a window one after the other: only where all windows are alike does order not matter.
    alike = all(old % new == 0 for old, new in zip(olds, sizes, strict=True))
    quick = alike and dtype != torch.float64 and bits >= 14 and len(sizes) in (2, 3) and x.numel() > 0
    wide = x.float() if quick else x.double()
    scale = wide.detach().abs().flatten(1).amax(1) if wide[0:1].numel() else wide.new_ones(x.shape[0])
    bits = bits if quick else 36
    # A sample near the smallest numbers is rounded to multiples of the smallest that can be divided by.
    scale = torch.where(scale > 0, scale.clamp(min=torch.finfo(wide.dtype).tiny * 2.0**bits), 1.0) / 2.0**bits
    scale = scale.reshape(-1, *(1,) * (x.ndim - 1))
    total = wide / scale
    # The difference is zero; it carries the gradient, which rounding has none of.
    total = total.detach().round() + (total - total.detach()) if differentiated(x) else total.round()
    if quick:
        pool = F.avg_pool2d if len(sizes) == 2 else F.avg_pool3d
        side = [old // new for old, new in zip(olds, sizes, strict=True)]
        means = pool(total.reshape(1, -1, *olds), side)
        return (means.reshape(*x.shape[: x.ndim - len(sizes)], *sizes) * scale).to(dtype)
    count = torch.ones((), dtype=torch.float64, device=x.device)
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
