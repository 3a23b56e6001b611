"""Poses of clouds do not depend on how many pairs of poses and points are looked at together."""

import pytest
import torch

from canonize import SE, E, Fields, Index, Point, Rows, Scalar, Symmetry, Weighted
from canonize.frames import anchors
from canonize.frames.pairs import _sums_along

DOUBLE = torch.float64


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


@pytest.mark.parametrize("group", [SE(3), E(3), E(2)], ids=repr)
@pytest.mark.parametrize("block", [1, 7, 1000])
def test_blocks_change_nothing(monkeypatch, group, block):
    value = {"pos": drawn(31, group.n), "batch": torch.tensor([0] * 4 + [1] * 20 + [3] * 7)}
    claim = Symmetry(group, Fields(pos=Rows(Point()), batch=Index(loose=True)), Scalar())
    monkeypatch.setattr(anchors, "_BLOCK", 1 << 30)
    whole = Weighted(width=0.3)(claim, value)
    monkeypatch.setattr(anchors, "_BLOCK", block)
    parts = Weighted(width=0.3)(claim, value)
    assert whole.count > 2
    torch.testing.assert_close(parts.weights, whole.weights, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(parts.elements.linear, whole.elements.linear, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("most", [1, 10, 16, 1 << 20])
def test_blocks_hold_each_chain_once_and_no_more_pairs_than_they_may(monkeypatch, most):
    monkeypatch.setattr(anchors, "_BLOCK", most)
    counts = torch.tensor([3, 9, 1, 0, 30, 2, 2])
    parts = list(anchors.blocks(counts))
    assert [place for part in parts for place in range(part.start, part.stop)] == list(range(len(counts)))
    assert all(counts[part].sum() <= most or part.stop - part.start == 1 for part in parts)
    assert list(anchors.blocks(counts[:0])) == []


def test_sums_along_axes_are_those_of_a_loop():
    x, weights, axes = drawn(12, 3), drawn(12, seed=1).abs(), drawn(4, 3, seed=2)
    starts, counts = torch.tensor([0, 0, 5, 7]), torch.tensor([5, 5, 2, 5])
    found = _sums_along(axes, x, weights, starts, counts)
    for number in range(4):
        rows = slice(int(starts[number]), int(starts[number] + counts[number]))
        t, w = x[rows] @ axes[number], weights[rows]
        wanted = torch.stack([w.sum(), (w * t**2).sum(), (w * t**3).sum(), (w * t.abs() ** 3).sum()])
        torch.testing.assert_close(found[:, number], wanted)
