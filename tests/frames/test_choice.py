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
from canonize.nn import GroupCNN, Scorer


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


class TestLearning:
    """The gradient of the choice."""

    claim = Symmetry(C(4), Image(), Scalar())

    @pytest.mark.parametrize("select", ["straight-through", "gumbel"])
    @pytest.mark.parametrize("kind", [Best, Scored])
    def test_in_training_the_loss_reaches_the_energy(self, kind: Any, select: str) -> None:
        energy = ready(scorer(), 6) if kind is Best else Quadrants()
        mended = symmetrize(net(6), self.claim, kind(energy, select=select)).train()
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
        symmetrize(model, self.claim, Best(energy, temperature=0.7)).train()(x).sum().backward()
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
        # A frame starts in use: the claim holds from the first line on.
        assert frame(self.claim, x).count == 1
        assert symmetrize(net(6), self.claim, frame).poses(x).count == 1
        assert frame.train()(self.claim, x).count == 4
        assert frame.eval()(self.claim, x).count == 1
        assert frame.train().requires_grad_(False)(self.claim, x).count == 1
        frame.requires_grad_(True)
        with torch.no_grad():
            assert frame(self.claim, x).count == 1
        assert not frame.eval()(self.claim, x).weights.requires_grad

    def test_gumbel_draws_from_the_generator_that_is_passed(self) -> None:
        mended = symmetrize(net(6), self.claim, Best(ready(scorer(), 6), select="gumbel", temperature=50.0)).train()
        x = torch.rand(40, 1, 6, 6)

        def drawn(seed: int) -> Tensor:
            state = torch.get_rng_state()
            poses = mended.poses(x, generator=torch.Generator().manual_seed(seed))
            assert torch.equal(state, torch.get_rng_state())
            return poses.elements[0].reshape(40, 4)

        assert torch.equal(drawn(1), drawn(1))
        assert not torch.equal(drawn(1), drawn(2))
        assert len(drawn(3).unique(dim=0)) == 4

    def test_gumbel_draws_by_the_shares(self) -> None:
        """Of 20,000 draws each element comes as often as softmax(-energy / temperature) says, within five deviations."""
        energy = Quadrants()
        x = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(1)).expand(20_000, -1, -1, -1)
        frame = Scored(energy, select="gumbel", temperature=4.0).train()
        poses = frame(self.claim, x, generator=torch.Generator().manual_seed(5))
        shares = (-frame.energies(self.claim, x[:1])[:, 0] / 4.0).softmax(0).detach()
        found = torch.stack([(poses.elements[0] == g).flatten(1).all(1).double().mean() for g in C(4).elements()])
        assert float(((found - shares).abs() / (shares * (1 - shares) / 20_000).sqrt()).max()) < 5

    def test_a_trained_frame_copies_and_saves(self) -> None:
        mended = symmetrize(net(6), self.claim, Best(ready(scorer(), 6))).train()
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
