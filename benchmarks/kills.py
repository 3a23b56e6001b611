"""Kill -9 at random moments of four commands; each run is resumed and compared bit for bit with one that nobody disturbed."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _bench import SEED, finish, progress, start, table

MODEL = """
import torch

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(4)).eval()
net(torch.zeros(1, 3, 24, 24))
"""
COMMANDS = ("adapt", "dedupe", "canonicalize", "audit")
LATE = (
    "canonize.cli.app",
    "canonize.cli.audit",
    "canonize.scale.audits",
    "canonize.report.page",
    "canonize.cli.tables",
    "canonize.cli.shards",
    "canonize.integrations.safetensors",
    "PIL.PngImagePlugin",
)
"""What the commands import when they need it."""
AGAIN = 0.5
"""How often a resumed run is killed once more."""


def data(place: Path, count: int) -> None:
    """Ramps of noise, a tenth of them turned copies, one file that is no image; and a model that looks at them."""
    from PIL import Image as Picture

    (place / "images").mkdir(parents=True)
    (place / "killed_model.py").write_text(MODEL, encoding="utf-8")
    draw = torch.Generator().manual_seed(SEED)
    ramp = torch.linspace(0, 200, 24)[:, None, None]
    made: list[torch.Tensor] = []
    for number in range(count):
        pixels = (ramp + 55 * torch.rand(24, 24, 3, generator=draw)).to(torch.uint8)
        if number % 10 == 9:
            pixels = made[number // 2].rot90(1 + number % 3, (0, 1))
        made.append(pixels)
        Picture.fromarray(pixels.numpy()).save(place / "images" / f"{number:05}.png")
    upright = torch.stack([ramp.expand(24, 24, 3).permute(2, 0, 1) / 255] * 64)
    upright = (upright + 0.1 * torch.rand(upright.shape, generator=draw)).numpy()
    import numpy as np

    np.save(place / "upright.npy", upright)
    (place / "images" / "broken.png").write_bytes(b"no image")


def words(command: str, place: Path, out: Path) -> list[str]:
    """The call of a command; the same to begin and to go on."""
    if command == "adapt":
        small = ["--epochs", "4", "--width", "4", "--depth", "1", "--batch-size", "16", "--resolution", "12"]
        return [
            "adapt",
            "killed_model:net",
            "--data",
            "upright.npy",
            "--group",
            "C4",
            "--out",
            str(out / "frame"),
            *small,
        ]
    images = str(place / "images")
    if command == "dedupe":
        return [
            "dedupe",
            images,
            "--group",
            "C4",
            "--resume",
            str(out / "seen.jsonl"),
            "--out",
            str(out / "found.json"),
        ]
    if command == "audit":
        kept = ["--resume", str(out / "numbers"), "--report", str(out / "report.json")]
        return ["audit", "killed_model:net", "--data", images, "--group", "C4", "--batch-size", "16", *kept]
    return ["canonicalize", images, "--group", "C4", "--hash", "--shard", "50", "--out", str(out / "upright.parquet")]


def content(command: str, out: Path) -> dict[str, str]:
    """What a run leaves behind, file by file; of the journal of dedupe its lines in any order, none twice."""
    found = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        held = path.read_bytes()
        if command == "adapt" and path.name not in ("canonizer.safetensors", "config.json"):
            # The report tells seconds; whether a checkpoint is left is told by its name.
            held = b""
        if command == "audit" and path.name == "report.json":
            held = untimed(held)
        if path.name == "seen.jsonl":
            # What is bad is tried again by each run, and told again.
            held = b"\n".join(sorted(line for line in held.splitlines() if b'"bad"' not in line))
        found[path.relative_to(out).as_posix()] = hashlib.sha256(held).hexdigest()
    return found


def untimed(report: bytes) -> bytes:
    """A report of audits without what one call of the model took, in seconds and in bytes, which no two runs share."""
    told = json.loads(report)
    for each in told["audits"]:
        for what in ("seconds", "memory"):
            del each["cost"][what]
    return json.dumps(told).encode()


def begun(call: list[str], place: Path) -> int:
    """The process that runs this call: a copy of this one, which has imported everything and computed nothing."""
    child = os.fork()
    if child:
        return child
    try:
        os.chdir(place)
        sys.path.insert(0, str(place))
        hushed = os.open(os.devnull, os.O_WRONLY)
        os.dup2(hushed, 1)
        os.dup2(hushed, 2)
        torch.set_num_threads(1)
        from canonize.cli.app import app

        app(call)
    except SystemExit as left:
        os._exit(left.code if isinstance(left.code, int) else 0 if left.code is None else 2)
    except BaseException:
        os._exit(70)
    os._exit(0)


def ended(child: int) -> tuple[int, float]:
    """How a process ended, waited for: the exit code, or minus the signal."""
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), time.perf_counter()


def whole(call: list[str], place: Path) -> tuple[int, float]:
    """Exit code and seconds of a run that nobody disturbs."""
    begin = time.perf_counter()
    code, end = ended(begun(call, place))
    return code, end - begin


def killed(call: list[str], place: Path, delay: float) -> bool:
    """Whether a run was killed after this many seconds; False where it had ended before."""
    child = begun(call, place)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    return ended(child)[0] == -signal.SIGKILL


def trial(command: str, place: Path, out: Path, seconds: float, draw: random.Random) -> dict[str, Any]:
    """One run, killed at least once and then left to end."""
    out.mkdir()
    call = words(command, place, out)
    moments: list[float] = []
    while not moments or draw.random() < AGAIN:
        share = draw.random()
        if killed(call, place, share * seconds):
            moments.append(share)
        elif not moments:
            # It was faster than thought: once more from the start.
            _removed(out)
            out.mkdir()
        else:
            break
    left = sum(path.is_file() for path in out.rglob("*"))
    frame = out / "frame"
    # Of adapt, a canonizer without a checkpoint is finished: the same command refuses to train over it.
    finished = (frame / "config.json").is_file() and not (frame / "checkpoint.pt").exists()
    code = 0 if finished else whole(call, place)[0]
    return {"moments": moments, "files_left": left, "exit": code, "content": content(command, out)}


def _advanced(bar: Any, task: Any, done: int) -> None:
    bar.update(task, completed=done)


def _removed(place: Path) -> None:
    for path in sorted(place.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    place.rmdir()


def campaign(
    command: str, place: Path, times: int, log: Path, tell: Callable[[int], None], images: int
) -> dict[str, Any]:
    """`times` runs of a command that are killed; trials that the log knows are not done again."""
    out = place / f"whole-{command}"
    if out.exists():
        _removed(out)
    out.mkdir()
    call = words(command, place, out)
    code, seconds = whole(call, place)
    expected = content(command, out)
    done = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
    number = len(done)
    while len(done) < times:
        draw = random.Random(f"{command} {SEED} {number}")
        own = place / f"{command}-{number}"
        if own.exists():
            _removed(own)
        found = trial(command, place, own, seconds, draw)
        found["same"] = found.pop("content") == expected and found["exit"] == code
        if found["same"]:
            _removed(own)
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
        done.append(found)
        number += 1
        tell(len(done))
    moments = [share for each in done for share in each["moments"]]
    return {
        "command": command,
        "images": 64 if command == "adapt" else images,
        "seconds": seconds,
        "exit": code,
        "runs": len(done),
        "kills": len(moments),
        "earliest": min(moments),
        "median": statistics.median(moments),
        "latest": max(moments),
        "same": sum(each["same"] for each in done),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--times",
        type=int,
        default=50,
        help="runs of each command that are killed, some of them more than once (default: 50)",
    )
    parser.add_argument("--images", type=int, default=1500, help="for all but adapt (default: 1,500)")
    parser.add_argument("--commands", nargs="+", default=list(COMMANDS), choices=COMMANDS, help="which (default: all)")
    parser.add_argument(
        "--checkpoints", type=Path, metavar="FOLDER", help="where to work, and to go on from after a kill"
    )
    options = start(parser)
    if not hasattr(os, "fork"):
        raise SystemExit("kills.py needs a system with fork, such as Linux")
    # Copies of a process are made: nothing may have been computed in it by several threads.
    # All is imported now, so that a moment of a run is one of its work.
    for name in LATE:
        importlib.import_module(name)

    with tempfile.TemporaryDirectory() as spare, progress() as bar:
        place = (options.checkpoints or Path(spare) / "work").resolve()
        if not (place / "upright.npy").exists():
            place.mkdir(parents=True, exist_ok=True)
            if (place / "images").exists():
                _removed(place / "images")
            # In another process, so that this one has not computed anything.
            child = os.fork()
            if not child:
                data(place, options.images)
                os._exit(0)
            if ended(child)[0]:
                raise SystemExit("the images could not be made")
        rows = []
        for command in options.commands:
            task = bar.add_task(command, total=options.times)
            log = place / f"{command}.jsonl"
            rows.append(
                campaign(
                    command, place, options.times, log, lambda n, t=task: bar.update(t, completed=n), options.images
                )
            )  # type: ignore[misc]  # binds it
    body = [
        [
            row["command"],
            f"{row['kills']}",
            f"{row['runs']}",
            f"{row['same']}",
            f"{row['earliest']:.2f} to {row['latest']:.2f}",
        ]
        for row in rows
    ]
    table(
        "killed at random moments",
        ["command", "kills", "runs", "the same in the end", "at this share of the run"],
        body,
    )
    finish(options, {"benchmark": "kills", "rows": rows}, ("pyarrow",))
    if any(row["same"] != row["runs"] for row in rows):
        raise SystemExit("a resumed run differs from the whole one")


if __name__ == "__main__":
    main()
