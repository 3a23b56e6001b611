"""Grids of turns that lossless turns permute, and small turns."""

import pytest
import torch

from canonize import SO, C, D, O
from canonize.frames import turns

DOUBLE = torch.float64


@pytest.mark.parametrize("group", [SO(2), O(2), SO(3), O(3), C(1), C(6), C(62), C(64), D(12), D(31)], ids=repr)
@pytest.mark.parametrize("tilted", [False, True])
def test_grids_are_permuted_by_lossless_turns(group, tilted):
    kind = turns.kind_of(group)
    if tilted and kind.order is not None:
        return
    for size in turns.sizes(kind, 16, tilted=tilted):
        made = turns.grid(kind, size, tilted=tilted)
        assert len(made.elements) == size
        beside = torch.zeros(size, size, dtype=torch.bool)
        beside[torch.arange(size), made.beside] = True
        for h in kind.signed():
            same = ((turns.product(h, made.elements) + 0.0)[:, None] == made.elements).all(-1).all(-1)
            assert bool((same.sum(1) == 1).all())
            order = same.int().argmax(1)
            assert torch.equal(beside[order][:, order], beside)
        assert tilted == (not bool(torch.isin(made.elements, torch.tensor([-1.0, 0.0, 1.0])).all((-1, -2)).any()))


def test_small_turns_against_the_exponential():
    g, xi = SO(3).sample(7, dtype=DOUBLE), torch.randn(7, 3, dtype=DOUBLE)
    xi[0] = 0.0
    naive = g @ torch.linalg.matrix_exp(turns._spin(xi))
    torch.testing.assert_close(turns.turned(g, xi), naive, rtol=0, atol=1e-14)
    small = xi * 1e-4
    torch.testing.assert_close(turns.near(g, small), turns.turned(g, small), rtol=0, atol=1e-11)
    assert torch.equal(turns.near(g, 0 * xi), g)
