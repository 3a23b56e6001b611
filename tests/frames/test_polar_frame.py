"""The frame of a matrix: deformation gradients, cells of crystals and slabs; what it refuses."""

import copy
import pickle

import pytest
import torch

from canonize import (
    SE,
    SO,
    C,
    Fields,
    Index,
    Keywords,
    LawError,
    O,
    Planar,
    Point,
    Polar,
    Poses,
    Rows,
    Scalar,
    Symmetry,
    SymmetryError,
    Tensor,
    Vector,
    symmetrize,
)
from canonize.testing import assert_equivariant, check_frame
from lists import crystals, draw, slabs, strains

GROUPS = [SO(2), SO(3), SO(5), O(2), O(3)]
EACH = pytest.mark.parametrize("group", GROUPS, ids=repr)
CRYSTAL = Fields(cell=Vector(), pos=Vector())


def law(group):
    return Symmetry(group, Vector(axis=-2), Vector(axis=-2))


def mixed(matrix):
    """No law of nature: it depends on how the body stands."""
    return torch.sin(matrix.cumsum(-1).cumsum(-2)) + matrix[..., :1, :]


@EACH
def test_the_canonical_matrix_is_symmetric(group):
    x = strains(group.dim, reflected=isinstance(group, SO))(torch.float64)
    whole = symmetrize(mixed, law(group), Polar())
    shown = whole.canonical(x)
    torch.testing.assert_close(shown, shown.mT, rtol=0, atol=1e-14)
    least = torch.linalg.eigvalsh(shown)[:, 0]
    assert torch.equal(least < 0, (torch.linalg.det(x) < 0) & isinstance(group, SO))
    poses = whole.poses(x)
    assert poses.count == 1
    assert float(group.residual(poses.elements[0]).max()) < 1e-14
    assert (poses.margin > 0).all()


@EACH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constitutive_laws_become_objective(group, dtype):
    x, claim = strains(group.dim)(dtype), law(group)
    bound = 1e-4 if dtype == torch.float32 else 1e-12
    assert_equivariant(symmetrize(mixed, claim, Polar()), claim, x, tolerance=bound)
    with pytest.raises(LawError):
        assert_equivariant(mixed, claim, x)


@pytest.mark.parametrize("group", [SO(3), O(3)], ids=repr)
@pytest.mark.parametrize("atoms", [Point(), Vector()], ids=repr)
def test_a_crystal_feels_neither_the_origin_nor_the_wrapping(group, atoms):
    claim = Symmetry(group, Fields(cell=Vector(), pos=atoms), {"energy": Scalar(), "stress": Tensor(2)})
    x = crystals(torch.float32)
    base = Polar(of="cell")(claim, x)
    inside = torch.linalg.solve(x["cell"].mT[:, None], (x["pos"] + 0.3)[..., None])[..., 0].remainder(1.0) @ x["cell"]
    order = torch.tensor([3, 1, 0, 5, 4, 2])
    for pos in (x["pos"] + 0.3, inside, x["pos"][:, order]):
        assert not torch.equal(pos, x["pos"])
        again = Polar(of="cell")(claim, {**x, "pos": pos})
        assert torch.equal(again.elements, base.elements)
        assert torch.equal(again.margin, base.margin)


def periodic(data):
    """Depends on the axes, but neither on the origin nor on the wrapping."""
    shares = torch.linalg.solve(data["cell"].mT[:, None], data["pos"][..., None])[..., 0]
    apart = shares[:, :, None] - shares[:, None]
    near = (apart - apart.round()) @ data["cell"][:, None]
    return {"energy": near[..., 0].square().sum((1, 2)), "stress": torch.einsum("bijk,bijl->bkl", near, near.sin())}


@pytest.mark.parametrize("group", [SO(3), O(3)], ids=repr)
def test_cell_atoms_and_stress_turn_together(group):
    claim = Symmetry(group, CRYSTAL, {"energy": Scalar(), "stress": Tensor(2)})
    x = crystals(torch.float64)
    turned = symmetrize(periodic, claim, Polar(of="cell"))
    assert_equivariant(turned, claim, x, tolerance=1e-11)
    with pytest.raises(LawError):
        assert_equivariant(periodic, claim, x)
    away = {"cell": x["cell"], "pos": x["pos"] + x["cell"][:, :1] - 2 * x["cell"][:, 2:] + 0.4}
    for key, found in turned(away).items():
        torch.testing.assert_close(found, turned(x)[key], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("group", [SO(2), O(2)], ids=repr)
@pytest.mark.parametrize("left", [False, True])
def test_slabs_turn_about_their_axis(group, axis, left):
    cell = Vector(axis=-2) if left else Vector()
    claim = Symmetry(group, Fields(cell=Planar(cell, axis), pos=Planar(Point(), axis)), Planar(Vector(), axis))
    x = {name: part.roll(axis - 2, -1) for name, part in slabs(torch.float64).items()}
    x["cell"] = x["cell"].roll(axis - 2, -2)
    x["cell"] = x["cell"].mT if left else x["cell"]
    check_frame(Polar(of="cell"), claim, x)
    plane = [(axis + 1) % 3, (axis + 2) % 3]
    flat = {**x, "cell": x["cell"][:, :, plane] if left else x["cell"][:, plane]}
    check_frame(Polar(of="cell"), claim, flat)
    assert torch.equal(Polar(of="cell")(claim, flat).elements, Polar(of="cell")(claim, x).elements)


def test_the_rows_of_a_cell_are_the_columns_of_the_matrix():
    x = draw(4, 3, 3)
    rows = Polar(of="cell")(Symmetry(O(3), Fields(cell=Vector()), Scalar()), {"cell": x})
    columns = Polar()(Symmetry(O(3), Fields(cell=Vector(axis=-2)), Scalar()), {"cell": x.mT})
    assert torch.equal(rows.elements, columns.elements)


def test_the_matrix_is_found_wherever_it_stands():
    x, other = draw(2, 3, 3), draw(2, 4, 3)
    wanted = Polar()(law(SO(3)), x).elements
    left = Vector(axis=-2)
    for spec, value, of in (
        ((Point(), left), (other, x), None),
        ((Point(), left), (other, x), "[1]"),
        (Keywords(pos=Point(), F=left), Keywords(pos=other, F=x), None),
        (Keywords(pos=Point(), F=left), Keywords(pos=other, F=x), "F"),
        (Fields(state=Fields(F=left, pos=Point())), {"state": {"F": x, "pos": other}}, "F"),
        (Fields(state=Fields(F=left, pos=Point())), {"state": {"F": x, "pos": other}}, "state.F"),
        ({"F": left, "state": {"F": Vector()}}, {"F": x, "state": {"F": x.mT}}, "F"),
        ({"F": left, "state": {"F": Vector()}}, {"F": x, "state": {"F": x.mT}}, "state.F"),
        (Fields(F=left, pos=Rows(Point()), batch=Index()),
         {"F": x, "pos": other[0], "batch": torch.tensor([0, 0, 1, 1])}, None),
        (Vector(), x.mT, ""),
    ):  # fmt: skip
        assert torch.equal(Polar(of=of)(Symmetry(SO(3), spec, Scalar()), value).elements, wanted)


class TestMargin:
    @pytest.mark.parametrize(
        ("group", "stretches", "wanted"),
        [
            (SO(3), (4.0, 2.0, 1.0), 0.75),
            (O(3), (4.0, 2.0, 1.0), 0.25),
            (SO(3), (1.0, 1.0, 1.0), 2.0),
            (O(3), (1.0, 1.0, 0.0), 0.0),
            (SO(3), (1.0, 0.0, 0.0), 0.0),
            (SO(3), (2.0, 1.0, -1.0), 0.0),
            (SO(2), (2.0, 1.0), 1.5),
            (O(2), (0.0, 0.0), 0.0),
        ],
    )
    def test_it_tells_how_far_a_tie_is(self, group, stretches, wanted):
        x = group.sample(3, dtype=torch.float64) @ torch.diag(torch.tensor(stretches, dtype=torch.float64))
        margin = Polar()(law(group), x).margin
        torch.testing.assert_close(margin, torch.full((3,), wanted, dtype=torch.float64), rtol=0, atol=1e-14)

    def test_a_law_that_is_broken_at_a_tie_is_told(self):
        """A flat deformation has two nearest orthogonal matrices: O(3) has a tie there, and SO(3) does not."""
        x = draw(4, 3, 3)
        x[..., 2] = x[..., 0] + x[..., 1]
        assert (Polar()(law(O(3)), x).margin < 1e-14).all()
        assert (Polar()(law(SO(3)), x).margin > 1e-2).all()
        check_frame(Polar(), law(SO(3)), x)


class TestGradient:
    @EACH
    @pytest.mark.parametrize("symmetric", [False, True])
    def test_first_and_second_derivatives_of_a_symmetrized_law(self, group, symmetric):
        x = strains(group.dim)(torch.float64)[:2]
        x = torch.eye(group.dim, dtype=torch.float64).expand_as(x).clone() if symmetric else x
        bound = symmetrize(mixed, law(group), Polar())
        x.requires_grad_()
        assert torch.autograd.gradcheck(bound, x, fast_mode=group.dim > 3)
        if group.dim < 4:
            assert torch.autograd.gradgradcheck(bound, x, fast_mode=group.dim > 2)

    def test_the_stress_of_an_energy_is_its_derivative(self):
        """The derivative of an energy with respect to F turns as F does, also at the natural state."""

        def energy(matrix):
            return mixed(matrix).square().sum((-2, -1))

        bound = symmetrize(energy, Symmetry(SO(3), Vector(axis=-2), Scalar()), Polar())

        def stress(matrix):
            with torch.enable_grad():
                matrix = matrix.detach().requires_grad_()
                return torch.autograd.grad(bound(matrix).sum(), matrix)[0]

        x = torch.cat([draw(3, 3, 3), torch.eye(3, dtype=torch.float64)[None]])
        assert_equivariant(stress, law(SO(3)), x, tolerance=1e-11)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("group", [SO(3), O(3)], ids=repr)
    def test_finite_at_ties(self, group, dtype):
        x = torch.zeros(4, 3, 3, dtype=dtype)
        x[1, 0, 0], x[2], x[3] = 1.0, -torch.eye(3), torch.ones(3, 3)
        x.requires_grad_()
        poses = Polar()(law(group), x)
        assert not poses.margin.requires_grad
        (slope,) = torch.autograd.grad((poses.elements * draw(3, 3, dtype=dtype)).sum(), x, create_graph=True)
        (bend,) = torch.autograd.grad(slope.square().sum(), x)
        for found in (poses.elements, slope, bend):
            assert bool(found.detach().isfinite().all())
        # Where nothing is left of the matrix, nothing turns it.
        assert not slope[0].any()

    def test_a_pose_without_its_derivative_is_caught(self):
        x = strains(3)(torch.float64)[:2].requires_grad_()

        def detached(symmetry, inputs):
            poses = Polar()(symmetry, inputs)
            return Poses(poses.elements.detach(), poses.weights)

        with pytest.raises(RuntimeError, match="Jacobian mismatch"):
            torch.autograd.gradcheck(symmetrize(mixed, law(SO(3)), detached), x)


@EACH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_shapes_and_dtypes(group, dtype, batch):
    x = draw(batch, group.dim, group.dim).to(dtype)
    poses = Polar(fallback=None)(law(group), x)
    assert poses.elements.shape == (1, batch, group.dim, group.dim)
    assert poses.elements.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert poses.margin.shape == (batch,)
    assert poses.weights.sum() == batch


def test_autocast_does_not_round_the_elements():
    x = torch.randn(4, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        inside = Polar()(law(SO(3)), x)
    assert torch.equal(inside.elements, Polar()(law(SO(3)), x).elements)


def test_it_is_a_value_that_changes_nothing():
    frame, x = Polar(of="cell"), crystals(torch.float64)
    given, claim = copy.deepcopy(x), Symmetry(SO(3), CRYSTAL, Scalar())
    wanted = frame(claim, x).elements
    assert all(torch.equal(x[name], given[name]) for name in x)
    for again in (pickle.loads(pickle.dumps(frame)), copy.deepcopy(frame)):
        assert again == frame
        assert torch.equal(again(claim, x).elements, wanted)
    assert (repr(Polar()), repr(frame)) == ("Polar()", "Polar(of='cell')")
    with torch.inference_mode():
        assert torch.equal(frame(claim, x).elements, wanted)


X, NAN = torch.rand(2, 3, 3), float("nan")
LOST = torch.stack([torch.eye(3), torch.full((3, 3), NAN)])
LEFT = Vector(axis=-2)
BAD = {
    "a number": (lambda: Polar(of=3), "takes the name of an input"),
    "no claim": (lambda: Polar()(3, X), "Polar needs the claim"),
    "finite group": (lambda: Polar()(Symmetry(C(4), LEFT, Scalar()), X[:, :2, :2]), r"no elements of C\(4\)(.|\n)*Average"),
    "rigid motions": (lambda: Polar()(Symmetry(SE(3), LEFT, Scalar()), X), "subtract the mean"),
    "no matrix": (lambda: Polar()(Symmetry(SO(3), Vector(), Scalar()), X), r"no input is declared Vector\(axis=-2\)"),
    "no such name": (lambda: Polar(of="box")(Symmetry(SO(3), CRYSTAL, Scalar()), crystals(torch.float32)),
                     r"no input has this name(.|\n)*'cell', 'pos'"),
    "several": (lambda: Polar()(Symmetry(SO(3), (LEFT, LEFT), Scalar()), (X, X)), r"several inputs(.|\n)*Polar\(of='\[1\]'\)"),
    "several of a name": (
        lambda: Polar(of="F")(Symmetry(SO(3), {"a": {"F": LEFT}, "b": {"F": LEFT}}, Scalar()), {"a": {"F": X}, "b": {"F": X}}),
        r"several inputs have this name(.|\n)*Polar\(of='b.F'\)",
    ),
    "not square": (lambda: Polar()(law(SO(3)), torch.rand(2, 3, 4)), r"no matrix of the group's size(.|\n)*\(batch, 3, 3\)"),
    "two a sample": (lambda: Polar()(law(SO(3)), torch.rand(2, 5, 3, 3)), "no matrix of the group's size"),
    "other size": (lambda: Polar()(law(SO(2)), X), "no matrix of the group's size"),
    "points": (lambda: Polar(of="p")(Symmetry(SO(3), Fields(p=Point()), Scalar()), {"p": X}), "does not move as a matrix"),
    "rows": (lambda: Polar(of="pos")(Symmetry(SO(3), Fields(pos=Rows(Vector()), batch=Index()), Scalar()),
                                     {"pos": X[0], "batch": torch.tensor([0, 0, 1])}), "have no matrix each"),
    "a slab in space": (lambda: Polar("c")(Symmetry(SO(3), Fields(c=Planar(Vector())), Scalar()), {"c": X}), r"under SO\(2\)"),
    "nan": (lambda: Polar()(law(SO(3)), LOST), r"not finite(.|\n)*sample \[1\]"),
    "infinity": (lambda: Polar()(law(SO(3)), X / 0), r"not finite(.|\n)*sample \[0, 1\]"),
    "whole": (lambda: Polar()(law(SO(3)), torch.eye(3).long()[None]), "holds no real numbers"),
    "complex": (lambda: Polar()(law(SO(3)), X.cfloat()), "holds no real numbers"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "words"), BAD.values(), ids=BAD)
def test_errors_say_what_to_do(make, words):
    with pytest.raises(SymmetryError, match=words):
        make()


def test_the_sample_is_named_from_the_outer_call_too():
    with pytest.raises(SymmetryError, match=r"(?s)sample \[1\].*symmetrize\(\.\.\., frame=Polar\)"):
        symmetrize(mixed, law(SO(3)), Polar())(LOST)


class TestPlantedFaults:
    """Poses that are wrong in one way each break the law of a frame."""

    @pytest.mark.parametrize("fault", ["transposed", "right factor", "rows for columns", "not handed"])
    def test_wrong_rotations(self, fault):
        x = strains(3, reflected=True)(torch.float64)

        def wrong(symmetry, inputs):
            good = Polar()(symmetry, inputs.mT if fault == "rows for columns" else inputs)
            left, _, right = torch.linalg.svd(inputs)
            g = {
                "transposed": good.elements.mT,
                "right factor": right.mT[None],
                "rows for columns": good.elements,
                "not handed": (left * torch.tensor([1.0, 1, -1], dtype=x.dtype))[None],
            }[fault]
            return Poses(g, good.weights)

        with pytest.raises(LawError, match="equivariance"):
            check_frame(wrong, law(SO(3)), x)
