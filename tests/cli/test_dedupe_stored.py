"""`canonize dedupe` on tables and shards: the groups are those of the same things in other files."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import run

from canonize.cli.dedupe import find
from canonize.cli.words import group as group_of
from stored_cases import FEW, cloud_table, image_shard, image_table, table

pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pytest.importorskip("webdataset", reason="webdataset is not installed")


def test_images_across_tables_and_shards(tmp_path: Path) -> None:
    image_table(tmp_path / "a.parquet")
    image_shard(tmp_path / "b.tar", 3)
    found = find(tmp_path, group_of("C4"))
    last = FEW - 1
    # The last image of each is the first one, turned; two shards draw the same images.
    assert found.groups == [
        ["a.parquet[0]", f"a.parquet[{last}]", "b.tar:n000", "b.tar:n002"],
        ["a.parquet[1]", "b.tar:n001"],
    ]
    assert run("dedupe", str(tmp_path), "--group", "C4").exit_code == 1


def test_clouds_are_compared_after_their_keys(tmp_path: Path) -> None:
    place = cloud_table(tmp_path / "a.parquet")
    told: list[str] = []
    found = find(place, group_of("SxSE3"), tolerance=1e-3, report=lambda what, *_: told.append(what))
    assert found.groups == [["a.parquet[0]", f"a.parquet[{FEW - 1}]"]]
    assert set(told) == {"looking", "comparing"}


def test_graphs_and_a_journal(tmp_path: Path) -> None:
    pytest.importorskip("canonaut", reason="canonaut is not installed")
    edges = [[[0, 1], [1, 2]], [[0, 1], [0, 2]], [[0, 1]], [[0, 9]]]
    place, journal = table(tmp_path / "a.parquet", edges=edges, count=[3] * 4), tmp_path / "a.jsonl"
    found = find(place, group_of("S"), journal=journal)
    assert found.groups == [["a.parquet[0]", "a.parquet[1]"]]
    assert [name for name, _ in found.bad] == ["a.parquet[3]"]
    again = find(place, group_of("S"), journal=journal)
    assert (again.groups, again.bad, again.resumed) == (found.groups, found.bad, 3)


def test_what_a_kill_leaves_of_a_report_is_swept_away(tmp_path: Path) -> None:
    """Found by killing it: the half of a report that was being written stayed beside the whole one."""
    place = image_table(tmp_path / "a.parquet")
    kept = [f".found.json.{'g' * 32}.part", ".found.json.part", f".other.json.{'a' * 32}.part"]
    for name in (f".found.json.{'0a' * 16}.part", *kept):
        (tmp_path / name).write_text("half")
    assert run("dedupe", str(place), "--group", "C4", "--out", str(tmp_path / "found.json")).exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "a.parquet", "found.json"])


@pytest.mark.parametrize(("words", "what"), [(["--engine", "dask"], "no engine"), (["--address", "x"], "is for Ray")])
def test_a_wrong_engine_is_told(tmp_path: Path, words: list[str], what: str) -> None:
    found = run("dedupe", str(image_table(tmp_path / "a.parquet")), "--group", "C4", *words)
    assert found.exit_code == 2
    assert what in found.output
