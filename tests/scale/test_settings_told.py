"""A run that goes on with other settings is told which, what they were and what they are; nobody has to read a digest."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from canonize import C, Image, Scalar, Symmetry, SymmetryError
from canonize.scale import Folder, Samples, audit_chunks
from canonize.scale.settings import differing, digested, files, told_apart

DIGEST = re.compile(r"\b[0-9a-f]{12,}\b")
LONG = "x" * 500

CASES: dict[str, tuple[Any, Any, str]] = {
    "hashed": (False, True, "hash: off then, on now"),
    "shard": (1024, 8, "samples in a file: 1024 then, 8 now"),
    "tolerance": (None, 1e-3, "tolerance: not given then, 0.001 now"),
    "mean": ([0.5, 0.25], None, "mean: 0.5, 0.25 then, not given now"),
    "group": ("C(4)", "D(4)", "group: C(4) then, D(4) now"),
    "batch_size": (8, 16, "batch size: 8 then, 16 now"),
    "versions": ({"canonize": "1", "torch": "2"}, {"canonize": "1", "torch": "3"}, "version of torch: 2 then, 3 now"),
    "columns": (digested(b"a", "label: int64"), digested(b"b", "name: string"),
                "columns: label: int64 then, name: string now"),
    "input": (digested(b"a", "1 file"), digested(b"b", "1 file"),
              "input files: 1 file then; the same now, with other content"),
    "frame": (None, digested(b"a", "upright"), "frame: not given then, upright now"),
    "long": (f"{'a, ' * 90}b, c", f"{'a, ' * 90}d", "long: ... b, c then, ... d now"),
    "odd": (LONG, "y", "odd: ... then, y now"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_setting_in_words(name: str) -> None:
    then, now, words = CASES[name]
    same = {"seed": 3}
    assert told_apart({**same, name: then}, {**same, name: now}) == words
    assert differing({**same, name: then}, {**same, name: now}) == [name]
    assert not DIGEST.search(words)


def test_several_are_told_one_a_line() -> None:
    then, now = ({name: CASES[name][side] for name in CASES} for side in (0, 1))
    lines = [line.strip() for line in told_apart(then, now).splitlines()]
    assert lines == [words for _, _, words in CASES.values()]


def test_words_beside_a_digest_do_not_count() -> None:
    """A frame that was moved is the same frame; so is one of a folder that an earlier version has written."""
    new = {"frame": digested(b"a", "new/place")}
    assert not differing({"frame": digested(b"a", "old/place")}, new)
    assert not differing({"frame": new["frame"]["digest"]}, new)
    assert differing({"frame": digested(b"b", "new/place")}, new)


def test_files_in_words() -> None:
    one = [("a.png", (1200, 86_400 * 10**9))]
    assert files(one)["told"] == "1 file (a.png), 1,200 bytes, last changed 1970-01-02 00:00:00"
    more = [*one, *((f"{name}.png", (1, 0)) for name in "bcd")]
    assert files(more)["told"].startswith("4 files (a.png, b.png, c.png, ...), 1,203 bytes")
    for other in ([("b.png", one[0][1])], [("a.png", (1200, 1))], []):
        assert differing({"input": files(one)}, {"input": files(other)})


@pytest.mark.parametrize("done", [False, True])
def test_a_folder_tells_what_to_do(tmp_path: Path, done: bool) -> None:
    then = {"hashed": False, "columns": digested(b"a", "label: int64"), "seed": 0}
    with Folder(tmp_path, then) as folder:
        if done:
            folder.finish()
    now = {**then, "hashed": True, "columns": digested(b"b", "none")}
    with pytest.raises(SymmetryError) as caught, Folder(tmp_path, now):
        pass
    lines = str(caught.value).splitlines()
    assert lines[0] == "the folder is of other settings, or of other data"
    assert lines[1:3] == [
        "  got:      hash: off then, on now",
        "            columns: label: int64 then, none now",
    ]
    assert lines[3] == f"  expected: what {tmp_path} was begun with, to go on from what is there"
    assert lines[4].startswith("  try:      the settings and data of then; or another folder")
    with Folder(tmp_path, then) as folder:
        assert folder.complete == done


def read(places: Any) -> Samples:
    return Samples(torch.stack([torch.full((1, 4, 4), float(place)) for place in places]))


def net(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 1))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (net(1), "Sequential of 17 numbers then; the same now, with other content"),
        (torch.nn.Flatten(), "Sequential of 17 numbers then, Flatten of 0 numbers now"),
    ],
)
def test_another_model_is_told_by_its_name(tmp_path: Path, model: torch.nn.Module, words: str) -> None:
    claim = Symmetry(C(4), Image(), Scalar())
    for _ in range(2):
        audit_chunks(net(0), claim, read, 6, cost=False, resume=tmp_path)
    with pytest.raises(SymmetryError, match=f"got:      model: {words}\n") as caught:
        audit_chunks(model, claim, read, 6, cost=False, resume=tmp_path)
    assert not DIGEST.search(str(caught.value))
    kept = json.loads((tmp_path / "_manifest.json").read_text(encoding="utf-8"))["settings"]
    assert set(kept["model"]) == {"digest", "told"}
