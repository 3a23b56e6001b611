"""Steps of frames for which graphs gave other numbers than eager, or none. In a process of its own: annotations are inert."""

import os
import subprocess
import sys

TABLE = """
import torch
from canonize import Best, C, Point, Scalar, Symmetry, symmetrize
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

from canonize.linalg.content import float_bits


# Contents read as whole numbers, which decide between poses that tie. Places multiplied by large numbers run over: a
# compiler that may assume they do not gives other keys, or a loop without an end.
def keys(x):
    return content_key(2 * x), float_bits(x)


fast = torch.compile(keys, fullgraph=True)
for batch in (8, 3):
    bits = torch.randint(-(2**31), 2**31 - 1, (batch, 36), dtype=torch.int32)
    # Numbers of every size: the largest, those below the smallest that is normal, both zeros.
    x = bits.view(torch.float32)
    x = torch.where(x.isfinite(), x, torch.tensor([0.0, -0.0, 1e-45, -1e-39]).repeat(9))
    for one, other in zip(fast(x), keys(x), strict=True):
        assert torch.equal(one, other)
    wanted = (x + 0.0).view(torch.int32).long()
    assert torch.equal(float_bits(x), wanted)

# Halves, which inductor reads in loops of other widths.
for dtype in (torch.float16, torch.bfloat16):
    fast = torch.compile(lambda x: content_key(2 * x), fullgraph=True)
    x = torch.randint(-8, 8, (5, 37)).to(dtype)
    assert torch.equal(fast(x), content_key(2 * x)), dtype

# With all sizes open from the first call on, numbers of a group and settings of a frame must stay numbers.
turns = Symmetry(C(4), Point(), Scalar())
best = symmetrize(lambda x: x[:, 0].cumsum(1), turns, Best(lambda x: x[..., 0].amax(1))).eval()
fast = torch.compile(best, fullgraph=True, dynamic=True, backend="eager")
with torch.no_grad():
    for batch in (3, 5):
        x = torch.randn(batch, 4, 2)
        torch.testing.assert_close(fast(x), best(x), rtol=0, atol=0)

# Rows of some samples, some of them empty, some taken twice or never; and the edges between them, numbered anew.
from canonize.actions import Edges, Index
from canonize.actions.rows import Layout, Taken, rows_of


def taken(index, edges, samples):
    part = Taken(Layout(index, None, edges), samples)
    return rows_of(index, samples), part.numbers(Index()), part.numbers(Edges())


fast = torch.compile(taken, fullgraph=True, backend="eager")
for owners, samples in (([0, 0, 1, 3, 3, 3], [3, 0, 3, 2]), ([1, 1, 2], [2, 1]), ([2, 0, 2, 1], [2, 2, 0])):
    index, samples = torch.tensor(owners), torch.tensor(samples)
    each = [[i, j] for i in range(len(owners)) for j in range(len(owners)) if owners[i] == owners[j]]
    edges = torch.tensor(each).T
    for one, other in zip(torch.utils._pytree.tree_leaves(fast(index, edges, samples)),
                          torch.utils._pytree.tree_leaves(taken(index, edges, samples)), strict=True):
        assert torch.equal(one, other), (one, other)
print("equal")
"""


def test_tables_of_poses_and_keys_and_rows_are_those_of_eager():
    command = [sys.executable, "-W", "ignore", "-c", TABLE]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=400)
    assert done.stdout.strip() == "equal", done.stderr[-2000:]
