"""Neighbours, huge answers, vanishing answers and infinities: what one sample must not do to the others."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from models import FOUR, cnn, images, look
from torch import Tensor

from canonize import SO, C, Image, Rows, Scalar, Symmetry, Vector, symmetrize
from canonize.audit.energies import Energies
from canonize.audit.measure import relative_error

X = torch.rand(64, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def corners(x: Tensor) -> Tensor:
    return torch.stack([x[:, 0, 0, 0], x[:, 0, 0, -1], x[:, 0, -1, -1], x[:, 0, -1, 0]], 1)


def by_the_first(x: Tensor) -> Tensor:
    """One pose for the whole batch, taken from sample 0: wrong for all others."""
    return torch.rot90(x, int(corners(x[:1]).argmax()), (-2, -1)).flatten(1)


class TestNeighbours:
    @pytest.mark.parametrize("batch_size", [64, 13])
    def test_a_model_that_takes_its_pose_from_a_neighbour_fails(self, batch_size: int) -> None:
        found = look(by_the_first, FOUR, X, batch_size=batch_size)
        assert found.verdict == "fail"
        # Sample 0 is treated well; a sample beside it is compared with itself at the identity, among moved ones.
        assert float(found.errors[:, 0].max()) < 1e-6
        assert float(found.errors[0, 1]) > 0.01

    def test_rows_and_worst_cases_are_those_of_the_element_itself(self) -> None:
        """The model reads one corner, into which 270 degrees alone bring the bright pixel of the first twelve."""
        x = torch.zeros(24, 1, 4, 4)
        x[:12, 0, 0, 0] = 1.0
        x[12:, 0, 1, 1] = 1.0
        found = look(lambda x: x[:, :, 0, -1] + 1, FOUR, x, batch_size=5)
        assert [row.worst > 0 for row in found.rows] == [False, False, False, True]
        assert torch.equal(found.errors[3] > 0, torch.arange(24) < 12)
        assert [case.label for case in found.worst] == ["270°"] * 6
        for case in found.worst:
            assert torch.equal(torch.rot90(case.picture, 3, (-2, -1)), case.turned_picture)
            assert (case.answer, case.turned_answer) == ("1", "2")
        plain = look(lambda x: x[:, :, 0, -1] + 1, FOUR, x, batch_size=1)
        assert torch.equal(found.errors, plain.errors)

    def test_the_gallery_shows_what_its_labels_say(self) -> None:
        shown = look(cnn(), FOUR, images(), batch_size=3).gallery
        for before, after, label in zip(shown.inputs, shown.turned, shown.labels, strict=True):
            assert torch.equal(torch.rot90(before, int(label[:-1]) // 90, (-2, -1)), after)


class TestScale:
    def huge(self, x: Tensor) -> Tensor:
        """Wrong everywhere, and 1e12 for the one sample with a mark."""
        return x[:, 0, 0] + 1e12 * (x.amax((1, 2, 3)) > 2)[:, None]

    def test_one_huge_answer_hides_no_other(self) -> None:
        x = X.clone()
        x[0] += 10
        found = look(self.huge, FOUR, x)
        assert found.verdict == "fail"
        assert float(found.errors[1, 1:].min()) > 0.01

    def test_neither_the_batch_nor_the_order_changes_an_error(self) -> None:
        x = X.double()
        x[:8] *= 1e6
        whole, small = (look(self.huge, FOUR, x, batch_size=size).errors for size in (64, 3))
        assert torch.allclose(whole, small, rtol=1e-12, atol=0)
        turned = look(self.huge, FOUR, x.flip(0)).errors.flip(1)
        assert torch.allclose(whole, turned, rtol=1e-12, atol=0)

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_one_bad_sample_is_infinite_alone(self, bad: float) -> None:
        good, x = torch.full((9, 2), 2.0), torch.full((9, 2), 1.0)
        x[4] = bad
        error = relative_error(good, x, Scalar(), None, 9)
        assert torch.equal(error, torch.full((9,), 0.5).double().index_fill(0, torch.tensor([4]), math.inf))
        rows = torch.arange(9) // 3
        by_rows = relative_error(good, x, Rows(Scalar()), rows, 3)
        assert by_rows.tolist() == [0.5, math.inf, 0.5]

    def test_tiny_answers_do_not_vanish_beside_huge_ones(self) -> None:
        one = torch.tensor([[1e300], [1e-300], [3e-5]], dtype=torch.float64)
        assert relative_error(one, 2 * one, Scalar(), None, 3, scale=1e-320).tolist() == pytest.approx([0.5] * 3)

    def vanishing(self, x: Tensor) -> Tensor:
        """Its average over the four turns is zero, but for rounding."""
        return corners(x) @ torch.tensor([[1.0], [1.1], [-0.7], [-1.4]])

    def test_an_average_that_is_zero_is_measured_beside_the_inner_answers(self) -> None:
        found = look(symmetrize(self.vanishing, FOUR), FOUR, X)
        assert found.verdict == "pass"
        assert found.error.max > 0
        assert look(symmetrize(symmetrize(self.vanishing, FOUR), FOUR), FOUR, X).verdict == "pass"

    def test_the_scale_may_be_given(self) -> None:
        mended = symmetrize(self.vanishing, FOUR)
        # As a plain function nobody can look behind it.
        assert look(lambda x: mended(x), FOUR, X).verdict == "fail"
        assert look(lambda x: mended(x), FOUR, X, scale=0.01).verdict == "pass"
        large = look(lambda x: x[:, 0, 0], FOUR, X, scale=1e9)
        assert large.verdict == "pass"
        assert look(lambda x: x[:, 0, 0] > 0.5, FOUR, X, scale=1e9).verdict == "fail"


class TestInfinities:
    mask = torch.tensor([0.0, -math.inf, 0.0])

    def test_equal_infinities_are_no_difference(self) -> None:
        found = look(lambda x: x.mean((1, 2, 3))[:, None] * torch.tensor([1.0, 2.0, 3.0]) + self.mask, FOUR, X)
        assert found.verdict == "pass"
        assert found.split.share < 1e-9
        assert found.agreement == 1.0

    def test_other_infinities_are(self) -> None:
        found = look(
            lambda x: torch.where(x[:, 0, 0, :3] > 0.5, -math.inf, x.mean((1, 2, 3))[:, None]), FOUR, X, metric=None
        )
        assert found.error.max == math.inf
        assert "NaN or infinite" in found.reason

    def test_nothing_finite_is_no_answer(self) -> None:
        one = torch.full((2, 3), -math.inf)
        assert relative_error(one, one, Scalar(), None, 2).tolist() == [math.inf] * 2

    def test_masked_logits_are_put_in_words(self) -> None:
        found = look(lambda x: x[:, 0, 0, :3] + self.mask, FOUR, X)
        assert found.worst[0].answer.startswith("class ")


class TestEnergies:
    @pytest.mark.parametrize("size", [1e300, 1e-300, 1.0])
    def test_neither_overflow_nor_underflow_changes_the_share(self, size: float) -> None:
        x = torch.zeros(50, 1, 2, 2, dtype=torch.float64)
        x[:, 0, 0, 0] = size
        found = look(lambda image: image[:, :, 0, 0], FOUR, x)
        assert found.split.share == pytest.approx(3 / 4)
        assert found.split.low == pytest.approx(3 / 4)

    def test_an_answer_that_grows_later_is_taken_in(self) -> None:
        running = Energies()
        for value in (0.0, 1e-200, 1e200, -1e200):
            running.add(Scalar(), torch.full((1, 1), value, dtype=torch.float64), None, 1)
        power, anti, unit = running.split(exhaustive=True)[""]
        assert (float(power), float(anti), float(unit)) == pytest.approx((0.0, 0.5, 1e200))

    def test_no_split_without_an_invariant_law(self) -> None:
        class Lawless:
            sample, compose, inverse = SO(2).sample, SO(2).compose, SO(2).inverse

        v = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
        assert look(lambda v: v, Symmetry(Lawless(), Vector(), Vector()), v).split is None
        assert look(lambda v: v, Symmetry(SO(2), Vector(), Vector()), v).split.share < 1e-9

    def test_a_finite_group_needs_no_sampler_for_it(self) -> None:
        class Listed:
            sample, compose, inverse, elements = C(4).sample, C(4).compose, C(4).inverse, C(4).elements

        claim: Any = Symmetry(Listed(), Image(), Scalar())
        assert look(cnn(), claim, images()).split.share > 0
