"""The page: complete, escaped, self-contained, the same every time."""

import base64
import dataclasses
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import matplotlib
import pytest
from report_examples import HOSTILE, bare, endless, full, gallery, hostile, many, row

from canonize.report import pictures, svg, to_html

VOID = {"meta", "img", "source", "br"}
SVG = "data:image/svg+xml;base64,"


class Read(HTMLParser):
    """Every tag with its attributes and all text; complains about tags that are not closed in order."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def sources(self):
        return [value for _, attrs in self.tags for name, value in attrs.items() if name in ("src", "srcset")]

    def drawings(self):
        return [base64.b64decode(s[len(SVG) :]).decode() for s in self.sources() if s.startswith(SVG)]


def problems(page):
    """What could reach outside the page, or run inside it."""
    found = []
    read = Read(page)
    for part in (page, *read.drawings()):
        # The names of XML's own vocabularies are no addresses: nothing is ever fetched from them.
        rest = re.sub(r'xmlns(:\w+)?="http://www\.w3\.org/[\w/]+"', "", part)
        found += re.findall("https?:", rest) + re.findall("(?i)<script|javascript:|@import|url\\((?!#)", rest)
        found += re.findall("<!DOCTYPE(?! html>)|<!ENTITY", rest)
    for tag, attrs in read.tags:
        found += [f"{tag} {name}" for name in attrs if name.startswith("on")]
        found += [
            f"{tag} {name}"
            for name in ("src", "srcset", "href")
            if not (attrs.get(name) or "data:").startswith("data:")
        ]
        found += [
            tag for forbidden in ("script", "iframe", "object", "embed", "link", "form", "base") if tag == forbidden
        ]
    return found


ALL = {
    "bare": lambda: [bare()],
    "full": lambda: [full()],
    "endless": lambda: [endless()],
    "hostile": lambda: [hostile()],
    "many": lambda: [many(120)],
    "all": lambda: [full(), bare(), endless(), hostile(), many(30), many(120)],
}


@pytest.mark.parametrize("name", ALL)
def test_opens_offline_and_runs_nothing(name):
    assert problems(to_html(ALL[name]())) == []


def test_the_check_of_the_line_above_sees_planted_faults():
    page = to_html(bare())
    inside = base64.b64encode(b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>').decode()
    for fault in (
        "<script>1</script>",
        '<img src="https://example.org/a.png">',
        '<img src="a.png">',
        '<p onclick="1"></p>',
        "<i>url(a.png)</i>",
        f'<img src="{SVG}{inside}">',
    ):
        assert problems(page.replace("</main>", fault + "</main>")), fault


def test_every_word_of_an_audit_is_escaped():
    page = to_html(hostile(), title=HOSTILE, date=HOSTILE)
    read = Read(page)
    assert "<script>alert(1)</script>" in read.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "alert(1)</script>" not in page
    assert not [tag for tag, _ in read.tags if tag == "script"]
    # In the charts it is text too, and no formula: matplotlib would have raised at \frac{1}{0}$.
    labels = [text for drawing in read.drawings() for text in ET.fromstring(drawing).itertext()]
    assert any("<script>alert(1)</s" in text for text in labels)
    assert not [tag for d in read.drawings() for tag in ET.fromstring(d).iter() if str(tag.tag).endswith("script")]


def test_holds_what_was_found():
    text = Read(to_html([full(), bare()], title="Two models", date="5 May 2031")).text.replace("\xa0", " ")
    for part in (
        "Two models",
        "2 audits: 1 fails and 1 is undecided · 5 May 2031",
        "✗ fail",
        "? undecided",
        "Too few inputs to tell.",
        "90 of 192 (input, element) pairs exceed the tolerance.",
        "D(8), inputs Image(), outputs Scalar()",
        "with confidence 99 %, at most 84 % of (input, element) pairs exceed the tolerance",
        "accuracy against angle",
        "decisions kept against angle",
        "Dashed: mirrored elements.",
        "0.2578 (135°, mirrored)",
        "what it sees identical, bit for bit",
        "margin 0.1",
        "class 3 (91%)",
        "class 5 (40%)",
        "0.81, exceeds the tolerance",
        "12 ms plain 3 ms, 4 \N{MULTIPLICATION SIGN}",
        "How to read this",
        "canonize 0.0.test torch 9.9.9",
    ):
        assert part in text, part


def test_what_is_not_there_is_left_out():
    text = Read(to_html(bare())).text
    for part in ("The task over the orbit", "What the model sees", "Worst cases", "Made with", "None", "nan"):
        assert part not in text, part
    assert "<h2>Cost</h2>" not in to_html(bare())
    assert not Read(to_html(bare())).sources()


def test_pictures_and_tables_can_be_read_without_seeing_them():
    read = Read(to_html([full(), many(120)]))
    images = [attrs for tag, attrs in read.tags if tag == "img"]
    assert images
    assert all(attrs["alt"] for attrs in images)
    assert any("moved: 90°" in attrs["alt"] for attrs in images)
    assert all(attrs.get("scope") in ("row", "col", "rowgroup") for tag, attrs in read.tags if tag == "th")
    assert ("html", {"lang": "en"}) in read.tags
    assert [tag for tag, _ in read.tags if tag == "h1"] == ["h1"]


def test_every_drawing_comes_for_light_and_for_dark():
    read = Read(to_html([full(), endless()]))
    charts = [attrs for tag, attrs in read.tags if tag == "img" and attrs["src"].startswith(SVG)]
    dark = [attrs for tag, attrs in read.tags if tag == "source"]
    assert len(dark) == len(charts) == 5
    assert all(attrs["media"] == "(prefers-color-scheme: dark)" for attrs in dark)
    assert not {attrs["srcset"] for attrs in dark} & {attrs["src"] for attrs in charts}
    for drawing in read.drawings():
        ET.fromstring(drawing)


def test_equal_audits_give_equal_pages_whatever_the_users_style():
    page = to_html([full(), many(30)])
    with matplotlib.rc_context({"svg.hashsalt": "other", "axes.facecolor": "red", "xtick.major.size": 30}):
        assert to_html([full(), many(30)]) == page
    assert "20" + "31" not in page
    assert to_html([full(), many(30)], date="2031") != page


def test_matplotlibs_settings_stay_as_they_were():
    before = dict(matplotlib.rcParams)
    to_html(full())
    assert dict(matplotlib.rcParams) == before


def test_metrics_with_other_names_and_groups_get_charts_of_their_own():
    other = dataclasses.replace(full().metric, name="loss", higher_is_better=False)
    text = Read(to_html([full(), full(metric=other), many(5)])).text
    assert "accuracy against angle" in text
    assert "accuracy by element" in text
    assert "loss against angle" in text
    assert "further out is worse" in text


def test_zeros_and_infinities_have_places_on_the_axis_of_errors():
    def labels(audit):
        read = Read(to_html(audit))
        return {text.strip() for drawing in read.drawings() for text in ET.fromstring(drawing).itertext()}

    rows = (row(0.0, error=1e-7, worst=1e-6), row(90.0, error=1e-7, worst=1e-6))
    assert not {"exactly 0", "∞ or NaN"} & labels(full(rows=rows))
    assert "exactly 0" in labels(full())
    assert {"exactly 0", "∞ or NaN", "≤ 1e-18"} <= labels(endless())
    assert "exactly 0" in labels(full(rows=tuple(row(a, error=0.0, worst=0.0) for a in (0.0, 90.0)), tolerance=0.0))


def test_labels_in_any_script_stay_text():
    rows = tuple(row(None, label=f"元素 {i} ✨ $x_{i}$ \x00") for i in range(3))
    page = to_html(full(rows=rows, name="модель\x1b[31m\ud800"))
    read = Read(page)
    assert "\x1b" not in page
    assert page.encode("utf-8")
    labels = [text for drawing in read.drawings() for text in ET.fromstring(drawing).itertext()]
    assert "元素 1 ✨ $x_1$ \ufffd" in labels
    assert "модель\ufffd[31m\ufffd" in read.text


def test_long_names_are_whole_once_and_short_in_tables():
    read = Read(to_html(many(3)))
    assert read.text.count("a very long name " * 11) == 1
    assert "…" in read.text


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_galleries_of_any_number_of_channels(channels):
    page = to_html(full(gallery=gallery(3, channels, 4, 6)))
    found = [source for source in Read(page).sources() if source.startswith("data:image/png")]
    assert len(found) == 3 * 4 + 2
    assert ("drawn as" in page) == (channels in (2, 5))


def test_every_picture_stands_in_its_place():
    part = gallery(1, 1, 4, 4)
    parts = (part.inputs, part.inputs + 1, part.inputs + 2, part.inputs + 3)
    shown = dataclasses.replace(part, inputs=parts[0], turned=parts[1], canonical=parts[2], canonical_turned=parts[3])
    read = Read(to_html(full(gallery=shown, worst=(), rows=())))
    low, high = pictures.scale(parts)
    assert read.sources() == [pictures.png(part[0], low, high) for part in parts]


def test_a_gallery_without_a_frame_shows_inputs_only():
    plain = dataclasses.replace(gallery(2, 1, 4, 4), canonical=None, canonical_turned=None, margins=None)
    text = Read(to_html(full(gallery=plain, frame=None, worst=()))).text
    assert "moved: 90°" in text
    assert "the model sees" not in text.replace("What the model sees", "").replace("pictures that the model sees", "")


def test_canonical_forms_that_differ_are_told():
    some = gallery(1, 1, 4, 4)
    apart = dataclasses.replace(some, canonical_turned=some.inputs * 0.5)
    assert "pixels differ by up to" in to_html(full(gallery=apart))
    assert "identical" not in to_html(full(gallery=apart))


def test_the_page_names_lines_in_the_colours_of_the_charts():
    page = to_html(bare())
    for colors in (svg.COLORS_LIGHT, svg.COLORS_DARK):
        assert " ".join(f"--line-{i}: {color};" for i, color in enumerate(colors)) in page
