"""A device that is not there: its tensors compute on the CPU, may not be mixed with others, and count who waits for them.

What a GPU asks of code can so be tested without one: that everything is on one device, and that the host does not stop to
look at values. `open_device` tells torch of it, for the whole process, so that a process of one's own is wanted.
"""

from __future__ import annotations

import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "elsewhere"
aten = torch.ops.aten
WAITS = {
    aten._local_scalar_dense.default,
    aten._linalg_check_errors.default,
    aten._linalg_eigh.default,
    aten._linalg_svd.default,
    aten._unique2.default,
    aten.bincount.default,
    aten.equal.default,
    aten.masked_select.default,
    aten.nonzero.default,
    aten.repeat_interleave.Tensor,
    aten.unique_consecutive.default,
    aten.unique_dim.default,
}
"""Operations that bring a number or a size back, for which the host stops until the device has come so far."""
MOVES = {aten._to_copy.default, aten.copy_.default}
PICKS = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}


class Elsewhere(Tensor):
    """A tensor that holds its values in one of the CPU, and says that it is elsewhere."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> Elsewhere:
        """The tensor with these values."""
        made = Tensor._make_wrapper_subclass(
            cls, inner.shape, inner.stride(), inner.storage_offset(), dtype=inner.dtype, device=NAME
        )
        made.inner = inner
        return made

    def __repr__(self) -> str:
        """The values."""
        return f"Elsewhere({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One operation, outside of `Device`."""
        return _run(func, args, kwargs or {}, Counter())


class Device(TorchDispatchMode):
    """Within it, `device="elsewhere"` makes such tensors; `waits` counts what the host waited for, by line of code."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One operation."""
        return _run(func, args, kwargs or {}, self.waits)


def open_device() -> None:
    """Tell torch of the device."""
    _setup_privateuseone_for_python_backend(NAME)
    # `torch.tensor(numbers, device=...)` then passes through `Device` too.
    torch._C._set_only_lift_cpu_tensors(True)


def _run(func: Any, args: Any, kwargs: dict[str, Any], waits: Counter[str]) -> Any:
    parts = tree_leaves((args, kwargs))
    theirs = [part for part in parts if isinstance(part, Elsewhere)]
    target = kwargs.get("device")
    if func is aten.copy_.default:
        target = args[0].device
    lands = bool(theirs) if target is None else torch.device(target).type == NAME
    if func in MOVES:
        # Also the way there: memory that is not pinned is waited for, unless one says otherwise.
        came = args[1] if func is aten.copy_.default else args[0]
        patient = kwargs.get("non_blocking") or (func is aten.copy_.default and len(args) > 2 and args[2])
        if isinstance(came, Elsewhere) != lands and not (lands and patient):
            waits[f"{_where()} [{func}]"] += 1
    elif theirs:
        if func in WAITS or (func in PICKS and any(p is not None and p.dtype == torch.bool for p in args[1])):
            waits[f"{_where()} [{func}]"] += 1
        if any(isinstance(p, Tensor) and not isinstance(p, Elsewhere) and p.ndim > 0 for p in parts):
            raise RuntimeError(f"tensors on two devices: {func} in {_where()}")
    if target is not None and "device" in kwargs:
        kwargs = {**kwargs, "device": torch.device("cpu") if lands else target}
    result = func(*_inner(args), **_inner(kwargs))

    def back(part: Any) -> Any:
        if not isinstance(part, Tensor) or isinstance(part, Elsewhere):
            return part
        # What is changed in place stays the tensor that it was.
        return next((one for one in theirs if one.inner is part), Elsewhere(part))

    return tree_map(back, result) if lands else result


def _inner(tree: Any) -> Any:
    return tree_map(lambda part: part.inner if isinstance(part, Elsewhere) else part, tree)


def _where() -> str:
    """The innermost line of the library that led here."""
    for frame in reversed(traceback.extract_stack()):
        if "canonize" in Path(frame.filename).parts:
            return f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno} {frame.line}"
    return "outside of the library"
