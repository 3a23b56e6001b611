"""How long frames for clouds take: against peers, on big clouds, in front of a PointNet, and as sizes grow."""

from __future__ import annotations

import argparse
import importlib
import itertools
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from _bench import SEED, interleaved, progress, ratio, table
from _modelnet import clouds, pretrained
from _molecules import DENSE, RAGGED, batch, qm9
from torch import Tensor

from canonize import PCA, SO, Learned, Point, Scalar, Symmetry, Weighted, default_frame, symmetrize
from canonize.actions.trees import at, move, repeat, take
from canonize.frames import Poses
from canonize.frames.base import flat
from canonize.nn import VectorNeurons

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
MOLECULES, ATOMS = 1024, 20
LOOP = "loop of torch.linalg.eigh"
PEER = "faenet"
BARE = "bare PointNet"
TURNS = {"SO(3)": Symmetry(SO(3), Point(), Scalar()), "SE(3)": DENSE["SE(3)"]}


def speed(options: argparse.Namespace) -> dict[str, Any]:
    """Molecules posed in a second, beside what others do one by one."""
    peer = _peer() if options.peer else None
    random = torch.randn(MOLECULES, ATOMS, 3, generator=torch.Generator().manual_seed(SEED))
    real = qm9(options.data, MOLECULES)
    sets: dict[str, tuple[Symmetry, Any, list[Tensor]]] = {
        f"random, {ATOMS} atoms": (DENSE["E(3)"], random, list(random)),
        "QM9, ragged": (RAGGED["E(3)"], batch(real), [pos for pos, _ in real]),
    }
    rows = []
    with progress() as bar:
        task = bar.add_task("speed", total=len(sets) * options.repeats)
        for name, (claim, together, single) in sets.items():
            calls = _ways(claim, together, single, peer)
            agree(claim, together, single, peer)
            times = timed(calls, options, tick=lambda: bar.advance(task))
            seconds = {way: statistics.median(each) for way, each in times.items()}
            rows.append(
                {
                    "molecules": name,
                    "per_second": {way: MOLECULES / each for way, each in seconds.items()},
                    "faster": {way: ratio(times[LOOP], each) for way, each in times.items()},
                }
            )
    for row in rows:
        body = [
            [way, f"{each:,.0f}", f"{row['faster'][way]['median']:.1f}x"] for way, each in row["per_second"].items()
        ]
        table(f"{MOLECULES} molecules: {row['molecules']}", ["", "molecules/s", f"faster than the {LOOP}"], body)
    note = f"only `frame_averaging_3D` of {PEER}" if peer else ""
    return {"count": MOLECULES, "atoms": ATOMS, "rows": rows, "note": note}


def timed(calls: dict[str, Callable[[], Any]], options: argparse.Namespace, **settings: Any) -> dict[str, list[float]]:
    """Seconds per call; quick calls are repeated for long enough that what ran before does not show."""
    return interleaved(calls, repeats=options.repeats, least=0.05, clock=CLOCKS[options.clock], **settings)


def _ways(claim: Symmetry, together: Any, single: list[Tensor], peer: Any) -> dict[str, Callable[[], Any]]:
    calls: dict[str, Callable[[], Any]] = {}
    frames: dict[str, Any] = {"PCA()": PCA(), "PCA(fallback=None)": PCA(fallback=None)}
    frames |= {"PCA('ruled')": PCA("ruled"), "Weighted()": Weighted()}
    for name, frame in frames.items():
        calls[f"{name}: poses"] = lambda frame=frame: frame(claim, together)
        calls[f"{name}: poses and copies"] = lambda frame=frame: copies(claim, together, frame(claim, together))
    calls[LOOP] = lambda: [one_by_one(pos) for pos in single]
    if peer is not None:
        calls[PEER] = lambda: [peer(pos, None, "all") for pos in single]
    return calls


def copies(claim: Symmetry, x: Any, poses: Poses) -> Any:
    """What a model is shown: the input as seen from each pose that has a weight, (copies, ...), pose after pose."""
    pose, sample = poses.weights.nonzero().unbind(1)
    if len(pose) == poses.weights.numel():
        many, g = repeat(claim.inputs, x, poses.count, batch=poses.weights.shape[1]), flat(poses.elements)
    else:
        many, g = take(claim.inputs, x, sample), at(poses.elements, (pose, sample))
    return move(claim.inputs, claim.group.inverse(g), many)


def one_by_one(pos: Tensor) -> Tensor:
    """The eight copies of one molecule, as a short function would have them, (8, n, 3)."""
    pos = pos - pos.mean(0)
    axes = torch.linalg.eigh(pos.mT @ pos).eigenvectors
    return torch.stack([pos @ (axes * torch.tensor(signs)) for signs in itertools.product((1.0, -1.0), repeat=3)])


def agree(claim: Symmetry, together: Any, single: list[Tensor], peer: Any) -> None:
    """Stop unless all ways show a model the same copies of molecules that are far from a tie.

    Compared is the mean over the copies of a function that tells the axes apart; all signs are among them.
    """
    probe = torch.tensor([0.3, 0.7, 1.1])
    poses = PCA(fallback=None)(claim, together)
    seen = copies(claim, together, poses)
    parts = seen["pos"].unflatten(0, (8, -1)) if isinstance(seen, dict) else seen.flatten(0, 1).unflatten(0, (8, -1))
    for sample, eight in enumerate(parts.split([len(pos) for pos in single], 1)):
        if poses.margin[sample] < 0.1:
            continue
        rivals = {LOOP: one_by_one(single[sample]).flip(-1)}
        if peer is not None:
            rivals[PEER] = torch.stack(peer(single[sample], None, "all")[0])
        for name, rival in rivals.items():
            one, other = (torch.sin(each @ probe + 0.4).mean() for each in (eight, rival))
            if not torch.allclose(one, other, atol=1e-4):
                raise SystemExit(f"{name} and PCA() show different copies of molecule {sample}")


def _peer() -> Callable[..., Any]:
    try:
        return importlib.import_module("faenet").frame_averaging_3D
    except ImportError as problem:
        raise SystemExit(f"--peer needs faenet 0.1.3: {problem}; see benchmarks/README.md") from problem


def big(options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds to pose 32 clouds of 1,024 points."""
    x = clouds(options.data, "test").points[::28][:32].contiguous()
    frames: dict[str, Any] = {
        "PCA('ruled')": PCA("ruled"),
        "PCA()": PCA(),
        "Weighted()": Weighted(),
    }
    for text, settings in {
        "VectorNeurons(3)": {},
        "VectorNeurons(3, double=False)": {"double": False},
        "VectorNeurons(3, channels=8, depth=1)": {"channels": 8, "depth": 1},
    }.items():
        network = VectorNeurons(3, generator=torch.Generator().manual_seed(SEED), **settings)
        frames[f"Learned({text})"] = Learned(network).eval()
    claims = TURNS | {"E(3)": DENSE["E(3)"]}
    calls = {
        f"{name}, {group}": lambda frame=frame, claim=claim: frame(claim, x)
        for name, frame in frames.items()
        for group, claim in claims.items()
    }
    # As in use: what a network keeps for its derivative would be most of its time.
    with progress() as bar, torch.no_grad():
        poses = {name: float((call().weights > 0).double().sum(0).mean()) for name, call in calls.items()}
        task = bar.add_task("big clouds", total=options.repeats)
        times = timed(calls, options, tick=lambda: bar.advance(task))
    milliseconds = {name: 1000 * statistics.median(each) for name, each in times.items()}
    rows = [
        {"frame": name, "group": group, "milliseconds": milliseconds[key], "poses": poses[key]}
        for name in frames
        for group in claims
        for key in [f"{name}, {group}"]
    ]
    body = [[row["frame"], row["group"], f"{row['milliseconds']:.2f}", f"{row['poses']:.2f}"] for row in rows]
    table("32 clouds of 1,024 points", ["frame", "group", "ms", "poses a cloud"], body)
    return {"size": list(x.shape), "rows": rows}


def overhead(options: argparse.Namespace) -> dict[str, Any]:
    """Time of a PointNet behind its default frame over that of the bare one, on any clouds and on some that have one pose."""
    points, model = clouds(options.data, "test").points, pretrained(options.data)
    rows = []
    with progress() as bar, torch.no_grad():
        task = bar.add_task("overhead", total=len(TURNS) * 2 * options.repeats)
        for group, claim in TURNS.items():
            frame = default_frame(claim)
            mended = symmetrize(model, claim, frame)
            counts = torch.cat([(frame(claim, some).weights > 0).sum(0) for some in points.split(32)])
            one = points[counts == 1]
            for kind, known in {"any": points, "with one pose": one}.items():
                x = known[:: len(known) // 32][:32].contiguous()
                calls: dict[str, Callable[[], Any]] = {
                    BARE: lambda x=x: model(x),
                    "behind the frame": lambda x=x, mended=mended: mended(x),
                    "the pose alone": lambda x=x, frame=frame, claim=claim: frame(claim, x),
                }
                times = timed(calls, options, tick=lambda: bar.advance(task))
                rows.append(
                    {
                        "group": group,
                        "frame": repr(frame),
                        "kind": kind,
                        "clouds": len(known),
                        "calls": float((frame(claim, x).weights > 0).double().sum(0).mean()),
                        "all_calls": float(counts[counts == 1 if kind != "any" else counts > 0].double().mean()),
                        "most": int(counts.max()) if kind == "any" else 1,
                        "milliseconds": {name: 1000 * statistics.median(each) for name, each in times.items()},
                        "ratio": {name: ratio(each, times[BARE]) for name, each in times.items()},
                    }
                )
    body = [
        [
            f"{row['group']}, {row['kind']}",
            f"{row['clouds']}",
            f"{row['calls']:.2f}",
            *(f"{row['ratio'][name]['median']:.3f}x" for name in list(row["ratio"])[1:]),
            *(f"{each:.2f}" for each in row["milliseconds"].values()),
        ]
        for row in rows
    ]
    names = list(rows[0]["ratio"])
    columns = ["clouds", "of", "calls", *names[1:], *(f"{name}, ms" for name in names)]
    table("PointNet on 32 clouds of 1,024 points", columns, body)
    parameters = sum(part.numel() for part in model.parameters())
    return {"size": [32, *points.shape[1:]], "clouds": len(points), "parameters": parameters, "rows": rows}


def scaling(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds to pose one cloud against its points, and many clouds of 20 points against their number."""
    generator = torch.Generator().manual_seed(SEED)
    claim = DENSE["SE(3)"]
    frames = {"PCA('ruled')": PCA("ruled"), "Weighted()": Weighted()}
    sizes = {
        "points": [round(10 ** (power / 2)) for power in range(4, 2 * options.most_points + 1)],
        "samples": [round(10 ** (power / 2)) for power in range(2 * options.most_samples + 1)],
    }
    rows = []
    with progress() as bar:
        task = bar.add_task("scaling", total=sum(map(len, sizes.values())))
        for kind, counts in sizes.items():
            seconds: dict[str, list[float]] = {name: [] for name in frames}
            for count in counts:
                shape = (1, count, 3) if kind == "points" else (count, ATOMS, 3)
                x = torch.randn(*shape, generator=generator)
                calls = {name: lambda frame=frame, x=x: frame(claim, x) for name, frame in frames.items()}
                for name, times in timed(calls, options, warm=0.1).items():
                    seconds[name].append(statistics.median(times))
                bar.advance(task)
            for name, each in seconds.items():
                # Below a hundredth of the largest size the fixed cost of a call shows.
                rest = [pair for pair in zip(counts, each, strict=True) if pair[0] >= counts[-1] / 100]
                rows.append({"kind": kind, "frame": name, "counts": counts, "seconds": each, "slope": slope(rest)})
    body = [[row["frame"], row["kind"], f"{row['slope']:.2f}", f"{row['seconds'][-1]:.3f}"] for row in rows]
    table("Scaling", ["frame", "against", "exponent", "s at the largest"], body)
    return {"atoms": ATOMS, "rows": rows}


def slope(pairs: list[tuple[int, float]]) -> float:
    """The exponent of a power law, by least squares of logarithms."""
    x, y = [math.log(count) for count, _ in pairs], [math.log(seconds) for _, seconds in pairs]
    return statistics.linear_regression(x, y).slope if len(pairs) > 1 else math.nan
