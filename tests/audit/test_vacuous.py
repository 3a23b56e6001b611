"""Claims that test nothing, and answers that cannot be told apart by sample."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from models import FOUR, images, look
from torch import Tensor

from canonize import SO, C, Fields, Image, Index, Point, Rows, Scalar, Symmetry, SymmetryError, Vector

X = torch.rand(64, 1, 4, 4, generator=torch.Generator().manual_seed(0))


class TestNothingMoves:
    @pytest.mark.parametrize(
        ("claim", "inputs"),
        [
            (Symmetry(C(4), Scalar(), Scalar()), X),
            (Symmetry(C(4), None, Scalar()), None),
            (FOUR, torch.full_like(X, 0.3)),
            (Symmetry(C(1), Image(), Scalar()), X),
            (Symmetry(SO(3), Vector(), Scalar()), torch.zeros(64, 5, 3)),
        ],
        ids=["stands still", "nothing declared", "blank", "trivial group", "zero vectors"],
    )
    def test_it_is_undecided(self, claim: Symmetry, inputs: Any) -> None:
        if inputs is None:
            with pytest.raises(SymmetryError, match="nothing in the input is declared"):
                look(lambda x: x.flatten(1), claim, X)
            return
        found = look(lambda x: x.flatten(1), claim, inputs)
        assert found.verdict == "undecided"
        assert found.reason.startswith("No element changes any of these inputs: nothing was tested.")

    def test_one_input_that_moves_is_enough(self) -> None:
        x = torch.full_like(X, 0.3)
        x[17, 0, 1, 2] = 1.0
        assert look(lambda x: x.mean((1, 2, 3))[:, None], FOUR, x).verdict == "pass"

    def test_a_counterexample_is_one_all_the_same(self) -> None:
        claim = Symmetry(SO(2), Scalar(), Vector())
        assert look(lambda x: x + 1, claim, torch.rand(64, 2)).verdict == "fail"


class TestNoEntries:
    def test_in_the_inputs(self) -> None:
        with pytest.raises(SymmetryError, match=r"the inputs: there are no entries(.|\n)*\(64, 1, 0, 0\)"):
            look(lambda x: x.sum((1, 2, 3))[:, None], FOUR, torch.rand(64, 1, 0, 0))

    def test_in_the_outputs(self) -> None:
        with pytest.raises(
            SymmetryError, match=r"an output at \.b: there are no entries(.|\n)*in: +the model's output"
        ):
            look(lambda x: {"a": x, "b": x[:, 0, :0, 0]}, Symmetry(C(4), Image(), {"a": Image(), "b": Scalar()}), X)

    def test_samples_without_rows_are_none_of_these(self) -> None:
        index = torch.tensor([0, 0, 1, 31])
        claim = Symmetry(SO(3), Fields(pos=Rows(Point()), batch=Index(), size=Scalar()), Rows(Vector()))
        x = {"pos": torch.randn(4, 3, dtype=torch.float64), "batch": index, "size": torch.rand(32)}
        found = look(lambda d: 2 * d["pos"], claim, x, batch_size=8)
        assert found.verdict == "pass"
        assert "2 rows of shape (3,)" in {case.answer for case in found.worst}


class TestBatchFirst:
    @pytest.mark.parametrize(
        ("model", "got"),
        [
            (lambda x: x.mean()[None], r"tensor of shape \(1,\)"),
            (lambda x: x.mean(), r"tensor of shape \(\)"),
            (lambda x: x.flatten(1).T, r"tensor of shape \(16, 64\)"),
        ],
        ids=["one for all", "no axis", "transposed"],
    )
    def test_an_output_without_it(self, model: Any, got: str) -> None:
        with pytest.raises(SymmetryError, match=rf"an output does not have the batch first(.|\n)*{got}(.|\n)*axis 64"):
            look(model, FOUR, X)

    def test_an_output_that_is_no_tensor(self) -> None:
        with pytest.raises(SymmetryError, match=r"an output is no tensor(.|\n)*got: +0\.5, declared Scalar\(\)"):
            look(lambda x: 0.5, FOUR, X)

    def test_rows_need_as_many_as_the_index(self) -> None:
        claim = Symmetry(SO(3), Fields(pos=Rows(Point()), batch=Index()), Rows(Vector()))
        x = {"pos": torch.randn(60, 3), "batch": torch.arange(30).repeat_interleave(2)}
        with pytest.raises(SymmetryError, match=r"does not have the batch first(.|\n)*first axis 60"):
            look(lambda d: d["pos"][:30], claim, x)

    def test_parts_declared_none_need_none(self) -> None:
        assert look(lambda x: (x, x.mean(), 3), Symmetry(C(4), Image(), (Image(), None, None)), X).verdict == "pass"


def interpolated(g: Tensor, x: Tensor) -> Tensor:
    """A picture turned by way of its neighbours at every angle, as a function without a word on what it loses."""
    return Image()(g, x)


class TestAnActionThatSaysNothing:
    eight = Symmetry(C(8), Image(), Scalar())

    def test_its_losses_are_measured(self) -> None:
        def model(x: Tensor) -> Tensor:
            return x.square().mean((1, 2, 3))[:, None]

        x = images(size=16)
        told = look(model, self.eight, x)
        measured = look(model, Symmetry(C(8), interpolated, Scalar()), x)
        assert told.verdict == measured.verdict == "undecided"
        assert [row.lossless for row in measured.rows] == [True, False] * 4
        assert measured.floor == told.floor

    def test_a_lossless_one_stays_so(self) -> None:
        claim = Symmetry(C(4), interpolated, Scalar())
        wrong = look(lambda x: x[:, 0, 0], claim, X)
        assert wrong.verdict == "fail"
        assert all(row.lossless for row in wrong.rows)
        assert wrong.floor is None
        far = Symmetry(SO(3), lambda g, x: (g @ (x + 1e4)[..., None])[..., 0] - 1e4, Scalar())
        assert all(row.lossless for row in look(lambda x: x[:, :1], far, torch.rand(32, 3)).rows)
