"""The command line's words for groups, actions and frames: the only place where strings stand for objects."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from canonize import actions, frames, groups
from canonize.errors import refuse

GROUPS: tuple[tuple[str, Callable[..., Any], str], ...] = (
    ("C{n}", groups.C, "rotations of the plane by multiples of 360/n degrees"),
    ("D{n}", groups.D, "these rotations and the reflections that go with them"),
    ("octahedral", groups.Octahedral, "rotations of the cube"),
    ("octahedral+", lambda: groups.Octahedral(reflections=True), "rotations and reflections of the cube"),
    ("icosahedral", groups.Icosahedral, "rotations of the icosahedron"),
    ("icosahedral+", lambda: groups.Icosahedral(reflections=True), "rotations and reflections of the icosahedron"),
    ("SO{n}", groups.SO, "all rotations of n-dimensional space"),
    ("O{n}", groups.O, "all rotations and reflections"),
    ("T{n}", groups.Translation, "shifts"),
    ("SE{n}", groups.SE, "rotations and shifts"),
    ("E{n}", groups.E, "rotations, reflections and shifts"),
    ("S{n}", groups.S, "permutations of n things"),
)

ACTIONS: dict[str, Any] = {
    "scalar": actions.Scalar(),
    "vector": actions.Vector(),
    "point": actions.Point(),
    "tensor2": actions.Tensor(2),
    "pseudovector": actions.Tensor(1, odd=True),
    "image": actions.Image(),
    "mask": actions.Mask(),
    "vector-image": actions.VectorImage(),
    "volume": actions.Volume(),
    "nodes": actions.Nodes(),
    "pairs": actions.Pairs(),
    "none": None,
}


def group(word: str) -> Any:
    """The group of a word such as `C8`, `SO(3)`, `octahedral+` or, for a product, `S5xO3`.

    Raises:
        SymmetryError: an unknown word; it lists the known ones.
    """
    parts = re.split(r"\s*[x*]\s*", word.strip())
    if len(parts) > 1:
        return groups.Product(*(group(part) for part in parts))
    plain = re.sub(r"[()\s]", "", parts[0]).lower()
    for pattern, make, _ in GROUPS:
        name = pattern.lower()
        if name == plain:
            return make()
        found = re.fullmatch(name.replace("{n}", r"(\d+)"), plain) if "{n}" in name else None
        if found:
            return make(int(found[1]))
    raise refuse(
        "this is no group that the command line knows",
        got=repr(word),
        expected=", ".join(pattern.format(n="n") for pattern, _, _ in GROUPS),
        fix="--group C8; `canonize groups` lists them all",
    )


def tree(word: str) -> Any:
    """The actions of a word: one name, or a comma-separated list for several arguments or outputs.

    Raises:
        SymmetryError: an unknown name; it lists the known ones.
    """
    names = [name.strip().lower() for name in word.split(",")]
    for name in names:
        if name not in ACTIONS:
            raise refuse(
                "this is no action that the command line knows",
                got=repr(name),
                expected=", ".join(ACTIONS),
                fix="--input image --output scalar; for dicts and fields call canonize.audit from Python",
            )
    return ACTIONS[names[0]] if len(names) == 1 else tuple(ACTIONS[name] for name in names)


def frame(word: str, model: Any) -> Any:
    """The frame of a word: `average`, `confidence`, `logsumexp`, `sorted`, `sampled:8`.

    Raises:
        SymmetryError: an unknown word.
    """
    name, _, number = word.strip().lower().partition(":")
    known: dict[str, Callable[[], Any]] = {
        "default": lambda: None,
        "average": frames.Average,
        "confidence": lambda: frames.Best(frames.Confidence(model)),
        "logsumexp": lambda: frames.Best(frames.LogSumExp(model)),
        "sorted": frames.Sorted,
        "sampled": lambda: frames.Sampled(int(number) if number.isdigit() else 8),
    }
    if name not in known:
        raise refuse(
            "this is no frame that the command line knows",
            got=repr(word),
            expected=", ".join(known),
            fix="--frame average",
        )
    return known[name]()
