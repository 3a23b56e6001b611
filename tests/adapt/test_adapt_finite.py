"""Data that are not finite are refused before the first step, by the place of the sample; the way out names the path."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from adapt_cases import CLAIM, net, plain, ramps
from torch import Tensor

from canonize import Best, C, Image, Scalar, Symmetry, SymmetryError, adapt, bootstrap, symmetrize
from canonize.adapt import batches
from canonize.frames import LogSumExp


def holes(*rows: int, count: int = 40, bad: float = torch.nan) -> Tensor:
    x = ramps(count)
    x[list(rows), 0, 3, 4] = bad
    return x


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("form", ["tensor", "array"])
def test_the_sample_is_named_before_anything_is_learned(bad: float, form: str) -> None:
    steps: list[int] = []
    x = holes(7, 23, bad=bad).numpy() if form == "array" else holes(7, 23, bad=bad)
    with pytest.raises(SymmetryError, match="hold NaN or infinity\n  got:      in sample 7, 23 of 40\n"):
        adapt(plain(), x, epochs=1, progress=lambda done, total: steps.append(done))
    assert not steps


def test_of_several_arguments_the_one_is_named() -> None:
    claim = Symmetry(C(4), (Image(), Scalar()), Scalar())
    mended = symmetrize(lambda x, y: y, claim, Best(lambda x, y: x.flatten(1).sum(1)))
    y = torch.zeros(40, 2)
    y[3] = torch.nan
    with pytest.raises(SymmetryError, match=r"the inputs at \[1\] hold NaN or infinity\n  got:      in sample 3 of 40"):
        batches.source(mended.symmetry, (ramps(40), y), None, 8, None)


def test_whole_numbers_and_finite_inputs_pass() -> None:
    adapt(plain(), ramps(16), epochs=1)
    batches.source(CLAIM, ramps(16).mul(255).to(torch.uint8), None, 8, None)


def test_a_bootstrap_is_refused_too() -> None:
    with pytest.raises(SymmetryError, match="in sample 5 of 40"):
        bootstrap(plain(), holes(5), teacher=Best(LogSumExp(net())), epochs=1, rounds=1)


def test_the_way_out_names_folder_argument_and_option(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "run.pt"
    adapt(plain(), ramps(16), checkpoint=place, epochs=1)
    words = f"try:      delete {place} to start anew, or name another file: checkpoint=... (--checkpoint)"
    with pytest.raises(SymmetryError, match="the checkpoint is of another run") as refused:
        adapt(plain(), ramps(16), checkpoint=place, epochs=2)
    assert words in str(refused.value)
    place.write_bytes(b"")
    with pytest.raises(SymmetryError, match="adapt cannot read its checkpoint") as refused:
        adapt(plain(), ramps(16), checkpoint=place, epochs=1)
    assert words in str(refused.value)
    with pytest.raises(SymmetryError, match="adapt cannot write its checkpoint") as refused:
        adapt(plain(), ramps(16), checkpoint=place / "below.pt", epochs=1)
    assert "choose another place: checkpoint=... (--checkpoint)" in str(refused.value)
