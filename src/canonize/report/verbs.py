"""The public verbs: an audit as text, as JSON, as HTML, and all of them as files."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from canonize.audit.result import Audit
from canonize.errors import SymmetryError, refuse

SCHEMA = "canonize.audits"
SCHEMA_VERSION = 1
"""Counts up when a field of the JSON is renamed, removed or changes its meaning; new fields leave it alone."""

SUFFIXES = (".html", ".json", ".txt")

# Characters that could end a string early where the JSON is pasted into HTML or JavaScript, that turn a line around in an
# editor, or that UTF-8 cannot hold.
_RISKY = re.compile("[<>&\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def to_text(audits: Audit | Iterable[Audit], *, width: int = 100, color: bool = False, elements: bool = True) -> str:
    """The audits side by side, and each by element, as tables for a terminal.

    Args:
        audits: one or several.
        width: of the terminal in characters; audits that do not fit beside each other stand below each other.
        color: whether to add ANSI colours.
        elements: whether to add the table by element.

    Raises:
        SymmetryError: no audits, something that is not an `Audit`, or rich is not installed.

    Example:
        >>> import torch
        >>> from canonize import C, Image, Scalar, Symmetry, audit
        >>> from canonize.report import to_text
        >>> claim = Symmetry(C(4), inputs=Image(), outputs=Scalar())
        >>> found = audit(lambda x: x.mean((1, 2, 3)), claim, torch.rand(32, 1, 4, 4), cost=False, name="the mean")
        >>> print(to_text(found, elements=False).splitlines()[0])
        1 audit: 1 passes
    """
    found = _checked(audits)
    if not isinstance(width, int) or width < 40:
        raise refuse("to_text: bad width", got=repr(width), expected="a whole number, at least 40", fix="width=100")
    with _extra("to_text"):
        from canonize.report.tables import text
    return text(found, width=width, color=color, elements=elements)


def to_json(audits: Audit | Iterable[Audit]) -> str:
    """The audits as JSON without NaN, infinities or pictures; `json.loads(...)["audits"]` is a list of `Audit.as_dict()`.

    The object has the keys "schema", "schema_version" and "audits". Infinities and NaN are the strings "inf", "-inf" and
    "nan". Characters that HTML gives a meaning are written as escapes, so that the text can stand inside a page.

    Args:
        audits: one or several.

    Raises:
        SymmetryError: no audits, or something that is not an `Audit`.
    """
    found = _checked(audits)
    whole = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "audits": [audit.as_dict() for audit in found]}
    text = json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)
    return _RISKY.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def to_html(audits: Audit | Iterable[Audit], *, title: str = "Symmetry audit", date: str | None = None) -> str:
    """The audits as one HTML page with charts and pictures, which needs neither a network nor scripts.

    Args:
        audits: one or several, shown in their order.
        title: of the page.
        date: shown under the title where given; without it equal audits give equal pages.

    Raises:
        SymmetryError: no audits, something that is not an `Audit`, or matplotlib or jinja2 is not installed.
    """
    found = _checked(audits)
    with _extra("to_html"):
        from canonize.report.page import page
    return page(found, title=title, date=date)


def write(
    audits: Audit | Iterable[Audit],
    where: str | os.PathLike[str],
    *,
    title: str = "Symmetry audit",
    date: str | None = None,
) -> tuple[Path, ...]:
    """The paths of the files written: report.html, report.json and report.txt in a folder, or one file by its suffix.

    Missing folders are made. A file appears whole or not at all: each is written beside its place and then moved there.

    Args:
        audits: one or several.
        where: a folder, or a file that ends in .html, .json or .txt.
        title: of the HTML page.
        date: shown on the HTML page where given.

    Raises:
        SymmetryError: no audits, something that is not an `Audit`, another suffix, a folder that is a file, or an extra
            that the format needs is not installed.
        OSError: the place cannot be written to.
    """
    found = _checked(audits)
    formats: dict[str, Callable[[], str]] = {
        ".html": lambda: to_html(found, title=title, date=date),
        ".json": lambda: to_json(found),
        ".txt": lambda: to_text(found, width=120),
    }
    wanted = targets(where)
    for parent in dict.fromkeys(part.parent for part in wanted):
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise _in_the_way(parent) from None
    # All are made before the first is written, so that a failure leaves the files of an earlier report as they were.
    for part, content in [(part, formats[part.suffix.lower()]()) for part in wanted]:
        _replace(part, content)
    return wanted


def targets(where: str | os.PathLike[str]) -> tuple[Path, ...]:
    """The paths that `write` would write to; nothing is made, so that a bad place can be told before long work.

    Raises:
        SymmetryError: another suffix than .html, .json or .txt, or a file where a folder would have to be.
    """
    path = Path(where)
    if path.is_dir() or not path.suffix:
        found = tuple(path / f"report{suffix}" for suffix in SUFFIXES)
    elif path.suffix.lower() in SUFFIXES:
        found = (path,)
    else:
        raise refuse(
            "a report cannot be written to a file with this suffix",
            got=f"{path.name!r}",
            expected="a name that ends in .html, .json or .txt, or a folder",
            fix=f"{str(path.with_suffix('.html'))!r}",
        )
    parent = found[0].parent
    if not next((place for place in (parent, *parent.parents) if place.exists()), parent).is_dir():
        raise _in_the_way(parent)
    return found


def _in_the_way(folder: Path) -> SymmetryError:
    return refuse(
        "the folder of the report cannot be made",
        got=f"{str(folder)!r}, where a file is in the way",
        expected="a folder, or a place for one",
        fix="choose another folder, or move the file",
    )


def _replace(path: Path, content: str) -> None:
    # Beside its place, because a move between file systems is not atomic.
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    # What a run that was killed as it wrote has left; of another name than anything of the user's.
    mark = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{32}}\.part")
    for other in path.parent.iterdir():
        if mark.fullmatch(other.name):
            other.unlink(missing_ok=True)
    try:
        with draft.open("x", encoding="utf-8", newline="\n") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _checked(audits: Audit | Iterable[Audit]) -> tuple[Audit, ...]:
    if isinstance(audits, Audit):
        return (audits,)
    found = tuple(audits) if isinstance(audits, Iterable) and not isinstance(audits, str | bytes) else (audits,)
    for part in found:
        if not isinstance(part, Audit):
            raise refuse(
                "a report is made of audits",
                got=f"a value of type {type(part).__name__}",
                expected="an Audit, or a list of them",
                fix="report.write([audit(model, symmetry, inputs)], 'canonize-report')",
            )
    if not found:
        raise refuse(
            "a report is made of audits",
            got="an empty list",
            expected="at least one Audit",
            fix="report.write([audit(model, symmetry, inputs)], 'canonize-report')",
        )
    return found


@contextmanager
def _extra(verb: str) -> Iterator[None]:
    """Says what to install where an outside library is missing; an import that fails inside canonize stays as it is."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "canonize").partition(".")[0]
        if missing == "canonize":
            raise
        raise refuse(
            f"{verb} needs {missing}",
            got="it is not installed",
            expected="the extra named report; to_json needs nothing but torch",
            fix="pip install 'canonize[report]'",
        ) from None
