"""What networks ask of their inputs alike."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from canonize._tree import describe
from canonize.errors import refuse

_HALF = (torch.float16, torch.bfloat16, torch.float32)


def same_dtype(where: str, what: str, value: Tensor, weight: Tensor, *, hint: str = "") -> None:
    """Refuse values in another dtype than the weights, unless `torch.autocast` is on and casts them.

    Args:
        where: the network, for messages.
        what: the values, for messages: "the points".
        value: what came.
        weight: a parameter.
        hint: what is to be said of the cast besides.

    Raises:
        SymmetryError: another dtype.
    """
    automatic = torch.is_autocast_enabled(value.device.type) and value.dtype in _HALF and weight.dtype in _HALF
    if value.dtype != weight.dtype and not automatic:
        known = str(weight.dtype).removeprefix("torch.")
        raise refuse(
            f"{where}: {what} and the weights differ in dtype",
            got=describe(value),
            expected=f"{what.removeprefix('the ')} in {known}, as the weights are",
            fix=f"pass {what.removeprefix('the ')}.to(torch.{known}){hint}, or convert the network",
        )


def part(where: str, name: str, value: Any, shape: tuple[int, ...], points: Tensor, *, count: int) -> Tensor:
    """Features or fields as they came, in the dtype of the points; none of them where none were announced.

    Args:
        where: the network, for messages.
        name: the argument, which is also that of the network's own setting.
        value: what came.
        shape: what it should have.
        points: what it belongs to.
        count: how many were announced.

    Raises:
        SymmetryError: another shape or device, or nothing where something was announced.
    """
    if value is None and count == 0:
        return points.new_zeros(shape)
    if not isinstance(value, Tensor) or value.shape != shape or value.device != points.device:
        raise refuse(
            f"{where}: the {name.replace('_', ' ')} do not fit the points",
            got=describe(value),
            expected=f"a tensor {shape} on {points.device}: this network was made with {name}={count}",
            fix=f"pass {name}= of that shape, or make the network with another {name}=",
        )
    return value.to(points.dtype)
