"""Where a model fails on its inputs, the audit names the likely cause where shapes and dtypes tell it."""

import re

import pytest
import torch
from torch import nn

from canonize import SO, C, Image, Point, Scalar, Symmetry, SymmetryError, audit, explain, symmetrize

CLAIM = Symmetry(C(4), Image(), Scalar())


def network(channels):
    return nn.Sequential(nn.Conv2d(channels, 2, 3), nn.Flatten(), nn.Linear(2 * 36, 3)).eval()


def draw(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def advice(model, claim, x, verb=audit):
    with pytest.raises(SymmetryError, match="the model failed on the inputs as they came") as caught:
        verb(model, claim, x)
    message = str(caught.value)
    return message.partition("  try:")[2], message


class Runtime:
    """Fails as ONNX Runtime does, whose message tells in a second line what is wrong."""

    def __init__(self, words):
        self.words = words

    def __call__(self, x):
        raise RuntimeError(self.words)


WRONG = (
    "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: input for the following indices\n"
    " index: {} Got: {} Expected: {}\n Please fix either the inputs/outputs or the model."
)
TYPE = "[ONNXRuntimeError] : 2 : Unexpected input data type. Actual: (tensor({})) , expected: (tensor(float))"
CASES = {
    "bytes": (network(3), (255 * draw(5, 3, 8, 8)).to(torch.uint8), "x.float() / 255"),
    "whole numbers": (network(3), draw(5, 3, 8, 8).long(), "x.float()"),
    "doubles": (network(3), draw(5, 3, 8, 8).double(), "x.float()"),
    "channels last": (network(3), draw(5, 8, 8, 3), "x.permute(0, 3, 1, 2)"),
    "no channels": (network(1), draw(5, 8, 8), "x[:, None]"),
    "colours for gray": (network(1), draw(5, 3, 8, 8), "--gray"),
    "colours for gray, in words of torch": (network(1), draw(5, 3, 8, 8), "x.mean(1, keepdim=True)"),
    "gray for colours": (network(3), draw(5, 1, 8, 8), "x.expand(-1, 3, -1, -1)"),
    "runtime, shape": (Runtime(WRONG.format(1, 1, 3)), draw(5, 1, 8, 8), "the file expects the shape (N, 3, 8, 8)"),
    "runtime, channels": (Runtime(WRONG.format(1, 3, 1)), draw(5, 3, 8, 8), "--gray"),
    "runtime, bytes": (Runtime(TYPE.format("uint8")), draw(5, 3, 8, 8).to(torch.uint8), "x.float() / 255"),
    "runtime, doubles": (Runtime(TYPE.format("double")), draw(5, 3, 8, 8).double(), "x.float()"),
}  # fmt: skip


@pytest.mark.parametrize(("model", "x", "says"), CASES.values(), ids=list(CASES))
@pytest.mark.parametrize("verb", [audit, explain], ids=["audit", "explain"])
def test_the_likely_cause_is_named(model, x, says, verb):
    assert says in advice(model, CLAIM, x, verb)[0]


def test_bytes_before_a_symmetrized_model_are_told_as_bytes():
    assert "x.float() / 255" in advice(symmetrize(network(3), CLAIM), CLAIM, CASES["bytes"][1])[0]


def test_the_words_of_a_runtime_are_shown_to_the_indices():
    assert "index: 1 Got: 1 Expected: 3" in advice(Runtime(WRONG.format(1, 1, 3)), CLAIM, draw(5, 1, 8, 8))[1]


class Broken(nn.Module):
    def forward(self, x):
        raise ValueError("broken")


OTHERS = {
    "right images": (nn.Sequential(nn.Conv2d(3, 2, 3), Broken()), CLAIM, draw(5, 3, 8, 8)),
    "points": (nn.Linear(4, 2), Symmetry(SO(3), Point(), Scalar()), draw(5, 6, 3)),
    "numbers of an embedding": (
        nn.Sequential(nn.Embedding(3, 4), nn.Linear(5, 2)), Symmetry(C(4), Scalar(), Scalar()), torch.ones(5, 3).long()),
    "five channels": (network(5), CLAIM, draw(5, 7, 8, 8)),
}  # fmt: skip


@pytest.mark.parametrize(("model", "claim", "x"), OTHERS.values(), ids=list(OTHERS))
def test_where_nothing_tells_the_cause_none_is_named(model, claim, x):
    """The planted twin: advice at random is caught here."""
    told = advice(model.eval(), claim, x)[0]
    assert "call the model on these inputs yourself" in told
    assert not re.search(r"permute|x\[|x\.", told)
