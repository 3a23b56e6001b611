"""The few statistics of an audit, without SciPy: quantiles, a bootstrap interval, and the Clopper-Pearson bound."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from canonize.audit.result import Certificate, Quantiles, Split


def quantiles(errors: Tensor) -> Quantiles:
    """Quantiles of all entries; NaN must have been made infinite before. (any shape), at least one entry."""
    flat = errors.flatten().double().sort().values

    def at(q: float) -> float:
        return float(flat[min(len(flat) - 1, math.ceil(q * (len(flat) - 1)))])

    return Quantiles(median=at(0.5), q90=at(0.9), q99=at(0.99), max=float(flat[-1]), mean=float(flat.mean()))


def upper_bound(exceeding: int, trials: int, confidence: float) -> float:
    """The Clopper-Pearson upper bound on a share of which `exceeding` of `trials` independent draws were seen.

    The largest p for which seeing so few has probability at least 1 - confidence; 1.0 for no trials.

    Source: Clopper and Pearson, Biometrika 26 (1934) 404, doi 10.1093/biomet/26.4.404.
    """
    if trials == 0 or exceeding >= trials:
        return 1.0
    counts = torch.arange(exceeding + 1, dtype=torch.float64)
    total = torch.tensor(float(trials), dtype=torch.float64)
    ways = torch.lgamma(total + 1) - torch.lgamma(counts + 1) - torch.lgamma(total - counts + 1)

    def log_probability(p: float) -> float:
        return float(torch.logsumexp(ways + counts * math.log(p) + (total - counts) * math.log1p(-p), 0))

    low, high, wanted = 0.0, 1.0, math.log1p(-confidence)
    for _ in range(100):
        middle = (low + high) / 2
        if not 0 < middle < 1:
            break
        low, high = (middle, high) if log_probability(middle) > wanted else (low, middle)
    return high


def trials_needed(share: float, confidence: float) -> int:
    """How many draws without a single excess certify at most `share`."""
    return math.ceil(math.log1p(-confidence) / math.log1p(-share))


def certificate(errors: Tensor, tolerance: float, confidence: float, generator: torch.Generator) -> Certificate:
    """One random element for each input, which makes the trials independent.

    Args:
        errors: (elements, samples).
        tolerance: the error above which a pair counts.
        confidence: of the bound, in (0, 1).
        generator: picks the elements.
    """
    elements, samples = errors.shape
    pick = torch.randint(elements, (1, samples), generator=generator)
    exceeding = int((errors.gather(0, pick) > tolerance).sum())
    return Certificate(confidence, samples, exceeding, upper_bound(exceeding, samples, confidence))


_DRAWS = 1_000_000
"""Random numbers of the bootstrap that are held at a time."""


def split_of(
    symmetric: Tensor, antisymmetric: Tensor, generator: torch.Generator, *, unit: float = 1.0, resamples: int = 1000
) -> Split:
    """The antisymmetric share of the energy, a ratio of sums over inputs, with its bootstrap interval over inputs.

    Args:
        symmetric: (samples,) unbiased estimates, which may be negative by chance.
        antisymmetric: (samples,) unbiased estimates.
        generator: draws the bootstrap's samples.
        unit: the energies are in squares of this many units of the output.
        resamples: bootstrap replicates.

    A model that is zero everywhere has share 0.
    """

    def share(s: Tensor, a: Tensor) -> Tensor:
        total = s + a
        return torch.where(total > 0, a / total, torch.where(a > 0, 1.0, 0.0)).clamp(0, 1)

    n = len(symmetric)
    point = float(share(symmetric.sum(), antisymmetric.sum()))
    if math.isnan(float((symmetric + antisymmetric).sum())):
        return Split(math.nan, math.nan, math.nan, math.nan, math.nan)
    replicas = []
    block = max(1, _DRAWS // n)
    for start in range(0, resamples, block):
        draws = torch.randint(n, (min(block, resamples - start), n), generator=generator)
        replicas.append(share(symmetric[draws].sum(1), antisymmetric[draws].sum(1)))
    ordered = torch.cat(replicas).sort().values
    low, high = float(ordered[int(0.025 * resamples)]), float(ordered[int(0.975 * resamples)])
    # One factor at a time: the square of 1e-200 is no float, and a product with it would be lost or infinite.
    mean = [float(part.mean()) * unit * unit for part in (symmetric, antisymmetric)]
    return Split(point, low, high, *mean)
