"""The example of Laplacian encodings."""

import re
import runpy
from pathlib import Path

import pytest

pytest.importorskip("torch_geometric", reason="torch-geometric is not installed")

SCRIPT = Path(__file__).parents[2] / "examples" / "laplacian_encoding.py"


def test_copies_get_one_answer(capsys):
    runpy.run_path(str(SCRIPT), run_name="__main__")
    told = capsys.readouterr().out
    random, canonical = (float(number) for number in re.findall(r"(\S+) between copies", told))
    assert random > 0.1
    # The rounding of float32.
    assert 0 <= canonical < 1e-5
    rows = {line.split()[0]: line.split()[1:] for line in told.splitlines() if "fixed" in line or "open" in line}
    assert rows["benzene"] == ["open"] * 4
    assert rows["menthol"] == ["fixed"] * 4
    assert "graph 0, eigenvalue 0.5: dimension 2, open" in told
