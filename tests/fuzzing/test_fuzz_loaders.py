"""No reader of files runs code, ends the process or raises anything but a `SymmetryError`, whatever stands in the file."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("safetensors")
pytest.importorskip("rdkit")
pytest.importorskip("pyarrow")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from fuzz_damage import FOREIGN, cuts, damaged
from fuzz_guard import watched
from fuzz_targets import EVIL, SEALED, TARGETS, Target, npy, outcome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canonize import SymmetryError
from canonize.cli.items import smiles_graph

pytestmark = pytest.mark.filterwarnings(
    # Pillow warns of what it then reads or refuses; numpy of the byte order of old files.
    "ignore::PIL.Image.DecompressionBombWarning",
    "ignore:.*:UserWarning:PIL",
    "ignore:Reading `.npy` or `.npz` file required additional header parsing",
)
EACH = 24
"""Damaged files for each whole one; benchmarks/fuzz.py tries very many."""
GROWTH = 2**20
"""KiB that one kind of file may add to the largest size of this process: several images of the largest allowed size."""


def tried(target: Target, contents, folder: Path) -> tuple[dict[str, int], list[str]]:
    """How often each outcome was found, and what was done that no reader may do."""
    for whole in target.seeds():
        # What is imported late is imported now.
        outcome(target, whole, folder)
    counts = {"read": 0, "refused": 0}
    done: list[str] = []
    for number, content in enumerate(contents):
        place = folder / str(number)
        place.mkdir()
        with watched() as seen:
            counts[outcome(target, content, place)] += 1
        done += seen
    return counts, done


def bad(target: Target):
    yield from EVIL.values()
    yield from FOREIGN
    for number, whole in enumerate(target.seeds()):
        yield from cuts(whole)
        yield from damaged(whole, number, EACH)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_whole_file_is_read(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    counts, done = tried(target, target.seeds(), tmp_path)
    assert counts == {"read": len(target.seeds()), "refused": 0}
    assert done == []


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_damaged_file_is_read_or_refused(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts, done = tried(target, bad(target), tmp_path)
    assert done == []
    assert counts["refused"] > 10
    assert not list(tmp_path.rglob("ran"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH


EDITS = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 6), st.binary(max_size=8)), min_size=1, max_size=5)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)
@given(edits=EDITS, number=st.integers(0, 1))
def test_drawn_edits_are_read_or_refused(target: Target, tmp_path: Path, edits, number: int) -> None:
    content = bytearray(target.seeds()[min(number, len(target.seeds()) - 1)])
    for place, length, other in edits:
        place %= len(content) + 1
        content[place : place + length] = other
    place = tmp_path / "edited"
    for held in place.iterdir() if place.is_dir() else ():
        held.unlink()
    place.mkdir(exist_ok=True)
    with watched() as seen:
        assert outcome(target, bytes(content), place) in ("read", "refused")
    assert seen == []


@pytest.mark.parametrize("target", SEALED, ids=lambda target: target.name)
def test_a_program_that_is_not_trusted_is_not_read(target: Target, tmp_path: Path) -> None:
    counts, done = tried(target, [*target.seeds(), *bad(target)], tmp_path)
    assert counts["read"] == 0
    assert counts["refused"] > 10
    assert done == []
    assert not list(tmp_path.rglob("ran"))


def test_a_damaged_onnx_file_ends_no_process(tmp_path: Path) -> None:
    """In a process of its own, for its reader is written in C++."""
    script = Path(__file__).with_name("fuzz_models.py")
    done = subprocess.run(
        [sys.executable, str(script), "model onnx", str(tmp_path), str(EACH)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["done"] == []
    assert told["refused"] > 10
    assert told["read"] > 0


def whole() -> tuple[bytes, ...]:
    return (npy(np.zeros(3)),)


FAULTS = [
    Target("unpickles", "a.npy", whole, lambda path: np.load(path, allow_pickle=True)),
    Target(
        "loads pickles",
        "a.npy",
        whole,
        lambda path: pickle.loads(path.read_bytes()) if path.stat().st_size < 150 else 0,
    ),
    Target("executes", "a.npy", whole, lambda path: exec("1 + 1")),
    Target("calls a program", "a.npy", whole, lambda path: subprocess.run([sys.executable, "-c", "0"], check=False)),
    Target("leaks its errors", "a.npy", whole, lambda path: {}["missing"]),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_laws_above_see_planted_faults(fault: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done: list[str] = []
    leaked = 0
    for content in (*whole(), *itertools.islice(EVIL.values(), 2)):
        with watched() as seen:
            try:
                outcome(fault, content, tmp_path)
            except Exception:
                leaked += 1
        done += seen
    assert leaked if fault.name.startswith("leaks") else done


def test_postscript_is_handed_to_no_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow knows it by its content, whatever its name, and calls Ghostscript where it is installed."""
    from PIL import EpsImagePlugin

    called = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *rest, **more: called.append(rest))
    for target in TARGETS:
        if target.name.split()[0] in ("image", "item", "dropped") and target.name.split()[1] in (
            "png",
            "jpg",
            "tif",
            "tar",
        ):
            assert outcome(target, EVIL["PostScript"], tmp_path) == "refused"
    assert called == []


def test_a_reason_names_no_address_in_memory() -> None:
    """Resumed runs write the same words as others."""
    from canonize.cli.reading import readable

    told = r"^broken\n  got:      a: ValueError: no <_io\.BytesIO object>\n"
    with pytest.raises(SymmetryError, match=told), readable("broken", "a", expected="b", fix="c"):
        raise ValueError("no <_io.BytesIO object at 0x7f00deadbeef>\nand more")


def test_a_very_long_smiles_is_refused() -> None:
    with pytest.raises(SymmetryError, match=r"^this SMILES is too long\n  got:      60,000 characters"):
        smiles_graph("C" * 60_000, stereo=True)


def test_the_page_says_what_the_campaign_counted() -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "_fuzz_page.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
