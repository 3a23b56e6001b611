"""Interrupted runs end as if they had not been, and go on from the checkpoints of the same run alone."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from adapt_cases import CLAIM, Plain, draw, plain, ramps, same, weights
from checkpoint_cases import averaged, shuffled_by_itself
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from canonize import (
    Best,
    C,
    Image,
    Scalar,
    Symmetrized,
    Symmetry,
    SymmetryError,
    adapt,
    bootstrap,
    prior_loss,
    symmetrize,
    task_loss,
)
from canonize.adapt import run

SETTINGS: dict[str, Any] = {"epochs": 3, "rate": 1e-1, "batch_size": 8}


class Noisy(nn.Module):
    """Buffers, dropout, a generator of nobody: everything that a resumed run could forget."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Plain(dropout=0.2)
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.norm(x))


def mended() -> Symmetrized:
    return symmetrize(plain().model, CLAIM, Best(Noisy()))


def stop_at(step: int) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done == step:
            raise KeyboardInterrupt

    return progress


def memory() -> dict[str, Any]:
    return {"data": ramps(32)}


def shuffled() -> dict[str, Any]:
    return {"data": DataLoader(TensorDataset(ramps(32)), batch_size=8, shuffle=True)}


def with_the_model() -> dict[str, Any]:
    labels = torch.arange(32) % 3
    validation = (ramps(8), labels[:8])
    return {"data": ramps(32), "targets": labels, "loss": task_loss, "model": True, "validation": validation}


def in_half() -> dict[str, Any]:
    return {"data": ramps(32), "precision": torch.float16, "augment": lambda x, g: x + torch.rand(1, generator=g)}


@pytest.mark.parametrize(
    ("case", "step"),
    [
        (memory, 2),
        (memory, 6),
        (shuffled, 6),
        (shuffled_by_itself, 2),
        (shuffled_by_itself, 6),
        (averaged, 6),
        (with_the_model, 6),
        (in_half, 6),
    ],
)
def test_an_interrupt_in_the_middle_of_an_epoch_changes_nothing(
    case: Callable[[], dict[str, Any]], step: int, tmp_path: Path
) -> None:
    whole, options = mended(), case()
    expected = adapt(whole, options.pop("data"), **SETTINGS, **options)
    torn, options = mended(), case()
    data, place = options.pop("data"), tmp_path / "deep" / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        adapt(torn, data, checkpoint=place, progress=stop_at(step), **SETTINGS, **options)
    # In the same process with what is left over, and as a new process would.
    for symmetrized, again in ((torn, data), (mended(), case()["data"])):
        twin = tmp_path / "twin.pt"
        twin.write_bytes(place.read_bytes())
        log = adapt(symmetrized, again, checkpoint=twin, **SETTINGS, **options)
        assert same(whole, symmetrized)
        assert (log.losses, log.figures, log.best) == (expected.losses, expected.figures, expected.best)
        assert log.samples == expected.samples == 32


def test_a_run_that_is_over_is_read_back(tmp_path: Path) -> None:
    one, other = mended(), mended()
    log = adapt(one, ramps(32), checkpoint=tmp_path / "run.pt", **SETTINGS)

    def never(done: int, total: int) -> None:
        raise AssertionError

    assert adapt(other, ramps(32), checkpoint=tmp_path / "run.pt", progress=never, **SETTINGS) == log
    assert same(one, other)


def test_more_patience_goes_on(tmp_path: Path) -> None:
    options: dict[str, Any] = {"figure": lambda m: 0.0, "checkpoint": tmp_path / "run.pt", **SETTINGS}
    assert len(adapt(mended(), ramps(32), patience=1, **options).epochs) == 2
    assert len(adapt(mended(), ramps(32), patience=5, **options).epochs) == 3


def test_a_killed_process(tmp_path: Path) -> None:
    script = str(Path(__file__).with_name("adapt_killed.py"))
    done = subprocess.run([sys.executable, script, str(tmp_path), "6"], capture_output=True, check=False)
    assert done.returncode == -9, done.stderr
    whole, other = plain(dropout=0.2), plain(dropout=0.2)
    log = adapt(whole, ramps(32), average=0.9, **SETTINGS)
    steps: list[int] = []
    again = adapt(
        other,
        ramps(32),
        average=0.9,
        checkpoint=tmp_path / "run.pt",
        progress=lambda done, total: steps.append(done),
        **SETTINGS,
    )
    assert steps == list(range(5, 13))
    assert same(whole, other)
    assert again.losses == log.losses


@pytest.mark.parametrize("forgotten", ["optimizer", "schedule", "averaged", "kept", "subject"])
def test_a_checkpoint_that_forgets_a_part_would_be_noticed(
    forgotten: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin of the law above: the part is as it was before the first step."""
    make, write = run.Run.__init__, run.save
    first: dict[str, Any] = {}

    def watched(self: run.Run, *args: Any) -> None:
        make(self, *args)
        first.update(
            optimizer=copy.deepcopy(self.optimizer.state_dict()),
            schedule=copy.deepcopy(self.schedule.state_dict()),
            averaged=None if self.averaged is None else copy.deepcopy(self.averaged.weights),
            subject=copy.deepcopy(self.subject.state_dict()),
            kept=copy.deepcopy(self.subject.state_dict()),
        )

    def options() -> dict[str, Any]:
        if forgotten != "kept":
            return {"average": 0.9, **SETTINGS}
        # The first epoch is the best, so that its weights must be remembered.
        figures = {3: 2.0, 2: 2.5, 1: 3.0}
        return {"figure": lambda m: figures[min(3, len(told))] if told.append(0) is None else 0.0, **SETTINGS}

    told: list[int] = []
    whole, torn, other = mended(), mended(), mended()
    adapt(whole, ramps(32), **options())
    told.clear()
    monkeypatch.setattr(run.Run, "__init__", watched)
    monkeypatch.setattr(run, "save", lambda path, state: write(path, {**state, forgotten: first[forgotten]}))
    with pytest.raises(KeyboardInterrupt):
        adapt(torn, ramps(32), checkpoint=tmp_path / "run.pt", progress=stop_at(6), **options())
    adapt(other, ramps(32), checkpoint=tmp_path / "run.pt", **options())
    assert not same(whole, other)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"epochs": 4}, "epochs: 3, now 4"),
        ({"rate": 0.2}, "rate: 0.1, now 0.2"),
        ({"batch_size": 16}, "batch_size: 8, now 16"),
        ({"generator": "seed"}, "seed: 0, now "),
        ({"loss": task_loss, "targets": torch.zeros(32, dtype=torch.int64)}, "loss: 'prior_loss', now 'task_loss'"),
        ({"average": 0.5}, "average: 0.0, now 0.5"),
        ({"precision": torch.bfloat16}, "precision: 'None', now 'torch.bfloat16'"),
        ({"data": ramps(31)}, "samples: 32, now 31"),
        ({"data": ramps(32, 6)}, "weights: "),
        ({"group": C(8)}, r"claim: 'Symmetry\(group=C\(4\)"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "+".join(value),
)
def test_the_checkpoint_of_another_run_is_refused(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"data": ramps(32), "checkpoint": tmp_path / "run.pt", **SETTINGS}
    adapt(plain(), **options)
    options |= change
    claim = Symmetry(options.pop("group", C(4)), Image(), Scalar())
    if options.get("generator"):
        options["generator"] = draw(1)
    size = options["data"].shape[-1]
    model = nn.Sequential(nn.Flatten(), nn.Linear(size**2, 3))
    other = symmetrize(model, claim, Best(Plain(size**2)))
    before = weights(other)
    with pytest.raises(SymmetryError, match=rf"^the checkpoint is of another run\n  got:      (.|\n)*{told}"):
        adapt(other, **options)
    assert same(before, other)


def brighter(x: Tensor, generator: torch.Generator) -> Tensor:
    return x + torch.rand(1, generator=generator)


def darker(x: Tensor, generator: torch.Generator) -> Tensor:
    return x - torch.rand(1, generator=generator)


SAME: dict[str, Any] = {"loss": partial(prior_loss, smoothing=0.1, turns=C(4)), "augment": brighter}


def once(place: Path, *, more: dict[str, Any] | None = None, scale: int = 4, **options: Any) -> Any:
    """One epoch, with an energy that takes images of any size."""
    energy = nn.Sequential(nn.AdaptiveAvgPool2d(scale), Plain(16))
    mended = symmetrize(plain().model, CLAIM, Best(energy, **options))
    settings: dict[str, Any] = {"data": ramps(32), "checkpoint": place, "epochs": 1} | SAME | (more or {})
    return adapt(mended, settings.pop("data"), **settings)


def test_the_same_run_goes_on_in_all_its_words(tmp_path: Path) -> None:
    options: dict[str, Any] = {"resolution": 8, "soft": 0.1, "more": {"validation": (ramps(8), torch.arange(8) % 3)}}
    assert once(tmp_path / "run.pt", **options) == once(tmp_path / "run.pt", **options)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"resolution": 4}, "frame: "),
        ({"gate": 0.1}, "frame: "),
        ({"soft": 0.1}, "frame: "),
        ({"select": "gumbel"}, "frame: "),
        ({"temperature": 2.0}, "frame: "),
        ({"chunk": 2}, "frame: "),
        ({"more": {"data": ramps(32, seed=9)}}, "data: "),
        ({"more": {"data": ramps(32, 10)}}, "data: 32 x 1 x 8 x 8, now 32 x 1 x 10 x 10"),
        (
            {"more": {"data": ramps(32, noise=0.2).numpy()}},
            "data: 32 x 1 x 8 x 8, now the same shapes with other content",
        ),
        ({"more": {"targets": torch.arange(32)}}, "data: 32 x 1 x 8 x 8, now 32 x 1 x 8 x 8, 32"),
        ({"more": {"loss": partial(prior_loss, smoothing=0.9, turns=C(4))}}, "loss: .*smoothing=0.1.*smoothing=0.9"),
        ({"more": {"loss": partial(prior_loss, smoothing=0.1, turns=C(8))}}, "loss: "),
        ({"more": {"augment": None}}, "augment: 'brighter', now 'None'"),
        ({"more": {"augment": darker}}, "augment: 'brighter', now 'darker'"),
        ({"more": {"figure": lambda m: 1.0}}, "figure: "),
        ({"more": {"validation": ramps(8)}}, "validation: none, now 8 x 1 x 8 x 8"),
    ],
)
def test_another_frame_loss_or_data_make_another_run(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    once(tmp_path / "run.pt")
    with pytest.raises(SymmetryError, match=rf"^the checkpoint is of another run\n  got:      {told}"):
        once(tmp_path / "run.pt", **change)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: [x[:16], x[16:]],
        lambda x: DataLoader(TensorDataset(x), batch_size=16),
    ],
)
def test_other_data_in_a_loader(make: Callable[[Tensor], Any], tmp_path: Path) -> None:
    once(tmp_path / "run.pt", more={"data": make(ramps(32))})
    once(tmp_path / "run.pt", more={"data": make(ramps(32))})
    with pytest.raises(SymmetryError, match=r"^the checkpoint is of another run\n  got:      data: "):
        once(tmp_path / "run.pt", more={"data": make(ramps(32, seed=9))})


def test_a_stop_while_a_checkpoint_is_written_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(state: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        adapt(plain(), ramps(16), checkpoint=tmp_path / "run.pt", epochs=1)
    assert not any(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(SymmetryError, match=r"^adapt cannot write its checkpoint\n  got:      .*run\.pt"):
        adapt(plain(), ramps(16), checkpoint=tmp_path / "file" / "run.pt", epochs=1, progress=stop_at(1))


def test_each_round_of_a_bootstrap_has_a_checkpoint_of_its_own(tmp_path: Path) -> None:
    teacher = Best(lambda x: -x[:, :, :4].mean((1, 2, 3)))
    options: dict[str, Any] = {"teacher": teacher, "rounds": 2, **SETTINGS}
    whole, torn = plain(), plain()
    expected = bootstrap(whole, ramps(16), **options)
    place = tmp_path / "run.pt"
    calls = [0]

    def second_round(done: int, total: int) -> None:
        calls[0] += 1
        if calls[0] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bootstrap(torn, ramps(16), checkpoint=place, progress=second_round, **options)
    logs = bootstrap(torn, ramps(16), checkpoint=place, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run-1.pt", "run-2.pt"]
    assert [log.losses for log in logs] == [log.losses for log in expected]
    assert same(whole, torn)
