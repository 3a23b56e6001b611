"""The example of walkers on a simplicial complex, with fast settings."""

import runpy
import subprocess
import sys
from pathlib import Path

import torch

SCRIPT = Path(__file__).parents[2] / "examples" / "simplicial.py"
EXAMPLE = runpy.run_path(str(SCRIPT))


def test_only_the_bare_relu_feels_how_the_complex_is_written():
    found = EXAMPLE["compare"](60)
    for name in ("tanh", "ReLU behind signs"):
        assert found[name]["orientation"] < 1e-4
        # Scores that nearly tie may round the other way.
        assert abs(found[name]["as written"] - found[name]["otherwise"]) < 0.02
        assert found[name]["otherwise"] > found["ReLU"]["otherwise"] + 0.1
    assert found["ReLU"]["orientation"] > 0.1
    assert found["ReLU"]["as written"] > found["ReLU"]["otherwise"] + 0.1
    assert all(told["order"] == 2 for told in found.values())


def test_the_square_is_a_complex_with_one_hole():
    space = EXAMPLE["square"]()
    assert not (space.first @ space.second).any()
    nodes, edges, triangles = len(space.first), len(space.second), space.second.shape[1]
    # One part, one hole.
    assert nodes - edges + triangles == 1 - 1
    lower = space.first.mT @ space.first
    harmonic = torch.linalg.eigvalsh(lower + space.second @ space.second.mT).abs() < 1e-4
    assert int(harmonic.sum()) == 1


def test_walkers_stay_on_edges():
    space = EXAMPLE["square"]()
    seen = EXAMPLE["walks"](space, 20, torch.Generator().manual_seed(0))
    assert seen.choices.gather(1, seen.next[:, None]).all()
    # What flows in and out of the nodes of a path: from its first node to its last.
    assert ((space.first @ seen.flows).abs().sum((1, 2)) <= 2).all()


def test_it_is_called_as_it_says():
    done = subprocess.run([sys.executable, str(SCRIPT), "--steps", "2"], capture_output=True, text=True, check=True)
    assert "ReLU behind signs" in done.stdout
