"""EGNN as a model: points that move with the cloud, edges, and a twin written out pair by pair."""

import math

import pytest
import torch
import torch.nn.functional as F
from cloud_laws import DTYPES, dense, draws, each, moving_error, pointing_error, ragged, said

from canonize import E, Learned, Point, Symmetry, symmetrize
from canonize.errors import SymmetryError
from canonize.nn import EGNN, DeepSets, VectorNeurons
from canonize.testing import assert_equivariant, check_frame


def net_of(vectors=None, **kwargs):
    net = EGNN(vectors, **{"width": 10, "depth": 2, "features": 2, "fields": 1, **kwargs})
    with torch.no_grad():
        for seed, value in enumerate(net.parameters()):
            value += 0.1 * draws(*value.shape, seed=seed).to(value)
    return net.double()


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES, ids=str)
@pytest.mark.parametrize("unit", [1.0, 0.4, None])
@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_points_move_with_the_cloud(d, unit, dtype, tolerance):
    net = net_of(unit=unit).to(dtype)
    assert moving_error(net, dense(3, 6, d, dtype), d) < tolerance
    assert moving_error(net, ragged([3, 0, 1, 7], d, dtype), d) < tolerance
    moved, numbers = said(net, dense(3, 6, d, dtype))
    assert moved.shape == (3, 6, d)
    assert numbers.shape == (3, 6, 10)


def test_points_move_at_all():
    cloud = dense()
    assert (said(net_of(), cloud)[0] - cloud["points"]).abs().max() > 1e-2
    fresh = EGNN().double()(cloud["points"])[0]
    assert 0 < (fresh - cloud["points"]).abs().max() < 1


def pairs_within(index):
    rows = range(len(index))
    return torch.tensor([(i, j) for i in rows for j in rows if i != j and index[i] == index[j]]).T


@pytest.mark.parametrize("vectors", [None, 2])
def test_without_edges_all_hear_all(vectors):
    net, cloud = net_of(vectors), ragged([3, 0, 4, 1])
    edges = pairs_within(cloud["index"].tolist())
    mixed = edges[:, torch.randperm(edges.shape[1], generator=torch.Generator().manual_seed(0))]
    for one, two in zip(_tuple(said(net, {**cloud, "edges": mixed})), _tuple(said(net, cloud)), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def _tuple(value):
    return value if isinstance(value, tuple) else (value,)


def test_rows_move_as_dense_clouds_do():
    net, cloud = net_of(edge_features=1), dense(3, 4)
    of_pairs = draws(3, 4, 4, 1, seed=8)
    whole = said(net, {**cloud, "edge_features": of_pairs})
    hears, sends = (~torch.eye(4, dtype=torch.bool)).nonzero().T
    rows = {name: value.flatten(0, 1) for name, value in cloud.items()}
    edges = torch.cat([torch.stack([sends, hears]) + 4 * sample for sample in range(3)], 1)
    found = said(
        net,
        {
            **rows,
            "index": torch.arange(3).repeat_interleave(4),
            "edges": edges,
            "edge_features": of_pairs[:, hears, sends].flatten(0, 1),
        },
    )
    for one, two in zip(found, whole, strict=True):
        torch.testing.assert_close(one, two.flatten(0, 1), rtol=1e-12, atol=1e-12)


def test_edges_carry_what_they_say():
    """A point hears only along its edges, from the first row to the second."""
    net, cloud = net_of(depth=1), ragged([4])
    edges = torch.tensor([[0, 1], [1, 2]])
    before = said(net, {**cloud, "edges": edges})
    louder = {**cloud, "edges": edges, "features": cloud["features"].clone()}
    louder["features"][0] += 1.0
    changed = (said(net, louder)[1] - before[1]).abs().amax(1) > 1e-6
    assert changed.tolist() == [True, True, False, False]


def test_against_a_loop_over_pairs():
    """The formula of the paper for one layer, point by point."""
    net, cloud = net_of(depth=1, edge_features=1, unit=2.0), dense(1, 4)
    x, numbers, field = cloud["points"][0] / 2.0, cloud["features"][0], cloud["fields"][0, :, 0]
    of_pairs = draws(4, 4, 1, seed=8)
    middle = x - x.mean(0)
    layer = net.layers[0]
    h = [
        F.linear(torch.cat([numbers[i], torch.stack([field[i] @ middle[i], field[i] @ field[i]]).asinh()]), net.stem)
        + net.bias
        for i in range(4)
    ]
    told = {}
    for i in range(4):
        step, sum_of = torch.zeros(3).double(), torch.zeros(10).double()
        for j in range(4):
            if i == j:
                continue
            square = (x[i] - x[j]) @ (x[i] - x[j])
            first = layer.hears @ h[i] + layer.sends @ h[j] + layer.bias
            first = first + layer.apart @ torch.cat([square[None], of_pairs[i, j]])
            message = F.silu(layer.message(F.silu(first)))
            amount = layer.strength @ layer.push(message)
            step = step + (x[i] - x[j]) / math.sqrt(1 + square) * amount / 3
            sum_of = sum_of + message / 3
        told[i] = (x[i] + step + layer.pull(h[i]) * field[i]) * 2.0, h[i] + layer.update(torch.cat([h[i], sum_of]))
    moved, found = said(net, {**cloud, "edge_features": of_pairs[None]})
    for i in range(4):
        torch.testing.assert_close(moved[0, i], told[i][0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found[0, i], told[i][1], rtol=1e-12, atol=1e-12)


def test_derivatives_along_edges():
    net, cloud = net_of(2, edge_features=1), ragged([3, 2])
    edges = pairs_within(cloud["index"].tolist())
    told = draws(edges.shape[1], 1, seed=3).requires_grad_()

    def call(points, edge_features):
        return said(net, {**cloud, "points": points, "edges": edges, "edge_features": edge_features})

    assert torch.autograd.gradcheck(call, (cloud["points"].requires_grad_(), told))


def test_points_at_one_place_do_not_push_each_other():
    net = net_of(features=0, fields=0)
    points = torch.ones(1, 3, 3, dtype=torch.float64, requires_grad=True)
    moved, _ = net(points)
    assert torch.equal(moved, points)
    (first,) = torch.autograd.grad(moved.square().sum(), points, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), points)
    assert first.isfinite().all()
    assert second.isfinite().all()


def _absolute(net):
    net.layers[0].register_forward_hook(lambda m, args, out: (out[0] + 0.1, out[1]))


def _sees_places(net):
    net.layers[0].register_forward_hook(lambda m, args, out: (out[0], out[1] + args[0][..., :1]))


def _squares(net):
    net.layers[1].register_forward_hook(lambda m, args, out: (out[0].square(), out[1]))


@pytest.mark.parametrize("fault", [_absolute, _sees_places, _squares])
@pytest.mark.parametrize("kind", ["dense", "ragged"])
def test_planted_faults_of_a_model(fault, kind):
    cloud = dense(3, 5) if kind == "dense" else ragged([4, 3])
    for vectors, error in ((None, moving_error), (3, pointing_error)):
        if vectors and fault is _absolute:
            continue  # the mean is taken off again: a frame does not feel that
        net = net_of(vectors)
        assert error(net, cloud, 3) < 1e-12
        fault(net)
        assert error(net, cloud, 3) > 1e-4


@pytest.mark.parametrize("network", [VectorNeurons, DeepSets, EGNN])
def test_a_frame_is_made_of_it(network):
    """Also on clouds with symmetries of their own, where its vectors have no direction."""
    points = torch.cat([draws(6, 8, 3), torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * 3)[None]])
    symmetry = Symmetry(E(3), inputs=Point(), outputs=Point())
    frame = Learned(network(3, generator=torch.Generator().manual_seed(0)).double())
    check_frame(frame, symmetry, points)
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()
    assert_equivariant(symmetrize(model, symmetry, frame), symmetry, points)


WRONG = {
    "dense edges": ({"edges": torch.zeros(2, 1).long()}, False, "dense cloud"),
    "no such row": ({"edges": torch.tensor([[0], [9]])}, True, "no pairs of rows"),
    "three rows": ({"edges": torch.zeros(3, 1).long()}, True, "no pairs of rows"),
    "whole numbers": ({"edges": torch.zeros(2, 1)}, True, "no pairs of rows"),
    "across samples": ({"edges": torch.tensor([[0, 0], [1, 4]])}, True, "edge 1 from sample 0 to sample 1"),
    "no features": ({"edges": torch.tensor([[0], [1]])}, True, "edge_features=1"),
    "no edges": ({}, True, "need the edges"),
    "features without edges": ({"edge_features": torch.zeros(2, 3, 1)}, False, "edge_features=1"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("call", "rows", "told"), WRONG.values(), ids=WRONG)
def test_edges_that_do_not_fit(call, rows, told):
    net = EGNN(2, edge_features=1)
    cloud = (
        {"points": torch.zeros(5, 3), "index": torch.tensor([0, 0, 0, 1, 1])}
        if rows
        else {"points": torch.ones(2, 3, 3)}
    )
    with pytest.raises(SymmetryError, match=told):
        net(**cloud, **call)


def test_each_sample_has_its_own_element():
    """The helper itself: rows take the element of their sample."""
    cloud = ragged([2, 3])
    assert torch.equal(each(cloud, torch.tensor([5.0, 7.0])), torch.tensor([5.0, 7.0])[cloud["index"]])
