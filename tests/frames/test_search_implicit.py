"""The derivative of the minimum that a search has found."""

import pytest
import torch
from torch import nn

from canonize import SO, Image, O, Point, Scalar, Symmetry, symmetrize
from canonize.frames import Search
from canonize.frames.descent import Probe
from canonize.frames.implicit import minimiser

DOUBLE = torch.float64


def height(x):
    """A smooth energy of clouds (batch, n, d) without symmetry, and without many minima."""
    n, d = x.shape[1:]
    weight = 2 * torch.linspace(-1, 1, n * d, dtype=x.dtype).reshape(n, d).sin()
    squeeze = torch.tensor([1.0, 0.5, 0.25][:d], dtype=x.dtype)
    return (x * weight).sum((1, 2)) + 0.3 * (x.square() * squeeze).sum((1, 2))


@pytest.mark.parametrize("group", [SO(2), O(2), SO(3), O(3)], ids=repr)
def test_the_derivative_of_the_minimiser_by_input_and_parameters(group):
    d, draw = group.dim, torch.Generator().manual_seed(4)
    weight = torch.randn(5, d, generator=draw, dtype=DOUBLE)
    x, probe = torch.randn(2, 5, d, generator=draw, dtype=DOUBLE), torch.randn(d, d, generator=draw, dtype=DOUBLE)
    claim = Symmetry(group, Point(), Scalar())

    def pose(x, weight, implicit):
        def energy(x):
            return (x * weight).sin().sum((1, 2)) + height(x)

        return Search(energy, refine="gradient", steps=40, implicit=implicit)(claim, x)

    def value(x, weight, implicit=False):
        return (pose(x, weight, implicit).elements[0] * probe).sum((1, 2)).sin().sum()

    assert torch.equal(pose(x, weight, True).elements, pose(x, weight, False).elements)
    leaves = x.clone().requires_grad_(), weight.clone().requires_grad_()
    found = torch.autograd.grad(value(*leaves, implicit=True), leaves)
    for position, gradient in enumerate(found):
        for cell in range(0, gradient.numel(), 5):
            step = torch.zeros(gradient.numel(), dtype=DOUBLE).index_fill(0, torch.tensor([cell]), 1e-5)
            step = step.reshape(gradient.shape)
            up, down = [x, weight], [x, weight]
            up[position], down[position] = up[position] + step, down[position] - step
            wanted = float(value(*up) - value(*down)) / 2e-5
            assert abs(float(gradient.flatten()[cell]) - wanted) < 1e-6 * max(1.0, abs(wanted))


@pytest.mark.parametrize("resolution", [None, 32])
def test_pixels_by_central_differences(resolution):
    line = torch.linspace(-1, 1, 64, dtype=DOUBLE)

    def blobs(seed):
        draw, picture = torch.Generator().manual_seed(seed), torch.zeros(1, 1, 64, 64, dtype=DOUBLE)
        for _ in range(3):
            angle, size = 6.28 * torch.rand(1, generator=draw, dtype=DOUBLE), torch.rand(1, generator=draw)
            right, down = (line - 0.5 * angle.cos()).square(), (line - 0.5 * angle.sin()).square()
            picture = picture + (0.3 + size) * torch.exp(-(right + down[:, None]) / 0.1)
        return picture

    close = 0
    for seed in range(5):
        x, template, change = blobs(seed), blobs(seed + 50), blobs(seed + 100)

        def energy(x, template=template):
            return -(x * nn.functional.adaptive_avg_pool2d(template, x.shape[-2:])).mean((1, 2, 3))

        def pose(x, implicit=False, energy=energy):
            frame = Search(energy, steps=25, implicit=implicit, resolution=resolution)
            return frame(Symmetry(SO(2), Image(), Scalar()), x).elements[0, 0]

        leaf = x.clone().requires_grad_()
        g = pose(leaf, True)
        (gradient,) = torch.autograd.grad((g.detach().T @ g)[1, 0], leaf)
        turn = pose(x - 0.05 * change).T @ pose(x + 0.05 * change)
        wanted = float(torch.atan2(turn[1, 0], turn[0, 0])) / 0.1
        close += abs(float((gradient * change).sum()) - wanted) < 0.1 * abs(wanted) + 0.02
    assert close >= 4


@pytest.mark.parametrize("smooth", [True, False])
def test_flat_places_and_saddles_have_margin_and_derivative_zero(smooth):
    x = torch.randn(3, 5, 3, dtype=DOUBLE, requires_grad=True)
    claim = Symmetry(SO(3), Point(), Scalar())
    weight = torch.linspace(-1, 1, 5, dtype=DOUBLE)
    for energy in (
        lambda x: (x[..., 2] * weight).sum(1),
        lambda x: x.square().sum((1, 2)),
        lambda x: x.sum((1, 2)) * 0,
    ):
        poses = Search(energy, implicit=True)(claim, x)
        (gradient,) = torch.autograd.grad(poses.elements.square().sum() + poses.elements.sum(), x)
        assert poses.margin.tolist() == [0.0] * 3
        assert torch.equal(gradient, torch.zeros_like(x))
    # A maximum, where all second derivatives are negative, and a saddle.
    for sign in (-1.0, 1.0):
        shape = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=DOUBLE))
        cloud = torch.stack([shape, shape.flip(0)])[:1].clone().requires_grad_()
        tilt = torch.tensor([-3.0, -2.0, 4.0], dtype=DOUBLE) if sign > 0 else torch.tensor([3.0, 2.0, 1.0]).double()

        def energy(x, tilt=tilt):
            return (x.diagonal(dim1=1, dim2=2) * tilt).sum(1)

        probe = Probe(energy, claim, cloud, 1, torch.empty(0, dtype=DOUBLE), None)
        unit = torch.eye(3, dtype=DOUBLE).expand(1, 1, 3, 3)
        g, sound = minimiser(probe, unit, smooth=smooth, width=0.05, spread=torch.ones(1, dtype=DOUBLE))
        assert not bool(sound.any())
        (gradient,) = torch.autograd.grad(g.sum(), cloud)
        assert torch.equal(gradient, torch.zeros_like(cloud))


def test_a_model_learns_through_the_pose():
    """The whole way: output, pose, minimiser, input."""
    x = torch.randn(2, 4, 2, dtype=DOUBLE)
    claim = Symmetry(SO(2), Point(), Scalar())
    weight = torch.linspace(-1, 1, 8, dtype=DOUBLE).reshape(4, 2)
    frame = Search(height, refine="gradient", steps=30, implicit=True)
    upright = symmetrize(lambda x: (x * weight).sin().sum((1, 2)), claim, frame)
    assert torch.autograd.gradcheck(upright, x.requires_grad_(), atol=1e-6, fast_mode=True)


def test_without_gradient_the_margin_is_the_same():
    x = torch.randn(4, 5, 2)
    frame, claim = Search(height, implicit=True), Symmetry(SO(2), Point(), Scalar())
    with torch.no_grad():
        quiet = frame(claim, x)
    loud = frame(claim, x.requires_grad_())
    assert torch.equal(quiet.margin, loud.margin)
    assert torch.equal(quiet.elements, loud.elements)
    assert not quiet.elements.requires_grad
    assert loud.elements.requires_grad
    assert not Search(height)(claim, x).elements.requires_grad
