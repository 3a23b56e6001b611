"""Elements of the finite groups against what is known of them."""

import math

import pytest
import torch

from canonize import SO, C, D, Icosahedral, O, Octahedral, S, generated_by
from canonize.linalg import is_signed_permutation
from lists import DTYPES, FINITE, hexagonal, hyperoctahedral

ORDERS = [(C(7), 7), (D(1), 2), (D(3), 6), (Octahedral(), 24), (Octahedral(True), 48), (Icosahedral(), 60),
          (Icosahedral(True), 120), (hyperoctahedral(4), 384), (hexagonal(), 6), (S(0), 1), (S(5), 120)]  # fmt: skip


@pytest.mark.parametrize(("group", "size"), ORDERS, ids=str)
def test_order(group, size):
    assert group.order == len(group.elements()) == size


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 12, 100])
def test_quarter_turns_are_exact_and_inverses_are_transposes(n, dtype):
    table = C(n).elements(dtype=dtype)
    quarters = [k for k in range(n) if (4 * k) % n == 0]
    wanted = {0: [[1, 0], [0, 1]], 1: [[0, -1], [1, 0]], 2: [[-1, 0], [0, -1]], 3: [[0, 1], [-1, 0]]}
    for k in quarters:
        assert table[k].tolist() == wanted[4 * k // n]
    backwards = table[[-k % n for k in range(n)]]
    assert torch.equal(backwards, table.mT)


@pytest.mark.parametrize("n", [1, 3, 8])
def test_rotation_against_the_naive_twin(n):
    for k, matrix in enumerate(C(n).elements(dtype=torch.float64)):
        c, s = math.cos(2 * math.pi * k / n), math.sin(2 * math.pi * k / n)
        torch.testing.assert_close(matrix, torch.tensor([[c, -s], [s, c]], dtype=torch.float64))


def test_the_first_reflection_turns_x_over():
    assert D(4).elements()[4].tolist() == [[-1, 0], [0, 1]]
    assert torch.linalg.det(D(7).elements()).sign().tolist() == [1.0] * 7 + [-1.0] * 7


@pytest.mark.parametrize("group", [Octahedral(), Octahedral(True), C(4), D(4), hyperoctahedral(4)], ids=str)
def test_signed_permutations(group):
    assert is_signed_permutation(group.elements()).all()
    assert set(group.elements().flatten().tolist()) <= {-1.0, 0.0, 1.0}


@pytest.mark.parametrize("group", [g for g in FINITE if hasattr(g, "rows")], ids=str)
def test_no_negative_zero(group):
    table = group.elements(dtype=torch.float64)
    assert not (table.signbit() & (table == 0)).any()


def test_icosahedron_permutes_its_vertices():
    phi = (1 + math.sqrt(5)) / 2
    corners = torch.tensor([[0, a * phi, b] for a in (1, -1) for b in (1, -1)], dtype=torch.float64)
    corners = torch.cat([corners.roll(k, 1) for k in range(3)])
    turned = corners @ Icosahedral(True).elements(dtype=torch.float64).mT
    assert (torch.cdist(turned, corners).amin(-1) < 1e-14).all()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_haar_matrices_are_orthogonal_and_of_the_right_hand(n):
    special, both = SO(n).sample(200, dtype=torch.float64), O(n).sample(200, dtype=torch.float64)
    assert SO(n).residual(special).max() < 1e-13
    assert O(n).residual(both).max() < 1e-13
    assert set(torch.linalg.det(both).round().tolist()) == {-1.0, 1.0}


def test_generated_by_recovers_the_dihedral_group():
    made = generated_by(D(4).elements()[[1, 4]])
    assert {tuple(m) for m in made.elements().flatten(1).tolist()} == {
        tuple(m) for m in D(4).elements().flatten(1).tolist()
    }
