"""Images and other values under finite groups: the orbit and nothing else, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from canonize import (
    C,
    D,
    Image,
    Nodes,
    Octahedral,
    S,
    SymmetryError,
    Volume,
    canonical_hash,
    duplicates,
    permutations_by,
)
from canonize.actions.grid import downward
from canonize.forms.digest import bulk, code, least, raw
from canonize.forms.orbit import _turned

WHOLE = [torch.uint8, torch.int16, torch.int64, torch.bool]
DTYPES = [*WHOLE, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64]


def picture(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """Without a symmetry, and exact in every dtype."""
    x = torch.randint(0, 200, shape, generator=torch.Generator().manual_seed(0))
    return x > 99 if dtype == torch.bool else x.to(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("group", [C(1), C(2), C(4), D(1), D(2), D(4)], ids=repr)
def test_turned_images_have_one_hash_in_every_dtype(group: Any, dtype: torch.dtype) -> None:
    x = picture(dtype, 3, 5, 5)
    hashes = {canonical_hash(Image()(g[None], x[None])[0], group) for g in group.elements()}
    assert len(hashes) == 1
    turns = {canonical_hash(Image()(g[None], x[None])[0], group) for g in D(4).elements()}
    assert len(turns) == 8 // group.order


@pytest.mark.parametrize(("group", "action", "d"), [(D(4), Image(), 2), (Octahedral(reflections=True), Volume(), 3)])
def test_turns_are_those_of_the_action(group: Any, action: Any, d: int) -> None:
    x = picture(torch.int64, 2, *[4] * d)
    for g in group.elements(dtype=torch.float64):
        assert torch.equal(_turned(x, downward(g)), action(g[None], x[None])[0])


def test_quarter_turns_may_exchange_the_sides() -> None:
    wide = picture(torch.uint8, 3, 4, 6)
    assert canonical_hash(wide, C(4)) == canonical_hash(wide.rot90(1, (-2, -1)), C(4))
    assert canonical_hash(wide, C(4)) != canonical_hash(wide.reshape(3, 6, 4), C(4))
    assert canonical_hash(wide, C(4)) != canonical_hash(wide.flip(-1), C(4))
    assert canonical_hash(wide, D(4)) == canonical_hash(wide.mT, D(4))


def test_volumes() -> None:
    x = picture(torch.float32, 1, 3, 4, 5)
    assert canonical_hash(x, Octahedral()) == canonical_hash(x.rot90(1, (-3, -1)), Octahedral())
    assert canonical_hash(x, Octahedral()) != canonical_hash(x.flip(-1), Octahedral())
    assert canonical_hash(x, Octahedral(reflections=True)) == canonical_hash(x.flip(-1), Octahedral(reflections=True))


def test_one_entry_makes_another_image() -> None:
    x = picture(torch.uint8, 3, 5, 5)
    y = x.clone()
    y[0, 0, 0] += 1
    assert canonical_hash(x, D(4)) != canonical_hash(y, D(4))
    assert duplicates([x, y, x.rot90(2, (-2, -1)), y.flip(-1)], D(4)) == [[0, 2], [1, 3]]
    assert x[0, 0, 0] == y[0, 0, 0] - 1


def test_zero_has_one_sign_and_numbers_no_dtype() -> None:
    x = torch.tensor([[0.0, 1.0], [2.0, -0.0]])
    assert canonical_hash(x, C(4)) == canonical_hash(x.abs().double(), C(4))
    assert canonical_hash(x, C(4)) != canonical_hash(x.long(), C(4))
    assert canonical_hash(x.long(), C(4)) == canonical_hash(x.to(torch.uint8), C(4))
    third = torch.tensor([[1 / 3]], dtype=torch.float64)
    assert canonical_hash(third, C(4)) != canonical_hash(third.float(), C(4))


def test_other_finite_groups_by_their_action() -> None:
    signal = torch.tensor([[3, 1, 4, 1, 5]])
    ring = permutations_by([torch.arange(5).roll(1)])
    one, turned, flipped = (
        canonical_hash(x, ring, action=Nodes(-1)) for x in (signal, signal.roll(2, -1), signal.flip(-1))
    )
    assert one == turned != flipped
    x = torch.randn(2, 3, 3)
    assert canonical_hash(x, D(4), action=Image()) == canonical_hash(x.mT, D(4), action=Image())


def test_values_are_told_apart_and_nothing_is_told_twice() -> None:
    values = [
        None,
        0,
        1,
        1.0,
        "1",
        b"1",
        (1,),
        (1, 1),
        ((1,), 1),
        [],
        [[]],
        torch.zeros(0, 2),
        "",
        {"a": 1},
        {"a": 2},
        1j,
    ]
    codes = [code(value) for value in values]
    assert len(set(codes)) == len(values)
    assert code({"a": 1, "b": 2}) == code({"b": 2, "a": 1})
    assert code(torch.tensor([1, 2])) == code([1, 2]) == code((1, 2))
    assert code(float("inf")) != code(float("-inf"))
    assert raw(torch.tensor([1, 256], dtype=torch.int16)) == b"\x01\x00\x00\x01"
    assert raw(torch.arange(6, dtype=torch.uint8).reshape(2, 3).T) == bytes([0, 3, 1, 4, 2, 5])
    assert bulk(torch.zeros(2, 3)) != bulk(torch.zeros(3, 2))


def test_the_smallest_dtype_that_holds_all_numbers() -> None:
    for numbers, dtype in (([0, 255], "uint8"), ([-1, 255], "int16"), ([0, 2**20], "int32"), ([2**40], "int64")):
        assert least(torch.tensor(numbers)).dtype == getattr(torch, dtype)
    assert least(torch.tensor([0.5], dtype=torch.float64)).dtype == torch.float32
    assert least(torch.tensor([0.1], dtype=torch.float64)).dtype == torch.float64
    assert least(torch.tensor([1j], dtype=torch.complex128)).dtype == torch.complex64
    assert not least(torch.tensor([-0.0])).signbit().any()
    assert least(torch.zeros(0, 3, dtype=torch.int64)).dtype == torch.uint8
    assert least(torch.tensor([3, 2**62], dtype=torch.uint64)).tolist() == [3, 2**62]
    with pytest.raises(SymmetryError, match=r"^whole numbers beyond 2\^63"):
        least(torch.tensor([2**63], dtype=torch.uint64))


@pytest.mark.parametrize(
    ("value", "group", "more", "what"),
    [
        (torch.zeros(3, 4, 4), C(8), {}, "C\\(8\\) does not map pixels onto pixels"),
        (torch.zeros(4), C(4), {}, "C\\(4\\) turns grids with 2 axes"),
        (torch.zeros(4, 4), C(4), {"tolerance": 0.1}, "entries that only move are compared exactly"),
        (torch.full((4, 4), torch.nan), C(4), {}, "not-a-number has no canonical form"),
        (torch.zeros(1, 4, 4), C(8), {"action": Image()}, "Image\\(\\) resamples under C\\(8\\)"),
        (torch.zeros(1, 4), S(), {"action": Nodes(-1)}, "S\\(\\) is too large to list"),
        (torch.zeros(4, 4), Image(), {}, "canonical_hash needs a group"),
        (torch.zeros(4, 4), C(4), {"tolerance": -1}, "the tolerance is no positive number"),
    ],
)
def test_what_does_not_fit_is_refused(value: Any, group: Any, more: Any, what: str) -> None:
    with pytest.raises(SymmetryError, match=f"^{what}"):
        canonical_hash(value, group, **more)
