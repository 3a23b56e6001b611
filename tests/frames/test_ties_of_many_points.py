"""Clouds of many points that a half turn almost leaves as they are: their signs nearly tie, in a band that is narrow."""

import pytest
import torch

from canonize import PCA, SO, Point, Symmetry, Vector, symmetrize
from canonize.frames import pca

DOUBLE = torch.float64
CLAIM = Symmetry(SO(3), Point(), Vector())


def nearly_twofold(count: int, steps: int = 40) -> torch.Tensor:
    """Clouds of `count` points: two halves that a half turn about z exchanges, and a share of something else, from 0 to 1."""
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(count // 2, 3, generator=generator, dtype=DOUBLE) * torch.tensor([1.0, 0.7, 0.4], dtype=DOUBLE)
    whole = torch.cat([half, half * torch.tensor([-1.0, -1.0, 1.0], dtype=DOUBLE)])
    other = torch.randn(count, 3, generator=generator, dtype=DOUBLE) ** 3 / 4
    share = torch.cat([torch.zeros(1, dtype=DOUBLE), torch.logspace(-7, 0, steps - 1, dtype=DOUBLE)])
    return whole + share[:, None, None] * other


def model(x: torch.Tensor) -> torch.Tensor:
    mixed = torch.tensor([[1.0, 0.5, -0.2], [-0.4, 1.2, 0.6], [0.3, -0.7, 0.9]])
    return torch.tanh(torch.sin(2 * x @ mixed.to(x)).mean(1) * 2 + 0.3)


def worst(frame, clouds: torch.Tensor, dtype: torch.dtype, count: int = 6) -> float:
    """The largest error under turns that are taken in float64, of clouds that are rounded then."""
    fixed, largest = symmetrize(model, CLAIM, frame), 0.0
    base = fixed(clouds.to(dtype)).double()
    for seed in range(count):
        turn = SO(3).sample(len(clouds), generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)
        found = fixed((clouds @ turn.mT).to(dtype)).double()
        largest = max(largest, float((found - (turn @ base[..., None])[..., 0]).abs().max()))
    return largest


@pytest.mark.parametrize("count", [12, 100, 1000, 4000])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 2e-5), (DOUBLE, 1e-11)], ids=["float32", "float64"])
def test_models_are_exact_at_near_ties(count, dtype, bound):
    clouds = nearly_twofold(count)
    assert worst(PCA(signs="ruled"), clouds, dtype) < bound
    # Some of them lie in the band and some do not, or nothing would have been tested.
    counts = (PCA(signs="ruled")(CLAIM, clouds.to(dtype)).weights > 0).sum(0)
    assert counts[0] > 1
    assert counts[-1] == 1


@pytest.mark.parametrize("count", [100, 1000])
def test_a_band_that_is_too_narrow_is_found(monkeypatch, count):
    monkeypatch.setattr(pca, "_TIE", 1e-5)
    assert worst(PCA(signs="ruled"), nearly_twofold(count, 120), torch.float32) > 2e-5
