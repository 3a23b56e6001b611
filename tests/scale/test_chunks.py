"""Chunks hold each place once; one process and several give the same results, and no worker outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from scale_jobs import Fails, Sums

from canonize import SymmetryError
from canonize.scale import chunked, run


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
@pytest.mark.parametrize("size", [1, 8, 1000])
def test_each_place_is_in_one_chunk(count: int, size: int) -> None:
    chunks = list(chunked(range(count), size))
    assert [place for chunk in chunks for place in chunk.places] == list(range(count))
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert all(len(chunk.places) == size for chunk in chunks[:-1])


def test_a_chunk_needs_a_size() -> None:
    with pytest.raises(SymmetryError, match=r"^chunks need a size"):
        list(chunked(range(3), 0))


def test_several_processes_give_what_one_gives() -> None:
    chunks = list(chunked(range(23), 5))
    alone = {chunk.number: told for chunk, told in run(Sums(), chunks)}
    assert [alone[number][1] for number in sorted(alone)] == [list(chunk.places) for chunk in chunks]
    assert {told[2] for told in alone.values()} == {1}
    together = {chunk.number: told for chunk, told in run(Sums(), chunks, workers=2)}
    assert together == alone
    assert together != {chunk.number: told for chunk, told in run(Sums(seed=1), chunks)}


def test_the_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        for _ in run(Sums(), list(chunked(range(2), 1))):
            assert torch.get_num_threads() == before + 1
        with pytest.raises(ZeroDivisionError):
            list(run(Fails(0), list(chunked(range(2), 1))))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_what_a_job_raises_ends_the_run() -> None:
    going = run(Fails(3), list(chunked(range(6), 1)))
    assert [next(going)[1] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ZeroDivisionError, match="chunk 3"):
        next(going)
    with pytest.raises(SymmetryError, match=r"^no workers"):
        list(run(Fails(3), [], workers=0))


def test_a_killed_worker_is_told() -> None:
    with pytest.raises(SymmetryError, match=r"^a worker was killed"):
        list(run(Fails(0, dies=True), list(chunked(range(1), 1)), workers=2))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, str(Path(__file__).with_name("scale_jobs.py")), str(tmp_path)])
    try:
        _until(lambda: len(list(tmp_path.iterdir())) == 2)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    _until(lambda: not any(_alive(int(path.name)) for path in tmp_path.iterdir()))


def _until(done: object) -> None:
    end = time.monotonic() + 60
    while not done():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.1)


def _alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    # One that ended and that nobody waits for is no longer at work.
    status = Path(f"/proc/{number}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
