"""Whether `torch.compile` with its default backend gives eager's numbers for symmetrized models, at several sizes."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from _bench import SEED, finish, progress, start, table
from torch import Tensor, nn

from canonize import PCA, SE, Best, C, Image, Nodes, Point, S, Scalar, Sorted, Symmetry, Vector, Weighted, symmetrize
from canonize.nn import Scorer

SIZES = (4, 6, 2)
"""Batches one after the other: the first is compiled for itself, the second makes the size open."""


class Dipole(nn.Module):
    """Vectors (batch, 3) of clouds (batch, points, 3), not equivariant."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(3, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """One vector for each cloud."""
        return self.outer(self.inner(x).tanh().mean(1))


def images(batch: int) -> Tensor:
    """Random images, the last one blank."""
    x = torch.randn(batch, 1, 8, 8, generator=torch.Generator().manual_seed(SEED + batch))
    x[-1] = 1.0
    return x


def clouds(batch: int) -> Tensor:
    """Random clouds of four points, the last one a regular tetrahedron, which has no axes of its own."""
    x = torch.randn(batch, 4, 3, generator=torch.Generator().manual_seed(SEED + batch))
    x[-1] = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    return x


def sets(batch: int) -> Tensor:
    """Random sets of four things, all things of the last one equal."""
    x = torch.randn(batch, 4, 3, generator=torch.Generator().manual_seed(SEED + batch))
    x[-1] = x[-1, :1]
    return x


def models() -> dict[str, tuple[nn.Module, Callable[[int], Tensor]]]:
    """Each symmetrized model, and what makes its inputs."""
    torch.manual_seed(SEED)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    turns, moves = Symmetry(C(4), Image(), Scalar()), Symmetry(SE(3), Point(), Vector())
    listed = {
        "images, Average()": (symmetrize(network, turns), images),
        "images, Best(Scorer(1))": (symmetrize(network, turns, Best(Scorer(1))), images),
        "clouds, the default frame": (symmetrize(Dipole(), moves), clouds),
        "clouds, Weighted()": (symmetrize(Dipole(), moves, Weighted()), clouds),
        # Without a fallback the axes of a tetrahedron are noise, in eager as well.
        "clouds, PCA(fallback=None)": (
            symmetrize(Dipole(), moves, PCA("ruled", fallback=None)),
            lambda batch: clouds(batch + 1)[:-1],
        ),
        "sets, Sorted()": (symmetrize(Dipole(), Symmetry(S(), Nodes(), Scalar()), Sorted()), sets),
    }
    return {name: (model.eval(), make) for name, (model, make) in listed.items()}


def measure(model: nn.Module, make: Callable[[int], Tensor], *, dynamic: bool | None = None) -> dict[str, Any]:
    """The largest difference from eager, relative to the largest entry, and the seconds of the first calls."""
    compiled = torch.compile(model, fullgraph=True, dynamic=dynamic)
    off, seconds = [], []
    with torch.no_grad():
        for batch in SIZES:
            x = make(batch)
            wanted, begin = model(x), time.perf_counter()
            found = compiled(x)
            seconds.append(time.perf_counter() - begin)
            off.append(float((found - wanted).abs().max() / wanted.abs().max()))
    return {"error": off, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="models whose name begins so")
    parser.add_argument("--dynamic", action="store_true", help="leave all sizes open from the first call on")
    options = start(parser)
    rows = {}
    with progress() as bar:
        for name, (model, make) in bar.track(models().items(), description="models"):
            if not options.only or any(name.startswith(each) for each in options.only):
                torch.compiler.reset()
                rows[name] = measure(model, make, dynamic=options.dynamic or None)
    body = [
        [name, *(f"{each:.1e}" for each in row["error"]), f"{sum(row['seconds']):.0f} s"] for name, row in rows.items()
    ]
    table("Compiled by inductor: difference from eager", ["model", *map(str, SIZES), "first calls"], body)
    finish(options, {"benchmark": "inductor", "sizes": SIZES, "rows": rows})
    # Not-a-number is no agreement.
    wrong = [name for name, row in rows.items() if not all(each <= 1e-5 for each in row["error"])]
    if wrong:
        raise SystemExit(f"other numbers than eager: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
