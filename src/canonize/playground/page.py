"""What stands on the page, as HTML: pictures, answers, poses and margin. Whatever comes from outside is escaped."""

from __future__ import annotations

import math
import textwrap
from html import escape
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from canonize._tree import spec_leaves
from canonize.actions import Nodes
from canonize.groups import Rigid
from canonize.playground import charts, drawing, dropped
from canonize.playground.kinds import Claim
from canonize.playground.scene import Inputs, Look, Pose, Reading, Sweep

ROWS = 8
"""Poses that are listed."""
NARROW = 0.02
"""Margin below which a single pose is a near thing: of turned scans a third there had another pose than the upright one, and
one in fifteen above (`benchmarks/margins.py`)."""


def figures_of_image(seen: Look) -> str:
    """The turned image and its canonical form."""
    return _figures(
        ("input, turned", drawing.picture(seen.shown[0], "the turned image")),
        (_form(seen), drawing.picture(seen.poses[0].form[0], "the canonical image")),
    )


def figures_of_molecule(seen: Look, numbers: Tensor) -> str:
    """The turned molecule and its canonical form, as seen from the tip of the z axis.

    Args:
        seen: the look.
        numbers: (1, atoms) atomic numbers.
    """
    shown, form = seen.shown[0], seen.poses[0].form[0]
    reach = float(torch.cat([shown, form], 1).norm(dim=-1).max()) + 0.6
    return _figures(
        ("input, turned", drawing.molecule(shown, numbers, reach, "the turned molecule")),
        (_form(seen), drawing.molecule(form, numbers, reach, "the canonical molecule")),
    )


def figures_of_graph(seen: Look, claim: Claim, inputs: Inputs, numbering: Tensor) -> str:
    """The renumbered graph, coloured by the answers for its nodes where there are some, and its canonical form.

    Args:
        seen: the look.
        claim: of the tab.
        inputs: the graph as it was given: nodes keep their places on the page, only their numbers change.
        numbering: (1, nodes), the element.
    """
    places = torch.tensor(drawing.layout(inputs[0]), dtype=torch.float64)
    count = len(places)
    spots = [(x, y) for x, y in Nodes()(numbering, places[None])[0].tolist()]

    def drawn(values: Tensor | None, label: str) -> str:
        told = None if values is None else Nodes()(numbering, values[None])[0].tolist()
        return drawing.graph(seen.shown[0], spots, told, label)

    outputs = spec_leaves(claim.behind.symmetry.outputs)
    per_node = bool(outputs) and isinstance(outputs[-1], Nodes) and 0 <= len(seen.plain) - count <= 1
    form = seen.poses[0].form[0]
    canonical = (_form(seen), drawing.graph(form, drawing.layout(form), None, "the canonical graph"))
    if not per_node:
        return _figures(("input, renumbered", drawn(None, "the renumbered graph")), canonical)
    return _figures(
        ("input, coloured by the plain model", drawn(seen.plain[-count:], "the graph, plain model")),
        ("input, coloured by the symmetrized model", drawn(seen.symmetrized[-count:], "the graph, symmetrized model")),
        canonical,
    )


def view(
    name: str, claim: Claim, seen: Look, found: Sweep, figures: str, positions: tuple[int, ...], current: int, unit: str
) -> str:
    """All of a tab but its controls.

    Args:
        name: of the tab, in ids: `image`, `molecule`, `graph`.
        claim: that is shown.
        seen: at the current position.
        found: over all positions.
        figures: from one of the functions above.
        positions: of the slider.
        current: where it stands.
        unit: of the slider.
    """
    reading, symmetry = claim.reading, claim.behind.symmetry
    cards = "".join(
        _card(name, which, answer, found.upright[place], reading)
        for place, (which, answer) in enumerate((("plain", seen.plain), ("symmetrized", seen.symmetrized)))
    )
    panels = "".join(
        f"<div><h4>{'symmetrized' if mended else 'plain'} model</h4>"
        f"{charts.chart(found, reading, positions, current, symmetrized=mended, unit=unit)}"
        f'<p class="pg-moves" id="{name}-{"symmetrized" if mended else "plain"}-moves">'
        f"{escape(moves(found, symmetrized=mended))}</p></div>"
        for mended in (False, True)
    )
    at = positions.index(current) if current in positions else 0
    silent = "" if bool(found.covered[at]) else f" This position is outside {escape(repr(symmetry.group))}."
    return (
        f'<div class="pg" data-at="{current}">{figures}<div class="pg-row">{cards}</div>{remark(seen)}'
        f'<h3>The whole slider</h3><div class="pg-row pg-wide">{panels}</div>{charts.legend(found, reading)}'
        f"<h3>Poses</h3>{_poses(name, seen)}"
        f'<p class="pg-quiet">{escape(claim.about)} Group {escape(repr(symmetry.group))}, frame '
        f"{escape(_short(claim.behind.frame))}.{silent}</p></div>"
    )


def remark(seen: Look) -> str:
    """That the pose is a near thing, as HTML: one was chosen, with a margin below `NARROW`. Empty otherwise.

    Where several poses share the weight none is dropped at once, and nothing jumps.
    """
    if len(seen.poses) != 1 or seen.margin is None or not seen.margin < NARROW:
        return ""
    return (
        f'<p class="pg-near" role="note">two poses are nearly as good: margin {seen.margin:.2g}, below {NARROW:g}; '
        "the answer may jump here</p>"
    )


def told(error: BaseException, file: Path | None = None) -> str:
    """An error as a message on the page: what came, what was expected, what to do; no stack trace.

    Args:
        error: what went wrong.
        file: that was read; its folder is left out.

    Example:
        >>> told(ValueError("<b>"))
        '<div class="pg"><pre class="pg-error" role="alert">ValueError: &lt;b&gt;</pre></div>'
    """
    kind = "" if type(error).__name__ in ("SymmetryError", "LawError") else f"{type(error).__name__}: "
    text = str(error) if file is None else dropped.named(str(error), file)
    text = textwrap.shorten(text, 1500, placeholder=" ...") if kind else text[:3000]
    return f'<div class="pg"><pre class="pg-error" role="alert">{escape(kind + text)}</pre></div>'


def headline(answer: Tensor, reading: Reading) -> str:
    """An answer in a few words: the likeliest class and its share, or the first number; of many without names the largest.

    Example:
        >>> headline(torch.tensor([0.1, 0.9]), Reading(("cat", "dog"), shares=True))
        'dog, 90.0 %'
    """
    if not len(answer):
        return "no numbers"
    if not bool(answer.isfinite().all()):
        return "not a number"
    if reading.shares:
        best = int(answer.argmax())
        return f"{reading.name(best)}, {100 * float(answer[best]):.1f} %"
    if len(answer) > 1 and not reading.names:
        most = int(answer.argmax())
        return f"{reading.name(most)}: {number(float(answer[most]))}"
    return number(float(answer[0]))


def number(value: float) -> str:
    """Five digits behind the point, without a minus before zero; fewer for large numbers."""
    if not math.isfinite(value):
        return "not a number"
    return f"{value:.6g}" if abs(value) >= 1e4 else f"{round(value, 5) + 0.0:.5f}"


def moves(found: Sweep, *, symmetrized: bool) -> str:
    """How far the answer moves over the slider, in a sentence: where the claim holds, and where it says nothing."""
    overall = found.moves(symmetrized=symmetrized)
    if overall is None:
        return "no numbers"
    count, known, exact = len(found.covered), int(found.covered.sum()), int(found.exact.sum())
    parts = []
    if exact:
        parts.append(
            f"{_size(found.moves(symmetrized=symmetrized, where=found.exact))} at {exact} positions without loss"
        )
    if known > exact:
        rest = found.moves(symmetrized=symmetrized, where=found.covered & ~found.exact)
        parts.append(f"{_size(rest)} at {known - exact} resampled ones")
    if known < count:
        rest = found.moves(symmetrized=symmetrized, where=~found.covered)
        parts.append(f"{_size(rest)} at {count - known} outside the group")
    return f"moves by {', '.join(parts)}" if len(parts) > 1 else f"moves by {_size(overall)} over {count} positions"


def pose_words(pose: Pose) -> str:
    """An element in words: an angle, an axis and an angle, or the numbers of the nodes in canonical order."""
    element = pose.element
    linear = element.linear[0] if isinstance(element, Rigid) else element[0]
    if not linear.is_floating_point():
        numbers = linear.tolist()
        return " ".join(map(str, numbers[:24])) + (" ..." if len(numbers) > 24 else "")
    linear = linear.double()
    mirrored = bool(torch.linalg.det(linear) < 0)
    words = ", mirrored" if mirrored else ""
    if len(linear) == 2:
        return f"{math.degrees(math.atan2(float(linear[1, 0]), float(linear[0, 0]))) % 360:.0f}°{words}"
    if len(linear) != 3:
        return f"{len(linear)} x {len(linear)} matrix{words}"
    turn = -linear if mirrored else linear
    angle = math.degrees(math.acos(max(-1.0, min(1.0, (float(turn.trace()) - 1) / 2))))
    text = f"{angle:.0f}° about {_axis(turn, angle)}" + (", inverted" if mirrored else "")
    if isinstance(element, Rigid):
        text += ", centre (" + ", ".join(f"{value + 0.0:.2f}" for value in _tidy(element.shift[0])) + ") Å"
    return text


def _axis(turn: Tensor, angle: float) -> str:
    if angle < 0.5:
        return "any axis"
    # The axis is the eigenvector of 1, which the mean of turn and its transpose shares and which is stable at 180 degrees.
    axis = torch.linalg.eigh((turn + turn.mT) / 2).eigenvectors[:, -1]
    twist = torch.stack([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    if float(twist @ axis) < 0:
        axis = -axis
    return "(" + ", ".join(f"{value:.2f}" for value in _tidy(axis)) + ")"


def _tidy(values: Tensor) -> list[float]:
    return [round(value, 2) + 0.0 for value in values.double().tolist()]


def _card(name: str, which: str, answer: Tensor, upright: Tensor, reading: Reading) -> str:
    bars = ""
    if reading.shares and len(answer) and bool(answer.isfinite().all()):
        best = answer.argsort(descending=True, stable=True)[:3].tolist()
        bars = "".join(
            f'<div class="pg-bar"><span>{escape(reading.name(place))}</span>'
            f'<i style="width:{100 * float(answer[place]):.1f}%"></i><span>{100 * float(answer[place]):.1f} %</span></div>'
            for place in best
        )
    return (
        f'<section class="pg-card pg-{which}"><h4>{which} model</h4>'
        f'<output id="{name}-{which}">{escape(headline(answer, reading))}</output>{bars}'
        f'<p class="pg-quiet">as it was given: {escape(headline(upright, reading))}</p></section>'
    )


def _poses(name: str, seen: Look) -> str:
    margin = "not told by this frame" if seen.margin is None else f"{seen.margin:.3g}"
    rows = "".join(
        f"<tr><td>{pose.weight:.4f}</td><td>{escape(pose_words(pose))}</td></tr>" for pose in seen.poses[:ROWS]
    )
    left = len(seen.poses) - ROWS
    more = f'<tr><td></td><td class="pg-quiet">and {left} more</td></tr>' if left > 0 else ""
    return (
        f'<p>{len(seen.poses)} in use. Margin, how far from a tie: <b id="{name}-margin">{margin}</b></p>'
        f'<div class="pg-scroll"><table id="{name}-poses"><thead><tr><th>weight</th><th>{_heading(seen)}</th></tr></thead>'
        f"<tbody>{rows}{more}</tbody></table></div>"
    )


def _heading(seen: Look) -> str:
    """What the elements of the poses are."""
    element = seen.poses[0].element
    if isinstance(element, Rigid):
        return "motion of the canonical form"
    return "turn of the canonical form" if element.is_floating_point() else "the nodes of the input in canonical order"


def _form(seen: Look) -> str:
    return "canonical form" if len(seen.poses) == 1 else f"canonical form, heaviest of {len(seen.poses)}"


def _figures(*parts: tuple[str, str]) -> str:
    inside = "".join(f"<figure>{picture}<figcaption>{escape(words)}</figcaption></figure>" for words, picture in parts)
    return f'<div class="pg-row pg-figures">{inside}</div>'


def _size(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "not a number"
    return "0" if value == 0 else f"{value:.2g}"


def _short(frame: Any) -> str:
    """The frame in one line: modules print their whole network otherwise."""
    return type(frame).__name__ if isinstance(frame, torch.nn.Module) else textwrap.shorten(repr(frame), 80)
