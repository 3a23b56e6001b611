"""Images against torch.rot90 and flip, bit for bit, and vector images against an analytic field."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from canonize import SO, C, D, Image, Mask, Octahedral, VectorImage, Volume
from lists import GRID_DTYPES, draw

SIZES = [*range(1, 9), 32, 33]
LAWS = settings(deadline=None, max_examples=20, derandomize=True)


def turned(x, k, flipped):
    """Element k of the rotations, after the first reflection where `flipped`."""
    return (x.flip(-1) if flipped else x).rot90(k, (-2, -1))


def same(a, b):
    return a.dtype == b.dtype and torch.equal(torch.nan_to_num(a, nan=7.5), torch.nan_to_num(b, nan=7.5))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("action", [Image(), Mask()], ids=str)
def test_quarter_turns_and_flips(action, size):
    x = draw(8, 2, size, size, dtype=torch.float32)
    moved = action(D(4).elements(), x)
    for e in range(8):
        assert torch.equal(moved[e], turned(x[e], e % 4, e >= 4))


@pytest.mark.parametrize("dtype", [*GRID_DTYPES, torch.complex64, torch.float16, torch.int8, torch.uint16], ids=str)
def test_every_dtype(dtype):
    entries = draw(4, 1, 5, 5).mul(8).abs().round() % 2 if dtype == torch.bool else draw(4, 1, 5, 5).mul(8).abs()
    moved = Image()(C(4).elements(), entries.to(dtype))
    assert moved.dtype == dtype
    for k in range(4):
        assert moved[k].tolist() == entries[k].rot90(k, (-2, -1)).to(dtype).tolist()


@pytest.mark.parametrize("size", [(4, 7), (7, 4), (1, 6), (5, 1)], ids=str)
def test_half_turns_and_flips_of_images_that_are_not_square(size):
    x = draw(4, 1, *size)
    moved = Image()(D(2).elements(dtype=torch.float64), x)
    assert torch.equal(moved[1], x[1].flip(-1, -2))
    assert torch.equal(moved[2], x[2].flip(-1))
    assert torch.equal(moved[3], x[3].flip(-2))


@LAWS
@given(size=st.integers(1, 9), elements=st.lists(st.integers(0, 15), min_size=1, max_size=6))
def test_mixed_batches_equal_one_at_a_time(size, elements):
    g = D(8).elements(dtype=torch.float64)[elements]
    x = draw(len(elements), 2, size, size)
    moved = Image()(g, x)
    for i, e in enumerate(elements):
        assert torch.equal(moved[i : i + 1], Image()(g[i : i + 1], x[i : i + 1]))
        if e % 2 == 0:
            assert torch.equal(moved[i], turned(x[i], (e % 8) // 2, e >= 8))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_not_a_number_moves_like_any_entry(bad):
    x = draw(4, 1, 5, 5)
    x[:, :, 0, 1] = bad
    moved = Image()(C(4).elements(dtype=torch.float64), x)
    for k in range(4):
        assert same(moved[k], x[k].rot90(k, (-2, -1)))


def test_inputs_of_any_layout():
    base = draw(4, 9, 9, 3)
    g = C(4).elements(dtype=torch.float64)
    expanded = base[..., :1].expand(4, 9, 9, 3)
    layouts = [base.permute(0, 3, 1, 2), base.permute(0, 3, 2, 1), base[:, ::2, ::2].permute(0, 3, 1, 2)]
    for x in (*layouts, expanded.permute(0, 3, 1, 2)):
        before = x.clone()
        moved = Image()(g, x)
        assert all(torch.equal(moved[k], x[k].rot90(k, (-2, -1))) for k in range(4))
        assert torch.equal(x, before)
    last = base.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    assert torch.equal(Image()(g, last)[1], last[1].rot90(1, (-2, -1)))


def test_a_full_turn_in_eighths_loses_little_of_a_smooth_image():
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 65, dtype=torch.float64)] * 2, indexing="ij")
    blob = torch.exp(-8 * ((x - 0.2) ** 2 + (y + 0.1) ** 2))[None, None]
    eighth = C(8).elements(dtype=torch.float64)[1:2]
    moved = blob
    for _ in range(8):
        moved = Image(interpolation="bicubic")(eighth, moved)
    assert (moved - blob).abs().max() < 0.03


@pytest.mark.parametrize("size", [32, 33])
def test_resampled_content_moves_where_the_matrix_says(size):
    """A blob at p must come to stand at g p: the naive twin evaluates the blob at the moved middle."""
    grid = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    x, y = grid[None, :], -grid[:, None]

    def blob(p):
        return torch.exp(-((x - p[0]) ** 2 + (y - p[1]) ** 2) / 18)[None]

    p = torch.tensor([5.0, 2.0], dtype=torch.float64)
    for g in C(12).elements(dtype=torch.float64):
        moved = Image()(g[None], blob(p)[None])[0]
        assert (moved - blob(g @ p)).abs().max() < 0.03


@pytest.mark.parametrize("n", [4, 8])
def test_vector_image_against_the_turned_analytic_field(n):
    size = 33
    grid = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    right, up = torch.meshgrid(grid, -grid, indexing="xy")
    places = torch.stack([right, up], -1)

    def field(p):
        """Swirl and drift, fading out, in x to the right and y up."""
        fade = torch.exp(-(p.square().sum(-1, keepdim=True)) / 200)
        return torch.stack([p[..., 0] - 2 * p[..., 1] + 3, p[..., 0] + 1], -1) * fade

    def as_image(values):
        return torch.stack([values[..., 0], -values[..., 1]])[None]

    for k, g in enumerate(D(n).elements(dtype=torch.float64)):
        wanted = as_image(field(places @ g) @ g.mT)
        moved = VectorImage()(g[None], as_image(field(places)))
        tolerance = 1e-12 if (k % n) % (n // 4) == 0 else 0.03
        inside = places.norm(dim=-1) < 14
        assert (moved - wanted)[..., inside].abs().max() < tolerance * wanted.abs().max()


def test_padding_is_what_stands_outside():
    ones, eighth = torch.ones(1, 1, 9, 9, dtype=torch.float64), C(8).elements(dtype=torch.float64)[1:2]
    assert Image(padding="zeros")(eighth, ones)[0, 0, 0, 0] == 0
    assert torch.allclose(Image()(eighth, ones), ones)
    assert Mask(fill=255)(eighth, ones.long())[0, 0, 0, 0] == 255


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_volumes_against_numpy_style_turns(size):
    x = draw(24, 1, size, size, size)
    g = Octahedral().elements(dtype=torch.float64)
    moved = Volume()(g, x)
    coordinates = torch.stack(torch.meshgrid(*[torch.arange(size)] * 3, indexing="ij"), -1).reshape(-1, 3)
    for e in range(24):
        for d, h, w in coordinates.tolist():
            place = torch.tensor([w, size - 1 - h, d], dtype=torch.float64) - (size - 1) / 2
            to = ((g[e] @ place) + (size - 1) / 2).round().long().tolist()
            assert moved[e, 0, to[2], size - 1 - to[1], to[0]] == x[e, 0, d, h, w]


def test_float32_elements_of_large_groups_stay_lossless_at_quarter_turns():
    x = draw(1, 1, 33, 33, dtype=torch.float32)
    g = SO(2).compose(C(360).elements()[45:46], C(360).elements()[45:46])
    assert torch.equal(Image()(g, x)[0], x[0].rot90(1, (-2, -1)))
