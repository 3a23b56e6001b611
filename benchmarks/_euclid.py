"""The parts of docs/benchmarks/euclid.md and its drawing, from the JSON of real runs."""

from __future__ import annotations

import math
from typing import Any

from _page import grid, how, spread

CLOCKS = {"wall": "", "processor": " All times are those of the processor, since other work shared the machine."}
HEAD = """# Frames for clouds and molecules: benchmarks

Every figure below was written here by `python benchmarks/_page.py` from the JSON files beside this page, which are the
output of the commands shown.
"""
COLORS, SHAPES = ("#3b82d6", "#d9622b"), ("circle", "square")
WIDTH, HEIGHT, LEFT, TOP, WIDE, HIGH = 760, 300, 62, 34, 290, 206


def exactness(result: dict[str, Any]) -> str:
    """Errors on symmetric molecules."""
    rows = [
        [
            f"`{row['frame']}`",
            row["group"],
            *(
                f"{row[precision][output]['error']:.1e} ({row[precision][output]['worst']})"
                for precision in ("float32", "float64")
                for output in ("energy", "dipole")
            ),
        ]
        for row in result["rows"]
    ]
    columns = ["frame", "group", *(f"{o}, {p}" for p in ("float32", "float64") for o in ("energy", "dipole"))]
    precisions = ("float32", "float64")
    known = list(result["rows"][0]["float64"]["dipole"]["named"])
    named = [
        [
            f"`{row['frame']}`",
            row["group"],
            *(
                f"{max(row[precision][output]['named'][name] for output in ('energy', 'dipole')):.1e}"
                for name in known
                for precision in precisions
            ),
        ]
        for row in result["rows"]
    ]
    return f"""## Exactness on symmetric molecules

The largest error over {result["shapes"]} shapes (the G2 set of molecules from single atoms to benzene, C60, and solids), each
under {result["elements"]} random elements, and the shape where it is. The model is smooth and without any symmetry
of its own. Errors are relative to the root mean square of what the bare model returns over the set; shapes are turned in
float64, shifted by about their size, and rounded then, so that part of what float32 shows is rounding of the input.
`PCA(fallback=None)` is frame averaging as published: its axes are noise where eigenvalues are equal. The learned frame is
not trained; it is as exact as its network obeys its law.

{grid(columns, rows)}

Some of these, the larger of both errors:

{grid(["frame", "group", *(f"{name}, {precision}" for name in known for precision in precisions)], named)}

{how(result)}"""


def poses(result: dict[str, Any]) -> str:
    """Calls of the model."""
    rows = [
        [
            f"`{row['frame']}`",
            row["group"],
            f"{row['mean']:.2f}",
            *(f"{row[name]:g}" for name in ("median", "high", "most")),
            f"{row['others']:.2f} %",
            f"{row['cpu_milliseconds']:.3f}",
        ]
        for row in result["rows"]
    ]
    columns = ["frame", "group", "mean", "median", "99 %", "most", "not the usual number", "processor ms"]
    gaps = next(iter(result["gaps"].values()))
    below = ", ".join(f"below {cut} for {share:.2f} %" for cut, share in gaps.items())
    return f"""## Poses of real molecules

How often the model is called for each of {result["molecules"]:,} molecules of QM9, float32. *Usual* is the number of poses that
most have. The smallest difference of second moments, over the largest, is
{below} of the molecules.

{grid(columns, rows)}

{how(result)}"""


def speed(result: dict[str, Any]) -> str:
    """Molecules a second."""
    parts = []
    for row in result["rows"]:
        rows = [
            [
                f"`{way.split(': ')[0]}`: {way.split(': ')[1]}" if ": " in way else way,
                f"{each:,.0f}",
                spread(row["faster"][way]),
            ]
            for way, each in row["per_second"].items()
        ]
        columns = ["", "molecules/s", "faster than the loop"]
        parts.append(f"### {result['count']:,} molecules: {row['molecules']}\n\n{grid(columns, rows)}")
    tables = "\n\n".join(parts)
    peer = f" Of the published code, {result['note']} ran." if result["note"] else ""
    return f"""## Speed of a pose

E(3), float32. *Copies*: what a model is shown, the molecule as seen from each of its poses. The loop always makes eight, one
molecule at a time, and like `PCA(fallback=None)` and the published code does nothing about ties.{peer}
Each run checks first that all show the same copies of molecules away from ties. Medians of {result["repeats"]} interleaved
timings; the ratio with its quartiles.{CLOCKS[result["clock"]]}

{tables}

{how(result)}"""


def big(result: dict[str, Any]) -> str:
    """Big clouds."""
    groups = list(dict.fromkeys(row["group"] for row in result["rows"]))
    frames = list(dict.fromkeys(row["frame"] for row in result["rows"]))
    known = {(row["frame"], row["group"]): row for row in result["rows"]}
    rows = [
        [
            f"`{frame}`",
            *(f"{known[frame, group]['milliseconds']:.2f} ({known[frame, group]['poses']:.1f})" for group in groups),
        ]
        for frame in frames
    ]
    return f"""## Big clouds

Milliseconds to pose {result["size"][0]} clouds of {result["size"][1]:,} points of ModelNet10, spread over its ten classes, and
in brackets how many poses a cloud then has; furniture has nearly equal halves, and each near tie costs poses. Nothing
is kept for derivatives. Medians of {result["repeats"]} interleaved timings.{CLOCKS[result["clock"]]}

{grid(["frame", *groups], rows)}

{how(result)}"""


def overhead(result: dict[str, Any]) -> str:
    """Time over the bare network."""
    names = list(result["rows"][0]["ratio"])
    rows = [
        [
            row["group"],
            f"{row['kind']} ({row['clouds']})",
            f"{row['calls']:.2f}",
            f"{row['all_calls']:.2f}",
            *(spread(row["ratio"][name]) for name in names[1:]),
            *(f"{each:.2f}" for each in row["milliseconds"].values()),
        ]
        for row in result["rows"]
    ]
    columns = ["group", "clouds", "calls", "calls, all", *names[1:], *(f"{name}, ms" for name in names)]
    frame = result["rows"][0]["frame"]
    most = max(row["most"] for row in result["rows"])
    more = 100 * (max(row["all_calls"] for row in result["rows"]) - 1)
    return f"""## The cost of the default frame in front of a PointNet

Time of a PointNet ({result["parameters"]:,} parameters) behind `{frame}` over that of the bare one, on {result["size"][0]}
clouds of {result["size"][1]:,} points, drawn evenly from the {result["clouds"]} test clouds of ModelNet10, or from those of
them that have one pose. *Calls*: how often the network sees a cloud, in the batch and over all such clouds; at most {most}.
Median of {result["repeats"]} interleaved ratios, quartiles in brackets.{CLOCKS[result["clock"]]}

{grid(columns, rows)}

What bounds it: a cloud with one pose pays for the pose, for a turned copy, and for the memory that both took from the network.
Further calls cost as much as the first, {more:.0f} % over all clouds. They are those of near ties: of signs, in a band
that is as narrow as exactness allows, since the error there is the rounding of the scores over its width; and of axes,
where few clouds take many poses each.

{how(result)}"""


def scaling(result: dict[str, Any]) -> str:
    """Exponents, and the drawing."""
    rows = [
        [
            f"`{row['frame']}`",
            row["kind"],
            f"{row['slope']:.2f}",
            *(f"{1000 * row['seconds'][place]:.2f} at {row['counts'][place]:,}" for place in (0, -1)),
        ]
        for row in result["rows"]
    ]
    return f"""## Scaling

Time of a pose under SE(3) against the number of points of one cloud, and against the number of clouds of {result["atoms"]}
points; random normal, float32. The exponent is fitted over the last two powers of ten.{CLOCKS[result["clock"]]}

![Seconds against points and against samples, both axes logarithmic](euclid_scaling.svg)

{grid(["frame", "against", "exponent", "ms, first", "ms, last"], rows)}

{how(result)}"""


def drawing(result: dict[str, Any]) -> str:
    """The scaling as SVG: two panels with logarithmic axes and the same seconds; no script, no font but the reader's."""
    rows = result["rows"]
    every = [each for row in rows for each in row["seconds"]]
    low, high = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every)))
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    style = 'font-family="sans-serif" font-size="12" fill="#7a8290"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>']
    for panel, (kind, title) in enumerate((("points", "points of one cloud"), ("samples", "clouds of 20 points"))):
        lines = [row for row in rows if row["kind"] == kind]
        ends = [math.log10(count) for row in lines for count in row["counts"]]
        left, right = math.floor(min(ends)), math.ceil(max(ends))
        origin = LEFT + panel * (WIDE + 78)

        def across(count: float, left: float = left, right: float = right, origin: float = origin) -> float:
            return origin + WIDE * (math.log10(count) - left) / (right - left)

        def up(seconds: float) -> float:
            return TOP + HIGH * (high - math.log10(seconds)) / (high - low)

        for power in range(left, right + 1):
            x = across(10.0**power)
            parts.append(f'<path d="M{x:.1f} {TOP}V{TOP + HIGH}" stroke="#7a8290" stroke-opacity=".25"/>')
            parts.append(f'<text x="{x:.1f}" y="{TOP + HIGH + 18}" text-anchor="middle">{_power(power)}</text>')
        for power in range(low, high + 1):
            y = up(10.0**power)
            parts.append(f'<path d="M{origin} {y:.1f}H{origin + WIDE}" stroke="#7a8290" stroke-opacity=".25"/>')
            parts.append(f'<text x="{origin - 8}" y="{y + 4:.1f}" text-anchor="end">{_power(power)} s</text>')
        middle = origin + WIDE / 2
        parts.append(
            f'<text x="{middle}" y="{HEIGHT - 16}" text-anchor="middle">{title.replace("20", str(result["atoms"]))}</text>'
        )
        for number, row in enumerate(lines):
            color, shape = COLORS[number], SHAPES[number]
            spots = [(across(count), up(each)) for count, each in zip(row["counts"], row["seconds"], strict=True)]
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
            parts.append(f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="1.8"/>')
            parts += [_mark(shape, color, x, y) for x, y in spots]
            place = origin + 12 + 130 * number
            parts.append(_mark(shape, color, place, TOP - 16))
            parts.append(f'<text x="{place + 9}" y="{TOP - 12}">{row["frame"]}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _power(power: int) -> str:
    """A power of ten; its exponent stands raised."""
    return f'10<tspan dy="-4" font-size="9">{power}</tspan><tspan dy="4">&#8203;</tspan>'


def _mark(shape: str, color: str, x: float, y: float) -> str:
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{color}"/>'
    return f'<rect x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6" fill="{color}"/>'
