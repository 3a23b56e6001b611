"""Vectors whose components stand on any axis."""

import pickle

import pytest
import torch

from canonize import SO, LawError, O, Octahedral, Symmetry, SymmetryError, Vector
from canonize.testing import assert_equivariant, check_action
from lists import draw


@pytest.mark.parametrize("axis", [-1, -2, -3])
def test_vectors_on_any_axis(axis):
    g, x = O(3).sample(4, dtype=torch.float64), draw(4, 3, 3, 3)
    wanted = torch.stack([torch.tensordot(g[i], x[i], ([1], [axis])).movedim(0, axis) for i in range(4)])
    torch.testing.assert_close(Vector(axis=axis)(g, x), wanted)


def test_a_matrix_moved_from_the_left():
    g, x = Octahedral().elements()[:9], torch.randn(9, 3, 3)
    assert torch.equal(Vector(axis=-2)(g, x), g @ x)
    assert not torch.equal(Vector()(g, x), g @ x)
    assert Vector() == Vector(axis=-1) != Vector(axis=-2)
    assert (repr(Vector()), repr(Vector(axis=-2))) == ("Vector()", "Vector(axis=-2)")
    assert pickle.loads(pickle.dumps(Vector(axis=-2))) == Vector(axis=-2)
    # What was pickled before there was a choice of the axis.
    old = object.__new__(Vector)
    assert old == Vector()


@pytest.mark.parametrize("axis", [0, 1, True, "a", -1.0, None])
def test_the_axis_is_counted_from_the_end(axis):
    with pytest.raises(SymmetryError, match="counts its axis from the end"):
        Vector(axis=axis)


def test_the_axis_is_named_where_the_value_does_not_fit():
    with pytest.raises(SymmetryError, match="axis -2 of size 3"):
        Vector(axis=-2)(SO(3).sample(2), torch.rand(2, 2, 3))
    with pytest.raises(SymmetryError, match="at least 2 more"):
        Vector(axis=-2)(SO(3).sample(2), torch.rand(2, 3))


def test_a_matrix_moved_from_the_right():
    with pytest.raises(LawError, match="composition"):
        check_action(lambda g, x: x @ g, SO(3), draw(3, 3, 3))
    with pytest.raises(LawError):
        assert_equivariant(lambda x: x.mT, Symmetry(SO(3), Vector(axis=-2), Vector(axis=-2)), draw(3, 3, 3))
