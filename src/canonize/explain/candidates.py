"""Which frames are worth a look for a claim, and what each is good for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from canonize._tree import spec_leaves, walk
from canonize.actions import Edges, Image, Mask, Pairs, Rows, VectorImage
from canonize.actions.relabel import permutes
from canonize.errors import SymmetryError
from canonize.frames import (
    PCA,
    Average,
    Best,
    CanonicalOrder,
    Confidence,
    Learned,
    Oriented,
    Sampled,
    Scored,
    Search,
    Sorted,
    Weighted,
    WeightedOrder,
    default_frame,
)
from canonize.frames.declared import is_points
from canonize.groups import SE, SO, C, D, E, O, S, order
from canonize.nn import GroupCNN, Scorer, Steerable, VectorNeurons
from canonize.symmetry import Symmetry

RESOLUTION = 32
"""Side of the copies that canonicalizers look at, in pixels."""
_WHOLE = 128
"""Groups of more elements are not averaged over."""

Offer = tuple[str, str, Callable[[], Any]]
"""The call that makes a frame, in words; what the frame is good for; and what makes it."""


def offers(symmetry: Symmetry, model: Any, value: Any) -> list[Offer]:
    """The frames that fit the kind of a claim; whether each works on the model is for the caller to see."""
    group, leaves = symmetry.group, spec_leaves(symmetry.inputs)
    found: list[Offer] = []
    size = order(group)
    if size is not None and size <= _WHOLE:
        found.append(("Average()", "exact; shows the model every element, seen in training or not", Average))
    images = _images(symmetry, value)
    if images is not None:
        found += _of_images(group, model, *images)
    if any(leaf is not None and is_points(leaf, group) for leaf in leaves) and isinstance(group, SO | O | SE | E):
        found += _of_points(group)
    if isinstance(group, S) and any(map(permutes, leaves)):
        joined = any(isinstance(leaf, Pairs | Edges) or (isinstance(leaf, Rows) and leaf.edges) for leaf in leaves)
        if joined:
            found.append(("CanonicalOrder()", "exact; one order, found on the CPU", CanonicalOrder))
        else:
            found.append(("Sorted()", "exact; one order, which jumps where things tie", Sorted))
            found.append(("WeightedOrder()", "exact and continuous, by several orders", WeightedOrder))
    found.append(("Sampled(4)", "four random elements: right on average only", lambda: Sampled(4)))
    return _with_default(symmetry, found)


def _with_default(symmetry: Symmetry, found: list[Offer]) -> list[Offer]:
    """The offers with the default marked, or put first where it is none of them."""
    try:
        default = repr(default_frame(symmetry))
    except SymmetryError:
        return found
    makes = {"PCA('ruled')": "PCA(signs='ruled')"}
    marked = [
        (text, f"{why} (the default)" if makes.get(text, text) == default else why, make) for text, why, make in found
    ]
    if marked == found:
        return [(default, "exact (the default)", lambda: default_frame(symmetry)), *found]
    return marked


def _images(symmetry: Symmetry, value: Any) -> tuple[int, int] | None:
    """Channels and the shorter side of the first image among the inputs."""
    found: list[tuple[int, int]] = []

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if isinstance(action, Image | Mask | VectorImage) and isinstance(part, Tensor) and part.ndim >= 4:
            found.append((part.shape[-3], min(part.shape[-2:])))
        return part

    walk(leaf, symmetry.inputs, value)
    return found[0] if found else None


def _of_images(group: Any, model: Any, channels: int, side: int) -> list[Offer]:
    small = min(RESOLUTION, side)
    trained = "one pose; adapt() trains it on upright images"
    seed = torch.Generator().manual_seed
    if order(group) is None:
        scorer = f"nn.Scorer({channels}, disk=True)"
        return [
            (
                f"Oriented(nn.Steerable({channels}), resolution={small})",
                f"{trained}; any angle in one pass",
                lambda: Oriented(
                    Steerable(channels, reflections=isinstance(group, O), generator=seed(0)), resolution=small
                ),
            ),
            (
                f"Search({scorer}, resolution={small})",
                f"{trained}; any angle in several passes",
                lambda: Search(Scorer(channels, disk=True, generator=seed(0)), resolution=small),
            ),
        ]
    # Corners of a square leave the picture unless it turns by quarters.
    disk = not (isinstance(group, C | D) and group.n in (1, 2, 4))
    scorer = f"nn.Scorer({channels}{', disk=True' if disk else ''})"
    return [
        (
            f"Best({scorer}, resolution={small})",
            trained,
            lambda: Best(Scorer(channels, disk=disk, generator=seed(0)), resolution=small),
        ),
        (
            f"Scored(nn.GroupCNN({group!r}, {channels}), resolution={small})",
            f"{trained}; scores all elements in one pass",
            lambda: Scored(GroupCNN(group, channels, generator=seed(0)), resolution=small),
        ),
        (
            "Best(Confidence(model))",
            "one pose, the one that the model is surest of, which need not be the right one; no training; for logits",
            lambda: Best(Confidence(model)),
        ),
    ]


def _of_points(group: Any) -> list[Offer]:
    vectors = group.n if isinstance(group, O | E) else group.n - 1
    return [
        ("PCA('ruled')", "exact; one pose unless axes or signs nearly tie, several there", lambda: PCA("ruled")),
        ("PCA()", "exact; all signs of the axes: smoother, and as many calls", lambda: PCA()),
        (
            "PCA('drawn')",
            "one of all signs, drawn: right on average only",
            lambda: PCA("drawn"),
        ),
        ("Weighted()", "exact and continuous everywhere: no jumps, for forces and dynamics", Weighted),
        (
            f"Learned(nn.VectorNeurons({vectors}))",
            "one pose of an equivariant network, which is trained with the model",
            lambda: Learned(VectorNeurons(vectors, generator=torch.Generator().manual_seed(0))),
        ),
    ]
