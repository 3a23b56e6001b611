"""Bad input to claims, frames and symmetrize; the key phrases are pinned."""

import numpy as np
import pytest
import torch
from torch import nn

from canonize import (
    SO,
    Average,
    Best,
    C,
    Confidence,
    Image,
    Keywords,
    LogSumExp,
    Nodes,
    Pairs,
    Poses,
    S,
    Sampled,
    Scalar,
    Sorted,
    Symmetry,
    default_frame,
    symmetrize,
)
from canonize.testing import assert_equivariant
from test_errors import refused

pytestmark = pytest.mark.usefixtures("unchecked")

CLAIM = Symmetry(C(4), Image(), Scalar())
SETS = Symmetry(S(4), Nodes(), Nodes())
X = torch.rand(2, 3, 8, 8)
EYE = torch.eye(2)


def first(x, *_, **__):
    return x.flatten(1)[:, :3]


def mean(x):
    return x.mean((1, 2, 3))


def made(model=first, claim=CLAIM, frame=None, **options):
    return symmetrize(model, claim, frame, **options)


def frame_of(poses):
    return lambda symmetry, inputs, *, generator=None: poses


def outputs(spec):
    return Symmetry(C(4), Image(), spec)


MAKING = {
    "group": (lambda: Symmetry(3, Image(), Scalar()), "Symmetry needs a group"),
    "group class": (lambda: Symmetry(C, Image(), Scalar()), "Symmetry needs a group"),
    "action class": (lambda: Symmetry(C(4), Image, Scalar()), "write Image\\(\\) with brackets"),
    "text": (lambda: Symmetry(C(4), "image", Scalar()), "a leaf of inputs is no action"),
    "text outside": (lambda: Symmetry(C(4), Image(), ["x"]), "a leaf of outputs is no action"),
    "model class": (lambda: made(nn.Linear), "symmetrize needs a model first"),
    "model number": (lambda: made(3), "symmetrize needs a model first"),
    "no claim": (lambda: made(claim=C(4)), "symmetrize needs the claim"),
    "frame number": (lambda: made(frame=3), "frame cannot be called"),
    "frame class": (lambda: made(frame=Average), "the class Average"),
    "chunk 0": (lambda: made(chunk=0), "bad chunk"),
    "chunk 2.5": (lambda: made(chunk=2.5), "bad chunk"),
    "infinite group": (lambda: made(claim=Symmetry(SO(2), Image(), Scalar())), "no frame is exact for SO"),
    "default of infinite": (lambda: default_frame(Symmetry(SO(3), Scalar(), Scalar())), "no frame is exact"),
    "sampled 0": (lambda: Sampled(0), "needs a number of poses"),
    "energy": (lambda: Best(3), "Best needs an energy"),
    "energy class": (lambda: Best(nn.Linear), "Best needs an energy"),
    "resolution": (lambda: Best(mean, resolution=0), "bad resolution"),
    "confidence": (lambda: Confidence(3), "Confidence needs a model"),
    "log sum": (lambda: LogSumExp(nn.Linear), "LogSumExp needs a model"),
    "poses, shape": (lambda: Poses(EYE, torch.ones(2)), "the shapes do not fit"),
    "poses, none": (lambda: Poses(EYE[None, None][:0], torch.ones(0, 1)), "the shapes do not fit"),
    "poses, no weights": (lambda: Poses(EYE, None), "Poses needs weights"),
    "poses, margin": (lambda: Poses(EYE[None, None], torch.ones(1, 1), torch.ones(3)), "margin does not fit"),
    "poses, stabilizer": (lambda: Poses(torch.ones(2, 1, 2, 2), torch.ones(2, 1) / 2, None, print), "without take"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "says"), MAKING.values(), ids=list(MAKING))
def test_making(call, says):
    refused(call, says)


TWO = Symmetry(C(4), (Image(), Image()), Scalar())
HALF = Symmetry(C(4), (Image(), None), Scalar())
GRAPHS = Symmetry(S(4), Pairs(), Pairs())
INPUTS = {
    "none": (lambda: made()(), "one argument"),
    "too many": (lambda: made()(X, X), "declare a tuple of 2 actions"),
    "keyword": (lambda: made()(x=X), "Keywords\\(x=...\\)"),
    "position": (lambda: made(claim=Symmetry(C(4), Keywords(x=Image()), Scalar()))(X), "keyword arguments only"),
    "other keyword": (lambda: made(claim=Symmetry(C(4), Keywords(x=Image()), Scalar()))(y=X), "not declared: y"),
    "arity": (lambda: made(claim=TWO)(X), "2 positional arguments"),
    "text": (lambda: made()("a"), "is no tensor"),
    "objects": (lambda: made()(np.array([[object()]])), "not of numbers"),
    "one axis": (lambda: made()(X[:, 0, 0, 0]), "too few axes"),
    "not square": (lambda: made()(X[..., :7]), "which differ here"),
    "batches": (lambda: made(claim=TWO)(X, X[:1]), "disagree"),
    "devices": (lambda: made(claim=TWO)(X, X.to("meta")), "disagree"),
    "undeclared tensor in a chunk": (lambda: made(claim=HALF, chunk=2)(X, X), "declared None"),
    "nothing declared": (lambda: made(claim=Symmetry(C(4), None, Scalar()))(X), "nothing in the input is declared"),
    "sizes of sets": (lambda: made(claim=SETS)(torch.rand(2, 5, 3)), "use S\\(5\\)"),
    "set of one axis": (lambda: made(claim=SETS)(torch.rand(2)), "has no rows"),
    "set of nan": (lambda: made(claim=SETS)(torch.full((2, 4, 3), torch.nan)), "have no order"),
    "pairs sorted": (lambda: made(claim=GRAPHS, frame=Sorted())(torch.rand(2, 4, 4)), "Sorted orders sets"),
    "images sorted": (lambda: made(frame=Sorted())(X), "Sorted orders sets"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "says"), INPUTS.values(), ids=list(INPUTS))
def test_inputs(call, says):
    refused(call, says)


OUTPUTS = {
    "none": (lambda: made(lambda x: None)(X), "an output is no tensor"),
    "text": (lambda: made(lambda x: "a")(X), "an output is no tensor"),
    "a tuple for a tensor": (lambda: made(lambda x: (first(x), first(x)))(X), "an output is no tensor"),
    "a number": (lambda: made(lambda x: 3.0)(X), "an output is no tensor"),
    "a tensor for a tuple": (lambda: made(claim=outputs((Scalar(), Scalar())))(X), "does not have the structure"),
    "a tensor for a dict": (lambda: made(claim=outputs({"a": Scalar()}))(X), "does not have the structure"),
    "no batch": (lambda: made(lambda x: x.mean())(X), "does not have the batch first"),
    "another batch": (lambda: made(lambda x: first(x)[:1])(X), "first axis 2"),
    "labels": (lambda: made(lambda x: first(x).argmax(1))(X), "take labels outside"),
    "not an image": (lambda: made(claim=outputs(Image()))(X), "too few axes"),
    "declared none": (lambda: made(lambda x: (first(x), first(x)), outputs((Scalar(), None)))(X), "cannot be averaged"),
    "labels of equal rows": (lambda: made(lambda x: (x[..., 0] > 0).long(), SETS)(torch.ones(2, 4, 3)), "equal rows"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "says"), OUTPUTS.values(), ids=list(OUTPUTS))
def test_outputs(call, says):
    refused(call, says)


ONE = torch.ones(1, 1)
FRAMES = {
    "no poses": (frame_of(3), "a frame must return Poses"),
    "another batch": (frame_of(Poses(EYE[None, None], ONE)), "poses for another batch"),
    "other elements": (frame_of(Poses(torch.eye(3).expand(1, 2, 3, 3), ONE.expand(1, 2))), "no element of C"),
    "energy of no shape": (Best(lambda x: x), "one number for each candidate"),
    "energy none": (Best(lambda x: None), "one number for each candidate"),
    "energy nan": (Best(lambda x: mean(x) * torch.nan), "energy is not finite"),
    "energy infinite": (Best(lambda x: mean(x) * torch.inf), "energy is not finite"),
    "no logits": (Best(Confidence(lambda x: x)), "needs a classifier"),
    "whole logits": (Best(LogSumExp(lambda x: first(x).long())), "needs a classifier"),
}


@pytest.mark.parametrize(("frame", "says"), FRAMES.values(), ids=list(FRAMES))
def test_frames(frame, says):
    refused(lambda: made(frame=frame)(X), says)


def test_a_frame_needs_a_listed_group():
    for frame in (Average(), Best(mean)):
        refused(
            lambda frame=frame: made(claim=Symmetry(SO(2), Image(), Scalar()), frame=frame)(X),
            "has no list of elements",
        )


def test_the_outer_call_is_named():
    with pytest.raises(ValueError, match=r"(?s)in:       symmetrize\(\.\.\., frame=Best\)"):
        made(frame=Best(lambda x: x))(X)
    with pytest.raises(ValueError, match=r"(?s)in:       the model's output, declared as outputs="):
        made(lambda x: None)(X)


def test_nothing_to_check_is_no_success():
    wide = Symmetry(SO(2), Image(), Scalar())
    refused(lambda: assert_equivariant(mean, wide, X), "nothing that it can check")
    refused(lambda: assert_equivariant(mean, outputs(None), X), "nothing that it can check")
    assert assert_equivariant(mean, wide, X, tolerance=10.0).laws
