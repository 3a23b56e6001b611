"""Where a frame fades, loses an axis, or must say that it cannot."""

import pytest
import torch

from canonize import (
    PCA,
    SE,
    SO,
    E,
    Learned,
    O,
    Point,
    Polar,
    Scalar,
    Symmetry,
    SymmetryError,
    Tensor,
    Vector,
    Weighted,
    symmetrize,
)
from canonize.testing import check_frame

DOUBLE = torch.float64


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def waves(x):
    return torch.sin(1.3 * x @ x.new_tensor([0.7, -0.4, 0.9]) + 0.3).sum(-1)


def slopes(energy, x, step=1e-6):
    """The gradient by central differences."""
    found = torch.zeros_like(x)
    for place in range(x.numel()):
        off = torch.zeros_like(x).flatten()
        off[place] = step
        off = off.reshape(x.shape)
        found.view(-1)[place] = (energy(x + off).sum() - energy(x - off).sum()) / (2 * step)
    return found


def gradient(energy, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(energy(x).sum(), x)[0]


def close(found, wanted, within=1e-6):
    assert (found - wanted).abs().max() <= within * wanted.abs().max()


@pytest.mark.parametrize("group", [SE(3), E(3)], ids=repr)
def test_forces_where_a_learned_pose_fades(group):
    def vectors(x):
        x = x - x.mean(1, keepdim=True)
        return torch.stack([(x * x.square().sum(-1, keepdim=True) ** power).sum(1) for power in (0.25, 1.5, 4.0)], 1)

    claim = Symmetry(group, Point(), Scalar())
    fading = [
        (x, scale)
        for x in (draw(1, 5, 3, seed=seed) for seed in range(12))
        for scale in torch.logspace(-1, 3, 60).tolist()
        if 0.06 < float(Learned(vectors, scale=scale)(claim, x).margin) < 0.09
    ]
    x, scale = fading[-1]
    energy = symmetrize(waves, claim, Learned(vectors, scale=scale))
    assert energy.poses(x).count > 1
    close(gradient(energy, x), slopes(energy, x))


@pytest.mark.parametrize(
    ("group", "values"),
    [
        (O(3), (1, 1, 2.6e-4)),
        (O(3), (1, 2.6e-4, 2.6e-4)),
        (O(3), (1, 0.7, 2.2e-4)),
        (SO(3), (1, 9e-5, 9e-5)),
        (SO(3), (1, 1, -0.99956)),
        (SO(2), (1, -0.99974)),
    ],
    ids=str,
)
def test_forces_where_a_rotation_fades(group, values):
    n = group.n
    left, right = (group.sample(1, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE) for seed in (1, 2))
    x = left @ torch.tensor(values, dtype=DOUBLE).diag() @ right.mT

    def energy(x):
        return torch.sin(x * torch.linspace(0.5, 2, n * n, dtype=DOUBLE).reshape(n, n) + 0.2).sum((1, 2))

    found = symmetrize(energy, Symmetry(group, Vector(axis=-2), Scalar()), Polar())
    assert found.poses(x).count > 1, "this matrix does not lie where the frame fades"
    scale = 1e-8  # the zone is narrow in float64, and poses change within it
    close(gradient(found, x), slopes(found, x, scale), 1e-4)


def test_a_weight_of_zero_has_a_gradient():
    x = {"pos": draw(2, 5, 3), "mass": torch.ones(2, 5, dtype=DOUBLE)}
    x["mass"][0, 2] = 0
    x["mass"].requires_grad_()
    energy = symmetrize(
        lambda data: waves(data["pos"]),
        Symmetry(SE(3), {"pos": Point(), "mass": Scalar()}, Scalar()),
        Weighted(weights="mass"),
    )
    energy(x).sum().backward()
    assert x["mass"].grad.isfinite().all()


LINE = torch.tensor([[-1.0, 0, 0], [0.2, 0, 0], [1.1, 0, 0]], dtype=DOUBLE).expand(2, -1, -1)


@pytest.mark.parametrize("frame", [Weighted(), PCA(), PCA(signs="ruled")], ids=repr)
class TestOnALine:
    def test_pseudovectors_tell_an_axis_under_rotations(self, frame):
        claim = Symmetry(SE(3), {"pos": Point(), "spin": Tensor(1, odd=True)}, Scalar())
        check_frame(frame, claim, {"pos": LINE, "spin": draw(2, 3, 3)}, tolerance=1e-10)

    @pytest.mark.parametrize(
        ("group", "action", "shape"),
        [(O(3), Tensor(1, odd=True), (3,)), (SO(3), Tensor(2), (3, 3)), (E(3), Tensor(2), (3, 3))],
    )
    def test_what_tells_none_is_refused(self, frame, group, action, shape):
        value = {"pos": torch.cat([draw(1, 3, 3), LINE[:1]]), "more": draw(2, *shape)}
        with pytest.raises(SymmetryError, match="sample 1 of the batch, with inputs declared"):
            frame(Symmetry(group, {"pos": Point(), "more": action}, Scalar()), value)

    def test_and_is_fine_away_from_it(self, frame):
        claim = Symmetry(O(3), {"pos": Point(), "more": Tensor(2)}, Scalar())
        check_frame(frame, claim, {"pos": draw(2, 5, 3), "more": draw(2, 3, 3)}, tolerance=1e-10)


@pytest.mark.parametrize("frame", [Weighted(), PCA(), PCA(signs="ruled")], ids=repr)
@pytest.mark.parametrize("shape", [(2, 5, 2), (2, 5, 4), (3,)])
def test_another_dimension_is_named(frame, shape):
    with pytest.raises(SymmetryError, match=r"no coordinates of the group's space"):
        frame(Symmetry(SE(3), Point(), Scalar()), draw(*shape))


def test_a_sphere_is_refused_with_a_way_out():
    sphere = torch.nn.functional.normalize(draw(1, 400, 3), dim=-1)
    with pytest.raises(SymmetryError, match="too many poses"):
        Weighted()(Symmetry(SO(3), Point(), Scalar()), torch.cat([draw(1, 400, 3), sphere]))


def test_negative_weights_name_the_sample():
    x = {"pos": draw(3, 5, 3), "w": torch.ones(3, 5)}
    x["w"][2, 1] = -1
    with pytest.raises(SymmetryError, match="-1 in sample 2 of the batch"):
        Weighted(weights="w")(Symmetry(SO(3), {"pos": Point(), "w": Scalar()}, Scalar()), x)
