"""One bad sample among those that `canonize adapt` and `canonize audit` read at once is named, with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_runs import model, run
from PIL import Image as Picture

from stored_cases import png, table

pytest.importorskip("safetensors")


def command(place: Path, which: str, data: str, *options: str) -> Any:
    more = ("--out", "out", "--epochs", "1", "--width", "2", "--depth", "1") if which == "adapt" else ()
    return run(which, model(place, "corner"), "--data", data, "--group", "C4", *more, *options)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("row", [0, 17, 39])
def test_not_a_number_is_told_by_its_row(place: Path, row: int, bad: float) -> None:
    x = np.load(place / "data.npy")
    x[row, 1, 2, 3] = bad
    np.save(place / "holes.npy", x)
    found = command(place, "adapt", "holes.npy")
    assert found.exit_code == 2, found.output
    assert f"samples hold NaN or infinity\n  got:      1 of 40: row {row} of holes.npy\n" in found.output
    assert not (place / "out").exists()


def test_rows_are_those_of_the_file_whatever_is_taken_of_it(place: Path) -> None:
    x = np.load(place / "data.npy")
    x[20:] = np.nan
    np.savez(place / "holes.npz", inputs=x, targets=np.zeros(40, dtype=np.int64))
    found = command(place, "adapt", "holes.npz", "--limit", "16")
    rows = [int(part.split()[0]) for part in found.output.split("row ")[1:]]
    assert len(rows) == 8
    assert all(row >= 20 for row in rows)


def test_rows_of_tables_have_their_names(place: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    x = np.load(place / "data.npy").astype(np.float64)
    x[5, 0, 0, 0] = np.nan
    table(place / "holes.parquet", x=x.tolist())
    found = command(place, "adapt", "holes.parquet")
    assert "got:      1 of 40: holes.parquet[5]\n" in found.output
    assert found.exit_code == 2


def test_a_scale_that_makes_infinities_names_files(place: Path) -> None:
    Picture.new("RGB", (9, 9)).save(place / "images" / "cat" / "black.png")
    found = command(place, "adapt", "images", "--mean", "0", "--std", "1e-45")
    assert "24 of 25: cat/01.png, " in found.output
    assert found.exit_code == 2


@pytest.mark.parametrize("which", ["adapt", "audit"])
def test_a_torn_image_is_named_with_what_to_do(place: Path, which: str) -> None:
    torn = place / "images" / "cat" / "03.png"
    torn.write_bytes(torn.read_bytes()[:80])
    found = command(place, which, "images")
    assert found.exit_code == 2
    assert f"an image cannot be read\n  got:      {Path('images') / 'cat' / '03.png'}: " in found.output
    assert "try:      remove it or save it again; canonize audit --workers 1 leaves out what is bad" in found.output


def test_the_way_out_leads_out(place: Path) -> None:
    torn = place / "images" / "cat" / "03.png"
    torn.write_bytes(torn.read_bytes()[:80])
    found = command(place, "audit", "images", "--workers", "1")
    assert found.exit_code != 2, found.output
    assert "bad: cat/03.png: a sample cannot be read (cat/03.png: an image cannot be read" in found.output


def test_a_torn_row_of_a_table(place: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    good = (place / "images" / "cat" / "03.png").read_bytes()
    table(place / "a.parquet", image=[good, good[:80], good])
    found = command(place, "audit", "a.parquet")
    assert found.exit_code == 2
    assert "got:      a.parquet[1]: " in found.output
    assert "try:      drop it or write it again; canonize audit --workers 1 leaves out what is bad" in found.output


@pytest.mark.parametrize("which", ["adapt", "audit", "chunked"])
def test_a_column_can_be_named(place: Path, which: str) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    table(place / "foto.parquet", photograph=[png(x) for x in pixels], other=[png(x * 0) for x in pixels])
    more = ("--workers", "1") if which == "chunked" else ()
    name = "audit" if which == "chunked" else which
    found = command(place, name, "foto.parquet", *more)
    assert found.exit_code == 2
    assert "try:      --column NAME" in found.output
    told = {}
    for column in ("photograph", "other"):
        out = ("--out", f"out-{column}") if which == "adapt" else ()
        found = command(place, name, "foto.parquet", "--column", column, "--report", f"{column}.json", *out, *more)
        told[column] = (place / f"{column}.json").read_text(encoding="utf-8")
    # Zeros stay as they are however they are turned, and so do the answers.
    assert '"verdict": "fail"' in told["photograph"]
    assert '"verdict": "fail"' not in told["other"]


@pytest.mark.parametrize(("data", "more"), [("images", ()), ("data.npy", ()), ("images", ("--workers", "1"))])
def test_a_column_of_what_is_no_table(place: Path, data: str, more: tuple[str, ...]) -> None:
    found = command(place, "audit", data, "--column", "photograph", *more)
    assert found.exit_code == 2
    assert "only tables have columns\n  got:      --column photograph" in found.output


def test_numbers_of_another_column_are_not_gone_on_from(place: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    x = np.load(place / "data.npy")
    table(place / "foto.parquet", one=x.tolist(), two=x[::-1].tolist())
    for column, told in (("one", ""), ("one", ""), ("two", "column: one then, two now")):
        found = command(place, "audit", "foto.parquet", "--column", column, "--resume", "done")
        assert told in found.output
        assert (found.exit_code == 2) == bool(told), found.output
