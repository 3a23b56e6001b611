"""Refusals name the side that does not fit, and the way out that helps."""

import numpy as np
import pytest
import torch
from torch import nn

from canonize import (
    PCA,
    SE,
    SO,
    Average,
    Best,
    C,
    Icosahedral,
    Image,
    Octahedral,
    Point,
    Scalar,
    Symmetry,
    SymmetryError,
    Vector,
    Volume,
    audit,
    explain,
    symmetrize,
)
from canonize import nn as cnn
from canonize.integrations import onnx
from canonize.integrations.sklearn import CanonicalTransformer, SymmetrizedClassifier
from canonize.testing import assert_equivariant

pytestmark = pytest.mark.usefixtures("unchecked")

CLASSIFIER = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
X = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
CLAIM = Symmetry(C(4), Image(), Scalar())


def message(call):
    with pytest.raises(SymmetryError) as caught:
        call()
    return str(caught.value)


VERBS = {
    "symmetrize": lambda model, claim, x: symmetrize(model, claim)(x),
    "audit": lambda model, claim, x: audit(model, claim, x, cost=False),
    "assert_equivariant": assert_equivariant,
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=list(VERBS))
@pytest.mark.parametrize("action", [Image(), Vector()], ids=["Image", "Vector"])
def test_an_output_that_does_not_fit_its_action_is_told_as_the_output(verb, action):
    told = message(lambda: verb(CLASSIFIER, Symmetry(C(4), Image(), action), X))
    assert "the model's output, declared as outputs=" in told
    assert "(12, 10)" in told
    assert "x[None]" not in told
    assert "Scalar()" in told.partition("try:")[2]


def test_an_output_that_fits_is_not_refused():
    """The planted twin of a rule that counts axes wrongly."""
    symmetrize(nn.Identity(), Symmetry(C(4), Image(), Image()))(X)
    symmetrize(lambda x: x[:, 0], Symmetry(C(4), Image(), Image()))(X)
    symmetrize(lambda x: x.mean(1), Symmetry(SE(3), Point(), Point()))(torch.rand(2, 5, 3))
    symmetrize(nn.Identity(), Symmetry(Octahedral(), Volume(), Volume()))(torch.rand(2, 4, 4, 4))


@pytest.mark.parametrize("network", [cnn.Scorer(3), cnn.Steerable(3)], ids=["Scorer", "Steerable"])
def test_a_network_for_other_channels_is_told_as_that(network):
    told = message(lambda: network(X))
    name = type(network).__name__
    assert f"{name} was made for 3 channels" in told
    assert "1 channel in images of 8 x 8 pixels" in told
    assert f"{name}(1)" in told.partition("try:")[2]
    assert "x[None]" not in told


def test_behind_best_the_batch_is_told_as_it_came():
    told = message(lambda: symmetrize(CLASSIFIER, CLAIM, Best(cnn.Scorer(3)))(X))
    assert "nn.Scorer(1)" in told
    assert "48" not in told


def test_one_image_without_a_batch_axis_is_still_told_as_that():
    assert "x[None]" in message(lambda: cnn.Scorer(1)(X[0]))


FLAT = X.flatten(1).numpy()


def test_rows_of_a_table_without_a_shape_are_told_to_have_one():
    told = message(lambda: CanonicalTransformer(CLAIM).fit(FLAT))
    assert "shape=(1, 8, 8)" in told.partition("try:")[2]
    assert "x[None]" not in told
    told = message(lambda: CanonicalTransformer(CLAIM).fit(FLAT[:, :60]))
    assert "shape=(channels, height, width)" in told.partition("try:")[2]
    told = message(lambda: SymmetrizedClassifier(symmetry=CLAIM).fit(FLAT, np.arange(12) % 2))
    assert "shape=(1, 8, 8)" in told.partition("try:")[2]


MISMATCHED = {
    "SO(3), Image": Symmetry(SO(3), Image(), Scalar()),
    "SO(3), Image in a tuple": Symmetry(SO(3), (Image(), None), Scalar()),
    "SE(3), output": Symmetry(SO(3), Point(), Image()),
    "Icosahedral, Image": Symmetry(Icosahedral(), Image(), Scalar()),
    "SO(2), Volume": Symmetry(SO(2), Volume(), Scalar()),
    "C(4), Volume": Symmetry(C(4), Volume(), Scalar()),
}


@pytest.mark.parametrize("claim", MISMATCHED.values(), ids=list(MISMATCHED))
@pytest.mark.parametrize("frame", [None, Average(), Best(cnn.Scorer(1))], ids=["default", "Average", "Best"])
def test_the_dimension_is_refused_before_the_frame(claim, frame):
    told = message(lambda: symmetrize(CLASSIFIER, claim, frame))
    assert "does not fit the dimension of the group" in told
    assert "Image() goes with the plane" in told
    assert "frame=" not in told


def test_explain_refuses_it_too():
    assert "does not fit the dimension" in message(lambda: explain(CLASSIFIER, MISMATCHED["SO(3), Image"], X))


class Session:
    """A runtime that gives other numbers than the model."""

    def get_inputs(self):
        return [type("Input", (), {"name": "x"})]

    def run(self, names, feed):
        return [feed["x"].sum((1, 2), keepdims=True) + 1.0]


CLOUDS = Symmetry(SO(3), Point(), Scalar())
TETRAHEDRON = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
SOLIDS = torch.stack([torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), TETRAHEDRON])


@pytest.mark.parametrize(
    ("frame", "x", "says"),
    [
        (PCA(fallback=None), SOLIDS, ("the axes of sample 1 are tied", "take the default frame")),
        (PCA(fallback=None), SOLIDS[[0, 0]], ("model.double()",)),
    ],
    ids=["tied", "sure"],
)
def test_other_numbers_of_a_file_are_told_by_their_cause(frame, x, says):
    model = symmetrize(lambda x: x.sum((1, 2), keepdim=True), CLOUDS, frame)
    told = message(lambda: onnx._check(Session(), model, (x,), 1e-4))
    assert all(part in told for part in says)
    assert ("tied" in told) == ("tied" in says[0])


@pytest.mark.parametrize(
    ("layer", "name"), [(nn.Dropout(), "Dropout"), (nn.BatchNorm1d(64), "BatchNorm1d"), (nn.Identity(), "")], ids=str
)
def test_train_mode_is_refused_only_where_it_changes_answers(layer, name):
    """What docs/faq.md says."""
    model = nn.Sequential(nn.Flatten(), layer, nn.Linear(64, 3)).train()
    if name:
        assert name in message(lambda: audit(model, CLAIM, X))
    else:
        assert audit(model, CLAIM, X, cost=False).verdict in ("pass", "fail")


@pytest.mark.parametrize(("dtype", "digits"), [(torch.float16, 3), (torch.bfloat16, 2)], ids=["float16", "bfloat16"])
def test_coordinates_in_half_precision_are_taken_as_they_are(dtype, digits):
    """What docs/faq.md says: to so many digits, and not to rounding of float32."""
    draws = torch.Generator().manual_seed(0)
    x, turns = torch.randn(3, 6, 3, generator=draws), SO(3).sample(3, generator=draws)
    model = symmetrize(lambda x: x.square().cumsum(1).flatten(1), CLOUDS)
    poses = model.poses(x.to(dtype))
    assert poses.elements.dtype == torch.float32
    one = model(x.to(dtype)).float()
    other = model((x.to(dtype).float() @ turns.mT).to(dtype)).float()
    off = float((one - other).norm() / one.norm())
    assert 1e-5 < off < 5 * 10.0**-digits
