"""Bytes that stand for a value, and their 128-bit digest."""

from __future__ import annotations

import ctypes
import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from canonize._tree import describe
from canonize.errors import refuse

VERSION = b"canonize form 1"
"""Goes into each digest; it changes whenever the digests of equal inputs do."""
WHOLE = (torch.uint8, torch.int16, torch.int32, torch.int64)


def digest(kind: str, parts: Iterable[bytes]) -> str:
    """32 hexadecimal digits: 128 bits of BLAKE2b (RFC 7693) of the parts, each with its length in front."""
    made = hashlib.blake2b(VERSION, digest_size=16)
    for part in (kind.encode(), *parts):
        made.update(len(part).to_bytes(8, "little"))
        made.update(part)
    return made.hexdigest()


def code(value: Any, tolerance: float | None = None) -> bytes:
    """The bytes of a feature; equal if and only if the values are equal, and in an order that does not depend on the run.

    Whole numbers of any dtype are one kind, floats of any dtype another: 1 and 1.0 differ, `float32(0.5)` and
    `float64(0.5)` do not, nor do 0.0 and -0.0.

    Args:
        value: None, a number, a string, bytes, a tensor, an array, or a tuple, list or dict of these.
        tolerance: floats are first rounded to whole multiples of it; None takes them exactly.

    Raises:
        SymmetryError: not-a-number, which equals nothing; infinity where it would be rounded; any other kind of value.
    """
    if value is None:
        return b"n"
    if isinstance(value, bool | int):
        return _framed(b"i", str(int(value)).encode())
    if isinstance(value, float):
        return _float(value, tolerance)
    if isinstance(value, complex):
        return code((value.real, value.imag), tolerance)
    if isinstance(value, str):
        return _framed(b"s", value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bytes):
        return _framed(b"b", value)
    if isinstance(value, Mapping):
        pairs = sorted(code(key) + code(inner, tolerance) for key, inner in value.items())
        return _framed(b"d", b"".join(pairs))
    if isinstance(value, tuple | list):
        return _framed(b"t", b"".join([code(inner, tolerance) for inner in value]))
    if hasattr(value, "tolist"):
        # Tensors, arrays and their scalars; a number of axes is told by the nesting, an empty axis is not.
        shape = tuple(getattr(value, "shape", ()))
        inner = code(value.tolist(), tolerance)
        return inner if 0 not in shape else _framed(b"e", code(list(shape)) + inner)
    raise refuse(
        "a feature of this kind has no canonical form",
        got=describe(value),
        expected="numbers, strings, tensors, or tuples, lists and dicts of them",
        fix="leave it out, or put a number or a string in its place",
    )


def bulk(x: Tensor) -> bytes:
    """The bytes of a large tensor that `least` has made: equal if and only if shape, kind and values are."""
    return b"|".join((str(x.dtype).encode(), str(tuple(x.shape)).encode(), raw(x)))


def least(x: Tensor) -> Tensor:
    """The same numbers on the CPU in the smallest dtype of their kind (whole, float, complex) that holds all exactly.

    So a dtype does not count. 0.0 stands for -0.0.

    Raises:
        SymmetryError: not-a-number.
    """
    x = x.detach().cpu()
    if x.is_complex():
        parts = torch.view_as_real(x.resolve_conj())
        return torch.view_as_complex(_least_float(parts.contiguous(), x))
    if x.is_floating_point():
        return _least_float(x, x)
    if not x.numel() or x.dtype in (torch.bool, torch.uint8):
        return x.to(torch.uint8)
    x = _signed(x)
    low, high = int(x.min()), int(x.max())
    return x.to(next(t for t in WHOLE if torch.iinfo(t).min <= low and high <= torch.iinfo(t).max))


def _least_float(x: Tensor, whole: Tensor) -> Tensor:
    # Adding zero makes -0.0 a 0.0.
    flat = x.double() + 0.0
    if bool(flat.isnan().any()):
        raise _nan(describe(whole))
    narrow = flat.float()
    return narrow if bool((narrow.double() == flat).all()) else flat


def raw(x: Tensor) -> bytes:
    """The entries of a tensor on the CPU as they lie in memory."""
    flat = x.contiguous()
    # Neither numpy, which is no dependency, nor torch's storage, which takes microseconds for each byte.
    return ctypes.string_at(flat.data_ptr(), flat.numel() * flat.element_size()) if flat.numel() else b""


def _signed(x: Tensor) -> Tensor:
    if x.dtype == torch.uint64:
        # torch cannot compare these; the top half of the range is kept apart by its own rule.
        signed = x.view(torch.int64)
        if bool((signed < 0).any()):
            raise refuse(
                "whole numbers beyond 2^63 have no canonical form",
                got=describe(x),
                expected="numbers that int64 holds",
                fix="x.to(torch.float64), or two columns",
            )
        return signed
    return x.to(torch.int64)


def _float(value: float, tolerance: float | None) -> bytes:
    if math.isnan(value):
        raise _nan(repr(value))
    if tolerance is None:
        return _framed(b"f", (value + 0.0).hex().encode())
    if math.isinf(value / tolerance):
        raise refuse(
            "a number is too large to be rounded to multiples of the tolerance",
            got=f"{value!r}, tolerance {tolerance!r}",
            expected="finite numbers where there is a tolerance",
            fix="tolerance=None takes numbers exactly",
        )
    return _framed(b"q", f"{round(value / tolerance)}*{tolerance.hex()}".encode())


def _framed(tag: bytes, content: bytes) -> bytes:
    return tag + str(len(content)).encode() + b":" + content


def _nan(got: str) -> Exception:
    return refuse(
        "not-a-number has no canonical form",
        got=got,
        expected="numbers: NaN is not even equal to itself",
        fix="drop the sample, or put a number in its place",
    )
