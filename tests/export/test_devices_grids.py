"""What a device moves and refuses as the CPU does, where shapes and dtypes tell that a look is needed."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parent.parent.parent / "benchmarks"
MOVES = """
import torch
from devices import Simulated
from canonize import Average, C, Image, Scalar, Symmetry, symmetrize

torch.manual_seed(0)
machine = Simulated()
model = symmetrize(lambda x: x.double().mean((2, 3)) + x[..., 0, 0].double(), Symmetry(C(4), Image(), Scalar()), Average())
inputs = {
    "whole": torch.randint(255, (2, 1, 6, 6), dtype=torch.uint8),
    "truths": torch.rand(2, 1, 6, 6) > 0.5,
    "oblong": torch.rand(2, 1, 6, 5),
}
for name, x in inputs.items():
    try:
        found, _ = machine.call(model, (x,))
    except Exception as error:
        print(name, str(error).splitlines()[0])
    else:
        print(name, "equal" if name != "oblong" and torch.equal(found, model(x)) else "other")

import canonize.actions.grid as grid
resample, calls = grid._resample, []
grid._resample = lambda *args: calls.append(1) or resample(*args)
for mode in (False, True):
    torch.use_deterministic_algorithms(mode)
    calls.clear()
    _, waits = machine.call(model, (torch.rand(2, 1, 6, 6),))
    print(f"exact-{mode}", bool(calls), bool(waits))
"""


def test_whole_numbers_are_moved_and_oblong_images_are_refused():
    """Entries of any dtype are moved without loss; a quarter turn of an oblong image is none."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run([sys.executable, "-c", MOVES], capture_output=True, text=True, check=False, env=env)
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert found.get("whole") == found.get("truths") == "equal", (found, done.stderr[-2000:])
    assert "a quarter turn exchanges height and width" in found["oblong"]
    # Resampled beside the move, without a wait; where sums have to be the same each time, the other way round.
    assert (found["exact-False"], found["exact-True"]) == ("True False", "False True")
