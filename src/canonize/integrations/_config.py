"""Claims and learned frames as plain JSON and back: classes from a list, options within bounds, nothing run or imported."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from canonize import actions, frames, groups
from canonize import nn as networks
from canonize._tree import describe
from canonize.errors import SymmetryError, refuse
from canonize.symmetry import Keywords

DEEPEST = 16  # containers within containers
MOST = 4096  # entries of a container


@dataclass(frozen=True)
class Option:
    """What may stand at one option of a class."""

    fits: Callable[[Any], bool]
    told: str


@dataclass(frozen=True)
class Kind:
    """A class of the list.

    Attributes:
        make: the class.
        family: what its instances are: "group", "action", "frame" or "network".
        options: what each option of the constructor may be; "action" and so on for an object of that family.
        read: how an instance knows an option that is no attribute of the same name.
    """

    make: Any
    family: str
    options: Mapping[str, Option | str] = field(default_factory=dict)
    read: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)

    def of(self, value: Any) -> dict[str, Any]:
        """The options with which `value` was made."""
        return {name: self.read.get(name, lambda it, name=name: getattr(it, name))(value) for name in self.options}


def _whole(low: int, high: int) -> Option:
    def fits(x: Any) -> bool:
        return isinstance(x, int) and not isinstance(x, bool) and low <= x <= high

    return Option(fits, f"a whole number from {low:,} to {high:,}")


def _number(low: float = -1e300, high: float = 1e300) -> Option:
    def fits(x: Any) -> bool:
        return isinstance(x, int | float) and not isinstance(x, bool) and low <= x <= high

    return Option(fits, "a finite number" + (f" from {low:g}" if low > -1e300 else ""))


def _word(*known: str) -> Option:
    return Option(lambda x: isinstance(x, str) and x in known, " or ".join(map(repr, known)))


def _maybe(option: Option) -> Option:
    return Option(lambda x: x is None or option.fits(x), f"{option.told}, or null")


_FLAG = Option(lambda x: isinstance(x, bool), "true or false")
_PIXELS = _whole(1, 2**20)
_PAIR = Option(
    lambda x: isinstance(x, tuple | list) and len(x) == 2 and all(_PIXELS.fits(part) for part in x),
    "two sizes in pixels",
)
_GRID: dict[str, Option | str] = {
    "padding": _word("zeros", "border", "reflection"),
    "interpolation": _word("bilinear", "bicubic", "nearest"),
}
_DIMENSION: dict[str, Option | str] = {"n": _whole(1, 64)}
_MOVING: dict[str, Option | str] = {"n": _whole(1, 64), "scale": _number()}
_CHOICE: dict[str, Option | str] = {
    "energy": "network",
    "resolution": _maybe(_PIXELS),
    "gate": _number(0),
    "soft": _number(0),
    "select": _word("straight-through", "gumbel"),
    "temperature": _number(0),
}
_CHANNELS, _WIDTH, _DEPTH, _KERNEL = _whole(1, 4096), _whole(1, 4096), _whole(1, 64), _whole(1, 15)

KINDS = {
    kind.make.__name__: kind
    for kind in (
        Kind(groups.C, "group", {"n": _whole(1, 4096)}),
        Kind(groups.D, "group", {"n": _whole(1, 4096)}),
        Kind(groups.Octahedral, "group", {"reflections": _FLAG}),
        Kind(groups.Icosahedral, "group", {"reflections": _FLAG}),
        Kind(groups.SO, "group", _DIMENSION),
        Kind(groups.O, "group", _DIMENSION),
        Kind(groups.Translation, "group", _MOVING),
        Kind(groups.SE, "group", _MOVING),
        Kind(groups.E, "group", _MOVING),
        Kind(groups.S, "group", {"n": _whole(1, 10_000)}),
        Kind(actions.Scalar, "action"),
        Kind(actions.Vector, "action", {"axis": _whole(-16, -1)}),
        Kind(actions.Point, "action"),
        Kind(actions.Tensor, "action", {"rank": _whole(0, 8), "odd": _FLAG}),
        Kind(actions.Image, "action", _GRID),
        Kind(actions.VectorImage, "action", _GRID),
        Kind(actions.Volume, "action", _GRID),
        Kind(actions.Mask, "action", {"fill": _number()}),
        Kind(
            actions.Boxes,
            "action",
            {"size": _maybe(_PAIR), "format": _word("xyxy", "xywh", "cxcywh"), "normalised": _FLAG},
        ),
        Kind(actions.Keypoints, "action", {"size": _PAIR, "visible": _FLAG}),
        Kind(actions.Nodes, "action", {"axis": _whole(-16, 16)}),
        Kind(actions.Pairs, "action"),
        Kind(actions.Index, "action", {"loose": _FLAG}),
        Kind(actions.Offsets, "action"),
        Kind(actions.Edges, "action"),
        Kind(actions.Rows, "action", {"action": "action", "edges": _FLAG}),
        Kind(actions.Each, "action", {"entry": "action"}),
        Kind(actions.Planar, "action", {"action": "action", "axis": _whole(0, 2)}),
        Kind(actions.Factor, "action", {"position": _whole(0, 64), "action": "action"}),
        Kind(frames.Best, "frame", {**_CHOICE, "chunk": _maybe(_whole(1, 2**31))}),
        Kind(
            frames.Scored,
            "frame",
            {"network": "network", **{k: v for k, v in _CHOICE.items() if k != "energy"}},
            {"network": lambda it: it.energy},
        ),
        Kind(
            frames.Search,
            "frame",
            {
                "energy": "network",
                "grid": _whole(4, 100_000),
                "beams": _whole(1, 10_000),
                "refine": _maybe(_word("golden", "gradient")),
                "steps": _whole(2, 100_000),
                "budget": _maybe(_whole(1, 2**31)),
                "resolution": _maybe(_PIXELS),
                "chunk": _maybe(_whole(1, 2**31)),
                "implicit": _FLAG,
                "width": _number(0),
            },
        ),
        Kind(frames.Oriented, "frame", {"network": "network", "resolution": _maybe(_PIXELS), "scale": _number(0)}),
        Kind(
            networks.Scorer,
            "network",
            {"channels": _CHANNELS, "width": _WIDTH, "depth": _DEPTH, "disk": _FLAG},
            {"width": lambda it: it.stem.weight.shape[0], "depth": lambda it: len(it.blocks)},
        ),
        Kind(
            networks.GroupCNN,
            "network",
            {
                "group": "group",
                "channels": _CHANNELS,
                "width": _WIDTH,
                "depth": _DEPTH,
                "kernel": _KERNEL,
                "disk": _FLAG,
            },
            {"width": lambda it: it.lift.shape[0], "depth": lambda it: len(it.norms)},
        ),
        Kind(
            networks.Steerable,
            "network",
            {
                "channels": _CHANNELS,
                "vectors": _whole(1, 1024),
                "width": _WIDTH,
                "depth": _DEPTH,
                "orders": _whole(1, 8),
                "kernel": _whole(3, 15),
                "reflections": _FLAG,
                "resolution": _maybe(_PIXELS),
            },
            {
                "vectors": lambda it: it.head.shape[1],
                "width": lambda it: it.head.shape[3],
                "depth": lambda it: len(it.layers),
                "orders": lambda it: it.head.shape[2] - 1,
                "kernel": lambda it: it.layers[0].kernel,
            },
        ),
    )
}
"""The classes that a file may name."""

_LATER: dict[str, dict[str, Any]] = {"Vector": {"axis": -1}, "Rows": {"edges": False}, "Index": {"loose": False}}
"""Options that files of the first format do not have, with what they mean then."""

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
    if family == "action" and told is None:
        return None
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
    told = _LATER.get(name, {}) | told
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
        return plan(kind.make, options, path)
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


def plan(make: Any, options: dict[str, Any], path: str) -> Plan:
    """A network with the shapes that its parameters will have, from two narrow ones: all sizes are linear in the width.

    Raises:
        SymmetryError: options that do not go together.
    """
    import torch

    group = options.get("group")
    if group is not None and (groups.order(group) or math.inf) > _LARGEST_ORDER:
        raise bad(f"{path}.group", repr(group), f"a finite group of at most {_LARGEST_ORDER} elements")

    def made(width: int) -> nn.Module:
        # The weights come from the file: nothing is drawn from the global generator.
        network: nn.Module = _made(path, make, **(options | {"width": width, "generator": torch.Generator()}))
        return network

    narrow, wider = ({name: part.shape for name, part in made(width).named_parameters()} for width in (1, 2))
    shapes = {
        name: tuple(a + (options["width"] - 1) * (b - a) for a, b in zip(shape, wider[name], strict=True))
        for name, shape in narrow.items()
    }
    return Plan(lambda: made(options["width"]), shapes)


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
