"""Where five charged particles will be: one plain network bare, with augmentation and behind frames, and an EGNN."""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from _bench import finish, progress, start, table
from _nbody import CLAIM, PARTS, Equivariant, Kept, Plain, Pointing, Runs, add_data_option, runs
from torch import Tensor, nn

from canonize import PCA, E, Learned, Weighted, symmetrize
from canonize.actions.trees import move
from canonize.linalg import haar_orthogonal

PAPERS = {"EGNN": 0.0071, "frame averaging": 0.0057, "learned canonicalization": 0.0043, "SEGNN": 0.0043}
BATCH = 100
RATE = 2e-3
DECAY = 1e-4
MEMORY = 0.999  # of the mean of the weights that is judged
LOOKS = 8  # how often a run is judged on its way to either limit


@dataclass(frozen=True)
class Way:
    """A way to train a network, and the ways to run what was trained.

    Attributes:
        net: makes the network.
        trained: the frame in training; None without one.
        judged: for each row of the result, the frame behind which the trained network is run; None without one.
        augment: whether training runs are turned at random.
    """

    net: Callable[[], nn.Module]
    trained: Any
    judged: dict[str, Any]
    augment: bool = False


@dataclass
class State:
    """What a stopped run goes on from."""

    epoch: int = 0
    seconds: float = 0.0
    wall: float = 0.0
    looks: dict[str, list[dict[str, float]]] = field(default_factory=dict)


def ways() -> dict[str, Way]:
    """All of them; a frame that is no module is one whose poses depend on the input alone."""
    return {
        "bare": Way(Plain, None, {"bare": None}),
        "augmented": Way(Plain, None, {"augmented": None, "PCA(), trained with augmentation": PCA()}, augment=True),
        "PCA()": Way(Plain, PCA(), {"PCA()": PCA()}),
        "drawn": Way(
            Plain,
            PCA(signs="drawn"),
            {'PCA(signs="drawn")': PCA(signs="drawn"), 'PCA(), trained with signs="drawn"': PCA()},
        ),
        "ruled": Way(Plain, PCA(signs="ruled"), {'PCA(signs="ruled")': PCA(signs="ruled")}),
        "Weighted()": Way(Plain, Weighted(), {"Weighted()": Weighted()}),
        "learned": Way(Plain, Pointing, {"Learned(VectorNeurons(3))": Pointing}),
        "EGNN": Way(Equivariant, None, {"EGNN": None}),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_option(parser)
    parser.add_argument("--seconds", type=float, default=240.0, help="of the processor, for each run (default: 240)")
    parser.add_argument("--epochs", type=int, default=200, help="that each run reaches at least (default: 200)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each way (default: 3)")
    parser.add_argument("--only", nargs="+", choices=list(ways()), metavar="WAY", help=f"some of {', '.join(ways())}")
    parser.add_argument("--limit", type=int, help="so many runs of each part, for a quick look")
    parser.add_argument("--checkpoints", type=Path, help="a folder from which a stopped benchmark goes on")
    options = start(parser)
    data = runs(options.data, options.limit)
    chosen = {name: way for name, way in ways().items() if options.only is None or name in options.only}
    kept, costs = kept_poses(chosen, data)
    found: dict[str, list[dict[str, Any]]] = {}
    with progress() as bar:
        task = bar.add_task("", total=len(chosen) * options.seeds)
        for seed in range(options.seeds):
            for name, way in chosen.items():

                def told(state: State, name: str = name, seed: int = seed) -> None:
                    looks = next(iter(state.looks.values()), [])
                    error = f", validation {looks[-1]['validation']:.5f}" if looks else ""
                    bar.update(
                        task, description=f"{name}, seed {seed}, epoch {state.epoch}, {state.seconds:.0f} s{error}"
                    )

                for row, looks in run(name, way, seed, data, kept, costs, options, told).items():
                    found.setdefault(row, []).append({"seed": seed, "looks": looks})
                bar.advance(task)
    result = {
        "benchmark": "nbody",
        "runs": {part: len(data[part]) for part in PARTS},
        "seconds": options.seconds,
        "epochs": options.epochs,
        "papers": PAPERS,
        "linear": summary(linear(data)),
        "tables": {
            "wall-clock": rows_of(found, lambda look: look["began"] < options.seconds),
            "epochs": rows_of(found, lambda look: look["epoch"] <= options.epochs),
        },
        "looks": found,
    }
    show(result, options)
    finish(options, result)


def kept_poses(chosen: dict[str, Way], data: dict[str, Runs]) -> tuple[dict[Any, Kept], dict[Any, float]]:
    """For each frame without parameters its poses of all runs, and the seconds that those of the training runs took."""
    kept, costs = {}, {}
    whole = tuple(torch.cat(parts) for parts in zip(*(data[part].inputs for part in PARTS), strict=True))
    for way in chosen.values():
        for frame in (way.trained, *way.judged.values()):
            if frame is None or isinstance(frame, type) or frame in kept:
                continue
            drawn = getattr(frame, "signs", None) == "drawn"
            begin = time.process_time()
            every = PCA() if drawn else frame
            every(CLAIM, data["train"].inputs)
            costs[frame] = time.process_time() - begin
            kept[frame] = Kept(every(CLAIM, whole), drawn=drawn)
    return kept, costs


def run(
    name: str,
    way: Way,
    seed: int,
    data: dict[str, Runs],
    kept: dict[Any, Kept],
    costs: dict[Any, float],
    options: argparse.Namespace,
    told: Callable[[State], None],
) -> dict[str, list[dict[str, float]]]:
    """Train one network until both limits are reached; what was seen of it on the way, for each row."""
    place = None if options.checkpoints is None else options.checkpoints / f"{name.strip('()')}_{seed}.pt"
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net = way.net()
    frame: Any = Learned(way.trained()) if isinstance(way.trained, type) else kept.get(way.trained)
    # Without a frame the network stands alone; behind one it is called through the library, as a user would.
    model: nn.Module = net if frame is None else symmetrize(net, CLAIM, frame, chunk=8)
    mean = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    state = State(seconds=costs.get(way.trained, 0.0), looks={row: [] for row in way.judged})
    parts = {"model": model, "mean": mean, "optimizer": optimizer}
    if place is not None and place.is_file():
        saved = torch.load(place, weights_only=True)
        if saved["limit"] != options.limit:
            raise SystemExit(f"{place} was trained with --limit {saved['limit']}; name another folder")
        state = State(**saved["state"])
        for key, part in parts.items():
            part.load_state_dict(saved[key])
        generator.set_state(saved["generator"])
    per_epoch, per_second = options.epochs / LOOKS, options.seconds / LOOKS
    while state.epoch < options.epochs or state.seconds < options.seconds:
        begin, wall, before = time.process_time(), time.perf_counter(), (state.epoch, state.seconds)
        train(model, mean, optimizer, data["train"], way.augment, generator, state.epoch)
        state.epoch += 1
        state.seconds += time.process_time() - begin
        state.wall += time.perf_counter() - wall
        told(state)
        # Up to each of the limits, and no more beyond it.
        crossed_epoch = before[0] // per_epoch < min(state.epoch, options.epochs) // per_epoch
        if not crossed_epoch and before[1] // per_second >= min(state.seconds, options.seconds) // per_second:
            continue
        for row, judged in way.judged.items():
            state.looks[row].append({"began": before[1], **look(mean, judged, kept, data, state)})
        if place is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            saved = {key: part.state_dict() for key, part in parts.items()}
            torch.save(
                {**saved, "limit": options.limit, "state": asdict(state), "generator": generator.get_state()},
                place.with_suffix(".new"),
            )
            place.with_suffix(".new").replace(place)
    return state.looks


def train(
    model: nn.Module,
    mean: nn.Module,
    optimizer: torch.optim.Optimizer,
    runs: Runs,
    augment: bool,
    generator: torch.Generator,
    epoch: int,
) -> None:
    """One epoch, at a rate that is constant after the first hundred steps; `mean` follows the weights."""
    model.train()
    keyword = {"generator": generator} if hasattr(model, "frame") else {}
    batches = torch.randperm(len(runs), generator=generator).split(BATCH)
    for number, which in enumerate(batches, start=epoch * len(batches)):
        batch = runs.take(which)
        if augment:
            g = haar_orthogonal((len(which),), 3, special=False, generator=generator, dtype=torch.float32)
            batch = Runs(move(CLAIM.inputs, g, batch.inputs), move(CLAIM.outputs, g, batch.target))
        optimizer.param_groups[0]["lr"] = RATE * min(1.0, (number + 1) / 100)
        loss = (model(*batch.inputs, **keyword) - batch.target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            share = 1 - min(MEMORY, (number + 1) / (number + 20))
            for kept, new in zip(mean.parameters(), model.parameters(), strict=True):
                kept.lerp_(new, share)


def look(mean: nn.Module, judged: Any, kept: dict[Any, Kept], data: dict[str, Runs], state: State) -> dict[str, float]:
    """Errors of the mean network on the validation and test runs, behind the frame that it is judged with."""
    mean.eval()
    fixed = judged is not None and not isinstance(judged, type)
    net = getattr(mean, "model", mean)
    model = symmetrize(net, CLAIM, kept[judged], chunk=8) if fixed else mean
    found = {"epoch": state.epoch, "seconds": state.seconds, "wall": state.wall}
    with torch.inference_mode():
        errors = {part: errors_of(model, data[part]) for part in ("valid", "test")}
    # Poses that were kept do not know of inputs that are turned.
    found["equivariance"] = broken(symmetrize(net, CLAIM, judged) if fixed else mean, data["test"])
    return {**found, "validation": errors["valid"].mean().item(), **summary(errors["test"])}


def broken(model: nn.Module, runs: Runs) -> float:
    """The largest change of the answer under a rotation, reflection and shift, over its size, in float64 on 100 runs."""
    model, generator = copy.deepcopy(model).double(), torch.Generator().manual_seed(0)
    *moving, number = runs.take(torch.arange(len(runs))[:100]).inputs
    inputs = (*(part.double() for part in moving), number)
    g = E(3).sample(len(number), generator=generator, dtype=torch.float64)
    keyword = {"generator": generator} if hasattr(model, "frame") else {}
    with torch.inference_mode():
        wanted = move(CLAIM.outputs, g, model(*inputs, **keyword))
        found = model(*move(CLAIM.inputs, g, inputs), **keyword)
    return float((found - wanted).abs().max() / wanted.abs().max())


def errors_of(model: nn.Module, runs: Runs) -> Tensor:
    """Mean squared errors over the coordinates of each run."""
    keyword = {"generator": torch.Generator().manual_seed(0)} if hasattr(model, "frame") else {}
    parts = []
    for which in torch.arange(len(runs)).split(BATCH):
        batch = runs.take(which)
        parts.append((model(*batch.inputs, **keyword) - batch.target).square().mean((1, 2)))
    return torch.cat(parts)


def summary(errors: Tensor) -> dict[str, float]:
    """Mean, median, and mean without the worst hundredth of the runs, which hold much of the error by chaos."""
    kept = errors.sort().values[: len(errors) - len(errors) // 100]
    return {"mean": errors.mean().item(), "median": errors.median().item(), "trimmed": kept.mean().item()}


def linear(data: dict[str, Runs]) -> Tensor:
    """Errors of moving on at constant velocity, the time fitted on the training runs."""
    (loc, vel, *_), target = data["train"].inputs, data["train"].target
    step = (vel * (target - loc)).sum() / vel.square().sum()
    (loc, vel, *_), target = data["test"].inputs, data["test"].target
    return (loc + step * vel - target).square().mean((1, 2))


def rows_of(
    found: dict[str, list[dict[str, Any]]], allowed: Callable[[dict[str, float]], bool]
) -> list[dict[str, Any]]:
    """For each row the test errors at the look with the best validation error, over seeds."""
    rows = []
    for name, runs_of in found.items():
        best = []
        for each in runs_of:
            looks = [one for one in each["looks"] if allowed(one)]
            if looks:
                best.append(min(looks, key=lambda one: one["validation"]))
        if best:
            means = {key: statistics.mean(one[key] for one in best) for key in best[0]}
            spread = max(one["mean"] for one in best) - min(one["mean"] for one in best)
            rows.append({"name": name, "runs": len(best), "spread": spread, **means})
    return rows


def show(result: dict[str, Any], options: argparse.Namespace) -> None:
    """The two tables."""
    titles = {
        "wall-clock": f"after {options.seconds:g} seconds of one thread each",
        "epochs": f"after {options.epochs} epochs each",
    }
    columns = [
        "trained and run as",
        "mean",
        "spread",
        "median",
        "without worst 1 %",
        "validation",
        "equivariance",
        "epoch",
        "seconds",
    ]
    for key, rows in result["tables"].items():
        shown = [
            [
                row["name"],
                *(f"{row[name]:.5f}" for name in ("mean", "spread", "median", "trimmed", "validation")),
                f"{row['equivariance']:.0e}",
                f"{row['epoch']:.0f}",
                f"{row['seconds']:.0f}",
            ]
            for row in rows
        ]
        table(f"n-body, squared error on test runs, mean over {options.seeds} seeds, {titles[key]}", columns, shown)
    line = ", ".join(f"{name} {value:.4f}" for name, value in PAPERS.items())
    print(
        f"published, on other draws of the data and with longer training: {line}; linear here {result['linear']['mean']:.4f}"
    )


if __name__ == "__main__":
    main()
