"""Whatever a name, a label or a verdict holds, it is shown as text: in HTML, in a browser, in terminals, in JSON, in cards."""

from __future__ import annotations

import dataclasses
import json
import re
from functools import lru_cache
from html.parser import HTMLParser
from typing import Any

import pytest
import torch
from report_browser import browser
from report_examples import full

from canonize.audit import Audit
from canonize.audit.result import Forgotten
from canonize.report import to_html, to_json, to_text
from canonize.report.words import clean

PIECES = {
    "script": "<script>window.ran=1</script>",
    "image": "<img src=x onerror=window.ran=1>",
    "quotes": '" onmouseover="window.ran=1" \' autofocus onfocus=\'window.ran=1',
    "ends": "]]> --> </style></title></svg></table><svg onload=window.ran=1>",
    "entities": "&lt;script&gt; &amp; &#60;b&#62;",
    "template": "{{ 7 * 7 }} {% raw %} ${7*7}",
    "formula": r"$\frac{1}{0}$ \x",
    "markup": "[bold red]x[/] [link=https://example.org]y[/link] :smile:",
    "terminal": "\x1b[31m\x1b]0;title\x07\x9b1m\x08\x7f",
    "bidi": "abc\u202efed\u2066x\u2069",
    "lines": "a\r\nb\u2028c\x85d\x0be\tf",
    "surrogate": "x\ud800y",
}
UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
KEPT = {"verdict"}
"""Words that the library itself chooses from a list, on which the look of the page hangs."""

SHOWN = {
    "audit.name", "audit.symmetry", "audit.frame", "audit.reason", "audit.metric.name", "audit.metric.worst_label",
    "audit.by_output key", "audit.forgotten.advice", "audit.gallery.labels[]", "audit.rows[].label", "audit.worst[].label",
    "audit.worst[].answer", "audit.worst[].turned_answer", "audit.versions key", "audit.versions value",
}  # fmt: skip
"""What the page must show of them, as text."""


def spoiled(value: Any, piece: str, path: str, names: list[str]) -> Any:
    """The value with `piece` in every string in it, behind a mark that tells the string's place."""
    if isinstance(value, str):
        mark = f"w{len(names)}q"
        names.append(path)
        return f"{mark} {piece}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = {
            field.name: spoiled(getattr(value, field.name), piece, f"{path}.{field.name}", names)
            for field in dataclasses.fields(value)
            if field.name not in KEPT and field.init
        }
        return dataclasses.replace(value, **inner)
    if isinstance(value, dict):
        return {
            spoiled(key, piece, f"{path} key", names): spoiled(part, piece, f"{path} value", names)
            for key, part in value.items()
        }
    if isinstance(value, tuple):
        return tuple(spoiled(part, piece, f"{path}[]", names) for part in value)
    return value


def hostile(piece: str) -> tuple[Audit, list[str]]:
    """A full audit all of whose strings hold `piece`, and where they stand."""
    names: list[str] = []
    rows = full().rows[:4]
    told = full(rows=rows, forgotten=Forgotten(("a.b",), ("Scalar()",), ("Vector()",), 0.5, 0.25, "advice"))
    return spoiled(told, piece, "audit", names), names


class Read(HTMLParser):
    """The tags and words of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def shape(page: str) -> list[tuple[str, tuple[str, ...]]]:
    """The tags with the names of their attributes: words must not change them."""
    return [(tag, tuple(sorted(attrs))) for tag, attrs in Read(page).tags]


PLAIN = "word"


EVERYTHING = " ".join(PIECES.values())


@lru_cache(4)
def page_of(piece: str) -> str:
    """The page of an audit all of whose words hold the piece."""
    return to_html(hostile(piece)[0], title=piece, date=piece)


@pytest.mark.parametrize("piece", [EVERYTHING, PIECES["ends"] + PIECES["terminal"]], ids=["everything", "ends"])
def test_no_word_changes_the_shape_of_the_page(piece: str) -> None:
    page = page_of(piece)
    # A cell with many characters is set smaller; nothing else may differ.
    told, plain = ([(tag, [name for name in attrs if name != "class"]) for tag, attrs in shape(each)]
                   for each in (page, page_of(PLAIN)))  # fmt: skip
    assert told == plain
    assert not UNSHOWN.search(page.replace("\n", ""))
    page.encode("utf-8")
    text = "".join(Read(page).words)
    shown = {name for number, name in enumerate(hostile(piece)[1]) if f"w{number}q" in text}
    assert shown >= SHOWN


def test_every_word_of_the_audit_is_spoiled() -> None:
    """Also those of fields that are added later."""
    _, names = hostile("x")
    text = {name for name, kind in Audit.__annotations__.items() if kind in ("str", "str | None", "dict[str, str]")}
    assert text - KEPT <= {name.split(".")[1].split()[0] for name in names}


@pytest.mark.parametrize("piece", PIECES)
def test_tables_for_a_terminal_show_words_as_they_are(piece: str) -> None:
    audit, _ = hostile(PIECES[piece])
    for color in (False, True):
        text = to_text(audit, width=200, color=color)
        if color:
            # Only what rich itself writes: colours.
            text = re.sub("\x1b\\[[0-9;]*m", "", text)
        assert not UNSHOWN.search(text.replace("\n", "")), piece
    flat = re.sub(r"[^\w\[\]/=:<>]", "", to_text(audit, width=200))
    if piece == "markup":
        assert "[boldred]x[/]" in flat
        assert ":smile:" in flat


@pytest.mark.parametrize("piece", PIECES)
def test_json_comes_back_and_can_stand_inside_a_page(piece: str) -> None:
    audit, _ = hostile(PIECES[piece])
    text = to_json(audit)
    assert not re.search("[<>&]", text)
    assert not UNSHOWN.search(text.replace("\n", ""))
    told = json.loads(text)["audits"][0]
    assert told["reason"] == audit.reason
    assert list(told["versions"]) == list(audit.versions)


@pytest.mark.parametrize("piece", PIECES)
def test_cards_show_words_as_they_are(piece: str) -> None:
    pytest.importorskip("huggingface_hub")
    markdown = pytest.importorskip("markdown")
    from canonize import C, Image, Scalar, Symmetry
    from canonize.integrations import _card

    claim = Symmetry(C(4), Image(), Scalar())

    def made(text: str) -> Read:
        audit, _ = hostile(text)
        content = _card._text(claim, torch.nn.Identity(), [audit], "a/b")
        return Read(markdown.markdown(content, extensions=["tables", "fenced_code"]))

    page = made(PIECES[piece])
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in made(PLAIN).tags}
    assert not UNSHOWN.search("".join(page.words).replace("\n", ""))


def ran(page: Any, content: str) -> bool:
    """Whether anything ran, or asked for anything, as the page was shown, hovered and clicked."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: (asked.append("dialog"), dialog.dismiss()))
    page.set_content(content)
    for summary in page.query_selector_all("summary"):
        summary.click()
    for cell in page.query_selector_all("h1, h2, td")[:20]:
        cell.hover(force=True)
    outside = [url for url in asked if not url.startswith(("data:", "about:"))]
    return bool(page.evaluate("window.ran") or outside)


def test_nothing_runs_in_a_browser() -> None:
    page = page_of(EVERYTHING)
    policy = re.compile('<meta http-equiv="Content-Security-Policy"[^>]*>')
    assert policy.search(page)
    # Without the policy, which would stop a script by itself.
    bare = policy.sub("", page)
    with browser() as shown:
        assert not ran(shown, bare)
        for fault in ("script", "image", "ends"):
            faulty = bare.replace("<main>", f"<main>{PIECES[fault]}")
            assert ran(shown, faulty), fault
            # And with it a word that is not escaped runs nothing either.
            shown.evaluate("window.ran = 0")


def test_the_console_lets_no_name_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("typer")
    from rich.table import Table
    from rich.text import Text

    from canonize.cli.console import Clean

    for piece in PIECES.values():
        console = Clean(width=300, color_system="standard", force_terminal=True)
        word = piece.encode("utf-8", "replace").decode()
        console.print(f"bad: {word}", markup=False, highlight=False, style="red", soft_wrap=True)
        table = Table()
        table.add_row(Text(word))
        console.print(table)
        text = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)
        assert not UNSHOWN.search(text.replace("\n", "").replace("\t", "")), piece
    assert clean(PIECES["bidi"]) == "abc\ufffdfed\ufffdx\ufffd"


def test_the_console_of_rich_alone_would_fail(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    Console(width=300, force_terminal=True).print(f"bad: {PIECES['terminal']}", markup=False, highlight=False)
    assert "\x1b]0;title" in capsys.readouterr().out
