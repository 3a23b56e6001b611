"""Vectors that turn with the image: v(h x) = h v(x), exactly where pixels move, nearly everywhere."""

import pytest
import torch
import torch.nn.functional as F
from nn_laws import (
    DTYPES,
    OBLONGS,
    SQUARES,
    awake,
    noise,
    resampled_vector_error,
    smooth,
    turned,
    vector_error,
)

from canonize import SO, C, D, O
from canonize.errors import SymmetryError
from canonize.linalg import shrink
from canonize.nn import Steerable, steerable


def net_of(**kwargs):
    return awake(Steerable(2, **{"width": 4, **kwargs}).double())


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES, ids=str)
@pytest.mark.parametrize("size", [*SQUARES, (64, 64), (224, 224), *OBLONGS], ids=str)
@pytest.mark.parametrize(("group", "reflections"), [(C(4), False), (C(4), True), (D(4), True)], ids=str)
def test_vectors_turn_with_the_image(group, reflections, size, dtype, tolerance):
    net = net_of(vectors=2, reflections=reflections).to(dtype)
    assert vector_error(net, group, noise(2, 2, *size, dtype=dtype)) < tolerance


@pytest.mark.parametrize("reflections", [False, True], ids=["turns", "flips"])
def test_any_orders_kernel_and_depth(reflections):
    for orders, kernel, depth in [(1, 3, 1), (1, 5, 2), (3, 7, 2), (4, 9, 3)]:
        net = net_of(orders=orders, kernel=kernel, depth=depth, reflections=reflections, vectors=3)
        assert vector_error(net, D(4) if reflections else C(4), noise(2, 2, 9, 9)) < 1e-12


@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("vectors", [1, 2])
def test_two_numbers_for_each_vector_and_sample(batch, vectors):
    net, x = Steerable(3, vectors=vectors), noise(batch, 3, 7, 5, dtype=torch.float32)
    found = net(x)
    assert found.shape == (batch, vectors, 2)
    for i in range(batch):
        torch.testing.assert_close(net(x[i : i + 1])[0], found[i])


@pytest.mark.parametrize("reflections", [False, True], ids=["turns", "flips"])
def test_any_angle_turns_vectors_nearly(reflections):
    x, draw = smooth(4), torch.Generator().manual_seed(0)
    elements = (O(2) if reflections else SO(2)).sample(12, generator=draw, dtype=torch.float64)
    error = resampled_vector_error(net_of(vectors=2, reflections=reflections), elements, x)
    assert error < 0.03

    def plain(x):
        """What a random CNN says."""
        return F.silu(F.conv2d(x, noise(4, 2, 5, 5, seed=7))).mean((-2, -1)).reshape(-1, 2, 2)

    assert resampled_vector_error(plain, elements, x) > 10 * error


def test_the_vector_points_from_dark_to_bright():
    """A convention on the axes: with one weight on the place of the brightness, v points to where it is."""
    net = Steerable(1, depth=1, width=1, orders=1, kernel=3, reflections=True).double()
    with torch.no_grad():
        net.layers[0].weight.zero_()[..., 0, 0, 0] = 1.0
        net.head.zero_()[0, 0, 0, 0] = 1.0
    x = torch.zeros(2, 1, 15, 15, dtype=torch.float64)
    x[0, 0, 7, 11] = 1.0  # to the right
    x[1, 0, 3, 7] = 1.0  # above
    v = F.normalize(net(x)[:, 0], dim=-1)
    torch.testing.assert_close(v, torch.eye(2, dtype=torch.float64))


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES, ids=str)
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 3), (8, 8), (33, 33), (64, 48)], ids=str)
@pytest.mark.parametrize("value", [0.0, 1.0, 1e3])
def test_constant_images_have_no_direction(size, value, dtype, tolerance):
    for reflections in (False, True):
        net = net_of(vectors=2, reflections=reflections).to(dtype)
        assert net(torch.full((1, 2, *size), value, dtype=dtype)).abs().max() < tolerance


def test_symmetric_images_have_no_direction_of_their_own():
    x = noise(3, 2, 9, 9)
    assert net_of()(x + x.flip(-1, -2)).abs().max() < 1e-12
    on_axis = net_of(vectors=2, reflections=True)(x + x.flip(-1))
    assert on_axis[..., 0].abs().max() < 1e-12
    assert on_axis[..., 1].abs().min() > 1e-4


@pytest.mark.parametrize("reflections", [False, True], ids=["turns", "flips"])
def test_two_vectors_are_independent(reflections):
    for x in (noise(50, 2, 9, 9), smooth(50)):
        v = net_of(vectors=2, reflections=reflections)(x)
        sine = torch.linalg.det(F.normalize(v, dim=-1)).abs()
        assert sine.median() > 0.05
        assert sine.min() > 1e-5


def test_harmonics_against_the_exponential():
    basis = torch.view_as_complex(steerable._harmonics(3, 7).movedim(0, -1).contiguous())
    line = torch.arange(-3.0, 4.0, dtype=torch.float64)
    angle = torch.atan2(-line[:, None], line).flatten()
    rings = basis[3].real
    assert basis[3].imag.abs().max() == 0
    for k in range(-3, 4):
        for ring in range(4):
            found = basis[k + 3, ring]
            if abs(k) > 2 * ring:
                assert found.abs().max() == 0
                continue
            wanted = rings[ring] * torch.exp(1j * k * angle) * (1 if k == 0 else (angle != 0) | (line.repeat(7) != 0))
            torch.testing.assert_close(found, wanted / wanted.norm())


def test_a_layer_against_complex_convolutions():
    layer = awake(steerable._Harmonic(2, 3, 2, 5, 2, real_input=False, generator=None).double())
    y = noise(1, 2, 3, 2, 6, 6)
    basis = torch.view_as_complex(layer.basis.movedim(0, -1).contiguous())
    weight = torch.complex(layer.weight[0], layer.weight[1])
    maps = torch.zeros(3, 3, 6, 6, dtype=torch.complex128)
    signal = torch.complex(y[0, 0], y[0, 1])
    for after in range(3):
        for before in range(3):
            filters = (weight[:, :, after, before] @ basis[after - before + 2]).reshape(3, 2, 5, 5)
            maps[after] += F.conv2d(signal[before][None], filters, padding=2)[0]
    torch.testing.assert_close(layer(y)[0], torch.stack([maps.real, maps.imag]))


def _bias(order, value):
    def add(module, args, out):
        shifted = out.clone()
        shifted[:, :, order] += torch.tensor(value, dtype=out.dtype)[:, None, None, None]
        return shifted

    return add


def _harmonic_of_y_down(net):
    for layer in net.layers:
        layer.basis = layer.basis * torch.tensor([1.0, -1.0], dtype=torch.float64)[:, None, None, None]


FAULTS = {
    "bias on order 1": (lambda net: net.gates[0].register_forward_hook(_bias(1, (0.3, 0.0))), C(4)),
    "bias on order 2": (lambda net: net.gates[0].register_forward_hook(_bias(2, (0.3, 0.0))), C(4)),
    "imaginary bias on order 0": (lambda net: net.gates[0].register_forward_hook(_bias(0, (0.0, 0.3))), D(4)),
    "y down in the filters": (_harmonic_of_y_down, C(4)),
    "y down in the answer": (
        lambda net: net.register_forward_hook(lambda m, args, out: out * out.new_tensor([1.0, -1.0])),
        C(4),
    ),
    "coordinates exchanged": (lambda net: net.register_forward_hook(lambda m, args, out: out.flip(-1)), C(4)),
    "nonlinearity on each part": (
        lambda net: net.gates[0].register_forward_hook(lambda m, args, out: out.relu()),
        C(4),
    ),
}


@pytest.mark.parametrize(("fault", "group"), FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("size", [8, 9])
def test_planted_faults_break_the_law(fault, group, size):
    net, x = net_of(reflections=True), noise(2, 2, size, size)
    assert vector_error(net, group, x) < 1e-12
    fault(net)
    assert vector_error(net, group, x) > 1e-3


def test_complex_profiles_do_not_reflect():
    assert vector_error(net_of(), D(4), noise(2, 2, 9, 9)) > 1e-3


@pytest.mark.parametrize("size", [(224, 224), (70, 33)], ids=str)
def test_large_images_are_shrunk_first(size):
    net, x = net_of(), noise(1, 2, *size)
    small = tuple(max(1, round(n * 32 / max(size))) for n in size)
    torch.testing.assert_close(net(x), net(shrink(x, small)), rtol=1e-6, atol=1e-8)
    net.resolution = None
    assert net(x[..., :48, :48]).shape == (1, 1, 2)


@pytest.mark.parametrize("size", [(6, 6), (40, 36)], ids=str)
def test_the_gradient_reaches_every_pixel_of_the_disk(size):
    """Also through the shrinking: a mean that rounds, as `shrink` is, would pass none to most pixels."""
    x = noise(1, 2, *size).requires_grad_()
    net_of()(x).square().sum().backward()
    assert x.grad.isfinite().all()
    middle = x.grad[..., size[0] // 4 : -size[0] // 4, size[1] // 4 : -size[1] // 4]
    assert (middle != 0).all()


@pytest.mark.parametrize("reflections", [False, True], ids=["turns", "flips"])
def test_gradients_against_finite_differences(reflections):
    net = net_of(width=2, depth=2, kernel=3, reflections=reflections, resolution=4)
    assert torch.autograd.gradcheck(net, noise(1, 2, 5, 5).requires_grad_())


def test_the_disk_hides_the_corners():
    net, x = net_of(), noise(2, 2, 16, 16)
    lit = x.clone()
    lit[..., :2, :2] = 9.0
    assert torch.equal(net(lit), net(x))


def test_turning_there_and_back_keeps_the_direction():
    """Two turns by 45 degrees against one by 90: a turn in the wrong sense would show at once."""
    x, net = smooth(4), net_of()
    eighth = C(8).elements(dtype=torch.float64)
    once = net(turned(eighth[1], x)) @ eighth[1]
    assert (once - net(x)).norm() < 0.05 * net(x).norm()


@pytest.mark.parametrize("kernel", [1, 2, 4])
def test_kernels_that_hold_no_direction(kernel):
    with pytest.raises(SymmetryError, match="cannot hold a direction"):
        Steerable(3, kernel=kernel)
