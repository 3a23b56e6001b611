"""Small matrices, sums without orientation, and draws, against naive twins and at their limits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from canonize import Octahedral, Volume
from canonize.linalg import content_key, haar_orthogonal, inverse_small, is_signed_permutation, shrink, uniform_integers
from lists import draw, hyperoctahedral

LAWS = settings(deadline=None, max_examples=25, derandomize=True)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_inverse(n):
    matrix = draw(20, n, n)
    torch.testing.assert_close(inverse_small(matrix), torch.linalg.inv(matrix))
    assert torch.autograd.gradcheck(inverse_small, matrix[:3].requires_grad_())


def test_inverse_of_signed_permutations_is_exact():
    for group in (Octahedral(True), hyperoctahedral(2)):
        assert torch.equal(inverse_small(group.elements()), group.elements().mT)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_singular_matrix_has_no_finite_inverse(n):
    assert not inverse_small(torch.zeros(n, n)).isfinite().any()


@pytest.mark.parametrize(
    ("matrix", "told"),
    [([[0, -1], [1, 0]], True), ([[1, 1], [0, 1]], False), ([[0.6, -0.8], [0.8, 0.6]], False),
     ([[1, 0], [0, torch.nan]], False), ([[1 + 1e-7, 0], [0, -1]], True), ([[1, 0], [1, 0]], False), ([[2, 0], [0, 1]], False)],
)  # fmt: skip
def test_signed_permutations(matrix, told):
    assert bool(is_signed_permutation(torch.tensor(matrix, dtype=torch.float32))) is told


@LAWS
@given(
    old=st.integers(1, 40),
    new=st.integers(1, 12),
    scale=st.sampled_from([1e-30, 1.0, 1e30]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_shrinking_commutes_with_turning_bit_for_bit(old, new, scale, dtype):
    x, sizes = (draw(2, 1, old, old) * scale).to(dtype), (min(old, new),) * 2
    small = shrink(x, sizes)
    for k in range(4):
        assert torch.equal(shrink(x.rot90(k, (-2, -1)), sizes), small.rot90(k, (-2, -1)))
        assert torch.equal(shrink(x.rot90(k, (-2, -1)).flip(-1), sizes), small.rot90(k, (-2, -1)).flip(-1))
    naive = torch.nn.functional.adaptive_avg_pool2d(x / scale, sizes) * scale
    bound = 1e-9 if dtype == torch.float64 else 2e-4
    torch.testing.assert_close(small, naive, rtol=bound, atol=bound * scale)


@pytest.mark.parametrize("size", [7, 9])
def test_shrinking_volumes_commutes_with_turning_bit_for_bit(size):
    x = torch.randn(2, 1, size, size, size)
    for g in Octahedral(reflections=True).elements():
        turn = g.expand(2, 3, 3)
        assert torch.equal(shrink(Volume()(turn, x), (3, 3, 3)), Volume()(turn, shrink(x, (3, 3, 3))))


@pytest.mark.parametrize(
    "x", [torch.zeros(2, 1, 4, 4), torch.zeros(0, 1, 4, 4), torch.ones(2, 1, 4, 4).long()], ids=str
)
def test_shrinking_at_the_limits(x):
    assert shrink(x, (2, 2)).shape == (*x.shape[:2], 2, 2)


def test_a_lost_sample_stays_lost_alone():
    x = draw(2, 1, 4, 4)
    x[0, 0, 0, 0] = torch.nan
    small = shrink(x, (2, 2))
    assert small[0].isnan().all()
    assert small[1].isfinite().all()


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64]
)
def test_keys_tell_contents_apart(dtype):
    rows = torch.cartesian_prod(*[torch.arange(2)] * 6).to(dtype)
    assert len(set(content_key(rows).tolist())) == 64
    assert content_key(rows.flip(0)).tolist() == content_key(rows).flip(0).tolist()


def test_keys_of_nothing():
    assert content_key(torch.zeros(3, 0)).tolist() == [0, 0, 0]
    assert content_key(torch.zeros(0, 3)).shape == (0,)


@pytest.mark.parametrize("special", [True, False])
def test_haar_draws(special):
    one, two = (
        haar_orthogonal((500,), 3, special=special, generator=torch.Generator().manual_seed(1)) for _ in range(2)
    )
    assert torch.equal(one, two)
    assert one.mean(0).abs().max() < 0.15
    assert (torch.linalg.det(one) > 0).all() == special


def test_integers_are_uniform():
    counts = uniform_integers(5, (5000,), generator=torch.Generator().manual_seed(0)).bincount()
    assert counts.min() > 900


def test_shrink_has_the_gradient_of_the_average():
    x = torch.rand(3, 1, 9, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(3, 1, 4, 4, dtype=torch.float64)
    one = torch.autograd.grad((shrink(x, (4, 4)) * weight).sum(), x)[0]
    other = torch.autograd.grad((torch.nn.functional.adaptive_avg_pool2d(x, 4) * weight).sum(), x)[0]
    assert torch.allclose(one, other, atol=1e-12)
