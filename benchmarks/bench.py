"""Runs the benchmarks of some areas one after the other: a table each, the JSON beside, and a page of what was found."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


@dataclass(frozen=True)
class Run:
    """One call of a script.

    Attributes:
        name: of the JSON file, without its suffix.
        call: the script and its arguments, without `--json`.
        peer: the package that `--peer` needs; asked for where it is installed.
        data: whether it reads the folder of data.
        long: whether it takes more than some ten minutes.
    """

    name: str
    call: str
    peer: str | None = None
    data: bool = False
    long: bool = False


AREAS: dict[str, tuple[Run, ...]] = {
    "operations": (Run("operations", "operations.py"), Run("peers", "peers.py", peer="escnn")),
    "images": (
        Run("lossless_turns", "lossless_turns.py"),
        Run("frame_overhead", "frame_overhead.py", peer="equiadapt", data=True),
        Run("pose_cost", "pose_cost.py --repeats 7"),
    ),
    "clouds": (
        Run("euclid_speed", "euclid.py speed --threads 2", peer="faenet"),
        Run("euclid_big", "euclid.py big --threads 2", data=True),
        Run("euclid_overhead", "euclid.py overhead --threads 2", data=True),
        Run("euclid_scaling", "euclid.py scaling --clock processor --repeats 3"),
    ),
    "sets": (Run("set_orders", "set_orders.py"),),
    "graphs": (
        Run("graph_speed", "graph_speed.py --clock processor --repeats 5", data=True),
        Run("graph_eigenvectors", "graph_eigenvectors.py"),
        Run("qm9_hashes", "qm9_hashes.py", data=True),
    ),
    "exactness": (
        Run("euclid_exactness", "euclid.py exactness"),
        Run("euclid_poses", "euclid.py poses", data=True),
        Run("graphs_separation", "graphs.py separation", data=True),
        Run("graphs_exactness", "graphs.py exactness", data=True),
        Run("graph_agreement", "graph_agreement.py"),
    ),
    "robustness": (
        Run("scale", "scale.py", data=True),
        Run("inductor", "inductor.py"),
        Run("kills", "kills.py", long=True),
        Run("fuzz", "fuzz.py --seconds 5", long=True),
    ),
    "accuracy": (
        Run("cifar10_c4_resnet20", "cifar10_c4.py --model resnet20", data=True),
        Run("cifar10_c4_resnet32", "cifar10_c4.py --model resnet32", data=True),
        Run("drive_masks", "drive_masks.py", data=True),
    ),
    "training": (
        Run("cifar10_learned_resnet20", "cifar10_learned.py", data=True, long=True),
        Run("cifar10_learned_resnet32", "cifar10_learned.py --model resnet32", data=True, long=True),
        Run("mnist_turned", "mnist_turned.py", data=True, long=True),
        Run("modelnet10", "modelnet10.py --seeds 2 --tuned learned none ruled", data=True, long=True),
        Run("nbody", "nbody.py --seconds 60 --epochs 60", data=True, long=True),
        Run("nve", "nve.py --frames none weighted --seeds 5", long=True),
        Run("graphs_training", "graphs.py training", data=True, long=True),
        Run("graphs_tu", "graphs.py tu", data=True, long=True),
    ),
}
USUAL = ("operations", "images", "clouds", "sets", "graphs")
"""The areas of speed, some twenty minutes together."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog=f"areas: {', '.join(AREAS)}")
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"which areas (default: {' '.join(USUAL)})")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "bench", help="folder for the JSON (default: build/bench)"
    )
    parser.add_argument("--data", type=Path, help="folder with the data; CANONIZE_DATA where it is left out")
    parser.add_argument("--fresh", action="store_true", help="run again what the folder already holds")
    parser.add_argument("--list", action="store_true", help="only print what would run")
    options = parser.parse_args()
    areas = tuple(options.areas) or USUAL
    unknown = [area for area in areas if area not in AREAS]
    if unknown:
        raise SystemExit(f"no area {', '.join(unknown)}; there are {', '.join(AREAS)}")
    out = Console()
    data = options.data or os.environ.get("CANONIZE_DATA")
    options.out.mkdir(parents=True, exist_ok=True)
    told = Table(title="Benchmarks", title_justify="left")
    for column in ("area", "run", "result"):
        told.add_column(column, no_wrap=column != "result")
    failed = False
    for area in areas:
        for run in AREAS[area]:
            result = _result(run, options, data, out)
            failed |= result.startswith("failed")
            told.add_row(area, run.name, result)
    out.print(told)
    if failed:
        raise SystemExit(1)


def command(run: Run, target: str) -> list[str]:
    """The arguments of a run after the interpreter."""
    script, *arguments = run.call.split()
    peer = ["--peer"] if run.peer is not None and importlib.util.find_spec(run.peer) is not None else []
    return [f"benchmarks/{script}", *arguments, *peer, "--json", target]


def _result(run: Run, options: argparse.Namespace, data: object, out: Console) -> str:
    target = options.out.resolve() / f"{run.name}.json"
    shown = target.relative_to(ROOT) if target.is_relative_to(ROOT) else target
    if run.data and data is None:
        return "left out: it needs data, --data FOLDER"
    if target.exists() and not options.fresh:
        return f"there: {shown}; --fresh runs it again"
    words = command(run, str(shown))
    if options.list:
        return f"would run: python {' '.join(words)}" + (" (takes long)" if run.long else "")
    out.rule(f"python {' '.join(words)}", align="left")
    environment = os.environ | ({} if data is None else {"CANONIZE_DATA": str(data)})
    begin = time.perf_counter()
    # A run that is killed leaves no file behind, so that the next call takes it up again.
    code = subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, check=False).returncode
    return f"{shown}, {time.perf_counter() - begin:.0f} s" if code == 0 else f"failed with {code}"


if __name__ == "__main__":
    main()
