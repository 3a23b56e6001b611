"""Files: where they go, that they are whole, and what is refused."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from report_examples import bare, full

from canonize import SymmetryError
from canonize.report import to_html, to_json, to_text, write

VERBS = sys.modules["canonize.report.verbs"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_gets_all_three(tmp_path):
    folder = tmp_path / "new" / "folder"
    assert write([full(), bare()], folder) == tuple(folder / f"report.{s}" for s in ("html", "json", "txt"))
    assert names(folder) == ["report.html", "report.json", "report.txt"]
    assert (folder / "report.html").read_text("utf-8") == to_html([full(), bare()])
    assert (folder / "report.json").read_text("utf-8") == to_json([full(), bare()])
    assert (folder / "report.txt").read_text("utf-8") == to_text([full(), bare()], width=120)


@pytest.mark.parametrize("name", ["a.html", "a.JSON", "deep/b.txt"])
def test_a_suffix_chooses_one(tmp_path, name):
    path = tmp_path / name
    assert write(full(), str(path)) == (path,)
    assert names(path.parent) == [path.name]
    assert path.stat().st_size > 1000


def test_a_folder_that_is_there_may_have_any_name(tmp_path):
    folder = tmp_path / "results.v2"
    folder.mkdir()
    assert len(write(full(), folder)) == 3


def test_title_and_date_reach_the_page(tmp_path):
    (path,) = write(full(), tmp_path / "a.html", title="A title", date="5 May 2031")
    assert "<h1>A title</h1>" in path.read_text("utf-8")
    assert "5 May 2031" in path.read_text("utf-8")


def test_an_interrupted_write_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text("old")

    def killed(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        write(full(), path)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_what_a_kill_leaves_of_a_report_is_swept_away(tmp_path):
    """Found by killing it: the half of a report that was being written stayed beside the whole one."""
    kept = [f".report.json.{'g' * 32}.part", ".report.json.part", f".other.json.{'a' * 32}.part"]
    for name in (*(f".report{suffix}.{'0a' * 16}.part" for suffix in (".html", ".json", ".txt")), *kept):
        (tmp_path / name).write_text("half")
    write(full(), tmp_path)
    assert names(tmp_path) == sorted([*kept, "report.html", "report.json", "report.txt"])


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text("old")
    seen = []
    replace = Path.replace

    def watched(draft, target):
        seen.append(
            (path.read_text(), json.loads(draft.read_text("utf-8"))["schema_version"], draft.parent == path.parent)
        )
        return replace(draft, target)

    monkeypatch.setattr(Path, "replace", watched)
    write(full(), path)
    assert seen == [("old", 1, True)]


def test_nothing_is_written_where_one_format_fails(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("planted")

    monkeypatch.setattr(VERBS, "to_text", broken)
    with pytest.raises(RuntimeError, match="planted"):
        write(full(), tmp_path)
    assert names(tmp_path) == []


def test_others_may_read_it_as_the_system_says(tmp_path):
    before = os.umask(0o022)
    try:
        (path,) = write(full(), tmp_path / "a.json")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_an_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(SymmetryError) as refused:
        write(full(), tmp_path / "a.pdf")
    assert str(refused.value) == (
        "a report cannot be written to a file with this suffix\n"
        "  got:      'a.pdf'\n"
        "  expected: a name that ends in .html, .json or .txt, or a folder\n"
        f"  try:      {str(tmp_path / 'a.html')!r}"
    )
    with pytest.raises(SymmetryError, match=r"^a report cannot be written to a file with this suffix\n"):
        VERBS.targets(tmp_path / "a.pdf")
    assert names(tmp_path) == []


@pytest.mark.parametrize("verb", [to_text, to_json, to_html, lambda a: write(a, "never-made")])
@pytest.mark.parametrize(
    ("value", "got"),
    [
        ([], "an empty list"),
        ("audit", "a value of type str"),
        (3, "a value of type int"),
        (None, "a value of type NoneType"),
    ]
    + [([full(), {}], "a value of type dict")],
)
@pytest.mark.usefixtures("unchecked")
def test_what_is_no_audit_is_refused(verb, value, got):
    with pytest.raises(SymmetryError) as refused:
        verb(value)
    assert str(refused.value).startswith(f"a report is made of audits\n  got:      {got}\n  expected: ")
    assert not Path("never-made").exists()


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "taken").write_text("mine")
    for where in (tmp_path / "taken", tmp_path / "taken" / "deeper", tmp_path / "taken" / "a.json"):
        for act in (lambda: write(full(), where), lambda: VERBS.targets(where)):  # noqa: B023  # called at once
            with pytest.raises(SymmetryError, match=r"^the folder of the report cannot be made\n  got:      '.*taken"):
                act()
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.parametrize("where", ["new/folder", "a.html", "deep/b.TXT"])
def test_the_targets_are_what_is_written_and_nothing_is_made(tmp_path, where):
    planned = VERBS.targets(tmp_path / where)
    assert names(tmp_path) == []
    assert write(full(), tmp_path / where) == planned


def test_missing_extras_are_named():
    code = (
        "import sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from report_examples import bare\n"
        "from canonize import SymmetryError, report\n"
        "for verb, missing in (report.to_text, 'rich'), (report.to_html, 'jinja2'), (report.to_html, 'matplotlib'):\n"
        "    sys.modules[missing] = None\n"
        "    try: verb(bare())\n"
        "    except SymmetryError as error: print(error)\n"
        "    del sys.modules[missing]\n"
        "assert report.to_html(bare())\n"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "".join(
        f"{verb} needs {missing}\n"
        "  got:      it is not installed\n"
        "  expected: the extra named report; to_json needs nothing but torch\n"
        "  try:      pip install 'canonize[report]'\n"
        for verb, missing in (("to_text", "rich"), ("to_html", "jinja2"), ("to_html", "matplotlib"))
    )


def test_an_import_that_fails_inside_canonize_is_not_called_a_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "canonize.report.tables", None)
    with pytest.raises(ModuleNotFoundError):
        to_text(full())
