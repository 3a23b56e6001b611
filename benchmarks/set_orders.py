"""Orders of sets: how regular what a model is shown is, how the output moves with the input, and what it costs."""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from _bench import SEED, finish, interleaved, progress, start, table
from torch import Tensor

from canonize import Nodes, Poses, S, Scalar, Sorted, Symmetry, WeightedOrder, symmetrize
from canonize.linalg import haar_orthogonal

DOUBLE = torch.float64
STEP = 1e-6
MOST = 16


@dataclass(frozen=True)
class Directions:
    """Weighted orders along fixed directions as in arXiv 2402.16077: by the smallest gap of the projections of any two rows."""

    directions: Tensor

    def __call__(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """One pose for each direction."""
        along = (inputs @ self.directions.to(inputs)).movedim(-1, 0)
        ranked = along.sort(dim=2)
        gaps = ranked.values.diff(dim=2).amin(2)
        return Poses(ranked.indices, gaps / gaps.sum(0), sparse=True)


def frames(n: int, d: int) -> dict[str, Any]:
    """What is compared; as many directions as make sure that one tells all rows apart."""
    count = n * (n - 1) // 2 * (d - 1) + 1
    generator = torch.Generator().manual_seed(SEED)
    directions = haar_orthogonal((count,), d, special=False, generator=generator)[..., 0].mT
    found: dict[str, Any] = {
        "Sorted()": Sorted(),
        'Sorted("hilbert")': Sorted("hilbert"),
        "WeightedOrder(0.1)": WeightedOrder(0.1),
        "WeightedOrder()": WeightedOrder(),
    }
    if n <= MOST:
        found[f"{count} directions"] = Directions(directions)
    return found


class Model:
    """A smooth function of the flattened set, without symmetry, of size about one."""

    def __init__(self, n: int, d: int) -> None:
        draw = torch.Generator().manual_seed(SEED + 1)
        self.weight = torch.randn(n * d, 16, generator=draw, dtype=DOUBLE) * (12 / (n * d)) ** 0.5

    def __call__(self, x: Tensor) -> Tensor:
        """(batch, 16)."""
        return torch.sin(2 * (x - 0.5).flatten(1) @ self.weight)


def uniform(count: int, n: int, d: int, seed: int) -> Tensor:
    return torch.rand(count, n, d, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def spread(options: argparse.Namespace) -> list[dict[str, Any]]:
    """How far apart the canonical forms of two random sets are, root mean square over rows."""
    rows = []
    for n in (16, 64, 256, 1024):
        for d in (2, 3, 5):
            x = uniform(2 * options.sets, n, d, n + d)
            claim, found = Symmetry(S(n), Nodes(), Scalar()), {}
            for name, frame in {"as given": None, "Sorted()": Sorted(), 'Sorted("hilbert")': Sorted("hilbert")}.items():
                shown = x if frame is None else symmetrize(torch.nn.Identity(), claim, frame).canonical(x)
                apart = (shown[: options.sets] - shown[options.sets :]).square().sum(2).mean(1)
                found[name] = float(apart.mean().sqrt())
            rows.append({"n": n, "d": d, "distance": found})
    return rows


def steps(options: argparse.Namespace) -> list[dict[str, Any]]:
    """How much the output of the symmetrized model changes for a small change of the set."""
    rows = []
    for n, d in ((8, 2), (16, 3), (32, 3)):
        claim, model = Symmetry(S(n), Nodes(), Scalar()), Model(n, d)
        x = uniform(options.sets, n, d, n)
        way = torch.randn(x.shape, generator=torch.Generator().manual_seed(n + 1), dtype=DOUBLE)
        way = way / way.abs().amax((1, 2), keepdim=True)
        for name, frame in frames(n, d).items():
            fixed = symmetrize(model, claim, frame, chunk=16)
            with torch.no_grad():
                base = fixed(x)
                size = float(base.std())
                moved = {eps: (fixed(x + eps * way) - base).norm(dim=1) / (16**0.5 * size) for eps in (1e-2, 1e-3)}
                jump = largest_jump(fixed, x[: options.paths], way[: options.paths]) / size
            used = (fixed.poses(x).weights > 0).sum(0).double()
            means = {f"{eps:g}": float(off.mean()) for eps, off in moved.items()}
            most = {f"{eps:g}": float(off.max()) for eps, off in moved.items()}
            rows.append(
                {"n": n, "d": d, "frame": name, "mean": means, "max": most, "jump": jump, "poses": float(used.mean())}
            )
    return rows


def largest_jump(fixed: Any, x: Tensor, way: Tensor) -> float:
    """The largest change over a step of `STEP` on straight paths of length 0.02, by halving where the output changes most."""
    low = torch.zeros(len(x), dtype=DOUBLE)
    grid = torch.linspace(0, 0.02, 201, dtype=DOUBLE)
    values = torch.stack([fixed(x + t * way) for t in grid])
    at = values.diff(dim=0).norm(dim=2).argmax(0)
    low, high = grid[at], grid[at + 1]
    ends = [fixed(x + t[:, None, None] * way) for t in (low, high)]
    while float((high - low).max()) > STEP:
        middle = (low + high) / 2
        value = fixed(x + middle[:, None, None] * way)
        left = (value - ends[0]).norm(dim=1) >= (ends[1] - value).norm(dim=1)
        low, high = torch.where(left, low, middle), torch.where(left, middle, high)
        ends = [torch.where(left[:, None], ends[0], value), torch.where(left[:, None], value, ends[1])]
    return float(((ends[1] - ends[0]).norm(dim=1) / 16**0.5).max())


def times(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Microseconds of the processor a set for the order alone, float32."""
    rows = []
    for n in (32, 256):
        x = uniform(32, n, 3, n).float()
        claim = Symmetry(S(n), Nodes(), Scalar())
        chosen = {
            "Sorted()": Sorted(),
            'Sorted(within="rounding")': Sorted(within="rounding"),
            'Sorted("hilbert")': Sorted("hilbert"),
            "WeightedOrder()": WeightedOrder(),
        }
        calls = {name: partial(frame, claim, x) for name, frame in chosen.items()}
        found = interleaved(calls, repeats=options.repeats, warm=0.2, clock=time.process_time)
        rows.append({"n": n, "microseconds": {name: 1e6 * statistics.median(t) / len(x) for name, t in found.items()}})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=100, help="random sets (default: 100)")
    parser.add_argument("--paths", type=int, default=20, help="paths that are searched for jumps (default: 20)")
    parser.add_argument("--repeats", type=int, default=5, help="timings of each order (default: 5)")
    options = start(parser)
    with progress() as bar:
        task = bar.add_task("orders", total=3)
        result = {}
        for part in (spread, steps, times):
            result[part.__name__] = part(options)
            bar.advance(task)
    names = list(result["spread"][0]["distance"])
    body = [
        [f"{row['n']} in {row['d']}", *(f"{row['distance'][name]:.3f}" for name in names)] for row in result["spread"]
    ]
    table("distance of the canonical forms of two random sets", ["rows in columns", *names], body)
    body = []
    for row in result["steps"]:
        moved = [f"{row[kind][eps]:.2e}" for eps in ("0.01", "0.001") for kind in ("mean", "max")]
        body.append([f"{row['n']} in {row['d']}: {row['frame']}", f"{row['poses']:.1f}", *moved, f"{row['jump']:.1e}"])
    columns = ["", "poses", "mean, 0.01", "max, 0.01", "mean, 0.001", "max, 0.001", "jump"]
    table("change of the output", columns, body)
    names = list(result["times"][0]["microseconds"])
    body = [[str(row["n"]), *(f"{row['microseconds'][name]:.0f}" for name in names)] for row in result["times"]]
    table("microseconds a set", ["rows", *names], body)
    finish(options, {"benchmark": "set_orders", "sets": options.sets, "paths": options.paths, "step": STEP} | result)


if __name__ == "__main__":
    main()
