"""Claims and learned frames as plain JSON and back: classes from a list, options within bounds, nothing run or imported."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from canonize import actions, groups
from canonize._tree import describe
from canonize.errors import SymmetryError, refuse
from canonize.frames import Weighted
from canonize.integrations._kinds import KINDS, LATER, Option
from canonize.symmetry import Keywords

DEEPEST = 16  # containers within containers
MOST = 4096  # entries of a container


# Their parts stand in a list or under names.
_LISTS: dict[str, Any] = {"tuple": tuple, "Product": groups.Product, "Chain": actions.Chain}
_NAMED: dict[str, Any] = {"dict": dict, "Keywords": Keywords, "Fields": actions.Fields}
_LARGEST_ORDER = 64  # of the group of a GroupCNN: its table grows with the third power


def encode(value: Any, path: str) -> Any:
    """A group, action, tree of actions, frame or network as plain JSON.

    Raises:
        SymmetryError: something of a class that is not on the list, or with an option out of its bounds.
    """
    kind = KINDS.get(type(value).__name__)
    if value is None:
        return None
    if kind is not None and type(value) is kind.make:
        told = {}
        for name, part in kind.of(value).items():
            wanted = kind.options[name]
            if isinstance(wanted, Option) and not wanted.fits(part):
                raise _unsaved(f"{path}.{name}", repr(part), wanted.told)
            told[name] = encode(part, f"{path}.{name}") if isinstance(wanted, str) else _plain(part)
        return {"class": kind.make.__name__, **told}
    for name, make in _LISTS.items():
        if type(value) is make:
            items = getattr(value, {"Product": "factors", "Chain": "actions"}.get(name, ""), value)
            return {"class": name, "items": [encode(part, f"{path}[{place}]") for place, part in enumerate(items)]}
    for name, make in _NAMED.items():
        if type(value) is make:
            inner = value.parts if name == "Fields" else value
            if all(isinstance(key, str) for key in inner):
                return {"class": name, "items": {key: encode(part, f"{path}.{key}") for key, part in inner.items()}}
    if type(value) is list:
        return [encode(part, f"{path}[{place}]") for place, part in enumerate(value)]
    raise _unsaved(path, describe(value), ", ".join(KINDS))


def decode(told: Any, family: str, path: str, depth: int = 0) -> Any:
    """What plain JSON describes; networks as a `Plan`, so that nothing large is made before its size is known.

    Raises:
        SymmetryError: an unknown class, other options than its own, or one out of its bounds.
    """
    if depth > DEEPEST:
        raise bad(path, "more containers within containers", f"at most {DEEPEST}")
    if family in ("action", "fallback") and told is None:
        return None
    if family == "fallback":
        options, make = decode(told, "frame", path, depth)
        if make is not Weighted:
            raise bad(path, f"class {make.__name__}", "Weighted, or null")
        return _made(path, make, **options)
    if family == "action" and isinstance(told, list):
        return _parts(told, list, family, path, depth)
    if not isinstance(told, dict) or not isinstance(told.get("class"), str):
        raise bad(path, brief(told), 'an object with a "class"')
    name = told["class"]
    containers = {"group": ("Product",), "action": ("tuple", "Chain", *_NAMED)}.get(family, ())
    if name in containers:
        if set(told) != {"class", "items"} or not isinstance(told["items"], list if name in _LISTS else dict):
            raise bad(path, brief(told), f'"class" and "items", as {name} has')
        items: Any = told["items"]
        if name in _NAMED:
            parts = _parts(list(items.values()), list, family, path, depth)
            return _made(path, _NAMED[name], dict(zip(items, parts, strict=True)))
        return _parts(items, _LISTS[name], family, path, depth)
    kind = KINDS.get(name)
    if kind is None or kind.family != family:
        known = [known for known, one in KINDS.items() if one.family == family] + list(containers)
        raise bad(path, f"class {brief(name)}", ", ".join(known))
    # A file from before an option existed means its default.
    told = LATER.get(name, {}) | told
    if set(told) - {"class"} != set(kind.options):
        raise bad(path, f"{name} with {brief(sorted(set(told) - {'class'}))}", f"the options {sorted(kind.options)}")
    options = {}
    for option, wanted in kind.options.items():
        part = told[option]
        if isinstance(wanted, str):
            options[option] = decode(part, wanted, f"{path}.{option}", depth + 1)
        elif not wanted.fits(part):
            raise bad(f"{path}.{option}", brief(part), wanted.told)
        else:
            options[option] = tuple(part) if isinstance(part, list) else part
    if family == "network":
        return plan(kind.make, options, path, kind.width)
    if family == "frame":
        return options, kind.make
    return _made(path, kind.make, **options)


@dataclass(frozen=True)
class Plan:
    """A network that is not made yet.

    Attributes:
        make: makes it.
        shapes: of its parameters, by name.
    """

    make: Callable[[], nn.Module]
    shapes: dict[str, tuple[int, ...]]


def plan(make: Any, options: dict[str, Any], path: str, wide: str = "width") -> Plan:
    """A network with the shapes that its parameters will have, from two narrow ones: all sizes are linear in `wide`.

    Raises:
        SymmetryError: options that do not go together.
    """
    import torch

    group = options.get("group")
    if group is not None and (groups.order(group) or math.inf) > _LARGEST_ORDER:
        raise bad(f"{path}.group", repr(group), f"a finite group of at most {_LARGEST_ORDER} elements")

    def made(width: int) -> nn.Module:
        # The weights come from the file: nothing is drawn from the global generator.
        network: nn.Module = _made(path, make, **(options | {wide: width, "generator": torch.Generator()}))
        return network

    narrow, wider = ({name: part.shape for name, part in made(width).named_parameters()} for width in (1, 2))
    shapes = {
        name: tuple(a + (options[wide] - 1) * (b - a) for a, b in zip(shape, wider[name], strict=True))
        for name, shape in narrow.items()
    }
    return Plan(lambda: made(options[wide]), shapes)


def bad(path: str, got: str, expected: str) -> SymmetryError:
    """What to raise for a place in a file."""
    return refuse(
        f"this is no saved canonizer: {path}",
        got=got,
        expected=expected,
        fix="save it again with canonize.integrations.safetensors.save",
    )


def brief(value: Any) -> str:
    """A value of a file in a few words."""
    told = repr(value) if isinstance(value, str | int | float | bool | None) else f"{type(value).__name__} {value!r}"
    return told if len(told) <= 80 else f"{told[:76]} ..."


def _parts(told: list[Any], make: Any, family: str, path: str, depth: int) -> Any:
    if len(told) > MOST:
        raise bad(path, f"{len(told)} entries", f"at most {MOST}")
    parts = [decode(part, family, f"{path}[{place}]", depth + 1) for place, part in enumerate(told)]
    return make(parts) if make in (tuple, list) else _made(path, make, *parts)


def _made(path: str, make: Any, *parts: Any, **options: Any) -> Any:
    try:
        return make(*parts, **options)
    except SymmetryError as error:
        raise bad(path, str(error).splitlines()[0], f"options that {make.__name__} takes") from error


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _unsaved(path: str, got: str, expected: str) -> SymmetryError:
    return refuse(
        f"this canonizer cannot be saved as plain data: {path}",
        got=got,
        expected=expected,
        fix="save its numbers, torch.save(symmetrized.frame.state_dict(), 'frame.pt'), and make it again in your own code: "
        "frame.load_state_dict(torch.load('frame.pt', weights_only=True))",
    )
