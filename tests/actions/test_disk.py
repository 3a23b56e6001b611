"""The disk that all turned copies share, and what stands outside a turned image."""

import pytest
import torch

from canonize import SO, C, D, Image, Scalar, Symmetry, SymmetryError, VectorImage, audit
from canonize.actions import within_disk
from canonize.testing import assert_equivariant
from lists import GRID_DTYPES, draw

PADDINGS = ("zeros", "border", "reflection")


@pytest.mark.parametrize("dtype", GRID_DTYPES, ids=str)
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (7, 7), (8, 8), (5, 9)], ids=str)
def test_lossless_moves_pass_through_bit_for_bit(size, dtype):
    x = draw(3, 2, *size, dtype=dtype)
    assert_equivariant(within_disk, Symmetry(D(4) if size[0] == size[1] else D(2), Image(), Image()), x)
    assert within_disk(x).dtype == dtype


def test_the_disk_touches_the_middles_of_the_border():
    kept = within_disk(torch.ones(9, 9))
    assert kept[4].all()
    assert not kept[0, :4].any()
    naive = [[(r - 4) ** 2 + (c - 4) ** 2 <= 16 for c in range(9)] for r in range(9)]
    assert kept.bool().tolist() == naive
    assert within_disk(torch.ones(2, 2), fill=0.5).unique().tolist() == [0.5]


@pytest.mark.parametrize("size", [8, 9])
def test_no_padding_is_ever_seen_within_the_disk(size):
    x, g = draw(40, 1, size, size), SO(2).sample(40, dtype=torch.float64)
    seen = [within_disk(Image(padding)(g, x)) for padding in PADDINGS]
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=1e-12)
    torch.testing.assert_close(seen[0], seen[2], rtol=0, atol=1e-12)
    assert not torch.allclose(Image("zeros")(g, x), Image("border")(g, x))


def test_content_outside_does_not_count():
    x = draw(2, 1, 9, 9)
    assert torch.equal(within_disk(within_disk(x)), within_disk(x))
    other = torch.where(within_disk(torch.ones(9, 9)) > 0, x, 100.0)
    assert torch.equal(within_disk(other), within_disk(x))


def test_what_is_no_image_is_refused():
    for bad in (torch.ones(3), "x"):
        with pytest.raises(SymmetryError, match="needs images"):
            within_disk.__wrapped__(bad) if hasattr(within_disk, "__wrapped__") else within_disk(bad)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("action", [Image, VectorImage], ids=lambda a: a.__name__)
def test_every_interpolation_knows_every_padding(action, interpolation):
    eighth, ones = C(8).elements(dtype=torch.float64)[1:2], torch.ones(1, 2, 9, 9, dtype=torch.float64)
    whole = action("border", interpolation)(eighth, ones)
    torch.testing.assert_close(action("reflection", interpolation)(eighth, ones), whole)
    torch.testing.assert_close(whole.norm(dim=1), ones.norm(dim=1))
    # The sampler's cubic reaches a little further than half a pixel, and below zero.
    assert action("zeros", interpolation)(eighth, ones)[0, :, 0, 0].abs().max() < 0.1


@pytest.mark.parametrize("padding", PADDINGS)
def test_the_nearest_cell_outside_is_that_of_the_sampler(padding):
    x = draw(60, 1, 7, 7)
    g = SO(2).sample(60, dtype=torch.float64)
    matrix = g.clone()
    matrix[:, 0, 1], matrix[:, 1, 0] = g[:, 1, 0], g[:, 0, 1]
    # In array axes the inverse turn, by the sampler itself on the image as it is.
    theta = torch.cat([matrix.mT, torch.zeros(60, 2, 1, dtype=torch.float64)], -1)
    grid = torch.nn.functional.affine_grid(theta, [60, 1, 7, 7], align_corners=False)
    twin = torch.nn.functional.grid_sample(x, grid, mode="nearest", padding_mode=padding, align_corners=False)
    moved = Image(padding, "nearest")(g, x)
    # Where a place is halfway between two cells, either is right.
    assert ((moved - twin).abs() > 1e-9).double().mean() < 0.01


def test_the_floor_compares_paddings():
    x = torch.linspace(0.2, 1, 33, dtype=torch.float64)
    pictures = (1 + torch.sin(9 * x[:, None] * torch.arange(1, 22, dtype=torch.float64)[:, None, None] * 0.1 + x))[
        :, None
    ]
    claim = {padding: Symmetry(C(8), Image(padding), Scalar()) for padding in PADDINGS}

    def floor_of(model, padding):
        rows = audit(model, claim[padding], pictures, cost=False).rows
        return max(row.floor for row in rows if not row.lossless)

    floor = {padding: floor_of(lambda x: x, padding) for padding in PADDINGS}
    assert floor["border"] < floor["zeros"]
    assert floor["reflection"] < floor["zeros"]
    for padding, whole in floor.items():
        assert floor_of(within_disk, padding) < 0.1 * whole
