"""Groups of the plane in space: where the axis points, what stays, and how reflections act."""

import copy
import json
import math
import pickle

import pytest
import torch

from canonize import (
    SE,
    SO,
    Average,
    C,
    D,
    E,
    LawError,
    Mask,
    O,
    Planar,
    Point,
    Rigid,
    Rows,
    Scalar,
    Symmetry,
    SymmetryError,
    Tensor,
    Vector,
    Volume,
    symmetrize,
)
from canonize.actions import lossless, lossless_tree
from canonize.actions.base import bitwise
from canonize.frames.base import is_labels
from canonize.integrations._config import decode, encode
from canonize.testing import assert_equivariant, check_action
from lists import UPRIGHT, draw

AXES = pytest.mark.parametrize("axis", [0, 1, 2])


def about(axis, angle):
    """The rotation about an axis by the right-hand rule, from its generator."""
    generator = torch.linalg.cross(
        torch.eye(3, dtype=torch.float64)[axis].expand(3, 3), torch.eye(3, dtype=torch.float64)
    ).mT
    return torch.matrix_exp(generator * angle)


@AXES
def test_rotations_follow_the_right_hand_rule(axis):
    x, angle = draw(4, 5, 3), 0.7
    plane = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    g = plane.expand(4, 2, 2)
    torch.testing.assert_close(Planar(Vector(), axis).lift(g)[0], about(axis, angle), rtol=0, atol=1e-15)
    torch.testing.assert_close(Planar(Vector(), axis)(g, x), x @ about(axis, angle).mT)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(Planar(Vector(), axis)(g, x), x @ about(axis, -angle).mT)


@AXES
@pytest.mark.parametrize("group", UPRIGHT, ids=repr)
def test_nothing_moves_along_the_axis(group, axis):
    x, g = draw(6, 5, 3), group.sample((6,), dtype=torch.float64)
    for action in (Point(), Vector()):
        assert torch.equal(Planar(action, axis)(g, x)[..., axis], x[..., axis])
    lifted = Planar(Point(), axis).lift(g)
    # A group of the plane becomes a group of space.
    whole = E(3) if isinstance(g, Rigid) else O(3)
    assert float(whole.residual(lifted).max()) < 1e-14
    if isinstance(g, Rigid):
        assert not lifted.shift[:, axis].any()
        torch.testing.assert_close(lifted.shift.norm(dim=-1), g.shift.norm(dim=-1))


@AXES
def test_lifting_keeps_products(axis):
    g, h = (E(2).sample(9, dtype=torch.float64) for _ in range(2))
    lift = Planar(Point(), axis).lift
    for wanted, found in zip(lift(E(2).compose(g, h)), E(3).compose(lift(g), lift(h)), strict=True):
        torch.testing.assert_close(found, wanted)


def mirror():
    """The reflection x -> -x of the plane."""
    return torch.tensor([[[-1.0, 0], [0, 1]]])


def test_a_mirror_of_the_plane_turns_pseudovectors_as_one_of_space():
    x = torch.tensor([[1.0, 2, 3]])
    assert Planar(Vector())(mirror(), x).tolist() == [[-1, 2, 3]]
    assert Planar(Tensor(1, odd=True))(mirror(), x).tolist() == [[1, -2, -3]]


@AXES
@pytest.mark.parametrize("group", [D(3), O(2), E(2)], ids=repr)
def test_cross_products_are_pseudovectors(group, axis):
    claim = Symmetry(group, (Planar(Vector(), axis),) * 2, Planar(Tensor(1, odd=True), axis))
    x = draw(6, 3), draw(6, 3, seed=1)
    assert_equivariant(torch.linalg.cross, claim, x)
    with pytest.raises(LawError):
        assert_equivariant(torch.linalg.cross, Symmetry(group, claim.inputs, Planar(Vector(), axis)), x)


@AXES
def test_it_loses_and_moves_bits_as_the_inner_action(axis):
    x = draw(8, 1, 5, 5, 5)
    g = C(8).elements(dtype=torch.float64)
    assert lossless_tree(Planar(Volume(), axis), g, x).tolist() == [True, False] * 4
    assert bool(bitwise(Planar(Volume(), axis), g, x).all())
    assert bitwise(Planar(Vector(), axis), g, draw(8, 3)).tolist() == [True, False] * 4
    assert not bitwise(Planar(Point(), axis), SE(2).sample(8), draw(8, 3)).any()
    assert bool(lossless(Planar(Point(), axis), SE(2).sample(8), draw(8, 3)))


def test_a_quarter_turn_about_each_axis_moves_volumes_alike():
    x, g = draw(1, 1, 3, 3, 3), C(4).elements(dtype=torch.float64)[1:2]
    assert torch.equal(Planar(Volume())(g, x), x.rot90(1, (-2, -1)))
    seen = {axis: Planar(Volume(), axis)(g, x) for axis in range(3)}
    assert not any(torch.equal(seen[a], seen[b]) for a in range(3) for b in range(a))


@AXES
def test_models_of_upright_things(axis):
    def wrong(pos):
        return pos.cumsum(1).sin().sum(1), (pos**2).flatten(1).cumsum(1).cos()

    claim = Symmetry(D(4), Planar(Point(), axis), (Planar(Vector(), axis), Scalar()))
    assert_equivariant(symmetrize(wrong, claim, Average()), claim, draw(5, 4, 3), tolerance=1e-13)
    with pytest.raises(LawError):
        assert_equivariant(wrong, claim, draw(5, 4, 3))


def test_labels_stay_labels():
    assert is_labels(Planar(Mask()))
    assert not is_labels(Planar(Vector()))


@pytest.mark.parametrize("action", [Planar(Point()), Planar(Tensor(2, odd=True), 0)], ids=repr)
def test_it_is_a_value(action):
    for again in (pickle.loads(pickle.dumps(action)), copy.deepcopy(action)):
        assert again == action
        assert hash(again) == hash(action)
    assert repr(Planar(Point())) == "Planar(Point())"
    assert repr(Planar(Point(), 1)) == "Planar(Point(), axis=1)"


@pytest.mark.parametrize("tree", [Planar(Tensor(2), 1), {"F": Vector(axis=-2), "v": Vector()}], ids=repr)
def test_it_comes_back_from_plain_data(tree):
    back = decode(json.loads(json.dumps(encode(tree, "inputs"))), "action", "inputs")
    assert back == tree
    assert repr(back) == repr(tree)


def test_gradients():
    g, x = SE(2).sample(3, dtype=torch.float64), draw(3, 2, 3).requires_grad_()
    parts = [part.requires_grad_() for part in g]
    assert torch.autograd.gradcheck(lambda x, *parts: Planar(Point(), 1)(Rigid(*parts), x), (x, *parts))


BAD = {
    "a class": (lambda: Planar(Point), "the class Point"),
    "a number": (lambda: Planar(3), "wraps one action"),
    "rows": (lambda: Planar(Rows(Point())), r"Rows\(Planar\(Point\(\)\)\)"),
    "itself": (lambda: Planar(Planar(Point())), "wraps one action"),
    "axis": (lambda: Planar(Point(), 3), "bad axis"),
    "axis from behind": (lambda: Planar(Point(), -1), "bad axis"),
    "axis True": (lambda: Planar(Point(), True), "bad axis"),
    "a group of space": (lambda: Planar(Point())(SO(3).sample(2), torch.rand(2, 3)), "does not fit the dimension"),
    "a rigid motion of space": (lambda: Planar(Point())(SE(3).sample(2), torch.rand(2, 3)), "does not fit the dimension"),
    "a value of the plane": (lambda: Planar(Point())(SO(2).sample(2), torch.rand(2, 2)), "dimension of the group"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "words"), BAD.values(), ids=BAD)
def test_errors_say_what_to_do(make, words):
    with pytest.raises(SymmetryError, match=words):
        make()


class TestPlantedFaults:
    def test_a_shift_along_the_axis(self):
        class Lifted:
            def __call__(self, g, x):
                lifted = Planar(Point()).lift(g)
                return Point()(Rigid(lifted.linear, lifted.shift + torch.tensor([0.0, 0, 1e-3])), x)

        with pytest.raises(LawError, match="identity"):
            check_action(Lifted(), SE(2), draw(3, 4, 3))

    def test_a_mirror_taken_for_a_half_turn(self):
        def turned(g, x):
            lifted = Planar(Vector()).lift(g)
            return Vector()(lifted * torch.where(torch.linalg.det(lifted) < 0, -1.0, 1.0)[:, None, None], x)

        check_action(turned, D(3), draw(6, 3))
        with pytest.raises(LawError):
            assert_equivariant(lambda x: x, Symmetry(D(3), Planar(Vector()), turned), draw(6, 3))
