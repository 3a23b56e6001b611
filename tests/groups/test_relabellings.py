"""S(): permutations of as many things as each sample has."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from canonize import O, Product, S, SymmetryError
from canonize.groups import identity, order
from canonize.testing import check_group

SIZES = [3, 1, 5, 0, 2]


def test_elements_stay_within_their_sample() -> None:
    g = S().for_sizes(SIZES).sample((200, 5), generator=torch.Generator().manual_seed(0))
    assert g.shape == (200, 5, 5)
    for sample, size in enumerate(SIZES):
        assert torch.equal(g[:, sample, size:], torch.arange(size, 5).expand(200, -1))
        assert torch.equal(g[:, sample, :size].sort(-1).values, torch.arange(size).expand(200, -1))
    # All six permutations of three things come, about equally often.
    _, counts = g[:, 0, :3].unique(dim=0, return_counts=True)
    assert len(counts) == 6
    assert int(counts.min()) > 15


def test_equal_sizes_are_the_group_of_that_size() -> None:
    assert S().for_sizes([4, 4]) == S(4)
    assert S(4).for_sizes([4, 4]) == S(4)
    assert S().for_sizes([]) == S(0)
    assert Product(S(), O(3)).for_sizes([2, 2]) == Product(S(2), O(3))


def test_short_permutations_stand_for_long_ones() -> None:
    g, h = torch.tensor([1, 0]), torch.tensor([2, 0, 1])
    assert S().compose(g, h).tolist() == [2, 1, 0]
    assert S().compose(h, g).tolist() == [0, 2, 1]
    assert S().compose(identity(S()), h).tolist() == h.tolist()
    assert S().inverse(h).tolist() == [1, 2, 0]
    assert order(S()) is None
    assert order(S().for_sizes([1, 2])) is None


def test_laws_of_sampled_relabellings() -> None:
    group = S().for_sizes([4])
    check_group(group)
    wide = S().for_sizes(SIZES)
    g, h, k = (wide.sample((5,), generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    assert torch.equal(wide.compose(wide.compose(g, h), k), wide.compose(g, wide.compose(h, k)))
    assert torch.equal(wide.compose(g, wide.inverse(g)), identity(wide).expand(5, 5))
    assert not wide.residual(g).any()


def test_copies() -> None:
    for group in (S(), S().for_sizes(SIZES), Product(S(), O(3))):
        assert pickle.loads(pickle.dumps(group)) == copy.deepcopy(group) == group
    assert repr(S()) == "S()"


def test_refused() -> None:
    with pytest.raises(SymmetryError, match="no size of its own"):
        S().sample(3)
    with pytest.raises(SymmetryError, match="too large to list"):
        S().elements()
    with pytest.raises(SymmetryError, match="does not fit samples"):
        S(3).for_sizes([3, 4])
    with pytest.raises(SymmetryError, match="does not fit samples"):
        S().for_sizes([-1])
    with pytest.raises(SymmetryError, match="samples whose sizes are known"):
        S().for_sizes([1, 2]).sample(3)
    with pytest.raises(SymmetryError, match="needs a size"):
        S(-1)
    with pytest.raises(SymmetryError, match="are permutations"):
        S().compose(torch.tensor([0, 1], dtype=torch.int32), torch.tensor([1, 0], dtype=torch.int32))
