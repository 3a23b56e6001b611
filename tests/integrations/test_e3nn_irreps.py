"""Spherical tensors: the laws over all groups of space, e3nn's own harmonics and tensor products, and its own matrices."""

import copy
import pickle

import pytest
import torch

from canonize import (
    SE,
    SO,
    Average,
    C,
    E,
    Icosahedral,
    LawError,
    O,
    Octahedral,
    Planar,
    Point,
    Rigid,
    Symmetry,
    SymmetryError,
    Tensor,
    Translation,
    Vector,
    Weighted,
    symmetrize,
)
from canonize.actions.base import bitwise
from canonize.testing import assert_equivariant, check_action
from lists import DTYPES, UPRIGHT, draw

o3 = pytest.importorskip("e3nn.o3", reason="needs e3nn")
from canonize.integrations.e3nn import Irreps, wigner  # noqa: E402 - after the check that the library is there

SPACE = [
    Octahedral(), Octahedral(True), Icosahedral(), Icosahedral(True), SO(3), O(3), Translation(3), SE(3), E(3)
]  # fmt: skip
ALL = "2x0e + 0o + 3x1o + 1e + 2x2e + 2o + 3o + 4e + 6e"
DOUBLE = torch.float64


def special():
    """Half turns about the axes, the polar one among them, and turns a little off them."""
    half = torch.stack(
        [torch.diag(torch.tensor(d, dtype=DOUBLE)) for d in ([1.0, -1, -1], [-1.0, 1, -1], [-1.0, -1, 1])]
    )
    small = torch.tensor([[0.0, -1, 2], [1, 0, -1], [-2, 1, 0]], dtype=DOUBLE)
    near = [half @ torch.matrix_exp(angle * small) for angle in (1e-3, 1e-6, 1e-9, 1e-12)]
    return torch.cat([torch.eye(3, dtype=DOUBLE)[None], half, *near, Octahedral().elements(dtype=DOUBLE)])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("group", SPACE, ids=repr)
def test_laws(group, dtype):
    action = Irreps(ALL)
    check_action(action, group, draw(3, 2, action.dim, dtype=dtype), tolerance=1e-13 if dtype == DOUBLE else None)


@pytest.mark.parametrize("axis", [0, 2])
@pytest.mark.parametrize("group", UPRIGHT, ids=repr)
def test_laws_about_an_axis(group, axis):
    action = Irreps("0o + 1o + 2e + 3e")
    check_action(Planar(action, axis), group, draw(3, action.dim), tolerance=1e-13)


@pytest.mark.parametrize("degree", [1, 2, 3, 5, 8, 11])
def test_products_of_special_elements_are_exact_to_rounding(degree):
    g, h = special(), SO(3).sample(20, dtype=DOUBLE)
    many = torch.cat([g, h])

    def matrices(rotation):
        return wigner(rotation, degree)[degree]

    for other in (g, h):
        off = matrices(many)[:, None] @ matrices(other) - matrices(many[:, None] @ other)
        assert float(off.abs().max()) < 1e-14
    unit = matrices(many) @ matrices(many).mT - torch.eye(2 * degree + 1, dtype=DOUBLE)
    assert float(unit.abs().max()) < 1e-14


@pytest.mark.parametrize("degree", range(7))
def test_harmonics_turn_as_points_do(degree):
    """The harmonics are e3nn's, which fixes the order of the components and the axis that they hold to be the polar one."""
    harmonics = o3.Irreps([(1, (degree, (-1) ** degree))])

    def model(x):
        return o3.spherical_harmonics(harmonics, x, normalize=False)

    for group in (O(3), Octahedral(True)):
        claim = Symmetry(group, Point(), Irreps(harmonics))
        assert_equivariant(model, claim, draw(4, 3), tolerance=1e-13)
        if degree:
            with pytest.raises(LawError):
                assert_equivariant(lambda x: model(x.roll(1, -1)), claim, draw(4, 3))
            # Another parity fails under reflections, and only there.
            other = Irreps(o3.Irreps([(1, (degree, -((-1) ** degree)))]))
            with pytest.raises(LawError):
                assert_equivariant(model, Symmetry(group, Point(), other), draw(4, 3))
            assert_equivariant(model, Symmetry(SO(3), Point(), other), draw(4, 3), tolerance=1e-13)


def test_the_first_degrees_are_what_the_other_actions_are():
    g, x = E(3).sample(9, dtype=DOUBLE), draw(9, 4, 3)
    assert torch.equal(Irreps("1o")(g, x), Vector()(g, x))
    torch.testing.assert_close(Irreps("1e")(g, x), Tensor(1, odd=True)(g, x))
    torch.testing.assert_close(Irreps("3x0o")(g, x), Tensor(0, odd=True)(g, x))
    assert torch.equal(Irreps("3x0e")(g, x), x)


def test_against_the_matrices_of_e3nn():
    """Their angles lose digits, and their tables follow the default dtype; agreement is to that."""
    rotation = SO(3).sample(50, dtype=DOUBLE)
    for degree, found in enumerate(wigner(rotation, 6)):
        theirs = o3.Irrep(degree, 1).D_from_matrix(rotation)
        torch.testing.assert_close(found, theirs, rtol=0, atol=1e-4)
        if degree:
            assert float((found.mT - theirs).abs().max()) > 1e-2


def test_tensor_products_of_e3nn_keep_the_claim():
    torch.manual_seed(0)
    first, second, out = o3.Irreps("4x0e + 3x1o"), o3.Irreps("0e + 1o + 2e"), o3.Irreps("2x0e + 2x1o + 1e + 2x2e + 1o")
    product = o3.FullyConnectedTensorProduct(first, second, out).double()
    claim = Symmetry(O(3), (Irreps(first), Irreps(second)), Irreps(out))
    x = draw(5, first.dim), draw(5, second.dim)
    # As exact as e3nn's own tables of coefficients are.
    assert_equivariant(product, claim, x, tolerance=1e-6)
    with pytest.raises(LawError):
        assert_equivariant(lambda a, b: product(a, b).roll(1, -1), claim, x)


def test_models_between_spherical_tensors():
    irreps = Irreps("0e + 2x1o + 2e")

    def wrong(x):
        return torch.sin(x.cumsum(-1))

    claim = Symmetry(Octahedral(True), irreps, irreps)
    assert_equivariant(symmetrize(wrong, claim, Average()), claim, draw(4, irreps.dim), tolerance=1e-12)
    with pytest.raises(LawError):
        assert_equivariant(wrong, claim, draw(4, irreps.dim))


def test_shifts_do_not_act():
    x, g = draw(3, 9), SE(3).sample(3, dtype=DOUBLE)
    assert torch.equal(Irreps("0e + 1o + 2e")(g, x[:, :9]), Irreps("0e + 1o + 2e")(g.linear, x))
    still = Rigid(torch.eye(3, dtype=DOUBLE).expand(3, 3, 3), g.shift)
    torch.testing.assert_close(Irreps("0e + 1o + 2e")(still, x), x)


def test_bits():
    g = torch.cat([Octahedral().elements(), SO(3).sample(2)])
    assert bitwise(Irreps("2x0e + 1o"), g, torch.ones(26, 5)).tolist() == [True] * 24 + [False] * 2
    assert not bitwise(Irreps("1o + 2e"), g, torch.ones(26, 8)).any()


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)], ids=str)
def test_batches_and_middle_axes(shape):
    action = Irreps("2x0e + 3x1o + 2e")
    g, x = O(3).sample(shape, dtype=DOUBLE), draw(*shape, 4, 5, action.dim)
    moved = action(g, x)
    assert moved.shape == x.shape
    parts = [action(g, x[..., i, j, :]) for i in range(4) for j in range(5)]
    torch.testing.assert_close(moved.flatten(-3, -2), torch.stack(parts, -2))


def test_no_components():
    g = SO(3).sample(2)
    assert Irreps("")(g, torch.ones(2, 0)).shape == (2, 0)
    assert Irreps("1o + 2e")(g[:0], torch.ones(0, 8)).shape == (0, 8)


def test_gradients_also_at_the_identity_and_after_inference_mode():
    action = Irreps("1o + 2e + 3o")
    with torch.inference_mode():
        Irreps("5o")(SO(3).sample(1), torch.ones(1, 11))
    x = draw(2, action.dim).requires_grad_()

    def turned(way, x):
        return action(torch.matrix_exp(way - way.mT), x)

    for way in (torch.zeros(2, 3, 3, dtype=DOUBLE), draw(2, 3, 3)):
        assert torch.autograd.gradcheck(turned, (way.requires_grad_(), x))
        assert torch.autograd.gradgradcheck(turned, (way, x), fast_mode=True)
    g = SO(3).sample(1).requires_grad_()
    Irreps("5o")(g, torch.ones(1, 11)).sum().backward()
    assert bool(g.grad.isfinite().all())


def test_autocast_does_not_round():
    action = Irreps("1o + 2e")
    g, x = SO(3).sample(3), torch.randn(3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(action(g, x), action(g, x.clone()))
        inside = action(g, x)
    assert torch.equal(inside, action(g, x))


def test_it_is_a_value():
    action = Irreps("2x0e + 1o+1x2e")
    for again in (pickle.loads(pickle.dumps(action)), copy.deepcopy(action), Irreps(o3.Irreps("2x0e+1x1o+1x2e"))):
        assert again == action
        assert hash(again) == hash(action)
    assert repr(action) == "Irreps('2x0e+1x1o+1x2e')"
    assert eval(repr(action), {"Irreps": Irreps}) == action
    assert action.dim == 10
    assert action != Irreps("2x0e + 1e + 2e")


BAD = {
    "no irreps": (lambda: Irreps("3x"), "these are no irreps"),
    "an unknown parity": (lambda: Irreps("1z"), "these are no irreps"),
    "a number": (lambda: Irreps(3), "these are no irreps"),
    "none": (lambda: Irreps(None), "these are no irreps"),
    "components": (lambda: Irreps("1o")(SO(3).sample(2), torch.ones(2, 4)), "last axis of size 3"),
    "whole": (lambda: Irreps("1o")(SO(3).sample(2), torch.ones(2, 3).long()), "makes fractions"),
    "plane": (lambda: Irreps("1o")(C(4).sample(2), torch.ones(2, 3)), "does not fit the dimension"),
    "shear": (lambda: Irreps("1o")(torch.ones(2, 3, 3).triu(), torch.ones(2, 3)), "needs orthogonal matrices"),
    "scaling": (lambda: Irreps("2e")(2 * torch.eye(3)[None], torch.ones(1, 5)), "needs orthogonal matrices"),
    "nan": (lambda: Irreps("2e")(torch.full((1, 3, 3), float("nan")), torch.ones(1, 5)), "needs orthogonal matrices"),
}


@pytest.mark.parametrize(("make", "words"), BAD.values(), ids=BAD)
def test_errors_say_what_to_do(make, words):
    with pytest.raises(SymmetryError, match=words):
        make()


@pytest.mark.parametrize("degree", [3, 4, 5])
def test_outputs_of_high_degree_are_averaged_over_all_directions(degree):
    """Of one atom nothing but zero is left; of atoms on a line what does not feel turns about it."""
    irreps = Irreps(f"1x{degree}e")
    claim = Symmetry(SO(3), Point(), irreps)
    fixed = torch.linspace(0.3, 1.0, irreps.dim, dtype=torch.float64)
    model = symmetrize(lambda x: fixed * (1 + x[..., :1].sin().sum(1)), claim, Weighted())
    line = torch.tensor([[[-1.0, 0, 0], [0.3, 0, 0], [1.2, 0, 0]]], dtype=torch.float64)
    g = SO(3).sample(1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for x in (torch.zeros(1, 1, 3, dtype=torch.float64), line):
        assert (model(Point()(g, x)) - irreps(g, model(x))).abs().max() < 1e-12
