"""The example of a learned constitutive law, with fast settings."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "examples" / "constitutive_law.py"
EXAMPLE = runpy.run_path(str(SCRIPT))


@pytest.mark.parametrize("stress", sorted(EXAMPLE["ACTIONS"]))
def test_the_law_becomes_objective_and_stays_right(stress):
    found = EXAMPLE["compare"](stress, 150)
    bare, objective = found["bare"], found["behind Polar()"]
    # The law is kept to rounding, and the bare network breaks it by about the size of its answers.
    assert objective["objectivity"] < 1e-4
    assert bare["objectivity"] > 0.5
    assert bare["test, any rotation"] > 2 * objective["test, any rotation"]
    # Nothing is lost where the body is turned as those of the training were.
    assert objective["test, nearly upright"] < 1.2 * bare["test, nearly upright"]
    upright, turned = objective["test, nearly upright"], objective["test, any rotation"]
    assert abs(upright - turned) < 1e-4


@pytest.mark.parametrize("stress", sorted(EXAMPLE["ACTIONS"]))
def test_the_true_law_is_objective_and_the_derivative_of_its_energy(stress):
    draw = torch.Generator().manual_seed(0)
    body = EXAMPLE["bodies"](20, 0.1, draw).double()
    turns = torch.linalg.qr(torch.randn(20, 3, 3, generator=draw, dtype=torch.float64))[0]
    turns = turns * torch.linalg.det(turns)[:, None, None]
    law = EXAMPLE["neo_hookean"]
    torch.testing.assert_close(law(turns @ body, stress), EXAMPLE["ACTIONS"][stress](turns, law(body, stress)))
    body.requires_grad_()
    volume = torch.linalg.det(body).log()
    energy = EXAMPLE["SHEAR"] * ((body**2).sum((1, 2)) / 2 - volume) + EXAMPLE["BULK"] * volume**2 / 2
    piola = torch.autograd.grad(energy.sum(), body)[0]
    torch.testing.assert_close(law(body, stress), piola if stress == "piola" else piola @ body.mT)


def test_it_is_called_as_it_says():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--steps", "2", "--stress", "kirchhoff"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "behind Polar()" in done.stdout
