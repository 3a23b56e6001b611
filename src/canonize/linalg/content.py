"""A number for the content of a tensor, equal for equal contents whatever their place in a batch."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def content_key(x: Tensor) -> Int[Tensor, " batch"]:
    """A 64-bit hash of each sample's entries, in whole-number arithmetic, so that no rounding enters.

    Equal contents have equal keys (0.0 and -0.0 count as equal); different ones differ up to hash collisions. Not a
    cryptographic hash.

    Args:
        x: (batch, ...), any dtype.

    Returns:
        (batch,), int64.
    """
    if x.is_complex():
        x = torch.view_as_real(x)
    flat = x.reshape(x.shape[0], x.shape[1:].numel())
    if flat.is_floating_point():
        bits = (flat + 0.0).view(_INTEGERS[flat.element_size()]).long()
    else:
        bits = flat.long()
    # Round numbers have many trailing zero bits, which a product modulo 2^64 would waste: fold the high bits in.
    bits = bits ^ (bits >> 20) ^ (bits >> 41)
    place = torch.arange(1, flat.shape[1] + 1, device=x.device)
    weights = place * -7046029254386353131
    weights = (weights ^ (weights >> 30)) * -4658895280553007687
    weights = (weights ^ (weights >> 27)) * -7723592293110705685 | 1
    return (bits * weights).sum(1)
