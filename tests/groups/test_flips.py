"""Flips: the laws of the group, its list, and what it refuses."""

import copy
import pickle
from dataclasses import dataclass

import pytest
import torch

from canonize import Flips, LawError, O, Product, S, SymmetryError
from canonize.groups import identity, order
from canonize.testing import check_group
from lists import BATCHES, DTYPES

GROUPS = [
    *(Flips(n) for n in (0, 1, 3, 7)),
    Product(Flips(3), Flips(2)),
    Product(S(3), Flips(2)),
    Product(Flips(2), O(3)),
]
# What may be left unchecked, and why.
SKIPPED = {
    "other seeds give other samples": "every sample is the identity",
    "product, compose multiplies matrices": "neither matrices nor permutations",
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_laws(group, dtype):
    checked = check_group(group, dtype=dtype, count=48)
    assert {law for law, _ in checked.skipped} <= SKIPPED.keys()
    assert all(SKIPPED[law] in why for law, why in checked.skipped)


@pytest.mark.parametrize("shape", BATCHES, ids=str)
@pytest.mark.parametrize("dtype", [*DTYPES, torch.bfloat16], ids=str)
def test_products_are_those_of_diagonal_matrices(dtype, shape):
    group, draw = Flips(4), torch.Generator().manual_seed(0)
    g, h = group.sample(shape, generator=draw, dtype=dtype), group.sample((), generator=draw, dtype=dtype)
    product = torch.diag_embed(g) @ torch.diag_embed(h)
    assert torch.equal(torch.diag_embed(group.compose(g, h)), product)
    assert torch.equal(group.compose(g, group.inverse(g)), identity(group, dtype=dtype).expand(*shape, 4))
    assert group.sample(shape, dtype=dtype).dtype == group.inverse(g).dtype == dtype


@pytest.mark.parametrize("n", range(6))
def test_all_elements_are_listed_once(n):
    found = Flips(n).elements()
    assert found.shape == (2**n, n)
    assert len({tuple(row) for row in found.tolist()}) == order(Flips(n)) == 2**n
    assert not Flips(n).residual(found).any()
    assert (found[0] == 1).all()


def test_no_more_than_16_are_listed():
    assert Flips(200).order == 2**200
    assert len(Flips(16).elements()) == 65536
    with pytest.raises(SymmetryError, match=r"too large to list[\s\S]*SignRule"):
        Flips(17).elements()


def test_residuals_tell_what_is_no_sign():
    bad = torch.tensor([[1.0, -1.0], [1.0, 0.0], [torch.nan, 1.0], [2.0, 1.0]])
    assert Flips(2).residual(bad).tolist() == [False, True, True, True]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", [-1, 2.0, True, None, "3"])
def test_sizes_are_whole_numbers(bad):
    with pytest.raises(SymmetryError, match="needs a size"):
        Flips(bad)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "bad", [torch.ones(3, 4), torch.tensor(1.0), [1.0, 1.0], torch.ones(2, dtype=torch.float64)], ids=str
)
def test_elements_of_other_groups_are_refused(bad):
    with pytest.raises(SymmetryError, match=r"Flips\(2\)"):
        Flips(2).compose(bad, torch.ones(2))


@pytest.mark.usefixtures("unchecked")
def test_whole_numbers_are_refused():
    with pytest.raises(SymmetryError, match="floating-point"):
        Flips(2).sample(dtype=torch.int64)


def test_copies_are_equal():
    assert pickle.loads(pickle.dumps(Flips(3))) == copy.deepcopy(Flips(3)) == Flips(3) != Flips(4)
    assert repr(Flips(3)) == "Flips(n=3)" or repr(Flips(3)) == "Flips(3)"


@dataclass(frozen=True)
class Planted:
    """A group of flips with a fault."""

    fault: str
    haar = True
    order = 8

    def elements(self, **how):
        found = Flips(3).elements(**how)
        return found.flip(0) if self.fault == "identity last" else found

    def identity(self, **how):
        return Flips(3).identity(**how)

    def sample(self, shape=(), **how):
        found = Flips(3).sample(shape, **how)
        return found.abs() * torch.where(found[..., :1] > 0, 1, found) if self.fault == "uneven" else found

    def compose(self, g, h):
        return (g + h).sign() if self.fault == "sum" else g * h

    def inverse(self, g):
        return -g if self.fault == "minus" else g.clone()


@pytest.mark.parametrize("fault", ["identity last", "uneven", "sum", "minus"])
def test_planted_faults_are_caught(fault):
    check_group(Planted("none"))
    with pytest.raises(LawError):
        check_group(Planted(fault))
