"""Trees of values and the trees of actions that mirror them: the only tree code of the library.

A value is a tensor, a plain object, or a container of values: tuple, named tuple, list, dict, dataclass instance, a graph
of PyG. A tree of actions mirrors it: the same containers with an action (or `None`) at each leaf, or a `Node`, which names
parts of a dict, of a dataclass or of any object with attributes, and leaves the rest of it alone.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from canonize.errors import SymmetryError, refuse


class Node:
    """A node of a tree of actions with named parts; everything not named is left alone."""

    parts: Mapping[str, Any]


class Listed:
    """A leaf of a tree of actions whose value is a list with one entry for each sample; `entry` mirrors one of them."""

    entry: Any


def describe(value: Any) -> str:
    """One short line on what `value` is, for error messages."""
    if isinstance(value, Tensor):
        return f"tensor of shape {tuple(value.shape)}, {str(value.dtype).removeprefix('torch.')} on {value.device}"
    if isinstance(value, Mapping):
        return f"{type(value).__name__} with keys {sorted(map(str, value))}"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, int | float | str | bool) or value is None:
        return repr(value)
    if is_graph(value):
        return f"{type(value).__name__} of PyG with fields {sorted(value.keys())}"
    return f"object of type {type(value).__name__}"


def children(value: Any) -> list[tuple[str, Any]] | None:
    """The named children of a container, or None where `value` is a leaf."""
    if isinstance(value, Mapping):
        return [(str(key), child) for key, child in value.items()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, tuple | list):
        return [(str(position), child) for position, child in enumerate(value)]
    if is_graph(value):
        return [(name, value[name]) for name in sorted(value.keys())]
    return None


def rebuild(value: Any, new: list[Any]) -> Any:
    """A container like `value` with other children, given in the order of `children`; `value` itself is not changed."""
    if isinstance(value, Mapping):
        # First, as in `children`: a mapping that is a dataclass too may hold fewer keys than it has fields.
        return replace(value, dict(zip(value, new, strict=True)))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return replace(value, dict(zip(names, new, strict=True)))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*new)
    if is_graph(value):
        return replace(value, dict(zip(sorted(value.keys()), new, strict=True)))
    return type(value)(new)


def map_leaves(function: Callable[[Any], Any], value: Any) -> Any:
    """`function` at each leaf of a value."""
    inner = children(value)
    if inner is None:
        return function(value)
    return rebuild(value, [map_leaves(function, child) for _, child in inner])


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """`function` at each tensor of a value; everything else is left alone."""
    return map_leaves(lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, value)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each leaf of a value with its path, such as `.pos` or `[0]`."""
    inner = children(value)
    if inner is None:
        yield path, value
        return
    for key, child in inner:
        yield from leaves(child, f"{path}[{key}]" if isinstance(value, tuple | list) else f"{path}.{key}")


def tensors(value: Any) -> list[Tensor]:
    """The tensors of a value, in order."""
    return [leaf for _, leaf in leaves(value) if isinstance(leaf, Tensor)]


def get(value: Any, name: str, path: str) -> Any:
    """The part `name` of a dict or of an object with attributes.

    Raises:
        SymmetryError: if there is no such part.
    """
    if isinstance(value, Mapping):
        if name in value:
            return value[name]
        known = sorted(map(str, value))
    elif is_graph(value):
        # An attribute of a graph may be None because it has no such field.
        if name in value:
            return value[name]
        known = []
    else:
        if hasattr(value, name):
            return getattr(value, name)
        known = sorted(vars(value)) if hasattr(value, "__dict__") else []
    lone = is_graph(value) and name in ("batch", "ptr")
    raise refuse(
        f"a field named {name!r} is declared, but the value{path and ' at ' + path} does not have it",
        got=f"{describe(value)}{f', which has {known}' if known else ''}",
        expected=f"a value with the field {name!r}",
        fix="Batch.from_data_list([graph]) makes a batch of one"
        if lone
        else f"correct the name in Fields({name}=...), or leave it out",
    )


def replace(value: Any, new: Mapping[str, Any]) -> Any:
    """A shallow copy of a dict, a dataclass or an object with attributes, in which the parts in `new` are other values."""
    if isinstance(value, Mapping) and not dataclasses.is_dataclass(value):
        return _like_mapping(value, {**value, **new})
    if isinstance(value, tuple) and hasattr(value, "_replace"):
        return value._replace(**new)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        settable = {field.name for field in dataclasses.fields(value) if field.init}
        if settable >= set(new):
            return dataclasses.replace(value, **new)
    other = copy.copy(value)
    for name, part in new.items():
        # A frozen dataclass refuses setattr; the copy is ours alone, so it is filled before anyone else sees it.
        object.__setattr__(other, name, part) if dataclasses.is_dataclass(other) else setattr(other, name, part)
    if is_graph(value):
        _forget_graphs(value, other, new)
    return other


def _forget_graphs(value: Any, other: Any, new: Mapping[str, Any]) -> None:
    """Drop from the copy what a batch of PyG remembers of its graphs, where these are others now.

    Where each graph begins is told by whole numbers (`ptr`, `batch`, `edge_index`): as long as these are the same, so is
    that memory. Without it PyG counts graphs and nodes anew.
    """
    for name, part in new.items():
        old = getattr(value, name, None)
        if part is old or not isinstance(part, Tensor) or not isinstance(old, Tensor) or old.is_floating_point():
            continue
        if part.shape != old.shape or not torch.equal(part, old):
            break
    else:
        return
    for name in ("_num_graphs", "_slice_dict", "_inc_dict", "_num_nodes"):
        vars(other._store).pop(name, None)
    if "num_nodes" in value and "num_nodes" not in new:
        del other.num_nodes


def _like_mapping(value: Mapping[Any, Any], new: dict[Any, Any]) -> Any:
    """A mapping of the type of `value` where that type takes a dict, a plain dict otherwise."""
    if type(value) is dict:
        return new
    other = copy.copy(value)
    if hasattr(other, "update"):
        other.update(new)
        return other
    return new


def walk(function: Callable[..., Any], spec: Any, *values: Any, path: str = "") -> Any:
    """Apply `function(leaf_of_spec, *leaves_of_values, path)` where a tree of actions ends, and rebuild the first value.

    Args:
        function: gets the leaf of `spec` (an action or None), the matching part of each value, and the path by keyword.
        spec: tree of actions.
        values: values that `spec` mirrors; the result has the containers of the first.
        path: where in the whole value this is, for messages.

    Raises:
        SymmetryError: where a value does not have the structure that the tree of actions declares; it names the place.
    """
    first = values[0]
    if isinstance(spec, Node):
        parts = {
            name: walk(function, inner, *(get(value, name, path) for value in values), path=f"{path}.{name}")
            for name, inner in spec.parts.items()
        }
        return replace(first, parts)
    if isinstance(spec, Mapping):
        if not isinstance(first, Mapping):
            raise _mismatch(spec, first, path)
        _same_keys(spec, first, path)
        inner = [walk(function, spec[key], *(value[key] for value in values), path=f"{path}.{key}") for key in first]
        return rebuild(first, inner)
    if isinstance(spec, tuple | list):
        if not isinstance(first, tuple | list) or len(first) != len(spec):
            raise _mismatch(spec, first, path)
        inner = [
            walk(function, part, *(value[position] for value in values), path=f"{path}[{position}]")
            for position, part in enumerate(spec)
        ]
        return rebuild(first, inner)
    return function(spec, *values, path=path)


def matched(spec: Any, value: Any, path: str = "") -> Iterator[tuple[Any, Any, str]]:
    """The leaves of a tree of actions with the parts of a value that they stand for and their paths; rebuilds nothing.

    Raises:
        SymmetryError: as `walk` does.
    """
    if isinstance(spec, Node):
        for name, inner in spec.parts.items():
            yield from matched(inner, get(value, name, path), f"{path}.{name}")
    elif isinstance(spec, Mapping):
        if not isinstance(value, Mapping):
            raise _mismatch(spec, value, path)
        _same_keys(spec, value, path)
        for key in value:
            yield from matched(spec[key], value[key], f"{path}.{key}")
    elif isinstance(spec, tuple | list):
        if not isinstance(value, tuple | list) or len(value) != len(spec):
            raise _mismatch(spec, value, path)
        for position, part in enumerate(spec):
            yield from matched(part, value[position], f"{path}[{position}]")
    else:
        yield spec, value, path


def unnamed(spec: Any, value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors that the `Node`s of a tree of actions leave out, each with its path."""
    if isinstance(spec, Node):
        for name, part in fields_of(value):
            if name in spec.parts:
                yield from unnamed(spec.parts[name], part, f"{path}.{name}")
            else:
                for inner, leaf in leaves(part, f"{path}.{name}"):
                    if isinstance(leaf, Tensor):
                        yield inner, leaf
    elif isinstance(spec, Mapping):
        for key, part in spec.items():
            yield from unnamed(part, value[key], f"{path}.{key}")
    elif isinstance(spec, tuple | list):
        for position, part in enumerate(spec):
            yield from unnamed(part, value[position], f"{path}[{position}]")


def fields_of(value: Any) -> list[tuple[str, Any]]:
    """The named parts of a dict, a dataclass or an object with attributes; of one that lists its keys, those."""
    inner = children(value)
    if inner is not None:
        return inner
    names = value.keys() if callable(getattr(value, "keys", None)) else getattr(value, "__dict__", {})
    return [(name, getattr(value, name)) for name in list(names) if isinstance(name, str)]


def spec_leaves(spec: Any) -> list[Any]:
    """The actions (and Nones) at the leaves of a tree of actions, in order."""
    if isinstance(spec, Node):
        return [leaf for part in spec.parts.values() for leaf in spec_leaves(part)]
    if isinstance(spec, Mapping):
        return [leaf for part in spec.values() for leaf in spec_leaves(part)]
    if isinstance(spec, tuple | list):
        return [leaf for part in spec for leaf in spec_leaves(part)]
    return [spec]


def to_tensors(value: Any) -> tuple[Any, bool]:
    """The value with NumPy arrays as tensors (sharing memory where possible), and whether it held any array.

    Raises:
        SymmetryError: an array of objects or strings.
    """
    found = False

    def convert(leaf: Any) -> Any:
        nonlocal found
        if is_array(leaf):
            found = True
            # Torch shares memory with writeable arrays of native byte order and forward strides only.
            if leaf.dtype.kind not in "biufc":
                raise refuse(
                    "an array that is not of numbers",
                    got=f"NumPy array of dtype {leaf.dtype}",
                    expected="real, whole, complex or boolean numbers",
                    fix="array.astype('float32')",
                )
            if not leaf.dtype.isnative:
                leaf = leaf.astype(leaf.dtype.newbyteorder("="))
            shared = leaf.flags.writeable and all(stride >= 0 for stride in leaf.strides)
            return torch.from_numpy(leaf if shared else leaf.copy())
        return leaf

    return map_leaves(convert, value), found


def to_arrays(value: Any) -> Any:
    """The value with tensors as NumPy arrays (on the CPU, without gradient)."""
    return map_leaves(lambda leaf: leaf.detach().cpu().numpy() if isinstance(leaf, Tensor) else leaf, value)


def is_array(leaf: Any) -> bool:
    """Whether a leaf is a NumPy array; does not import NumPy."""
    return any(kind.__module__ == "numpy" and kind.__name__ == "ndarray" for kind in type(leaf).__mro__)


def is_graph(value: Any) -> bool:
    """Whether a value is a `Data` or a `Batch` of PyG; does not import it."""
    return any(
        kind.__name__ == "Data" and kind.__module__ == "torch_geometric.data.data" for kind in type(value).__mro__
    )


def _same_keys(spec: Mapping[Any, Any], value: Mapping[Any, Any], path: str) -> None:
    forgotten, absent = sorted(map(str, value.keys() - spec.keys())), sorted(map(str, spec.keys() - value.keys()))
    if forgotten:
        raise refuse(
            f"an input that is not declared{path and ' at ' + path}: {', '.join(forgotten)}",
            got=f"keys {sorted(map(str, value))}",
            expected=f"keys {sorted(map(str, spec))}, as declared",
            fix=f"declare how {forgotten[0]!r} moves, for example {{{forgotten[0]!r}: Scalar()}}; "
            "None leaves a value alone; Fields(...) ignores all that it does not name",
        )
    if absent:
        raise refuse(
            f"a declared part is missing{path and ' at ' + path}: {', '.join(absent)}",
            got=f"keys {sorted(map(str, value))}",
            expected=f"keys {sorted(map(str, spec))}, as declared",
            fix="pass it, or take it out of the declaration",
        )


def _mismatch(spec: Any, value: Any, path: str) -> SymmetryError:
    size = f" of {len(spec)}" if isinstance(spec, tuple | list) else f" with keys {sorted(map(str, spec))}"
    return refuse(
        f"a value does not have the structure that was declared{path and ' at ' + path}",
        got=describe(value),
        expected=f"a {type(spec).__name__}{size}, as in the declaration {spec!r}",
        fix="make the tree of actions mirror the value: one action for each tensor, None for what stands still",
    )


def brief(value: Any) -> str:
    """A dataclass as one would write it: fields without a default by position, the others by name where they differ."""
    words = []
    for field in dataclasses.fields(value):
        part = getattr(value, field.name)
        if field.default is dataclasses.MISSING:
            words.append(repr(part))
        elif part != field.default:
            words.append(f"{field.name}={part!r}")
    return f"{type(value).__name__}({', '.join(words)})"
