"""Small data that stand upright, small models, and how well a frame finds the turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from canonize import Best, C, Image, Scalar, Symmetrized, Symmetry, symmetrize
from canonize.actions import move
from canonize.actions.trees import at
from canonize.frames.base import over_batch
from canonize.nn import Scorer

CLAIM = Symmetry(C(4), Image(), Scalar())
FAST = {"epochs": 2, "rate": 1e-1, "batch_size": 16}
"""Settings of a short run."""


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramps(count: int = 64, size: int = 8, *, noise: float = 0.3, seed: int = 0, tilt: float = 0.0) -> Tensor:
    """Bright above and dark below, with noise; with a tilt also brighter to the right."""
    down, right = torch.linspace(1, 0, size)[:, None], torch.linspace(0, tilt, size)
    return down + right + noise * torch.rand(count, 1, size, size, generator=draw(seed))


def net(size: int = 8, classes: int = 3) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * (size - 2) ** 2, classes)
    ).eval()


def scorer(seed: int = 0, **options: Any) -> Scorer:
    return Scorer(1, **({"width": 4, "depth": 1, "generator": draw(seed)} | options))


class Plain(nn.Module):
    """A linear energy: quick, and enough for a ramp."""

    def __init__(self, numbers: int = 64, seed: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(numbers, generator=draw(seed)) / numbers)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(x.flatten(1)) @ self.weight


def plain(seed: int = 0, symmetry: Symmetry = CLAIM, model: Any = None, **options: Any) -> Symmetrized:
    """A small classifier behind `Best` of a linear energy."""
    return symmetrize(net() if model is None else model, symmetry, Best(Plain(seed=seed, **options)))


def turned(symmetry: Symmetry, x: Any, batch: int) -> Iterator[tuple[Any, Any]]:
    """Each element with the inputs that it has moved."""
    each = over_batch(symmetry.group.elements(), batch)
    for position in range(len(symmetry.group.elements())):
        h = at(each, position)
        yield h, move(symmetry.inputs, h, x)


def found(mended: Symmetrized, x: Tensor) -> float:
    """The share of (input, element) pairs for which the frame finds the element."""
    hits = [
        (mended.poses(moved).elements[0] - h).abs().flatten(1).amax(1) < 1e-3
        for h, moved in turned(mended.symmetry, x, len(x))
    ]
    return float(torch.cat(hits).double().mean())


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one: nn.Module | dict[str, Tensor], other: nn.Module | dict[str, Tensor]) -> bool:
    """Bit for bit."""
    first, second = (part if isinstance(part, dict) else part.state_dict() for part in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
