"""`canonize adapt` where it has been before: a finished canonizer stays, and a run stopped at its very end goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from cli_runs import model, run

from canonize import Best, C, Image, Scalar, Symmetry, symmetrize
from canonize.adapt import adapt as training
from canonize.audit import audit as auditing
from canonize.cli import adapt as command
from canonize.cli.console import publish
from canonize.nn import Scorer

pytest.importorskip("safetensors")
from canonize.integrations.safetensors import save

SMALL = ("--epochs", "1", "--width", "2", "--depth", "1", "--batch-size", "8", "--limit", "12", "--no-targets")
DONE = {"canonizer.safetensors", "config.json", "report.html", "report.json", "report.txt"}


def adapted(place: Path, *options: str, group: str = "C4", which: str = "") -> Any:
    words = ("--data", "data.npy", "--group", group, "--out", "out", *SMALL, *options)
    return run("adapt", which or model(place, "corner"), *words)


def held(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (place / "out").iterdir()}


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("loaded, although the folder is taken")


def stops_behind(*args: Any, name: str = "behind", **options: Any) -> Any:
    """An audit, or a report, that is interrupted once the model has been trained."""
    if "behind" in name:
        raise KeyboardInterrupt
    return auditing(*args, name=name, **options)


def test_a_finished_canonizer_is_not_overwritten(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = Symmetry(C(4), Image(), Scalar())
    save(symmetrize(torch.nn.Identity(), claim, Best(Scorer(3, width=2, depth=1), resolution=32)), place / "out")
    before = held(place)
    monkeypatch.setattr(command, "load_model", never)
    monkeypatch.setattr(command, "load_data", never)
    for group, options in (("C4", ()), ("D4", ()), ("C4", ("--checkpoint", "new.pt"))):
        found = adapted(place, *options, group=group)
        assert found.exit_code == 2, found.output
        there = "canonizer.safetensors and config.json"
        assert f"the folder holds a finished canonizer\n  got:      {there} in out, of Best " in found.output
        assert "of Best at resolution 32 for C(4), outputs Scalar()\n" in found.output
        assert f"delete {there} in out to train anew, or another folder: --out" in found.output
        assert held(place) == before


@pytest.mark.parametrize("left", ["config.json", "canonizer.safetensors"])
def test_half_a_canonizer_and_files_of_others_are_not_overwritten_either(place: Path, left: str) -> None:
    (place / "out").mkdir()
    (place / "out" / left).write_text("mine", encoding="utf-8")
    found = adapted(place)
    assert found.exit_code == 2, found.output
    assert f"got:      {left} in out\n" in found.output
    assert held(place) == {left: b"mine"}


def test_stopped_between_training_and_report_it_goes_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[set[str]] = []

    def last(*args: Any, **options: Any) -> None:
        publish(*args, **options)
        there.append(set(held(place)))

    monkeypatch.setattr(command, "publish", last)
    assert adapted(place).exit_code == 0
    assert there == [DONE | {"checkpoint.pt"}]
    expected = held(place)
    assert set(expected) == DONE
    for where in ("the second audit", "the report"):
        (place / "out").rename(place / f"before {where}")
        with monkeypatch.context() as stopping:
            stopping.setattr(command, "audit" if where == "the second audit" else "publish", stops_behind)
            found = adapted(place)
        assert found.exit_code == 130, found.output
        assert f"Stopped. The same command goes on from {Path('out') / 'checkpoint.pt'}" in found.output
        assert set(held(place)) == {"canonizer.safetensors", "config.json", "checkpoint.pt"}
        steps: list[int] = []

        def watched(*args: Any, progress: Any, taken: list[int] = steps, **options: Any) -> Any:
            return training(*args, progress=lambda done, total: taken.append(done), **options)

        with monkeypatch.context() as watching:
            watching.setattr(command, "adapt", watched)
            assert adapted(place).exit_code == 0
        assert not steps
        found = held(place)
        assert set(found) == DONE
        assert all(found[name] == expected[name] for name in ("canonizer.safetensors", "config.json"))
