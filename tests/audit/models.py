"""Small models and inputs for the tests of the audit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from canonize import C, Image, Scalar, Symmetry, audit

FOUR = Symmetry(C(4), Image(), Scalar())


def cnn(seed: int = 0, outputs: int = 5) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(2, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, outputs)
        ).eval()


def images(count: int = 32, size: int = 8, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(count, 2, size, size, generator=torch.Generator().manual_seed(1), dtype=dtype)


def look(model: Any, claim: Symmetry, inputs: Any, **options: Any) -> Any:
    return audit(model, claim, inputs, **{"cost": False, **options})
