"""Runs of `adapt` that stop in the middle."""

from __future__ import annotations

from typing import Any

from adapt_cases import draw, ramps
from torch.utils.data import DataLoader, TensorDataset

from canonize import (
    prior_loss,
)


def shuffled_by_itself() -> dict[str, Any]:
    return {"data": DataLoader(TensorDataset(ramps(32)), batch_size=8, shuffle=True, generator=draw(7))}


def averaged() -> dict[str, Any]:
    return {"data": ramps(32), "average": 0.9, "figure": lambda m: -float(prior_loss(m, ramps(8)).detach())}
