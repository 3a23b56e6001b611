"""Steps of frames for which inductor gave other numbers than eager. In a process of its own: annotations are inert."""

import os
import subprocess
import sys

TABLE = """
import torch
from canonize.frames.pairs import Listing

torch.manual_seed(0)


def table(sample, turns, weights):
    return Listing(sample, turns, weights).table(2)


# Three poses of one sample, one of the other.
known = torch.tensor([0, 0, 0, 1]), torch.randn(4, 2, 2).double(), torch.rand(4).double()
fast = torch.compile(table, fullgraph=True)
for one, other in zip(fast(*known), table(*known), strict=True):
    torch.testing.assert_close(one, other, rtol=0, atol=0)
from canonize.linalg import content_key

# Contents read as whole numbers, which decide between poses that tie.
keys = torch.compile(lambda x: content_key(2 * x), fullgraph=True)
for batch in (8, 3):
    x = torch.randn(batch, 36)
    assert torch.equal(keys(x), content_key(2 * x))
print("equal")
"""


def test_tables_of_poses_and_keys_of_contents_are_those_of_eager():
    command = [sys.executable, "-W", "ignore", "-c", TABLE]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.stdout.strip() == "equal", done.stderr[-2000:]
