"""What `canonize adapt` holds out: enough images for a verdict wherever the data have them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_runs import model, run

from canonize import Best, C, Image, Symmetry, symmetrize
from canonize.audit.stats import trials_needed
from canonize.cli.adapt import ENOUGH, _split, _story
from canonize.nn import Scorer

pytest.importorskip("safetensors")

NEEDED = trials_needed(0.2, 0.99)
"""Inputs below which an audit, as the command calls it, stays undecided."""


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("count", [8, 40, ENOUGH - 1, ENOUGH, 200, 209, 1000])
def test_enough_are_measured_where_the_data_allow_it(count: int, share: float) -> None:
    train, choose, held = (part.tolist() for part in _split(torch.zeros(count, 1, 2, 2), share, 3))
    assert sorted(train + choose + held) == list(range(count))
    assert len(train) >= 2
    assert len(held) >= 2
    # No more are held back than were asked for, but for a verdict; and then at least two thirds of these are trained on.
    asked = round(count * share)
    if len(choose) + len(held) > max(2, asked):
        assert len(held) == NEEDED
        assert count >= ENOUGH
    if count >= ENOUGH:
        assert len(held) >= NEEDED
    if count >= ENOUGH and share <= 0.2:
        assert len(train) >= 2 * count / 3
    else:
        assert count >= ENOUGH or len(choose) + len(held) == min(max(2, asked), count - 2)


def test_a_run_on_few_images_ends_with_a_verdict(place: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.linspace(0.7, 0, 4)[:, None] + 0.3 * torch.rand(ENOUGH, 3, 4, 4, generator=draw)
    np.save(place / "upright.npy", x.clamp(0, 1).numpy())
    words = ("--group", "C4", "--out", "out", "--epochs", "1", "--width", "1", "--depth", "1", "--resolution", "4")
    found = run("adapt", model(place, "corner"), "--data", "upright.npy", *words)
    assert found.exit_code == 0, found.output
    audits = json.loads((place / "out" / "report.json").read_text(encoding="utf-8"))["audits"]
    assert [each["verdict"] for each in audits] == ["fail", "pass"]
    assert "A verdict needs" not in found.output


def test_too_few_for_a_verdict_are_told() -> None:
    mended = symmetrize(torch.nn.Identity(), Symmetry(C(4), Image(), Image()), Best(Scorer(3, width=1, depth=1)))
    told = f"A verdict needs {NEEDED}: from {ENOUGH} images on, {NEEDED} are measured."
    assert told in _story(1, mended, Path("out"), 20, NEEDED - 1)
    assert told not in _story(1, mended, Path("out"), 20, NEEDED)
