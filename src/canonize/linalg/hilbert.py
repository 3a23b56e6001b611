"""Places along a Hilbert curve."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor


def hilbert_index(cells: Int[Tensor, "*batch d"], bits: int) -> Int[Tensor, "*batch"]:
    """The place of each cell along a Hilbert curve through a grid of 2^bits cells a side, (*batch,), int64, from 0.

    Cells that follow each other on the curve share a face. The curve of a finer grid refines that of a coarser one: the
    place of `cells // 2` on the grid with one bit less is the place of `cells` without its last d bits.

    Args:
        cells: (*batch, d), int64, from 0 to 2^bits - 1, d >= 1.
        bits: at least 1; d * bits is at most 62.

    Source: Skilling, AIP Conf. Proc. 707 (2004) 381, doi 10.1063/1.1751381.
    """
    axes = list(cells.unbind(-1))
    d = len(axes)
    assert d >= 1
    assert bits >= 1
    assert d * bits <= 62
    for level in range(bits - 1, 0, -1):
        below = (1 << level) - 1
        for i in range(d):
            upper = -(axes[i] >> level & 1) & below
            # In the upper half the finer bits of the first axis are turned over; in the lower half they change places.
            change = (axes[0] ^ axes[i]) & (upper ^ below)
            axes[i] = axes[i] ^ change
            axes[0] = axes[0] ^ (change | upper)
    for i in range(1, d):
        axes[i] = axes[i] ^ axes[i - 1]
    # What is left of the Gray code: bits below an odd number of set bits of the last axis are turned over.
    parity = axes[-1] >> 1
    shift = 1
    while shift < bits:
        parity = parity ^ parity >> shift
        shift *= 2
    place = cells.new_zeros(cells.shape[:-1])
    levels = torch.arange(bits, device=cells.device)
    for i, axis in enumerate(axes):
        place = place + (((axis ^ parity)[..., None] >> levels & 1) << levels * d + (d - 1 - i)).sum(-1)
    return place
