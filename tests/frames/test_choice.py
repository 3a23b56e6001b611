"""How frames that choose by energies choose: exact, soft, gated, and with a gradient in training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from choice_cases import Quadrants, net, pictures, ready, scorer
from torch import Tensor, nn

from canonize import (
    Best,
    C,
    D,
    Fields,
    Image,
    Index,
    Octahedral,
    Point,
    Poses,
    Rows,
    Scalar,
    Scored,
    Symmetry,
    SymmetryError,
    Vector,
    Volume,
    symmetrize,
)
from canonize.actions import move
from canonize.nn import GroupCNN, Scorer


@pytest.mark.parametrize("size", [5, 8])
@pytest.mark.parametrize("resolution", [None, 4])
@pytest.mark.parametrize("group", [C(4), C(8), C(12), D(4), D(8)], ids=repr)
def test_best_answers_every_lossless_turn_alike_bit_for_bit(group: Any, resolution: int | None, size: int) -> None:
    """Also where the group has resampled elements: only scalar outputs, so that nothing is resampled on the way back."""
    x = pictures(size)
    energy = ready(scorer(), resolution or size).eval()
    mended = symmetrize(net(size), Symmetry(group, Image(), Scalar()), Best(energy, resolution=resolution)).eval()
    with torch.no_grad():
        expected = mended(x)
        for g in (D(4) if isinstance(group, D) else C(4)).elements():
            assert torch.equal(mended(Image()(g.expand(len(x), 2, 2), x)), expected)


def test_best_on_volumes_is_the_same_code() -> None:
    x = torch.rand(3, 1, 4, 4, 4)
    x[1] = 1
    weight = torch.rand(64)
    model = lambda x: x.flatten(1) @ weight  # noqa: E731
    mended = symmetrize(
        model, Symmetry(Octahedral(), Volume(), Scalar()), Best(lambda x: (x.flatten(1) * weight).sin().sum(1))
    )
    for g in Octahedral().elements():
        assert torch.equal(mended(Volume()(g.expand(3, 3, 3), x)), mended(x))


def test_chunks_of_the_orbit_change_nothing() -> None:
    x, energy = pictures(6), ready(scorer(), 6)
    claim = Symmetry(C(4), Image(), Scalar())
    one, other = (Best(energy, chunk=chunk).energies(claim, x) for chunk in (None, 3))
    assert torch.allclose(one, other, rtol=1e-5)
    assert torch.equal(Best(energy, chunk=3)(claim, x).elements, Best(energy)(claim, x).elements)


class TestSoft:
    """Fading weights."""

    claim = Symmetry(C(4), Image(), (Scalar(), Image()))

    @staticmethod
    def model(x: Tensor) -> tuple[Tensor, Tensor]:
        ramp = torch.arange(x[0].numel(), dtype=x.dtype).reshape(x.shape[1:])
        return (x * ramp).sin().mean((1, 2, 3)), (x * ramp).sin()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_it_keeps_the_claim_on_every_input(self, dtype: torch.dtype) -> None:
        x = pictures(6, dtype)[:6]
        energy = ready(scorer(), 6).to(dtype)
        mended = symmetrize(self.model, self.claim, Best(energy, soft=0.5)).eval()
        for g in C(4).elements(dtype=dtype):
            turn = g.expand(len(x), 2, 2)
            for one, other in zip(mended(Image()(turn, x)), move(self.claim.outputs, turn, mended(x)), strict=True):
                assert float((one - other).abs().max()) < (3e-5 if dtype == torch.float32 else 1e-12)

    def test_it_is_continuous_where_the_lowest_jumps(self) -> None:
        x = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
        x[0, 0, 0, 1], x[0, 0, 3, 0] = 1.0, 0.3
        # An energy by which two turns are tied; a step to either side of the tie.
        energy = lambda x: -x[:, 0, 0].sum(1) - 1.0 * x[:, 0, 3, 3]  # noqa: E731
        x[0, 0, 0, 3], step = 0.0, 1e-6
        near = x.clone()
        x[0, 0, 3, 0], near[0, 0, 3, 0] = 1.0 - step, 1.0 + step
        jump = [
            float((one(x)[0] - one(near)[0]).abs())
            for one in (symmetrize(self.model, self.claim, Best(energy, soft=soft)) for soft in (0.0, 0.5))
        ]
        assert jump[0] > 1e-3
        assert jump[1] < 1e-4

    def test_weights_fall_to_zero_with_their_slope(self) -> None:
        frame = Best(lambda x: x[:, 0, 0].sum(1), soft=0.8)
        x = torch.rand(16, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        energies = frame.energies(Symmetry(C(4), Image(), Scalar()), x)
        shares = (1 - (energies - energies.amin(0)) / 0.8).clamp(min=0) ** 2
        found = frame(Symmetry(C(4), Image(), Scalar()), x).weights
        expected = (shares / shares.sum(0)).sort(dim=0, descending=True).values[: len(found)]
        assert torch.allclose(found, expected)

    def test_its_derivative_by_the_input_is_right(self) -> None:
        energy = ready(scorer(), 6).double()
        model = net(6).double()
        mended = symmetrize(model, Symmetry(C(4), Image(), Scalar()), Best(energy, soft=3.0)).eval()
        x = torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64, requires_grad=True)
        assert mended.poses(x).weights.amin() > 0
        assert torch.autograd.gradcheck(mended, x)

    def test_most_inputs_cost_one_call(self) -> None:
        x = torch.rand(64, 1, 4, 4, generator=torch.Generator().manual_seed(0))
        seen: list[int] = []

        def model(x: Tensor) -> Tensor:
            seen.append(len(x))
            return x.mean((1, 2, 3))

        frame = Best(lambda x: x[:, 0, 0].sum(1), soft=0.2)
        claim = Symmetry(C(4), Image(), Scalar())
        poses = frame(claim, x)
        used = int((poses.weights > 0).sum())
        symmetrize(model, claim, frame)(x)
        assert sum(seen) == used < 1.5 * 64
        assert seen[0] == 64
        assert poses.spent == 4

    def test_rows_of_idle_poses_are_left_out_too(self) -> None:
        claim = Symmetry(
            Octahedral(), Fields(pos=Rows(Point()), batch=Index(loose=True)), {"f": Rows(Vector()), "e": Scalar()}
        )
        batch = {"pos": torch.randn(7, 3, dtype=torch.float64), "batch": torch.tensor([2, 0, 0, 1, 2, 0, 2])}

        def model(batch: Any) -> dict[str, Tensor]:
            count = int(batch["batch"].max()) + 1
            f = (batch["pos"] * torch.tensor([1.0, 2.0, 3.0])).sin()
            return {"f": f, "e": torch.zeros(count, dtype=f.dtype).index_add(0, batch["batch"], f[:, 0].exp())}

        weights = (
            torch.rand(5, 3, dtype=torch.float64) * torch.tensor([[1, 0, 0, 1, 1], [0, 1, 0, 0, 0], [1, 1, 1, 1, 1]]).T
        )
        weights = weights / weights.sum(0)
        wanted = weights.clone().requires_grad_()
        elements = Octahedral().sample((5, 3), dtype=torch.float64)
        for chunk in (1, 2, 5):
            lean = symmetrize(model, claim, lambda s, x: Poses(elements, weights), chunk=chunk)(batch)
            # A gradient on the weights asks for every pose.
            full = symmetrize(model, claim, lambda s, x: Poses(elements, wanted), chunk=chunk)(batch)
            assert torch.allclose(lean["f"], full["f"], atol=1e-14)
            assert torch.allclose(lean["e"], full["e"], atol=1e-14)


class TestGate:
    """Leaving inputs as they are."""

    def test_the_gate_is_in_units_of_the_energy(self) -> None:
        x = torch.zeros(1, 1, 4, 4)
        x[0, 0, 0], x[0, 0, 1, 0] = 1.0, 0.5
        energy = lambda x: x[:, 0, 0].sum(1)  # noqa: E731
        gap = float((energies := Best(energy).energies(self.claim, x))[0, 0] - energies.amin())
        kept = [
            bool((Best(energy, gate=gap + step)(self.claim, x).elements[0, 0] == torch.eye(2)).all())
            for step in (-0.01, 0.01)
        ]
        assert kept == [False, True]

    def test_small_copies_do_not_lead_it_astray(self) -> None:
        """Four shrunken poses that look alike: the input stays as it is."""
        x = torch.zeros(1, 1, 8, 8)
        x[..., 0::2, 0::2] = 1
        x[0, 0, 1, 0], x[0, 0, 0, 0] = 1, 0
        for seed in range(8):
            frame = Best(Scorer(1, width=4, generator=torch.Generator().manual_seed(seed)), resolution=4, gate=100.0)
            assert torch.equal(frame(self.claim, x).elements[0, 0], torch.eye(2))

    claim = Symmetry(C(4), Image(), Scalar())

    def test_a_gate_protects_what_is_nearly_upright(self) -> None:
        x = torch.rand(200, 1, 6, 6, generator=torch.Generator().manual_seed(0))
        energy = lambda x: x[:, 0, :3].sum((1, 2))  # noqa: E731
        unit = torch.eye(2)
        kept = [
            int((Best(energy, gate=gate)(self.claim, x).elements[0] == unit).flatten(1).all(1).sum())
            for gate in (0.0, 1.0, 100.0)
        ]
        assert kept[0] < kept[1] < kept[2] == 200

    def test_the_price_is_told_by_an_audit(self) -> None:
        """A gate that is never passed leaves the plain model: the claim does not hold, and says so."""
        from canonize import audit

        x = torch.rand(30, 1, 6, 6, generator=torch.Generator().manual_seed(0))
        energy = lambda x: x[:, 0, :3].sum((1, 2))  # noqa: E731
        assert audit(symmetrize(net(6), self.claim, Best(energy)), self.claim, x).verdict == "pass"
        assert audit(symmetrize(net(6), self.claim, Best(energy, gate=100.0)), self.claim, x).verdict == "fail"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scored_is_exact_on_every_input(dtype: torch.dtype) -> None:
    x = pictures(6, dtype)[:6]
    claim = Symmetry(C(4), Image(), (Scalar(), Image()))
    mended = symmetrize(TestSoft.model, claim, Scored(Quadrants().to(dtype))).eval()
    for g in C(4).elements(dtype=dtype):
        turn = g.expand(len(x), 2, 2)
        for one, other in zip(mended(Image()(turn, x)), move(claim.outputs, turn, mended(x)), strict=True):
            assert torch.equal(one[:1], other[:1])
            assert float((one - other).abs().max()) < (2e-6 if dtype == torch.float32 else 1e-14)


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
@pytest.mark.parametrize("group", [C(4), D(4)], ids=repr)
def test_scored_is_exact_on_symmetric_images_whatever_rounding_does_to_energies(group: Any, precision: Any) -> None:
    """Energies near zero by cancellation, and in bfloat16: what fixes an image is read off the image."""
    claim = Symmetry(group, Image(), Image())
    for seed in range(12):
        draw = torch.Generator().manual_seed(seed)
        network = GroupCNN(group, 1, width=4, depth=2, generator=draw)
        r = torch.rand(16, 1, 12, 12, generator=draw)
        x = torch.cat([r[:8] + r[:8].rot90(2, (-2, -1)), sum(r[8:].rot90(k, (-2, -1)) for k in range(4))])
        mended = symmetrize(lambda x: x * torch.arange(12.0), claim, Scored(network)).eval()
        with torch.no_grad(), torch.autocast("cpu", precision, enabled=precision is not None):
            expected = mended(x)
            for g in group.elements():
                turn = g.expand(len(x), 2, 2)
                off = (mended(Image()(turn, x)) - Image()(turn, expected)).abs().max()
                assert float(off) < 1e-5 * float(expected.abs().max())


@pytest.mark.parametrize("kind", ["Scored", "Best"])
def test_a_network_that_changes_its_input_harms_nobody(kind: str) -> None:
    claim, x = Symmetry(C(4), Image(), Scalar()), torch.randn(2, 1, 8, 8)
    frame = Scored(nn.Sequential(nn.ReLU(inplace=True), GroupCNN(C(4), 1))) if kind == "Scored" else None
    frame = frame or Best(nn.Sequential(nn.ReLU(inplace=True), Scorer(1, width=4)))
    kept = x.clone()
    symmetrize(nn.Flatten(), claim, frame).eval()(x)
    assert torch.equal(x, kept)


def test_the_rest_of_the_batch_has_no_say() -> None:
    """An energy that no turn changes: rounding, which depends on the batch, must not choose."""
    torch.manual_seed(0)
    invariant = nn.Sequential(
        nn.Conv2d(2, 8, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1), nn.Flatten(0)
    )
    x = torch.rand(64, 2, 9, 9)
    frame = Best(invariant)
    claim = Symmetry(C(4), Image(), Scalar())
    together = frame(claim, x)
    assert float(together.margin.max()) == 0
    for k in range(64):
        assert torch.equal(frame(claim, x[k : k + 1]).elements[0, 0], together.elements[0, k])


def test_whole_numbers_are_not_averaged() -> None:
    with pytest.raises(SymmetryError, match="whole numbers have no averages"):
        Best(Scorer(1), resolution=4)(Symmetry(C(4), Image(), Scalar()), torch.zeros(1, 1, 8, 8, dtype=torch.uint8))


def test_scored_with_its_elements_in_the_wrong_order_is_caught() -> None:
    class Wrong(Quadrants):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)[:, [0, 3, 2, 1]]

    x = torch.rand(5, 1, 6, 6)
    mended = symmetrize(net(6), Symmetry(C(4), Image(), Scalar()), Scored(Wrong())).eval()
    assert not torch.allclose(mended(x.rot90(1, (-2, -1))), mended(x), atol=1e-3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Best(len, gate=-1.0), "Best: bad gate"),
        (lambda: Best(len, soft=float("nan")), "Best: bad soft"),
        (lambda: Best(len, temperature=0.0), "finite number above 0"),
        (lambda: Best(len, select="hard"), "'straight-through' or 'gumbel'"),
        (lambda: Best(len, chunk=0), "Best: bad chunk"),
        (lambda: Scored(3), "Scored needs an energy"),
        (lambda: Scored(len, resolution=0), "Scored: bad resolution"),
        (
            lambda: Scored(lambda x: x.mean((2, 3)))(Symmetry(C(4), Image(), Scalar()), torch.rand(2, 3, 4, 4)),
            r"\(2, 4\)",
        ),
        (
            lambda: Scored(lambda x: x.mean((2, 3)) * torch.nan)(
                Symmetry(C(3), Image(), Scalar()), torch.rand(2, 3, 4, 4)
            ),
            "NaN or infinity for sample",
        ),
    ],
)
def test_refusals(make: Any, words: str) -> None:
    with pytest.raises(SymmetryError, match=words):
        make()
