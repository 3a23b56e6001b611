"""The law of every frame, over the whole list of frames, groups, inputs and dtypes."""

import pytest
import torch

from canonize import Average, Best, C, Image, Nodes, S, Sampled, Scalar, Sorted, Symmetry
from canonize.frames.orders import lexicographic
from canonize.linalg import content_key
from canonize.testing import check_frame
from lists import DTYPES, FRAMES, brightness, draw, folded, images, with_ties

WITHOUT_MARGIN = ("Average",)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("title", "frame", "symmetry", "make"), FRAMES, ids=[case[0] for case in FRAMES])
def test_laws(title, frame, symmetry, make, dtype):
    checked = check_frame(frame, symmetry, make(dtype), count=3)
    skipped = {law for law, _ in checked.skipped}
    assert ("the margin is invariant" in skipped) == title.startswith(WITHOUT_MARGIN)
    resampled = symmetry.group == C(8)
    assert ("equivariance at resampled elements" in skipped) == resampled
    assert any(law.startswith("equivariance") for law in checked.laws)


def test_a_frame_that_draws_is_not_said_to_be_equivariant():
    checked = check_frame(Sampled(3), Symmetry(C(4), Image(), Scalar()), images(torch.float64))
    assert (
        "equivariance, frame(h x) = h frame(x)",
        "the frame draws at random: it holds on average only",
    ) in checked.skipped
    assert not any(law.startswith("equivariance") for law in checked.laws)


@pytest.mark.parametrize("frame", [Best(brightness), Best(folded, resolution=3)], ids=["full", "small"])
def test_the_canonical_input_is_the_same_bit_for_bit_for_every_turned_copy(frame):
    symmetry, x = Symmetry(C(4), Image(), Scalar()), images(torch.float32)
    wanted = None
    for h in C(4).elements():
        moved = Image()(h.expand(len(x), 2, 2), x)
        poses = frame(symmetry, moved)
        canonical = Image()(C(4).inverse(poses.elements[0]), moved)
        wanted = canonical if wanted is None else wanted
        assert torch.equal(canonical, wanted)


def test_margins_of_best():
    poses = Best(brightness)(Symmetry(C(4), Image(), Scalar()), images(torch.float64))
    assert poses.count == 1
    assert poses.margin[1] == poses.margin[2] == 1.0
    assert 0 < poses.margin[0] < 1
    tied = Best(folded)(Symmetry(C(2), Image(), Scalar()), draw(2, 1, 4, 4) * 0 + torch.eye(4))
    assert (tied.margin == 1).all()


def test_best_has_the_lowest_energy_of_the_orbit():
    x = draw(5, 1, 6, 6)
    poses = Best(brightness)(Symmetry(C(4), Image(), Scalar()), x)
    canonical = Image()(C(4).inverse(poses.elements[0]), x)
    orbit = torch.stack([brightness(x.rot90(k, (-2, -1))) for k in range(4)])
    torch.testing.assert_close(brightness(canonical), orbit.amin(0))


def test_the_order_of_sets_against_the_naive_twin():
    x = with_ties(torch.float64)
    order = lexicographic(list(x.unbind(-1)))
    for sample in range(len(x)):
        assert x[sample][order[sample]].tolist() == sorted(x[sample].tolist())


def test_margins_of_sorted():
    sets = torch.tensor([[[0.0, 0], [1, 0], [4, 0]], [[0, 1], [0, 2], [4, 0]], [[2, 2], [2, 2], [2, 2]]])
    margin = Sorted()(Symmetry(S(3), Nodes(), Scalar()), sets).margin
    assert margin.tolist() == [0.25, 0.0, 1.0]


@pytest.mark.parametrize("bad", [torch.inf, -torch.inf])
def test_infinite_rows_have_a_margin(bad):
    sets = torch.tensor([[[bad, 1], [bad, 2], [0, 1], [1, 1]]])
    margin = Sorted()(Symmetry(S(4), Nodes(), Scalar()), sets).margin
    assert margin.tolist() == [0.0]


def test_complex_rows_are_sorted_by_both_parts():
    x = torch.complex(torch.zeros(1, 3, 1), torch.tensor([[[3.0], [1], [2]]]))
    poses = Sorted()(Symmetry(S(3), Nodes(), Scalar()), x)
    assert poses.elements.tolist() == [[[1, 2, 0]]]


@pytest.mark.parametrize("frame", [Sorted(), Average()], ids=str)
def test_complex_inputs(frame):
    x = torch.complex(with_ties(torch.float64), draw(4, 5, 2, seed=1).round())
    check_frame(frame, Symmetry(S(5), Nodes(), Scalar()), x)


def test_equal_contents_have_equal_keys():
    x = draw(3, 4, 4)
    x[2] = x[0]
    x[0, 0, 0], x[2, 0, 0] = 0.0, -0.0
    key = content_key(x)
    assert key[0] == key[2] != key[1]
    assert content_key(torch.cat([x, x])[3:]).tolist() == key.tolist()
