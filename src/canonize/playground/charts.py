"""The answers over the whole sweep as a chart: SVG that takes the colours and the width of the page."""

from __future__ import annotations

import math
from html import escape

import torch
from torch import Tensor

from canonize.playground.scene import Reading, Sweep

LINES = 6
"""Numbers of an answer that are drawn, those that move most."""
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 360, 190, 46, 34, 10


def chosen(found: Sweep, reading: Reading) -> list[int]:
    """Which numbers of the answer are drawn: all where they are few, else those of the plain model that move most."""
    count = found.plain.shape[1]
    if count <= LINES:
        return list(range(count))
    moves = (found.plain - found.upright[0]).abs().amax(0).nan_to_num(math.inf)
    # The answer to the upright input belongs to the picture of a classifier in any case.
    if reading.shares or not reading.names:
        moves[int(found.upright[0].nan_to_num().argmax())] = math.inf
    return sorted(moves.argsort(descending=True, stable=True)[:LINES].tolist())


def bounds(found: Sweep, lines: list[int]) -> tuple[float, float]:
    """The smallest and the largest number of both panels, with a little air; (0, 1) where none is finite."""
    values = torch.cat([found.plain[:, lines].flatten(), found.symmetrized[:, lines].flatten()])
    values = values[values.isfinite()]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    # Rounding must not fill the panel.
    air = max(0.06 * (high - low), 0.02 * max(abs(low), abs(high)), 1e-9)
    return low - air, high + air


def chart(
    found: Sweep, reading: Reading, positions: tuple[int, ...], current: int, *, symmetrized: bool, unit: str
) -> str:
    """One panel: a line for each number, full dots where the claim holds, and where the slider stands.

    Args:
        found: the sweep.
        reading: of the numbers.
        positions: of the slider, in order.
        current: where it stands.
        symmetrized: which model.
        unit: of the slider, for the axis.
    """
    lines = chosen(found, reading)
    low, high = bounds(found, lines)
    rows = found.symmetrized if symmetrized else found.plain

    def x(place: int) -> float:
        return LEFT + (WIDTH - LEFT - 10) * place / max(1, len(positions) - 1)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    parts = []
    for tick in _ticks(low, high):
        parts.append(f'<line class="pg-grid" x1="{LEFT}" x2="{WIDTH - 10}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="pg-tick" x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
    every = max(1, len(positions) // 4)
    for place in range(0, len(positions), every):
        parts.append(
            f'<text class="pg-tick" x="{x(place):.1f}" y="{HEIGHT - 18}" text-anchor="middle">{positions[place]}</text>'
        )
    middle = (LEFT + WIDTH - 10) / 2
    parts.append(f'<text class="pg-tick" x="{middle:.1f}" y="{HEIGHT - 3}" text-anchor="middle">{escape(unit)}</text>')
    if current in positions:
        here = x(positions.index(current))
        parts.append(f'<line class="pg-here" x1="{here:.1f}" x2="{here:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    for color, column in enumerate(lines):
        parts.append(_line(rows[:, column], found.covered, color, x, y))
    which = "symmetrized" if symmetrized else "plain"
    return (
        f'<svg class="pg-chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="answers of the {which} model over the slider">{"".join(parts)}</svg>'
    )


def legend(found: Sweep, reading: Reading) -> str:
    """Which colour is which number."""
    lines = chosen(found, reading)
    names = "".join(
        f'<span><i class="pg-line-{color}"></i>{escape(reading.name(column))}</span>'
        for color, column in enumerate(lines)
    )
    left = found.plain.shape[1] - len(lines)
    if len(lines) + left < 2:
        # One line needs no colours.
        return ""
    return f'<div class="pg-legend">{names}{f"<span>{left} more are not drawn</span>" if left else ""}</div>'


def _line(values: Tensor, covered: Tensor, color: int, x: object, y: object) -> str:
    assert callable(x)
    assert callable(y)
    spots = [(x(place), y(value)) if math.isfinite(value) else None for place, value in enumerate(values.tolist())]
    path = " ".join(
        f"{'L' if place and spots[place - 1] else 'M'}{spot[0]:.1f} {spot[1]:.1f}"
        for place, spot in enumerate(spots)
        if spot
    )
    dots = "".join(
        f'<circle class="pg-dot{" pg-open" if not known else ""}" cx="{spot[0]:.1f}" cy="{spot[1]:.1f}" r="2.6"/>'
        for spot, known in zip(spots, covered.tolist(), strict=True)
        if spot
    )
    return f'<g class="pg-line-{color}"><path d="{path}"/>{dots}</g>'


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers in the range."""
    step = 10.0 ** math.floor(math.log10((high - low) / 3))
    step *= next(times for times in (1, 2, 5, 10) if (high - low) / (times * step) <= 5)
    first = math.ceil(low / step)
    return [round(tick * step, 12) + 0.0 for tick in range(first, math.floor(high / step) + 1)]
