"""Search on clouds of points: how near it comes to the law, its margin, and its messages."""

import pytest
import torch
from torch import nn

from canonize import (
    SE,
    SO,
    Best,
    C,
    D,
    Fields,
    Image,
    Index,
    O,
    Octahedral,
    Point,
    Rows,
    Scalar,
    Symmetry,
    SymmetryError,
    symmetrize,
)
from canonize.actions import move
from canonize.frames import Search

DOUBLE = torch.float64
INFINITE = [SO(2), O(2), SO(3), O(3)]


def brightness(x):
    """Not symmetric, for images and volumes of any size."""
    ramp = torch.ones((), dtype=x.dtype)
    for axis, size in enumerate(x.shape[2:]):
        ramp = ramp[..., None] * torch.linspace(1, 2 + axis / 2, size, dtype=x.dtype)
    return (x * ramp).flatten(1).mean(1)


def height(x):
    """A smooth energy of clouds (batch, n, d) without symmetry, and without many minima."""
    n, d = x.shape[1:]
    weight = 2 * torch.linspace(-1, 1, n * d, dtype=x.dtype).reshape(n, d).sin()
    squeeze = torch.tensor([1.0, 0.5, 0.25][:d], dtype=x.dtype)
    return (x * weight).sum((1, 2)) + 0.3 * (x.square() * squeeze).sum((1, 2))


def angles(one, other):
    """By how many rad elements differ; 3 where one is a reflection."""
    off = torch.linalg.matrix_norm(one - other) / 8**0.5
    same = torch.linalg.det(one) * torch.linalg.det(other) > 0
    return torch.where(same, 2 * off.clamp(max=1).asin(), 3.0)


class TestClouds:
    SETTINGS = {
        "golden": ({"steps": 12}, 1e-5, 0.2),
        "gradient": ({"refine": "gradient", "steps": 30}, 1e-12, 1e-8),
    }

    @pytest.mark.parametrize("name", SETTINGS)
    @pytest.mark.parametrize("group", INFINITE, ids=repr)
    def test_any_move_to_the_tolerance_of_the_search(self, group, name):
        settings, plane, space = self.SETTINGS[name]
        x = torch.randn(64, 5, group.dim, dtype=DOUBLE)
        h = group.sample(64, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
        frame, claim = Search(height, **settings), Symmetry(group, Point(), Scalar())
        poses, moved = frame(claim, x), frame(claim, Point()(h, x))
        assert poses.count == 1
        assert float(group.residual(poses.elements[0]).max()) < 1e-14
        off = angles(h @ poses.elements[0], moved.elements[0])
        assert float(off.median()) < (plane if group.dim == 2 else space)
        # In space some clouds have minima that the grid does not tell apart.
        assert float((off > 0.5).double().mean()) <= (0.0 if group.dim == 2 else 0.3 if name == "golden" else 0.1)

    @pytest.mark.parametrize("group", [C(64), D(64), C(5), D(3)], ids=repr)
    def test_finite_groups_agree_with_best_and_are_never_left(self, group):
        x = torch.randn(64, 5, 2, dtype=DOUBLE)
        claim = Symmetry(group, Point(), Scalar())
        found = Search(height)(claim, x)
        assert torch.equal(found.elements[0], Best(height)(claim, x).elements[0])
        table = group.elements(dtype=DOUBLE)
        assert bool((found.elements[0][:, None] == table).all(-1).all(-1).any(1).all())

    def test_an_even_energy_shares_its_two_poses(self):
        x, h = torch.randn(9, 5, 2, dtype=DOUBLE), SO(2).sample(9, dtype=DOUBLE)
        claim = Symmetry(SO(2), Point(), Scalar())
        net = nn.Sequential(nn.Flatten(), nn.Linear(10, 3)).double()
        frame = Search(lambda x: x[..., 0].square().sum(1), refine="gradient")
        assert frame(claim, x).weights.tolist() == [[0.5] * 9] * 2
        upright = symmetrize(net, claim, frame)
        torch.testing.assert_close(upright(Point()(h, x)), upright(x), rtol=0, atol=1e-12)

    def test_a_whole_group_is_shared_as_best_does(self):
        x = torch.randn(4, 5, 2, dtype=DOUBLE)
        poses = Search(lambda x: x.square().sum((1, 2)))(Symmetry(C(7), Point(), Scalar()), x)
        assert poses.count == 7
        assert poses.margin.tolist() == [1.0] * 4

    def test_rows_of_many_samples(self):
        data = {"pos": torch.randn(9, 3, dtype=DOUBLE), "batch": torch.tensor([0, 2, 0, 2, 1, 1, 0, 2, 1])}
        claim = Symmetry(SO(3), Fields(pos=Rows(Point()), batch=Index(loose=True)), Scalar())

        def energy(data):
            count = int(data["batch"].max()) + 1
            place = torch.arange(len(data["pos"]), dtype=DOUBLE)[:, None] % 9
            each = (data["pos"] * (place * torch.tensor([1.0, 2.0, 3.0], dtype=DOUBLE)).sin()).sum(1)
            return torch.zeros(count, dtype=DOUBLE).index_add(0, data["batch"], each)

        h = SO(3).sample(3, dtype=DOUBLE)
        frame = Search(energy, refine="gradient", steps=40)
        moved = frame(claim, move(claim.inputs, h, data))
        assert float(angles(h @ frame(claim, data).elements[0], moved.elements[0]).max()) < 1e-7

    def test_golden_finds_what_a_dense_grid_finds(self):
        x = torch.randn(6, 5, 2, dtype=DOUBLE)
        claim = Symmetry(SO(2), Point(), Scalar())
        dense = C(4096).elements(dtype=DOUBLE)
        best = dense[torch.stack([height(x @ g) for g in dense]).argmin(0)]
        assert float(angles(Search(height)(claim, x).elements[0], best).max()) < 1e-3


class TestMargin:
    def test_it_is_the_gap_of_minima_over_the_range_of_the_grid(self):
        """Energy cos(a) + cos(2 a) / 2 + ... of the angle alone: two minima that are known."""
        x = torch.tensor([[[1.0, 0.0]]], dtype=DOUBLE)

        def energy(x):
            angle = torch.atan2(x[:, 0, 1], x[:, 0, 0])
            return angle.mul(2).cos() + 0.3 * (angle - 0.2).cos()

        fine = torch.linspace(-torch.pi, torch.pi, 100001, dtype=DOUBLE)
        values = energy(torch.stack([fine.cos(), fine.sin()], -1)[:, None])
        inner = (values[1:-1] < values[:-2]) & (values[1:-1] < values[2:])
        low, second = values[1:-1][inner].sort().values[:2].tolist()
        grid = torch.arange(16, dtype=DOUBLE) * torch.pi / 8
        coarse = energy(torch.stack([grid.cos(), grid.sin()], -1)[:, None])
        wanted = (second - low) / float(coarse.max() - coarse.min())
        found = Search(energy)(Symmetry(SO(2), Point(), Scalar()), x)
        assert abs(float(found.margin) - wanted) < 1e-6
        # Also where the second minimum is not refined.
        assert 0 < float(Search(energy, beams=1)(Symmetry(SO(2), Point(), Scalar()), x).margin) < 3 * wanted

    @pytest.mark.parametrize("refine", ["golden", "gradient"])
    def test_an_invariant_energy_has_none(self, refine):
        x = torch.randn(3, 5, 2)
        found = Search(lambda x: x.square().sum((1, 2)), refine=refine)(Symmetry(SO(2), Point(), Scalar()), x)
        assert found.margin.tolist() == [0.0] * 3
        assert bool(found.elements.isfinite().all())

    def test_symmetric_images_are_no_ties(self):
        blank = torch.stack([torch.zeros(1, 12, 12), torch.full((1, 12, 12), 0.7)])
        margin = Search(brightness)(Symmetry(SO(2), Image(padding="zeros"), Scalar()), blank).margin
        assert margin[0] == 1.0
        assert float(margin[1]) > 0.5


CLOUDS = Symmetry(SO(2), Point(), Scalar())
BAD = [
    (lambda: Search(3), "Search needs an energy"),
    (lambda: Search(nn.Flatten), "Search needs an energy"),
    (lambda: Search(height, grid=3), r"bad grid\n  got:      3\n  expected: a whole number, at least 4"),
    (lambda: Search(height, beams=0), "bad beams"),
    (lambda: Search(height, steps=1), "bad steps"),
    (lambda: Search(height, budget=0), "bad budget(.|\n)*or None"),
    (lambda: Search(height, chunk=0), "bad chunk"),
    (lambda: Search(height, resolution=0), "bad resolution"),
    (lambda: Search(height, refine="newton"), "unknown refinement(.|\n)*'golden', 'gradient' or None"),
    (lambda: Search(height, width=0.0), "bad width"),
    (lambda: Search(height, implicit=True, refine=None), "no minimum and has no derivative"),
    (lambda: Search(height)(3, torch.rand(1, 2, 2)), "Search needs the claim"),
    (lambda: Search(height)(Symmetry(SE(2), Point(), Scalar()), torch.rand(1, 2, 2)), "subtract the mean"),
    (lambda: Search(height)(Symmetry(SO(4), Point(), Scalar()), torch.rand(1, 2, 4)), "does not know how to search"),
    (lambda: Search(height)(Symmetry(Octahedral(), Point(), Scalar()), torch.rand(1, 2, 3)), r"Best\(energy\)"),
    (lambda: Search(height, refine="gradient")(Symmetry(C(9), Point(), Scalar()), torch.rand(1, 2, 2)), "is finite"),
    (lambda: Search(height, implicit=True)(Symmetry(D(9), Point(), Scalar()), torch.rand(1, 2, 2)), r"O\(2\) as the group"),
    (lambda: Search(lambda x: x)(CLOUDS, torch.rand(1, 2, 2)), "one number for each candidate"),
    (lambda: Search(lambda x: x[:, 0, 0] / 0)(CLOUDS, torch.rand(2, 2, 2)), "not finite"),
    (lambda: Search(lambda x: x.detach()[:, 0, 0], refine="gradient")(CLOUDS, torch.rand(2, 2, 2)), "no derivative by the"),
    (lambda: Search(lambda x: x.detach()[:, 0, 0], implicit=True)(CLOUDS, torch.rand(2, 2, 2)), "no derivative by the pose"),
    (lambda: Search(brightness)(Symmetry(C(64), Image(), Scalar()), torch.rand(1, 1, 6, 4)), "exchanges height and width"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "words"), BAD, ids=range(len(BAD)))
def test_errors_say_what_to_do(make, words):
    with pytest.raises(SymmetryError, match=words):
        make()
