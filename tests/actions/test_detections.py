"""Boxes and keypoints against naive twins on real pixels."""

import pytest
import torch

from canonize import SO, Boxes, C, D, Image, Keypoints, LawError, Symmetry, SymmetryError
from canonize.testing import assert_equivariant
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


FORMATS = ("xyxy", "xywh", "cxcywh")


def as_format(boxes, form):
    low, high = boxes[..., :2], boxes[..., 2:]
    if form == "xyxy":
        return boxes
    return torch.cat([low if form == "xywh" else (low + high) / 2, high - low], -1)


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_format_says_the_same(size, form, normalised):
    low, high = draw(8, 3, 2, seed=1), draw(8, 3, 2, seed=2).abs()
    boxes = torch.cat([low, low + high], -1)
    share = torch.tensor([size[1], size[0]] * 2, dtype=boxes.dtype) if normalised else 1.0
    g = (D(8) if size[0] == size[1] else D(2)).elements(dtype=torch.float64)[:8, None].expand(-1, 3, 2, 2)
    g, boxes = (g, boxes) if size[0] == size[1] else (g[:4], boxes[:4])
    wanted = as_format(Boxes(size)(g, boxes) / share, form)
    torch.testing.assert_close(Boxes(size, form, normalised)(g, as_format(boxes / share, form)), wanted)


@pytest.mark.parametrize("group", [SO(2), C(8)], ids=str)
def test_shares_of_an_image_that_is_not_square_turn_as_its_pixels_do(group):
    size, share = (48, 64), torch.tensor([64.0, 48, 64, 48], dtype=torch.float64)
    boxes = torch.tensor([[4.0, 6.0, 19.0, 28.0]], dtype=torch.float64).expand(6, 4)
    g = group.sample(6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    g = g[~Boxes(size).lossless(g, boxes) & (g.abs() > 1e-9).all(-1).all(-1)]
    boxes = boxes[: len(g)]
    torch.testing.assert_close(Boxes(size, normalised=True)(g, boxes / share), Boxes(size)(g, boxes) / share)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", [(6, 6), (4, 9)], ids=str)
def test_shares_need_no_size_for_quarter_turns_and_flips(size, form):
    x, g = draw(8, 5, 4).abs(), groups(size).elements(dtype=torch.float64)
    x = x[: len(g)]
    torch.testing.assert_close(
        Boxes(None, form, normalised=True)(g, x), Boxes(size, form, normalised=True)(g, x), rtol=1e-12, atol=1e-12
    )
    with pytest.raises(SymmetryError, match="the size of the image is needed here"):
        Boxes(None, form, normalised=True)(C(8).elements(dtype=torch.float64), draw(8, 5, 4))


@pytest.mark.parametrize("form", FORMATS)
def test_boxes_without_width_keep_none_and_others_keep_theirs(form):
    """An eighth turn of the two corners (left, top) and (right, bottom) of a square alone would make a line of it."""
    flat = as_format(torch.tensor([[0.1, 3.7, 5.3, 3.7], [2.3, 1.1, 2.3, 1.1]], dtype=torch.float64), form)
    for g in D(4).elements(dtype=torch.float64):
        moved = Boxes((9, 9), form)(g, flat)
        sides = moved[:, 2:] - moved[:, :2] if form == "xyxy" else moved[:, 2:]
        assert (sides == 0).sum(1).tolist() == [1, 2]
    square = as_format(torch.tensor([[2.0, 2.0, 4.0, 4.0]], dtype=torch.float64), form)
    for g in C(8).elements(dtype=torch.float64):
        moved = Boxes((9, 9), form)(g, square)
        sides = moved[:, 2:] - moved[:, :2] if form == "xyxy" else moved[:, 2:]
        assert (sides >= 2 - 1e-12).all()


def test_visibility_does_not_turn():
    x, g = draw(4, 5, 3), C(4).elements(dtype=torch.float64)
    x[..., 2] = torch.tensor([0.0, 1, 2, 0, 1])
    moved = Keypoints((6, 9), visible=True)(D(2).elements(dtype=torch.float64), x)
    assert torch.equal(moved[..., 2], x[..., 2])
    moved = Keypoints((6, 6), visible=True)(g, x)
    assert torch.equal(moved[..., :2], Keypoints((6, 6))(g, x[..., :2]))
    assert torch.equal(moved[..., 2], x[..., 2])


def brightest(x):
    """The brightest pixel of each image: its box in pixels, the box as shares in DETR's format, and the point."""
    height, width = x.shape[-2:]
    place = x.flatten(1).argmax(1)
    row, column = (place // width).to(x.dtype), (place % width).to(x.dtype)
    one = torch.ones_like(row)
    share = torch.tensor([width, height], dtype=x.dtype)
    middle = torch.stack([column, row], 1) + 0.5
    return {
        "box": torch.stack([column, row, column + 1, row + 1], 1)[:, None],
        "shares": torch.cat([middle / share, (1 / share).expand(len(x), 2)], 1)[:, None],
        "point": torch.stack([column, row, one * 2], 1)[:, None],
    }


def found_on(size):
    return {
        "box": Boxes(size),
        "shares": Boxes(size, "cxcywh", normalised=True),
        "point": Keypoints(size, visible=True),
    }


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_detector_that_is_right_is_found_right(size):
    assert_equivariant(brightest, Symmetry(groups(size), Image(), found_on(size)), draw(12, 1, *size))


def one_diagonal(g, x):
    """Turns (left, top) and (right, bottom), and takes them for the new corners."""
    return Keypoints((7, 7))(g, x.unflatten(-1, (2, 2)) - 0.5).flatten(-2) + 0.5


def rows_first(g, x):
    """Takes (column, row) for (row, column)."""
    return Boxes((7, 7))(g, x[..., [1, 0, 3, 2]])[..., [1, 0, 3, 2]]


def sides_kept(g, x):
    """Turns the middle of a box and leaves its width and height."""
    return torch.cat([Boxes((7, 7), "cxcywh", normalised=True)(g, x)[..., :2], x[..., 2:]], -1)


def half_a_pixel_off(g, x):
    """Takes the edges of pixels for their middles."""
    return torch.cat([Keypoints((7, 7))(g, x[..., :2] - 0.5) + 0.5, x[..., 2:]], -1)


def turned_visibility(g, x):
    """Turns (column, row, visibility) as a vector in space about the middle of the image."""
    space = torch.zeros(len(g), 3, 3, dtype=x.dtype)
    space[:, :2, :2], space[:, 2, 2] = g.mT, torch.linalg.det(g)
    middle = torch.tensor([3.0, 3.0, 0.0], dtype=x.dtype)
    return (x - middle) @ space.mT + middle


OFF = {
    "one diagonal": ("box", one_diagonal, C(4)),
    "rows first": ("box", rows_first, C(4)),
    "pixels for shares": ("shares", Boxes((7, 7), "cxcywh"), C(4)),
    "another format": ("shares", Boxes((7, 7), "xywh", normalised=True), C(4)),
    "half a pixel off": ("point", half_a_pixel_off, C(4)),
    "visibility turned": ("point", turned_visibility, D(4)),
}


@pytest.mark.parametrize("fault", OFF)
def test_planted_faults_are_caught(fault):
    """Most of them obey the law of an action: only a model that looks at pixels tells them from the right one."""
    part, action, group = OFF[fault]
    with pytest.raises(LawError, match=f"output .{part}"):
        assert_equivariant(brightest, Symmetry(group, Image(), found_on((7, 7)) | {part: action}), draw(12, 1, 7, 7))


def test_sides_that_do_not_change_places_are_caught():
    def textured(x):
        """As wide as the image is rough to the right, as high as it is rough downwards."""
        sides = [x.diff(dim=axis).abs().mean((1, 2, 3)) for axis in (-1, -2)]
        return torch.cat([brightest(x)["shares"][..., :2], torch.stack(sides, 1)[:, None]], -1)

    x = draw(12, 1, 7, 7)
    assert_equivariant(textured, Symmetry(C(4), Image(), Boxes((7, 7), "cxcywh", normalised=True)), x)
    with pytest.raises(LawError):
        assert_equivariant(textured, Symmetry(C(4), Image(), sides_kept), x)
