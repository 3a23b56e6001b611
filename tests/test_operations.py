"""Frames cost no more operations than the benchmark page says, and none grows faster than the batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from canonize import SE, Point, Poses, Rigid, Scalar, Symmetry

FOLDER = Path(__file__).parent.parent / "benchmarks"
RECORDED: dict[str, Any] = json.loads((FOLDER.parent / "docs" / "benchmarks" / "operations.json").read_text())
SLACK = 1.1
"""A tenth more than was recorded is a change that has to be measured anew and explained."""
RIGID = Symmetry(SE(3), Point(), Scalar())


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return __import__("operations")


def check(found: dict[str, Any], recorded: dict[str, Any] | None) -> None:
    """The law: no more than recorded, and in proportion to the batch at most."""
    most = found["batches"][1] / found["batches"][0]
    growth = found["growth"]
    # A call for the samples that need a fallback may be added; a loop over samples would add as many as there are.
    assert growth["operations"] <= 2, f"operations grow {growth['operations']:.1f} times"
    assert growth["multiply_adds"] <= SLACK * most, f"multiply-adds grow {growth['multiply_adds']:.1f} times"
    assert growth["memory"] <= SLACK * most, f"memory grows {growth['memory']:.1f} times"
    for name in ("operations", "multiply_adds", "memory") if recorded is not None else ():
        for now, then in zip(found[name], recorded[name], strict=True):
            assert now <= SLACK * then, f"{name}: {now:,} where {then:,} were recorded"


def test_frames_cost_what_was_recorded_and_poses_of_images_are_cheap_beside_networks(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the transformer to compare with is that of transformers: canonize[hub]")
    # In a process of its own: the checks of shapes that tests install keep tensors alive for longer.
    target = tmp_path / "operations.json"
    command = [sys.executable, str(FOLDER / "operations.py"), "--json", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(target.read_text())
    assert set(found["frames"]) == set(RECORDED["frames"])
    told = []
    for name, each in found["frames"].items():
        try:
            check(each | {"batches": found["batches"]}, RECORDED["frames"][name])
        except AssertionError as error:
            told.append(f"{name}: {error}")
    assert told == []
    assert set(found["shares"]) == set(RECORDED["shares"])
    for name, share in found["shares"].items():
        assert share == pytest.approx(RECORDED["shares"][name], rel=0.1)
    for name in ("Best(Scorer(3, disk=True), resolution=32), C(8)", "Scored(GroupCNN(C(8), 3), resolution=32), C(8)"):
        assert found["shares"][name]["ResNet-18"] <= 0.10
        assert found["shares"][name]["ViT-B/16"] <= 0.02


def one_by_one(symmetry: Symmetry, x: torch.Tensor) -> Poses:
    """A frame with a loop over the samples."""
    centres = torch.stack([each.mean(0) for each in x])
    turns = torch.eye(3).expand(1, len(x), 3, 3)
    return Poses(Rigid(turns, centres[None]), torch.ones(1, len(x)))


def all_with_all(symmetry: Symmetry, x: torch.Tensor) -> Poses:
    """A frame that compares each sample with each other."""
    near = (x.flatten(1)[:, None] - x.flatten(1)[None]).square().sum(-1)
    centres = x.mean(1) + 0 * near.sum(1, keepdim=True)
    return Poses(Rigid(torch.eye(3).expand(1, len(x), 3, 3), centres[None]), torch.ones(1, len(x)))


@pytest.mark.parametrize("faulty", [one_by_one, all_with_all], ids=lambda frame: frame.__name__)
def test_loops_over_samples_and_squares_of_the_batch_are_caught(faulty: Any, script: ModuleType) -> None:
    found = script.measure(RIGID, faulty, script.molecules) | {"batches": script.BATCHES}
    with pytest.raises(AssertionError, match="grow"):
        check(found, None)


def test_an_operation_more_is_caught(script: ModuleType) -> None:
    claim, frame, make = script.frames()["PCA('ruled'), SE(3)"]

    def slower(symmetry: Symmetry, x: torch.Tensor) -> Poses:
        for _ in range(100):
            x = x + 0
        return frame(symmetry, x)

    recorded = RECORDED["frames"]["PCA('ruled'), SE(3)"]
    with pytest.raises(AssertionError, match="recorded"):
        check(script.measure(claim, slower, make) | {"batches": script.BATCHES}, recorded)
