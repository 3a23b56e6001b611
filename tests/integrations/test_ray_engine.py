"""The engine Ray on a real local Ray with two workers: the bytes of one process, and nothing left behind."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from stored_cases import FEW, cloud_table, table

pytest.importorskip("ray", reason="ray is not installed")
pytest.importorskip("pyarrow", reason="pyarrow is not installed")


PLAIN = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}


@pytest.fixture
def cluster() -> Iterator[str]:
    """The address of a Ray with two workers in a group of processes of its own, which is ended in any case.

    Its ports are given: where Ray looks for some itself it gives up after fifteen seconds, which a busy machine needs.
    """
    names = ("port", "dashboard-agent-grpc-port", "dashboard-agent-listen-port", "metrics-export-port",
             "runtime-env-agent-port", "node-manager-port", "object-manager-port")  # fmt: skip
    held = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    words = [f"--{name}={port}" for name, port in zip(names, ports, strict=True)]
    words += [
        "--num-cpus=2",
        "--include-dashboard=false",
        f"--object-store-memory={100 * 2**20}",
        "--disable-usage-stats",
    ]
    head = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            "--head",
            "--block",
            "--node-ip-address=127.0.0.1",
            *words,
        ],
        env=PLAIN,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 240
        while not _listens(ports[0]):
            assert head.poll() is None
            assert time.monotonic() < end
            time.sleep(0.2)
        yield f"127.0.0.1:{ports[0]}"
    finally:
        head.terminate()
        with suppress(subprocess.TimeoutExpired):
            head.wait(3)
        with suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)
        head.wait()


def _listens(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


def test_ray_gives_what_one_process_gives(tmp_path: Path, cluster: str) -> None:
    (tmp_path / "in").mkdir()
    cloud_table(tmp_path / "in" / "a.parquet")
    (tmp_path / "in" / "b.parquet").write_bytes(b"no table")
    # Of one size, as a model takes them, but for the last.
    table(
        tmp_path / "even.parquet",
        positions=[*torch.rand(9, 4, 3, generator=torch.Generator().manual_seed(0)).tolist(), [[0.0, 0.0, 0.0]]],
    )
    script = [sys.executable, str(Path(__file__).with_name("ray_engine.py")), str(tmp_path), cluster]
    done = subprocess.run(script, capture_output=True, text=True, check=False, env=PLAIN, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "", "Ray tells nothing beside the work"
    told = [line for line in done.stdout.splitlines() if line.startswith(("canonicalize", "audit", "dedupe"))]
    assert told[0] == told[1] == f"canonicalize {FEW} 1"
    assert told[2] == "audit fail 9 1"
    assert told[3] == told[4]
    assert f"[['a.parquet[0]', 'a.parquet[{FEW - 1}]']]" in told[3]
    local, ray = (
        {path.name: path.read_bytes() for path in (tmp_path / f"{name}.parquet").iterdir()} for name in ("local", "ray")
    )
    assert len(local) == 5
    assert ray == local


# The settings of Ray warn of their own names as they are made.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
def test_what_ray_tells_beside_the_work_is_held_back_and_no_more(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from canonize.integrations import ray as engine

    spare, chosen = engine.HUSHED
    monkeypatch.delenv(spare, raising=False)
    monkeypatch.setenv(chosen, "debug")
    for name in engine.UNTOLD:
        logger = logging.getLogger(name)
        before = logger.level
        with engine._quiet():
            assert not logger.isEnabledFor(logging.WARNING)
            assert logger.isEnabledFor(logging.ERROR)
        assert logger.level == before
    with engine._hushed():
        assert os.environ[spare] == engine.HUSHED[spare]
        assert os.environ[chosen] == "debug", "what the user has set stays"
    assert spare not in os.environ
    assert os.environ[chosen] == "debug"
    with suppress(ZeroDivisionError), engine._without(engine.ANNOUNCED):
        os.write(2, b"one\n" + engine.ANNOUNCED + b" to 3\ntwo\n")
        raise ZeroDivisionError
    os.write(2, b"three\n")
    assert capfd.readouterr().err == "one\ntwo\nthree\n"
