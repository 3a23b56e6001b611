"""The laws of the networks as numbers, and the images that they are measured on."""

import torch

from canonize import C, D, Image
from canonize.linalg import is_signed_permutation
from canonize.nn import GroupCNN, Scorer, Steerable

GROUPS = [*(C(n) for n in (1, 2, 3, 4, 6, 8)), *(D(n) for n in (1, 2, 4, 6))]
DTYPES = [(torch.float32, 1e-5), (torch.float64, 1e-12)]
SQUARES = [*((n, n) for n in range(1, 10)), (16, 16), (17, 17)]
OBLONGS = [(1, 6), (5, 1), (4, 7), (12, 9), (64, 48)]

NETWORKS = {
    "scorer": lambda **kwargs: Scorer(2, width=4, **kwargs),
    "scorer-disk": lambda **kwargs: Scorer(2, width=4, disk=True, **kwargs),
    "group-D4": lambda **kwargs: GroupCNN(D(4), 2, width=3, **kwargs),
    "group-C6": lambda **kwargs: GroupCNN(C(6), 2, width=3, **kwargs),
    "steerable": lambda **kwargs: Steerable(2, width=3, **kwargs),
    "steerable-flips": lambda **kwargs: Steerable(2, width=3, vectors=2, reflections=True, **kwargs),
}


def noise(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def awake(net):
    """The network with every parameter away from its first value, so that no term is hidden by a zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in net.parameters():
            value += 0.1 * torch.randn(value.shape, generator=generator).to(value)
    return net


def smooth(batch, channels=2, size=32, seed=0):
    """A few broad bumps well inside the disk, float64."""
    draw = torch.Generator().manual_seed(seed)
    line = torch.linspace(-1, 1, size, dtype=torch.float64)
    total = torch.zeros(batch, channels, size, size, dtype=torch.float64)
    for _ in range(6):
        at = torch.rand(batch, channels, 2, 1, 1, generator=draw, dtype=torch.float64) - 0.5
        high = torch.randn(batch, channels, 1, 1, generator=draw, dtype=torch.float64)
        total += high * torch.exp(-12 * ((line - at[:, :, 0]) ** 2 + (line[:, None] - at[:, :, 1]) ** 2))
    return total


def turned(g, x):
    return Image()(g.to(x.dtype).expand(len(x), 2, 2), x)


def moves(group, size):
    """The numbers of the elements that only move pixels of a grid."""
    matrices = group.elements(dtype=torch.float64)
    found = is_signed_permutation(matrices)
    return (found & ((matrices[:, 0, 0] != 0) | (size[0] == size[1]))).nonzero()[:, 0].tolist()


def products(group, h):
    """The number of h g for each g."""
    matrices = group.elements(dtype=torch.float64)
    found = group.compose(matrices[h].expand_as(matrices), matrices)
    return (found[:, None] - matrices).abs().amax((-2, -1)).argmin(-1)


@torch.no_grad()
def energy_gap(net, group, x, h):
    """energies(h x)[h g] - energies(x)[g], (batch, |G|)."""
    return net(turned(group.elements(dtype=torch.float64)[h], x))[:, products(group, h)] - net(x)


@torch.no_grad()
def energy_error(net, group, x):
    """The largest gap over the elements that only move pixels, over the largest energy."""
    gaps = [energy_gap(net, group, x, h).abs().max() for h in moves(group, x.shape[-2:])]
    return float(max(gaps) / net(x).abs().max())


@torch.no_grad()
def vector_error(net, group, x):
    """The largest entry of v(h x) - h v(x) over the elements that only move pixels, over the longest vector or 1 %."""
    vectors, errors = net(x), []
    for h in moves(group, x.shape[-2:]):
        g = group.elements(dtype=x.dtype)[h]
        errors.append((net(turned(g, x)) - vectors @ g.mT).abs().max())
    return float(max(errors) / vectors.norm(dim=-1).max().clamp(min=0.01))


@torch.no_grad()
def resampled_energy_error(net, group, x):
    """Root mean square of the gaps over all elements but the identity, over the spread of the energies."""
    order = len(group.elements())
    gaps = torch.stack([energy_gap(net, group, x, h) for h in range(1, order)])
    energies = net(x)
    return float(gaps.square().mean().sqrt() / (energies - energies.mean(1, keepdim=True)).square().mean().sqrt())


@torch.no_grad()
def resampled_vector_error(net, elements, x):
    """Root mean square of v(h x) - h v(x) over that of v(x)."""
    vectors = net(x)
    gaps = torch.stack([net(turned(g, x)) - vectors @ g.mT for g in elements])
    return float(gaps.square().mean().sqrt() / vectors.square().mean().sqrt())
