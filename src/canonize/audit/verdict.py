"""Pass, fail or undecided, in one sentence."""

from __future__ import annotations

import torch
from torch import Tensor

from canonize.audit.result import Certificate, Verdict
from canonize.audit.stats import trials_needed


def decide(
    errors: Tensor,
    floors: Tensor | None,
    lossless: Tensor,
    tolerance: float,
    found: Certificate,
    noise: float,
    at_most: float,
    *,
    moved: bool = True,
) -> tuple[Verdict, str]:
    """The verdict and its reason.

    Args:
        errors: (elements, samples), infinite where an answer was NaN, or infinite on one side only.
        floors: the same for the round trip; None where nothing was resampled.
        lossless: (elements, samples), bool.
        tolerance: the largest error that passes.
        found: what follows statistically.
        noise: difference between two calls on the same input.
        at_most: the share of pairs that must be certified for a pass.
        moved: whether any element changed any input.

    A pair that was moved without loss and exceeds the tolerance is a counterexample: the claim fails. Where only
    resampled pairs exceed it, the claim fails if their errors are, in the median, more than twice the floor; else it
    stays undecided, because resampling alone could have done it. Where nothing was moved nothing was tested.
    """
    lost = int(errors.isinf().sum())
    if lost:
        return "fail", f"{lost} of {errors.numel()} answers are NaN or infinite, or turn into it."
    over = errors > tolerance
    restless = f" Two calls on the same input already differ by {noise:.2g}." if noise > tolerance else ""
    if bool((over & lossless).any()):
        return "fail", (
            f"{int(over.sum())} of {over.numel()} (input, element) pairs exceed the tolerance {tolerance:.2g}, "
            f"the worst by a relative error of {float(errors.max()):.2g}.{restless}"
        )
    if bool(over.any()):
        resampled = ~lossless
        error = float(errors[resampled].median())
        floor = float(floors[resampled].median()) if floors is not None else 0.0
        if error > 2 * floor:
            return "fail", (
                f"Where inputs are resampled the median error is {error:.2g}, "
                f"more than twice the floor of {floor:.2g} that resampling alone costs.{restless}"
            )
        return "undecided", (
            f"Only resampled elements exceed the tolerance, with a median error of {error:.2g} "
            f"beside a floor of {floor:.2g}: resampling alone could explain it.{restless}"
        )
    if not moved:
        return "undecided", (
            "No element changes any of these inputs: nothing was tested. Check how the inputs are declared (Scalar() and None "
            "stand still), and that they are not blank."
        )
    if found.bound > at_most:
        return "undecided", (
            f"No error was found, but {found.trials} inputs certify only that at most {found.bound:.0%} of pairs exceed the "
            f"tolerance; {trials_needed(at_most, found.confidence)} inputs would certify {at_most:.0%}."
        )
    largest = float(torch.max(errors))
    return "pass", f"No error above {tolerance:.2g} on {found.trials} inputs; the largest is {largest:.2g}."
