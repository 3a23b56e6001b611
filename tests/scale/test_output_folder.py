"""A folder of output: whole files only, nothing lost and nothing twice after a stop, and no other folder taken for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from canonize import SymmetryError
from canonize.scale import Folder
from canonize.scale.folder import JOURNAL, MANIFEST

SETTINGS = {"group": "C(4)", "shard": 2}
CHUNKS = 4


class Stopped(BaseException):
    """What ends a run at any moment."""


def work(place: Path, stop: str = "", settings: dict[str, object] = SETTINGS) -> list[int]:  # not changed
    """The chunks that this run did; stopped at a named moment."""
    did = []
    with Folder(place, settings) as folder:
        for number in range(CHUNKS):
            if number in folder.known:
                continue
            with folder.drafted(f"{number}.txt") as draft:
                draft.write_text(f"chunk {number}"[:4])
                if stop == f"draft {number}":
                    raise Stopped
                draft.write_text(f"chunk {number}")
            if stop == f"file {number}":
                raise Stopped
            folder.record(number, {"file": f"{number}.txt", "bad": []})
            did.append(number)
            if stop == f"line {number}":
                raise Stopped
        if not folder.complete:
            folder.finish()
    return did


def content(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}


@pytest.mark.parametrize("moment", ["draft", "file", "line"])
@pytest.mark.parametrize("number", range(CHUNKS))
def test_a_stopped_run_goes_on_to_the_same_end(tmp_path: Path, moment: str, number: int) -> None:
    assert work(tmp_path / "whole") == [*range(CHUNKS)]
    with pytest.raises(Stopped):
        work(tmp_path / "torn", f"{moment} {number}")
    assert set(content(tmp_path / "torn")) == {JOURNAL, *(f"{n}.txt" for n in range(number + (moment != "draft")))}
    assert work(tmp_path / "torn") == [*range(number + (moment == "line"), CHUNKS)]
    assert content(tmp_path / "torn") == content(tmp_path / "whole")
    assert work(tmp_path / "torn") == []


def test_a_line_cut_at_any_byte(tmp_path: Path) -> None:
    work(tmp_path / "whole")
    with pytest.raises(Stopped):
        work(tmp_path / "torn", "line 1")
    journal = tmp_path / "torn" / JOURNAL
    lines = journal.read_bytes()
    for cut in range(1, len(lines)):
        with Folder(tmp_path / "torn", SETTINGS) as folder:
            known = set(folder.known)
        assert known == set(range(max(0, journal.read_bytes().count(b"\n") - 1)))
        journal.write_bytes(lines[:cut])
    journal.write_bytes(lines[:-1])
    assert work(tmp_path / "torn") == [1, 2, 3]
    assert content(tmp_path / "torn") == content(tmp_path / "whole")


def test_what_a_kill_leaves_of_a_file_is_swept_away(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        work(tmp_path / "torn", "line 1")
    (tmp_path / "torn" / ".2.txt.abc.part").write_text("half")
    work(tmp_path / "torn")
    assert sorted(content(tmp_path / "torn")) == ["0.txt", "1.txt", "2.txt", "3.txt", MANIFEST]


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_file_that_is_not_as_it_was_is_written_again(tmp_path: Path, damage: str) -> None:
    with pytest.raises(Stopped):
        work(tmp_path / "torn", "line 2")
    file = tmp_path / "torn" / "1.txt"
    file.unlink() if damage == "gone" else file.write_text("chun")
    assert work(tmp_path / "torn") == [1, 3]
    work(tmp_path / "whole")
    assert content(tmp_path / "torn") == content(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_finished_folder_that_has_lost_a_file_is_mended(tmp_path: Path, damage: str) -> None:
    work(tmp_path / "whole")
    work(tmp_path / "torn")
    file = tmp_path / "torn" / "1.txt"
    file.unlink() if damage == "gone" else file.write_text("chun")
    with pytest.raises(Stopped):
        work(tmp_path / "torn", "draft 1")
    assert work(tmp_path / "torn") == [1]
    assert content(tmp_path / "torn") == content(tmp_path / "whole")


def test_the_order_in_which_chunks_end_does_not_show(tmp_path: Path) -> None:
    for name, order in (("up", range(CHUNKS)), ("down", range(CHUNKS - 1, -1, -1))):
        with Folder(tmp_path / name, SETTINGS) as folder:
            for number in order:
                with folder.drafted(f"{number}.txt") as draft:
                    draft.write_text("x")
                folder.record(number, {"file": f"{number}.txt"})
            folder.finish()
    assert content(tmp_path / "up") == content(tmp_path / "down")


@pytest.mark.parametrize("stop", ["line 1", ""])
def test_other_settings_are_refused(tmp_path: Path, stop: str) -> None:
    if stop:
        with pytest.raises(Stopped):
            work(tmp_path, stop)
    else:
        work(tmp_path)
    before = content(tmp_path)
    match = r"^the folder is of other settings, or of other data\n  got:      samples in a file: 2 then, 3 now\n"
    with pytest.raises(SymmetryError, match=match):
        work(tmp_path, settings={**SETTINGS, "shard": 3})
    assert content(tmp_path) == before


def test_another_folder_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SymmetryError, match=r"^the folder holds something else"):
        work(tmp_path)
    assert content(tmp_path) == {"mine.txt": b"mine"}
    (tmp_path / "file").write_text("x")
    with pytest.raises(SymmetryError, match=r"^the folder cannot be written to"):
        work(tmp_path / "file" / "deep")


@pytest.mark.parametrize("line", [b"{}\n", b'{"chunk": 1}\n', b"[]\n", b"\xff\n"])
def test_a_damaged_journal_is_refused(tmp_path: Path, line: bytes) -> None:
    with pytest.raises(Stopped):
        work(tmp_path, "line 1")
    journal = tmp_path / JOURNAL
    for damaged in (journal.read_bytes() + line, line + journal.read_bytes()):
        journal.write_bytes(damaged)
        with pytest.raises(SymmetryError, match=r"^this is no record of a run of canonize, or it is damaged"):
            work(tmp_path)
        assert journal.read_bytes() == damaged


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="this system has no locks of files")
    with Folder(tmp_path, SETTINGS), pytest.raises(SymmetryError, match=r"^another run is writing to this folder"):
        work(tmp_path)


def test_a_folder_that_forgets_a_line_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin of the laws above: a journal that is not written leads to work done twice."""
    original = Folder._append
    monkeypatch.setattr(Folder, "_append", lambda self, line: None if line.get("chunk") == 0 else original(self, line))
    with pytest.raises(Stopped):
        work(tmp_path, "line 2")
    monkeypatch.undo()
    assert work(tmp_path) == [0, 3]
    told = json.loads((tmp_path / MANIFEST).read_text())
    assert [part["chunk"] for part in told["chunks"]] == [*range(CHUNKS)]
