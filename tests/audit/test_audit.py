"""What an audit finds on models whose answer is known, and the planted faults that it must catch."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from models import FOUR, cnn, images, look
from torch import Tensor, nn

from canonize import (
    SE,
    SO,
    Average,
    Best,
    C,
    Confidence,
    D,
    Fields,
    Image,
    Index,
    Keywords,
    Mask,
    Nodes,
    O,
    Octahedral,
    Point,
    Rows,
    S,
    Sampled,
    Scalar,
    Symmetry,
    SymmetryError,
    Vector,
    VectorImage,
    accuracy,
    audit,
    symmetrize,
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("group", [C(4), D(4)], ids=repr)
def test_a_symmetrized_model_passes_and_the_plain_one_fails(group: Any, size: int, dtype: torch.dtype) -> None:
    model, claim, x = cnn().to(dtype), Symmetry(group, Image(), Scalar()), images(size=size, dtype=dtype)
    plain, mended = look(model, claim, x), look(symmetrize(model, claim), claim, x)
    assert (plain.verdict, mended.verdict) == ("fail", "pass")
    assert mended.error.max < (1e-5 if dtype == torch.float32 else 1e-12)
    assert plain.error.median > 1e-3
    assert plain.floor is None
    assert mended.exhaustive


def test_the_split_of_a_known_model_is_exact() -> None:
    """A linear function of one pixel against its mean over the four turns: the energies follow by hand."""
    x = torch.zeros(50, 1, 2, 2, dtype=torch.float64)
    x[:, 0, 0, 0] = 1.0
    found = look(lambda image: image[:, :, 0, 0], FOUR, x)
    # y_g is 1 for one turn of four: mean 1/4, so symmetric 1/16, total 1/4, antisymmetric 3/16.
    assert found.split.symmetric == pytest.approx(1 / 16)
    assert found.split.antisymmetric == pytest.approx(3 / 16)
    assert found.split.share == pytest.approx(3 / 4)


def test_the_split_is_unbiased_for_random_elements() -> None:
    """f(x) = x_1 on unit vectors under SO(2): y_g is cos of a uniform angle, so all energy is antisymmetric, 1/2."""
    x = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(4000, 2)
    found = look(lambda v: v[:, :1] + 1.0, Symmetry(SO(2), Vector(), Scalar()), x, elements=4, batch_size=4000)
    assert found.split.antisymmetric == pytest.approx(0.5, abs=0.03)
    assert found.split.symmetric == pytest.approx(1.0, abs=0.06)


def test_an_antisymmetric_model_has_share_one_and_a_symmetric_one_zero() -> None:
    swap = Symmetry(C(2), Image(), Scalar())
    odd = look(lambda x: x[:, 0, :1, 0] - x[:, 0, -1:, -1], swap, images(dtype=torch.float64))
    even = look(lambda x: x[:, 0, :1, 0] + x[:, 0, -1:, -1], swap, images(dtype=torch.float64))
    assert odd.split.share == pytest.approx(1.0)
    assert even.split.share == pytest.approx(0.0, abs=1e-25)


def test_rows_name_the_elements_in_order() -> None:
    found = look(cnn(), Symmetry(D(4), Image(), Scalar()), images())
    assert [row.label for row in found.rows[:5]] == ["0°", "90°", "180°", "270°", "0°, mirrored"]
    assert [row.angle for row in found.rows] == [0, 90, 180, 270] * 2
    assert found.rows[0].worst == 0.0


def test_the_metric_and_the_decisions_over_the_orbit() -> None:
    x = torch.zeros(40, 1, 4, 4)
    x[:, 0, 0, 1] = 1.0

    def top(image: Tensor) -> Tensor:
        return torch.stack([image[:, 0, :2].sum((1, 2)), image[:, 0, 2:].sum((1, 2))], 1)

    found = look(top, FOUR, x, targets=torch.zeros(40, dtype=torch.int64), metric=accuracy)
    # The pixel is in the upper half at 0 and 90 degrees only (it goes to row 2, 3, 1 of the last three turns).
    assert [row.metric for row in found.rows] == [1.0, 0.0, 0.0, 1.0]
    assert (found.metric.upright, found.metric.mean, found.metric.worst_element, found.metric.worst_case) == (
        1,
        0.5,
        0,
        0,
    )
    assert found.agreement == 0.5


@pytest.mark.parametrize("higher", [True, False])
def test_a_metric_that_is_no_number_is_the_worst(higher: bool) -> None:
    x = torch.zeros(40, 1, 4, 4)
    x[:, 0, 0, 1] = 1.0

    def lost(out: Tensor, _: Tensor) -> Tensor:
        return torch.where(out[:, 0] > 0, math.nan, out[:, 1])

    # 270 degrees bring the pixel from row 0, column 1 to row 1, column 3; nothing else does.
    found = look(
        lambda x: torch.stack([x[:, 0, 1, 3], x[:, 0, 0, 1]], 1),
        FOUR,
        x,
        targets=torch.zeros(40),
        metric=lost,
        higher_is_better=higher,
    ).metric
    assert found.worst_label == "270°"
    assert math.isnan(found.worst_element)
    assert math.isnan(found.worst_case)
    assert math.isnan(found.mean)
    assert found.upright == 1.0


def test_resampled_elements_show_their_floor() -> None:
    x = images(size=16)
    eight = Symmetry(C(8), Image(), Scalar())
    found = look(symmetrize(cnn(), eight), eight, x)
    assert [row.lossless for row in found.rows] == [True, False] * 4
    assert found.rows[1].floor > 1e-4
    assert found.rows[2].floor == 0.0
    assert found.rows[2].worst < 1e-5
    assert found.verdict != "pass"


def test_dense_and_structured_outputs_are_each_measured() -> None:
    conv = nn.Conv2d(2, 2, 3, padding=1)

    def model(x: Tensor) -> dict[str, Tensor]:
        y = conv(x).detach()
        return {"heat": y, "flow": y, "label": y.argmax(1)}

    claim = Symmetry(C(4), Image(), {"heat": Image(), "flow": VectorImage(), "label": Mask()})
    plain = look(model, claim, images())
    assert set(plain.by_output) == {".heat", ".flow", ".label"}
    assert min(plain.by_output.values()) > 1e-3
    mended = look(symmetrize(model, claim, Best(lambda x: x[:, 0, :3].mean((1, 2)))), claim, images())
    assert mended.verdict == "pass"
    assert mended.by_output[".label"] == 0.0


def test_ragged_batches_forces_and_sets() -> None:
    generator = torch.Generator().manual_seed(0)
    index = torch.arange(30).repeat_interleave(torch.tensor([1, 2, 3] * 10))
    cloud = {"pos": torch.randn(60, 3, generator=generator, dtype=torch.float64), "batch": index}
    claim = Symmetry(Octahedral(), Fields(pos=Rows(Point()), batch=Index()), {"force": Rows(Vector())})
    wrong = look(lambda d: {"force": d["pos"].sin() * torch.tensor([1, 2, 3])}, claim, cloud, batch_size=7)
    right = look(lambda d: {"force": d["pos"].sin()}, claim, cloud, batch_size=7)
    assert (wrong.verdict, right.verdict) == ("fail", "pass")
    sets = Symmetry(S(4), Nodes(), Nodes())
    mlp = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).double()
    x = torch.randn(32, 4, 3, generator=generator, dtype=torch.float64)
    assert look(mlp, sets, x).verdict == "fail"
    assert look(symmetrize(mlp, sets), sets, x).verdict == "pass"


def test_infinite_groups_are_sampled_for_each_input() -> None:
    x = torch.randn(64, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    claim = Symmetry(SE(3), Point(), Scalar())
    right = look(lambda p: torch.cdist(p, p), claim, x)
    assert right.verdict == "pass"
    assert not right.exhaustive
    assert right.errors.shape == (32, 64)
    wrong = look(lambda p: p.norm(dim=-1), claim, x)
    assert wrong.verdict == "fail"
    turned = look(cnn(), Symmetry(O(2), Image(), Scalar()), images(16, 12))
    assert any(row.mirrored for row in turned.rows)
    assert all(row.angle is not None for row in turned.rows)


def test_numpy_models_are_audited() -> None:
    x = images().numpy()
    assert look(lambda array: array.mean((1, 2, 3))[:, None], FOUR, x).verdict == "pass"
    assert look(lambda array: array[:, 0, 0], FOUR, x).verdict == "fail"
    mended = symmetrize(lambda array: array[:, 0, 0], FOUR)
    assert look(mended, FOUR, x).verdict == "pass"


def test_keyword_arguments() -> None:
    claim = Symmetry(C(4), Keywords(pixels=Image(), scale=None), Scalar())
    found = look(
        lambda pixels, scale: pixels.sum((1, 2, 3))[:, None] * scale, claim, {"pixels": images(), "scale": 2.0}
    )
    assert found.verdict == "pass"


class TestVerdicts:
    def test_few_inputs_leave_it_undecided_and_say_how_many_would_do(self) -> None:
        found = look(symmetrize(cnn(), FOUR), FOUR, images(8))
        assert found.verdict == "undecided"
        assert "21 inputs would certify 20%" in found.reason
        assert look(symmetrize(cnn(), FOUR), FOUR, images(21)).verdict == "pass"

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_not_a_number_never_passes(self, bad: float) -> None:
        found = look(lambda x: x.sum((1, 2, 3))[:, None] * bad, FOUR, images())
        assert found.verdict == "fail"
        assert found.error.max == math.inf
        assert "NaN or infinite" in found.reason

    def test_a_single_not_a_number_among_many_fails(self) -> None:
        def model(x: Tensor) -> Tensor:
            y = x.mean((1, 2, 3))[:, None]
            return torch.where(x[:, 0, 0, :1] > 0.98, math.nan, y)

        assert look(model, FOUR, images(64)).verdict == "fail"

    def test_one_bad_input_in_many_fails(self) -> None:
        x = images(64)
        x[17, 0, 0, 0] = 5.0
        found = look(lambda x: (x[:, 0, 0, 0] > 2).float()[:, None] + 1, FOUR, x)
        assert found.verdict == "fail"
        assert found.worst[0].sample == 17

    def test_a_random_model_is_told_apart(self) -> None:
        sampled = symmetrize(cnn(), FOUR, Sampled(2))
        found = look(sampled, FOUR, images())
        assert found.noise > found.tolerance
        assert "Two calls on the same input already differ" in found.reason

    def test_the_tolerance_follows_the_lowest_precision(self) -> None:
        single, double = (
            look(lambda x: x.mean((1, 2, 3))[:, None], FOUR, images(dtype=d)) for d in (torch.float32, torch.float64)
        )
        half = look(lambda x: x.mean((1, 2, 3))[:, None].bfloat16(), FOUR, images())
        assert single.tolerance == pytest.approx(2.4e-5, rel=0.02)
        assert double.tolerance == pytest.approx(3.7e-11, rel=0.02)
        assert half.tolerance == pytest.approx(0.039, rel=0.02)


class TestPlantedFaults:
    """Each is a mistake that people make; the audit must not let it through."""

    def audit_flow(self, fault: Any) -> str:
        claim = Symmetry(C(4), VectorImage(), VectorImage())
        return str(look(fault, claim, images(dtype=torch.float64)).verdict)

    def test_the_twin_without_a_fault_passes(self) -> None:
        assert self.audit_flow(lambda x: 2 * x) == "pass"

    def test_swapped_channels(self) -> None:
        assert self.audit_flow(lambda x: x.flip(1)) == "fail"

    def test_wrong_sign_of_a_channel(self) -> None:
        assert self.audit_flow(lambda x: x * torch.tensor([1.0, -1.0])[:, None, None]) == "fail"

    def test_transposed_picture(self) -> None:
        assert self.audit_flow(lambda x: x.mT) == "fail"

    def test_a_forgotten_output_turn(self) -> None:
        assert look(lambda x: x, Symmetry(C(4), Image(), Scalar()), images()).verdict == "fail"

    def test_a_forgotten_input(self) -> None:
        """The second picture is declared to stand still, while the model compares it with the first."""
        claim = Symmetry(C(4), (Image(), Scalar()), Scalar())
        pair = (images(), images().flip(0))
        assert look(lambda a, b: (a * b).sum((1, 2, 3))[:, None], claim, pair).verdict == "fail"
        whole = Symmetry(C(4), (Image(), Image()), Scalar())
        assert look(lambda a, b: (a * b).sum((1, 2, 3))[:, None], whole, pair).verdict == "pass"

    def test_the_wrong_direction_of_rotation(self) -> None:
        def unturn(g: Tensor, x: Tensor) -> Tensor:
            return Image()(g.mT, x)

        assert look(lambda x: x, Symmetry(C(4), Image(), unturn), images()).verdict == "fail"


def test_cost_counts_the_passes() -> None:
    model = cnn()
    plain = audit(model, FOUR, images())
    four = audit(symmetrize(model, FOUR), FOUR, images())
    five = audit(symmetrize(model, FOUR, Best(Confidence(model))), FOUR, images())
    own = audit(symmetrize(lambda x: x.mean((1, 2, 3))[:, None], FOUR), FOUR, images())
    assert [one.cost.passes for one in (plain, four, five, own)] == [1, 4, 5, 4]
    assert plain.cost.plain_seconds is None
    assert four.cost.memory >= four.cost.plain_memory > 0
    assert not model._forward_pre_hooks


def test_the_audit_leaves_the_model_the_inputs_and_the_global_randomness_alone() -> None:
    model, x = symmetrize(cnn(), FOUR, Average()), images()
    before, copy = torch.get_rng_state(), x.clone()
    state = {name: part.clone() for name, part in model.state_dict().items()}
    look(model, FOUR, x)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(x, copy)
    assert all(torch.equal(part, state[name]) for name, part in model.state_dict().items())


def test_equal_seeds_give_equal_audits_and_batches_do_not_matter() -> None:
    claim = Symmetry(O(2), Image(), Scalar())
    first, second = look(cnn(), claim, images(12)), look(cnn(), claim, images(12))
    assert torch.equal(first.errors, second.errors)
    assert first.as_dict() == second.as_dict()
    other = look(cnn(), claim, images(12), batch_size=5)
    assert torch.allclose(first.errors, other.errors, rtol=0, atol=2e-6)


def test_the_dict_is_plain_json() -> None:
    found = audit(lambda x: x.sum((1, 2, 3))[:, None] * math.nan, FOUR, images())
    text = json.dumps(found.as_dict(), allow_nan=False)
    assert json.loads(text)["verdict"] == "fail"
    assert json.loads(text)["error"]["max"] == "inf"


def test_pictures_show_the_canonical_forms() -> None:
    model = symmetrize(cnn(), FOUR, Best(lambda x: x[:, 0, :3].mean((1, 2))))
    found = look(model, FOUR, images())
    assert found.gallery.inputs.shape == (8, 2, 8, 8)
    assert torch.equal(found.gallery.canonical, found.gallery.canonical_turned)
    assert not torch.equal(found.gallery.inputs, found.gallery.turned)
    assert look(symmetrize(cnn(), FOUR), FOUR, images()).gallery.canonical is None
    plain = look(cnn(), FOUR, images())
    assert plain.worst[0].error == plain.error.max
    assert plain.worst[0].answer.startswith("class ")
    sums = look(lambda p: p.sum((1, 2))[:, None], Symmetry(SO(3), Vector(), Scalar()), torch.randn(9, 4, 3))
    assert sums.gallery is None
    assert sums.worst[0].picture is None


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    look(cnn(), FOUR, images(), batch_size=16, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (10, 10)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_gradients_inside_the_model() -> None:
    def force(x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        return -torch.autograd.grad(x.square().sum(), x)[0]

    x = torch.randn(32, 4, 3, dtype=torch.float64)
    claim = Symmetry(SO(3), Vector(), Vector())
    assert look(force, claim, x, gradients=True).verdict == "pass"
    with pytest.raises(SymmetryError, match="the model failed"):
        look(force, claim, x)
