"""What symmetrize promises: the claim holds to rounding, for every input, frame, output and chunk."""

import dataclasses

import pytest
import torch
from torch import nn

from canonize import (
    Average,
    Best,
    Boxes,
    C,
    D,
    Fields,
    Image,
    Index,
    Keypoints,
    Keywords,
    Mask,
    Nodes,
    Octahedral,
    Pairs,
    Point,
    Rows,
    S,
    Sampled,
    Scalar,
    Symmetry,
    VectorImage,
    Volume,
    symmetrize,
)
from canonize.testing import assert_equivariant
from lists import brightness, constant, draw, even_images, flat_energy, folded, images, ragged, with_ties

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
PRECISIONS = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


class Cnn(nn.Module):
    """A small network with random weights and no symmetry."""

    def __init__(self, out=5, dtype=torch.float32, dense=False, channels=2):
        super().__init__()
        torch.manual_seed(0)
        head = [] if dense else [nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(9 * 8, out)]
        last = out if dense else 8
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, last, 3, padding=1), *head
        )
        self.to(dtype)

    def forward(self, x):
        return self.layers(x)


class Learned(nn.Module):
    """A learned energy."""

    def __init__(self, dtype):
        super().__init__()
        self.net = Cnn(1, dtype)

    def forward(self, x):
        return self.net(x)[:, 0]


FRAMES = {
    "default": lambda dtype: None,
    "best": lambda dtype: Best(brightness),
    "folded": lambda dtype: Best(folded),
    "constant": lambda dtype: Best(constant),
    "learned": lambda dtype: Best(Learned(dtype)),
    "small": lambda dtype: Best(Learned(dtype), resolution=4),
}
SCALES = {"plain": 1.0, "tiny": 1e-30, "huge": 1e30}
ALL = pytest.mark.parametrize("frame", FRAMES)
GROUPS = pytest.mark.parametrize("group", [C(4), D(4)], ids=str)


@PRECISIONS
@GROUPS
@ALL
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("make", [images, even_images], ids=["odd", "even"])
def test_invariant_outputs(dtype, group, frame, scale, make):
    model = symmetrize(Cnn(dtype=dtype), Symmetry(group, Image(), Scalar()), FRAMES[frame](dtype))
    x = make(dtype) * SCALES[scale]
    checked = assert_equivariant(model, model.symmetry, x, tolerance=TOLERANCE[dtype])
    assert not checked.skipped


def dense(out, dtype):
    return Cnn(out, dtype, dense=True)


class Several(nn.Module):
    """A network with one output of each kind."""

    def __init__(self, dtype):
        super().__init__()
        self.net, self.flow, self.heads = dense(3, dtype), dense(2, dtype), Cnn(6, dtype)

    def outputs(self, x):
        heads = self.heads(x)
        corner = heads[:, :2, None].mT
        return (
            self.net(x),
            self.flow(x),
            torch.cat([corner, corner + heads[:, 2:4, None].mT.abs()], -1),
            heads[:, None, 4:],
        )

    def forward(self, x):
        return self.outputs(x)


@dataclasses.dataclass
class Answer:
    map: torch.Tensor
    flow: torch.Tensor
    boxes: torch.Tensor
    points: torch.Tensor
    note: str = "kept"


class AsDict(Several):
    def forward(self, x):
        return dict(zip(("map", "flow", "boxes", "points"), self.outputs(x), strict=True))


class AsDataclass(Several):
    def forward(self, x):
        return Answer(*self.outputs(x))


PARTS = {"map": Image(), "flow": VectorImage(), "boxes": Boxes((7, 7)), "points": Keypoints((7, 7))}
TREES = {
    "tuple": (Several, tuple(PARTS.values())),
    "dict": (AsDict, PARTS),
    "dataclass": (AsDataclass, Fields(PARTS)),
}


@PRECISIONS
@GROUPS
@pytest.mark.parametrize("frame", ["default", "best", "constant", "small"])
@pytest.mark.parametrize("tree", TREES)
def test_equivariant_outputs(dtype, group, frame, tree):
    kind, outputs = TREES[tree]
    model = symmetrize(kind(dtype), Symmetry(group, Image(), outputs), FRAMES[frame](dtype))
    assert_equivariant(model, model.symmetry, images(dtype), tolerance=TOLERANCE[dtype])
    answer = model(images(dtype))
    assert tree != "dataclass" or (type(answer) is Answer and answer.note == "kept")


@GROUPS
@pytest.mark.parametrize("frame", ["best", "folded", "constant", "learned", "small"])
def test_masks_are_exactly_equal(group, frame):
    net = dense(3, torch.float32)
    model = symmetrize(lambda x: net(x).argmax(1), Symmetry(group, Image(), Mask()), FRAMES[frame](torch.float32))
    assert_equivariant(model, model.symmetry, images(torch.float32))


@PRECISIONS
@pytest.mark.parametrize(
    "frame", [Average(), Best(brightness, resolution=2), Best(constant)], ids=["average", "best", "flat"]
)
def test_volumes(dtype, frame):
    torch.manual_seed(0)
    net = nn.Conv3d(1, 2, 3, padding=1).to(dtype)
    x = torch.cat([draw(2, 1, 4, 4, 4, dtype=dtype), torch.ones(1, 1, 4, 4, 4, dtype=dtype)])
    claim = Symmetry(Octahedral(), Volume(), (Volume(), Scalar()))
    model = symmetrize(lambda v: (net(v).tanh(), net(v).tanh()[:, :, 0, 0]), claim, frame)
    assert_equivariant(model, claim, x, tolerance=TOLERANCE[dtype])


def attention(x):
    """A model of sets that depends on the order of the rows."""
    n = torch.arange(x.shape[1], dtype=x.dtype)[:, None]
    mixed = (x * (1 + n)).cumsum(1).sin()
    return mixed.sum(1), mixed, mixed @ (mixed * n).mT


@PRECISIONS
@pytest.mark.parametrize(
    "make", [with_ties, lambda d: draw(3, 0, 2, dtype=d), lambda d: draw(3, 1, 2, dtype=d)], ids=["ties", "n=0", "n=1"]
)
def test_sets(dtype, make):
    x = make(dtype)
    claim = Symmetry(S(x.shape[1]), Nodes(), (Scalar(), Nodes(), Pairs()))
    model = symmetrize(attention, claim)
    assert_equivariant(model, claim, x, tolerance=TOLERANCE[dtype])


def test_equal_rows_get_the_average_over_their_exchanges():
    x = with_ties(torch.float64)[:2]
    claim = Symmetry(S(5), Nodes(), (Scalar(), Nodes(), Pairs()))
    upright = symmetrize(attention, claim)
    rows = x[0].tolist()
    order = torch.tensor(sorted(range(5), key=lambda i: rows[i]))
    answer, naive = upright(x)[1][0], torch.zeros(5, 2, dtype=torch.float64)
    exchanges = [g for g in S(5).elements() if x[0][order][g].tolist() == x[0][order].tolist()]
    shown = attention(x[:1, order])[1][0]
    naive[order] = torch.stack([shown[g] for g in exchanges]).mean(0)
    torch.testing.assert_close(answer, naive)


def cloud_model(data):
    pos, index = data["pos"], data["batch"]
    bent = (pos * torch.tensor([1.0, 2.0, 3.0], dtype=pos.dtype)).sin()
    count = int(index.max()) + 1 if len(index) else 0
    return {
        "energy": torch.zeros(count, 3, dtype=pos.dtype).index_add(0, index, bent.exp()),
        "force": bent,
        "batch": index,
    }


@PRECISIONS
@pytest.mark.parametrize("frame", [Average(), Best(flat_energy)], ids=["average", "best"])
@pytest.mark.parametrize("chunk", [1, 5, 24])
def test_ragged_batches(dtype, frame, chunk):
    inputs = Fields(pos=Rows(Point()), batch=Index(loose=True))
    claim = Symmetry(Octahedral(), inputs, {"energy": Scalar(), "force": Rows(Point()), "batch": Index()})
    model = symmetrize(cloud_model, claim, frame, chunk=chunk)
    checked = assert_equivariant(model, claim, ragged(dtype), tolerance=TOLERANCE[dtype])
    assert not checked.skipped
    assert model(ragged(dtype))["batch"].tolist() == ragged(dtype)["batch"].tolist()


@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_average_is_the_brute_force_mean_whatever_the_chunk(chunk):
    net, x = Cnn(dtype=torch.float64), images(torch.float64)
    claim = Symmetry(D(4), Image(), Scalar())
    naive = torch.stack([net((x.flip(-1) if f else x).rot90(k, (-2, -1))) for k in range(4) for f in (0, 1)]).mean(0)
    torch.testing.assert_close(symmetrize(net, claim, chunk=chunk)(x), naive, rtol=1e-12, atol=1e-12)


def test_sampled_converges_to_the_average():
    net, x = Cnn(dtype=torch.float64), images(torch.float64)
    claim = Symmetry(C(4), Image(), Scalar())
    estimate = symmetrize(net, claim, Sampled(400), chunk=100)(x, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(estimate, symmetrize(net, claim)(x), rtol=0, atol=0.05)


def test_several_arguments_and_keywords():
    net, x = Cnn(dtype=torch.float64), images(torch.float64)
    shift = draw(6, 5)
    two = symmetrize(lambda a, b: net(a) + b, Symmetry(C(4), (Image(), Scalar()), Scalar()))
    named = symmetrize(
        lambda pixels, b: net(pixels) + b, Symmetry(C(4), Keywords(pixels=Image(), b=Scalar()), Scalar())
    )
    assert torch.equal(two(x, shift), named(b=shift, pixels=x))
    assert_equivariant(two, two.symmetry, (x, shift))
    assert_equivariant(named, named.symmetry, {"pixels": x, "b": shift})


def test_an_output_declared_none_is_left_alone_by_a_single_pose():
    model = symmetrize(lambda x: (brightness(x), "note"), Symmetry(C(4), Image(), (Scalar(), None)), Best(brightness))
    assert model(images(torch.float32))[1] == "note"


def test_weight_zero_counts_for_nothing():
    def model(x):
        return torch.where(x[:, :1, 0, 0] > x[:, :1, 0, -1], x[:, :1, 0, 0], torch.inf)

    def frame(symmetry, inputs, *, generator=None):
        poses = Average()(symmetry, inputs)
        corners = torch.stack(
            [inputs.rot90(-k, (-2, -1))[:, 0, 0, 0] > inputs.rot90(-k, (-2, -1))[:, 0, 0, -1] for k in range(4)]
        )
        weights = corners.to(inputs.dtype)
        return type(poses)(poses.elements, weights / weights.sum(0))

    x = draw(3, 1, 4, 4)
    claim = Symmetry(C(4), Image(), Scalar())
    assert symmetrize(model, claim, frame)(x).isfinite().all()
    assert_equivariant(symmetrize(model, claim, frame), claim, x)


@pytest.mark.parametrize("frame", [Average(), Best(brightness)], ids=["average", "best"])
def test_gradients(frame):
    net = Cnn(2, torch.float64)
    model = symmetrize(net, Symmetry(C(4), Image(), Scalar()), frame)
    x = draw(2, 2, 4, 4).requires_grad_()
    assert torch.autograd.gradcheck(model, x, fast_mode=True)
    model(x).sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("frame", ["default", "best", "constant"])
def test_gradients_are_finite_at_ties(frame):
    model = symmetrize(Cnn(dtype=torch.float64), Symmetry(C(4), Image(), Scalar()), FRAMES[frame](torch.float64))
    x = images(torch.float64).requires_grad_()
    model(x).square().sum().backward()
    assert x.grad.isfinite().all()


def test_empty_batches():
    for frame in (None, Best(brightness), Best(brightness, resolution=2), Sampled(2)):
        model = symmetrize(Cnn(), Symmetry(C(4), Image(), Scalar()), frame)
        assert model(images(torch.float32)[:0]).shape == (0, 5)
    assert symmetrize(attention, Symmetry(S(5), Nodes(), (Scalar(), Nodes(), Pairs())))(draw(0, 5, 2))[1].shape == (
        0,
        5,
        2,
    )


def test_not_a_number_is_passed_on_not_hidden():
    x = images(torch.float32)
    x[0, 0, 0, 0] = torch.nan
    answer = symmetrize(Cnn(), Symmetry(C(4), Image(), Scalar()))(x)
    assert answer[0].isnan().any()
    assert answer[1:].isfinite().all()
