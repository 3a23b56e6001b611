"""Files that are no checkpoint, and checkpoints with junk in them, are refused in words and run no code."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapt_cases import plain, ramps, same, weights
from checkpoint_cases import shuffled_by_itself
from torch import nn

from canonize import (
    SymmetryError,
    adapt,
)

EPOCH = {"number": 1, "loss": 1.0, "rate": 1e-3, "seconds": 1.0, "figure": None}


class Bomb:
    """Unpickling this would write a file."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("open('exploded', 'w').close()",))


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    torch.save([1, 2], path)


def weights_alone(path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, path)


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb()))


def pickled_in_torch(path: Path) -> None:
    torch.save({"run": Bomb()}, path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [truncated, empty, foreign, weights_alone, pickled, pickled_in_torch, folder])
def test_what_is_no_checkpoint_is_refused_and_runs_no_code(
    damage: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "run.pt"
    adapt(plain(), ramps(16), checkpoint=place, epochs=1)
    damage(place)
    with pytest.raises(SymmetryError, match=r"^adapt cannot read its checkpoint\n  got:      .*run\.pt") as refused:
        adapt(plain(), ramps(16), checkpoint=place, epochs=1)
    assert f"delete {place} to start anew" in str(refused.value)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("subject", {"energy.weight": torch.zeros(3)}),
        ("subject", {"other": torch.zeros(64)}),
        ("subject", None),
        ("optimizer", {}),
        ("optimizer", {"param_groups": [], "state": {}}),
        ("log", [{"number": 1}]),
        ("log", 3),
        ("generators", [torch.zeros(3)]),
        ("samples", ...),
        ("samples", True),
        ("subject", {"energy.weight": torch.full((64,), torch.nan)}),
        ("subject", {"energy.weight": torch.zeros(64, dtype=torch.float64)}),
        ("kept", 3),
        ("kept", {"energy.weight": torch.zeros(64)}),
        ("averaged", {"energy.weight": torch.zeros(64)}),
        ("log", []),
        ("log", [EPOCH | {"number": 2}]),
        ("log", [EPOCH | {"loss": "low"}]),
        ("log", [EPOCH | {"loss": torch.zeros(3)}]),
        ("log", [EPOCH | {"rate": float("nan")}]),
        ("log", [EPOCH | {"figure": float("nan")}]),
        ("log", [EPOCH, EPOCH | {"number": 2}]),
        ("best", 2),
        ("best", "1"),
        ("best", torch.ones(3)),
        ("schedule", {}),
        ("schedule", 3),
        ("scaler", {"scale": 1.0}),
    ],
)
def test_a_checkpoint_with_a_wrong_part_leaves_the_frame_as_it_is(part: str, value: Any, tmp_path: Path) -> None:
    place = tmp_path / "run.pt"
    adapt(plain(), ramps(16), checkpoint=place, epochs=1)
    state = torch.load(place, weights_only=True)
    if value is ...:
        del state[part]
    else:
        state[part] = value
    torch.save(state, place)
    fresh = plain()
    before = weights(fresh)
    with pytest.raises(SymmetryError, match=r"^adapt cannot read its checkpoint"):
        adapt(fresh, ramps(16), checkpoint=place, epochs=1)
    assert same(before, fresh)


JUNK: list[tuple[str, Callable[[Any], Any]]] = [
    ("log", lambda log: log[:2]),
    ("log", lambda log: log[:1] + [log[1] | {"figure": None}] + log[2:]),
    ("best", lambda best: best % 3 + 1),
    ("kept", lambda kept: None),
    ("kept", lambda kept: {name: value[:3] for name, value in kept.items()}),
    ("kept", lambda kept: {name: value * torch.nan for name, value in kept.items()}),
    ("averaged", lambda averaged: None),
    ("averaged", lambda averaged: dict.fromkeys(averaged, "junk")),
    ("schedule", lambda schedule: schedule | {"last_epoch": 10**6}),
    ("schedule", lambda schedule: schedule | {"last_epoch": "6"}),
    ("schedule", lambda schedule: schedule | {"total_steps": 10**6}),
    ("schedule", lambda schedule: schedule | {"total_steps": 10**400}),
    ("optimizer", lambda told: told | {"state": {7: told["state"][0]}}),
    ("optimizer", lambda told: told | {"state": {0: told["state"][0] | {"exp_avg": torch.zeros(3)}}}),
    ("optimizer", lambda told: told | {"state": {0: told["state"][0] | {"exp_avg": torch.full((64,), torch.nan)}}}),
    ("optimizer", lambda told: told | {"param_groups": [told["param_groups"][0] | {"lr": "fast"}]}),
    ("generators", lambda generators: [generators[0][:3]]),
    ("generators", lambda generators: [generators[0].float()]),
    ("generators", lambda generators: []),
]


@pytest.mark.parametrize(("part", "damage"), JUNK)
def test_junk_in_a_whole_checkpoint_is_told_before_anything_is_loaded(
    part: str, damage: Callable[[Any], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "run.pt"

    def begin() -> None:
        loader = shuffled_by_itself()["data"]
        adapt(plain(), loader, figure=lambda m: 0.5, average=0.9, checkpoint=place, epochs=3, rate=1e-1)

    begin()
    state = torch.load(place, weights_only=True)
    torch.save(state | {part: damage(state[part])}, place)
    loaded: list[Any] = []
    monkeypatch.setattr(nn.Module, "load_state_dict", lambda *args, **kwargs: loaded.append(args))
    with pytest.raises(SymmetryError, match=r"^adapt cannot read its checkpoint\n  got:      .*run\.pt: "):
        begin()
    assert not loaded


@pytest.mark.parametrize("value", [torch.zeros(3), "0", None, {"seed": 0}])
def test_junk_in_what_a_checkpoint_tells_of_its_run(value: Any, tmp_path: Path) -> None:
    place = tmp_path / "run.pt"
    adapt(plain(), ramps(16), checkpoint=place, epochs=1)
    state = torch.load(place, weights_only=True)
    state["run"]["seed"] = value
    torch.save(state, place)
    with pytest.raises(SymmetryError, match=r"^the checkpoint is of another run\n  got:      seed: "):
        adapt(plain(), ramps(16), checkpoint=place, epochs=1)
