"""Poses that are read from the positions of a periodic system are told."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
import torch

from canonize import (
    PCA,
    SE,
    Centred,
    E,
    Fields,
    Index,
    Learned,
    O,
    Point,
    Polar,
    Rows,
    Scalar,
    Symmetry,
    Translation,
    Vector,
    Weighted,
)
from canonize.nn import VectorNeurons
from lists import draw

DOUBLE = torch.float64
FIELDS = {"pos": Rows(Point()), "cell": Vector(), "batch": Index()}
TOLD = "periodic system is read from its positions"


def crystals(pbc: Any = None) -> dict[str, torch.Tensor]:
    value = {"pos": draw(8, 3, dtype=DOUBLE), "batch": torch.arange(8) // 4}
    value["cell"] = 4 * torch.eye(3, dtype=DOUBLE) + 0.3 * draw(2, 3, 3, dtype=DOUBLE, seed=1)
    return value if pbc is None else value | {"pbc": torch.tensor(pbc)}


def claim(group: Any, *names: str) -> Symmetry:
    return Symmetry(group, Fields(**FIELDS, **dict.fromkeys(names, Scalar())), Scalar())


def pointing(data: Any) -> torch.Tensor:
    network = VectorNeurons(3, generator=torch.Generator().manual_seed(0)).double()
    return network(data["pos"], index=data["batch"])


FRAMES = [(PCA(), E(3)), (PCA(signs="ruled"), SE(3)), (Weighted(), O(3)), (Learned(pointing), E(3))]
FRAMES += [(Centred(), Translation(3))]


@pytest.mark.parametrize(("frame", "group"), FRAMES)
def test_each_frame_of_clouds_tells_once(frame: Any, group: Any) -> None:
    with pytest.warns(UserWarning, match=TOLD) as told:
        frame(claim(group), crystals())
    assert len(told) == 1
    assert str(told[0].message).startswith(type(frame).__name__)
    periodic = [[False, False, True], [False, False, False]]
    with pytest.warns(UserWarning, match=TOLD):
        frame(claim(group, "pbc"), crystals(periodic))


@pytest.mark.parametrize(("frame", "group"), FRAMES)
def test_what_is_not_periodic_is_not_told_of(frame: Any, group: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame(claim(group, "pbc"), crystals([[False] * 3] * 2))
        frame(claim(group), crystals() | {"cell": torch.zeros(2, 3, 3, dtype=DOUBLE)})
        alone = {name: part for name, part in crystals().items() if name != "cell"}
        frame(Symmetry(group, Fields(pos=Rows(Point()), batch=Index()), Scalar()), alone)


def test_what_is_read_from_the_cell_is_not_told_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Polar(of="cell")(claim(O(3)), crystals())
        Weighted(of="cell")(claim(O(3)), crystals())


def test_the_pose_does_depend_on_how_atoms_are_wrapped() -> None:
    """The reason for the warning."""
    one = crystals()
    two = one | {"pos": one["pos"] + torch.eye(8, dtype=DOUBLE)[:, :1] * one["cell"][0, 0]}
    with pytest.warns(UserWarning, match=TOLD):
        first, second = (PCA(signs="ruled", fallback=None)(claim(O(3)), each).elements for each in (one, two))
    assert (first[:, 0] - second[:, 0]).abs().max() > 1e-2
    assert torch.equal(first[:, 1], second[:, 1])


def test_it_can_be_silenced_by_its_words() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=f".*{re.escape(TOLD)}")
        PCA()(claim(E(3)), crystals())
