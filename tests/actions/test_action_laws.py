"""The laws of every action, over the whole list of actions, groups, dtypes and batch shapes."""

import pytest
import torch

from canonize import Boxes, C, Image, Keypoints, Mask, Nodes, Pairs, Point, VectorImage, Volume
from canonize._tree import map_tensors
from canonize.actions import lossless_tree
from canonize.testing import check_action
from lists import BATCHES, CASES, DTYPES, GRID_DTYPES, MOVES, draw, name

RESAMPLED = "composition and inverse at resampled elements"
# Trees of values have tests of their own, beside the fields.
PLAIN = [case for case in CASES if isinstance(case[2](torch.float32), torch.Tensor)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=name)
def test_laws(case, dtype):
    action, group, make = case
    checked = check_action(action, group, make(dtype), count=2)
    for law, why in checked.skipped:
        assert law == RESAMPLED
        assert "interpolate" in why


@pytest.mark.parametrize("dtype", GRID_DTYPES, ids=str)
@pytest.mark.parametrize("case", MOVES, ids=name)
def test_moving_entries_knows_every_dtype(case, dtype):
    action, group, make = case
    checked = check_action(action, group, make(dtype), count=2)
    assert {law for law, _ in checked.skipped} <= ({RESAMPLED} if group == C(8) else set())


@pytest.mark.parametrize("shape", BATCHES, ids=str)
@pytest.mark.parametrize("case", PLAIN, ids=name)
def test_every_batch_shape(case, shape):
    action, group, make = case
    x, g = make(torch.float64), group.sample((3,), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved, count = action(g, x), torch.Size(shape).numel()
    here = torch.arange(count) % 3
    shaped = action(
        map_tensors(lambda t: t[here].reshape(*shape, *t.shape[1:]), g), x[here].reshape((*shape, *x.shape[1:]))
    )
    torch.testing.assert_close(shaped, moved[here].reshape(shaped.shape))


@pytest.mark.parametrize("case", PLAIN, ids=name)
def test_an_empty_batch_is_nothing_special(case):
    action, group, make = case
    x = make(torch.float32)
    moved = action(group.sample(0), x[:0])
    assert moved.shape == x[:0].shape
    assert lossless_tree(action, group.sample(0), x[:0]).shape == (0,)


@pytest.mark.parametrize("action", [Image(), Mask(), VectorImage()], ids=str)
def test_lossless_is_told_for_each_element(action):
    x = draw(8, 2, 6, 6)
    assert lossless_tree(action, C(8).elements(dtype=torch.float64), x).tolist() == [True, False] * 4
    assert Boxes((6, 6)).lossless(C(8).elements(), x).tolist() == [True, False] * 4


@pytest.mark.parametrize(
    ("action", "x"),
    [
        (Image(), draw(8, 1, 5, 5)),
        (Point(), draw(8, 4, 2)),
        (Keypoints((5, 5)), draw(8, 2)),
        (VectorImage(), draw(8, 2, 5, 5)),
    ],
    ids=str,
)
def test_gradients(action, x):
    g = C(8).elements(dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda t: action(g, t), x.clone().requires_grad_(), fast_mode=True)


@pytest.mark.parametrize(("action", "axes"), [(Nodes(), 1), (Pairs(), 2)], ids=str)
def test_permutations_against_the_naive_twin(action, axes):
    g, x = torch.tensor([2, 0, 1]), draw(*(3,) * axes, 2)
    moved = action(g, x)
    for i in range(3):
        if axes == 1:
            assert torch.equal(moved[g[i]], x[i])
        else:
            assert all(torch.equal(moved[g[i], g[j]], x[i, j]) for j in range(3))


def test_values_are_never_shared_between_samples_of_an_expanded_input():
    x = draw(1, 1, 4, 4).expand(4, 1, 4, 4)
    moved = Image()(C(4).elements(dtype=torch.float64), x)
    assert all(torch.equal(moved[k], x[k].rot90(k, (-2, -1))) for k in range(4))


def test_volume_moves_against_the_matrix():
    x = draw(1, 1, 3, 3, 3)
    quarter_about_z = torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]], dtype=torch.float64)
    assert torch.equal(Volume()(quarter_about_z, x), x.rot90(1, (-2, -1)))
    mirror_z = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [0, 0, -1]]], dtype=torch.float64)
    assert torch.equal(Volume()(mirror_z, x), x.flip(-3))
    # A quarter turn about x takes y (up the rows) to z (along the depth).
    about_x = torch.tensor([[[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]], dtype=torch.float64)
    x = torch.zeros(1, 1, 3, 3, 3, dtype=torch.float64)
    x[0, 0, 1, 0, 1] = 1.0
    assert Volume()(about_x, x)[0, 0].nonzero().tolist() == [[2, 1, 1]]
