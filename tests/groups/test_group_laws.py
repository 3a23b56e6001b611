"""The group laws, over the whole list of groups, dtypes and batch shapes."""

import pytest
import torch

from canonize import Flips, S, generated_by
from canonize._tree import map_tensors, tensors
from canonize.groups import identity, order
from canonize.testing import check_group
from lists import BATCHES, DTYPES, FINITE, GROUPS, INFINITE

# What may be left unchecked, and why.
SKIPPED = {
    "Haar moments": "the group does not say haar = True",
    "other seeds give other samples": "every sample is the identity",
    "product, compose multiplies matrices": "the elements are neither matrices nor permutations",
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_laws(group, dtype):
    checked = check_group(group, dtype=dtype, count=48)
    assert {law for law, _ in checked.skipped} <= SKIPPED.keys()
    assert all(SKIPPED[law] in why for law, why in checked.skipped)
    # Signs are no matrices; tests of their own form their products.
    assert isinstance(group, Flips) == any(law.startswith("product") for law, _ in checked.skipped)
    assert "associativity" in str(checked)


def test_only_shifts_have_no_haar_law():
    without = [group for group in GROUPS if not group.haar]
    assert [type(group).__name__ for group in without] == ["Translation", "SE", "SE", "E"]


@pytest.mark.parametrize("shape", BATCHES, ids=str)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_batches_broadcast(group, shape):
    draw = torch.Generator().manual_seed(1)
    g, h = group.sample(shape, generator=draw), group.sample((), generator=draw)
    single = [t.shape for t in tensors(h)]
    for made in (g, group.compose(g, h), group.compose(h, g), group.inverse(g)):
        assert [t.shape for t in tensors(made)] == [(*shape, *rest) for rest in single]
    for part, alone in zip(tensors(group.compose(g, h)), tensors(_one_by_one(group, g, h, shape)), strict=True):
        torch.testing.assert_close(part, alone)


def _one_by_one(group, g, h, shape):
    flat = map_tensors(lambda t: t.reshape(torch.Size(shape).numel(), *t.shape[len(shape) :]), g)
    count = torch.Size(shape).numel()
    alone = [tensors(group.compose(map_tensors(lambda t, i=i: t[i], flat), h)) for i in range(count)]
    return [torch.stack(parts).reshape(*shape, *parts[0].shape) for parts in zip(*alone, strict=True)]


@pytest.mark.parametrize("group", FINITE, ids=str)
def test_elements_are_fresh_and_identity_is_first(group):
    first = group.elements(dtype=torch.float64)
    for part in tensors(first):
        part.zero_()
    again = group.elements(dtype=torch.float64)
    for part, one in zip(tensors(again), tensors(identity(group, dtype=torch.float64)), strict=True):
        assert torch.equal(part[0], one)
        assert len(part) == order(group)


@pytest.mark.parametrize("group", INFINITE, ids=str)
def test_infinite_groups_have_no_order(group):
    assert order(group) is None


@pytest.mark.parametrize("group", [g for g in FINITE if hasattr(g, "rows")], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_products_and_inverses_do_not_drift(group, dtype):
    table = {tuple(row) for row in group.elements(dtype=dtype).flatten(1).tolist()}
    draw = torch.Generator().manual_seed(0)
    g = group.sample((8,), generator=draw, dtype=dtype)
    for _ in range(20):
        g = group.compose(group.inverse(g), group.sample((8,), generator=draw, dtype=dtype))
    assert {tuple(row) for row in g.flatten(1).tolist()} <= table


@pytest.mark.parametrize("group", [g for g in FINITE if hasattr(g, "rows")], ids=str)
def test_what_is_not_a_number_stays_so(group):
    lost = torch.full((group.dim, group.dim), torch.nan)
    assert group.compose(lost, group.sample()).isnan().all()
    if group.dim <= 3:
        assert group.inverse(lost).isnan().all()


def test_residual_of_permutations():
    told = S(3).residual(torch.tensor([[0, 1, 2], [0, 0, 2], [3, 1, 0]]))
    assert told.tolist() == [False, True, True]


def test_generated_by_takes_lists_arrays_and_tensors_in_full_precision():
    third = [[-0.5, -(0.75**0.5)], [0.75**0.5, -0.5]]
    groups = [
        generated_by(m) for m in (third, torch.tensor(third, dtype=torch.float64), torch.tensor(third).double().numpy())
    ]
    assert [g.order for g in groups] == [3, 3, 3]
    assert groups[0] == groups[1]
