"""A pretrained W-Net for retinal vessels under C(4) and D(4): as it is, and behind frames; its masks turn pixel by pixel."""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from _bench import finish, progress, start, table
from _retina import SIDE, Eye, add_data_option, eyes, wnet
from torch import Tensor, nn

from canonize import Average, Best, C, D, Image, Symmetry, symmetrize

C4 = ("0°", "90°", "180°", "270°")
D4 = (*C4, *(f"{angle}, flipped" for angle in C4))


@dataclass
class Row:
    """What is known of one model so far: by image, then by element."""

    name: str
    group: Any
    model: Any
    dice: list[list[float]] = field(default_factory=list)
    differing: list[list[int]] = field(default_factory=list)
    largest: float = 0.0
    seconds: list[float] = field(default_factory=list)
    passes: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_option(parser)
    parser.add_argument("--limit", type=int, metavar="N", help="the first N photographs only")
    parser.add_argument("--quick", action="store_true", help="one photograph, to see that everything runs")
    options = start(parser)
    model, photographs = wnet(options.data), eyes(options.data)[: 1 if options.quick else options.limit]
    rows = [Row("plain", D(4), model)]
    for group in (C(4), D(4)):
        claim = Symmetry(group, inputs=Image(), outputs=Image())
        rows.append(Row(f"Average(), {group!r}", group, symmetrize(model, claim, Average())))
        rows.append(Row(f"Best(slope), {group!r}", group, symmetrize(model, claim, Best(slope, resolution=64))))
    with torch.inference_mode():
        measure(rows, model, photographs)
    told = [summary(row, len(photographs)) for row in rows]
    for row in told:
        row["time"] = row["seconds"] / told[0]["seconds"]
    show(told, len(photographs))
    finish(options, {"benchmark": "drive_masks", "images": len(photographs), "side": SIDE, "rows": told})
    wrong = [row["name"] for row in told if row["name"].startswith("Best") and any(row["differing"])]
    wrong += [row["name"] for row in told[1:] if max(row["dice"]) - min(row["dice"]) > 1e-4]
    if wrong:
        raise SystemExit(f"masks do not turn with the photograph: {', '.join(wrong)}")


def slope(images: Tensor) -> Tensor:
    """An energy by hand, no training: low where the light falls from the left, and less so from above.

    Any energy that tells the eight poses apart makes the masks exact. Which pose it takes matters little to a model that
    is nearly equivariant by itself.
    """
    height, width = images.shape[-2:]
    right = torch.linspace(-1, 1, width, device=images.device)
    down = torch.linspace(-1, 1, height, device=images.device)[:, None]
    return (images * (right + 0.5 * down)).mean((1, 2, 3))


def measure(rows: list[Row], model: nn.Module, photographs: list[Eye]) -> None:
    """Fill the rows: each photograph at each element, the rows taking turns so that all see the same disturbances."""
    current = rows[0]

    def count(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        current.passes += len(args[0])

    with progress() as bar, model.register_forward_pre_hook(count):
        task = bar.add_task("photographs, turned", total=len(photographs) * sum(row.group.order for row in rows))
        for eye in photographs:
            upright: dict[str, Tensor] = {}
            for row in rows:
                row.dice.append([])
                row.differing.append([])
            for place in range(len(D4)):
                for current in (row for row in rows if place < row.group.order):
                    g = current.group.elements()[place][None]
                    turned = Image()(g, eye.image)
                    begin = time.perf_counter()
                    found = current.model(turned)
                    current.seconds.append(time.perf_counter() - begin)
                    back = Image()(current.group.inverse(g), found)
                    first = upright.setdefault(current.name, back)
                    current.dice[-1].append(eye.dice(back))
                    current.differing[-1].append(int(((back >= 0.5) != (first >= 0.5)).sum()))
                    current.largest = max(current.largest, float((back - first).abs().max()))
                    bar.advance(task)


def summary(row: Row, images: int) -> dict[str, Any]:
    """The means over the photographs, and the sums of pixels, at each element."""
    calls = images * row.group.order
    return {
        "name": row.name,
        "elements": list(D4[: row.group.order]),
        "dice": [sum(column) / images for column in zip(*row.dice, strict=True)],
        "differing": [sum(column) for column in zip(*row.differing, strict=True)],
        "share": 100 * sum(map(sum, row.differing)) / (images * (row.group.order - 1) * SIDE**2),
        "largest": row.largest,
        "passes": row.passes / calls,
        "seconds": statistics.median(row.seconds),
    }


def show(rows: list[dict[str, Any]], images: int) -> None:
    cells = [
        [row["name"], *(f"{100 * value:.3f}" for value in row["dice"]), *[""] * (len(D4) - len(row["dice"]))]
        for row in rows
    ]
    table(f"Dice in % inside the field of view, mean of {images} photographs", ["Dice", *D4], cells)
    cells = [[row["name"], *map(str, row["differing"]), *[""] * (len(D4) - len(row["dice"]))] for row in rows]
    title = f"Pixels where the mask of the turned photograph is not the turned mask, of {images * SIDE**2:,} at each element"
    table(title, ["differing pixels", *D4], cells)
    cells = [
        [
            row["name"],
            f"{row['share']:.4f}",
            f"{row['largest']:.1e}",
            f"{row['passes']:g}",
            f"{row['time']:.2f}x",
            f"{row['seconds']:.2f}",
        ]
        for row in rows
    ]
    columns = ["", "differing, %", "largest difference", "passes", "time", "seconds a photograph, median"]
    table("What it comes to", columns, cells)


if __name__ == "__main__":
    main()
