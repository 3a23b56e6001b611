"""How frames that choose by energies choose: exact, soft, gated, and with a gradient in training."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
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


class Quadrants(nn.Module):
    """Energies of the four quarter turns, equivariant by construction: how bright each side of the image is."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        return self.scale * torch.stack([x.rot90(-k, (-2, -1))[..., :half, :].sum((1, 2, 3)) for k in range(4)], 1)


def scorer(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 1, 3, padding=1),
        nn.Flatten(),
        nn.LazyLinear(1),
        nn.Flatten(0),
    )


def ready(energy: nn.Module, size: int) -> nn.Module:
    energy(torch.zeros(1, 1, size, size))
    return energy


def net(size: int, channels: int = 1) -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * (size - 2) ** 2, 3))


def pictures(size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Generic, constant, zero, symmetric under half turns and under quarter turns, tiny and huge."""
    x = torch.rand(9, 1, size, size, generator=torch.Generator().manual_seed(2), dtype=dtype)
    x[1], x[2] = 0.5, 0
    x[3] = x[3] + x[3].rot90(2, (-2, -1))
    x[4] = sum(x[4].rot90(k, (-2, -1)) for k in range(4))
    x[5], x[6] = x[5] * 1e-20, x[6] * 1e20
    return x


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
        claim = Symmetry(Octahedral(), Fields(pos=Rows(Point()), batch=Index()), {"f": Rows(Vector()), "e": Scalar()})
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


class TestLearning:
    """The gradient of the choice."""

    claim = Symmetry(C(4), Image(), Scalar())

    @pytest.mark.parametrize("select", ["straight-through", "gumbel"])
    @pytest.mark.parametrize("kind", [Best, Scored])
    def test_in_training_the_loss_reaches_the_energy(self, kind: Any, select: str) -> None:
        energy = ready(scorer(), 6) if kind is Best else Quadrants()
        mended = symmetrize(net(6), self.claim, kind(energy, select=select))
        mended(pictures(6)[:5]).square().sum().backward()
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in energy.parameters())
        assert any(float(p.grad.abs().max()) > 0 for p in energy.parameters())

    @pytest.mark.parametrize("kind", [Best, Scored])
    def test_straight_through_gives_the_answer_of_use(self, kind: Any) -> None:
        energy = ready(scorer(), 6) if kind is Best else Quadrants()
        mended = symmetrize(net(6), self.claim, kind(energy))
        x = torch.rand(9, 1, 6, 6)
        assert torch.allclose(mended.train()(x), mended.eval()(x), atol=1e-6)

    def test_its_gradient_is_that_of_the_soft_choice(self) -> None:
        energy = ready(scorer(), 6).double()
        model = net(6).double()
        x = torch.rand(4, 1, 6, 6, dtype=torch.float64)
        symmetrize(model, self.claim, Best(energy, temperature=0.7))(x).sum().backward()
        got = [p.grad.clone() for p in energy.parameters()]
        energy.zero_grad()
        turned = torch.stack([x.rot90(-k, (-2, -1)) for k in range(4)])
        shares = torch.stack([-energy(one) / 0.7 for one in turned]).softmax(0)
        (shares[..., None] * torch.stack([model(one) for one in turned]).detach()).sum().backward()
        for one, p in zip(got, energy.parameters(), strict=True):
            assert torch.allclose(one, p.grad, rtol=1e-6, atol=1e-12)

    def test_in_use_or_frozen_there_is_one_call_and_no_gradient(self) -> None:
        energy = ready(scorer(), 6)
        frame = Best(energy)
        x = torch.rand(3, 1, 6, 6)
        assert frame(self.claim, x).count == 4
        assert frame.eval()(self.claim, x).count == 1
        assert frame.train().requires_grad_(False)(self.claim, x).count == 1
        frame.requires_grad_(True)
        with torch.no_grad():
            assert frame(self.claim, x).count == 1
        assert not frame.eval()(self.claim, x).weights.requires_grad

    def test_gumbel_draws_from_the_generator_that_is_passed(self) -> None:
        mended = symmetrize(net(6), self.claim, Best(ready(scorer(), 6), select="gumbel", temperature=50.0))
        x = torch.rand(40, 1, 6, 6)

        def drawn(seed: int) -> Tensor:
            state = torch.get_rng_state()
            poses = mended.poses(x, generator=torch.Generator().manual_seed(seed))
            assert torch.equal(state, torch.get_rng_state())
            return poses.weights.argmax(0)

        assert torch.equal(drawn(1), drawn(1))
        assert not torch.equal(drawn(1), drawn(2))
        assert len(drawn(3).unique()) == 4

    def test_a_trained_frame_copies_and_saves(self) -> None:
        mended = symmetrize(net(6), self.claim, Best(ready(scorer(), 6)))
        mended(pictures(6)[:2]).sum().backward()
        other = copy.deepcopy(mended).eval()
        other.load_state_dict(mended.state_dict())
        assert torch.equal(other(pictures(6)), mended.eval()(pictures(6)))


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
