"""Dense outputs by name: depth, optical flow, segmentation, several heads at once, each turned back as what it is."""

import pytest
import torch
from torch import nn

from canonize import Average, Best, C, D, Image, LawError, Mask, Scalar, Symmetry, VectorImage, audit, symmetrize
from canonize.testing import assert_equivariant
from lists import brightness, draw, images

FRAMES = {"best": Best(brightness), "average": Average()}
BOTH = pytest.mark.parametrize("frame", FRAMES)
# The symmetries of a square grid, and those of 6 x 9.
SQUARE, OBLONG = (C(4), D(4)), (C(2), D(2))
GRIDS = [*((g, (7, 7)) for g in SQUARE), *((g, (6, 9)) for g in OBLONG)]
ALL = pytest.mark.parametrize(("group", "size"), GRIDS, ids=str)


def scenes(size, seed=0):
    """Three at random, one with nothing in it, one that is its own mirror image."""
    x = draw(5, 2, *size, seed=seed)
    x[3], x[4] = 0.5, x[4] + x[4].flip(-1)
    return x


class Heads(nn.Module):
    """A network without symmetry, with the heads that dense prediction knows."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Conv2d(2, 8, 3, padding=1)
        self.depth, self.flow, self.classes = (nn.Conv2d(8, out, 3, padding=1) for out in (1, 2, 4))
        self.double()

    def forward(self, x):
        seen = self.body(x).tanh()
        return {
            "depth": self.depth(seen).exp()[:, 0],
            "flow": self.flow(seen),
            "logits": self.classes(seen),
            "scene": seen.mean((2, 3)),
        }


CLAIMED = {"depth": Image(), "flow": VectorImage(), "logits": Image(), "scene": Scalar()}


@BOTH
@ALL
def test_many_heads(group, size, frame):
    claim = Symmetry(group, Image(), CLAIMED)
    assert_equivariant(symmetrize(Heads(), claim, FRAMES[frame]), claim, scenes(size), tolerance=1e-12)
    with pytest.raises(LawError):
        assert_equivariant(Heads(), claim, scenes(size))


@ALL
def test_segmentation_by_labels(group, size):
    net = Heads()
    claim = Symmetry(group, Image(), {"labels": Mask(), "logits": Image()})
    both = symmetrize(lambda x: {"labels": (y := net(x)["logits"]).argmax(1), "logits": y}, claim, Best(brightness))
    x = scenes(size)[:3]
    assert_equivariant(both, claim, x, tolerance=1e-12)
    found = both(x)
    assert torch.equal(found["labels"], found["logits"].argmax(1))


@ALL
def test_labels_of_averaged_logits(group, size):
    net, x = Heads(), scenes(size)[:3]
    averaged = symmetrize(lambda x: net(x)["logits"], Symmetry(group, Image(), Image()))
    assert_equivariant(lambda x: averaged(x).argmax(1), Symmetry(group, Image(), Mask()), x)


def blob(size, place, width=1.5):
    """A bright spot at (column, row), float64."""
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in size), indexing="ij")
    return torch.exp(-((columns - place[0]) ** 2 + (rows - place[1]) ** 2) / (2 * width**2))


def moving(size):
    """Pairs of images in which a spot moves by (right, down) pixels, and these moves."""
    moves = torch.tensor([[0.4, 0.0], [0.0, 0.4], [-0.2, 0.6]], dtype=torch.float64)
    start = torch.tensor([4.0, 3.0], dtype=torch.float64)
    pairs = torch.stack([torch.stack([blob(size, start), blob(size, start + step)]) for step in moves])
    return pairs, moves


def slopes(image):
    """The differences to the right and downwards, with the ends carried on."""
    wide = nn.functional.pad(image[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    return (wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2]) / 2, (wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1]) / 2


def flow_of(pairs):
    """The optical flow (right, down) of a pair of images by least squares over the whole image, shown where it is bright.

    Source: Lucas and Kanade, 1981.
    """
    first, second = pairs.unbind(1)
    across, down = slopes((first + second) / 2)
    later = second - first
    normal = torch.stack([(a * b).sum((1, 2)) for a in (across, down) for b in (across, down)], 1).reshape(-1, 2, 2)
    seen = torch.stack([(a * later).sum((1, 2)) for a in (across, down)], 1)
    motion = -torch.linalg.solve(normal, seen)
    return motion[:, :, None, None] * (first + second)[:, None]


def test_the_flow_is_what_moved():
    pairs, moves = moving((12, 12))
    found = flow_of(pairs)
    for i in range(3):
        peak = found[i][:, pairs[i].sum(0) == pairs[i].sum(0).max()][:, 0] / pairs[i].sum(0).max()
        assert (peak - moves[i]).abs().max() < 0.1


@pytest.mark.parametrize(("group", "size"), [(C(4), (12, 12)), (D(4), (12, 12)), (D(2), (8, 12))], ids=str)
def test_the_flow_of_a_turned_pair_is_the_turned_flow(group, size):
    pairs, _ = moving(size)
    claim = Symmetry(group, Image(), VectorImage())
    assert_equivariant(flow_of, claim, pairs, tolerance=1e-10)
    # Declared as a plain image, its vectors would be carried along without being turned.
    with pytest.raises(LawError):
        assert_equivariant(flow_of, Symmetry(group, Image(), Image()), pairs)
    with pytest.raises(LawError):
        assert_equivariant(lambda x: flow_of(x).flip(1), claim, pairs)


@BOTH
def test_a_flow_that_prefers_a_direction_is_mended(frame):
    pairs, _ = moving((12, 12))
    claim = Symmetry(D(4), Image(), VectorImage())

    def lopsided(x):
        return flow_of(x) * torch.tensor([1.0, 0.7], dtype=x.dtype)[:, None, None]

    assert audit(lopsided, claim, pairs, cost=False).verdict == "fail"
    assert_equivariant(symmetrize(lopsided, claim, FRAMES[frame]), claim, pairs, tolerance=1e-10)


def test_depth_is_moved_and_never_changed():
    depth = symmetrize(lambda x: x[:, :1].exp(), Symmetry(C(4), Image(), Image()), Best(brightness))
    x = images(torch.float64)[:1]
    assert torch.equal(depth(x), x[:, :1].exp())
