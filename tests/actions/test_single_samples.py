"""A shape that is one sample without its batch axis more often than a batch is told, at the user's line, and answered."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from canonize import (
    SE,
    SO,
    Best,
    C,
    E,
    Fields,
    Image,
    Index,
    Mask,
    Point,
    Rows,
    Scalar,
    Symmetry,
    Translation,
    audit,
    symmetrize,
)
from canonize.actions.single import sure_of_batches
from canonize.integrations.sklearn import SymmetrizedClassifier
from canonize.testing import assert_equivariant

pytestmark = pytest.mark.usefixtures("unchecked")


def energy(x):
    return x.flatten(1)[:, 0]


def spread(x):
    return (x - x.mean(-2, keepdim=True)).square().flatten(1).sum(1)


def draw(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


IMAGES = Symmetry(C(4), Image(), Image())
CONV = symmetrize(nn.Conv2d(3, 3, 3, padding=1), IMAGES, Best(energy)).eval()
LABELS = symmetrize(nn.Identity(), Symmetry(C(4), Mask(), Mask()), Best(energy)).eval()
CLOUDS = {group: symmetrize(spread, Symmetry(group, Point(), Scalar())) for group in (SE(3), E(3), Translation(3))}
PAIR = Symmetry(C(4), Fields(picture=Image(), label=Scalar()), Image())


class Picture(nn.Module):
    def forward(self, value):
        return value["picture"]


class PerRow(nn.Module):
    def forward(self, value):
        return value["pos"]


ROWS = Symmetry(SE(3), Fields(pos=Rows(Point()), batch=Index()), Rows(Point()))
OF_ROWS = symmetrize(PerRow(), ROWS)


def reach(value):
    return (value["cloud"].mean(1) - value["gripper"]).norm(dim=1)


GRASP = symmetrize(reach, Symmetry(SE(3), Fields(cloud=Point(), gripper=Point()), Scalar()))
TOLD = {
    "RGB": (CONV, draw(3, 16, 16), (r"^\(3, 16, 16\) declared Image\(\) is read as 3 samples of 16 x 16 without channels; "
            r"one image needs its batch axis: x\[None\]$")),
    "array": (symmetrize(np.tanh, IMAGES), draw(4, 6, 6).numpy(), r"^\(4, 6, 6\) declared .*4 samples of 6 x 6"),
    "one channel": (symmetrize(nn.Tanh(), IMAGES), draw(1, 6, 6), r"1 sample of 6 x 6"),
    "by name": (symmetrize(Picture(), PAIR), {"picture": draw(3, 4, 4), "label": draw(3)}, r"^picture \(3, 4, 4\)"),
    **{f"cloud, {group!r}": (model, draw(4, 3), (r"^\(4, 3\) declared Point\(\) is read as 4 samples of one point; one cloud "
       r"needs its batch axis: x\[None\]$")) for group, model in CLOUDS.items()},
}  # fmt: skip
QUIET = {
    "a batch": (CONV, draw(2, 3, 16, 16)),
    "two images without channels": (symmetrize(nn.Tanh(), IMAGES), draw(2, 6, 6)),
    "labels of pixels, which have no channels": (LABELS, draw(3, 6, 6)),
    "many images without channels": (symmetrize(nn.Tanh(), IMAGES), draw(7, 6, 6)),
    "clouds": (CLOUDS[SE(3)], draw(2, 4, 3)),
    "directions that no shift takes away": (symmetrize(spread, Symmetry(SO(3), Point(), Scalar())), draw(4, 3)),
    "points beside clouds": (GRASP, {"cloud": draw(4, 5, 3), "gripper": draw(4, 3)}),
    "rows": (OF_ROWS, {"pos": draw(4, 3), "batch": torch.tensor([0, 0, 0, 0])}),
}  # fmt: skip


@pytest.mark.parametrize(("model", "x", "says"), TOLD.values(), ids=list(TOLD))
def test_a_shape_that_may_be_one_sample_is_told_at_the_line_of_the_call(model, x, says):
    with pytest.warns(UserWarning, match=says) as found:
        model(x)
    assert [one.filename for one in found] == [__file__]


@pytest.mark.parametrize(("model", "x"), QUIET.values(), ids=list(QUIET))
def test_what_can_only_be_a_batch_is_not_told(model, x):
    """Warnings are errors here."""
    model(x)


def test_it_is_told_once_for_each_line():
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        for _ in range(3):
            CONV(draw(3, 16, 16))
        CONV(draw(3, 16, 16))
    assert len(found) == 2
    assert len({one.lineno for one in found}) == 2


def test_the_answer_is_the_same_as_before():
    """A batch of images without channels goes on."""
    x, model = draw(3, 6, 6), symmetrize(nn.Tanh(), IMAGES)
    with pytest.warns(UserWarning, match="3 samples"):
        answer = model(x)
    assert torch.equal(answer, model(torch.cat([x, x]))[:3])


@pytest.mark.parametrize("verb", [lambda *args: audit(*args, cost=False), assert_equivariant], ids=["audit", "assert"])
def test_audits_tell_it_of_the_inputs_and_not_of_their_parts(verb):
    """Of 5 images the last part holds one; a planted twin that looks at every call is caught here."""
    model = symmetrize(nn.Tanh(), IMAGES)
    with pytest.warns(UserWarning, match="read as 3 samples of 6 x 6") as found:
        verb(nn.Tanh(), IMAGES, draw(3, 6, 6))
    assert [one.filename for one in found] == [__file__]
    audit(model, IMAGES, draw(5, 6, 6), batch_size=4, cost=False)


def test_rows_of_a_table_whose_shape_was_said_are_not_told():
    turns = SymmetrizedClassifier(symmetry=Symmetry(C(4), Image(), Scalar()), shape=(4, 4))
    x = draw(8, 16).numpy()
    turns.fit(x, np.arange(8) % 2).predict(x[:3])


def test_nothing_is_told_in_a_program_or_under_vmap():
    x, model = draw(4, 3), CLOUDS[Translation(3)]
    torch.compile(model, backend="eager", fullgraph=True)(x)
    torch.func.vmap(model)(x[None])


def test_whoever_is_sure_hears_nothing_and_only_inside():
    with sure_of_batches():
        CONV(draw(3, 16, 16))
    with pytest.warns(UserWarning, match="3 samples"):
        CONV(draw(3, 16, 16))
