"""Damaged files of frames: changed, cut and foreign ones are refused in words, run no code and take little memory."""

from __future__ import annotations

import contextlib
import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("safetensors")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from safetensors_cases import CLAIM, MODEL

from canonize import (
    Best,
    SymmetryError,
    symmetrize,
)
from canonize.integrations.safetensors import load, save
from canonize.nn import Scorer


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(symmetrize(MODEL, CLAIM, Best(Scorer(2, width=2, depth=1))), tmp_path)
    return tmp_path


def test_nothing_of_the_model_is_in_the_files(saved: Path) -> None:
    size = sum(p.numel() * 4 for p in Scorer(2, width=2, depth=1).parameters())
    assert (saved / "canonizer.safetensors").stat().st_size < size + 2000
    assert b"model" not in (saved / "canonizer.safetensors").read_bytes()


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
