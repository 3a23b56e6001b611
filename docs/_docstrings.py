"""Extension of griffe: docstrings as the site shows them.

Docstrings are written to be read as text. Here examples become blocks of code, brackets and stars of shapes stay what they are,
closing notes get a bold word, and sources and public names become links.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from griffe import Extension, Object

CODE = re.compile(r"(`[^`]+`)")
SOURCE = re.compile(r"(?<!\[)\b(arXiv (?P<arxiv>(?:math-ph/)?\d+(?:\.\d+)?)|doi (?P<doi>10\.\d+/[^\s,;|]*[^\s,;|.)]))")

NAMES = {
    name
    for page in (Path(__file__).parent / "api").glob("*.md")
    for name in re.findall(r"^::: canonize\.(\w+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
}
"""What has an entry of its own, so that a mention of it can lead there."""


def cited(text: str) -> str:
    """The text in which "arXiv 2110.03336" and "doi 10.1234/5" are links."""

    def link(found: re.Match[str]) -> str:
        place = f"arxiv.org/abs/{found['arxiv']}" if found["arxiv"] else f"doi.org/{found['doi']}"
        return f"[{found[1]}](https://{place})"

    return "".join(part if part.startswith("`") else SOURCE.sub(link, part) for part in CODE.split(text))


def shown(docstring: str) -> str:
    """A docstring as Markdown in the sections that griffe knows."""
    made, inside = [], False
    for line in docstring.split("\n"):
        inside = line.lstrip().startswith(">>>") or (inside and bool(line.strip()))
        if not inside:
            line = re.sub(r"^(\s*)Example:$", r"\1Examples:", line)
            line = re.sub(r"^(Source|Sources|Values|Singular case|Cost): ", r"**\1:** ", line)
            parts = CODE.split(line)
            parts[::2] = [re.sub(r"(\[|(?<![*\w])\*(?=\w))", r"\\\1", part) for part in parts[::2]]
            parts[1::2] = [f"[{part}][canonize.{part[1:-1]}]" if part[1:-1] in NAMES else part for part in parts[1::2]]
            line = cited("".join(parts))
        made.append(line)
    return "\n".join(made)


class Docstrings(Extension):
    """Rewrites each docstring once, when it has been read."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of this object."""
        if obj.docstring:
            obj.docstring.value = shown(obj.docstring.value)
