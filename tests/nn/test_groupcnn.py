"""Energies over a group: energies(h x)[h g] = energies(x)[g], exactly where pixels move, nearly where they do not."""

import pytest
import torch
from nn_laws import (
    DTYPES,
    GROUPS,
    OBLONGS,
    SQUARES,
    awake,
    energy_error,
    noise,
    resampled_energy_error,
    smooth,
)
from torch import nn

from canonize import SO, C, D, Image, Octahedral, generated_by
from canonize.errors import SymmetryError
from canonize.nn import GroupCNN, groupcnn

E4 = C(4).elements(dtype=torch.float64)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES, ids=str)
@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("disk", [None, True], ids=["", "disk"])
def test_energies_move_with_the_image(group, dtype, tolerance, disk):
    net = awake(GroupCNN(group, 2, width=3, disk=disk).to(dtype))
    for size in [*SQUARES, *OBLONGS]:
        assert energy_error(net, group, noise(2, 2, *size, dtype=dtype)) < tolerance, size


@pytest.mark.parametrize("group", [C(8), D(4)], ids=str)
def test_any_kernel_and_depth(group):
    for kernel, depth in [(1, 1), (1, 3), (3, 2), (7, 1), (9, 2)]:
        net = awake(GroupCNN(group, 1, width=2, depth=depth, kernel=kernel).double())
        assert energy_error(net, group, noise(2, 1, 9, 9)) < 1e-12


def test_a_group_of_matrices_in_another_order():
    group = generated_by([[[0.0, 1.0], [1.0, 0.0]], [[0.0, -1.0], [1.0, 0.0]]])
    assert energy_error(awake(GroupCNN(group, 1).double()), group, noise(2, 1, 8, 8)) < 1e-12


@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_one_energy_for_each_element_and_sample(group, batch):
    net, x = GroupCNN(group, 3, width=2), noise(batch, 3, 6, 6, dtype=torch.float32)
    energies = net(x)
    assert energies.shape == (batch, group.order)
    assert energies.isfinite().all()
    for i in range(batch):
        torch.testing.assert_close(net(x[i : i + 1])[0], energies[i])


@pytest.mark.parametrize("group", [C(4), D(2), D(4)], ids=str)
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (8, 8), (9, 9)], ids=str)
def test_a_constant_image_ties_all_elements(group, size):
    energies = awake(GroupCNN(group, 1).double())(torch.full((1, 1, *size), 3.0, dtype=torch.float64))
    assert (energies - energies[:, :1]).abs().max() < 1e-12 * energies.abs().max().clamp(min=1)


@pytest.mark.parametrize("group", [C(2), C(8), D(1), D(3), D(4)], ids=str)
def test_other_images_do_not(group):
    energies = awake(GroupCNN(group, 1).double())(smooth(8, 1))
    gaps = (energies[:, :, None] - energies[:, None]).abs() + torch.eye(group.order)
    assert gaps.amin((-2, -1)).median() > 1e-5


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_filters_turn_as_images_do(group):
    """The naive twin: `Image` turns the filter. Bit for bit where entries move; elsewhere the middle of mass is compared."""
    net = GroupCNN(group, 1, kernel=5, width=1).double()
    turns, matrices = net.turns, group.elements(dtype=torch.float64)
    filters = turns.mT.reshape(len(matrices), -1, 5, 5)
    for h in groupcnn.is_signed_permutation(matrices).nonzero()[:, 0].tolist():
        assert torch.equal(Image()(matrices[h : h + 1], filters[:1])[0], filters[h])
    line = torch.arange(-2.0, 3.0, dtype=torch.float64)
    mass = filters / filters.sum((-2, -1), keepdim=True)
    middle = torch.stack([(mass * line).sum((-2, -1)), (mass * -line[:, None]).sum((-2, -1))], -1)
    assert (middle - middle[0] @ matrices.mT).abs().max() < 0.15


@pytest.mark.parametrize("group", [C(4), D(4), D(3)], ids=str)
def test_against_the_sum_over_the_group_written_out(group):
    net = awake(GroupCNN(group, 2, width=2, depth=2, disk=False).double())
    x, matrices = noise(1, 2, 6, 6), group.elements(dtype=torch.float64)

    def number(g):
        return int((matrices - g).abs().amax((-2, -1)).argmin())

    def shaped(weight, g):
        return (net.turns[g] @ weight).reshape(5, 5)

    def at(x, weight):
        return torch.nn.functional.conv2d(x[None, None], weight[None, None], padding=2)[0, 0]

    order = len(matrices)
    lifted = torch.stack([
        torch.stack([sum(at(x[0, i], shaped(net.lift[o, i], g)) for i in range(2)) for g in range(order)]) for o in range(2)
    ])  # fmt: skip
    y = torch.nn.functional.silu(net.norms[0](lifted[None]))[0]
    maps = torch.zeros_like(y)
    for o in range(2):
        for g in range(order):
            for k in range(order):
                quotient = number(group.compose(group.inverse(matrices[g]), matrices[k]))
                maps[o, g] += sum(at(y[i, k], shaped(net.filters[0][o, i, quotient], g)) for i in range(2))
    wanted = (torch.nn.functional.silu(net.norms[1](maps[None]))[0].mean((-2, -1)) * net.head[:, None]).sum(0)
    torch.testing.assert_close(net(x)[0], wanted, rtol=1e-10, atol=1e-12)


class Plain(nn.Module):
    """A CNN with one output for each element, which knows of no group."""

    def __init__(self, order):
        super().__init__()
        layers = [nn.Conv2d(old, new, 5, padding=2) for old, new in ((2, 16), (16, 16), (16, order))]
        self.layers = nn.Sequential(layers[0], nn.SiLU(), layers[1], nn.SiLU(), layers[2])

    def forward(self, x):
        return self.layers(x).mean((-2, -1))


@pytest.mark.parametrize("group", [C(3), C(6), C(8), C(16), D(3), D(6), D(8)], ids=str)
@pytest.mark.parametrize("kernel", [5, 7])
def test_resampled_elements_move_energies_nearly(group, kernel):
    x = smooth(4)
    error = resampled_energy_error(GroupCNN(group, 2, kernel=kernel).double(), group, x)
    assert error < 0.2
    assert resampled_energy_error(Plain(group.order).double(), group, x) > 5 * error


def _wrong_turns(net):
    net.turns = net.turns[[0, 3, 2, 1]]


def _wrong_quotients(net):
    """k g^-1 in place of g^-1 k."""
    matrices = net.group.elements(dtype=torch.float64)
    products = net.group.compose(matrices[None], net.group.inverse(matrices)[:, None])
    net.table = (products[:, :, None] - matrices).abs().amax((-2, -1)).argmin(-1)


def _wrong_order(net):
    net.register_forward_hook(lambda module, args, out: out[:, [0, 2, 1, 3]])


def _wrong_bias(net):
    net.norms[1].register_forward_hook(lambda module, args, out: out + torch.arange(4.0).double()[:, None, None])


FAULTS = {
    "turns": (_wrong_turns, C(4)),
    "quotients": (_wrong_quotients, D(4)),  # the order of a product matters where elements do not commute
    "order": (_wrong_order, C(4)),
    "bias": (_wrong_bias, C(4)),
}


@pytest.mark.parametrize(("fault", "group"), FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("size", [8, 9])
def test_planted_faults_break_the_law(fault, group, size):
    net = awake(GroupCNN(group, 1, width=3).double())
    x = noise(2, 1, size, size)
    assert energy_error(net, group, x) < 1e-12
    fault(net)
    assert energy_error(net, group, x) > 1e-4


@pytest.mark.parametrize(("size", "broken"), [(16, True), (17, False)])
def test_a_stride_breaks_the_law_on_even_sizes(size, broken, monkeypatch):
    monkeypatch.setattr(groupcnn, "halved", lambda y, down_to: y[..., ::2, ::2])
    error = energy_error(awake(GroupCNN(C(4), 1, width=3, depth=2).double()), C(4), noise(2, 1, size, size))
    assert (error > 1e-4) is broken


def test_transposed_elements_break_the_law():
    """The inverse in place of the element, on either side."""
    net = awake(GroupCNN(C(4), 1, width=3).double())
    x = noise(2, 1, 8, 8)
    back = net(Image()(E4[1:2].mT.expand(2, 2, 2), x))[:, [1, 2, 3, 0]]
    assert (back - net(x)).abs().max() > 1e-4 * net(x).abs().max()


def test_the_disk_hides_the_corners():
    net, x = GroupCNN(C(8), 1), noise(2, 1, 16, 16, dtype=torch.float32)
    lit = x.clone()
    lit[..., :2, :2] = 9.0
    assert torch.equal(net(lit), net(x))
    open_net = GroupCNN(C(8), 1, disk=False)
    assert not torch.equal(open_net(lit), open_net(x))


@pytest.mark.parametrize("group", [C(4), D(6)], ids=str)
def test_gradients_against_finite_differences(group):
    net = awake(GroupCNN(group, 1, width=2, depth=2, kernel=3).double())
    assert torch.autograd.gradcheck(net, noise(1, 1, 4, 4).requires_grad_())


@pytest.mark.parametrize("group", [C, SO(2), Octahedral(), "C4", None, generated_by([[1, -1], [1, 0]])], ids=repr)
def test_groups_that_are_none_of_the_plane(group):
    with pytest.raises(SymmetryError, match="orthogonal 2 x 2 matrices"):
        GroupCNN(group, 3)


def test_an_even_kernel():
    with pytest.raises(SymmetryError, match="no middle pixel"):
        GroupCNN(C(4), 3, kernel=4)
