"""Tensors as PNG."""

import base64
import io

import pytest
import torch
from PIL import Image

from canonize.report import pictures


def pixels(picture, low=0.0, high=1.0):
    """What a viewer sees, (height, width, 3)."""
    source = pictures.png(picture, low, high)
    assert source is not None
    data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return torch.tensor(list(image.tobytes())).reshape(image.height, image.width, 3)


def test_rows_columns_and_colours_are_where_they_were():
    picture = torch.zeros(3, 2, 3)
    picture[0, 0, 2] = 1
    picture[1, 1, 0] = 1
    seen = pixels(picture)
    assert seen.shape == (2, 3, 3)
    assert seen[0, 2].tolist() == [255, 0, 0]
    assert seen[1, 0].tolist() == [0, 255, 0]
    assert seen.sum() == 510


def test_channels():
    gray = torch.tensor([[[0.0, 0.5, 1.0]]])
    assert pixels(gray)[0].tolist() == [[0, 0, 0], [128, 128, 128], [255, 255, 255]]
    two = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert pixels(two)[0].tolist() == [[255, 128, 0], [0, 128, 255]]
    six = torch.arange(6.0)[:, None, None] / 5
    assert pixels(six)[0, 0].tolist() == [0, 51, 102]


def test_not_a_number_is_magenta():
    picture = torch.tensor([[[float("nan"), float("inf"), -float("inf"), 0.0]]])
    assert pixels(picture)[0].tolist() == [[255, 0, 255]] * 3 + [[0, 0, 0]]


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (torch.tensor([0.2, 0.8]), (0.0, 1.0)),
        (torch.tensor([-1e-7, 1 + 1e-6]), (0.0, 1.0)),
        (torch.tensor([-2.0, 0.5]), (-2.0, 0.5)),
        (torch.tensor([0.0, 200.0]), (0.0, 200.0)),
        (torch.tensor([0, 200], dtype=torch.uint8), (0.0, 255.0)),
        (torch.tensor([-5, 900]), (-5.0, 900.0)),
        (torch.tensor([True, False]), (0.0, 1.0)),
        (torch.tensor([7.0, 7.0]), (7.0, 8.0)),
        (torch.tensor([float("nan"), 3.0, 5.0, float("inf")]), (3.0, 5.0)),
        (torch.tensor([float("nan")]), (0.0, 1.0)),
        (torch.tensor([0.25, 4.0], dtype=torch.bfloat16), (0.25, 4.0)),
    ],
)
def test_scale(picture, expected):
    assert pictures.scale([picture.reshape(1, 1, -1)]) == expected


def test_one_scale_for_what_stands_together():
    assert pictures.scale([torch.full((1, 1, 1), -1.0), torch.full((1, 1, 1), 3.0)]) == (-1.0, 3.0)
    assert pictures.scale([]) == (0.0, 1.0)


def test_large_pictures_are_scaled_down_and_small_ones_left_alone():
    assert pixels(torch.rand(1, 320, 640)).shape == (80, 160, 3)
    assert pixels(torch.rand(1, 1, 5000)).shape == (1, 160, 3)
    assert pixels(torch.rand(1, 160, 160)).shape == (160, 160, 3)


def test_no_pixels_no_picture():
    assert pictures.png(torch.zeros(1, 0, 4), 0, 1) is None
    assert pictures.png(torch.zeros(0, 4, 4), 0, 1) is None
    assert pictures.png(torch.zeros(4, 4), 0, 1) is None


def test_pictures_that_require_gradients_are_left_as_they_are():
    picture = torch.rand(1, 2, 2, requires_grad=True)
    before = picture.detach().clone()
    assert pixels(picture).shape == (2, 2, 3)
    assert torch.equal(picture, before)


def test_differences():
    a = torch.rand(1, 3, 3)
    assert pictures.difference(a, a.clone(), 0, 1) == "identical, bit for bit"
    assert pictures.difference(a, a + 1e-6, 0, 1) == "identical up to rounding"
    assert pictures.difference(a, a + 0.5, 0, 2) == "pixels differ by up to 25 %"
    assert pictures.difference(a, a * float("nan"), 0, 1) == "some pixels are not finite"
    assert pictures.difference(a, a[:, :2], 0, 1) is None


def test_channels_are_explained():
    assert [pictures.channels(torch.zeros(c, 1, 1)) for c in (1, 2, 3, 4)] == [
        None,
        "Two channels are drawn as orange and blue.",
        None,
        "Of 4 channels the first three are drawn as red, green and blue.",
    ]
