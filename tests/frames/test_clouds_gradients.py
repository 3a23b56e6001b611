"""Forces through the frames of clouds: against finite differences at symmetric clouds too, finite to the second order."""

import pytest
import torch

from canonize import PCA, SE, SO, E, Learned, O, Symmetry, Weighted, symmetrize
from lists import draw
from zoo import ANSWERS, DOUBLE, POINTS, SINGULAR, Generic, batch_of_clouds, member, zoo

GROUPS = [SO, O, SE, E]
# Generic and symmetric; flat and long ones are where frames fade into the average over directions.
SMOOTH = ["generic", "cube", "CH4", "benzene", "CO2", "planar", "bent", "collinear", "octahedron", "NH3", "prism", "inversion",
          "far", "two moments equal", "all moments equal", "polygon 5"]  # fmt: skip


def energy_of(group, frame, cloud):
    """The energy as a function of the positions of one cloud, and these."""
    x, sizes = batch_of_clouds([cloud], group)
    fixed = symmetrize(Generic(cloud.shape[-1]), Symmetry(group, POINTS, ANSWERS), frame, chunk=256)
    return lambda pos: fixed({**x, "pos": pos})["energy"].sum(), x["pos"], float(sizes[0])


def slope(energy, pos, way, step):
    """The derivative along `way`, by the five-point rule."""
    with torch.no_grad():
        one, two = (energy(pos + k * step * way) - energy(pos - k * step * way) for k in (1, 2))
    return float(8 * one - two) / (12 * step)


@pytest.mark.parametrize("frame", [Weighted(), PCA()], ids=repr)
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
@pytest.mark.parametrize("name", SMOOTH)
def test_forces_are_the_gradient(name, group, frame):
    energy, pos, size = energy_of(group(3), frame, member(name))
    grad = torch.autograd.grad(energy(pos.requires_grad_()), pos)[0]
    pos = pos.detach()
    for seed in range(3):
        way = draw(*pos.shape, seed=seed)
        way = way / way.norm()
        wanted = float((grad * way).sum())
        # In units of what the energy changes by over the cloud: a symmetric cloud may have no force at all.
        unit = max(float(grad.norm()), 0.1 / size)
        off = min(abs(slope(energy, pos, way, step * size) - wanted) for step in (1e-3, 1e-4, 1e-5)) / unit
        assert off <= 1e-6, off


def test_a_detached_frame_is_seen():
    def frame(symmetry, inputs):
        return Weighted()(symmetry, {**inputs, "pos": inputs["pos"].detach()})

    energy, pos, size = energy_of(SE(3), frame, member("generic"))
    grad = torch.autograd.grad(energy(pos.requires_grad_()), pos)[0]
    way = draw(*pos.shape)
    way = way / way.norm()
    off = abs(slope(energy, pos.detach(), way, 1e-4 * size) - float((grad * way).sum()))
    assert off / float(grad.norm()) > 1e-3


@pytest.mark.parametrize("frame", [Weighted(), PCA(), PCA(signs="ruled"), PCA(fallback=None)], ids=repr)
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
@pytest.mark.parametrize("d", [2, 3])
def test_first_and_second_derivatives_are_finite(d, group, frame):
    group = group(d)
    clouds = [cloud for _, cloud in zoo(d)]
    x, _ = batch_of_clouds(clouds, group)
    fixed = symmetrize(Generic(d), Symmetry(group, POINTS, ANSWERS), frame, chunk=64)
    x["pos"].requires_grad_()
    answers = fixed(x)
    total = sum((part * draw(*part.shape)).sum() for part in answers.values())
    grad = torch.autograd.grad(total, x["pos"], create_graph=True)[0]
    second = torch.autograd.grad((grad * draw(*grad.shape, seed=1)).sum(), x["pos"])[0]
    for part in (grad, second):
        lost = ~part.isfinite().all(-1)
        assert not lost.any(), sorted({zoo(d)[i][0] for i in x["batch"][lost].tolist()})
    assert grad.abs().sum() > 0


@pytest.mark.parametrize("frame", [Weighted(), PCA(), PCA(signs="ruled")], ids=repr)
@pytest.mark.parametrize("name", ["empty", *SINGULAR[1:], "cube", "collinear"])
def test_alone_in_the_batch(name, frame):
    energy, pos, _ = energy_of(E(3), frame, member(name))
    value = energy(pos.requires_grad_())
    grad = torch.autograd.grad(value, pos)[0]
    assert value.isfinite()
    assert grad.isfinite().all()


@pytest.mark.parametrize("name", ["generic", "CH4", "on a sphere"])
def test_second_derivatives_are_right(name):
    energy, pos, _ = energy_of(SE(3), Weighted(), member(name))
    assert torch.autograd.gradcheck(energy, pos.requires_grad_(), atol=1e-7)

    def force(at):
        return torch.autograd.grad(energy(at), at, create_graph=True)[0]

    assert torch.autograd.gradcheck(force, pos, atol=1e-6)


class Arms(torch.nn.Module):
    """Two vectors of each cloud, with weights to learn."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([0.3, 1.1, -0.7], dtype=DOUBLE))

    def forward(self, data):
        x, owner = data["pos"], data["batch"]
        square = x.square().sum(-1, keepdim=True)
        bent = torch.stack([x, x * square.sin(), x * (2 * square).cos()], 1)
        a, b, c = self.weight
        mixed = torch.stack([bent[:, 0] + a * bent[:, 1], b * bent[:, 2] + c * bent[:, 0]], 1)
        return x.new_zeros(len(data["tag"]), 2, 3).index_add(0, owner, mixed)


def test_the_network_behind_learned_is_trained():
    network = Arms()
    fixed = symmetrize(Generic(3), Symmetry(SO(3), POINTS, ANSWERS), Learned(network))
    x, _ = batch_of_clouds([member("generic"), member("cube"), member("many")], SO(3))
    answers = fixed(x)
    (answers["energy"].sum() + answers["dipole"].square().sum()).backward()
    assert network.weight.grad.isfinite().all()
    assert (network.weight.grad.abs() > 1e-6).all()
    optimizer = torch.optim.SGD(fixed.frame.parameters(), lr=0.1)
    before = float(fixed(x)["energy"][0].detach())
    optimizer.step()
    assert abs(float(fixed(x)["energy"][0].detach()) - before) > 1e-6
