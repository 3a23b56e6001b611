"""A number for the content of a tensor, equal for equal contents whatever their place in a batch."""

from __future__ import annotations

import math

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
    if x.is_floating_point() and x.element_size() < 4 and _inductor():
        found: Tensor = _uncompiled(x)
        return found
    if x.is_complex():
        x = torch.view_as_real(x)
    flat = x.reshape(x.shape[0], math.prod(x.shape[1:]))
    if flat.is_floating_point() and torch.compiler.is_exporting():
        bits = float_bits(flat)
    elif flat.is_floating_point():
        bits = (flat + 0.0).view(_INTEGERS[flat.element_size()]).long()
    else:
        bits = flat.long()
    # Round numbers have many trailing zero bits, which a product modulo 2^64 would waste: fold the high bits in.
    bits = bits ^ (bits >> 20) ^ (bits >> 41)
    place = _places(flat.shape[1], x.device)
    weights = place * -7046029254386353131
    weights = (weights ^ (weights >> 30)) * -4658895280553007687
    weights = (weights ^ (weights >> 27)) * -7723592293110705685 | 1
    products = bits * weights
    if torch.compiler.is_exporting():
        # Run times may sum whole numbers as floating-point ones: in halves, whose sums have fewer than 53 bits.
        return (products >> 32).sum(1) * 2**32 + (products & 0xFFFFFFFF).sum(1)
    return products.sum(1)


def _inductor() -> bool:
    return torch.compiler.is_compiling() and not torch.compiler.is_exporting()


@torch.library.custom_op("canonize::content_key", mutates_args=(), schema="(Tensor x) -> Tensor")
def _uncompiled(x: Tensor) -> Tensor:
    """The keys as eager code finds them: in a loop over halves inductor (torch 2.13) loses the weights."""
    return content_key(x)


@_uncompiled.register_fake  # type: ignore[untyped-decorator, unused-ignore]
def _(x: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], dtype=torch.int64)


def _places(count: int, device: torch.device) -> Tensor:
    """1, 2, ..., count, (count,) int64."""
    if not torch.compiler.is_compiling():
        return torch.arange(1, count + 1, device=device)
    # Inductor multiplies the counter of its C++ loop by what a range is multiplied by. Signed numbers that run over are
    # undefined in C++: the loop gives other keys, or never ends. A step between whole numbers stops that.
    return ~torch.arange(-2, -2 - count, -1, device=device)


def float_bits(x: Tensor) -> Tensor:
    """The bits of finite floating-point numbers as int64, by arithmetic alone, for run times that cannot read them.

    Those of -0.0 are given as those of 0.0; what is not finite gives some number.

    Args:
        x: any shape, floating point.
    """
    told = torch.finfo(x.dtype)
    digits = -round(math.log2(told.eps))
    least = round(math.log2(told.tiny))
    size = x.double().abs()
    exponent = size.log2().floor().clamp(min=least)
    # The logarithm is rounded: one step down or up where that has crossed a power of two.
    exponent = torch.where(torch.exp2(exponent) > size, exponent - 1, exponent).clamp(min=least)
    exponent = torch.where(torch.exp2(exponent) * 2 <= size, exponent + 1, exponent)
    lower = (size * torch.exp2(-exponent) * 2.0**digits).long() + (exponent - least).long() * 2**digits
    return torch.where(x < 0, lower - 2 ** (8 * x.element_size() - 1), lower)
