"""Drawings as SVG inside the page: made without pyplot, once for light and once for dark surroundings."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable

import matplotlib.style
from matplotlib.figure import Figure

LIGHT = {"ink": "#1c2330", "quiet": "#5b6472", "grid": "#dfe3e9", "shade": "#f1f3f6", "bad": "#b3261e"}
DARK = {"ink": "#e8ebf0", "quiet": "#a3acb9", "grid": "#363d49", "shade": "#232933", "bad": "#ff8a80"}
COLORS_LIGHT = ("#0b62c4", "#c2410c", "#0a7d5c", "#a3338b", "#8a6100", "#4b5563")
COLORS_DARK = ("#6cb2ff", "#ff9a62", "#4fd6a8", "#f09add", "#f2c14e", "#b8c1cf")
"""By audit, in the same order as the page's own variables --line-0 to --line-5."""

Draw = Callable[[Figure, dict[str, str], tuple[str, ...]], None]


def rendered(draw: Draw, width: float, height: float) -> tuple[str, str]:
    """The `data:` addresses of a drawing for light and for dark surroundings; equal drawings give equal addresses.

    Args:
        draw: called with an empty figure, the theme and the colours by audit.
        width, height: in inches.
    """
    light, dark = (
        _svg(draw, theme, colors, width, height) for theme, colors in ((LIGHT, COLORS_LIGHT), (DARK, COLORS_DARK))
    )
    return light, dark


def _svg(
    draw: Draw,
    theme: dict[str, str],
    colors: tuple[str, ...],
    width: float,
    height: float,
) -> str:
    settings = {
        # Fixes the ids inside the SVG; text stays text, so that any script shows; no label is read as a formula.
        "svg.hashsalt": "canonize",
        "svg.fonttype": "none",
        "text.parse_math": False,
        "axes.unicode_minus": False,
        "font.size": 10,
        "text.color": theme["ink"],
        "axes.edgecolor": theme["grid"],
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.labelcolor": theme["ink"],
        "grid.color": theme["grid"],
        "grid.linewidth": 0.8,
        "xtick.color": theme["grid"],
        "ytick.color": theme["grid"],
        "xtick.labelcolor": theme["quiet"],
        "ytick.labelcolor": theme["quiet"],
        "lines.linewidth": 1.8,
    }
    # matplotlib takes these from its global settings only. They are changed for the length of one drawing and put back;
    # the user's own style is left out, so that equal audits give equal pages.
    with matplotlib.style.context(["default", settings]), warnings.catch_warnings():
        # Only matplotlib's own font lacks the glyph: the text stays text, and the reader's browser has it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure, theme, colors)
        stream = io.StringIO()
        nameless = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(stream, format="svg", transparent=True, metadata=nameless)
    text = stream.getvalue()
    # Without the prologue, which names a DTD on the network.
    drawing = text[text.index("<svg") :]
    return f"data:image/svg+xml;base64,{base64.b64encode(drawing.encode()).decode('ascii')}"
