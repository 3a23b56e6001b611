"""Frames in files without code: what comes back is what was saved, and no file does harm."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("safetensors")


from safetensors_cases import CLAIM, MODEL

from canonize import (
    SE,
    SO,
    Average,
    Best,
    Boxes,
    C,
    Chain,
    Confidence,
    D,
    Edges,
    Factor,
    Fields,
    Image,
    Index,
    Keywords,
    Mask,
    Nodes,
    O,
    Octahedral,
    Offsets,
    Point,
    Product,
    Rows,
    S,
    Scalar,
    Scored,
    Symmetry,
    SymmetryError,
    Tensor,
    Vector,
    Volume,
    generated_by,
    symmetrize,
)
from canonize.actions import Each
from canonize.frames import Oriented, Search
from canonize.integrations._config import decode, encode
from canonize.integrations._kinds import KINDS
from canonize.integrations.safetensors import load, save
from canonize.nn import GroupCNN, Scorer, Steerable

FRAMES: list[tuple[Callable[[], nn.Module], Any]] = [
    (lambda: Best(Scorer(2), resolution=8, gate=0.5, soft=0.25, select="gumbel", temperature=2.0, chunk=3), C(4)),
    (lambda: Best(Scorer(2, width=3, depth=5, disk=True)), D(8)),
    (lambda: Scored(GroupCNN(D(4), 2, width=3, depth=2, kernel=3)), D(4)),
    (lambda: Scored(GroupCNN(C(8), 2, width=5, depth=1, disk=False), gate=0.1), C(8)),
    (lambda: Search(Scorer(2, width=2, depth=1), grid=8, beams=1, refine=None, steps=3, resolution=6), SO(2)),
    (lambda: Oriented(Steerable(2, width=3, depth=2, orders=1, kernel=5, resolution=None)), SO(2)),
    (lambda: Oriented(Steerable(2, vectors=2, depth=1, reflections=True), resolution=9, scale=0.5), O(2)),
]


@pytest.mark.parametrize("number", range(len(FRAMES)))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_comes_back_answers_bit_for_bit(number: int, dtype: torch.dtype, tmp_path: Path) -> None:
    make, group = FRAMES[number]
    mended = symmetrize(MODEL, Symmetry(group, Image(), Scalar()), make()).eval()
    mended.frame.to(dtype)
    x = torch.rand(3, 2, 12, 12, dtype=dtype)
    expected = mended.frame(mended.symmetry, x)
    paths = save(mended, tmp_path / "deep" / "folder")
    assert [path.name for path in paths] == ["canonizer.safetensors", "config.json"]
    assert sorted(path.name for path in paths[0].parent.iterdir()) == ["canonizer.safetensors", "config.json"]
    state = torch.get_rng_state()
    claim, frame = load(tmp_path / "deep" / "folder")
    assert torch.equal(state, torch.get_rng_state())
    assert claim == mended.symmetry
    assert not frame.training
    assert encode(frame, "frame") == encode(mended.frame, "frame")
    assert torch.equal(frame(claim, x).elements, expected.elements)
    assert frame.state_dict().keys() == mended.frame.state_dict().keys()
    symmetrize(MODEL, *load(tmp_path / "deep" / "folder"))


def mixed() -> nn.Module:
    network = Scorer(2)
    network.head.double()
    return network


TREES: list[Any] = [
    None,
    Scalar(),
    (Image(padding="border"), None),
    [Point(), Vector()],
    {"a": Mask(fill=255), "b": Volume(interpolation="nearest")},
    Keywords(x=Image(), scale=None),
    Fields(pos=Rows(Point()), batch=Index(), inner=Fields(a=Tensor(2, odd=True))),
    Fields(far=Rows(Scalar(), edges=True), batch=Index(loose=True), ptr=Offsets(), edge_index=Edges()),
    Each(Fields(boxes=Boxes((4, 6), format="xywh", normalised=True))),
    Chain(Factor(0, Nodes()), Factor(1, Vector())),
    Nodes(),
    Boxes(None, normalised=True),
]


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_trees_of_actions_come_back(tree: Any) -> None:
    told = json.loads(json.dumps(encode(tree, "inputs")))
    back = decode(told, "action", "inputs")
    assert back == tree
    assert type(back) is type(tree)


@pytest.mark.parametrize(
    "group", [C(3), D(4), Octahedral(reflections=True), SO(3), SE(2), S(5), Product(S(3), O(3))], ids=repr
)
def test_groups_come_back(group: Any) -> None:
    assert decode(json.loads(json.dumps(encode(group, "group"))), "group", "group") == group


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if dataclasses.is_dataclass(kind.make)])
def test_every_option_of_a_class_is_known(name: str) -> None:
    made = {field.name for field in dataclasses.fields(KINDS[name].make) if field.init}
    assert set(KINDS[name].options) == made


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if not dataclasses.is_dataclass(kind.make)])
def test_every_option_of_a_network_or_frame_is_known(name: str) -> None:
    import inspect

    made = set(inspect.signature(KINDS[name].make).parameters) - {"generator"}
    assert set(KINDS[name].options) == made


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: Best(nn.Linear(2, 1)),
            r"cannot be saved as plain data: frame\.energy\n  got:      object of type Linear",
        ),
        (lambda: Best(Confidence(MODEL)), r"frame\.energy\n  got:      object of type Confidence"),
        (lambda: Best(lambda x: x.mean((1, 2, 3))), r"frame\.energy\n(.|\n)*state_dict"),
        (lambda: Average(), "a frame that is not on the list cannot be saved"),
        (lambda: lambda symmetry, inputs: None, "a frame that is not on the list cannot be saved"),
        (lambda: Best(mixed()), "its numbers\n  got:      float32, float64"),
    ],
)
def test_what_cannot_be_saved_is_told(make: Callable[[], Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(SymmetryError, match=told):
        save(symmetrize(MODEL, CLAIM, make()), tmp_path)
    assert not any(tmp_path.iterdir())


def test_other_things_that_cannot_be_saved(tmp_path: Path) -> None:
    frame = Best(Scorer(2))
    with pytest.raises(SymmetryError, match="save takes a symmetrized model"):
        save(frame, tmp_path)  # type: ignore[arg-type]  # on purpose
    for claim, told in (
        (Symmetry(generated_by([[[0.0, -1.0], [1.0, 0.0]]]), Image(), Scalar()), "plain data: group"),
        (Symmetry(C(4), lambda g, x: x, Scalar()), "plain data: inputs"),
        (Symmetry(C(4), {1: Image()}, Scalar()), "plain data: inputs"),
    ):
        with pytest.raises(SymmetryError, match=told):
            save(symmetrize(MODEL, claim, frame), tmp_path)
    with torch.no_grad():
        frame.energy.head.bias.fill_(torch.nan)
    with pytest.raises(SymmetryError, match="NaN or infinity"):
        save(symmetrize(MODEL, CLAIM, frame), tmp_path)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(SymmetryError, match="the canonizer cannot be written"):
        save(symmetrize(MODEL, CLAIM, Best(Scorer(2))), tmp_path / "file")


@pytest.mark.parametrize(("action", "option"), [(Vector(), "axis"), (Rows(Point()), "edges"), (Index(), "loose")])
def test_an_action_from_before_an_option_existed_has_its_default(action, option):
    told = encode(action, "inputs")
    assert told.pop(option) is not None
    assert decode(told, "action", "inputs") == action


def test_both_files_can_be_read_by_the_same_people(tmp_path):
    claim = Symmetry(C(4), Image(), Scalar())
    weights, config = save(symmetrize(torch.nn.Flatten(), claim, Best(Scorer(1, width=2, depth=1))), tmp_path)
    assert weights.stat().st_mode == config.stat().st_mode
