"""Copies for models that change what they are given, so that nobody else is harmed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from canonize._tree import Listed, Node, fields_of, map_tensors, rebuild, replace, tensors


def own_unnamed(spec: Any, value: Any) -> Any:
    """The value with copies of the tensors that its `Node`s leave out, so that who changes them changes no one else's."""
    if isinstance(spec, Node):
        parts = {}
        for name, part in fields_of(value):
            inner = spec.parts.get(name)
            new = own_unnamed(inner, part) if name in spec.parts else map_tensors(torch.clone, part)
            if new is not part:
                parts[name] = new
        return replace(value, parts) if parts else value
    if isinstance(spec, Listed):
        return rebuild(value, [own_unnamed(spec.entry, one) for one in value])
    if isinstance(spec, Mapping):
        return rebuild(value, [own_unnamed(spec[key], value[key]) for key in value])
    if isinstance(spec, tuple | list):
        return rebuild(value, [own_unnamed(part, value[position]) for position, part in enumerate(spec)])
    return value


def own(shown: Any, given: Any) -> Any:
    """`shown` with copies of the tensors that are still the caller's, so that a model which changes its input harms nobody."""
    theirs = {_memory(leaf) for leaf in tensors(given)} | {None}
    return map_tensors(lambda leaf: leaf.clone() if _memory(leaf) in theirs else leaf, shown)


def _memory(leaf: Tensor) -> int | None:
    """What tells tensors that share memory: an action may return a view of its input. None where nobody can tell."""
    if (
        torch.compiler.is_compiling()
        or torch._C._functorch.is_functorch_wrapped_tensor(leaf)
        or leaf.layout != torch.strided
    ):
        return id(leaf)
    try:
        return leaf.untyped_storage().data_ptr()
    except RuntimeError:
        # A tensor that wraps others, of a library's own kind, has no memory to point at.
        return None
