"""A group that does not fit the data is refused once, before anything is read."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_runs import run
from dedupe_cases import images

from stored_cases import image_table, table

pytest.importorskip("pyarrow", reason="pyarrow is not installed")


def made(place: Path, kind: str) -> Path:
    """Data of a kind, in a file or a folder."""
    if kind == "images":
        return images(place, 3)
    if kind == "one image":
        return images(place, 3) / "0.png"
    if kind == "table of images":
        return image_table(place / "a.parquet")
    if kind == "shard of images":
        content = (images(place, 3) / "0.png").read_bytes()
        with tarfile.open(place / "a.tar", "w") as archive:
            info = tarfile.TarInfo("0.png")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        return place / "a.tar"
    if kind == "points":
        return table(place / "a.parquet", positions=[[[0.0, 1.0, 2.0]], [[3.0, 4.0, 5.0]]])
    (place / "a.g6").write_text("DhC\nDDW\n", encoding="utf-8")
    return place / "a.g6"


def refused(found: Any, what: str) -> None:
    assert found.exit_code == 2, found.output
    assert what in found.output
    assert "bad" not in found.output
    assert "to drop" not in found.output


@pytest.mark.parametrize("kind", ["images", "one image", "table of images", "shard of images"])
@pytest.mark.parametrize("group", ["S", "SxE3", "octahedral"])
def test_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, group: str) -> None:
    place = made(tmp_path, kind)
    monkeypatch.setattr("canonize.cli.items._pixels", lambda *_: pytest.fail("an image was read"))
    more = ("--tolerance", "0.001") if group == "SxE3" else ()
    for command in (("dedupe",), ("canonicalize", "--out", str(tmp_path / "out.parquet"))):
        found = run(*command, str(place), "--group", group, *(more if command == ("dedupe",) else ()))
        refused(found, "the group does not fit the data\n  got:      images (")
        assert "--group C4" in found.output


@pytest.mark.parametrize(("kind", "group", "fix"), [("graphs", "C4", "--group S"), ("points", "C4", "--group SxE3")])
def test_graphs_and_points(tmp_path: Path, kind: str, group: str, fix: str) -> None:
    found = run("dedupe", str(made(tmp_path, kind)), "--group", group)
    refused(found, f"the group does not fit the data\n  got:      {kind} (a.")
    assert fix in found.output


@pytest.mark.parametrize(("group", "told"), [("C8", "C(8) does not map pixels onto pixels"), ("T2", "copies under")])
def test_groups_under_which_nothing_is_compared(tmp_path: Path, group: str, told: str) -> None:
    refused(run("dedupe", str(tmp_path / "never read"), "--group", group), told)


def test_one_file_that_does_not_fit_among_others_is_bad_by_itself(tmp_path: Path) -> None:
    place = images(tmp_path, 3)
    np.save(place / "set.npy", np.eye(3))
    np.save(place / "tes.npy", np.eye(3)[::-1].copy())
    found = run("dedupe", str(place), "--group", "S")
    assert found.exit_code == 3, found.output
    assert "8 looked at, 1 to drop in 1 groups, 6 bad" in found.output
    assert "bad: 0.png: the group does not fit the data (images" in found.output


@pytest.mark.parametrize(("kind", "group"), [("images", "C4"), ("table of images", "D4"), ("shard of images", "C2")])
def test_what_fits_is_compared(tmp_path: Path, kind: str, group: str) -> None:
    assert run("dedupe", str(made(tmp_path, kind)), "--group", group).exit_code in (0, 1)
