"""The table of costs fits the page: nobody has to scroll sideways for a number."""

from __future__ import annotations

import math

import pytest
from report_browser import browser
from report_examples import bare

from canonize.audit import Audit, Cost
from canonize.report.page import page

NAMES = ("resnet18_finetuned.onnx", "mypackage.models:vision_transformer behind canonizer", "net")
COSTS = (
    Cost(1024, 1.0, 1.23456, 1234 * 2**20),
    Cost(64, 8.03125, 12.3456, 1234 * 2**30, 3.789, 999 * 2**30),
    Cost(64, 4.0, math.inf, None, 0.0117, None),
)
AUDITS = [bare(name=name, cost=cost) for name, cost in zip(NAMES, COSTS, strict=True)]
TIMES, DASH = "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
WIDTHS = (1280, 800, 500, 360)


def excess(shown: object, content: str, width: int) -> int:
    """By how many pixels the table of costs is wider than what is shown of it, and the page than the window."""
    shown.set_viewport_size({"width": width, "height": 800})  # type: ignore[attr-defined]  # a page of playwright
    shown.set_content(content)  # type: ignore[attr-defined]
    sizes: int = shown.evaluate(  # type: ignore[attr-defined]
        """() => Math.max(...[document.documentElement, document.querySelector('[aria-label="Cost"]')]
        .map(part => part.scrollWidth - part.clientWidth))"""
    )
    return sizes


def test_it_fits_at_every_width() -> None:
    content = page(AUDITS, title="costs", date=None)
    with browser() as shown:
        assert [excess(shown, content, width) for width in WIDTHS] == [0] * len(WIDTHS)
        # The measure can fail: a column that is too wide is seen.
        wide = content.replace(">passes<", f">{'&nbsp;passes' * 40}<")
        assert wide != content
        assert excess(shown, wide, 1280) > 100


@pytest.mark.parametrize(
    ("audit", "values"),
    [
        (AUDITS[0], ["1,024", "1", "1.23 s", "1.21 ms", "1.21 GiB"]),
        (
            AUDITS[1],
            [
                "64",
                "8.03",
                "12.3 s",
                f"plain 3.79 s, 3.26 {TIMES}",
                "193 ms",
                "1.205 TiB",
                f"plain 999 GiB, 1.24 {TIMES}",
            ],
        ),
        (AUDITS[2], ["64", "4", "∞", f"plain 11.7 ms, ∞ {TIMES}", "∞", DASH]),
    ],
    ids=NAMES,
)
def test_the_numbers_are_there_with_their_units(audit: Audit, values: list[str]) -> None:
    text = page([audit], title="costs", date=None)
    cells = text.split('<table class="costs">')[1].split("</table>")[0].replace("\N{NO-BREAK SPACE}", " ")
    for value in values:
        assert f">{value}<" in cells, (value, cells)
    assert '<table class="costs">' not in page([bare()], title="none", date=None)
