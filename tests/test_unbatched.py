"""A single sample without a batch axis is told, with any action; what is not that is left as it was."""

import pytest
import torch
from torch import nn

from canonize import (
    SO,
    Best,
    C,
    Confidence,
    Fields,
    Image,
    Point,
    Scalar,
    Symmetry,
    SymmetryError,
    Vector,
    symmetrize,
)
from test_errors import refused

pytestmark = pytest.mark.usefixtures("unchecked")

CLAIM = Symmetry(C(4), Image(), Scalar())
FLAT = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 36, 3))
X = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))


class OfPoints(nn.Module):
    """A vector (batch, 3) of points (batch, count, 3) and their charges (batch, count)."""

    def forward(self, value):
        return torch.einsum("bpx,bp->bx", value["pos"], value["charge"])


def arrays(x):
    return x.reshape(x.shape[0], 192)[:, :5].dot(torch.ones(5, 2).numpy())


ONE = {"pos": torch.rand(5, 3), "charge": torch.rand(5)}
CHARGED = Symmetry(SO(3), Fields(pos=Point(), charge=Scalar()), Vector())
SINGLE = {
    "image": (symmetrize(FLAT, CLAIM), X),
    "image, in eval mode": (symmetrize(FLAT, CLAIM).eval(), X),
    "image, an energy that fails first": (symmetrize(FLAT, CLAIM, Best(Confidence(FLAT))).eval(), X),
    "image, arrays": (symmetrize(arrays, CLAIM), X.numpy()),
    "points": (symmetrize(OfPoints(), CHARGED), ONE),
}  # fmt: skip


@pytest.mark.parametrize(("model", "one"), SINGLE.values(), ids=list(SINGLE))
def test_one_sample_without_a_batch_axis_is_told(model, one):
    before = {name: part.clone() for name, part in model.state_dict().items()}
    state = torch.random.get_rng_state()
    refused(lambda: model(one), r"without a batch axis(.|\n)*\(N, (3, 8, 8|5, 3)\)(.|\n)*x\[None\]")
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, part in model.state_dict().items():
        assert torch.equal(part, before[name]), name


class Broken(nn.Module):
    """Fails whatever comes."""

    def forward(self, x):
        raise RuntimeError("broken")


class Picky(nn.Module):
    """Takes values with any number of axes, and no batch of five."""

    def forward(self, x):
        if x.shape[0] == 5:
            raise RuntimeError("no batch of five")
        return x.flatten(1)[:, :2]


RAW = {
    "picky": (symmetrize(Picky(), CLAIM), torch.rand(5, 3, 8, 8), "no batch of five"),
    "broken": (symmetrize(Broken(), CLAIM), X[None], "broken"),
    "broken, one sample": (symmetrize(Broken(), CLAIM), X, "broken"),
    "channels": (symmetrize(FLAT, CLAIM), X[None, :2], "channels"),
    "energy": (symmetrize(nn.Flatten(), CLAIM, Best(Broken())), X[None], "broken"),
}


@pytest.mark.parametrize(("model", "x", "says"), RAW.values(), ids=list(RAW))
def test_other_errors_come_out_as_they_were(model, x, says):
    """The planted twin: a check that blames the batch axis for every error is caught here."""
    with pytest.raises(RuntimeError, match=says) as caught:
        model.eval()(x)
    assert not isinstance(caught.value, SymmetryError)


def test_images_without_channels_go_on_as_before():
    """(N, H, W) is a batch of images, so that no action may refuse three axes."""
    with pytest.warns(UserWarning, match=r"\(3, 8, 8\) declared Image\(\) is read as 3 samples"):
        assert symmetrize(nn.Flatten(), CLAIM)(X).shape == (3, 64)


def test_all_out_of_memory_is_not_asked_again():
    calls = []

    class Full(nn.Module):
        def forward(self, x):
            calls.append(x.shape)
            raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError):
        symmetrize(Full(), CLAIM)(X)
    assert len(calls) == 1
