"""Models, readers and data of audits in chunks, which other processes import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from canonize.scale import Samples


def cnn(seed: int | None = 0) -> nn.Module:
    """Weights of the seed; of chance where None."""
    with torch.random.fork_rng():
        if seed is None:
            torch.seed()
        else:
            torch.manual_seed(seed)
        layers = nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
        return nn.Sequential(*layers).eval()


def by_the_first(x: Tensor) -> Tensor:
    """Looks at its neighbour: one pose for the whole batch."""
    return torch.rot90(x, int(x[0].flatten()[:4].argmax()), (-2, -1)).flatten(1)[:, :3]


def first_row(x: Tensor) -> Tensor:
    return x[:, 0, 0, :3]


def forgetful(one: Tensor, other: Tensor) -> Tensor:
    """Invariant where the second turns with the first."""
    return (one * other).sum(-1, keepdim=True)


@dataclass(frozen=True)
class Read:
    """Samples held in memory; `bad` places cannot be read, and labels stop before `labelled`."""

    inputs: Any
    targets: Tensor | None = None
    bad: tuple[int, ...] = ()
    labelled: int = 10**9

    def __call__(self, places: Sequence[int]) -> Samples:
        kept = [place for place in places if place not in self.bad]
        parts = self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)
        taken = tuple(part[kept] for part in parts)
        targets = None if self.targets is None or max(places) >= self.labelled else self.targets[kept]
        told = [(f"sample {place}", "torn") for place in places if place in self.bad]
        return Samples(taken if len(taken) > 1 else taken[0], targets, kept, told)
