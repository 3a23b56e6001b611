"""The classes that a saved claim or frame may name, and what may stand at each of their options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from canonize import actions, frames, groups
from canonize import nn as networks


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
        options: what each option of the constructor may be; "action" and so on for an object of that family, "fallback" for
            a `Weighted` or null.
        read: how an instance knows an option that is no attribute of the same name.
        width: of a network, the option to which the sizes of its parameters are linear.
    """

    make: Any
    family: str
    options: Mapping[str, Option | str] = field(default_factory=dict)
    read: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    width: str = "width"

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
_NAME = Option(lambda x: x is None or (isinstance(x, str) and len(x) <= 1024), "the name of a field, or null")
_POINTS: dict[str, Option | str] = {"of": _NAME, "weights": _NAME, "marks": _NAME}
_CLOUD: dict[str, Option | str] = {
    "vectors": _whole(1, 1024),
    "depth": _whole(1, 64),
    "features": _whole(0, 4096),
    "fields": _whole(0, 64),
    "unit": _maybe(_number(0)),
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
        Kind(groups.S, "group", {"n": _maybe(_whole(0, 10_000))}),
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
        Kind(actions.Edges, "action", {"nodes": "action"}),
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
        Kind(frames.PCA, "frame", {"signs": _word("all", "ruled", "drawn"), "fallback": "fallback", **_POINTS}),
        Kind(frames.Weighted, "frame", {"width": _number(0), "flat": _number(0), **_POINTS}),
        Kind(frames.Centred, "frame", {"of": _NAME, "weights": _NAME}),
        Kind(frames.Polar, "frame", {"of": _NAME, "fallback": "fallback"}),
        Kind(
            frames.Learned,
            "frame",
            {"network": "network", "fallback": "fallback", "scale": _number(0), "of": _NAME},
        ),
        Kind(
            networks.VectorNeurons,
            "network",
            {**_CLOUD, "channels": _CHANNELS, "double": _FLAG},
            {
                "vectors": lambda it: it.head.shape[0],
                "channels": lambda it: it.head.shape[1],
                "depth": lambda it: len(it.layers),
                "double": lambda it: it.double_inside,
            },
            width="channels",
        ),
        Kind(
            networks.DeepSets,
            "network",
            {**_CLOUD, "width": _WIDTH},
            {
                "vectors": lambda it: it.head.vectors,
                "width": lambda it: it.stem[0].weight.shape[0],
                "depth": lambda it: len(it.layers),
            },
        ),
        Kind(
            networks.EGNN,
            "network",
            {**_CLOUD, "vectors": _maybe(_whole(1, 1024)), "width": _WIDTH, "edge_features": _whole(0, 4096)},
            {
                "vectors": lambda it: None if it.head is None else it.head.vectors,
                "width": lambda it: it.stem.shape[0],
                "depth": lambda it: len(it.layers),
            },
        ),
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

LATER: dict[str, dict[str, Any]] = {
    "Vector": {"axis": -1},
    "Rows": {"edges": False},
    "Index": {"loose": False},
    "Edges": {"nodes": None},
}
"""Options that files of the first format do not have, with what they mean then."""
