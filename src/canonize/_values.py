"""Whether the values of tensors may be looked at: not while a program is made of the calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from canonize.errors import refuse


def unseen(*values: Tensor) -> bool:
    """Whether no branch may depend on a value; elsewhere a look may save work, or refuse what is wrong.

    True inside of `torch.compile`, `torch.export` and `torch.func.vmap`, where one way has to be right for all values; and
    where the values one would look at lie outside of the host's memory: the host would have to wait for the device.
    """
    if torch.compiler.is_compiling() or any(value.device.type != "cpu" for value in values):
        return True
    return mapped() and (not values or any(map(_is_mapped, values)))


def constant(numbers: Any, *, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """These numbers on a device, without a wait for what the device is doing: `torch.tensor` with a device waits."""
    return sent(torch.tensor(numbers, dtype=dtype), device)


def sent(value: Tensor, device: torch.device | str, dtype: torch.dtype | None = None) -> Tensor:
    """`value.to(device, dtype)`, without a wait on the way to a device; on the way back numbers have to arrive first.

    To Apple's devices it waits as well: torch before 2.13 reads what is sent there after its memory is freed.
    """
    hurried = value.device.type == "cpu" and torch.device(device).type != "mps"
    return value.to(device=device, dtype=dtype or value.dtype, non_blocking=hurried)


def mapped() -> bool:
    """True inside of `torch.func.vmap`."""
    if torch._C._functorch.maybe_current_level() is None:
        return False
    # Under `grad` and its kin values may be looked at.
    levels = torch._C._functorch.get_interpreter_stack() or []
    return any(level.key() == torch._C._functorch.TransformType.Vmap for level in levels)


def check_not_mapped(where: str, values: Iterable[Tensor]) -> None:
    """Refuse values that `torch.func.vmap` maps over, for what has another number of poses for each sample.

    What is called inside of it for the sake of other things passes: of tangents in `torch.func.jacfwd`, of parameters.

    Raises:
        SymmetryError: one of them is mapped over.
    """
    if not torch.compiler.is_compiling() and mapped() and any(map(_is_mapped, values)):
        raise refuse(
            f"{where} gives each sample as many poses as it needs, and vmap cannot",
            got="inputs that torch.func.vmap maps over",
            expected="a call with the batch in front, which every frame takes",
            fix="flatten the mapped axis into the batch; or PCA(fallback=None), whose margin tells where axes are lost",
        )


def differentiated(value: Tensor) -> bool:
    """Whether a derivative may be asked for: backward, forward as `torch.func.jvp` does, or outside of `torch.func.vmap`."""
    if value.requires_grad or torch.compiler.is_compiling():
        return value.requires_grad
    return torch.autograd.forward_ad._current_level >= 0 or any(part.requires_grad for part in _within(value))


def _is_mapped(value: Tensor) -> bool:
    """Whether a tensor stands for many."""
    return any(map(torch._C._functorch.is_batchedtensor, _within(value)))


def _within(value: Tensor) -> Iterator[Tensor]:
    """A tensor, and what is inside of all that `torch.func` has wrapped around it, layer by layer."""
    functorch = torch._C._functorch
    yield value
    while functorch.is_functorch_wrapped_tensor(value):
        value = functorch.get_unwrapped(value)
        yield value
