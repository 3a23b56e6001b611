"""What the loop takes, what it leaves alone, and what it records."""

from __future__ import annotations

import json
import math
import pickle
import re
from functools import partial
from typing import Any

import pytest
import torch
from adapt_cases import CLAIM, FAST, Plain, draw, found, net, plain, ramps, same, scorer, weights
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from canonize import (
    Best,
    C,
    FitLog,
    Image,
    Mask,
    Scalar,
    Symmetry,
    SymmetryError,
    adapt,
    distillation_loss,
    prior_loss,
    symmetrize,
    task_loss,
)
from canonize.adapt.validate import closeness


def grades(module: nn.Module) -> dict[str, bool]:
    return {name: parameter.requires_grad for name, parameter in module.named_parameters()}


class TestFrozen:
    """The model behind the frame."""

    @pytest.mark.parametrize("training", [False, True])
    def test_it_stays_bit_for_bit(self, training: bool) -> None:
        """In train mode its batch normalisation would drift; it comes back in eval mode, as all that adapt returns."""
        model = net().train(training)
        model[0].weight.requires_grad_(False)
        before, graded = weights(model), grades(model)
        mended = plain(model=model)
        labels = torch.arange(32) % 3
        adapt(mended, ramps(32), targets=labels, loss=task_loss, validation=ramps(8), **FAST)
        assert same(before, model)
        assert grades(model) == graded
        assert all(p.grad is None for p in mended.parameters())
        assert not any(part.training for part in mended.modules())

    def test_it_would_drift_in_a_loop_that_forgets_eval_mode(self) -> None:
        mended = plain(model=net().train())
        before = weights(mended.model)
        task_loss(mended.train(), ramps(32), torch.arange(32) % 3).backward()
        assert not same(before, mended.model)

    def test_also_after_a_stop_in_the_middle(self) -> None:
        model = net()
        graded = grades(model)

        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt

        mended = plain(model=model)
        with pytest.raises(KeyboardInterrupt):
            adapt(mended, ramps(32), progress=stop, **FAST)
        assert grades(model) == graded
        assert not any(part.training for part in mended.modules())

    def test_frozen_parts_of_the_frame_stay_too(self) -> None:
        energy = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 1), nn.Flatten(0))
        energy[0].requires_grad_(False)
        energy[1].requires_grad_(False)
        mended = symmetrize(net(), CLAIM, Best(energy))
        before = weights(energy)
        log = adapt(mended, ramps(32), **FAST)
        after = energy.state_dict()
        assert {name for name in before if not torch.equal(before[name], after[name])} == {"3.weight", "3.bias"}
        assert log.parameters == 73

    def test_a_model_that_is_also_the_energy_is_no_part_of_what_is_learned(self) -> None:
        class Surest(nn.Module):
            def __init__(self, model: nn.Module) -> None:
                super().__init__()
                self.model = model
                self.scale = nn.Parameter(torch.ones(()))

            def forward(self, x: Tensor) -> Tensor:
                return -self.scale * self.model(x).softmax(1).amax(1)

        model = net()
        before = weights(model)
        log = adapt(symmetrize(model, CLAIM, Best(Surest(model))), ramps(32), **FAST)
        assert same(before, model)
        assert log.parameters == 1


class TestDraws:
    """Where randomness comes from."""

    def test_the_global_state_is_put_back(self) -> None:
        mended = plain(dropout=0.2)
        torch.manual_seed(3)
        state = torch.get_rng_state()
        loader = DataLoader(TensorDataset(ramps(32)), batch_size=16, shuffle=True)
        adapt(mended, loader, epochs=1, figure=lambda m: float(torch.rand(())))
        with pytest.raises(SymmetryError):
            adapt(mended, ramps(8), loss=lambda *_, **__: torch.rand(()), epochs=1)
        assert torch.equal(state, torch.get_rng_state())

    def test_the_seed_alone_decides(self) -> None:
        def run(generator: Any, state: int) -> dict[str, Tensor]:
            mended = plain(dropout=0.2)
            torch.manual_seed(state)
            adapt(mended, ramps(32), generator=generator, **FAST)
            return weights(mended.frame)

        assert same(run(None, 1), run(None, 2))
        assert same(run(draw(4), 1), run(draw(4), 2))
        assert not same(run(draw(4), 1), run(draw(5), 1))
        assert not same(run(draw(4), 1), run(None, 1))

    def test_a_loader_that_shuffles_repeats_itself(self) -> None:
        def run(seed: int) -> dict[str, Tensor]:
            mended = plain()
            loader = DataLoader(TensorDataset(ramps(32)), batch_size=8, shuffle=True)
            adapt(mended, loader, generator=draw(seed), epochs=2, rate=1e-1)
            return weights(mended.frame)

        assert same(run(1), run(1))
        assert not same(run(1), run(2))


class TestBest:
    """Validation, patience, averages."""

    def test_the_best_epoch_is_kept(self) -> None:
        mended = plain()
        told = iter([0.2, 0.9, 0.9, 0.4])
        seen: list[dict[str, Tensor]] = []

        def figure(candidate: Any) -> float:
            assert not candidate.training
            seen.append(weights(candidate.frame))
            return next(told)

        log = adapt(mended, ramps(32), figure=figure, epochs=4, rate=1e-1)
        assert log.best == 2
        assert log.figures == (0.2, 0.9, 0.9, 0.4)
        assert same(seen[1], mended.frame)
        assert not same(seen[3], mended.frame)

    def test_patience_stops_the_run(self) -> None:
        figures = iter([0.2, 0.5, 0.5, 0.4, 0.9])
        log = adapt(plain(), ramps(32), figure=lambda m: next(figures), patience=2, epochs=5)
        assert (log.ended, log.best, len(log.epochs)) == ("no better", 2, 4)
        assert adapt(plain(), ramps(32), figure=lambda m: 1.0, patience=2, epochs=2).ended == "done"

    @pytest.mark.parametrize("targets", [False, True])
    def test_the_figure_is_the_accuracy_over_inputs_and_turns(self, targets: bool) -> None:
        model, held = net(), ramps(16, seed=5)
        labels = model(held).argmax(1)
        validation = (held, labels) if targets else held
        mended = plain(model=model)
        log = adapt(mended, ramps(64), validation=validation, epochs=4, rate=1e-1, batch_size=16)
        assert log.figures[log.best - 1] == max(f for f in log.figures if f is not None) == 1.0

    @pytest.mark.parametrize(
        ("model", "outputs"),
        [
            (lambda x: x * torch.linspace(0, 1, 8), Image()),
            (lambda x: x[:, 0] * torch.linspace(0, 1, 8) > 0.5, Mask()),
            (lambda x: (x.flatten(1) @ torch.linspace(0, 1, 64))[:, None], Scalar()),
            (lambda x: {"a": x[:, :, 0].mean((1, 2)), "b": x}, {"a": Scalar(), "b": Image()}),
        ],
        ids=["image", "labels", "one number", "several"],
    )
    def test_answers_that_are_no_logits_are_compared_with_the_models_own(self, model: Any, outputs: Any) -> None:
        mended = symmetrize(model, Symmetry(C(4), Image(), outputs), Best(Plain()))
        log = adapt(mended, ramps(64), validation=ramps(8, seed=5), epochs=3, rate=1e-1, batch_size=16)
        assert log.figures[-1] == pytest.approx(1.0, abs=1e-5)
        assert log.figures[0] is not None
        upside_down = symmetrize(model, Symmetry(C(4), Image(), outputs), Best(Plain()))
        wrong = adapt(
            upside_down,
            ramps(64),
            validation=ramps(16, seed=5),
            loss=lambda *a, **k: -prior_loss(*a, **k),
            epochs=2,
            rate=0.1,
        )
        assert wrong.figures[-1] is not None
        assert wrong.figures[-1] < 0.95

    def test_closeness(self) -> None:
        a = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [3.0, torch.inf], [1.0, torch.inf], [torch.nan, 0.0]])
        b = torch.tensor([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0], [1.0, torch.inf], [1.0, 0.0], [1.0, 0.0]])
        got = closeness(a, b)
        assert got[:5].tolist() == [1.0, 1.0, 0.0, 0.5, 0.0]
        assert bool(got[5].isnan())
        whole = closeness(torch.tensor([[1, 2], [3, 4]]), torch.tensor([[1, 2], [3, 5]]))
        assert whole.tolist() == [1.0, 0.5]

    def test_an_average_of_the_weights(self) -> None:
        """Against the plain recursion."""
        seen: list[dict[str, Tensor]] = []
        mended = plain()
        start = weights(mended.frame)

        def watch(done: int, total: int) -> None:
            seen.append(weights(mended.frame))

        adapt(mended, ramps(32), average=0.9, progress=watch, **FAST)
        expected = start["energy.weight"]
        for step, value in enumerate(seen, start=1):
            share = min(0.9, step / (step + 10))
            expected = share * expected + (1 - share) * value["energy.weight"]
        assert torch.allclose(mended.frame.energy.weight, expected, atol=1e-6)
        assert not torch.allclose(seen[-1]["energy.weight"], expected, atol=1e-4)

    def test_the_figure_is_of_the_averaged_weights(self) -> None:
        seen: list[dict[str, Tensor]] = []
        mended = plain()

        def figure(candidate: Any) -> float:
            seen.append(weights(candidate.frame))
            return float(len(seen))

        adapt(mended, ramps(32), average=0.9, figure=figure, **FAST)
        assert same(seen[-1], mended.frame)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_lower_precision(precision: torch.dtype) -> None:
    mended = symmetrize(net(), CLAIM, Best(scorer()))
    dtypes = []
    mended.frame.energy.stem.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    adapt(mended, ramps(32), precision=precision, epochs=4, rate=1e-2, batch_size=16)
    assert precision in dtypes
    assert all(p.dtype == torch.float32 for p in mended.parameters())
    assert found(mended, ramps(16, seed=5)) > 0.9


class TestRecord:
    """What a run tells."""

    def log(self) -> FitLog:
        figures = iter([0.25, 0.75])
        return adapt(plain(), ramps(32), figure=lambda m: next(figures), **FAST)

    def test_as_json(self) -> None:
        told = self.log().as_dict()
        assert json.loads(json.dumps(told, allow_nan=False)) == told
        assert [epoch["figure"] for epoch in told["epochs"]] == [0.25, 0.75]
        infinite = adapt(plain(), ramps(8), figure=lambda m: -float("inf"), epochs=1).as_dict()
        assert json.loads(json.dumps(infinite, allow_nan=False))["epochs"][0]["figure"] == "-inf"

    def test_pickled(self) -> None:
        log = self.log()
        assert pickle.loads(pickle.dumps(log)) == log

    def test_in_words(self) -> None:
        lines = str(self.log()).splitlines()
        assert lines[0].split() == ["epoch", "loss", "figure", "rate", "seconds"]
        assert lines[1].split()[0] == "1"
        assert lines[2].split()[2] == "0.75"
        assert lines[2].endswith("kept")
        assert re.fullmatch(r"done; 64 parameters, 32 samples, \d+\.\d s", lines[3])

    def test_the_rate_rises_and_falls(self) -> None:
        rates = [epoch.rate for epoch in adapt(plain(), ramps(64), epochs=5, rate=1e-2, batch_size=8).epochs]
        assert max(rates) <= 1e-2
        assert rates[-1] < 1e-5 < rates[0]

    def test_progress(self, capsys: pytest.CaptureFixture[str]) -> None:
        told: list[tuple[int, int]] = []
        adapt(plain(), ramps(32), progress=lambda done, total: told.append((done, total)), **FAST)
        assert told == [(k, 4) for k in range(1, 5)]
        adapt(plain(), ramps(32), **FAST)
        assert capsys.readouterr().err == ""
        adapt(plain(), ramps(32), progress=True, **FAST)
        text = capsys.readouterr()
        assert text.out == ""
        assert re.search(r"\radapt \[={30}\] 4/4, 0 s left *\n$", text.err)


def test_a_network_without_steps_left_over_learns_in_one_step() -> None:
    log = adapt(plain(), ramps(4), epochs=1, batch_size=64)
    assert len(log.epochs) == 1


def test_losses_with_options(capsys: Any) -> None:
    teacher = Best(lambda x: -x[:, :, :4].mean((1, 2, 3)))
    for loss in (
        partial(prior_loss, smoothing=0.1),
        partial(prior_loss, turns=C(4)),
        partial(distillation_loss, teacher=teacher),
        partial(task_loss, loss=lambda outputs, targets: outputs.square().mean()),
    ):
        assert len(adapt(plain(), ramps(16), loss=loss, targets=torch.zeros(16), epochs=1).losses) == 1


def test_prior_against_the_formula() -> None:
    mended, x = plain(), ramps(8)
    energies = torch.stack([mended.frame.energy(x.rot90(-k, (-2, -1))) for k in range(4)], 1).double()
    assert torch.allclose(prior_loss(mended, x), -(-energies).log_softmax(1)[:, 0].mean())
    for k in range(4):
        one = C(4).elements()[k : k + 1]

        class Only:
            def sample(self, shape: Any, *, dtype: Any, one: Tensor = one, **_: Any) -> Tensor:
                return one.expand(*shape, 2, 2).to(dtype)

        assert torch.allclose(prior_loss(mended, x, turns=Only()), prior_loss(mended, x), atol=1e-6)


def test_smoothing_against_the_formula() -> None:
    mended, x = plain(), ramps(8)
    shares = (-mended.frame.energies(CLAIM, x)).log_softmax(0)
    expected = -(0.7 * shares[0] + 0.3 * shares.mean(0)).mean()
    assert torch.allclose(prior_loss(mended, x, smoothing=0.3), expected)
    assert not torch.allclose(prior_loss(mended, x), expected, rtol=1e-3)


def test_the_teachers_temperature_against_the_formula() -> None:
    mended, teacher, x = plain(), Best(Plain(seed=3)), ramps(8)
    shares = (-mended.frame.energies(CLAIM, x)).log_softmax(0)
    found = []
    for temperature in (0.05, 1.0):
        wanted = (-teacher.energies(CLAIM, x) / temperature).softmax(0)
        found.append(distillation_loss(mended, x, teacher=teacher, temperature=temperature))
        assert torch.allclose(found[-1], -(wanted * shares).sum(0).mean())
    assert not torch.allclose(*found, rtol=1e-3)


def test_weights_decay_by_the_rate() -> None:
    """Without a gradient the decay alone moves them."""
    mended = plain()
    start = mended.frame.energy.weight.detach().clone()
    log = adapt(
        mended, ramps(8), loss=lambda m, x, t: (m.frame.energy.weight * 0).sum(), epochs=4, rate=1e-1, decay=0.5
    )
    shrunk = math.prod(1 - epoch.rate * 0.5 for epoch in log.epochs)
    assert shrunk < 0.95
    assert torch.allclose(mended.frame.energy.weight, start * shrunk, atol=1e-7)
