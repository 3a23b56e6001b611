"""The ordinary CNN that scores poses."""

import pytest
import torch
import torch.nn.functional as F
from nn_laws import OBLONGS, SQUARES, awake, noise, smooth

from canonize import Best, C, Image, Scalar, Symmetry
from canonize.nn import Scorer
from canonize.nn.scorer import SampleNorm, halved, soft_disk
from canonize.testing import check_frame


@pytest.mark.parametrize("size", [*SQUARES, *OBLONGS, (224, 200)], ids=str)
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_one_energy_a_sample(size, batch):
    net, x = Scorer(2, width=4), noise(batch, 2, *size, dtype=torch.float32)
    energies = net(x)
    assert energies.shape == (batch,)
    assert energies.isfinite().all()
    for i in range(batch):
        torch.testing.assert_close(net(x[i : i + 1])[0], energies[i])


@pytest.mark.parametrize("size", [2, 3, 8, 9, 32])
def test_it_matters_how_an_image_stands(size):
    net, x = awake(Scorer(1, width=4).double()), noise(1, 1, size, size)
    energies = torch.stack([net(x.rot90(k, (-2, -1))) for k in range(4)])
    assert energies.std(0) > 1e-4


@pytest.mark.parametrize("size", [(16, 16), (17, 17), (40, 20)], ids=str)
def test_the_disk_hides_the_corners(size):
    x = noise(2, 1, *size)
    lit = x.clone()
    lit[..., :2, :2] = 9.0
    net, blind = Scorer(1).double(), Scorer(1, disk=True).double()
    assert torch.equal(blind(lit), blind(x))
    assert not torch.equal(net(lit), net(x))


@pytest.mark.parametrize("n", [3, 8])
def test_with_the_disk_empty_corners_tell_little(n):
    """What is bright up to the edge shows by its corners that it was resampled, but not through the disk."""
    x = 3 + smooth(4, 1)
    x = x.mean((-2, -1), keepdim=True).expand_as(x).contiguous()
    poses = Image(padding="zeros")(C(n).elements(dtype=torch.float64)[1:2].expand(4, 2, 2), x)
    net, blind = awake(Scorer(1).double()), awake(Scorer(1, disk=True).double())
    assert (blind(poses) - blind(x)).abs().max() < 0.1 * (net(poses) - net(x)).abs().max()


def test_the_disk_against_its_definition():
    for size in [(2, 2), (8, 8), (9, 9), (31, 20)]:
        disk = soft_disk(torch.zeros(size, dtype=torch.float64))
        assert torch.equal(disk, disk.flip(-1))
        assert torch.equal(disk, disk.flip(-2))
        for i in range(size[0]):
            for j in range(size[1]):
                radius = ((i - (size[0] - 1) / 2) ** 2 + (j - (size[1] - 1) / 2) ** 2) ** 0.5
                edge = max(1, min(size) / 16)
                wanted = min(1.0, max(0.0, (min(size) / 2 - radius) / edge))
                assert abs(float(disk[i, j]) - wanted) < 1e-12


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (6, 1), (1, 7)], ids=str)
def test_something_is_left_of_thin_grids(size):
    assert soft_disk(torch.zeros(size)).sum() >= 1


@pytest.mark.parametrize("size", [*SQUARES, (4, 7), (9, 4)], ids=str)
def test_halving_commutes_with_turns_and_flips(size):
    x = noise(1, 2, *size)
    small = halved(x, down_to=4)
    if max(size) <= 4:
        assert small is x
    for k in range(4):
        torch.testing.assert_close(halved(x.rot90(k, (-2, -1)), down_to=4), small.rot90(k, (-2, -1)))
    torch.testing.assert_close(halved(x.flip(-1), down_to=4), small.flip(-1))


@pytest.mark.parametrize("shape", [(3, 4, 5, 5), (3, 4, 2, 5, 5), (1, 1, 1, 1)], ids=str)
def test_norm_against_its_definition(shape):
    norm, x = awake(SampleNorm(shape[1]).double()), noise(*shape)
    axes = tuple(range(1, len(shape)))
    mean = x.mean(axes, keepdim=True)
    spread = (x.var(axes, keepdim=True, correction=0) + 1e-5).sqrt()
    channels = (-1, *(1,) * (len(shape) - 2))
    wanted = (x - mean) / spread * norm.scale.reshape(channels) + norm.shift.reshape(channels)
    torch.testing.assert_close(norm(x), wanted)


def test_the_energy_of_a_frame():
    net = awake(Scorer(1, width=4))
    turns = Symmetry(C(4), Image(), Scalar())
    check_frame(Best(net), turns, noise(4, 1, 8, 8, dtype=torch.float32))


def test_it_learns_what_is_upright():
    upright = smooth(32, 1, 16).float() + torch.linspace(2, -2, 16)[:, None]
    net = Scorer(1, width=8, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    poses = torch.stack([upright.rot90(k, (-2, -1)) for k in range(4)], 1)
    for _ in range(40):
        energies = net(poses.flatten(0, 1)).reshape(-1, 4)
        loss = F.cross_entropy(-energies, torch.zeros(len(energies), dtype=torch.int64))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fresh = smooth(32, 1, 16, seed=9).float() + torch.linspace(2, -2, 16)[:, None]
    scores = torch.stack([net(fresh.rot90(k, (-2, -1))) for k in range(4)], 1)
    assert (scores.argmin(1) == 0).float().mean() > 0.9
