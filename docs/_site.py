"""Hook of mkdocs: pages of the site that stand elsewhere in the repository, and links that lead to them.

The README is the first page; the changes, the scripts of the benchmarks, the examples and the help of the commands are pages
too. None of them is copied by hand: they are read where they stand when the site is built, and links between all pages are
written anew.
"""

from __future__ import annotations

import ast
import functools
import html
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))
from _docstrings import CODE, cited

ROOT = Path(__file__).parent.parent
COMMANDS = "api/commands.md"
BORROWED = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks/scripts.md",
    "LICENSE": "license.md",
}
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")


def example_page(source: str, path: str) -> str:
    """The page of an example: what it says of itself, then the code."""
    tree = ast.parse(source)
    text = ast.get_docstring(tree)
    code = "\n".join(source.split("\n")[tree.body[0].end_lineno if text else 0 :])
    title = path.rsplit("/", 1)[-1].removesuffix(".py").replace("_", " ").capitalize()
    return f"# {title}\n\n`{path}`\n\n{text or ''}\n\n```python\n{code.strip()}\n```\n"


@functools.cache
def borrowed() -> dict[str, tuple[str, str]]:
    """Each borrowed file of the repository, with its place in the site and its text there."""
    found = {}
    for path, place in BORROWED.items():
        if (ROOT / path).exists():
            text = (ROOT / path).read_text(encoding="utf-8")
            found[path] = place, f"# Licence\n\n```text\n{text}```\n" if path == "LICENSE" else text
    for script in sorted((ROOT / "examples").glob("*.py")):
        path = f"examples/{script.name}"
        found[path] = f"examples/{script.stem}.md", example_page(script.read_text(encoding="utf-8"), path)
    return found


def help_of_commands() -> str:
    """The commands and their options, as `--help` tells them; what the page of the commands ends with."""
    from typer.main import get_command

    from canonize.cli.app import app

    def plain(text: str) -> str:
        parts = CODE.split(text.strip())
        parts[::2] = [re.sub(r"([*_|\[\]])", r"\\\1", html.escape(part, quote=False)) for part in parts[::2]]
        return "".join(parts)

    made = [""]
    for name, command in get_command(app).commands.items():
        if command.hidden:
            continue
        context = command.context_class(command, info_name=f"canonize {name}")
        usage = " ".join([f"canonize {name}", *command.collect_usage_pieces(context)])
        made.append(f"## {name}\n\n{plain(command.help or '')}\n\n```sh\n{usage}\n```\n")
        records = [record for part in command.params if (record := part.get_help_record(context))]
        made += [f"- `{option}`: {plain(told)}" for option, told in records]
        made.append("")
    return "\n".join(made)


def added() -> set[str]:
    """The pages of the site that do not stand in docs/."""
    return {place for place, _text in borrowed().values()}


def relinked(text: str, here: str, page: str, places: dict[str, str]) -> str:
    """The text with its links written for the site.

    Args:
        text: a page.
        here: where the file stands in the repository, "docs/tour.md".
        page: where it stands in the site, "tour.md".
        places: for each borrowed file of the repository, where it stands in the site.
    """

    def there(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), found[2]))
        place = places.get(target, target.removeprefix("docs/"))
        return found[1] + posixpath.relpath(place, posixpath.dirname(page) or ".") + found[3]

    return LINK.sub(there, text)


def on_files(files: Files, config: Any) -> Files:
    """Add to the files of docs/ those that are borrowed."""
    borrowed.cache_clear()
    for place, text in borrowed().values():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Write the links of a page for the site; a page that is alone under its tab needs no menu at its side."""
    if page.parent is None:
        page.meta["hide"] = ["navigation"]
    place = page.file.src_uri
    places = {path: to for path, (to, _text) in borrowed().items()}
    here = {to: path for path, to in places.items()}.get(place, f"docs/{place}")
    parts = FENCED.split(markdown)
    parts[::2] = [cited(relinked(part, here, place, places)) for part in parts[::2]]
    return "".join(parts) + (help_of_commands() if place == COMMANDS else "")
