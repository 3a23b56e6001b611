"""One HTML page that opens offline: everything it shows is inside it, and everything is escaped."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from torch import Tensor

from canonize.audit.result import Audit
from canonize.report import charts, facts, pictures, svg, words

_UNIT = re.compile("(?<=[0-9]) (?=[%\N{MULTIPLICATION SIGN}]|m?s\\b|[KMGT]iB\\b)")
_EXPONENT = re.compile("(?<=[0-9])e-(?=[0-9])")


@final
@dataclass(frozen=True)
class Shown:
    """One picture with its caption."""

    source: str
    caption: str
    alt: str


@final
@dataclass(frozen=True)
class Strip:
    """Pictures of one input that belong together, in rows of two, with what is said about them.

    Attributes:
        title: of the strip.
        rows: of pictures.
        notes: pairs of a word and its value.
    """

    title: str
    rows: tuple[tuple[Shown, ...], ...]
    notes: tuple[tuple[str, str], ...]


def page(audits: Sequence[Audit], *, title: str, date: str | None) -> str:
    """The page as a string; equal audits give equal pages.

    Args:
        audits: at least one.
        title: of the page.
        date: shown under the title; None for none.
    """
    # `trim_blocks` and `lstrip_blocks` keep the lines of the template's own statements out of the page.
    loader = PackageLoader("canonize.report", "templates")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )
    errors = charts.error_charts(audits)
    galleries = [(number, _gallery(audit)) for number, audit in enumerate(audits)]
    return environment.get_template("page.html.jinja").render(
        title=title,
        date=date,
        tally=words.tally([audit.verdict for audit in audits]),
        cards=[_card(audit, number) for number, audit in enumerate(audits)],
        groups=[(group, list(rows)) for group, rows in groupby(facts.comparison(audits), key=lambda fact: fact.group)],
        task_charts=charts.task_charts(audits),
        error_charts=[(number, chart) for number, chart in errors.items()],
        floors=any(audit.floor is not None for audit in audits),
        elements=[(number, *facts.element_table(audit)) for number, audit in enumerate(audits)],
        galleries=[(number, strips, _drawn(audits[number])) for number, strips in galleries if strips],
        worst=[(number, _worst(audit)) for number, audit in enumerate(audits) if audit.worst],
        costs=[(number, _cost(audit)) for number, audit in enumerate(audits) if audit.cost is not None],
        versions=_versions(audits),
        marks=words.MARKS,
    )


def _finalized(value: Any) -> Any:
    """Strings without what cannot be shown, and with no line break inside a number or before its unit; jinja2 escapes them."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _EXPONENT.sub("e\N{MINUS SIGN}", _UNIT.sub("\N{NO-BREAK SPACE}", words.clean(value)))


def _card(audit: Audit, number: int) -> dict[str, Any]:
    metric = audit.metric
    figures = [("worst error", words.number(audit.error.max), f"tolerance {words.number(audit.tolerance)}")]
    if metric is not None:
        name = words.clean(metric.name, 40)
        figures = [
            (f"{name}, upright", words.number(metric.upright, 3), "inputs as they came"),
            (f"{name}, over the orbit", words.number(metric.mean, 3), "mean over elements"),
            (
                f"{name}, at worst",
                words.number(metric.worst_element, 3),
                f"at {words.clean(metric.worst_label, 30)}",
            ),
            *figures,
        ]
    elif audit.split is not None:
        figures.append(("antisymmetric share", words.share(audit.split.share), "0 % is equivariant"))
    if metric is None and audit.agreement is not None:
        figures.append(("decisions kept", words.share(audit.agreement), "as upright"))
    return {
        "name": audit.name,
        "short": words.clean(audit.name, 60),
        "verdict": audit.verdict,
        "reason": audit.reason if audit.forgotten is None else f"{audit.reason} {audit.forgotten.advice}.",
        "symmetry": audit.symmetry,
        "frame": audit.frame,
        "tried": facts.tried(audit),
        "certified": facts.certified(audit.certificate),
        "figures": figures,
        "color": number % len(svg.COLORS_LIGHT),
        "shape": charts.MARKERS[number % len(charts.MARKERS)][1],
    }


def _gallery(audit: Audit) -> list[Strip]:
    gallery = audit.gallery
    if gallery is None:
        return []
    strips = []
    for i, label in enumerate(gallery.labels):
        together = [
            part[i]
            for part in (gallery.inputs, gallery.turned, gallery.canonical, gallery.canonical_turned)
            if part is not None
        ]
        low, high = pictures.scale(together)
        rows = [
            _row([(gallery.inputs[i], "as it came"), (gallery.turned[i], f"moved: {label}")], f"input {i}", low, high)
        ]
        notes: list[tuple[str, str]] = []
        if gallery.canonical is not None and gallery.canonical_turned is not None:
            pair = gallery.canonical[i], gallery.canonical_turned[i]
            rows.append(_row([(part, "the model sees") for part in pair], f"canonical form of input {i}", low, high))
            apart = pictures.difference(*pair, low, high)
            if apart is not None:
                notes.append(("what it sees", apart))
        if gallery.margins is not None:
            notes.append(("margin", words.number(float(gallery.margins[i]))))
        if rows[0]:
            strips.append(Strip(f"Input {i}", tuple(rows), tuple(notes)))
    return strips


def _drawn(audit: Audit) -> str | None:
    return None if audit.gallery is None else pictures.channels(audit.gallery.inputs)


def _worst(audit: Audit) -> list[Strip]:
    strips = []
    for case in audit.worst:
        found = [
            (part, name)
            for part, name in ((case.picture, "as it came"), (case.turned_picture, f"moved: {case.label}"))
            if part is not None
        ]
        low, high = pictures.scale([part for part, _ in found])
        row = _row(found, f"input {case.sample}", low, high)
        within = "within the tolerance" if case.error <= audit.tolerance else "exceeds the tolerance"
        notes = (
            ("element", case.label),
            ("answer", case.answer),
            ("moved, turned back", case.turned_answer),
            ("relative error", f"{words.number(case.error)}, {within}"),
        )
        strips.append(Strip(f"Input {case.sample}", (row,) if row else (), notes))
    return strips


def _row(parts: Sequence[tuple[Tensor, str]], what: str, low: float, high: float) -> tuple[Shown, ...]:
    drawn = [(pictures.png(part, low, high), caption) for part, caption in parts]
    return tuple(
        Shown(source, caption, f"{what}, {caption}".replace(", the model sees", ""))
        for source, caption in drawn
        if source is not None
    )


def _cost(audit: Audit) -> tuple[tuple[str, str, str], ...]:
    """The columns of the table: heading, number, and what is said of the plain model below it, which may be nothing."""
    cost = audit.cost
    assert cost is not None
    each = cost.seconds / cost.batch if cost.batch else math.nan
    return (
        ("inputs", f"{cost.batch:,}", ""),
        ("passes", words.number(cost.passes, 3), ""),
        ("one call", words.seconds(cost.seconds), _plain(words.seconds, cost.seconds, cost.plain_seconds)),
        ("one input", words.seconds(each), ""),
        ("peak memory", words.memory(cost.memory), _plain(words.memory, cost.memory, cost.plain_memory)),
    )


def _plain(told: Callable[[Any], str], value: float | None, plain: float | None) -> str:
    return "" if plain is None else f"plain {told(plain)}, {words.times(value, plain)}"


def _versions(audits: Sequence[Audit]) -> list[tuple[str, list[str]]]:
    """Each name with its value; several values where audits were made in different places."""
    names = dict.fromkeys(name for audit in audits for name in audit.versions)
    return [
        (name, list(dict.fromkeys(audit.versions[name] for audit in audits if name in audit.versions)))
        for name in names
    ]
