"""Choices that learn: gradients reach the energy in training, use costs one call, and draws come from the generator."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from choice_cases import Quadrants, net, pictures, ready, scorer
from torch import Tensor

from canonize import (
    Best,
    C,
    Image,
    Scalar,
    Scored,
    Symmetry,
    symmetrize,
)


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
