"""The rows of the comparison, in words: what the text and the HTML report both show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from canonize.audit.result import Audit, Certificate, Cost, ElementRow, Metric, Quantiles
from canonize.report import words
from canonize.report.words import NOTHING


@final
@dataclass(frozen=True)
class Fact:
    """One row of the comparison: a label and one value for each audit.

    Attributes:
        group: rows with the same group stand together.
        label: of the row.
        values: one for each audit.
    """

    group: str
    label: str
    values: tuple[str, ...]


def comparison(audits: Sequence[Audit]) -> list[Fact]:
    """The headline numbers of all audits side by side; rows that no audit has are left out, but for verdict and claim."""
    facts: list[Fact] = []

    def add(group: str, label: str, value: Callable[[Audit], str], *, always: bool = False) -> None:
        values = tuple(value(audit) for audit in audits)
        if always or any(part != NOTHING for part in values):
            facts.append(Fact(group, label, values))

    add("Claim", "symmetry", lambda a: words.clean(a.symmetry), always=True)
    add("Claim", "frame", lambda a: "none, the plain model" if a.frame is None else words.clean(a.frame), always=True)
    add("Claim", "tried", tried, always=True)
    add("Claim", "forgotten", lambda a: NOTHING if a.forgotten is None else words.clean(a.forgotten.advice))
    add("Error", "relative error, median", lambda a: words.number(a.error.median), always=True)
    add("Error", "relative error, 99 %", lambda a: words.number(a.error.q99), always=True)
    add("Error", "relative error, worst", lambda a: words.number(a.error.max), always=True)
    add("Error", "tolerance", lambda a: words.number(a.tolerance), always=True)
    add("Error", "floor, median and worst", lambda a: _floor(a.floor))
    if any(audit.noise > 0 for audit in audits):
        add("Error", "two calls on one input differ by", lambda a: words.number(a.noise))
    if any(len(audit.by_output) > 1 for audit in audits):
        add("Error", "worst of each output", by_output)
    add("Error", "antisymmetric share (95 % interval)", antisymmetric)
    add("Error", "certificate", lambda a: certified(a.certificate), always=True)
    for name in metric_names(audits):
        shown = words.clean(name, 40)
        add("Task", f"{shown}, upright", _metric(name, lambda m: words.number(m.upright, 4)))
        add("Task", f"{shown}, mean over the orbit", _metric(name, lambda m: words.number(m.mean, 4)))
        add("Task", f"{shown}, worst element", _metric(name, worst_element))
        add("Task", f"{shown}, worst case of each input", _metric(name, lambda m: words.number(m.worst_case, 4)))
    add("Task", "decisions kept", lambda a: words.share(a.agreement))
    add("Cost", "passes per sample", _cost(lambda c: words.number(c.passes, 3)))
    add("Cost", "time of one call", _cost(lambda c: beside(words.seconds, c.seconds, c.plain_seconds)))
    add("Cost", "peak memory of one call", _cost(lambda c: beside(words.memory, c.memory, c.plain_memory)))
    return facts


def metric_names(audits: Sequence[Audit]) -> list[str]:
    """The names of the metrics, in the order of their first audit."""
    return list(dict.fromkeys(audit.metric.name for audit in audits if audit.metric is not None))


def tried(audit: Audit) -> str:
    """How many pairs were tried."""
    which = f"all {audit.elements:,} elements" if audit.exhaustive else f"{audit.elements:,} random elements each"
    return f"{audit.samples:,} inputs, {which}"


def certified(certificate: Certificate) -> str:
    """The certificate as a sentence."""
    return (
        f"with confidence {words.share(certificate.confidence)}, at most {words.bound(certificate.bound)} of "
        f"(input, element) pairs exceed the tolerance"
    )


def antisymmetric(audit: Audit) -> str:
    """The antisymmetric share with its interval."""
    if audit.split is None:
        return NOTHING
    return f"{words.share(audit.split.share)} [{words.share(audit.split.low)}, {words.share(audit.split.high)}]"


def by_output(audit: Audit) -> str:
    """The largest error of each output."""
    found = [f"{words.clean(path, 60)}: {words.number(error)}" for path, error in audit.by_output.items()]
    return "; ".join(found) or NOTHING


def worst_element(metric: Metric) -> str:
    """The metric at its worst element, and which that is."""
    return f"{words.number(metric.worst_element, 4)} ({words.clean(metric.worst_label, 60)})"


def beside(form: Callable[..., str], value: float | None, plain: float | None) -> str:
    """A cost beside the plain model's, such as "4 ms (plain 1 ms, 4 x)"."""
    if plain is None:
        return form(value)
    return f"{form(value)} (plain {form(plain)}, {words.times(value, plain)})"


def element_table(audit: Audit) -> tuple[list[str], list[tuple[ElementRow, list[str]]]]:
    """The headings and the rows of the table by element; columns that no row has are left out."""
    metric = "metric" if audit.metric is None else words.clean(audit.metric.name, 40)
    columns: list[tuple[str, Callable[[ElementRow], str]]] = [
        ("element", lambda row: words.clean(row.label)),
        ("moved", lambda row: "without loss" if row.lossless else "resampled"),
        ("pairs", lambda row: f"{row.pairs:,}"),
        ("error, median", lambda row: words.number(row.error)),
        ("error, worst", lambda row: words.number(row.worst) + ("" if row.worst <= audit.tolerance else " ✗")),
        ("floor, median", lambda row: words.number(row.floor)),
        (metric, lambda row: words.number(row.metric, 4)),
        ("decisions kept", lambda row: words.share(row.agreement)),
    ]
    shown = [
        (name, form) for name, form in columns if name == "element" or any(form(row) != NOTHING for row in audit.rows)
    ]
    return [name for name, _ in shown], [(row, [form(row) for _, form in shown]) for row in audit.rows]


def _floor(floor: Quantiles | None) -> str:
    return NOTHING if floor is None else f"{words.number(floor.median)}, {words.number(floor.max)}"


def _metric(name: str, form: Callable[[Metric], str]) -> Callable[[Audit], str]:
    return lambda audit: NOTHING if audit.metric is None or audit.metric.name != name else form(audit.metric)


def _cost(form: Callable[[Cost], str]) -> Callable[[Audit], str]:
    return lambda audit: NOTHING if audit.cost is None else form(audit.cost)
