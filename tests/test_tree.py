"""Mapping over trees of values."""

import dataclasses
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import pytest
import torch

from canonize import Scalar, SymmetryError
from canonize._tree import children, leaves, map_leaves, map_tensors, spec_leaves, tensors, to_arrays, to_tensors, walk


class Pair(NamedTuple):
    a: int
    b: int


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: int
    b: object = None


@dataclasses.dataclass
class Output(OrderedDict):
    """Like the outputs of well-known model libraries: a dataclass that is a mapping of what is not None, without update."""

    loss: object = None
    logits: object = None

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if getattr(self, field.name) is not None:
                OrderedDict.__setitem__(self, field.name, getattr(self, field.name))

    def update(self, *args, **kwargs):
        raise TypeError


VALUES = [
    3,
    (1, 2),
    [1, [2, 3]],
    Pair(1, 2),
    {"a": 1, "b": (2,)},
    Frozen(1, [2]),
    OrderedDict(a=1),
    (),
    {},
    Output(logits=1),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_the_identity_keeps_every_container(value):
    same = map_leaves(lambda leaf: leaf, value)
    assert type(same) is type(value)
    assert same == value
    assert children(value) is None or same is not value or value == ()


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_every_leaf_is_visited_once(value):
    seen = []
    map_leaves(seen.append, value)
    assert seen == [leaf for _, leaf in leaves(value)]


def test_mappings_that_are_dataclasses():
    doubled = map_leaves(lambda leaf: 2 * leaf, Output(logits=4))
    assert (doubled.loss, doubled.logits, dict(doubled)) == (None, 8, {"logits": 8})
    walked = walk(lambda spec, leaf, path: leaf + 1, {"logits": Scalar()}, Output(logits=4))
    assert dict(walked) == {"logits": 5}


def test_paths():
    assert dict(leaves({"a": [1, (2,)]})) == {".a[0]": 1, ".a[1][0]": 2}


def test_walk_goes_as_far_as_the_actions():
    seen = {}
    walk(
        lambda spec, one, two, path: seen.update({path: (spec, one, two)}),
        ["x", {"k": None}],
        [1, {"k": (2, 3)}],
        [4, {"k": 5}],
    )
    assert seen == {"[0]": ("x", 1, 4), "[1].k": (None, (2, 3), 5)}
    assert spec_leaves(["x", {"k": None}]) == ["x", None]


@pytest.mark.parametrize(
    ("spec", "value", "says"),
    [
        ((1, 2), (1,), "does not have the structure"),
        ([1], 3, "does not have the structure"),
        ({"a": 1}, [1], "does not have the structure"),
        ({"a": 1}, {"a": 1, "b": 2}, "not declared: b"),
        ({"a": 1, "b": 2}, {"a": 1}, "declared part is missing: b"),
        ({"a": {"b": 1}}, {"a": {"c": 1}}, "at .a"),
    ],
)
def test_mismatches_are_told(spec, value, says):
    with pytest.raises(SymmetryError, match=says):
        walk(lambda spec, leaf, path: leaf, spec, value)


def test_arrays_there_and_back():
    value = {"a": np.arange(3.0), "b": [1, torch.ones(2)]}
    inside, found = to_tensors(value)
    assert found
    assert isinstance(inside["a"], torch.Tensor)
    assert isinstance(to_arrays(inside)["b"][1], np.ndarray)
    assert to_tensors([1, torch.ones(2)])[1] is False
    assert tensors(map_tensors(torch.neg, value["b"]))[0].tolist() == [-1.0, -1.0]


def test_arrays_of_objects_are_refused():
    with pytest.raises(SymmetryError, match="not of numbers"):
        to_tensors(np.array(["a"]))


def test_memory_is_shared_where_torch_can():
    array = np.zeros(3)
    to_tensors(array)[0][0] = 1.0
    assert array[0] == 1.0
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    to_tensors(frozen)[0][0] = 1.0
    assert frozen[0] == 0.0
