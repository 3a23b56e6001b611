"""On a device: the same numbers, nothing left on the CPU, and the host waits as often as docs/export.md says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "benchmarks" / "devices.py"
PLANTED = """
import torch, devices
from canonize import Average, C, Image, Scalar, Symmetry, symmetrize

torch.manual_seed(0)
machine, turns = devices.Simulated(), Symmetry(C(4), Image(), Scalar())
def spent(model):
    return devices.measure(devices.Case(symmetrize(model, turns, Average()), devices.pictures, 1), machine)

class Bare(torch.nn.Module):
    def forward(self, x):
        return x.mean((1, 2, 3))

class Forgets(Bare):
    def forward(self, x):
        return super().forward(x * torch.ones(6))

class Stays(Bare):
    def forward(self, x):
        return super().forward(x).cpu()

class Waits(Bare):
    def forward(self, x):
        return super().forward(x) * x[x > 0].sign().mean() if float(x.sum()) > 0 else super().forward(x)

class Sends(Bare):
    def forward(self, x):
        return super().forward(x) * torch.tensor([1.0], device=x.device)

class Differs(Bare):
    def forward(self, x):
        return super().forward(x) + (x.device.type != "cpu")

class Hides(Bare):
    def forward(self, x):
        return super().forward(x).nan_to_num()

for model in (Bare(), Forgets(), Stays(), Waits(), Sends(), Differs(), Hides()):
    found = spent(model)
    print(type(model).__name__, found["waits"], found["wrong"])
"""


def run(*command):
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parent)}
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, env=env)


def check(*options):
    done = run(str(SCRIPT), "--check", *options)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert found, done.stderr[-2000:]
    assert done.returncode == 0, "\n".join(map(str, found))


def test_what_waits_and_what_comes_out():
    check()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine: torch.cuda.is_available() is False")
def test_what_waits_on_a_real_one():
    check("--device", "cuda")


def test_the_device_that_is_not_there_finds_planted_faults():
    """A tensor left behind, an answer brought home, looks, copies that wait, other numbers, and a hidden not-a-number."""
    done = run("-c", PLANTED)
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert found["Bare"] == "0 ", done.stderr[-2000:]
    assert "tensors on two devices" in found["Forgets"]
    assert "tensors on two devices" in found["Stays"]
    # Four calls of the model: a look and a mask in each, and a copy in each.
    assert found["Waits"].startswith("8 ")
    assert found["Sends"].startswith("4 ")
    assert "AssertionError: a difference" in found["Differs"]
    assert found["Hides"] == "0 not-a-number passed"
