"""Small tabs for the tests: every kind, with models that take no training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from canonize import C, Image, Scalar, Symmetry, symmetrize
from canonize.nn import Scorer
from canonize.playground import samples
from canonize.playground.app import Tab, tabs
from canonize.playground.kinds import Claim, Kind, Playground, digit_claims, graph_kind, molecule_kind
from canonize.playground.scene import Inputs

SIDE = 12


def playground() -> Playground:
    draw = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * (SIDE - 2) ** 2, 10)).eval()
    energy = Scorer(1, width=4, depth=1, disk=True, generator=draw)
    images: dict[str, Inputs] = {name: (one,) for name, one in samples.drawings(SIDE, 1).items()}
    images["noise"] = (torch.rand(1, 1, SIDE, SIDE, generator=draw),)
    return Playground(Kind(images, digit_claims(network, energy, SIDE)), molecule_kind(draw), graph_kind(draw), SIDE, 1)


PLAY = playground()
TABS = {tab.name: tab for tab in tabs(PLAY)}
CASES = [(tab.name, sample, claim) for tab in TABS.values() for sample in tab.kind.samples for claim in tab.kind.claims]
SETTINGS: dict[str, list[tuple[Any, ...]]] = {
    "image": [(False,)],
    "molecule": [("x", 0.0, False), ("diagonal", 1.5, False)],
    "graph": [()],
}


def with_model(tab: Tab, claim: str, model: Any) -> Tab:
    """The tab with another model behind the same frame."""
    old = tab.kind.claims[claim]
    new = Claim(symmetrize(model, old.behind.symmetry, old.behind.frame), old.reading, old.about)
    kind = Kind(tab.kind.samples, {claim: new})
    return Tab(tab.name, kind, tab.stops, tab.unit, tab.elements, tab.figures, tab.read)


def with_frame(tab: Tab, claim: str, frame: Any) -> Tab:
    """The tab with another frame before the same model."""
    old = tab.kind.claims[claim]
    new = Claim(symmetrize(old.behind.model, old.behind.symmetry, frame), old.reading, old.about)
    kind = Kind(tab.kind.samples, {claim: new})
    return Tab(tab.name, kind, tab.stops, tab.unit, tab.elements, tab.figures, tab.read)


def four(model: Any) -> Claim:
    """A claim under quarter turns for any model of images."""
    from canonize.playground.scene import Reading

    return Claim(symmetrize(model, Symmetry(C(4), Image(), Scalar())), Reading(), "a test")


def same(one: Inputs, other: Inputs, tolerance: float) -> bool:
    pairs: list[tuple[Tensor, Tensor]] = list(zip(one, other, strict=True))
    return all(bool(((a.double() - b.double()).abs() <= tolerance).all()) for a, b in pairs)
