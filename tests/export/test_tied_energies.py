"""Among candidates of one energy and other content a graph takes the one that eager takes: contents decide, not rounding."""

from __future__ import annotations

import pytest
import torch

from canonize import (
    Best,
    C,
    D,
    Fields,
    Image,
    Octahedral,
    Point,
    Scalar,
    Symmetry,
    Vector,
    VectorImage,
    generated_by,
    symmetrize,
)
from canonize.groups.finite import FiniteMatrixGroup

torch.manual_seed(0)
CLAIMS = {
    "points": (Symmetry(C(4), Point(), Vector()), torch.randn(3, 5, 2), lambda x: (x + 1).cumsum(1).tanh().sum(1)),
    "solids": (
        Symmetry(Octahedral(), Point(), Vector()),
        torch.randn(3, 4, 3),
        lambda x: (x + 1).cumsum(1).tanh().sum(1),
    ),
    "winds": (
        Symmetry(C(4), VectorImage(), Scalar()),
        torch.randn(3, 2, 4, 4),
        lambda x: (x * torch.arange(1.0, 5)).cumsum(-1).tanh().sum((1, 2, 3)),
    ),
    "both": (
        Symmetry(C(4), Fields(at=Point(), seen=Image()), Scalar()),
        {"at": torch.randn(3, 5, 2), "seen": torch.rand(3, 1, 4, 4)},
        lambda x: (x["at"] + 1).cumsum(1).tanh().sum((1, 2)) + (x["seen"] * torch.arange(4.0)).sum((1, 2, 3)),
    ),
}


def indifferent(x):
    part = x["at"] if isinstance(x, dict) else x
    return part.square().flatten(1).sum(1).round() * 0


def graphs_way(made, x, monkeypatch):
    """What a graph computes, step by step: no value is looked at."""
    with monkeypatch.context() as patched:
        patched.setattr(torch.compiler, "is_compiling", lambda: True)
        return made(x)


@pytest.mark.parametrize("name", CLAIMS)
def test_contents_decide_in_a_graph_too(name, monkeypatch):
    claim, x, model = CLAIMS[name]
    made = symmetrize(model, claim, Best(indifferent)).eval()
    assert made.poses(x).weights.shape[0] == 1
    torch.testing.assert_close(graphs_way(made, x, monkeypatch), made(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CLAIMS)
def test_a_graph_that_took_the_group_for_one_that_rounds_is_found(name, monkeypatch):
    """The planted fault."""
    claim, x, model = CLAIMS[name]
    made = symmetrize(model, claim, Best(indifferent)).eval()
    wanted = made(x)
    monkeypatch.setattr(FiniteMatrixGroup, "signed", False)
    assert not torch.allclose(graphs_way(made, x, monkeypatch), wanted, atol=1e-3)


def test_which_groups_move_entries_alone():
    shear = generated_by(torch.tensor([[0.0, -1.0], [1.0, 1.0]]))
    assert shear.order == 6
    moving = (C(1), C(2), C(4), D(4), Octahedral(), generated_by(torch.eye(4).roll(1, 0)))
    assert all(group.signed for group in moving)
    assert not any(group.signed for group in (C(3), C(8), D(6), shear))
    assert all(
        group.signed == bool(Vector().bitwise(group.elements(), torch.zeros(group.order, group.dim)).all())
        for group in (*moving, C(3), C(8), D(6), shear)
    )
