"""Tensors as pictures: PNG files inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.image import imsave
from torch import Tensor

LARGEST = 160
"""Pixels: a longer side is scaled down, because a page of many photographs would grow to hundreds of megabytes."""

LOST = (1.0, 0.0, 1.0)
"""The colour of pixels that are NaN or infinite."""


def scale(pictures: Sequence[Tensor]) -> tuple[float, float]:
    """The values drawn as black and as white, the same for all pictures that stand beside each other.

    0 and 1 where everything lies between them, 0 and 255 for bytes, else the smallest and the largest finite value.

    Args:
        pictures: each (channels, height, width), any dtype.
    """
    finite = [flat[flat.isfinite()] for flat in (part.detach().double().flatten() for part in pictures)]
    values = torch.cat(finite) if finite else torch.zeros(0, dtype=torch.float64)
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    # Resampling overshoots by rounding, and that is no other scale.
    if low >= -1e-5 and high <= 1 + 1e-5:
        return 0.0, 1.0
    if all(not part.dtype.is_floating_point for part in pictures) and low >= 0 and high <= 255:
        return 0.0, 255.0
    return low, high if high > low else low + 1


def png(picture: Tensor, low: float, high: float) -> str | None:
    """A `data:` address of the picture as PNG; None for a picture without pixels.

    Args:
        picture: (channels, height, width). One channel is drawn grey, two as orange and blue, three as red, green and
            blue; of more the first three.
        low, high: the values drawn as black and as white.
    """
    if picture.ndim != 3 or not picture.numel():
        return None
    values = (picture.detach().cpu().double() - low) / (high - low)
    height, width = values.shape[1:]
    if max(height, width) > LARGEST:
        factor = LARGEST / max(height, width)
        values = F.adaptive_avg_pool2d(values, (max(1, round(height * factor)), max(1, round(width * factor))))
    if len(values) == 1:
        colors = values.expand(3, -1, -1)
    elif len(values) == 2:
        colors = torch.stack([values[0], values.mean(0), values[1]])
    else:
        colors = values[:3]
    lost = ~colors.isfinite().all(0)
    colors = torch.where(lost, torch.tensor(LOST, dtype=torch.float64)[:, None, None], colors.clamp(0, 1))
    pixels = (255 * colors).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    stream = io.BytesIO()
    # Without the name of the software, which matplotlib's own annotation does not know can be left out.
    nameless: Any = {"Software": None}
    imsave(stream, pixels, format="png", origin="upper", metadata=nameless)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def channels(picture: Tensor) -> str | None:
    """How the channels are drawn, where that is not plain to see."""
    count = picture.shape[-3]
    if count == 2:
        return "Two channels are drawn as orange and blue."
    return f"Of {count} channels the first three are drawn as red, green and blue." if count > 3 else None


def difference(first: Tensor, second: Tensor, low: float, high: float) -> str | None:
    """How far two pictures are apart, in words; None where they cannot be compared."""
    if first.shape != second.shape or not first.numel():
        return None
    largest = float((first.detach().double() - second.detach().double()).abs().max()) / (high - low)
    if largest == 0:
        return "identical, bit for bit"
    if largest < 1e-5:
        return "identical up to rounding"
    return f"pixels differ by up to {100 * largest:.2g} %" if largest < float("inf") else "some pixels are not finite"
