"""The statistics against closed forms, SciPy and simulation."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats as reference

from canonize.audit.stats import certificate, quantiles, split_of, trials_needed, upper_bound


@pytest.mark.parametrize(("seen", "trials"), [(0, 1), (0, 21), (0, 459), (1, 10), (3, 50), (49, 50), (17, 10_000)])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_the_bound_is_that_of_the_beta_law(seen: int, trials: int, confidence: float) -> None:
    exact = reference.beta.ppf(confidence, seen + 1, trials - seen)
    assert upper_bound(seen, trials, confidence) == pytest.approx(exact, rel=1e-9)


def test_the_bound_without_information_is_one() -> None:
    assert upper_bound(0, 0, 0.99) == 1.0
    assert upper_bound(5, 5, 0.99) == 1.0


def test_the_bound_covers_the_truth_as_often_as_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    truth, covered = 0.1, 0
    for _ in range(400):
        seen = int((torch.rand(40, generator=generator) < truth).sum())
        covered += upper_bound(seen, 40, 0.9) >= truth
    # 0.9 less four standard deviations of 400 trials.
    assert covered / 400 > 0.9 - 4 * math.sqrt(0.9 * 0.1 / 400)


@pytest.mark.parametrize("share", [0.2, 0.05, 0.01])
def test_the_trials_needed_are_enough_and_not_one_too_many(share: float) -> None:
    n = trials_needed(share, 0.99)
    assert upper_bound(0, n, 0.99) <= share < upper_bound(0, n - 1, 0.99)


def test_quantiles() -> None:
    found = quantiles(torch.arange(101.0))
    assert (found.median, found.q90, found.q99, found.max, found.mean) == (50, 90, 99, 100, 50)
    assert quantiles(torch.tensor([1.0, math.inf])).max == math.inf


def test_the_certificate_tries_one_element_for_each_input() -> None:
    errors = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    drawn = [certificate(errors, 0.5, 0.99, torch.Generator().manual_seed(seed)) for seed in range(20)]
    assert {one.trials for one in drawn} == {3}
    assert {one.exceeding for one in drawn} == {1, 2}


def test_the_share_is_a_ratio_of_sums_with_an_interval_around_it() -> None:
    generator = torch.Generator().manual_seed(0)
    anti = torch.rand(500, generator=generator, dtype=torch.float64)
    found = split_of(torch.full((500,), 1.5, dtype=torch.float64), anti, generator)
    assert found.share == pytest.approx(float(anti.sum() / (anti.sum() + 750)))
    assert found.low < found.share < found.high < found.share + 0.05


@pytest.mark.parametrize(("s", "a", "share"), [(1.0, 0.0, 0.0), (0.0, 1.0, 1.0), (0.0, 0.0, 0.0), (-0.1, 0.5, 1.0)])
def test_the_share_stays_between_zero_and_one(s: float, a: float, share: float) -> None:
    values = torch.full((4,), s, dtype=torch.float64), torch.full((4,), a, dtype=torch.float64)
    assert split_of(*values, torch.Generator().manual_seed(0)).share == share


def test_not_a_number_stays_so() -> None:
    one = torch.tensor([1.0, math.nan], dtype=torch.float64)
    assert math.isnan(split_of(one, one, torch.Generator().manual_seed(0)).share)


def test_the_bootstrap_works_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    held, plain = [], torch.randint

    def counted(high: int, size: tuple[int, int], **options: torch.Generator) -> torch.Tensor:
        held.append(size[0] * size[1])
        return plain(high, size, **options)

    monkeypatch.setattr(torch, "randint", counted)
    anti = torch.rand(60_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = split_of(torch.ones_like(anti), anti, torch.Generator().manual_seed(0), resamples=100)
    assert sum(held) == 100 * 60_000
    assert max(held) <= 1_000_000
    assert found.low < found.share < found.high


def test_the_unit_of_the_energies() -> None:
    one = torch.ones(4, dtype=torch.float64)
    found = split_of(one, 3 * one, torch.Generator().manual_seed(0), unit=10.0)
    assert (found.share, found.symmetric, found.antisymmetric) == (0.75, 100.0, 300.0)
