"""Boxes and keypoints against naive twins on real pixels."""

import pytest
import torch

from canonize import Boxes, C, D, Image, Keypoints
from lists import draw

SIZES = [(6, 6), (7, 7), (4, 9)]


def groups(size):
    return D(4) if size[0] == size[1] else D(2)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_box_follows_the_pixels_that_it_encloses(size):
    for left, top, right, bottom in ((0, 0, 1, 1), (1, 0, 4, 2), (2, 1, 3, 4)):
        image = torch.zeros(1, *size)
        image[:, top:bottom, left:right] = 1
        for g in groups(size).elements():
            rows, columns = Image()(g[None], image)[0].nonzero().unbind(1)
            naive = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
            assert Boxes(size)(g[None], torch.tensor([[left, top, right, bottom]]).float()).tolist() == [naive]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_keypoint_follows_its_pixel(size):
    for column, row in ((0, 0), (3, 1), (2, 3)):
        image = torch.zeros(1, *size)
        image[0, row, column] = 1
        for g in groups(size).elements():
            (to,) = Image()(g[None], image)[0].nonzero().tolist()
            assert Keypoints(size)(g[None], torch.tensor([[column, row]]).float()).tolist() == [to[::-1]]


def test_a_turned_box_encloses_the_turned_corners():
    size, box = (20, 20), torch.tensor([[4.0, 6.0, 9.0, 8.0]], dtype=torch.float64)
    corners = torch.tensor([[4.0, 6], [9, 6], [9, 8], [4, 8]], dtype=torch.float64)
    for g in C(7).elements(dtype=torch.float64):
        # Keypoints count from the middle of a pixel, boxes from its edge: half a pixel apart.
        moved = Keypoints(size)(g[None], corners[None] - 0.5)[0] + 0.5
        naive = torch.cat([moved.amin(0), moved.amax(0)])
        torch.testing.assert_close(Boxes(size)(g[None], box)[0], naive)


def test_boxes_stay_boxes():
    low, high = draw(5, 3, 2, seed=1), draw(5, 3, 2, seed=2).abs()
    boxes = torch.cat([low, low + high], -1)
    for g in C(8).elements(dtype=torch.float64):
        moved = Boxes((12, 12))(g.expand(5, 2, 2), boxes)
        assert (moved[..., 2:] >= moved[..., :2]).all()


def test_a_batch_may_hold_no_boxes():
    assert Boxes((8, 8))(C(4).elements(), torch.zeros(4, 0, 4)).shape == (4, 0, 4)
    assert Keypoints((8, 8))(C(4).elements(), torch.zeros(4, 0, 2)).shape == (4, 0, 2)
