"""Oriented: poses from vectors that turn with the input."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from canonize import SE, SO, C, D, Image, O, Octahedral, Point, Scalar, Symmetry, SymmetryError, Vector, symmetrize
from canonize.actions import move
from canonize.frames import Oriented, oriented
from canonize.frames.oriented import columns
from canonize.testing import check_frame

DOUBLE = torch.float64
GROUPS = [SO(2), O(2), SO(3), O(3)]


def needed(group):
    return group.n - isinstance(group, SO)


def moments(x):
    """Vectors (batch, 3, d) of a cloud (batch, n, d) that turn with it."""
    square = x.square().sum(-1, keepdim=True)
    place = torch.linspace(-1, 1, x.shape[1], dtype=x.dtype)[:, None]
    return torch.stack([(square * x).sum(1), (place * x).sum(1), (place.cos() * x).sum(1)], 1)


def centroid(x):
    """The intensity-weighted mean place of each channel, (batch, channels, 2), x to the right and y up, in pixels."""
    height, width = x.shape[-2:]
    right = torch.arange(width, dtype=x.dtype) - (width - 1) / 2
    up = (height - 1) / 2 - torch.arange(height, dtype=x.dtype)
    return torch.stack([(x.sum(-2) * right).sum(-1), (x.sum(-1) * up).sum(-1)], -1) / x.sum((-2, -1))[..., None]


class Learned(nn.Module):
    """Weighted sums of points, with a parameter."""

    def __init__(self, points, vectors):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(vectors, points))

    def forward(self, x):
        return self.weight.to(x.dtype) @ x


def clouds(group, dtype=DOUBLE, batch=32):
    return torch.randn(batch, 6, group.n, dtype=dtype)


class TestLaws:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("group", GROUPS, ids=repr)
    def test_any_move_of_a_cloud(self, group, dtype):
        x, h = clouds(group, dtype), group.sample(32, dtype=dtype)
        frame, claim = Oriented(moments), Symmetry(group, Point(), Scalar())
        poses, moved = frame(claim, x), frame(claim, Point()(h, x))
        assert poses.elements.shape == (1, 32, group.n, group.n)
        assert poses.elements.dtype == poses.weights.dtype == dtype
        assert poses.spent == 1
        eps = torch.finfo(dtype).eps
        assert float(group.residual(poses.elements).max()) < 4 * eps
        # Rounding of the network's sums is felt the more, the nearer the vectors are to having no directions.
        off = (h @ poses.elements[0] - moved.elements[0]).abs().amax((1, 2))
        assert bool((off * poses.margin < 100 * eps).all())
        torch.testing.assert_close(moved.margin, poses.margin, rtol=0, atol=1000 * eps)
        assert bool(((poses.margin > 0) & (poses.margin < 1)).all())

    @pytest.mark.parametrize("group", GROUPS, ids=repr)
    def test_the_law_of_frames(self, group):
        checked = check_frame(Oriented(moments), Symmetry(group, Point(), Scalar()), clouds(group, batch=4))
        assert not checked.skipped

    @pytest.mark.parametrize("group", GROUPS, ids=repr)
    def test_a_model_behind_it_is_equivariant(self, group):
        x, h = clouds(group), group.sample(32, dtype=DOUBLE)
        bend = torch.arange(1.0, group.n + 1, dtype=DOUBLE)
        weight = torch.randn(6 * group.n, 3, dtype=DOUBLE)
        claim = Symmetry(group, Point(), (Vector(), Scalar()))
        mended = symmetrize(lambda x: ((x * bend).tanh(), x.flatten(1).sin() @ weight), claim, Oriented(moments))
        for found, wanted in zip(mended(Point()(h, x)), move(claim.outputs, h, mended(x)), strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)

    @pytest.mark.parametrize("sizes", [(64, 48), (224, 224), (15, 15)], ids=str)
    @pytest.mark.parametrize("group", [SO(2), O(2)], ids=repr)
    def test_quarter_and_half_turns_and_flips_of_images(self, group, sizes):
        x = torch.rand(3, 2, *sizes, dtype=DOUBLE)
        x[:, 0, : sizes[0] // 3] *= 3
        x[:, 1, :, : sizes[1] // 4] *= 4
        claim = Symmetry(group, Image(), Image())
        wave = torch.arange(1.0 * sizes[1], dtype=DOUBLE)
        mended = symmetrize(lambda x: (3 * x + wave).sin(), claim, Oriented(centroid))
        wanted = mended(x)
        for h in (D if isinstance(group, O) else C)(4 if sizes[0] == sizes[1] else 2).elements(dtype=DOUBLE):
            h = h.expand(3, 2, 2)
            moved = Image()(h, x)
            torch.testing.assert_close(
                mended.poses(moved).elements[0], h @ mended.poses(x).elements[0], rtol=0, atol=1e-12
            )
            torch.testing.assert_close(mended.canonical(moved), mended.canonical(x), rtol=0, atol=1e-10)
            torch.testing.assert_close(mended(moved), Image()(h, wanted), rtol=0, atol=1e-9)

    def test_shrunk_images_point_the_same_way(self):
        x = torch.rand(2, 1, 64, 64)
        x[:, :, :20, :30] += 2
        claim = Symmetry(SO(2), Image(), Scalar())
        full, small = Oriented(centroid)(claim, x), Oriented(centroid, resolution=8)(claim, x)
        assert float((full.elements - small.elements).abs().max()) < 0.1
        h = C(4).elements()[1].expand(2, 2, 2)
        again = Oriented(centroid, resolution=8)(claim, Image()(h, x))
        torch.testing.assert_close(again.elements[0], h @ small.elements[0], rtol=0, atol=1e-6)

    def test_the_columns_against_the_naive_twin(self):
        vectors = torch.randn(20, 3, 3, dtype=DOUBLE)
        g, _ = columns(vectors, 1.0)
        for sample in range(20):
            factor, triangle = torch.linalg.qr(vectors[sample].T)
            torch.testing.assert_close(g[sample], factor * triangle.diagonal().sign(), rtol=0, atol=1e-12)
        plane, _ = columns(vectors[:, :1, :2], 1.0)
        torch.testing.assert_close(plane[:, :, 0], nn.functional.normalize(vectors[:, 0, :2]))
        assert bool((torch.linalg.det(plane) > 0).all())


class TestMargin:
    def test_a_half_turn_symmetric_image_is_a_tie(self):
        x = torch.rand(2, 1, 24, 24, dtype=DOUBLE)
        x[1] = x[1] + x[1].rot90(2, (-2, -1))
        margin = Oriented(centroid)(Symmetry(SO(2), Image(), Scalar()), x).margin
        assert float(margin[0]) > 0.05
        assert float(margin[1]) < 1e-12

    @pytest.mark.parametrize("group", GROUPS, ids=repr)
    def test_vectors_without_directions_give_the_identity_and_margin_zero(self, group):
        claim = Symmetry(group, Point(), Scalar())
        x = clouds(group, batch=4)
        vectors = torch.randn(4, 3, group.n, dtype=DOUBLE)
        vectors[0] = 0.0
        vectors[1, needed(group) - 1] = 2 * vectors[1, 0] if needed(group) > 1 else 0.0
        vectors[2, 0] = 1e-300
        leaf = vectors.clone().requires_grad_()
        poses = Oriented(lambda x: leaf)(claim, x)
        unit = torch.eye(group.n, dtype=DOUBLE)
        assert torch.equal(poses.elements[0, :3], unit.expand(3, -1, -1))
        assert poses.margin[:3].tolist() == [0.0] * 3
        assert poses.margin[3] > 0
        weight = torch.randn(4, group.n, group.n, dtype=DOUBLE)
        (first,) = torch.autograd.grad((poses.elements[0] * weight).sum(), leaf, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), leaf)
        assert bool(first.isfinite().all())
        assert bool(second.isfinite().all())
        assert torch.equal(first[:3], torch.zeros_like(first[:3]))

    def test_what_it_is(self):
        vectors = torch.tensor(
            [[[2.0, 0, 0], [3.0, 4.0, 0]], [[0.1, 0, 0], [0, 9.0, 0]], [[50.0, 0, 0], [60.0, 6.0, 0]]]
        )
        _, margin = columns(vectors.double(), 1.0)
        torch.testing.assert_close(margin, torch.tensor([2 / 3, 0.1 / 1.1, 6 / 3636**0.5], dtype=DOUBLE))
        _, scaled = columns(vectors.double() * 1e-6, 1e-6)
        torch.testing.assert_close(scaled, margin)

    @pytest.mark.parametrize("size", [1e-150, 1.0, 1e200])
    def test_any_size_of_vectors(self, size):
        vectors = torch.randn(8, 3, 3, dtype=DOUBLE)
        wanted, margin = columns(vectors, 1.0)
        found, again = columns(vectors * size, size)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-14)
        torch.testing.assert_close(again, margin)

    def test_nearly_parallel_vectors_stay_orthogonal(self):
        vectors = torch.randn(8, 1, 3, dtype=DOUBLE).expand(8, 3, 3) + 1e-9 * torch.randn(8, 3, 3, dtype=DOUBLE)
        for count, group in ((2, SO(3)), (3, O(3))):
            g, margin = columns(vectors[:, :count], 1.0)
            assert float(group.residual(g).max()) < 1e-14
            assert bool((margin < 1e-8).all())


class TestGradient:
    @pytest.mark.parametrize("group", GROUPS, ids=repr)
    def test_first_and_second_derivatives(self, group):
        vectors = torch.randn(2, needed(group), group.n, dtype=DOUBLE, requires_grad=True)
        assert torch.autograd.gradcheck(lambda v: columns(v, 1.0)[0], vectors)
        assert torch.autograd.gradgradcheck(lambda v: columns(v, 1.0)[0], vectors)

    def test_the_network_learns_with_the_model(self):
        x, net = clouds(SO(3)), Learned(6, 2)
        mended = symmetrize(lambda x: x[:, 0].sin(), Symmetry(SO(3), Point(), Vector()), Oriented(net))
        assert "frame.network.weight" in dict(mended.named_parameters())
        mended(x).square().sum().backward()
        mended(x).sum().backward()
        assert float(net.weight.grad.abs().max()) > 0
        assert not mended.poses(x).margin.requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_shapes_and_dtypes(batch, dtype):
    for group in GROUPS:
        x = clouds(group, batch=batch).to(dtype)
        poses = Oriented(moments)(Symmetry(group, Point(), Scalar()), x)
        assert poses.elements.shape == (1, batch, group.n, group.n)
        assert poses.elements.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert poses.margin.shape == (batch,)
        assert poses.spent == 1


def test_autocast_does_not_round_the_elements():
    x, claim = clouds(SO(3), torch.float32), Symmetry(SO(3), Point(), Scalar())
    vectors = moments(x)
    with torch.autocast("cpu", torch.bfloat16):
        inside = Oriented(lambda x: vectors)(claim, x)
    assert torch.equal(inside.elements, Oriented(lambda x: vectors)(claim, x).elements)


def test_it_is_a_module_without_a_memory():
    frame, claim, x = Oriented(Learned(6, 2)), Symmetry(SO(3), Point(), Scalar()), clouds(SO(3))
    before, state, given = copy.copy(vars(frame)), torch.get_rng_state(), x.clone()
    wanted = frame(claim, x).elements
    assert vars(frame) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, given)
    assert "scale=1.0" in repr(frame)
    for copied in (pickle.loads(pickle.dumps(frame)), copy.deepcopy(frame)):
        assert torch.equal(copied(claim, x).elements, wanted)
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(found.elements, wanted) for found in pool.map(lambda _: frame(claim, x), range(8)))
    with torch.inference_mode():
        assert torch.equal(frame(claim, x.clone()).elements, wanted)


PLANE, SPACE = Symmetry(SO(2), Point(), Scalar()), Symmetry(O(3), Point(), Scalar())
X2, X3 = torch.rand(2, 4, 2), torch.rand(2, 4, 3)
BAD = [
    (lambda: Oriented(3), "Oriented needs a network"),
    (lambda: Oriented(nn.Flatten), "Oriented needs a network"),
    (lambda: Oriented(moments, resolution=0), "bad resolution"),
    (lambda: Oriented(moments, scale=0.0), "bad scale"),
    (lambda: Oriented(moments, scale=float("nan")), "bad scale"),
    (lambda: Oriented(moments)(3, X2), "Oriented needs the claim"),
    (lambda: Oriented(moments)(Symmetry(C(4), Point(), Scalar()), X2), r"no elements of C\(4\)(.|\n)*Scored\(network\)"),
    (lambda: Oriented(moments)(Symmetry(Octahedral(), Point(), Scalar()), X3), r"Scored\(network\)"),
    (lambda: Oriented(moments)(Symmetry(SE(3), Point(), Scalar()), X3), "subtract the mean"),
    (lambda: Oriented(moments)(Symmetry(SO(4), Point(), Scalar()), torch.rand(2, 4, 4)), r"SO\(2\), O\(2\), SO\(3\) or O\(3\)"),
    (lambda: Oriented(lambda x: moments(x)[:, :2])(SPACE, X3), r"\(2, m, 3\) with m at least 3"),
    (lambda: Oriented(lambda x: x.sum(1))(PLANE, X2), r"for one vector, vector\[:, None\]"),
    (lambda: Oriented(lambda x: x.long())(PLANE, X2), "must return vectors"),
    (lambda: Oriented(lambda x: x[:1])(PLANE, X2), "must return vectors"),
    (lambda: Oriented(lambda x: x / 0)(PLANE, X2), r"not finite(.|\n)*sample \[0, 1\]"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "words"), BAD, ids=range(len(BAD)))
def test_errors_say_what_to_do(make, words):
    with pytest.raises(SymmetryError, match=words):
        make()


class TestPlantedFaults:
    @pytest.mark.parametrize("group", GROUPS, ids=repr)
    def test_orthonormal_rows(self, group, monkeypatch):
        def wrong(vectors, scale):
            g, margin = columns(vectors, scale)
            return g.mT, margin

        monkeypatch.setattr(oriented, "columns", wrong)
        with pytest.raises(SymmetryError, match="equivariance"):
            check_frame(Oriented(moments), Symmetry(group, Point(), Scalar()), clouds(group, batch=4))

    def test_a_network_that_does_not_turn(self):
        with pytest.raises(SymmetryError, match="equivariance"):
            check_frame(
                Oriented(lambda x: moments(x.sin())), Symmetry(SO(3), Point(), Scalar()), clouds(SO(3), batch=4)
            )
