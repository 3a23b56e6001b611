"""The Hilbert curve: each cell once, neighbours in a row, finer grids refine coarser ones."""

import itertools

import pytest
import torch

from canonize.linalg import hilbert_index

GRIDS = [(1, 1), (1, 6), (2, 1), (2, 2), (2, 5), (3, 1), (3, 2), (3, 4), (4, 3), (5, 2), (7, 1)]


def grid(d, bits):
    return torch.tensor(list(itertools.product(range(2**bits), repeat=d)))


def is_curve(places, cells):
    """Whether the places number all cells, and each step is to a neighbour."""
    walked = cells[places.argsort()]
    once = torch.equal(places.sort().values, torch.arange(len(cells)))
    return once and bool(((walked[1:] - walked[:-1]).abs().sum(1) == 1).all())


@pytest.mark.parametrize(("d", "bits"), GRIDS)
def test_each_step_is_to_a_neighbour(d, bits):
    cells = grid(d, bits)
    assert is_curve(hilbert_index(cells, bits), cells)


@pytest.mark.parametrize(("d", "bits"), [(2, 3), (3, 2)])
def test_other_numberings_of_cells_are_found_out(d, bits):
    cells = grid(d, bits)
    rows = (cells * 2 ** (bits * torch.arange(d - 1, -1, -1))).sum(1)
    crossed = sum((cells[:, i] >> level & 1) << level * d + i for i in range(d) for level in range(bits))
    for places in (rows, crossed, hilbert_index(cells, bits).roll(1)):
        assert torch.equal(places.sort().values, torch.arange(len(cells)))
        assert not is_curve(places, cells)


@pytest.mark.parametrize(("d", "bits"), [grid for grid in GRIDS if grid[1] > 1])
def test_a_finer_grid_refines_a_coarser_one(d, bits):
    cells = grid(d, bits)
    assert torch.equal(hilbert_index(cells, bits) >> d, hilbert_index(cells // 2, bits - 1))


def test_in_the_plane_against_the_picture():
    """The curve of Hilbert's own figure, on four by four cells."""
    walk = [(0, 0), (0, 1), (1, 1), (1, 0), (2, 0), (3, 0), (3, 1), (2, 1), (2, 2), (3, 2), (3, 3), (2, 3), (1, 3), (1, 2),
            (0, 2), (0, 3)]  # fmt: skip
    assert torch.equal(hilbert_index(torch.tensor(walk).flip(1), 2), torch.arange(16))


@pytest.mark.parametrize(("d", "bits"), [(1, 62), (2, 31), (3, 20), (31, 2), (62, 1)])
def test_the_largest_grids(d, bits):
    draw = torch.Generator().manual_seed(d)
    cells = torch.randint(0, 2**bits, (3, 50, d), generator=draw)
    found = hilbert_index(cells, bits)
    assert found.shape == (3, 50)
    assert (found >= 0).all()
    if d * bits < 62:
        assert (found < 2 ** (d * bits)).all()
    assert torch.equal(found[1, 7], hilbert_index(cells[1, 7], bits))
    corners = torch.stack([torch.zeros(d).long(), torch.full((d,), 2**bits - 1)])
    assert hilbert_index(corners, bits)[0] == 0
    if bits > 1:
        assert torch.equal(found >> d, hilbert_index(cells // 2, bits - 1))


def test_nothing_is_changed_and_none_is_fine():
    cells = grid(3, 2)
    before = cells.clone()
    hilbert_index(cells, 2)
    assert torch.equal(cells, before)
    assert hilbert_index(torch.zeros(0, 3).long(), 4).shape == (0,)
