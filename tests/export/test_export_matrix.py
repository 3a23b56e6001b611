"""The table of docs/export.md is true: each yes holds, each no fails. In processes of their own: annotations are inert."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from loaded_script import ROOT, loaded

SCRIPT = ROOT / "benchmarks" / "export.py"
PAGE = ROOT / "docs" / "export.md"


def run(*options, page=PAGE):
    command = [sys.executable, str(SCRIPT), "--check", "--page", str(page), *options]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


# The other cells are made by the script without options: programs of large graphs take long to make.
PARTS = [
    (["autocast", "grad", "hessian", "vmap"], []),
    (["compile"], ["images, Best", "clouds, Weighted", "ragged clouds, Average", "sets", "graphs"]),
    (["export", "ONNX"], ["sets", "graphs"]),
    (["export"], ["clouds, PCA"]),
]


@pytest.mark.parametrize(("columns", "rows"), PARTS, ids=["cast-derive-map", "compile", "onnx", "export"])
def test_the_cells_are_true(columns, rows):
    done = run("--columns", *columns, *(["--rows", *rows] if rows else []))
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert found, done.stderr[-2000:]
    assert done.returncode == 0, "\n".join(map(str, found))


def test_a_cell_that_is_out_of_date_is_found(tmp_path):
    """Planted faults of both kinds: a yes that does not hold, and a no that does."""
    for row, old, new in (
        ("sets, Sorted", "yes | yes |\n", "no: planted | yes |\n"),
        ("clouds, Weighted", "no: another", "yes: another"),
    ):
        lines = PAGE.read_text(encoding="utf-8").splitlines(keepends=True)
        place = next(i for i, line in enumerate(lines) if line.startswith(f"| {row} "))
        assert old in lines[place]
        lines[place] = lines[place][::-1].replace(old[::-1], new[::-1], 1)[::-1]
        page = tmp_path / "page.md"
        page.write_text("".join(lines), encoding="utf-8")
        assert run("--columns", "vmap", "--rows", row, page=page).returncode == 1


def test_the_table_has_every_row_and_column():
    module = loaded(SCRIPT)
    cells = module.table(PAGE.read_text(encoding="utf-8"))
    assert set(cells) == {(row, column) for row in module.cases() for column in module.COLUMNS}
    assert all(cell.split(":")[0] in ("yes", "no", "-") for cell in cells.values())
    assert all(": " in cell for cell in cells.values() if cell.startswith("no"))
