"""The command: what it refuses before any work, and the tabs with a model of one's own."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from canonize import C, E, Image, Pairs, Point, S, Scalar, Symmetry, SymmetryError, symmetrize
from canonize.cli import playground as command
from canonize.cli.app import app
from canonize.frames import Best
from canonize.integrations.safetensors import save
from canonize.nn import Scorer
from canonize.playground.app import tabs
from canonize.playground.kinds import Kind


def quiet(*_: object) -> None:
    """Tells nobody."""


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["playground", *words], env={"COLUMNS": "160"})


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--kind", "sound"), "no tab"),
        (("--group", "C8"), "for a model of your own"),
        (("--frame", "average"), "for a model of your own"),
        (("--model", "nowhere:net"), "cannot be imported"),
        (("--model", "torch.nn:Identity()", "--frame", "nothing"), "no frame"),
        (("--model", "torch.nn:Identity()", "--group", "Q8"), "no group"),
        (("--port", "70000"), "65535"),
    ],
    ids=["kind", "group alone", "frame alone", "no module", "no frame", "no group", "no port"],
)
def test_a_wrong_call_is_told_before_any_work(
    words: tuple[str, ...], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "playground", lambda *_, **__: pytest.fail("work began"))
    found = run(*words)
    assert found.exit_code == 2
    assert reason in found.output


def test_a_port_that_is_taken_is_told_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "playground", lambda *_, **__: pytest.fail("work began"))
    with socket.create_server(("127.0.0.1", 0)) as busy:
        found = run("--port", str(busy.getsockname()[1]))
    assert found.exit_code == 2
    assert "another --port" in found.output
    assert run("--host", "192.0.2.1").exit_code == 2, "no address of this machine"


def test_own_models_take_the_place_of_the_built_in_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "digit_kind", lambda seed, tell: Kind({"one": (torch.zeros(1, 1, 32, 32),)}, {}))

    def image(x):
        return x[:, 0, 5:10, 5] + x.mean((1, 2, 3))[:, None]

    def molecule(positions):
        return positions.double().tanh().sum((1, 2))

    def graph(matrices):
        return (matrices * torch.arange(matrices.shape[-1])).sum((1, 2))

    cases: list[tuple[str, Any, Symmetry]] = [
        ("image", image, Symmetry(C(4), Image(), Scalar())),
        ("molecule", molecule, Symmetry(E(3), Point(), Scalar())),
        ("graph", graph, Symmetry(S(), Pairs(), Scalar())),
    ]
    for place, (kind, model, symmetry) in enumerate(cases):
        claim = command.own_claim(model, symmetry, "default", "mine:net")
        play = command.playground(0, quiet, claim=claim, kind=kind, size=16)
        tab = tabs(play)[place]
        assert list(tab.kind.claims) == [claim[0]]
        inputs = next(iter(tab.kind.samples.values()))
        assert inputs[0].dtype == torch.float32
        settings = {"image": (False,), "molecule": ("y", 0.5, False), "graph": ()}[kind]
        found = tab.swept(inputs, claim[0], *settings)
        scale = float(found.plain.abs().max())
        assert found.moves(symmetrized=True, where=found.exact) < 1e-4 * max(1.0, scale)
        assert found.moves(symmetrized=False, where=found.exact) > 1e-2
        text = tab.drawn(inputs, found, claim[0], tab.stops[1], *settings)
        assert "Your model, mine:net." in text


def test_the_dtype_is_the_models() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2)).double()
    claim = command.own_claim(model, Symmetry(C(4), Image(), Scalar()), "average", "net")
    play = command.playground(0, quiet, claim=claim, kind="image", size=16)
    assert {part.dtype for parts in play.images.samples.values() for part in parts} == {torch.float64}
    tab = tabs(play)[0]
    inputs = next(iter(tab.kind.samples.values()))
    assert tab.swept(inputs, claim[0], False).moves(symmetrized=True, where=torch.arange(24) % 6 == 0) < 1e-12


def test_a_saved_canonicalizer_stands_before_the_model(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    claim = Symmetry(C(8), Image(), Scalar())
    save(symmetrize(model, claim, Best(Scorer(3, width=4, depth=1, disk=True), resolution=16)), tmp_path / "frame")
    name, found = command.own_claim(model, Symmetry(C(4), Image(), Scalar()), str(tmp_path / "frame"), "net")
    assert name == "C(8): Best"
    assert found.behind.model is model
    with pytest.raises(SymmetryError, match="another model"):
        command.own_claim(model, Symmetry(C(4), Point(), Scalar()), str(tmp_path / "frame"), "net")


def test_a_claim_with_more_inputs_than_there_are_is_told() -> None:
    symmetry = Symmetry(C(4), (Image(), Scalar()), Scalar())
    claim = command.own_claim(lambda x, y: x.mean((1, 2, 3)), symmetry, "average", "net")
    play = command.playground(0, quiet, claim=claim, kind="image", size=16)
    tab = tabs(play)[0]
    with pytest.raises(SymmetryError, match="more inputs than there are"):
        tab.swept(next(iter(tab.kind.samples.values())), claim[0], False)
