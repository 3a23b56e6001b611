"""The actions and the preprocessing of the transformers integration, by themselves."""

import pickle

import pytest
import torch

T = pytest.importorskip("transformers", reason="transformers is not installed: pip install 'canonize[hub]'")

from canonize import Boxes, C, D, SymmetryError  # noqa: E402  # after the check that the library is there
from canonize.integrations.transformers import Pixels, RelativeBoxes, Tokens  # noqa: E402
from canonize.testing import check_action  # noqa: E402


@pytest.mark.parametrize("group", [C(4), D(4), C(8)], ids=repr)
def test_actions_keep_the_laws(group):
    if group != C(8):
        assert check_action(RelativeBoxes(), group, torch.rand(8, 5, 4, dtype=torch.float64))
    for value in (torch.randn(8, 18, 3, dtype=torch.float64), torch.randn(8, 2, 18, 3, dtype=torch.float64)):
        assert check_action(Tokens(2), group, value)
    assert check_action(Tokens(1, pairs=True), group, torch.randn(8, 2, 10, 10, dtype=torch.float64))


def test_relative_boxes_agree_with_boxes_in_pixels():
    boxes = torch.rand(8, 5, 4, dtype=torch.float64)
    corners = torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1) * 40
    for group in (D(4), C(8)):
        g = group.elements(dtype=torch.float64)
        got, wanted = RelativeBoxes()(g, boxes), Boxes((40, 40))(g, corners) / 40
        low, high = wanted.split(2, -1)
        torch.testing.assert_close(got, torch.cat([(low + high) / 2, high - low], -1))
        assert torch.equal(RelativeBoxes().lossless(g, boxes), Boxes((40, 40)).lossless(g, corners))


def test_pixels_are_what_the_processor_makes():
    numpy, pillow = pytest.importorskip("numpy"), pytest.importorskip("PIL.Image")
    kind = getattr(T, "ViTImageProcessorPil", None) or T.ViTImageProcessor
    to_pixels = Pixels(kind(size={"height": 32, "width": 32}, image_mean=[0.1, 0.2, 0.3], image_std=[0.5, 0.6, 0.7]))
    raw = torch.randint(256, (2, 3, 20, 30), dtype=torch.uint8)
    stored = [pillow.fromarray(numpy.asarray(one.permute(1, 2, 0))) for one in raw]
    pixels = to_pixels(raw)
    assert pixels.shape == (2, 3, 32, 32)
    assert pixels.dtype == torch.float32
    assert torch.equal(pixels, to_pixels(stored))
    assert torch.equal(pixels[:1], to_pixels(stored[0]))
    white = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    torch.testing.assert_close(
        to_pixels(white)[0, :, 0, 0], (1 - torch.tensor([0.1, 0.2, 0.3])) / torch.tensor([0.5, 0.6, 0.7])
    )
    assert torch.equal(pickle.loads(pickle.dumps(to_pixels))(raw), pixels)
    with pytest.raises(SymmetryError, match=r"as they are stored[\s\S]*float32"):
        to_pixels(raw / 255)
    kind = getattr(T, "DetrImageProcessorPil", None) or T.DetrImageProcessor
    with pytest.raises(SymmetryError, match="pictures of different sizes were padded"):
        Pixels(kind(size={"shortest_edge": 32, "longest_edge": 64}))([stored[0], stored[1].resize((20, 20))])
    with pytest.raises(SymmetryError, match="Pixels needs an image processor"):
        Pixels(torch.nn.Identity())
