"""Images, molecules and graphs as drawings for the page: PNG and SVG as text."""

from __future__ import annotations

import math
from html import escape

import torch
from torch import Tensor

from canonize.playground.samples import SYMBOLS

SIDE = 220
"""Units of a drawing a side."""
RADII = {1: 0.31, 6: 0.76, 7: 0.71, 8: 0.66, 9: 0.57, 15: 1.07, 16: 1.05, 17: 1.02, 35: 1.20, 53: 1.39}
"""Covalent radii in Å, doi 10.1039/b801115j; 1.2 for the others."""
COLORS = {1: "#f4f4f4", 6: "#565d66", 7: "#3d63d8", 8: "#d8352a", 9: "#5fb84a", 15: "#e08a1e", 16: "#d9b825",
          17: "#37a137", 35: "#8f3b25", 53: "#7a3fa0"}  # fmt: skip


def picture(pixels: Tensor, label: str) -> str:
    """An image (1, channels, height, width) with values in [0, 1] as an `img` element; others are scaled.

    Args:
        pixels: the image.
        label: what a screen reader says.
    """
    from canonize.report.pictures import png, scale

    source = png(pixels[0], *scale([pixels[0]]))
    return f'<img class="pg-pixels" alt="{escape(label)}" src="{source}"/>' if source else "<p>no pixels</p>"


def molecule(positions: Tensor, numbers: Tensor, reach: float, label: str) -> str:
    """A molecule as it is seen from the tip of the z axis, as SVG.

    Args:
        positions: (1, atoms, 3) in Å.
        numbers: (1, atoms) atomic numbers.
        reach: distance in Å from the origin to the edge of the drawing.
        label: what a screen reader says.
    """
    places, kinds = positions[0].tolist(), numbers[0].tolist()
    unit = SIDE / 2 / max(reach, 1e-6)

    def at(place: list[float]) -> tuple[float, float]:
        return SIDE / 2 + unit * place[0], SIDE / 2 - unit * place[1]

    # From the back to the front; a bond lies behind both of its atoms.
    parts: list[tuple[float, str]] = []
    for i, one in enumerate(places):
        x, y = at(one)
        radius = max(3.0, 0.62 * unit * RADII.get(kinds[i], 1.2))
        parts.append((one[2], _atom(x, y, radius, kinds[i])))
        for j in range(i):
            if math.dist(one, places[j]) < 1.25 * (RADII.get(kinds[i], 1.2) + RADII.get(kinds[j], 1.2)):
                u, v = at(places[j])
                line = f'<line class="pg-bond" x1="{x:.1f}" y1="{y:.1f}" x2="{u:.1f}" y2="{v:.1f}"/>'
                parts.append((min(one[2], places[j][2]) - 1e-3, line))
    parts.sort(key=lambda part: part[0])
    return _svg("".join(text for _, text in parts), label)


def graph(matrix: Tensor, places: list[tuple[float, float]], values: list[float] | None, label: str) -> str:
    """A graph as SVG; each node with its number, in a colour that tells its value.

    Args:
        matrix: (1, nodes, nodes), an edge where an entry is not zero.
        places: of the nodes, each coordinate in [-1, 1].
        values: of the nodes, coloured from -1 (blue) to 1 (orange); None for no colours.
        label: what a screen reader says.
    """
    count = matrix.shape[-1]
    radius = 13 if count <= 16 else 7
    spots = [(SIDE / 2 * (1 + 0.84 * x), SIDE / 2 * (1 - 0.84 * y)) for x, y in places]
    lines = [
        f'<line class="pg-edge" x1="{spots[i][0]:.1f}" y1="{spots[i][1]:.1f}" x2="{spots[j][0]:.1f}" y2="{spots[j][1]:.1f}"/>'
        for i, j in matrix[0].nonzero().tolist()
        if i < j or not matrix[0, j, i]
    ]
    nodes = []
    for node, (x, y) in enumerate(spots):
        fill = "#c9d1dc" if values is None else shade(values[node])
        nodes.append(f'<circle class="pg-node" cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}"/>')
        if count <= 16:
            nodes.append(f'<text class="pg-number" x="{x:.1f}" y="{y + 4:.1f}">{node}</text>')
    return _svg("".join(lines + nodes), label)


def layout(matrix: Tensor) -> list[tuple[float, float]]:
    """Places for the nodes of a graph (1, nodes, nodes), each coordinate in [-1, 1]: rings as rings, others by forces.

    The same for the same matrix; it is of no matter to any model.
    """
    linked = (matrix[0] != 0) | (matrix[0] != 0).mT
    count = len(linked)
    around = torch.arange(count, dtype=torch.float64) * (2 * math.pi / max(count, 1)) + math.pi / 2
    spots = torch.stack([around.cos(), around.sin()], 1)
    degrees = linked.sum(1)
    if count > 2 and not bool((degrees == 2).all()):
        # Springs between neighbours, and a push between all: Fruchterman, Reingold, doi 10.1002/spe.4380211102.
        ideal = 1.3 / math.sqrt(count)
        # Rings of nodes are in balance and stay so: a fixed nudge lets them go.
        spots = spots + 0.05 * torch.stack([(3 * around).sin(), (5 * around).cos()], 1)
        for heat in torch.linspace(0.2, 0.005, 200, dtype=torch.float64):
            apart = spots[:, None] - spots
            length = apart.norm(dim=-1).clamp_min(1e-3)
            push = (ideal**2 / length**2)[..., None] * apart
            pull = torch.where(linked, length / ideal, 0.0)[..., None] * apart
            force = (push - pull).sum(1)
            size = force.norm(dim=-1, keepdim=True).clamp_min(1e-9)
            spots = spots + force / size * size.clamp_max(float(heat))
        # The longest direction lies flat, so that what is symmetric looks so.
        spots = spots - spots.mean(0)
        spots = spots @ torch.linalg.eigh(spots.mT @ spots).eigenvectors.flip(1)
    if count:
        spots = spots - (spots.amax(0) + spots.amin(0)) / 2
        spots = spots / spots.abs().max().clamp_min(1e-9)
    return [(x, y) for x, y in spots.tolist()]


def shade(value: float) -> str:
    """The colour of a value: blue at -1, white at 0, orange at 1, beyond these as at the ends; purple for no number."""
    if not math.isfinite(value):
        return "#ff00ff"
    share = min(1.0, abs(value))
    red, green, blue = (222, 110, 28) if value > 0 else (46, 110, 214)
    return "#" + "".join(f"{round(246 + (part - 246) * share):02x}" for part in (red, green, blue))


def _atom(x: float, y: float, radius: float, kind: int) -> str:
    symbol = SYMBOLS[kind] if 0 < kind < len(SYMBOLS) else "?"
    ink = "#1c2330" if kind in (1, 16) else "#ffffff"
    disk = f'<circle class="pg-atom" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{COLORS.get(kind, "#b07aa1")}"/>'
    if radius < 6:
        return disk
    size = min(13.0, radius * 1.1)
    return (
        f'{disk}<text class="pg-symbol" x="{x:.1f}" y="{y + size / 3:.1f}" font-size="{size:.0f}" '
        f'fill="{ink}">{symbol}</text>'
    )


def _svg(inside: str, label: str) -> str:
    return f'<svg class="pg-drawing" viewBox="0 0 {SIDE} {SIDE}" role="img" aria-label="{escape(label)}">{inside}</svg>'
