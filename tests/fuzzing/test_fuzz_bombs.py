"""Small files that claim to be huge are refused, or read, in little memory and little time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("safetensors")
pytest.importorskip("rdkit")
pytest.importorskip("pyarrow")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

READ = {"an entry that claims 4 GiB", "a chain of 20,000 atoms", "12,000 branches", "a cell of 2^26 numbers"}
"""Those that hold a value after all: the directory of the first is wrong and its array is whole."""


def test_bombs_go_off_in_a_bounded_process(tmp_path: Path) -> None:
    """The process may not take more than 512 MiB beside what it began with; no reader ends it."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("fuzz_bombs.py")), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) > 60
    for what, reader, result, seconds, grown, size in found:
        told = f"{what} ({reader}): {result}, {seconds} s, {grown} MiB, from {size:,} bytes"
        assert result == "refused" or (result == "read" and (what in READ or ", 0)" in what)), told
