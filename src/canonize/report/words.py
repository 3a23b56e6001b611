"""Numbers and names in words, the same in every format of the report."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

NOTHING = "\N{EN DASH}"
MARKS = {"pass": "✓", "fail": "✗", "undecided": "?"}
"""Each verdict's mark, so that colour is never its only sign."""

_SPACES = re.compile("[ \t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+")
_BREAKS = re.compile("[\v\f\r\x1c-\x1f\x85\u2028\u2029]")
# Control characters, lone surrogates and non-characters break XML and terminals; bidirectional overrides let a name
# rewrite the line that it stands in.
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def seen(text: str) -> str:
    """The text with a mark in the place of each character that cannot be shown; tabs and the one kind of line break stay."""
    return _UNSEEN.sub("\ufffd", _BREAKS.sub(" ", text))


def clean(text: object, limit: int | None = None) -> str:
    """The text on one line without characters that cannot be shown, at most `limit` characters long."""
    words = _SPACES.sub(" ", seen(str(text))).strip()
    return words if limit is None or len(words) <= limit else words[: limit - 1] + "…"


def number(value: float | None, digits: int = 2) -> str:
    """A number with so many significant digits, such as "0.31" or "2.4e-5"; a dash for None."""
    if value is None:
        return NOTHING
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return re.sub(r"e([+-])0*(?=\d)", lambda found: "e" + found[1].strip("+"), f"{value:.{digits}g}")


def share(value: float | None) -> str:
    """A share in per cent; never rounded to 100 % from below, because "all" is a claim of its own."""
    if value is None or not math.isfinite(value):
        return number(value)
    digits = 3 if value >= 1e-3 else 2
    while value < 1 and digits < 17 and float(f"{100 * value:.{digits}g}") >= 100:
        digits += 1
    return f"{number(100 * value, digits)} %"


def bound(value: float) -> str:
    """An upper bound on a share in per cent, rounded up to two digits, so that it still is a bound."""
    if not 0 < value < 1:
        return share(value)
    step = 10.0 ** (math.floor(math.log10(100 * value)) - 1)
    # The small slack keeps a bound of exactly 20 % from becoming 21 %.
    return f"{number(min(100.0, math.ceil(100 * value / step - 1e-9) * step), 3)} %"


def times(value: float | None, plain: float | None) -> str:
    """How many times the plain model's cost this is, such as "4.1 x"; a dash where there is nothing to compare."""
    return NOTHING if value is None or not plain else f"{number(value / plain, 3)} \N{MULTIPLICATION SIGN}"


def seconds(value: float | None) -> str:
    """A time with its unit."""
    if value is None or not math.isfinite(value):
        return number(value)
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size:
            return f"{number(value / size, 4 if value >= 1000 else 3)} {unit}"
    return f"{number(value / 1e-6, 3)} µs"


def memory(value: int | None) -> str:
    """Bytes with a binary unit."""
    if value is None:
        return NOTHING
    scaled = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if scaled < 1024:
            return f"{number(scaled, 4 if scaled >= 1000 else 3)} {unit}"
        scaled /= 1024
    return f"{scaled:.4g} TiB"


def listed(words: Sequence[str]) -> str:
    """Words with commas and a last "and"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def tally(verdicts: Sequence[str]) -> str:
    """How many audits ended how, such as "4 audits: 3 pass, 1 fails"."""
    forms = {"pass": ("passes", "pass"), "fail": ("fails", "fail"), "undecided": ("is undecided", "are undecided")}
    parts = [
        f"{verdicts.count(verdict)} {forms[verdict][verdicts.count(verdict) != 1]}"
        for verdict in forms
        if verdict in verdicts
    ]
    return f"{len(verdicts)} audit{'s' if len(verdicts) != 1 else ''}: {listed(parts)}"
