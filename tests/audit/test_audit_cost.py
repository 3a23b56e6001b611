"""What the measurement of the cost counts, survives and leaves alone."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from models import FOUR, cnn, images
from torch import Tensor, nn

from canonize import (
    SO,
    Average,
    Best,
    C,
    Confidence,
    Fields,
    Image,
    Index,
    Point,
    Rows,
    Scalar,
    Symmetry,
    Vector,
    audit,
    explain,
    symmetrize,
)
from canonize.audit import cost as measured


class Sparse(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sparse.mm(x.flatten(1).to_sparse(), torch.ones(x[0].numel(), 2))


def test_sparse_tensors_inside_the_model() -> None:
    found = audit(symmetrize(Sparse(), FOUR), FOUR, images())
    assert found.verdict == "pass"
    assert found.cost.memory > 0


def test_memory_that_cannot_be_measured_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, *args: Any) -> Any:
        raise NotImplementedError

    monkeypatch.setattr(measured._Watched, "__torch_dispatch__", broken)
    found = audit(symmetrize(cnn(), FOUR), FOUR, images())
    assert (found.cost.memory, found.cost.plain_memory) == (None, None)
    assert found.cost.passes == 4


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    "make", [torch.jit.script, lambda net: torch.jit.trace(net, images())], ids=["script", "trace"]
)
def test_torchscript_is_counted(make: Any) -> None:
    inner = make(cnn())
    model = symmetrize(inner, FOUR)
    found = audit(model, FOUR, images())
    assert (found.verdict, found.cost.passes) == ("pass", 4)
    assert model.model is inner


def test_the_model_is_never_touched_even_while_it_is_counted() -> None:
    def mean(x: Tensor) -> Tensor:
        # Seen from inside a call: whoever holds the model meanwhile meets the same function.
        assert model.model is mean
        return x.mean((1, 2, 3))[:, None]

    model = symmetrize(mean, FOUR)
    before = copy.copy(model.__dict__)
    assert audit(model, FOUR, images()).cost.passes == 4
    assert model.__dict__ == before


def test_an_energy_that_calls_the_same_module_counts() -> None:
    net = cnn()
    found = audit(symmetrize(net, FOUR, Best(Confidence(net))), FOUR, images())
    assert found.cost.passes == 5
    assert not net._forward_pre_hooks


def test_passes_are_samples_also_where_a_sample_is_many_rows() -> None:
    claim = Symmetry(C(4), Fields(pos=Rows(Point()), batch=Index()), Rows(Vector()))
    x = {"pos": torch.randn(90, 2), "batch": torch.arange(30).repeat_interleave(3)}
    assert audit(symmetrize(lambda d: d["pos"].sin(), claim, Average()), claim, x).cost.passes == 4


def test_a_model_that_changes_what_it_is_given_harms_nobody() -> None:
    def doubling(x: Tensor) -> Tensor:
        return x.mul_(2)

    x = torch.randn(32, 2)
    before = x.clone()
    claim = Symmetry(SO(2), Vector(), Vector())
    for model in (doubling, symmetrize(doubling, Symmetry(C(4), Vector(), Vector()))):
        found = audit(model, claim if model is doubling else model.symmetry, x)
        assert torch.equal(x, before)
        assert found.verdict == "pass"


def elsewhere(x: np.ndarray) -> np.ndarray:
    """A model whose memory torch does not see, as that of a runtime."""
    return np.tanh(x.reshape(len(x), -1))


@pytest.mark.parametrize("frame", [None, Average()], ids=["plain", "Average"])
def test_memory_of_what_is_no_torch_module_is_left_out(frame: Any) -> None:
    """What torch counts there are copies of the inputs."""
    claim, x = Symmetry(C(4), Image(), Scalar()), np.random.default_rng(0).random((4, 1, 4, 4), dtype=np.float32)
    model = elsewhere if frame is None else symmetrize(elsewhere, claim, frame)
    found = audit(model, claim, x)
    assert found.cost is not None
    assert (found.cost.memory, found.cost.plain_memory) == (None, None)
    assert found.cost.seconds > 0
    assert explain(elsewhere, claim, x, frames={"mean": Average()}).memory is None
    assert "KiB" not in str(found)
