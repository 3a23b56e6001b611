"""The example of a graph network on molecules."""

import re
import runpy
from pathlib import Path

import pytest

pytest.importorskip("torch_geometric", reason="torch-geometric is not installed")

SCRIPT = Path(__file__).parents[2] / "examples" / "pyg_molecules.py"


def test_the_energies_become_invariant(capsys):
    runpy.run_path(str(SCRIPT), run_name="__main__")
    told = capsys.readouterr().out
    plain, behind = (float(number) for number in re.findall(r"(\S+) of the energy changes", told))
    # The plain network is off by the size of its answers, the other by the rounding of float32.
    assert plain > 0.1
    assert 0 <= behind < 1e-5
    assert "pos=Rows(Point())" in told
    assert float(re.search(r"moved back: (\S+) Angstrom", told)[1]) < 1e-5
