"""Networks for clouds: vectors turn with the points, and feel neither shifts, nor their order, nor how they are stored."""

import copy
import pickle

import pytest
import torch
from cloud_laws import DTYPES, POINTERS, dense, draws, moved, pointing_error, ragged, said, turns

from canonize.frames.oriented import columns
from canonize.nn import clouds

ALL = pytest.mark.parametrize("make", POINTERS.values(), ids=POINTERS)
SIZES = [[1], [2, 3], [4, 0, 9, 1, 2], [0, 0, 5], [30, 7]]


def net_of(make, vectors=3, **kwargs):
    """The network with every parameter away from its first value, in float64."""
    net = make(vectors, **{"features": 2, "fields": 1, **kwargs})
    with torch.no_grad():
        for seed, value in enumerate(net.parameters()):
            value += 0.1 * draws(*value.shape, seed=seed).to(value)
    return net.double()


@ALL
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES, ids=str)
@pytest.mark.parametrize("d", [1, 2, 3, 4])
@pytest.mark.parametrize("n", [2, 5, 40])
@pytest.mark.parametrize("unit", [None, 0.7])
def test_vectors_turn_with_the_points(make, unit, n, d, dtype, tolerance):
    net = net_of(make, unit=unit).to(dtype)
    assert pointing_error(net, dense(4, n, d, dtype), d) < tolerance


@ALL
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES, ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_vectors_turn_with_rows(make, sizes, dtype, tolerance):
    assert pointing_error(net_of(make).to(dtype), ragged(sizes, 3, dtype), 3) < tolerance


@ALL
def test_rows_are_clouds(make):
    cloud = ragged([4, 0, 9, 1, 2])
    net = net_of(make)
    together = said(net, cloud)
    for sample in range(5):
        own = cloud["index"] == sample
        alone = {name: cloud[name][own][None] for name in ("points", "features", "fields")}
        torch.testing.assert_close(said(net, alone)[0], together[sample], rtol=1e-12, atol=1e-12)
    assert (together[1] == 0).all()


@ALL
def test_samples_at_the_end_without_rows_are_counted(make):
    cloud = ragged([3, 2])
    assert said(net_of(make), {**cloud, "batch": 4}).shape == (4, 3, 3)
    assert said(net_of(make), {**cloud, "batch": None}).shape == (2, 3, 3)


@ALL
@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0), (2, 1)], ids=str)
@pytest.mark.parametrize("unit", [None, 1.0])
def test_clouds_without_points(make, shape, unit):
    net = make(2, unit=unit)
    points = torch.ones(*shape, 3, requires_grad=True)
    found = net(points)
    assert found.shape == (shape[0], 2, 3)
    assert found.abs().max() < 1e-6 if shape[0] else True
    found.sum().backward()
    assert points.grad.isfinite().all()


@ALL
def test_no_rows_at_all(make):
    index = torch.zeros(0, dtype=torch.int64)
    assert make(2)(torch.zeros(0, 3), index=index, batch=3).eq(0).all()
    assert make(2)(torch.zeros(0, 3), index=index).shape == (0, 2, 3)


@ALL
def test_the_order_of_the_points_does_not_matter(make):
    net, cloud = net_of(make), dense(3, 9)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    mixed = {name: value[:, order] for name, value in cloud.items()}
    torch.testing.assert_close(said(net, mixed), said(net, cloud), rtol=1e-12, atol=1e-12)


@ALL
@pytest.mark.parametrize("kind", ["dense", "ragged"])
@pytest.mark.parametrize("filling", [0.0, 1e3, float("nan"), float("inf")])
def test_weight_zero_hides_a_point(make, kind, filling):
    net = net_of(make)
    cloud = dense(3, 5) if kind == "dense" else ragged([5, 3, 6])
    axis = 1 if kind == "dense" else 0
    full = {}
    for name, value in cloud.items():
        if name == "batch":
            full[name] = value
            continue
        more = value.narrow(axis, 0, 2)
        full[name] = torch.cat([value, more if name == "index" else torch.full_like(more, filling)], axis)
    full["weights"] = torch.cat([torch.ones(cloud["points"].shape[:-1]), torch.zeros(full["points"].shape[:-1])], -1)
    full["weights"] = full["weights"].narrow(axis, 0, full["points"].shape[axis])
    full["points"].requires_grad_()
    found = said(net, full)
    torch.testing.assert_close(found, said(net, cloud), rtol=1e-12, atol=1e-12)
    found.square().sum().backward()
    assert full["points"].grad.isfinite().all()


@ALL
def test_weights_count_as_copies_do(make):
    """A point of weight 2 against two points; for the network of pairs, which a point is none with itself, all doubled."""
    net, cloud = net_of(make), dense(2, 4)
    weighted = said(net, {**cloud, "weights": torch.full((2, 4), 3.0)})
    torch.testing.assert_close(weighted, said(net, cloud), rtol=1e-12, atol=1e-12)
    if make is POINTERS["egnn"]:
        return
    twice = {name: torch.cat([value, value[:, :1]], 1) for name, value in cloud.items()}
    weighted = said(net, {**cloud, "weights": torch.tensor([2.0, 1.0, 1.0, 1.0]).expand(2, 4)})
    torch.testing.assert_close(weighted, said(net, twice), rtol=1e-12, atol=1e-12)


@ALL
@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_vectors_grow_with_the_cloud(make, scale, dtype):
    net = net_of(make, fields=0, features=0).to(dtype)
    points = draws(4, 6, 3, dtype=dtype)
    assert (net(points * scale) / scale - net(points)).abs().max() < 200 * torch.finfo(dtype).eps


@ALL
def test_a_given_unit_shows_the_scale(make):
    net, points = net_of(make, unit=2.0, features=0, fields=0), draws(4, 6, 3)
    assert (net(points * 3) / 3 - net(points)).abs().max() > 1e-3
    doubled = copy.deepcopy(net)
    doubled.unit = 4.0
    torch.testing.assert_close(doubled(2 * points), 2 * net(points), rtol=1e-12, atol=1e-12)


@ALL
@pytest.mark.parametrize("far", [1e2, 1e3])
def test_far_from_the_origin(make, far):
    """The error grows as the rounding of the points, and no faster."""
    net = net_of(make).float()
    assert pointing_error(net, dense(4, 6, 3, torch.float32), 3, far=far) < 1e3 * far * torch.finfo(torch.float32).eps


@ALL
@pytest.mark.parametrize("unit", [None, 1.0])
@pytest.mark.parametrize("place", [0.0, 0.3, 1e3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", ["coincident", "two of four", "cube", "line", "one"])
def test_derivatives_are_finite_where_points_meet(make, kind, place, dtype, unit):
    """First and second ones, at coincident points, zero vectors and symmetric clouds, without noise blown up."""
    cube = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    points = {
        "coincident": torch.zeros(5, 3), "two of four": draws(4, 3)[[0, 1, 2, 2]], "cube": cube,
        "line": torch.arange(4.0)[:, None] * torch.tensor([1.0, 2.0, 3.0]), "one": torch.zeros(1, 3),
    }[kind].to(dtype)[None] + place  # fmt: skip
    points = points.requires_grad_()
    net = make(3, unit=unit).to(dtype)
    found = net(points)
    if kind in ("coincident", "one", "cube"):
        noise = 4 * torch.finfo(dtype).eps * max(place, 1)
        assert found.abs().max() < max(1e4 * noise, 1e-6) if kind == "cube" else found.abs().max() <= 1e-3 * noise
    (first,) = torch.autograd.grad(found.square().sum() + found.sum(), points, create_graph=True)
    (second,) = torch.autograd.grad((first * first.detach().sign()).sum(), points)
    assert found.isfinite().all()
    assert first.isfinite().all()
    assert second.isfinite().all()


@ALL
@pytest.mark.parametrize("unit", [None, 1.0])
def test_gradients_against_finite_differences(make, unit):
    net = net_of(make, 2, unit=unit)
    cloud = dense(2, 4, 3)
    parts = [cloud[name].requires_grad_() for name in ("points", "features", "fields")]

    def call(points, features, fields):
        return net(points, features=features, fields=fields)

    assert torch.autograd.gradcheck(call, parts)
    assert torch.autograd.gradgradcheck(call, parts)


@ALL
def test_gradients_of_rows_against_finite_differences(make):
    net, cloud = net_of(make, 2), ragged([3, 1, 2])

    def call(points, fields, weights):
        return said(net, {**cloud, "points": points, "fields": fields, "weights": weights})

    weights = torch.linspace(0.5, 1.5, 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        call, [each.requires_grad_() for each in (cloud["points"], cloud["fields"], weights)]
    )


@ALL
@pytest.mark.parametrize("n", [5, 20, 200])
def test_first_vectors_point_somewhere(make, n):
    """At initialisation the pose of a random cloud is no tie."""
    margins = []
    for seed in range(3):
        net = make(3, generator=torch.Generator().manual_seed(seed)).double()
        # A few clouds at a time: the pairs of all points of all clouds, kept for a derivative, are gigabytes.
        with torch.no_grad():
            margins += [columns(net(some), 1.0)[1] for some in draws(50, n, 3, seed=seed).split(5)]
    margin = torch.cat(margins)
    assert margin.median() > 0.02
    assert (margin > 1e-4).double().mean() > 0.97


@ALL
@pytest.mark.parametrize("what", ["features", "fields"])
def test_features_and_fields_are_felt(make, what):
    net, cloud = net_of(make), dense(2, 5)
    for seed in range(2):
        other = {**cloud, what: cloud[what] + draws(*cloud[what].shape, seed=seed)}
        assert (said(net, other) - said(net, cloud)).abs().max() > 1e-3


@ALL
def test_any_depth_and_number_of_vectors(make):
    for depth, vectors in [(1, 1), (2, 5), (4, 2)]:
        net = net_of(make, vectors, depth=depth)
        assert said(net, dense(2, 5)).shape == (2, vectors, 3)
        assert pointing_error(net, dense(2, 5), 3) < 1e-13


@ALL
def test_clouds_see_no_other_cloud(make):
    net, cloud = net_of(make), dense(3, 6)
    changed = {name: value.clone() for name, value in cloud.items()}
    changed["points"][1:] = torch.nan
    assert torch.equal(said(net, changed)[0], said(net, cloud)[0])
    assert said(net, changed)[1:].isnan().all()


@ALL
def test_copies_of_cloud_networks(make):
    net, x = net_of(make, features=0, fields=0).float(), draws(3, 7, 3, dtype=torch.float32)
    fresh = make(3)
    fresh.load_state_dict(net.state_dict())
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), fresh):
        assert torch.equal(other(x), net(x))
    assert set(net.state_dict()) == {name for name, _ in net.named_parameters()}
    before = x.clone()
    net(x)
    assert torch.equal(x, before)


@ALL
def test_seeds_of_cloud_networks(make):
    state = torch.get_rng_state()
    one, two, other = (make(2, generator=torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), state)
    x = draws(2, 6, 3, dtype=torch.float32)
    assert torch.equal(one(x), two(x))
    assert not torch.equal(one(x), other(x))


@ALL
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_does_not_round_clouds(make, dtype):
    net, x = net_of(make, features=0, fields=0).float(), draws(3, 7, 3, dtype=torch.float32)
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(net(x), net(x.float()))
        assert net(x.to(dtype)).dtype == torch.float32
        rough = net(x)
    assert torch.equal(rough, net(x))


@ALL
def test_every_weight_learns(make):
    net, cloud = make(3, features=2, fields=1), dense(8, 5, 3, torch.float32)
    target = draws(8, 3, 3, dtype=torch.float32, seed=4)
    target = target / target.square().sum(-1).mean(1).sqrt()[:, None, None]
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(150):
        loss = (said(net, cloud) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    # Of the last round of messages a frame's network uses the numbers and the places: nothing stands idle.
    assert all(value.grad is not None and value.grad.abs().max() > 0 for value in net.parameters())


def _shifted(net):
    net.register_forward_hook(lambda m, args, out: out + 0.1)


def _rectified(net):
    net.register_forward_hook(lambda m, args, out: out.relu())


def _exchanged(net):
    net.register_forward_hook(lambda m, args, out: out.flip(-1))


def _crossed(net):
    net.register_forward_hook(lambda m, args, out: torch.linalg.cross(out, out.roll(1, 1)))


def _lost(net):
    net.register_forward_hook(lambda m, args, out: out * torch.nan)


FAULTS = {"bias": _shifted, "nonlinearity": _rectified, "exchanged": _exchanged, "pseudovector": _crossed}


@ALL
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_planted_faults_do_not_turn(make, fault):
    net = net_of(make)
    assert pointing_error(net, dense(), 3) < 1e-13
    fault(net)
    assert pointing_error(net, dense(), 3) > 1e-3


@ALL
def test_not_a_number_does_not_pass(make):
    net = net_of(make)
    _lost(net)
    with pytest.raises(AssertionError):
        pointing_error(net, dense(), 3)


@ALL
def test_an_uncentred_cloud_would_be_noticed(make, monkeypatch):
    net = net_of(make, unit=1.0)
    cloud = dense()
    shift = draws(6, 3, seed=5)
    same = said(net, moved(cloud, turns(6, 3), shift)) - said(net, moved(cloud, turns(6, 3), 0 * shift))
    assert same.abs().max() < 1e-12
    mean = clouds.mean_of
    calls = []

    def none(values, *rest):
        """The first two means of a call are those of the place."""
        calls.append(1)
        return 0 * mean(values, *rest) if len(calls) % 8 in (1, 2) else mean(values, *rest)

    def fresh(cloud):
        calls.clear()
        return said(net, cloud)

    monkeypatch.setattr(clouds, "mean_of", none)
    felt = fresh(moved(cloud, turns(6, 3), shift)) - fresh(moved(cloud, turns(6, 3), 0 * shift))
    assert felt.abs().max() > 1e-3
