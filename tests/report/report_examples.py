"""Audits made by hand: no model is run, so every number on the page is known."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch

from canonize.audit import Audit, Certificate, Cost, ElementRow, Gallery, Metric, Quantiles, Split, WorstCase

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&$\\frac{1}{0}$"
"""Would run in a page that does not escape it, and would be a broken formula in a chart that reads it as one."""


def row(angle: float | None = 90.0, **changes: Any) -> ElementRow:
    """One element; `changes` are fields of `ElementRow`."""
    label = "an element" if angle is None else f"{angle:g}°"
    plain = ElementRow(label, angle, False, True, 12, 0.25, 0.5, None, 0.75, 0.875)
    return dataclasses.replace(plain, **changes)


def pictures(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random numbers in [0, 1)."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def gallery(*shape: int, seed: int = 0) -> Gallery:
    """A gallery of tensors with the shape (count, channels, height, width), turned by 90 degrees."""
    inputs = pictures(*shape, seed=seed)
    turned = inputs.rot90(1, (2, 3))
    labels = tuple(f"{90 + i}°" for i in range(len(inputs)))
    return Gallery(inputs, turned, inputs, inputs, labels, torch.linspace(0.1, 0.2, len(inputs)))


def bare(**changes: Any) -> Audit:
    """An audit in which everything that may be None is None."""
    nothing = Audit(
        name="bare",
        symmetry="S(5), inputs Nodes(), outputs Scalar()",
        frame=None,
        verdict="undecided",
        reason="Too few inputs to tell.",
        tolerance=1e-5,
        samples=3,
        elements=32,
        exhaustive=False,
        error=Quantiles(1e-7, 2e-7, 3e-7, 4e-7, 1.5e-7),
        floor=None,
        by_output={"output": 4e-7},
        noise=0.0,
        rows=(row(None, label="32 random elements for each input", floor=None, metric=None, agreement=None),),
        split=None,
        certificate=Certificate(0.99, 3, 0, 0.7846),
        metric=None,
        agreement=None,
        cost=None,
        worst=(),
        gallery=None,
        versions={},
        errors=torch.zeros(32, 3),
    )
    return dataclasses.replace(nothing, **changes)


def full(**changes: Any) -> Audit:
    """A failing audit with every field set: eight turns and their mirror images, pictures, a metric, costs."""
    rows = tuple(
        row(
            angle,
            label=f"{angle:g}°" + (", mirrored" if mirrored else ""),
            mirrored=mirrored,
            lossless=angle % 90 == 0,
            error=0.0 if angle == 0 and not mirrored else 0.25,
            worst=0.0 if angle == 0 and not mirrored else 0.5 + angle / 1000,
            floor=0.0 if angle % 90 == 0 else 0.0625,
            metric=0.625 + 0.25 * math.cos(math.radians(angle)) - 0.125 * mirrored,
            agreement=0.5 + 0.5 * (angle == 0),
        )
        for mirrored in (False, True)
        for angle in range(0, 360, 45)
    )
    picture = pictures(1, 6, 6)
    return bare(
        **{
            "name": "a plain network",
            "symmetry": "D(8), inputs Image(), outputs Scalar()",
            "frame": "Best",
            "verdict": "fail",
            "reason": "90 of 192 (input, element) pairs exceed the tolerance.",
            "samples": 12,
            "elements": 16,
            "exhaustive": True,
            "error": Quantiles(0.25, 0.5, 0.6875, 0.8125, 0.3125),
            "floor": Quantiles(0.03125, 0.0625, 0.07, 0.09375, 0.04),
            "by_output": {"energy": 0.8125, "forces": 0.0001220703125},
            "noise": 0.001953125,
            "rows": rows,
            "split": Split(0.375, 0.34, 0.41, 5.0, 3.0),
            "certificate": Certificate(0.99, 12, 7, 0.8345),
            "metric": Metric("accuracy", True, 0.984375, 0.59375, 0.2578125, "135°, mirrored", 0.140625),
            "agreement": 0.53125,
            "cost": Cost(64, 4.0, 0.012, 5 * 2**20, 0.003, 2**20),
            "worst": (
                WorstCase(7, "315°", 0.8125, "class 3 (91%)", "class 5 (40%)", picture, picture.rot90(1, (1, 2))),
            ),
            "gallery": gallery(2, 1, 6, 6),
            "versions": {"canonize": "0.0.test", "torch": "9.9.9"},
            **changes,
        }
    )


def endless(**changes: Any) -> Audit:
    """An audit of a model that answers NaN: infinite errors, NaN metric and share."""
    nan, inf = math.nan, math.inf
    rows = (
        row(None, label="first", error=0.0, worst=inf, metric=nan),
        row(None, label="second", error=inf, worst=inf, metric=0.5, mirrored=True),
        row(None, label="third", error=1e-300, worst=nan, metric=-inf),
    )
    return full(
        **{
            "name": "endless",
            "rows": rows,
            "error": Quantiles(0.0, inf, inf, inf, inf),
            "split": Split(nan, nan, nan, nan, nan),
            "metric": Metric("loss", False, nan, inf, -inf, "third", nan),
            "noise": inf,
            "worst": (WorstCase(0, "first", inf, "not a number", "not a number"),),
            **changes,
        }
    )


def hostile() -> Audit:
    """An audit in which every word is HTML that would run."""
    rows = tuple(row(None, label=f"{i} {HOSTILE}") for i in range(3))
    picture = pictures(1, 4, 4)
    return full(
        name=HOSTILE,
        symmetry=HOSTILE,
        frame=HOSTILE,
        reason=HOSTILE,
        by_output={HOSTILE: 0.5, "other": 0.25},
        rows=rows,
        metric=Metric(HOSTILE, True, 0.9, 0.6, 0.5, HOSTILE, 0.4),
        worst=(WorstCase(0, HOSTILE, 0.5, HOSTILE, HOSTILE, picture, picture),),
        gallery=dataclasses.replace(gallery(1, 1, 4, 4), labels=(HOSTILE,)),
        versions={HOSTILE: HOSTILE},
    )


def many(count: int) -> Audit:
    """An audit with many elements, none of which has an angle, and long names."""
    rows = tuple(row(None, label=f"120° about ({i}, 1, -1), mirrored", mirrored=i % 2 == 1) for i in range(count))
    return full(name="a very long name " * 12, rows=rows, elements=count)
