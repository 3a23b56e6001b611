"""ModelNet10 in any pose: a pretrained PointNet behind frames for clouds, frozen and fine-tuned, on one CPU."""

from __future__ import annotations

import argparse
import copy
import functools
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _bench import SEED, finish, progress, start, table
from _modelnet import (
    TURNS,
    Clouds,
    Rolled,
    Upright,
    add_data_option,
    anyhow,
    clouds,
    fit,
    pretrained,
    principal,
    seen,
    signs,
)
from torch import Tensor, nn

from canonize import PCA, SO, Confidence, Learned, Point, Search, Symmetry, Vector, symmetrize

CONDITIONS = ("upright", "turned about z", "any turn")
SHORT = ("learned", "none", "ruled", "all")
ONE = PCA("ruled", fallback=None)  # one pose also near ties: networks see in the test what they saw in training
ROTATIONS = 8
SEARCHED = 8  # every so many clouds for the search, which asks the network often


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_option(parser)
    parser.add_argument("--epochs", type=int, default=20, help="of the fine-tuning behind learned poses (default: 20)")
    parser.add_argument(
        "--pose-epochs", type=int, default=25, help="of the network of poses; more for rows without it (default: 25)"
    )
    parser.add_argument("--seeds", type=int, default=2, help="runs of each row that is trained (default: 2)")
    parser.add_argument(
        "--tuned", nargs="+", choices=SHORT, default=SHORT, help="frames of the rows that are fine-tuned (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the clouds, two epochs: does everything run?")
    parser.add_argument("--checkpoints", type=Path, help="a folder from which a stopped run goes on")
    options = start(parser)
    model, train, test = pretrained(options.data), clouds(options.data, "train"), clouds(options.data, "test")
    if options.quick:
        train, test = (Clouds(*(part[::10] for part in each)) for each in (train, test))
        options.epochs = options.pose_epochs = 2
    begin = time.perf_counter(), time.process_time()
    poses = principal(train.points)
    standing = train.points @ poses
    prepared = {"seconds": time.perf_counter() - begin[0], "cpu_seconds": time.process_time() - begin[1]}
    training: dict[str, Any] = {"poses of the training set": prepared}

    torch.manual_seed(SEED)
    upright = Upright()
    training["network of poses"] = trained(
        upright,
        upright.logits,
        lambda: standing,
        upright.wanted(poses),
        "upright",
        SEED,
        options,
        options.pose_epochs,
        4e-3,
    )
    # A network in front of which PCA stands gives vectors that turn with the cloud.
    vectors = symmetrize(upright, Symmetry(SO(3), Point(), Vector()), ONE)
    learned = Learned(vectors)
    found = functools.cache(lambda: seen(learned, train.points))

    search = Search(Confidence(Few(model)), grid=16, beams=2, refine="gradient", steps=10)
    searched = Clouds(*(part[::SEARCHED] for part in test))
    rows = [
        measured("bare", model, None, test, options),
        measured("Learned(network)", Rolled(model), learned, test, options),
        measured("Search(Confidence(model))", model, search, searched, options),
    ]
    tuned: list[tuple[str, Callable[[], Tensor], Any, Any, type[nn.Module]]] = [
        ("Learned(network), fine-tuned", found, None, learned, Rolled),
        ("no frame, fine-tuned on turned clouds", lambda: train.points, anyhow, None, nn.Identity),
        ("PCA('ruled', fallback=None), fine-tuned", lambda: standing, None, ONE, nn.Identity),
        ("PCA('all'), fine-tuned with drawn signs", lambda: standing, signs, PCA("all"), nn.Identity),
    ]
    tuned = [row for row, short in zip(tuned, SHORT, strict=True) if short in options.tuned]
    runs: dict[str, list[dict[str, Any]]] = {}
    for seed in range(SEED, SEED + options.seeds):
        for name, points, draw, frame, order in tuned:
            network = copy.deepcopy(model)
            shown = Rolled(network) if order is Rolled else network
            # What learns no poses has the time of the network of poses as well.
            epochs = options.epochs + (0 if frame is learned else options.pose_epochs)
            record = trained(
                network, shown, points, train.labels, f"{plain(name)}_{seed}", seed, options, epochs, 2e-3, draw
            )
            runs.setdefault(name, []).append(
                measured(name, shown, frame, test, options, seed) | {"epochs": epochs} | record
            )
    rows += [together(each) for each in runs.values()]

    show(rows, len(test.labels))
    finish(
        options,
        {
            "benchmark": "modelnet10",
            "clouds": len(test.labels),
            "trained_on": len(train.labels),
            "rotations": ROTATIONS,
            "epochs": options.epochs,
            "pose_epochs": options.pose_epochs,
            "training": training,
            "rows": rows,
        },
    )


def trained(
    model: nn.Module,
    score: Any,
    points: Callable[[], Tensor],
    targets: Tensor,
    name: str,
    seed: int,
    options: argparse.Namespace,
    epochs: int,
    rate: float,
    draw: Any = None,
) -> dict[str, float]:
    """Train, with a checkpoint where one is asked for, and the record of the time."""
    checkpoint = None if options.checkpoints is None else options.checkpoints / f"{name}.pt"
    with progress() as bar:
        task = bar.add_task(name, total=epochs)
        return fit(
            model,
            score,
            points,
            targets,
            epochs=epochs,
            rate=rate,
            seed=seed,
            draw=draw,
            checkpoint=checkpoint,
            tick=lambda: bar.advance(task),
        )


def plain(name: str) -> str:
    """The letters of a row's name, for a file."""
    return "".join(each for each in name if each.isalpha())


def measured(
    name: str, model: nn.Module, frame: Any, test: Clouds, options: argparse.Namespace, seed: int = SEED
) -> dict[str, Any]:
    """What `measure` says, kept beside the checkpoints."""
    if options.checkpoints is None:
        return measure(name, model, frame, test)
    path = options.checkpoints / f"{plain(name)}_{seed}.json"
    if not path.is_file():
        options.checkpoints.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(measure(name, model, frame, test)))
    row: dict[str, Any] = json.loads(path.read_text())
    return row


@torch.inference_mode()
def measure(name: str, model: nn.Module, frame: Any, test: Clouds) -> dict[str, Any]:
    """Accuracy in %, upright and turned; the share of clouds with one answer at all turns; calls of the network."""
    shown = model if frame is None else symmetrize(model, TURNS, frame)
    generator = torch.Generator().manual_seed(SEED)
    begin = time.perf_counter(), time.process_time()
    angle = 2 * math.pi * torch.rand(len(test.labels), generator=generator)
    about = torch.eye(3).repeat(len(angle), 1, 1)
    about[:, 0, 0], about[:, 1, 1], about[:, 1, 0], about[:, 0, 1] = angle.cos(), angle.cos(), angle.sin(), -angle.sin()
    turns = [SO(3).sample((len(angle),), generator=generator) for _ in range(ROTATIONS)]
    answers = [answered(shown, test.points @ turn.mT) for turn in (torch.eye(3), about, *turns)]
    right = [100 * float((answer == test.labels).double().mean()) for answer in answers]
    turned = torch.stack(answers[2:])
    calls = 1.0
    if frame is not None:
        some = shown.poses(test.points[::8] @ turns[0][::8].mT)
        # What a search asks of the network is counted; what other frames spend is not this network.
        spent = some.spent if isinstance(frame, Search) else 0
        calls = spent + float((some.weights > 0).double().sum(0).mean())
    return {
        "name": name,
        "clouds": len(test.labels),
        "accuracy": [right[0], right[1], statistics.mean(right[2:])],
        "at_turns": right[2:],
        "identical": 100 * float((turned == turned[0]).all(0).double().mean()),
        "calls": calls,
        "measuring": time.process_time() - begin[1],
    }


def answered(model: nn.Module, points: Tensor) -> Tensor:
    """The class of each cloud."""
    return torch.cat([model(some).argmax(1) for some in points.split(16)])


def together(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The means of runs with several seeds, and what each of them gave."""
    first = runs[0]
    means = {name: statistics.mean(run[name] for run in runs) for name in ("identical", "calls")}
    means["accuracy"] = [statistics.mean(each) for each in zip(*(run["accuracy"] for run in runs), strict=True)]
    times = {name: statistics.mean(run[name] for run in runs) for name in ("seconds", "cpu_seconds")}
    by_seed = {"by_seed": [run["accuracy"][2] for run in runs], "identical_by_seed": [run["identical"] for run in runs]}
    return {name: first[name] for name in ("name", "clouds", "epochs")} | means | times | by_seed


def show(rows: list[dict[str, Any]], count: int) -> None:
    """Print the table."""
    columns = ["", *CONDITIONS, "identical", "calls", "clouds", "training, s"]
    lines = [
        [
            row["name"],
            *(f"{each:.2f}" for each in row["accuracy"]),
            f"{row['identical']:.2f}",
            f"{row['calls']:.1f}",
            str(row["clouds"]),
            f"{row['seconds']:.0f}" if "seconds" in row else "",
        ]
        for row in rows
    ]
    table(f"ModelNet10, {count} test clouds: accuracy in %", columns, lines)


class Few(nn.Module):
    """The network on a quarter of the points, for a search."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """What the network says of some of the points."""
        return self.network(x[:, ::4])


if __name__ == "__main__":
    main()
