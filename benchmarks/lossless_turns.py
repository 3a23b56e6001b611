"""Speed of the lossless turn of a batch in which every image has an element of its own."""

from __future__ import annotations

import argparse
import statistics
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from _bench import SEED, finish, interleaved, progress, ratio, start, table
from torch import Tensor

from canonize import C, D, Image

SIZES = ((64, 3, 32, 32), (16, 3, 224, 224), (64, 64, 32, 32))
AXES = (-2, -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=31, help="timings of each candidate (default: 31)")
    options = start(parser)
    rows = []
    with progress() as bar:
        task = bar.add_task("turns", total=2 * len(SIZES) * options.repeats)
        for group in (C(4), D(4)):
            for size in SIZES:
                rows.append(measure(group, size, options.repeats, lambda: bar.advance(task)))
    show(rows)
    finish(options, {"benchmark": "lossless_turns", "repeats": options.repeats, "rows": rows})


def measure(group: Any, size: tuple[int, ...], repeats: int, tick: Any) -> dict[str, Any]:
    """Timings of `Image()` and of its rivals on one batch, after checking that they agree bit for bit.

    The rivals are helped: which element each image has is handed to them as whole numbers, and to grid_sample as the
    finished 2 x 3 matrices. `Image()` gets the matrices of the group and finds out by itself that they are lossless.
    """
    generator = torch.Generator().manual_seed(SEED)
    x = torch.randn(size, generator=generator)
    elements = group.elements()
    index = torch.randint(len(elements), size[:1], generator=generator)
    g, kinds = elements[index], [kind(element) for element in elements]
    candidates = {
        "Image()": partial(Image(), g, x),
        "grouped rot90": partial(grouped, x, index, kinds),
        "loop over samples": partial(looped, x, index.tolist(), kinds),
        "grid_sample, nearest": partial(sampled, x, thetas(g)),
    }
    wanted = candidates["loop over samples"]()
    for name, call in candidates.items():
        if not torch.equal(call(), wanted):
            raise SystemExit(f"{name} disagrees with the loop over samples: {group!r} on {size}")
    times = interleaved(candidates | {"copy": x.clone}, repeats=repeats, tick=tick)
    return {
        "group": repr(group),
        "size": list(size),
        "milliseconds": {name: 1000 * statistics.median(each) for name, each in times.items()},
        "ratio": {name: ratio(each, times["Image()"]) for name, each in times.items()},
    }


def kind(element: Tensor) -> tuple[int, bool]:
    """(quarter turns, whether flipped left to right before) of an element of D(4)."""
    flipped = bool(element.det() < 0)
    rotation = element @ torch.diag(torch.tensor([-1.0, 1.0])) if flipped else element
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    return next(k for k in range(4) if torch.equal(torch.linalg.matrix_power(quarter, k), rotation)), flipped


def turned(x: Tensor, quarters: int, flipped: bool) -> Tensor:
    """`x` moved by one element: all of it by the same."""
    x = x.flip(-1) if flipped else x
    return x.rot90(quarters, AXES) if quarters else x


def grouped(x: Tensor, index: Tensor, kinds: list[tuple[int, bool]]) -> Tensor:
    """The samples of each element together."""
    out = torch.empty_like(x)
    for number, (quarters, flipped) in enumerate(kinds):
        rows = (index == number).nonzero()[:, 0]
        if len(rows):
            out[rows] = turned(x[rows], quarters, flipped)
    return out


def looped(x: Tensor, index: list[int], kinds: list[tuple[int, bool]]) -> Tensor:
    """One sample after the other."""
    return torch.stack([turned(sample, *kinds[number]) for sample, number in zip(x, index, strict=True)])


def sampled(x: Tensor, theta: Tensor) -> Tensor:
    """The general warp, which computes a place for every pixel."""
    return F.grid_sample(
        x, F.affine_grid(theta, list(x.shape), align_corners=False), mode="nearest", align_corners=False
    )


def thetas(g: Tensor) -> Tensor:
    """The inverses (batch, 2, 3) in the coordinates of affine_grid, whose second axis points downwards."""
    down = torch.diag(torch.tensor([1.0, -1.0]))
    return F.pad(down @ g.mT @ down, (0, 1)).contiguous()


def show(rows: list[dict[str, Any]]) -> None:
    names = list(rows[0]["ratio"])
    cases = [f"{row['group']} {'x'.join(map(str, row['size']))}" for row in rows]
    ratios = [[f"{row['ratio'][name]['median']:.2f}x" for name in names[1:]] for row in rows]
    medians = [[f"{row['milliseconds'][name]:.2f}" for name in names] for row in rows]
    title = "Time over the time of Image(); above 1 Image() is faster"
    table(title, ["", *names[1:]], [[case, *cells] for case, cells in zip(cases, ratios, strict=True)])
    table("Medians in ms", ["", *names], [[case, *cells] for case, cells in zip(cases, medians, strict=True)])


if __name__ == "__main__":
    main()
