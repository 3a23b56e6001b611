"""The charts of the page: the task over the orbit, and the error by element."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from canonize.audit.result import Audit, ElementRow
from canonize.report import facts, words
from canonize.report.svg import rendered

MARKERS = (("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"), ("P", "✚"), ("p", "⬟"))
"""For matplotlib, and the same shape in words: audits differ by shape and colour, so that colour is never the only sign."""

NARROW, WIDE = 4.9, 10.2
"""Inches: half of the page and all of it. Narrow charts are still readable on a telephone."""

SMALLEST = -18
"""Errors below 1e-18 are drawn there: far below rounding, a smaller one says nothing more."""

CROWDED = 26
"""From so many elements on a chart is wide, and elements that have no angle are numbered."""


@final
@dataclass(frozen=True)
class Chart:
    """A chart as two `data:` addresses.

    Attributes:
        title: of the chart.
        light, dark: the SVG for either surrounding.
        alt: what it shows, in words.
        note: how to read it.
        wide: whether it takes the whole width of the page.
    """

    title: str
    light: str
    dark: str
    alt: str
    note: str
    wide: bool = False


@final
@dataclass(frozen=True)
class _Line:
    """One audit's values, (row, value) in the order of the rows; `number` is the audit's place in the report."""

    number: int
    name: str
    points: tuple[tuple[ElementRow, float], ...]


def task_charts(audits: Sequence[Audit]) -> list[Chart]:
    """One chart for each metric and one for the share of decisions kept, all audits overlaid; none without two rows."""
    charts: list[Chart] = []
    for name in facts.metric_names(audits):
        lines = _lines(audits, lambda a, row, name=name: row.metric if a.metric and a.metric.name == name else None)  # type: ignore[misc]  # binds the name
        higher = next(a.metric.higher_is_better for a in audits if a.metric is not None and a.metric.name == name)
        charts += _by_place(words.clean(name, 40), lines, higher=higher)
    return charts + _by_place("decisions kept", _lines(audits, lambda _, row: row.agreement), higher=True)


def error_charts(audits: Sequence[Audit]) -> dict[int, Chart]:
    """The errors of each audit with at least two rows, by its place in the report, all on the same scale."""
    shown = {number: audit for number, audit in enumerate(audits) if len(audit.rows) > 1}
    everything = [audit.tolerance for audit in shown.values()]
    for audit in shown.values():
        for row in audit.rows:
            everything += [row.error, row.worst, *([] if row.floor is None else [row.floor])]
    span = _Decades(everything)
    return {number: _errors(audit, number, span) for number, audit in shown.items()}


def _lines(audits: Sequence[Audit], value: Callable[[Audit, ElementRow], float | None]) -> list[_Line]:
    lines = []
    for number, audit in enumerate(audits):
        found = [(row, value(audit, row)) for row in audit.rows]
        points = tuple((row, part) for row, part in found if part is not None and math.isfinite(part))
        if len(points) > 1:
            lines.append(_Line(number, words.clean(audit.name, 80), points))
    return lines


def _by_place(name: str, lines: list[_Line], *, higher: bool) -> list[Chart]:
    """One chart for the audits that turn the plane, and one for all others."""
    planar = [line for line in lines if all(row.angle is not None for row, _ in line.points)]
    others = [line for line in lines if line not in planar]
    return [_task_chart(name, part, planar=part is planar, higher=higher) for part in (planar, others) if part]


def _task_chart(name: str, lines: list[_Line], *, planar: bool, higher: bool) -> Chart:
    values = [value for line in lines for _, value in line.points]
    low, high = _limits(values)
    alt = f"{name} at each element. " + " ".join(
        f"{line.name}: from {words.number(min(v for _, v in line.points), 4)} "
        f"to {words.number(max(v for _, v in line.points), 4)}."
        for line in lines
    )
    better = "better" if higher else "worse"
    note = f"Higher is {better}."
    if planar:
        note = f"Upright is at the top, angles run counter-clockwise; further out is {better}."
    if any(row.mirrored for line in lines for row, _ in line.points):
        note += " Dashed: mirrored elements."
    if planar:
        light, dark = rendered(lambda f, t, c: _polar(f, t, c, lines, low, high), NARROW, 4.3)
        return Chart(f"{name} against angle", light, dark, alt, note)
    labels = list(dict.fromkeys(row.label for line in lines for row, _ in line.points))
    wide = len(labels) >= CROWDED
    if wide:
        note += " Elements are numbered as they first appear in the tables below."
    light, dark = rendered(
        lambda f, t, c: _flat(f, t, c, lines, labels, low, high), WIDE if wide else NARROW, _height(labels)
    )
    return Chart(f"{name} by element", light, dark, alt, note, wide)


def _polar(
    figure: Figure, theme: dict[str, str], colors: tuple[str, ...], lines: list[_Line], low: float, high: float
) -> None:
    axes: Any = figure.add_subplot(projection="polar")
    axes.set_theta_zero_location("N")
    axes.set_thetagrids(range(0, 360, 45))
    axes.set_rlim(low, high)
    axes.set_rlabel_position(22.5)
    rings = [float(ring) for ring in MaxNLocator(nbins=5).tick_values(low, high) if low < ring <= high]
    axes.set_rgrids(rings, [words.number(ring, 3) for ring in rings])
    # The markers on the outermost ring would cover the angles.
    axes.tick_params(axis="x", pad=9)
    axes.spines["polar"].set_color(theme["grid"])
    for line in lines:
        color, marker = colors[line.number % len(colors)], MARKERS[line.number % len(MARKERS)][0]
        for mirrored in (False, True):
            points = sorted((row.angle or 0.0, value) for row, value in line.points if row.mirrored == mirrored)
            if not points:
                continue
            style = {
                "color": color,
                "marker": marker,
                # Where audits agree their lines cover each other: hollow markers of growing size stay visible.
                "markersize": 5 + 2.2 * (line.number % 4),
                "markerfacecolor": "none",
                "markeredgewidth": 1.4,
                "clip_on": False,
            }
            axes.plot([math.radians(a) for a, _ in points], [v for _, v in points], linestyle="", **style)
            style["marker"] = ""
            curve = _arcs(points)
            axes.plot(
                [math.radians(a) for a, _ in curve],
                [v for _, v in curve],
                linestyle="--" if mirrored else "-",
                **style,
            )


def _arcs(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The closed curve through points sorted by angle, in steps of 3 degrees: equal values make a circle, not a polygon."""
    if len(points) < 3:
        return points
    curve = []
    for (a, v), (b, w) in zip(points, [*points[1:], (points[0][0] + 360, points[0][1])], strict=True):
        steps = max(1, round((b - a) / 3))
        curve += [(a + (b - a) * k / steps, v + (w - v) * k / steps) for k in range(steps)]
    return [*curve, (points[0][0] + 360, points[0][1])]


def _flat(
    figure: Figure,
    theme: dict[str, str],
    colors: tuple[str, ...],
    lines: list[_Line],
    labels: list[str],
    low: float,
    high: float,
) -> None:
    axes: Any = figure.add_subplot()
    place = {label: number for number, label in enumerate(labels)}
    for line in lines:
        color, marker = colors[line.number % len(colors)], MARKERS[line.number % len(MARKERS)][0]
        for mirrored in (False, True):
            points = [(place[row.label], value) for row, value in line.points if row.mirrored == mirrored]
            axes.plot(
                [x for x, _ in points],
                [y for _, y in points],
                color=color,
                marker=marker,
                markersize=(3 if len(labels) >= CROWDED else 5) + 2.2 * (line.number % 4),
                markerfacecolor="none",
                markeredgewidth=1.4,
                linestyle="--" if mirrored else "-",
            )
    axes.set_ylim(low, high + 0.03 * (high - low))
    axes.grid(axis="y", color=theme["grid"])
    _element_ticks(axes, labels)


@final
class _Decades:
    """A logarithmic scale over given values, with a place below it for exact zeros and one above it for infinities."""

    def __init__(self, values: Sequence[float]) -> None:
        logs = [math.log10(value) for value in values if value > 0 and math.isfinite(value)]
        lowest = math.floor(min(logs, default=-8.0))
        self.low = max(lowest, SMALLEST)
        self.below = lowest < SMALLEST
        self.high = max(math.ceil(max(logs, default=0.0)), self.low + 2)
        self.zeros = any(value == 0 for value in values)
        self.endless = any(not math.isfinite(value) for value in values)
        # Zeros and infinities stand off from the scale by the same part of its length.
        self.gap = max(0.6, 0.09 * (self.high - self.low))

    def place(self, value: float) -> float:
        if not math.isfinite(value):
            return self.high + self.gap
        return max(self.low, math.log10(value)) if value > 0 else self.low - self.gap

    def ticks(self) -> tuple[list[float], list[str]]:
        step = max(1, math.ceil((self.high - self.low) / 6))
        powers = list(range(self.low, self.high + 1, step))
        places, labels = [float(power) for power in powers], [f"1e{power}" if power else "1" for power in powers]
        if self.below:
            labels[0] = f"≤ {labels[0]}"
        if self.zeros:
            places, labels = [self.low - self.gap, *places], ["exactly 0", *labels]
        if self.endless:
            places, labels = [*places, self.high + self.gap], [*labels, "∞ or NaN"]
        return places, labels


def _errors(audit: Audit, number: int, span: _Decades) -> Chart:
    labels = [row.label for row in audit.rows]
    wide = len(labels) >= CROWDED
    name = words.clean(audit.name, 80)
    worst = max(audit.rows, key=lambda row: (not math.isfinite(row.worst), row.worst))
    alt = (
        f"Relative error of {name} at each element on a logarithmic axis: the largest is {words.number(worst.worst)} at "
        f"{words.clean(worst.label, 60)}; the tolerance is {words.number(audit.tolerance)}."
    )
    light, dark = rendered(
        lambda f, t, c: _error_axes(f, t, c[number % len(c)], audit, span),
        WIDE if wide else NARROW,
        _height([] if all(row.angle is not None for row in audit.rows) else labels) - 0.3,
    )
    numbered = wide and any(row.angle is None for row in audit.rows)
    note = "Elements are numbered in the order of the table by element." if numbered else ""
    return Chart(name, light, dark, alt, note, wide)


def _error_axes(figure: Figure, theme: dict[str, str], color: str, audit: Audit, span: _Decades) -> None:
    axes: Any = figure.add_subplot()
    for x, row in enumerate(audit.rows):
        median, worst = span.place(row.error), span.place(row.worst)
        left = x - (0.14 if audit.floor is not None else 0)
        axes.plot([left, left], [median, worst], color=color, linewidth=1.2)
        axes.plot([left], [worst], color=color, marker="o", markersize=5, markerfacecolor="none", linestyle="")
        axes.plot([left], [median], color=color, marker="o", markersize=6, linestyle="")
        if row.floor is not None:
            floor = span.place(row.floor)
            axes.plot([x + 0.05, x + 0.35], [floor, floor], color=theme["quiet"], linewidth=3, solid_capstyle="butt")
    axes.axhline(span.place(audit.tolerance), color=theme["bad"], linestyle=(0, (5, 3)), linewidth=1.2)
    if span.zeros:
        axes.axhspan(span.low - 2 * span.gap, span.low - span.gap / 2, color=theme["shade"], zorder=0)
    if span.endless:
        axes.axhspan(span.high + span.gap / 2, span.high + 2 * span.gap, color=theme["shade"], zorder=0)
    axes.set_ylim(
        span.low - (1.6 * span.gap if span.zeros else 0.2), span.high + (1.6 * span.gap if span.endless else 0.2)
    )
    axes.set_yticks(*span.ticks())
    axes.grid(axis="y", color=theme["grid"])
    axes.set_xlim(-0.6, len(audit.rows) - 0.4)
    if all(row.angle is not None for row in audit.rows):
        every = max(1, math.ceil(len(audit.rows) / (12 if len(audit.rows) < CROWDED else 24)))
        places = range(0, len(audit.rows), every)
        axes.set_xticks(places, [f"{audit.rows[x].angle:g}°" for x in places])
        flipped = [x for x, row in enumerate(audit.rows) if row.mirrored]
        for x in flipped:
            axes.axvspan(x - 0.5, x + 0.5, color=theme["shade"], zorder=0, linewidth=0)
        if flipped:
            middle = sum(flipped) / len(flipped)
            axes.set_title("mirrored", x=(middle + 0.6) / (len(audit.rows) + 0.2), fontsize=9, color=theme["quiet"])
    else:
        _element_ticks(axes, [row.label for row in audit.rows])


def _element_ticks(axes: Any, labels: Sequence[str]) -> None:
    if len(labels) >= CROWDED:
        every = math.ceil(len(labels) / 24)
        axes.set_xticks(range(0, len(labels), every), [str(1 + x) for x in range(0, len(labels), every)])
        return
    short = [words.clean(label, 22) for label in labels]
    upright = max(map(len, short)) * len(short) > 56
    axes.set_xticks(range(len(short)), short, rotation=90 if upright else 0)


def _height(labels: Sequence[str]) -> float:
    """Taller where long labels stand upright under the chart."""
    longest = max((min(22, len(label)) for label in labels), default=0)
    return 3.3 + (0.075 * longest if len(labels) < CROWDED and longest * len(labels) > 56 else 0)


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    if low >= 0:
        return 0.0, 1.05 * high
    edge = 0.08 * (high - low) or 1.0
    return low - edge, high + edge
