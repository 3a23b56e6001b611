"""The page as text: what stands on it is right, and nothing from outside becomes HTML."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
import torch
from play_cases import CASES, PLAY, SETTINGS, SIDE, TABS, four, with_frame, with_model

from canonize import Best, Rigid, SymmetryError
from canonize.playground import charts, drawing, page, positions
from canonize.playground.app import Tab
from canonize.playground.kinds import Claim, Kind
from canonize.playground.scene import Look, Pose, Reading, Sweep


def html(tab: Tab, sample: str, claim: str, current: int, settings: tuple[object, ...]) -> str:
    inputs = tab.kind.samples[sample]
    return tab.drawn(inputs, tab.swept(inputs, claim, *settings), claim, current, *settings)


def output(text: str, name: str) -> str:
    return re.search(rf'<(?:output|b|p)[^>]* id="{name}">(.*?)</', text)[1]


@pytest.mark.parametrize("name", TABS)
def test_the_page_is_well_formed_and_tells_both_answers(name: str) -> None:
    tab = TABS[name]
    sample = {"image": "letter F", "molecule": "ethanol", "graph": "house"}[name]
    claim, settings = next(iter(tab.kind.claims)), SETTINGS[name][0]
    first, second = (html(tab, sample, claim, stop, settings) for stop in (0, tab.stops[6]))
    for text in (first, second):
        # Well-formed XML is more than HTML asks for.
        ElementTree.fromstring(text)
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "<script" not in text
    assert output(first, f"{name}-plain") != output(second, f"{name}-plain")
    assert output(first, f"{name}-symmetrized") == output(second, f"{name}-symmetrized")
    assert output(second, f"{name}-symmetrized-moves") != output(second, f"{name}-plain-moves")
    assert output(first, f"{name}-margin")


def test_names_and_errors_are_escaped() -> None:
    evil = '<img src=x onerror="alert(1)">'
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(SIDE**2, 2))
    old = four(model)
    claim = Claim(old.behind, Reading((evil, evil), shares=True), evil)
    tab = TABS["image"]
    made = Tab("image", Kind({"one": tab.kind.samples["noise"]}, {"c": claim}), *_rest(tab))
    text = html(made, "one", "c", 0, (False,))
    assert evil not in text
    assert text.count("&lt;img") >= 5
    for error in (SymmetryError(evil), ValueError(evil), RuntimeError(evil)):
        assert evil not in page.told(error)
        assert "&lt;img" in page.told(error)


def _rest(tab: Tab) -> tuple[object, ...]:
    return tab.stops, tab.unit, tab.elements, tab.figures, tab.read


def test_a_model_that_says_nothing_or_not_a_number_is_told() -> None:
    tab = TABS["image"]
    for model, words in ((lambda x: x.mean((1, 2, 3)) * math.nan, "not a number"), (lambda x: x[:, :0], "no numbers")):
        made = Tab("image", Kind(tab.kind.samples, {"c": four(model)}), *_rest(tab))
        text = html(made, "noise", "c", 0, (False,))
        assert output(text, "image-plain") == words
        assert output(text, "image-symmetrized") == words
        assert words in output(text, "image-symmetrized-moves")


@pytest.mark.parametrize(
    ("model", "reason"),
    [(lambda x: x.mean(), "batch"), (lambda x: "cat", ""), (lambda x: 1 / 0, "zero")],
    ids=["no batch", "a string", "an error"],
)
def test_a_model_that_does_not_fit_is_an_error_that_the_page_can_show(model: object, reason: str) -> None:
    tab = TABS["image"]
    made = Tab("image", Kind(tab.kind.samples, {"c": four(model)}), *_rest(tab))
    with pytest.raises((SymmetryError, ZeroDivisionError)) as raised:
        html(made, "noise", "c", 0, (False,))
    assert reason in page.told(raised.value)
    assert "Traceback" not in page.told(raised.value)


def test_the_graph_is_coloured_by_the_answers_of_its_nodes() -> None:
    def ends(x):
        return x.sum((1, 2)), torch.where(x.sum(2) == 1, 1.0, -1.0)

    tab = with_model(TABS["graph"], "S(n): CanonicalOrder", ends)
    text = html(tab, "path", "S(n): CanonicalOrder", 5, ())
    plain, mended, canonical = text.split("<figure>")[1:4]
    assert plain.count(drawing.shade(1.0)) == mended.count(drawing.shade(1.0)) == 2
    assert plain.count(drawing.shade(-1.0)) == 5
    assert drawing.shade(1.0) not in canonical
    # The two ends keep their places on the page, whatever their numbers are.
    spots = [
        set(re.findall(rf'cx="(\S+)" cy="(\S+)" r="13" fill="{drawing.shade(1.0)}"', html(tab, "path", c, stop, ())))
        for c in tab.kind.claims
        for stop in (0, 5, 9)
    ]
    assert spots[0] == spots[1] == spots[2]


def test_a_small_margin_is_told_where_one_pose_was_chosen_over_others() -> None:
    def told(margin: float | None, weights: list[float]) -> bool:
        poses = tuple(Pose(weight, positions.turns([0]), ()) for weight in weights)
        one = torch.zeros(1, dtype=torch.float64)
        return 'role="note"' in page.remark(Look((), poses, margin, one, one))

    assert told(0.0, [1.0])
    assert told(page.NARROW / 2, [1.0])
    assert not told(page.NARROW, [1.0])
    assert not told(math.nan, [1.0]), "no number is no small number"
    assert not told(None, [1.0])
    # Where poses share the weight, none is dropped at once.
    assert not told(0.0, [0.5, 0.5])
    # On the page: the letter F under a score of which two poses are as good but for a hair, and under one that knows.
    tab, claim = TABS["image"], "C(4), exact: best pose"
    for far, noted in ((1e-3, True), (0.5, False)):
        made = with_frame(tab, claim, Best(lambda x, far=far: torch.tensor([0.0, far, 1.0, 1.0]).repeat(len(x) // 4)))
        assert ("the answer may jump here" in html(made, "letter F", claim, 0, (False,))) is noted


def test_layouts_keep_nodes_apart() -> None:
    for name, (matrix,) in PLAY.graphs.samples.items():
        places = torch.tensor(drawing.layout(matrix))
        assert float(places.abs().max()) == pytest.approx(1.0), name
        apart = torch.cdist(places, places) + 9 * torch.eye(len(places))
        assert float(apart.min()) > 0.2, name
    assert drawing.layout(torch.zeros(1, 1, 1)) == [(0.0, 0.0)]
    assert len(set(drawing.layout(torch.zeros(1, 3, 3)))) == 3


def test_words_of_poses() -> None:
    mirrored = torch.tensor([[[-1.0, 0.0], [0.0, 1.0]]])
    assert page.pose_words(Pose(1.0, positions.turns([270]), ())) == "270°"
    assert page.pose_words(Pose(1.0, mirrored, ())) == "180°, mirrored"
    assert page.pose_words(Pose(1.0, torch.tensor([[2, 0, 1]]), ())) == "2 0 1"
    for angle in (30, 180, 330):
        g = positions.motions([angle], "y", shift=0.5)
        found = page.pose_words(Pose(1.0, g, ()))
        axis = "(0.00, -1.00, 0.00)" if angle == 330 else "(0.00, 1.00, 0.00)"
        spun = angle if angle < 181 else 360 - angle
        assert found in (
            f"{spun}° about {axis}, centre (0.50, 0.00, 0.00) Å",
            "180° about (0.00, -1.00, 0.00), centre (0.50, 0.00, 0.00) Å",
        )
    unit = Rigid(-torch.eye(3)[None], torch.zeros(1, 3))
    assert page.pose_words(Pose(1.0, unit, ())) == "0° about any axis, inverted, centre (0.00, 0.00, 0.00) Å"


def test_charts_draw_what_is_there() -> None:
    rows = torch.tensor([[0.0, 5.0], [1.0, math.nan], [2.0, 5.0]], dtype=torch.float64)
    known = torch.tensor([True, True, False])
    found = Sweep(rows[[0, 0]], rows, rows[[0, 0, 0]], known, known)
    text = charts.chart(found, Reading(), (0, 15, 30), 15, symmetrized=False, unit="degrees")
    ElementTree.fromstring(text)
    assert text.count("<circle") == 5, "what is not a number has no dot"
    assert text.count("pg-open") == 2
    low, high = charts.bounds(found, [0, 1])
    assert low < 0 < 5 < high
    empty = Sweep(rows[:2] * math.nan, rows * math.nan, rows * math.nan, known, known)
    assert charts.bounds(empty, [0, 1]) == (0.0, 1.0)
    many = torch.rand(3, 50, dtype=torch.float64)
    many[1, 17] += 9
    wide = Sweep(many[[0, 0]], many, many, known, known)
    assert len(charts.chosen(wide, Reading())) == charts.LINES
    assert 17 in charts.chosen(wide, Reading())
    assert "44 more" in charts.legend(wide, Reading())


def test_numbers_that_agree_to_rounding_look_equal() -> None:
    assert page.number(-1e-12) == page.number(0.0) == "0.00000"
    assert page.number(math.inf) == "not a number"
    assert page.number(123456.789) == "123457"


def test_every_case_can_be_drawn() -> None:
    for name, sample, claim in CASES[::7]:
        tab = TABS[name]
        assert html(tab, sample, claim, tab.stops[-1], SETTINGS[name][-1]).startswith('<div class="pg" data-at=')
