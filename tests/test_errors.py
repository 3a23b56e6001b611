"""Bad input to groups, actions and frames: what came, what was expected, what to do next; the key phrases are pinned."""

import pytest
import torch

import canonize as cz
from canonize import C, Image, Octahedral, Product, S, SymmetryError
from canonize.actions import move
from canonize.actions.trees import batch_of
from lists import draw

pytestmark = pytest.mark.usefixtures("unchecked")

NAN = float("nan")
EYE = torch.eye(2)
PLANE = C(4).sample(2)
META = torch.rand(2, 2, 8, 8, device="meta")
PIXELS = torch.rand(2, 2, 8, 8)


def refused(call, says):
    """The call is refused in the house form, with these words."""
    with pytest.raises(SymmetryError, match=says) as caught:
        call()
    message = str(caught.value)
    assert all(f"\n  {part}" in message for part in ("got:      ", "expected: ", "try:      "))


GROUPS = {
    "C(0)": (lambda: C(0), "C\\(n\\) needs a positive whole number"),
    "C(2.0)": (lambda: C(2.0), "needs a positive whole number"),
    "C(True)": (lambda: C(True), "needs a positive whole number"),
    "D(-1)": (lambda: cz.D(-1), "D\\(n\\) needs a positive whole number"),
    "SO(0)": (lambda: cz.SO(0), "SO\\(n\\) needs a dimension"),
    "O('3')": (lambda: cz.O("3"), "O\\(n\\) needs a dimension"),
    "E(0)": (lambda: cz.E(0), "E\\(n\\) needs a dimension"),
    "S(-1)": (lambda: S(-1), "S\\(n\\) needs a size"),
    "S(9) listed": (lambda: S(9).elements(), "too large to list"),
    "scale 0": (lambda: cz.Translation(3, scale=0), "must be positive"),
    "scale nan": (lambda: cz.SE(3, scale=NAN), "must be positive"),
    "scale inf": (lambda: cz.SE(3, scale=float("inf")), "positive, finite"),
    "scale text": (lambda: cz.SE(3, scale="a"), "must be positive"),
    "no factors": (lambda: Product(), "Product needs factors"),
    "factor is a class": (lambda: Product(C), "a factor of Product is no group"),
    "factor is a number": (lambda: Product(S(2), 3), "a factor of Product is no group"),
    "infinite product": (lambda: Product(S(2), cz.O(3)).elements(), "infinitely many elements"),
    "not square": (lambda: cz.generated_by(torch.rand(2, 3)), "needs square matrices"),
    "not numbers": (lambda: cz.generated_by("abc"), "needs square matrices"),
    "uneven rows": (lambda: cz.generated_by([[1], [1, 2]]), "needs square matrices"),
    "list of tensors": (lambda: cz.generated_by([EYE, EYE]), "stack the generators"),
    "nothing": (lambda: cz.generated_by([]), "needs square matrices"),
    "singular": (lambda: cz.generated_by(torch.zeros(2, 2)), "finite, invertible"),
    "nan": (lambda: cz.generated_by([[NAN]]), "finite, invertible"),
    "complex": (lambda: cz.generated_by(EYE * 1j), "real matrices"),
    "a shear": (lambda: cz.generated_by([[1.0, 1], [0, 1]]), "too many elements"),
    "negative shape": (lambda: C(4).sample(-1), "sample: bad shape"),
    "text as shape": (lambda: cz.SO(3).sample("a"), "sample: bad shape"),
    "fraction as shape": (lambda: S(3).sample(2.5), "sample: bad shape"),
    "whole dtype": (lambda: C(4).sample(2, dtype=torch.int64), "floating-point entries"),
    "whole dtype, continuous": (lambda: cz.SE(3).sample(2, dtype=torch.int64), "floating-point entries"),
    "complex dtype": (lambda: cz.SO(3).identity(dtype=torch.complex64), "floating-point entries"),
    "other dimension": (lambda: C(4).compose(torch.eye(3), torch.eye(3)), "no element of C"),
    "other dimension, inverse": (lambda: cz.SO(3).inverse(EYE), "no element of SO"),
    "other dimension, residual": (lambda: cz.SO(3).residual(EYE), "no element of SO"),
    "other batches": (lambda: C(4).compose(C(4).sample(2), C(4).sample(3)), "do not go together"),
    "other batches, continuous": (lambda: cz.SO(3).compose(cz.SO(3).sample(2), cz.SO(3).sample(3)), "do not go together"),
    "other dtypes": (lambda: C(4).compose(EYE, EYE.double()), "differ in dtype or device"),
    "other devices": (lambda: C(4).compose(EYE, EYE.to("meta")), "differ in dtype or device"),
    "matrix for a motion": (lambda: cz.SE(3).inverse(torch.eye(3)), "Rigid\\(linear"),
    "motion for a matrix": (lambda: cz.SO(3).inverse(cz.SE(3).sample()), "no element of SO"),
    "shift of other size": (lambda: cz.SE(3).inverse(cz.Rigid(torch.eye(3), torch.ones(2))), "no element of SE"),
    "permutations of other size": (lambda: S(3).compose(torch.arange(3), torch.arange(4)), "no element of S"),
    "permutations of fractions": (lambda: S(3).inverse(torch.rand(3)), "are permutations"),
    "tensor for a tuple": (lambda: Product(C(4), C(2)).inverse(EYE), "no element of Product"),
    "tuple too short": (lambda: Product(C(4), C(2)).compose((EYE,), (EYE,)), "a tuple of 2"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "says"), GROUPS.values(), ids=list(GROUPS))
def test_groups(call, says):
    refused(call, says)


def test_an_empty_batch_of_elements():
    for group in (C(4), cz.SO(3), cz.SE(2), S(3), Product(S(3), C(4))):
        none = group.sample(0)
        assert cz.groups.base.leading(group.compose(none, group.inverse(none))) == 0


GRID = (Image(), cz.Mask(), cz.VectorImage())
TENSOR = (*GRID, cz.Boxes((8, 8)), cz.Keypoints((8, 8)), cz.Vector(), cz.Point(), cz.Tensor(2))


@pytest.mark.parametrize("action", TENSOR, ids=repr)
@pytest.mark.parametrize(
    ("x", "says"),
    [
        ("text", "moves tensors"),
        (None, "moves tensors"),
        ([1, 2], "moves tensors"),
        (META, "different devices"),
        (torch.rand(()), "too few axes|has too few"),
        (torch.rand(2), "too few axes"),
        (torch.rand(3, 2, 8, 8), "batch of the value and of the group elements differ"),
    ],
    ids=["text", "none", "list", "meta", "scalar", "one axis", "batch"],
)
def test_values(action, x, says):
    refused(lambda: action(PLANE, x), says)


@pytest.mark.parametrize("action", TENSOR, ids=repr)
@pytest.mark.parametrize(
    ("g", "says"),
    [
        ("text", "needs elements that are matrices"),
        (S(2).sample(2), "needs elements that are matrices"),
        (EYE.long(), "needs elements that are matrices"),
        (torch.ones(2), "needs elements that are matrices"),
        (Product(C(4)).sample(2), "needs elements that are matrices|cannot shift"),
        (torch.rand(2, 2, 3), "does not fit the dimension"),
    ],
    ids=["text", "permutation", "whole", "vector", "product", "not square"],
)
def test_elements(action, g, says):
    refused(lambda: action(g, PIXELS), says)


ACTIONS = {
    "quarter turn, not square": (lambda: Image()(C(4).elements()[1:2], PIXELS[:1, :, :7]), "which differ here"),
    "boxes, not square": (lambda: cz.Boxes((8, 7))(C(4).elements()[1], torch.rand(3, 4)), "which differ here"),
    "keypoints, not square": (lambda: cz.Keypoints((8, 7))(C(4).elements()[1], torch.rand(3, 2)), "which differ here"),
    "volume, not a cube": (lambda: cz.Volume()(Octahedral().elements()[9:10], torch.rand(1, 4, 4, 5)), "which differ here"),
    "whole numbers, resampled": (lambda: Image()(C(8).elements()[1:2], torch.ones(1, 8, 8).long()), "makes fractions"),
    "a shift of pixels": (lambda: Image()(cz.SE(2).sample(2), PIXELS), "cannot shift"),
    "solids for images": (lambda: Image()(Octahedral().sample(2), PIXELS), "does not fit the dimension"),
    "planes for volumes": (lambda: cz.Volume()(PLANE, torch.rand(2, 4, 4, 4)), "does not fit the dimension"),
    "elements nan, image": (lambda: Image()(PLANE * NAN, PIXELS), "elements are not numbers"),
    "elements nan, mask": (lambda: cz.Mask()(PLANE * NAN, PIXELS.long()), "elements are not numbers"),
    "elements nan, volume": (lambda: cz.Volume()(torch.eye(3)[None] * NAN, torch.rand(1, 4, 4, 4)), "elements are not numbers"),
    "three channels": (lambda: cz.VectorImage()(PLANE, torch.rand(2, 3, 8, 8)), "needs two channels"),
    "whole flow": (lambda: cz.VectorImage()(PLANE, PIXELS.long()), "makes fractions"),
    "whole vector": (lambda: cz.Vector()(PLANE, torch.ones(2, 2).long()), "makes fractions"),
    "components": (lambda: cz.Vector()(PLANE, torch.rand(2, 3)), "dimension of the group"),
    "components, tensor": (lambda: cz.Tensor(2)(PLANE, torch.rand(2, 2, 3)), "last 2 axes of size 2"),
    "box of five": (lambda: cz.Boxes((8, 8))(PLANE, torch.rand(2, 5)), "last axis does not fit"),
    "keypoint of three": (lambda: cz.Keypoints((8, 8))(PLANE, torch.rand(2, 3)), "last axis does not fit"),
    "nodes by matrices": (lambda: cz.Nodes()(PLANE, torch.rand(2, 2)), "needs elements that are permutations"),
    "other number of nodes": (lambda: cz.Nodes()(S(3).sample(2), torch.rand(2, 4, 1)), "use S\\(4\\)"),
    "pairs, not square": (lambda: cz.Pairs()(S(3).sample(2), torch.rand(2, 3, 4)), "does not have the size"),
    "fill too large": (lambda: cz.Mask(fill=NAN)(C(8).elements()[1:2], torch.ones(1, 8, 8).long()), "fill does not fit"),
    "part of no product": (lambda: cz.Factor(0, Image())(PLANE, PIXELS), "elements of a product"),
    "no such part": (lambda: cz.Factor(2, Image())((PLANE, PLANE), PIXELS), "a part number 2"),
    "padding": (lambda: Image(padding="x"), "does not know this padding"),
    "interpolation": (lambda: cz.Volume(interpolation="bicubic"), "does not know this interpolation"),
    "size": (lambda: cz.Boxes(8), "needs the size of the image"),
    "size as list": (lambda: cz.Keypoints([8, 8]), "needs the size of the image"),
    "size zero": (lambda: cz.Boxes((0, 8)), "needs the size of the image"),
    "rank": (lambda: cz.Tensor(-1), "needs a rank"),
    "rank True": (lambda: cz.Tensor(True), "needs a rank"),
    "fill": (lambda: cz.Mask(fill="a"), "fill is no number"),
    "no fields": (lambda: cz.Fields(), "Fields needs parts"),
    "rows of a number": (lambda: cz.Rows(3), "Rows wraps one action"),
    "rows of a class": (lambda: cz.Rows(cz.Point), "Rows wraps one action"),
    "rows of rows": (lambda: cz.Rows(cz.Rows(cz.Point())), "Rows wraps one action"),
    "empty chain": (lambda: cz.Chain(), "Chain needs actions"),
    "chain of a number": (lambda: cz.Chain(3), "built from actions"),
    "chain of a class": (lambda: cz.Chain(cz.Point), "the class Point"),
    "factor position": (lambda: cz.Factor("a", cz.Point()), "number of a part"),
    "factor action": (lambda: cz.Factor(0, 3), "built from actions"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "says"), ACTIONS.values(), ids=list(ACTIONS))
def test_actions(call, says):
    refused(call, says)


CLOUD = cz.Fields(pos=cz.Rows(cz.Point()), batch=cz.Index())
POS, INDEX = draw(4, 3), torch.tensor([0, 0, 1, 1])
TREES = {
    "no such field": (CLOUD, {"pos": POS}, "a field named 'batch' is declared"),
    "no such attribute": (cz.Fields(pos=cz.Point()), torch.rand(3), "a field named 'pos' is declared"),
    "index of fractions": (CLOUD, {"pos": POS, "batch": INDEX.float()}, "not a vector of whole numbers"),
    "index of two axes": (CLOUD, {"pos": POS, "batch": INDEX[None]}, "not a vector of whole numbers"),
    "negative index": (CLOUD, {"pos": POS, "batch": INDEX - 1}, "negative"),
    "short index": (CLOUD, {"pos": POS, "batch": INDEX[:3]}, "differ in length"),
    "no index": (cz.Fields(pos=cz.Rows(cz.Point())), {"pos": POS}, "no field is declared as Index"),
    "two indices": ((CLOUD, CLOUD), ({"pos": POS, "batch": INDEX},) * 2, "rows need one index"),
    "batches differ": ((Image(), Image()), (PIXELS, PIXELS[:1]), "parts of the input disagree"),
    "devices differ": ((Image(), Image()), (PIXELS, META), "parts of the input disagree"),
    "index too large": (
        cz.Fields(pos=cz.Rows(cz.Point()), batch=cz.Index(), e=cz.Scalar()),
        {"pos": POS, "batch": INDEX + 5, "e": POS[:2]},
        "names a sample that does not exist",
    ),
    "no batch": (cz.Scalar(), torch.tensor(1.0), "no batch axis"),
    "no tensor": (cz.Scalar(), "text", "is no tensor"),
    "nothing declared": (None, PIXELS, "nothing in the input is declared"),
    "forgotten input": ({"a": Image()}, {"a": PIXELS, "b": PIXELS}, "not declared: b"),
    "missing input": ({"a": Image(), "b": None}, {"a": PIXELS}, "missing: b"),
    "other structure": ((Image(), None), PIXELS, "does not have the structure"),
}


@pytest.mark.parametrize(("spec", "value", "says"), TREES.values(), ids=list(TREES))
def test_trees(spec, value, says):
    refused(lambda: batch_of(spec, value), says)


def test_the_place_in_the_tree_is_told():
    with pytest.raises(SymmetryError, match=r"(?s)too few axes.*in:       the value at \.a\[1\]"):
        move({"a": [None, Image()]}, PLANE, {"a": [PIXELS, PIXELS[0, 0]]})
