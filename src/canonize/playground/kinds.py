"""What each tab of the playground holds: samples and claims."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from canonize.actions import Image, Nodes, Pairs, Point, Scalar
from canonize.frames import PCA, Average, Best, CanonicalOrder, Weighted
from canonize.groups import SE, C, E, S
from canonize.playground import samples
from canonize.playground.networks import Bare, Numbered
from canonize.playground.scene import Inputs, Reading
from canonize.symmetrize import Symmetrized, symmetrize
from canonize.symmetry import Symmetry


@dataclass(frozen=True)
class Claim:
    """A model, bare and behind a frame, and how its answers are read.

    Attributes:
        behind: the symmetrized model; its `model` is the plain one, its `symmetry` the claim.
        reading: of the answers.
        about: one sentence on the model, for the page.
    """

    behind: Symmetrized
    reading: Reading
    about: str


@dataclass(frozen=True)
class Kind:
    """One tab: what there is to pick, first the one that is shown first.

    Attributes:
        samples: by name, each the arguments of a model for one sample.
        claims: by name.
    """

    samples: dict[str, Inputs]
    claims: dict[str, Claim]


@dataclass(frozen=True)
class Playground:
    """All tabs.

    Attributes:
        images, molecules, graphs: the tabs.
        side, channels: of the images, in pixels, for files that are dropped.
    """

    images: Kind
    molecules: Kind
    graphs: Kind
    side: int
    channels: int


def digit_claims(classifier: Any, energy: Any, resolution: int) -> dict[str, Claim]:
    """Claims for a classifier of images (batch, 1, side, side) that returns logits (batch, 10).

    Args:
        classifier: the model.
        energy: low for upright images, for `Best`.
        resolution: at which poses are scored, pixels.
    """
    plans = {
        "C(24): best pose": (C(24), Best(energy, resolution=resolution)),
        "C(4), exact: best pose": (C(4), Best(energy, resolution=resolution)),
        "C(4), exact: average": (C(4), Average()),
    }
    reading = Reading(tuple(f"digit {digit}" for digit in range(10)), shares=True)
    about = "A small CNN, trained at the start on upright scans of digits."
    return {
        name: Claim(symmetrize(classifier, Symmetry(group, Image(), Scalar()), frame).eval(), reading, about)
        for name, (group, frame) in plans.items()
    }


def molecule_kind(generator: torch.Generator | None = None) -> Kind:
    """Molecules, and a network with drawn weights that feels how they stand and where."""
    model = Bare(generator=generator).double().eval()
    reading = Reading(("number",))
    about = "A network on bare coordinates with drawn weights: its number means nothing, how it changes does."
    plans: dict[str, tuple[Any, Any]] = {
        "E(3): Weighted": (E(3), Weighted()),
        "SE(3): Weighted": (SE(3), Weighted()),
        "E(3): PCA": (E(3), PCA()),
    }
    claims = {
        name: Claim(symmetrize(model, Symmetry(group, (Point(), Scalar()), Scalar()), frame), reading, about)
        for name, (group, frame) in plans.items()
    }
    return Kind(dict(samples.molecules()), claims)


def graph_kind(generator: torch.Generator | None = None) -> Kind:
    """Graphs, and a network with drawn weights that depends on the numbers of the nodes."""
    model = Numbered(generator=generator).double().eval()
    claim = Symmetry(S(), Pairs(), (Scalar(), Nodes()))
    reading = Reading(("graph", *(f"node {node}" for node in range(64))))
    about = (
        "A network with drawn weights that sees the numbers of the nodes; each node has the colour of its answer, from -1, "
        "blue, to 1, orange."
    )
    claims = {"S(n): CanonicalOrder": Claim(symmetrize(model, claim, CanonicalOrder()), reading, about)}
    return Kind({name: (matrix,) for name, matrix in samples.graphs(torch.float64).items()}, claims)
