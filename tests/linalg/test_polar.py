"""The polar decomposition: against its definition, at its singular cases, and its derivatives to the third order."""

import pytest
import torch

from canonize.linalg import haar_orthogonal, polar
from lists import draw

DOUBLE = torch.float64
SPECIAL = pytest.mark.parametrize("special", [False, True], ids=["O", "SO"])
SIZES = pytest.mark.parametrize("d", [1, 2, 3, 4, 6])


def rotations(count, d, special=True):
    return haar_orthogonal((count,), d, special=special, generator=torch.Generator().manual_seed(1))


def stretched(values, count=6, special=True):
    """Matrices R V diag(values) V^T with random R and V, and the R of each."""
    d = len(values)
    turn, axes = rotations(2 * count, d, special).split(count)
    return turn @ axes @ torch.diag(torch.tensor(values, dtype=DOUBLE)) @ axes.mT, turn


def handed(matrix):
    """With positive determinants."""
    sign = torch.linalg.det(matrix).sign()[:, None, None]
    return torch.cat([matrix[:, :1] * sign, matrix[:, 1:]], 1)


@SPECIAL
@SIZES
def test_the_factors_are_what_they_are_said_to_be(d, special):
    matrix = draw(20, d, d)
    found, margin = polar(matrix, special=special)
    eye = torch.eye(d, dtype=DOUBLE).expand(20, d, d)
    torch.testing.assert_close(found.mT @ found, eye, rtol=0, atol=1e-14)
    stretch = found.mT @ matrix
    torch.testing.assert_close(stretch, stretch.mT, rtol=0, atol=1e-13)
    spectrum = torch.linalg.eigvalsh(stretch)
    if special:
        torch.testing.assert_close(torch.linalg.det(found), torch.ones(20, dtype=DOUBLE))
        negative = (spectrum < 0).sum(-1)
        assert torch.equal(negative, (torch.linalg.det(matrix) < 0).long())
    else:
        assert bool((spectrum > 0).all())
    assert margin.shape == (20,)
    assert not margin.requires_grad


@SPECIAL
@pytest.mark.parametrize("d", [2, 3, 4])
def test_nothing_is_nearer(d, special):
    matrix, others = draw(8, 1, d, d), rotations(5000, d, special)
    found = polar(matrix[:, 0], special=special)[0]
    best = (matrix[:, 0] - found).square().sum((-2, -1))
    assert bool(((matrix - others).square().sum((-2, -1)) >= best[:, None]).all())


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_against_the_naive_twin(d):
    """Newton's iteration R <- (R + R^-T) / 2, which finds the orthogonal factor of a regular matrix."""
    matrix = draw(10, d, d)
    twin = matrix
    for _ in range(60):
        twin = (twin + torch.linalg.inv(twin).mT) / 2
    torch.testing.assert_close(polar(matrix, special=False)[0], twin, rtol=0, atol=1e-12)
    torch.testing.assert_close(polar(handed(matrix), special=True)[0], polar(handed(matrix), special=False)[0])


@SPECIAL
@SIZES
def test_it_turns_with_the_matrix(d, special):
    matrix, turn = draw(20, d, d), rotations(20, d, special)
    base, moved = polar(matrix, special=special), polar(turn @ matrix, special=special)
    torch.testing.assert_close(moved[0], turn @ base[0], rtol=0, atol=1e-11)
    torch.testing.assert_close(moved[1], base[1])
    # From the right as well.
    torch.testing.assert_close(polar(matrix @ turn, special=special)[0], base[0] @ turn, rtol=0, atol=1e-11)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1.0, 1e150, 1e300])
@SPECIAL
def test_any_scale(special, scale):
    matrix = draw(5, 3, 3)
    base, found = polar(matrix, special=special), polar(matrix * scale, special=special)
    torch.testing.assert_close(found[0], base[0], rtol=0, atol=1e-13)
    torch.testing.assert_close(found[1], base[1])


@pytest.mark.parametrize(
    ("values", "orthogonal", "rotation"),
    [
        ((1.0, 1.0, 1.0), 1.0, 2.0),
        ((4.0, 2.0, 1.0), 0.25, 0.75),
        ((4.0, 2.0, -1.0), 0.25, 0.25),
        ((4.0, 2.0, -2.0), 0.5, 0.0),
        ((4.0, 2.0, 0.0), 0.0, 0.5),
        ((4.0, 0.0, 0.0), 0.0, 0.0),
        ((0.0, 0.0, 0.0), 0.0, 0.0),
        ((3.0, -3.0), 1.0, 0.0),
        ((3.0, 0.0), 0.0, 1.0),
        ((-2.0,), 1.0, 1.0),
        ((0.0,), 0.0, 1.0),
    ],
)
def test_margins(values, orthogonal, rotation):
    matrix, _ = stretched(values)
    for special, margin in ((False, orthogonal), (True, rotation)):
        torch.testing.assert_close(
            polar(matrix, special=special)[1], torch.full((6,), margin, dtype=DOUBLE), rtol=0, atol=1e-14
        )


@pytest.mark.parametrize("values", [(4.0, 2.0, 0.0), (4.0, 2.0, -1.0), (1.0, 1.0, 1.0), (3.0, 3.0, 1e-9)])
def test_the_rotation_is_found_where_it_is_unique(values):
    matrix, turn = stretched(values)
    torch.testing.assert_close(polar(matrix, special=True)[0], turn, rtol=0, atol=1e-13)


CASES = {
    "random": [draw(3, 3, 3)],
    "identity": [torch.eye(3, dtype=DOUBLE)[None]],
    "two equal": [stretched((2.0, 1.0, 1.0), 2)[0]],
    "almost equal": [stretched((1.0, 1.0 - 1e-9, 1.0 + 1e-9), 2)[0]],
    "plane": [draw(3, 2, 2), torch.eye(2, dtype=DOUBLE)[None]],
    "four": [draw(1, 4, 4), torch.eye(4, dtype=DOUBLE)[None]],
    "line": [draw(3, 1, 1)],
    "small": [1e-3 * draw(2, 3, 3)],
}


@SPECIAL
@pytest.mark.parametrize("matrices", CASES.values(), ids=CASES)
def test_first_and_second_derivatives(matrices, special):
    for matrix in matrices:
        x = matrix.clone().requires_grad_()
        step = 1e-6 * float(matrix.abs().max())
        assert torch.autograd.gradcheck(lambda t: polar(t, special=special)[0], x, eps=step)
        assert torch.autograd.gradgradcheck(lambda t: polar(t, special=special)[0], x, eps=step, atol=1e-4)


@pytest.mark.parametrize("values", [(3.0, 2.0, -1.0), (2.0, 1.0, 0.0), (2.0, 2.0, -1.0)])
def test_derivatives_of_the_rotation_where_the_determinant_is_not_positive(values):
    x = stretched(values, 2)[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda t: polar(t, special=True)[0], x)
    assert torch.autograd.gradgradcheck(lambda t: polar(t, special=True)[0], x)


@SPECIAL
@pytest.mark.parametrize("matrix", [draw(2, 3, 3), torch.eye(3, dtype=DOUBLE)[None]], ids=["random", "identity"])
def test_third_derivatives(matrix, special):
    def slope(t):
        value = (polar(t, special=special)[0] * draw(3, 3, seed=3)).sum() + (t * draw(3, 3, seed=4)).sum()
        return torch.autograd.grad(value**2, t, create_graph=True)[0]

    assert torch.autograd.gradgradcheck(slope, matrix.clone().requires_grad_())


def test_derivatives_by_function_transforms():
    batch, weights = draw(4, 3, 3), draw(3, 3, seed=3)

    def energy(t):
        return (polar(t, special=True)[0] * weights).sum()

    each = torch.func.vmap(torch.func.grad(energy))(batch)
    x = batch.clone().requires_grad_()
    torch.testing.assert_close(each, torch.autograd.grad(energy(x), x)[0])
    hessian = torch.func.jacrev(torch.func.jacrev(energy))(torch.eye(3, dtype=DOUBLE)).reshape(9, 9)
    torch.testing.assert_close(hessian, hessian.mT)


TIES = {
    "zero": torch.zeros(1, 3, 3, dtype=DOUBLE),
    "rank one": stretched((1.0, 0.0, 0.0), 1)[0],
    "rank two": stretched((1.0, 1.0, 0.0), 1)[0],
    "inside out": -torch.eye(3, dtype=DOUBLE)[None],
    "plane, inside out": torch.diag(torch.tensor([1.0, -1.0], dtype=DOUBLE))[None],
    "almost rank one": stretched((1.0, 1e-17, 1e-17), 1)[0],
}


@SPECIAL
@pytest.mark.parametrize("matrix", TIES.values(), ids=TIES)
def test_ties_are_finite_with_two_derivatives(matrix, special):
    x = matrix.clone().requires_grad_()
    found, margin = polar(x, special=special, floor=1e-14)
    assert bool(found.isfinite().all())
    assert bool(margin.isfinite().all())
    torch.testing.assert_close(found.mT @ found, torch.eye(x.shape[-1], dtype=DOUBLE)[None], rtol=0, atol=1e-14)
    (slope,) = torch.autograd.grad((found * draw(*x.shape, seed=3)).sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope.square().sum(), x)
    assert bool(slope.isfinite().all())
    assert bool(bend.isfinite().all())
    assert float(slope.detach().abs().max()) < 1e3


def test_the_derivative_is_zero_only_in_the_plane_of_a_tie():
    """diag(2, 0, 0): a turn in the plane of the last two axes is free, one of the first axis is not."""
    matrix = torch.diag(torch.tensor([2.0, 0, 0], dtype=DOUBLE))[None].requires_grad_()
    found = polar(matrix, special=True, floor=1e-14)[0]
    pull = {
        plane: torch.autograd.grad(found[0, plane[0], plane[1]], matrix, retain_graph=True)[0].abs().max()
        for plane in ((1, 2), (0, 1), (0, 2))
    }
    assert float(pull[1, 2]) == 0
    assert float(pull[0, 1]) == float(pull[0, 2]) == 0.5


def test_an_empty_batch():
    found, margin = polar(torch.zeros(0, 3, 3, dtype=DOUBLE), special=True)
    assert found.shape == (0, 3, 3)
    assert margin.shape == (0,)


class TestPlantedFaults:
    """What other ways would give: each is caught by a test above."""

    def test_the_derivative_of_the_singular_vectors_is_lost_at_the_identity(self):
        x = torch.eye(3, dtype=DOUBLE).requires_grad_()
        left, _, right = torch.linalg.svd(x)
        slope = torch.autograd.grad(((left @ right) * draw(3, 3)).sum(), x)[0]
        assert not bool(slope.isfinite().all())

    def test_differences_in_the_denominator(self):
        matrix = draw(2, 3, 3).requires_grad_()

        class Differences(torch.autograd.Function):
            @staticmethod
            def forward(ctx, t):
                left, values, right = torch.linalg.svd(t)
                ctx.save_for_backward(left, values, right)
                return left @ right

            @staticmethod
            def backward(ctx, grad):
                left, values, right = ctx.saved_tensors
                gaps = values[..., :, None] - values[..., None, :] + torch.eye(3, dtype=DOUBLE)
                pull = left.mT @ grad @ right.mT
                return left @ ((pull - pull.mT) / gaps) @ right

        with pytest.raises(RuntimeError, match="Jacobian mismatch"):
            torch.autograd.gradcheck(Differences.apply, matrix)

    def test_a_derivative_that_forgets_how_the_solution_depends_on_the_matrix(self):
        class Once(torch.autograd.Function):
            @staticmethod
            def forward(ctx, t):
                found = polar(t, special=True)[0]
                ctx.save_for_backward(t)
                return found

            @staticmethod
            def backward(ctx, grad):
                (t,) = ctx.saved_tensors
                with torch.enable_grad():
                    fixed = t.detach().requires_grad_()
                    found = polar(fixed, special=True)[0]
                rows = [
                    torch.autograd.grad(found, fixed, unit, retain_graph=True)[0]
                    for unit in torch.eye(t.numel(), dtype=DOUBLE).reshape(-1, *t.shape)
                ]
                return torch.einsum("i,i...->...", grad.flatten(), torch.stack(rows))

        x = draw(1, 3, 3).requires_grad_()
        assert torch.autograd.gradcheck(Once.apply, x)
        with pytest.raises(RuntimeError, match="Jacobian mismatch"):
            torch.autograd.gradgradcheck(Once.apply, x)

    def test_the_sign_forgotten(self):
        matrix = -handed(draw(4, 3, 3))
        left, _, right = torch.linalg.svd(matrix)
        assert bool((torch.linalg.det(left @ right) < 0).all())
        assert bool((torch.linalg.det(polar(matrix, special=True)[0]) > 0).all())
