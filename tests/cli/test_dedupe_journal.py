"""`canonize dedupe` goes on after a kill: what its journal holds is not worked out again, and another one is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_runs import run
from dedupe_cases import bad_folder, images
from PIL import Image as Picture

from canonize import SymmetryError
from canonize.cli import dedupe as command
from canonize.cli.dedupe import find
from canonize.cli.items import find_items
from canonize.cli.journal import Journal
from canonize.cli.words import group as group_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


class Killed(BaseException):
    """What stops a run at any moment."""


def test_a_killed_run_goes_on_to_the_same_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after each number of batches, then cut in the middle of a line, the journal leads to the result of one run."""
    monkeypatch.setattr(command, "AT_ONCE", 2)
    place = bad_folder(folder)
    group = group_of("C4")
    whole = find(place, group)
    complete = folder / "complete.jsonl"
    assert find(place, group, journal=complete).groups == whole.groups
    expected = complete.read_bytes()
    hashed: list[str] = []
    keys = command._keys
    for stop in range(1, 7):
        journal = folder / f"{stop}.jsonl"
        calls = 0

        def counted(*parts: Any, stop: int = stop) -> Any:
            nonlocal calls
            calls += 1
            if calls == stop:
                raise Killed
            return keys(*parts)

        monkeypatch.setattr(command, "_keys", counted)
        with pytest.raises(Killed):
            find(place, group, journal=journal)
        monkeypatch.setattr(command, "_keys", keys)
        before = journal.read_bytes()
        assert len(before.splitlines()) == 1 + 2 * (stop - 1)
        for cut in (0, 1, 20):
            journal.write_bytes(before[: len(before) - cut])
            again = find(place, group, journal=journal)
            assert (again.groups, again.bad, again.items) == (whole.groups, whole.bad, whole.items)
            told = [json.loads(line) for line in journal.read_bytes().splitlines()]
            good = [line["item"] for line in told[1:] if "keys" in line]
            # Nothing lost, nothing doubled.
            assert sorted(good) == sorted(
                line["item"] for line in map(json.loads, expected.splitlines()[1:]) if "keys" in line
            )
            hashed += good
    assert hashed


def test_a_journal_spares_the_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, journal = images(folder), folder / "deep" / "a.jsonl"
    first = run("dedupe", str(place), "--group", "C4", "--resume", str(journal))
    content = journal.read_bytes()
    read_now: list[str] = []
    original = command._keys
    monkeypatch.setattr(
        command, "_keys", lambda chunk, *rest: (read_now.extend(i.name for i in chunk), original(chunk, *rest))[1]
    )
    again = run("dedupe", str(place), "--group", "C4", "--resume", str(journal))
    assert (again.exit_code, read_now, journal.read_bytes()) == (first.exit_code, [], content)
    assert "(9 from the journal)" in again.output
    # A file that has changed is looked at again, and its new line counts.
    Picture.fromarray(np.zeros((7, 9, 3), dtype=np.uint8)).save(place / "0.png")
    os.utime(place / "0.png", ns=(1, 1))
    found = find(place, group_of("C4"), journal=journal)
    assert read_now == ["0.png"]
    assert found.groups == [["2.png", "more/upside.png"]]
    assert find(place, group_of("C4"), journal=journal).groups == found.groups


def test_a_journal_of_other_settings_is_refused(folder: Path) -> None:
    place, journal = images(folder, 3), folder / "a.jsonl"
    find(place, group_of("C4"), journal=journal)
    with pytest.raises(
        SymmetryError, match=r"^the journal is of other settings\n  got:      group: C\(4\) then, D\(4\) now\n"
    ):
        find(place, group_of("D4"), journal=journal)
    content = journal.read_bytes().splitlines(keepends=True)
    for damaged in ([b"{}\n", *content[1:]], [content[0], b'{"item": 3\n', *content[1:]], [b"\x89PNG\n"], [b"notes"]):
        journal.write_bytes(b"".join(damaged))
        with pytest.raises(SymmetryError, match=r"^this is no journal of canonize dedupe, or it is damaged"):
            find(place, group_of("C4"), journal=journal)
        assert journal.read_bytes() == b"".join(damaged)


def test_what_was_bad_is_tried_again(folder: Path) -> None:
    place, journal = images(folder, 3), folder / "a.jsonl"
    good = (place / "0.png").read_bytes()
    (place / "0.png").write_bytes(good[:40])
    assert [name for name, _ in find(place, group_of("C4"), journal=journal).bad] == ["0.png"]
    (place / "0.png").write_bytes(good)
    found = find(place, group_of("C4"), journal=journal)
    assert not found.bad
    assert ["0.png", "more/turned.bmp"] in found.groups


def test_a_journal_without_a_file_keeps_nothing(folder: Path) -> None:
    items = find_items(images(folder, 3), group_of("C4"))
    with Journal(None, {}) as book:
        book.add(items[0], ("a",))
        book.flush()
        assert book.keys(items[0]) == ("a",)
        assert book.keys(items[1]) is None
