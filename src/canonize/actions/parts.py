"""One factor of a product at a time: the tree of actions that it sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from canonize._tree import Listed, Node, rebuild
from canonize.actions.fields import Chain, Edges, Factor, Fields, Numbering, Rows
from canonize.actions.linear import Scalar
from canonize.errors import refuse


def factor_of(spec: Any, position: int, count: int) -> Any:
    """The tree of actions as one factor of a product sees it: what moves with others only is `Scalar()`.

    Args:
        spec: tree of actions of elements of the product.
        position: which factor, from 0.
        count: how many there are.

    Raises:
        SymmetryError: an action of whole elements, which has no parts.
    """
    return map_spec(lambda action: _seen(action, position, count), spec)


def map_spec(function: Callable[[Any], Any], spec: Any) -> Any:
    """A tree of actions with `function` at each leaf."""
    if isinstance(spec, Node):
        return Fields({name: map_spec(function, part) for name, part in spec.parts.items()})
    if isinstance(spec, Mapping):
        return rebuild(spec, [map_spec(function, part) for part in spec.values()])
    if isinstance(spec, tuple | list):
        return rebuild(spec, [map_spec(function, part) for part in spec])
    return function(spec)


def _seen(action: Any, position: int, count: int) -> Any:
    if action is None or isinstance(action, Scalar):
        return action
    if isinstance(action, Rows):
        return replace(action, action=_seen(action.action, position, count))
    if isinstance(action, Edges):
        seen = None if action.nodes is None else _seen(action.nodes, position, count)
        return Edges(None if isinstance(seen, Scalar) else seen)
    if isinstance(action, Numbering):
        return action
    if isinstance(action, Listed):
        return replace(action, entry=map_spec(lambda one: _seen(one, position, count), action.entry))  # type: ignore[type-var]  # Each
    if isinstance(action, Factor):
        return action.action if action.position % count == position else Scalar()
    if isinstance(action, Chain):
        seen = [one for one in (_seen(one, position, count) for one in action.actions) if not isinstance(one, Scalar)]
        return Scalar() if not seen else seen[0] if len(seen) == 1 else Chain(*seen)
    raise refuse(
        "an action of whole elements of a product has no parts",
        got=repr(action),
        expected="actions of one factor each",
        fix="Factor(0, Nodes()), Factor(1, Point()), or Chain of them",
    )
