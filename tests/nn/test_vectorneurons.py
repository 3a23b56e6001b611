"""What is said of `VectorNeurons` alone: parts of a batch, float64 inside, and its layout against a plain one."""

import copy

import pytest
import torch
import torch.nn.functional as F

import canonize.nn.vectorneurons as module
from canonize import E
from canonize.nn import VectorNeurons
from canonize.nn.clouds import even

DOUBLE = torch.float64


def network(**settings):
    return VectorNeurons(2, channels=4, generator=torch.Generator().manual_seed(3), **settings)


def cloud(*lead, d=3, seed=0, dtype=DOUBLE):
    return torch.randn(*lead, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def plainly(net, points, features, fields):
    """The same network in another layout, point after point, as the formulas are written."""
    x = points - points.mean(0)
    unit = x.square().sum(-1).mean().sqrt()
    x = x / unit
    m = x.shape[-1] * (x.T @ x) / len(x)
    v = []
    for place, numbers, vectors in zip(x, features, fields, strict=True):
        start = torch.cat([torch.stack([place, m @ place, m @ m @ place]), vectors])
        v.append((net.lift[..., 0] + net.lift[..., 1:] @ numbers) @ start)
    v = torch.stack(v)
    for layer in net.layers:
        heard = torch.cat([v, v.mean(0).expand_as(v)], 1)
        v = torch.stack([one + silu(layer, two) for one, two in zip(v, heard, strict=True)])
    pooled = v.mean(0)
    return even((net.head @ (pooled + silu(net.last, pooled)))[None])[0] * unit


def silu(layer, v):
    q, k = layer.both[0] @ v, layer.both[1] @ v
    k = k / (k.square().sum(-1, keepdim=True) + 1e-8).sqrt()
    along = (q * k).sum(-1, keepdim=True)
    return q - along * k + F.silu(along) * k


@pytest.mark.parametrize("d", [2, 3, 4])
def test_it_says_what_the_formulas_say(d):
    net = network(features=2, fields=1).double()
    points, features, fields = cloud(3, 6, d=d), cloud(3, 6, d=2, seed=1), cloud(3, 6, 1, d=d, seed=2)
    wanted = torch.stack([plainly(net, *each) for each in zip(points, features, fields, strict=True)])
    torch.testing.assert_close(net(points, features=features, fields=fields), wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("block", [1, 1000, 1 << 30])
@pytest.mark.parametrize("batch", [0, 1, 5])
def test_parts_of_a_batch_do_not_feel_each_other(monkeypatch, block, batch):
    net, points = network(features=1).double(), cloud(5, 7)[:batch].requires_grad_()
    features = cloud(5, 7, d=1, seed=1)[:batch]
    monkeypatch.setattr(module, "_BLOCK", block)
    found = net(points, features=features)
    assert found.shape == (batch, 2, 3)
    alone = [net(points[i : i + 1], features=features[i : i + 1]) for i in range(batch)]
    assert all(torch.equal(found[i], each[0]) for i, each in enumerate(alone)) or block > 1
    torch.testing.assert_close(found, torch.cat([found[:0], *alone]), rtol=1e-12, atol=1e-12)
    (slope,) = torch.autograd.grad(found.square().sum(), points)
    assert slope.shape == points.shape
    assert slope.isfinite().all()


@torch.no_grad()
def turned_back(net, points, count=8):
    """The largest change of the vectors under turns that are taken in float64, of points that are rounded then."""
    worst, base = 0.0, net(points.to(net.head.dtype)).double()
    for seed in range(count):
        g = E(3).sample((1,), generator=torch.Generator().manual_seed(seed), dtype=DOUBLE).linear[0]
        worst = max(worst, float((net((points @ g.T).to(net.head.dtype)).double() @ g - base).abs().max()))
    return worst


def test_float64_inside_spares_what_float32_rounds_away():
    """An almost symmetric cloud, whose vectors are small rests of large sums."""
    ring = torch.arange(12, dtype=DOUBLE) * (torch.pi / 6)
    points = torch.stack([ring.cos(), ring.sin(), 0.02 * cloud(12, d=1)[:, 0]], -1)[None]
    careful = network()
    careless = network(double=False)
    assert careful.head.dtype == torch.float32
    assert careful(points.float()).dtype == torch.float32
    rough, fine = turned_back(careless, points), turned_back(careful, points)
    assert fine < rough / 4
    assert turned_back(network().double(), points) < 1e-9


def test_the_setting_is_kept():
    assert not copy.deepcopy(network(double=False)).double_inside
    assert network().double_inside
