"""The tables for a terminal."""

import re

import pytest
from report_examples import HOSTILE, bare, endless, full, hostile, many

from canonize import SymmetryError
from canonize.report import to_text, words
from canonize.report.words import NOTHING


def flat(text):
    """The words of a table with its frame taken away."""
    return " ".join(re.sub("[│╭╮╰╯├┤┬┴┼─]", " ", text).split())


def test_holds_every_headline_number():
    found = flat(to_text(full(), width=160))
    for part in (
        "1 audit: 1 fails",
        "✗ FAIL",
        "90 of 192 (input, element) pairs exceed the tolerance.",
        "D(8), inputs Image(), outputs Scalar()",
        "relative error, median 0.25",
        "relative error, 99 % 0.69",
        "relative error, worst 0.81",
        "tolerance 1e-5",
        "floor, median and worst 0.031, 0.094",
        "two calls on one input differ by 0.002",
        "energy: 0.81; forces: 0.00012",
        "37.5 % [34 %, 41 %]",
        "with confidence 99 %, at most 84 % of (input, element) pairs exceed the tolerance",
        "accuracy, upright 0.9844",
        "accuracy, mean over the orbit 0.5938",
        "accuracy, worst element 0.2578 (135°, mirrored)",
        "accuracy, worst case of each input 0.1406",
        "decisions kept 53.1 %",
        "passes per sample 4",
        "time of one call 12 ms (plain 3 ms, 4 \N{MULTIPLICATION SIGN})",
        "peak memory of one call 5 MiB (plain 1 MiB, 5 \N{MULTIPLICATION SIGN})",
        "12 inputs, all 16 elements",
        "90°, mirrored without loss 12 0.25 0.59 ✗ 0 0.5 50 %",
    ):
        assert part in found, part


def test_leaves_out_what_is_not_there():
    found = flat(to_text(bare(), width=160))
    for part in ("floor", "antisymmetric", "accuracy", "decisions", "passes", "memory", "None", "nan"):
        assert part not in found, part
    assert "none, the plain model" in found
    assert "3 inputs, 32 random elements each" in found


def test_audits_stand_side_by_side_and_below_each_other_where_they_do_not_fit():
    audits = [full(name=f"model {i}") for i in range(4)]
    wide, narrow = (to_text(audits, width=width, elements=False) for width in (160, 60))
    assert any(all(f"model {i}" in line for i in range(4)) for line in wide.splitlines())
    assert not any("model 0" in line and "model 3" in line for line in narrow.splitlines())
    assert all(f"model {i}" in narrow for i in range(4))
    assert wide.count("╭") == 1
    assert narrow.count("╭") == 4


@pytest.mark.parametrize("width", [40, 60, 100])
def test_no_line_is_wider_than_asked(width):
    text = to_text([full(), bare(), endless(), many(120)], width=width)
    assert max(map(len, text.splitlines())) <= width


def test_colours_only_where_asked_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in to_text(full())
    monkeypatch.delenv("FORCE_COLOR")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b[1;31m" in to_text(full(), color=True)


def test_markup_and_control_characters_are_inert():
    text = to_text(bare(name="[red]a[/red] :smile: \x1b[31m\x07 \u202eevil\nline"), width=160)
    assert "[red]a[/red] :smile: \ufffd[31m\ufffd \ufffdevil line" in text
    assert "\x1b" not in text
    assert "<script>" in flat(to_text(hostile(), width=200))
    assert HOSTILE[:20] in to_text(hostile(), width=200)


def test_infinite_and_nan_are_said_and_flagged():
    text = to_text(endless(), width=160)
    assert re.search("first .*∞ ✗", text)
    assert re.search("third .*NaN ✗", text)
    assert "inf" not in text.replace("infinite", "")


def test_the_table_by_element_can_be_left_out():
    assert "by element" in to_text(full())
    assert "by element" not in to_text(full(), elements=False)
    assert to_text(many(120)).count("120° about") == 120


def test_equal_audits_give_equal_text():
    assert to_text([full(), hostile()]) == to_text((full(), hostile()))


@pytest.mark.parametrize("width", [39, 0, -1])
def test_a_narrow_terminal_is_refused(width):
    with pytest.raises(
        SymmetryError, match=f"to_text: bad width\n  got:      {width}\n  expected: a whole number, at least 40"
    ):
        to_text(full(), width=width)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, NOTHING),
        (0.0, "0"),
        (2.4e-5, "2.4e-5"),
        (1.3e-7, "1.3e-7"),
        (3e20, "3e20"),
        (1e100, "1e100"),
        (0.31, "0.31"),
    ]
    + [(float("inf"), "∞"), (float("-inf"), "-∞"), (float("nan"), "NaN"), (-0.5, "-0.5"), (1e-10, "1e-10")],
)
def test_numbers(value, expected):
    assert words.number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.0, "100 %"), (0.9999, "99.99 %"), (0.99999999, "99.999999 %"), (0.5, "50 %"), (0.0, "0 %"), (None, NOTHING)]
    + [(1e-15, "1e-13 %"), (float("nan"), "NaN")],
)
def test_shares_are_never_rounded_up_to_all(value, expected):
    assert words.share(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.2, "20 %"), (0.2001, "21 %"), (0.00916834, "0.92 %"), (0.9999, "100 %"), (1.0, "100 %"), (0.0, "0 %")]
    + [(1e-5, "0.001 %")],
)
def test_bounds_are_rounded_up(value, expected):
    assert words.bound(value) == expected


def test_units():
    assert [words.seconds(s) for s in (2.0, 1234.5, 0.0122, 3e-6, 0.0, None)] == [
        "2 s", "1234 s", "12.2 ms", "3 µs", "0 µs", NOTHING,
    ]  # fmt: skip
    assert [words.memory(b) for b in (0, 1023, 1024, 5 * 2**20, 2**40, None)] == [
        "0 B", "1023 B", "1 KiB", "5 MiB", "1 TiB", NOTHING,
    ]  # fmt: skip
    assert words.times(3.0, 2.0) == "1.5 \N{MULTIPLICATION SIGN}"
    assert words.times(3.0, None) == words.times(None, 2.0) == words.times(3.0, 0.0) == NOTHING
