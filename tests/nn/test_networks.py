"""What every network of `canonize.nn` does: copies, casts, autocast, gradients at the limits, seeds, refusals."""

import copy
import pickle

import pytest
import torch
from nn_laws import NETWORKS, awake, energy_error, noise, vector_error

from canonize import C, D
from canonize.errors import SymmetryError
from canonize.nn import GroupCNN, Scorer, Steerable

ALL = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


@ALL
def test_copies_say_the_same(make):
    net, x = awake(make()), noise(3, 2, 9, 7, dtype=torch.float32)
    fresh = make()
    fresh.load_state_dict(net.state_dict())
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), fresh):
        assert torch.equal(other(x), net(x))


@ALL
def test_only_weights_are_saved(make):
    net = make()
    assert set(net.state_dict()) == {name for name, _ in net.named_parameters()}
    assert all(value.isfinite().all() for value in net.state_dict().values())


@ALL
def test_double_keeps_the_numbers(make):
    net, x = awake(make()), noise(3, 2, 9, 9, dtype=torch.float32)
    small = net(x)
    wide = net.double()(x.double())
    assert wide.dtype == torch.float64
    assert (wide - small).abs().max() < 1e-5 * small.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_networks_made_in_double_obey_the_law(dtype):
    """What is fixed at construction must not be rounded on the way."""
    torch.set_default_dtype(dtype)
    try:
        net, pointer = GroupCNN(C(8), 2), Steerable(2, reflections=True)
    finally:
        torch.set_default_dtype(torch.float32)
    x = noise(2, 2, 9, 9)
    assert energy_error(net.double(), C(8), x) < 1e-12
    assert vector_error(pointer.double(), D(4), x) < 1e-12


@ALL
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("scale", [0.0, 1.0, 255.0])
def test_autocast_stays_finite_and_near(make, dtype, scale):
    net, x = awake(make()), scale * noise(3, 2, 9, 9, dtype=torch.float32)
    with torch.autocast("cpu", dtype=dtype):
        rough = net(x)
    assert rough.isfinite().all()
    assert (rough.float() - net(x)).abs().max() < 0.1 * net(x).abs().max().clamp(min=0.1)


@ALL
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_throughout(make, dtype):
    net, x = awake(make()), noise(3, 2, 9, 9, dtype=torch.float32)
    exact = net(x)
    rough = net.to(dtype)(x.to(dtype))
    assert rough.isfinite().all()
    assert (rough.float() - exact).abs().max() < 0.2 * exact.abs().max()


@ALL
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 5), (40, 33)], ids=str)
@pytest.mark.parametrize("kind", ["noise", "zero", "constant", "tiny", "huge"])
def test_values_and_gradients_are_finite(make, size, kind):
    x = {
        "noise": noise(2, 2, *size), "zero": torch.zeros(2, 2, *size), "constant": torch.ones(2, 2, *size),
        "tiny": 1e-30 * noise(2, 2, *size), "huge": 1e6 * noise(2, 2, *size),
    }[kind].float().requires_grad_()  # fmt: skip
    net = make()
    found = net(x)
    found.square().sum().backward()
    assert found.isfinite().all()
    assert x.grad.isfinite().all()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in net.parameters())


@ALL
def test_no_sample_sees_its_batch(make):
    net, x = awake(make()).double(), noise(3, 2, 9, 9)
    changed = x.clone()
    changed[1:] = torch.nan
    for mode in (True, False):
        net.train(mode)
        assert torch.equal(net(changed)[0], net(x)[0])
        assert net(changed)[1:].isnan().all()


@ALL
def test_nothing_is_changed_in_place(make):
    net, x = awake(make()), noise(3, 2, 9, 9, dtype=torch.float32)
    state, before = copy.deepcopy(net.state_dict()), x.clone()
    net(x)
    assert torch.equal(x, before)
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())


@ALL
def test_equal_seeds_give_equal_weights(make):
    state = torch.get_rng_state()
    one, two, other = (make(generator=torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), state)
    x = noise(2, 2, 8, 8, dtype=torch.float32)
    assert torch.equal(one(x), two(x))
    assert not torch.equal(one(x), other(x))
    torch.manual_seed(3)
    first = make()
    torch.manual_seed(3)
    assert torch.equal(make()(x), first(x))


@ALL
def test_trained_by_gradients(make):
    """Any target can be approached on a handful of images."""
    net, x = make(generator=torch.Generator().manual_seed(0)), noise(4, 2, 8, 8, dtype=torch.float32)
    target = noise(*net(x).shape, dtype=torch.float32, seed=4)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = (net(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@ALL
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("x", "told"),
    [(torch.zeros(2, 2, 8, 8, dtype=torch.uint8), "x / 255"), (torch.zeros(2, 2, 8, 8).double(), "differ in dtype"),
     (torch.zeros(2, 2, 8, 8, dtype=torch.complex64), "differ in dtype"), (torch.zeros(2, 3, 8, 8), "made for 2 channels"),
     (torch.zeros(2, 8, 8), "x[None]"), (torch.zeros(2, 2, 0, 8), "at least 1 x 1"), ([[1.0]], "needs images")],
    ids=["bytes", "double", "complex", "channels", "axes", "empty", "list"],
)  # fmt: skip
def test_what_is_no_image(make, x, told):
    with pytest.raises(SymmetryError) as caught:
        make()(x)
    assert told in str(caught.value)
    assert type(make()).__name__ in str(caught.value)


@pytest.mark.usefixtures("unchecked")
def test_bytes_are_refused_under_autocast_too():
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(SymmetryError, match="dtype"):
        Scorer(1)(torch.zeros(1, 1, 4, 4, dtype=torch.uint8))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", [0, -1, 2.5, True, "3", None])
@pytest.mark.parametrize("name", ["channels", "width", "depth"])
def test_settings_that_are_no_sizes(name, bad):
    for make in (Scorer, Steerable, lambda **settings: GroupCNN(C(4), **settings)):
        with pytest.raises(SymmetryError, match=f"{name} is no positive whole number"):
            make(**{"channels": 1, name: bad})
