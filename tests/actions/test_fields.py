"""Named fields of anything, and rows of many samples in one tensor."""

import dataclasses
from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch

from canonize import SE, SO, Fields, Index, Point, Rows, Scalar, Vector
from canonize.actions import lossless_tree, move
from canonize.actions.trees import batch_of, repeat, row_index, take
from lists import Cloud, Pair, draw, ragged

POS, CHARGE = draw(3, 4, 3), draw(3, 4)


class Slots:
    """An object with attributes and no constructor arguments."""


def slots(pos, charge):
    made = Slots()
    made.pos, made.charge = pos, charge
    return made


class Record(OrderedDict):
    pass


MAKERS = {
    "dict": lambda: {"pos": POS, "charge": CHARGE, "name": "kept"},
    "mapping": lambda: Record(pos=POS, charge=CHARGE, name="kept"),
    "dataclass": lambda: Cloud(POS, CHARGE),
    "attributes": lambda: SimpleNamespace(pos=POS, charge=CHARGE, name="kept"),
    "object": lambda: slots(POS, CHARGE),
}


def get(value, name):
    return value[name] if isinstance(value, dict) else getattr(value, name)


@pytest.mark.parametrize("kind", MAKERS)
def test_named_parts_move_and_the_rest_is_left_alone(kind):
    value, g = MAKERS[kind](), SE(3).sample(3, dtype=torch.float64)
    moved = move(Fields(pos=Point(), charge=Scalar()), g, value)
    assert type(moved) is type(value)
    assert moved is not value
    assert torch.equal(get(moved, "pos"), Point()(g, POS))
    assert get(moved, "charge") is CHARGE
    assert get(value, "pos") is POS


def test_named_tuples_and_nested_fields():
    value = {"one": Pair(POS, CHARGE), "two": [Cloud(POS, CHARGE)]}
    spec = {"one": Fields(first=Point()), "two": [Fields(pos=Vector())]}
    g = SE(3).sample(3, dtype=torch.float64)
    moved = move(spec, g, value)
    assert isinstance(moved["one"], Pair)
    assert torch.equal(moved["one"].first, Point()(g, POS))
    assert torch.equal(moved["two"][0].pos, Vector()(g, POS))


def test_names_that_are_no_python_words():
    g = SO(3).sample(3, dtype=torch.float64)
    assert torch.equal(move(Fields({"a b": Vector()}), g, {"a b": POS})["a b"], Vector()(g, POS))


def test_fields_of_a_frozen_dataclass_that_the_constructor_does_not_take():
    @dataclasses.dataclass(frozen=True)
    class Derived:
        pos: torch.Tensor
        twice: torch.Tensor = dataclasses.field(init=False)

        def __post_init__(self):
            object.__setattr__(self, "twice", 2 * self.pos)

    value, g = Derived(POS), SO(3).sample(3, dtype=torch.float64)
    moved = move(Fields(twice=Vector()), g, value)
    assert torch.equal(moved.twice, Vector()(g, value.twice))
    assert moved.pos is POS


SPEC = Fields(pos=Rows(Point()), batch=Index(loose=True))


def test_rows_follow_their_sample_whatever_their_order():
    value, g = ragged(torch.float64), SE(3).sample(3, dtype=torch.float64)
    moved = move(SPEC, g, value)["pos"]
    for row, sample in enumerate(value["batch"].tolist()):
        alone = Point()(type(g)(g.linear[sample], g.shift[sample]), value["pos"][row])
        torch.testing.assert_close(moved[row], alone)


@pytest.mark.parametrize(
    ("index", "size"), [([2, 0, 2], 3), ([0], 1), ([], 0), ([1, 1, 1], 2), ([0, 1, 2], 3)], ids=str
)  # fmt: skip
def test_batch_sizes_of_rows(index, size):
    value = {"pos": draw(len(index), 3), "batch": torch.tensor(index, dtype=torch.int64)}
    assert batch_of(SPEC, value)[0] == size
    g = SE(3).sample(size, dtype=torch.float64)
    assert move(SPEC, g, value)["pos"].shape == value["pos"].shape
    assert lossless_tree(SPEC, g, value).shape == (size,)


def test_trailing_samples_without_rows_are_told_by_another_field():
    value = {**ragged(torch.float64), "energy": draw(5)}
    assert batch_of(Fields(pos=Rows(Point()), batch=Index(loose=True), energy=Scalar()), value)[0] == 5


def test_repeat_and_take_are_each_others_inverse_on_rows():
    value = ragged(torch.float64)
    many = repeat(SPEC, value, 4, index=row_index(SPEC, value), batch=3)
    assert batch_of(SPEC, many)[0] == 12
    for copy in range(4):
        back = take(SPEC, many, torch.arange(3) + 3 * copy)
        for sample in range(3):
            rows = value["pos"][value["batch"] == sample]
            assert torch.equal(back["pos"][back["batch"] == sample], rows)


def test_take_reorders_samples():
    value = ragged(torch.float64)
    some = take(SPEC, value, torch.tensor([2, 0]))
    assert torch.equal(some["pos"][some["batch"] == 0], value["pos"][value["batch"] == 2])
    assert torch.equal(some["pos"][some["batch"] == 1], value["pos"][value["batch"] == 0])


def test_int32_index():
    value = ragged(torch.float64)
    value["batch"] = value["batch"].int()
    assert move(SPEC, SE(3).sample(3, dtype=torch.float64), value)["batch"].dtype == torch.int32
