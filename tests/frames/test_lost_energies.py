"""Where nobody may look, in a graph and on a device, an energy that is no number makes the answer of its sample none."""

from __future__ import annotations

import pytest
import torch

from canonize import (
    SO,
    Best,
    C,
    Image,
    Octahedral,
    Oriented,
    Point,
    Scalar,
    Scored,
    Symmetry,
    SymmetryError,
    Vector,
    symmetrize,
)

LOST = [torch.nan, torch.inf]


class Network(torch.nn.Module):
    """Numbers or vectors of which the second sample's are lost."""

    def __init__(self, shape, lost):
        super().__init__()
        self.shape, self.lost = shape, lost

    def forward(self, x):
        flat = x.flatten(1)
        size = torch.Size(self.shape).numel()
        found = flat[:, torch.arange(size) % flat.shape[1]].reshape(-1, *self.shape)
        marked = (flat > 5).any(1).reshape(-1, *(1,) * len(self.shape))
        return torch.where(marked, self.lost, found)


def frames(lost):
    return {
        "Best": (C(4), Image(), Image(), Best(Network((), lost))),
        "Best of points": (Octahedral(), Point(), Vector(), Best(Network((), lost))),
        "Best, faded": (C(4), Image(), Scalar(), Best(Network((), lost), soft=0.5)),
        "Scored": (C(4), Image(), Image(), Scored(Network((4,), lost))),
        "Oriented": (SO(2), Image(), Scalar(), Oriented(Network((1, 2), lost))),
    }


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("name", frames(torch.nan))
def test_what_is_lost_does_not_pass(name, lost, monkeypatch):
    group, moved, outputs, frame = frames(lost)[name]
    x = torch.rand(3, 4, 3) if isinstance(moved, Point) else torch.rand(3, 1, 6, 6)
    x[1].view(-1)[0] = 9.0
    model = (lambda y: y.mean((1, 2, 3))) if isinstance(outputs, Scalar) else (lambda y: (y + 1).cumsum(-2))
    made = symmetrize(
        model if not isinstance(moved, Point) else lambda y: (y + 1).sum(1), Symmetry(group, moved, outputs), frame
    ).eval()
    with pytest.raises(SymmetryError, match="not finite"):
        made(x)
    good = [0, 2]
    wanted = made(x[good])
    with monkeypatch.context() as patched:
        patched.setattr(torch.compiler, "is_compiling", lambda: True)
        found = made(x)
    assert found[1].isnan().all()
    torch.testing.assert_close(found[good], wanted, rtol=1e-5, atol=1e-6)
