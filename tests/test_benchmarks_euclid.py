"""The benchmark of Euclidean frames stops at wrong rivals, sees broken frames, and draws what its JSON says."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType

import pytest
import torch

from canonize import PCA

FOLDER = Path(__file__).parent.parent / "benchmarks"


def loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the benchmarks."""
    for library in ("ase", "numpy", "rich", "safetensors"):
        pytest.importorskip(library, reason=f"the benchmarks need {library}: pip install -e '.[dev]'")
    monkeypatch.syspath_prepend(str(FOLDER))
    return __import__(name)


def published(*, wrong: bool = False):
    """The published function in short: centred, turned to the axes, the longest first."""

    def peer(pos: torch.Tensor, cell: None, method: str):
        pos = pos - pos.mean(0)
        axes = torch.linalg.eigh(pos.mT @ pos).eigenvectors.flip(-1)
        if wrong:
            axes = axes.mT
        every = torch.cartesian_prod(*[torch.tensor([1.0, -1.0])] * 3)
        return [pos @ (axes * sign) for sign in every], None, None

    return peer


@pytest.mark.parametrize("ragged", [False, True])
def test_rivals_that_do_something_else_are_found(ragged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    timed, data = loaded("_euclid_time", monkeypatch), sys.modules["_molecules"]
    x = torch.randn(6, 9, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2.0, 3.0])
    together = data.batch([(pos, torch.ones(9)) for pos in x]) if ragged else x
    claim = (data.RAGGED if ragged else data.DENSE)["E(3)"]
    timed.agree(claim, together, list(x), published())
    with pytest.raises(SystemExit, match="different copies"):
        timed.agree(claim, together, list(x), published(wrong=True))


def test_copies_are_as_many_as_poses_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    timed, data = loaded("_euclid_time", monkeypatch), sys.modules["_molecules"]
    claim = data.DENSE["E(3)"]
    x = torch.randn(5, 9, 3, generator=torch.Generator().manual_seed(0))
    x[2] = x[2] * torch.tensor([1.0, 1.0, 0.0])
    poses = PCA("ruled")(claim, x)
    assert len(timed.copies(claim, x, poses)) == int((poses.weights > 0).sum())


def test_a_frame_without_axes_is_seen_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    exact, data = loaded("_euclid_exact", monkeypatch), sys.modules["_molecules"]
    shapes = {name: data.symmetric()[name] for name in ("CH4", "C6H6", "C60", "H2O")}
    x = data.batch(list(shapes.values()), torch.float64)
    sizes = torch.ones(len(shapes), dtype=torch.float64)
    worst = {
        frame: exact._worst(list(shapes), x, sizes, "E(3)", frame, torch.float64, 3)["dipole"]
        for frame in (PCA(), PCA(fallback=None))
    }
    assert worst[PCA()]["error"] <= 1e-11
    assert worst[PCA(fallback=None)]["error"] > 1e-2
    assert worst[PCA(fallback=None)]["worst"] == "CH4"


def test_not_a_number_is_the_worst_error(monkeypatch: pytest.MonkeyPatch) -> None:
    exact, data = loaded("_euclid_exact", monkeypatch), sys.modules["_molecules"]
    monkeypatch.setattr(exact, "Generic", lambda: Lost(data.Generic()))
    shapes = {name: data.symmetric()[name] for name in ("CH4", "C6H6", "C60")}
    x = data.batch(list(shapes.values()), torch.float64)
    found = exact._worst(list(shapes), x, torch.ones(3, dtype=torch.float64), "SE(3)", PCA(), torch.float64, 1)
    assert found["dipole"]["error"] == float("inf")
    assert found["dipole"]["worst"] == "C6H6"


class Lost(torch.nn.Module):
    """A model that has no dipole for one molecule, except where it is asked first, in float64, for the typical size."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model, self.asked = model, False

    def forward(self, data: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        found = self.model(data)
        if self.asked:
            # Benzene is known by its twelve atoms.
            found["dipole"][torch.bincount(data["batch"]) == 12] = torch.nan
        self.asked = True
        return found


def test_the_exponent_of_a_power_law_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = loaded("_euclid_time", monkeypatch)
    assert timed.slope([(count, 3e-6 * count**1.5) for count in (10, 100, 1000)]) == pytest.approx(1.5)


def test_the_drawing_holds_every_point_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = loaded("_euclid", monkeypatch)
    counts, seconds = [100, 1000, 31623], [1.2e-4, 9e-4, 2.1]
    rows = [
        {"kind": kind, "frame": frame, "counts": counts, "seconds": seconds}
        for kind in ("points", "samples")
        for frame in ("one", "other")
    ]
    tree = ElementTree.fromstring(drawn.drawing({"atoms": 20, "rows": rows}))
    marks = [part for part in tree if part.tag.endswith(("circle", "rect"))]
    assert len(marks) == 4 * (len(counts) + 1)
    for mark in marks:
        x, y = (float(mark.get(f"c{axis}") or mark.get(axis)) for axis in "xy")
        assert 0 < x < drawn.WIDTH
        assert 0 < y < drawn.HEIGHT
