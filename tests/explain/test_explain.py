"""What `explain` says of a frame is what the audit measures of it; frames that do not fit are told, not hidden."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from canonize import (
    PCA,
    SE,
    SO,
    Average,
    Best,
    C,
    D,
    E,
    Image,
    Nodes,
    Octahedral,
    Pairs,
    Point,
    Poses,
    S,
    Sampled,
    Scalar,
    Symmetry,
    SymmetryError,
    Vector,
    audit,
    default_frame,
    explain,
    symmetrize,
)
from canonize.explain import run as explaining
from canonize.nn import Scorer


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is counted does not depend on how often a call is timed.
    monkeypatch.setattr(explaining, "LEAST", 1)
    monkeypatch.setattr(explaining, "ENOUGH", 0.0)


def network(*shape: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 3)).eval()


def graphs(count: int) -> Tensor:
    upper = (torch.rand(count, 7, 7, generator=torch.Generator().manual_seed(0)) < 0.4).float().triu(1)
    return upper + upper.mT


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


CLAIMS: dict[str, tuple[Symmetry, Tensor]] = {
    "C(4), images": (Symmetry(C(4), Image(), Scalar()), drawn(8, 1, 8, 8)),
    "C(8), images": (Symmetry(C(8), Image(), Scalar()), drawn(8, 1, 16, 16)),
    "D(4), images": (Symmetry(D(4), Image(), Scalar()), drawn(8, 1, 9, 9)),
    "SO(2), images": (Symmetry(SO(2), Image(), Scalar()), drawn(8, 1, 16, 16)),
    "SE(3), clouds": (Symmetry(SE(3), Point(), Scalar()), drawn(8, 5, 3)),
    "E(2), clouds": (Symmetry(E(2), Point(), Scalar()), drawn(8, 5, 2)),
    "octahedral, vectors": (Symmetry(Octahedral(), Vector(), Scalar()), drawn(8, 5, 3)),
    "S, sets": (Symmetry(S(), Nodes(), Scalar()), drawn(8, 7, 2)),
    "S, graphs": (Symmetry(S(), Pairs(), Scalar()), graphs(8)),
}


class Counting(nn.Module):
    """A network that counts the samples it is shown."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return self.inner(x)


@pytest.mark.parametrize("name", CLAIMS)
def test_passes_are_those_that_the_model_counts(name: str) -> None:
    claim, x = CLAIMS[name]
    model = Counting(network(*x.shape[1:])).eval()
    found = explain(model, claim, x)
    assert found.batch == len(x)
    # Drawn elements are others at every call, but as many.
    for choice in found.choices:
        assert choice.cost is not None, choice.refused
        assert choice.cost.batch == len(x)
        assert choice.cost.seconds > 0
        assert choice.pose_seconds > 0
        model.seen = 0
        symmetrize(model, claim, choice.made)(x)
        assert choice.cost.passes == pytest.approx(model.seen / len(x), rel=1e-12), choice.frame


def test_the_cost_is_that_of_the_audit() -> None:
    claim, x = CLAIMS["SE(3), clouds"]
    model = network(5, 3)
    choice = explain(model, claim, x)["PCA()"]
    assert choice.cost.passes == audit(symmetrize(model, claim, PCA()), claim, x, elements=2).cost.passes == 4


@pytest.mark.parametrize("name", [name for name in CLAIMS if name != "SO(2), images"])
def test_the_default_is_among_them_and_named(name: str) -> None:
    claim, x = CLAIMS[name]
    found = explain(network(*x.shape[1:]), claim, x)
    marked = [choice for choice in found.choices if choice.good_for.endswith("(the default)")]
    assert len(marked) == 1
    assert repr(marked[0].made) == repr(default_frame(claim))


@pytest.mark.parametrize("name", ["C(4), images", "SE(3), clouds", "E(2), clouds", "S, sets", "S, graphs"])
def test_what_is_called_exact_is_exact(name: str) -> None:
    claim, x = CLAIMS[name]
    x, model = x[:4].double(), network(*x.shape[1:]).double()
    for choice in explain(model, claim, x).choices:
        if choice.good_for.startswith("exact"):
            found = audit(symmetrize(model, claim, choice.made), claim, x, elements=4, cost=False)
            assert found.error.max < 1e-10, choice.frame


def test_multiply_adds_are_counted_beside_those_of_the_plain_model() -> None:
    claim, x = CLAIMS["C(4), images"]
    found = explain(network(1, 8, 8), claim, x)
    assert found["Average()"].operations == 4.0
    assert found["Best(Confidence(model))"].operations == 5.0
    assert found["Best(Confidence(model))"].cost.passes == 5.0
    with pytest.raises(KeyError):
        found["Average(2)"]


def test_a_model_without_products_has_no_ratio_of_them() -> None:
    claim, x = CLAIMS["C(4), images"]
    found = explain(lambda x: x.amax((1, 2, 3)), claim, x)
    assert found["Average()"].operations is None
    assert "-" in str(found)


def test_what_trains_says_how_many_numbers() -> None:
    claim, x = CLAIMS["C(4), images"]
    found = explain(network(1, 8, 8), claim, x)
    best = next(choice for choice in found.choices if choice.frame.startswith("Best(nn.Scorer"))
    assert best.parameters == sum(part.numel() for part in best.made.parameters()) > 0
    assert found["Average()"].parameters == 0


def test_frames_of_ones_own() -> None:
    claim, x = CLAIMS["SE(3), clouds"]
    found = explain(network(5, 3), claim, x, frames={"all": PCA(), "one": PCA("drawn")})
    assert {choice.frame for choice in found.choices} == {"all", "one"}
    assert found["all"].cost.passes == 4.0
    assert found["one"].cost.passes == 1.0


def test_a_frame_that_does_not_fit_is_listed_with_the_reason() -> None:
    claim, x = CLAIMS["C(4), images"]
    found = explain(network(1, 8, 8), claim, x, frames={"axes": PCA(), "mean": Average()})
    assert found["axes"].cost is None
    assert "PCA" in found["axes"].refused
    assert found.choices[-1].frame == "axes", "frames that work come first"
    assert found["axes"].refused in str(found)


def test_a_frame_that_fails_in_another_way_is_told_and_loses_nothing_of_the_others() -> None:
    def broken(symmetry: Symmetry, x: Tensor) -> Poses:
        raise ZeroDivisionError("by nothing")

    claim, x = CLAIMS["C(4), images"]
    found = explain(network(1, 8, 8), claim, x, frames={"broken": broken, "mean": Average()})
    assert found["broken"].refused == "ZeroDivisionError: by nothing"
    assert found["mean"].cost is not None


def test_a_model_of_arrays() -> None:
    def model(x: Any) -> Any:
        assert isinstance(x, np.ndarray)
        return x.reshape(len(x), -1) @ np.ones((64, 2), np.float32)

    claim, x = CLAIMS["C(4), images"]
    found = explain(model, claim, x.numpy())
    assert found["Average()"].cost.passes == 4
    assert "AssertionError" in found["Best(Confidence(model))"].refused


def test_nothing_is_changed_and_nothing_is_drawn_from_the_common_source() -> None:
    claim, x = CLAIMS["C(8), images"]
    model, before = network(1, 16, 16), x.clone()
    weights = [part.clone() for part in model.parameters()]
    mine = Best(Scorer(1, disk=True)).train()
    state = torch.get_rng_state()
    explain(model, claim, x)
    explain(model, claim, x, frames={"drawn": Sampled(2), "mine": mine})
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, before)
    assert all(torch.equal(one, two) for one, two in zip(weights, model.parameters(), strict=True))
    assert all(part.training for part in mine.modules())


def test_as_json_and_as_a_table() -> None:
    claim, x = CLAIMS["S, sets"]
    found = explain(network(7, 2), claim, x, name="deep <set>")
    told = json.loads(found.to_json())
    assert told == found.as_dict()
    assert told["name"] == "deep <set>"
    assert [each["frame"] for each in told["choices"]] == [choice.frame for choice in found.choices]
    assert str(found).startswith("deep <set>: ")
    for choice in found.choices:
        assert choice.frame in str(found)


def test_the_batch_is_held_to_its_size_and_the_steps_are_told() -> None:
    claim, x = CLAIMS["S, sets"]
    steps: list[tuple[int, int]] = []
    found = explain(network(7, 2), claim, x, batch_size=3, progress=lambda done, of: steps.append((done, of)))
    assert found.batch == 3
    assert steps == [(number + 1, len(found.choices)) for number in range(len(found.choices))]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": True}, "batch_size"),
        ({"frames": {}}, "by name"),
        ({"frames": [Average()]}, "by name"),
        ({"frames": {"x": 3}}, "frame"),
        ({"inputs": drawn(8, 1, 8, 8) * torch.nan}, "NaN"),
        ({"inputs": drawn(0, 1, 8, 8)}, "no"),
        ({"model": nn.Sequential(network(1, 8, 8), nn.Dropout())}, "train"),
        ({"model": network(1, 4, 4)}, "failed on the inputs"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_bad_calls_are_refused(changes: dict[str, Any], words: str) -> None:
    claim, x = CLAIMS["C(4), images"]
    settings = {"model": network(1, 8, 8), "inputs": x} | changes
    with pytest.raises(SymmetryError, match=words):
        explain(settings.pop("model"), claim, settings.pop("inputs"), **settings)
