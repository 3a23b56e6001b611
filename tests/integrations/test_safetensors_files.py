"""Frames in files without code: what comes back is what was saved, and no file does harm."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("safetensors")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

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

CLAIM = Symmetry(C(4), Image(), Scalar())
MODEL = nn.Sequential(nn.Flatten(), nn.Linear(2 * 12 * 12, 3))
FRAMES: list[tuple[Callable[[], nn.Module], Any]] = [
    (lambda: Best(Scorer(2), resolution=8, gate=0.5, soft=0.25, select="gumbel", temperature=2.0, chunk=3), C(4)),
    (lambda: Best(Scorer(2, width=3, depth=5, disk=True)), D(8)),
    (lambda: Scored(GroupCNN(D(4), 2, width=3, depth=2, kernel=3)), D(4)),
    (lambda: Scored(GroupCNN(C(8), 2, width=5, depth=1, disk=False), gate=0.1), C(8)),
    (lambda: Search(Scorer(2, width=2, depth=1), grid=8, beams=1, refine=None, steps=3, resolution=6), SO(2)),
    (lambda: Oriented(Steerable(2, width=3, depth=2, orders=1, kernel=5, resolution=None)), SO(2)),
    (lambda: Oriented(Steerable(2, vectors=2, depth=1, reflections=True), resolution=9, scale=0.5), O(2)),
]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(symmetrize(MODEL, CLAIM, Best(Scorer(2, width=2, depth=1))), tmp_path)
    return tmp_path


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


def test_nothing_of_the_model_is_in_the_files(saved: Path) -> None:
    size = sum(p.numel() * 4 for p in Scorer(2, width=2, depth=1).parameters())
    assert (saved / "canonizer.safetensors").stat().st_size < size + 2000
    assert b"model" not in (saved / "canonizer.safetensors").read_bytes()


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


def changed(folder: Path, path: str, value: Any) -> None:
    """The configuration with another value at a dotted path; `...` takes it out."""
    told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    *way, last = path.split(".")
    inner = told
    for name in way:
        inner = inner[name]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    (folder / "config.json").write_text(json.dumps(told), encoding="utf-8")


@pytest.mark.parametrize(("action", "option"), [(Vector(), "axis"), (Rows(Point()), "edges"), (Index(), "loose")])
def test_an_action_from_before_an_option_existed_has_its_default(action, option):
    told = encode(action, "inputs")
    assert told.pop(option) is not None
    assert decode(told, "action", "inputs") == action


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("format", "other", r"config\.json\n"),
        ("format_version", 2, "another format\n  got:      format_version 2"),
        ("format_version", True, "another format\n  got:      format_version True"),
        ("dtype", "int64", "dtype\n  got:      'int64'"),
        ("dtype", "float64", "F32\n  expected: .*F64"),
        ("dtype", ["x"], "dtype"),
        ("frame", None, "frame\n"),
        ("frame", {"class": "os.system"}, "frame\n  got:      class 'os.system'\n  expected: Best, Scored"),
        ("frame.class", "Scored", "frame\n  got:      Scored with"),
        ("frame.class", "Scorer", "frame\n  got:      class 'Scorer'"),
        ("frame.resolution", True, "frame.resolution\n  got:      True"),
        ("frame.resolution", 10**12, "frame.resolution"),
        ("frame.gate", "1", "frame.gate"),
        ("frame.temperature", 0, "Best: bad temperature"),
        ("frame.extra", 1, "frame\n"),
        ("frame.select", ..., "the options"),
        ("frame.energy.class", "Linear", "frame.energy\n  got:      class 'Linear'"),
        (
            "frame.energy.width",
            10**9,
            "frame.energy.width\n  got:      1000000000\n  expected: a whole number from 1 to 4,096",
        ),
        ("frame.energy.width", 4096, r"canonizer\.safetensors\n  got:      energy\."),
        ("frame.energy.width", 3, r"canonizer\.safetensors\n  got:      energy\."),
        ("frame.energy.depth", 64, "the names differ"),
        ("frame.energy.depth", 2, "the names differ"),
        ("frame.energy.channels", 4096, r"canonizer\.safetensors"),
        ("frame.energy.channels", 2.0, "frame.energy.channels"),
        ("frame.energy.disk", "no", "frame.energy.disk"),
        ("symmetry", [], "symmetry"),
        ("symmetry.group", {"class": "C", "n": 0}, "group.n"),
        ("symmetry.group", {"class": "C", "n": 10**9}, "group.n"),
        ("symmetry.group", {"class": "Image"}, "group\n"),
        ("symmetry.group", {"class": "Product", "items": {}}, "group\n"),
        ("symmetry.group", {"class": "Product", "items": []}, "Product"),
        ("symmetry.group", None, "group\n"),
        ("symmetry.inputs", {"class": "Image", "padding": "zeros"}, "inputs\n"),
        ("symmetry.inputs", {"class": "tuple", "items": [None] * 5000}, "inputs\n  got:      5000 entries"),
        ("symmetry.inputs", {"class": "Rows", "action": None, "edges": False}, "Rows wraps one action"),
        ("symmetry.inputs", "Image", "inputs\n  got:      'Image'"),
        ("symmetry.inputs", {"class": ["x"]}, "inputs\n"),
        ("canonize", ..., r"config\.json\n"),
    ],
)
def test_a_changed_configuration_is_refused(saved: Path, path: str, value: Any, told: str) -> None:
    changed(saved, path, value)
    with pytest.raises(SymmetryError, match=told):
        load(saved)


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        ({"class": "GroupCNN", "group": {"class": "C", "n": 4096}, "channels": 2, "width": 2, "depth": 2, "kernel": 3,
          "disk": False}, "at most 64 elements"),
        ({"class": "GroupCNN", "group": {"class": "SO", "n": 2}, "channels": 2, "width": 2, "depth": 2, "kernel": 3,
          "disk": False}, "at most 64 elements"),
        ({"class": "GroupCNN", "group": {"class": "S", "n": 4}, "channels": 2, "width": 2, "depth": 2, "kernel": 3,
          "disk": False}, "GroupCNN needs a finite group"),
        ({"class": "GroupCNN", "group": {"class": "C", "n": 4}, "channels": 2, "width": 2, "depth": 2, "kernel": 4,
          "disk": False}, "an even kernel"),
    ],
)  # fmt: skip
def test_a_network_of_another_group(saved: Path, frame: Any, told: str) -> None:
    changed(saved, "frame.energy", frame)
    with pytest.raises(SymmetryError, match=told):
        load(saved)


def test_the_largest_network_of_a_small_file_takes_little_memory(saved: Path) -> None:
    options = {"channels": 4096, "vectors": 1024, "width": 2, "depth": 64, "reflections": False, "resolution": None}
    changed(saved, "frame", {"class": "Oriented", "network": None, "resolution": None, "scale": 1.0})
    for orders, kernel, told in ((16, 15, "frame.network.orders"), (8, 31, "frame.network.kernel"), (8, 15, "differ")):
        changed(saved, "frame.network", {"class": "Steerable", "orders": orders, "kernel": kernel, **options})
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(SymmetryError, match=told):
            load(saved)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000


def test_a_stop_while_files_are_written_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(weights: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("canonize.integrations.safetensors.save_file", stopped)
    with pytest.raises(KeyboardInterrupt):
        save(symmetrize(MODEL, CLAIM, Best(Scorer(2))), tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[" * 100_000, b"\xff\xfe", b"3", b'{"format": NaN}', b"[" + b"9" * 10_000 + b"]", b" " * (2**20 + 1)],
    ids=["empty", "cut", "deep", "bytes", "number", "NaN", "long number", "long"],
)
def test_a_configuration_that_is_none(saved: Path, text: bytes) -> None:
    (saved / "config.json").write_bytes(text)
    with pytest.raises(SymmetryError, match=r"^this is no saved canonizer: config\.json"):
        load(saved)


def test_deep_containers(saved: Path) -> None:
    tree: Any = {"class": "Scalar"}
    for _ in range(40):
        tree = {"class": "tuple", "items": [tree]}
    changed(saved, "symmetry.inputs", tree)
    with pytest.raises(SymmetryError, match="more containers within containers"):
        load(saved)


def cut(whole: bytes) -> bytes:
    return whole[:-1]


def huge_header(whole: bytes) -> bytes:
    return (2**40).to_bytes(8, "little") + whole[8:]


def long_header(whole: bytes) -> bytes:
    return (2**21).to_bytes(8, "little") + b" " * 2**21


@pytest.mark.parametrize(
    "damage", [cut, huge_header, long_header, lambda _: b"", lambda _: b"\0" * 8, lambda w: w + b"\0"]
)
def test_damaged_numbers(saved: Path, damage: Callable[[bytes], bytes]) -> None:
    path = saved / "canonizer.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SymmetryError, match=r"^this is no saved canonizer: canonizer\.safetensors"):
        load(saved)


def test_numbers_of_something_else(saved: Path) -> None:
    path = saved / "canonizer.safetensors"
    save_file({"energy.stem.weight": torch.zeros(2, 2, 5, 5)}, path)
    with pytest.raises(SymmetryError, match=r"the names differ: .*energy\.blocks"):
        load(saved)
    path.unlink()
    with pytest.raises(SymmetryError, match=r"^no saved canonizer here\n  got:      no file canonizer\.safetensors"):
        load(saved)
    with pytest.raises(SymmetryError, match=r"no file config\.json"):
        load(saved / ".." / "nowhere")


def test_infinite_numbers(saved: Path) -> None:
    weights = {name: value + torch.inf for name, value in load(saved)[1].state_dict().items()}
    save_file(weights, saved / "canonizer.safetensors")
    with pytest.raises(SymmetryError, match="holds NaN or infinity"):
        load(saved)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["canonizer.safetensors", "config.json"]),
    changes=st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=6),
    length=st.one_of(st.none(), st.integers(0, 2**12)),
)
def test_random_damage_is_refused_or_harmless(
    saved: Path, name: str, changes: list[tuple[int, int]], length: int | None
) -> None:
    path = saved / name
    whole = path.read_bytes()
    damaged = bytearray(whole)
    # Mostly in the header, where the words are.
    for place, value in changes:
        damaged[place % min(len(damaged), 1200)] = value
    try:
        path.write_bytes(bytes(damaged[:length]))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with contextlib.suppress(SymmetryError):
            load(saved)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    finally:
        path.write_bytes(whole)


def test_both_files_can_be_read_by_the_same_people(tmp_path):
    claim = Symmetry(C(4), Image(), Scalar())
    weights, config = save(symmetrize(torch.nn.Flatten(), claim, Best(Scorer(1, width=2, depth=1))), tmp_path)
    assert weights.stat().st_mode == config.stat().st_mode
