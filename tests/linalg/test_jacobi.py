"""The eigenvalue problem from sums and products: against torch's solver and its definition, on every kind of spectrum."""

import pytest
import torch

from canonize.linalg import haar_orthogonal, jacobi_eigen, principal_axes
from canonize.linalg.axes import side_of
from lists import draw

DOUBLE = torch.float64
SIZES = [1, 2, 3, 5, 10]


def turned(values):
    """Symmetric matrices with these eigenvalues, (count, d), in random directions."""
    turn = haar_orthogonal(values.shape[:1], values.shape[1], special=False, generator=torch.Generator().manual_seed(1))
    return turn @ torch.diag_embed(values.to(DOUBLE)) @ turn.mT


def random(d):
    matrix = draw(20, d, d)
    return matrix + matrix.mT


SPECTRA = {
    "random": random,
    "positive": lambda d: random(d) @ random(d),
    "two values": lambda d: turned(torch.randint(0, 2, (20, d), generator=torch.Generator().manual_seed(2))),
    "one value": lambda d: turned(torch.ones(20, d)),
    "nearly one value": lambda d: turned(1 + 1e-9 * draw(20, d)),
    "rank one": lambda d: draw(20, d, 1) @ draw(20, d, 1).mT,
    "graded": lambda d: turned((10.0 ** (-3 * torch.arange(d))).expand(20, d)),
    "diagonal": lambda d: torch.diag_embed(draw(20, d)),
    "tiny": lambda d: 1e-300 * random(d),
    "huge": lambda d: 1e300 * random(d),
    "zero": lambda d: torch.zeros(2, d, d, dtype=DOUBLE),
    "opposite": lambda d: turned((-1.0) ** torch.arange(d).expand(20, d)),
}


def worst(matrix, values, vectors):
    """The largest errors relative to the largest eigenvalue: of the values, of the equation, and of orthonormality."""
    wanted = torch.linalg.eigvalsh(matrix)
    largest = wanted.abs().amax(-1, keepdim=True)
    unit = torch.where(largest > 0, largest, 1.0)
    equation = (matrix / unit[..., None]) @ vectors - vectors * (values / unit)[..., None, :]
    square = vectors.mT @ vectors - torch.eye(matrix.shape[-1], dtype=matrix.dtype)
    return [float(error.abs().max()) for error in ((values - wanted) / unit, equation, square)]


@pytest.mark.parametrize("d", SIZES)
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_it_solves_the_problem(spectrum, d):
    matrix = SPECTRA[spectrum](d)
    values, vectors = jacobi_eigen(matrix)
    assert (values.diff(dim=-1) >= 0).all()
    assert all(error < 1e-14 for error in worst(matrix, values, vectors))


def test_a_sweep_too_few_is_seen(monkeypatch):
    """The planted fault: rotations end before they have converged."""
    monkeypatch.setattr("canonize.linalg.jacobi._sweeps", lambda d: 2)
    matrix = random(4)
    assert max(worst(matrix, *jacobi_eigen(matrix))) > 1e-14


def test_a_turn_the_wrong_way_is_seen(monkeypatch):
    """The planted fault: the sine has the wrong sign."""
    from canonize.linalg import jacobi

    right = jacobi._rotation
    monkeypatch.setattr(jacobi, "_rotation", lambda a, pairs: right(a, pairs).mT)
    matrix = random(3)
    assert max(worst(matrix, *jacobi_eigen(matrix))) > 1e-3


def test_single_precision_and_batch_shapes():
    matrix = draw(2, 3, 4, 4, dtype=torch.float32)
    matrix = matrix + matrix.mT
    values, vectors = jacobi_eigen(matrix)
    assert values.shape == (2, 3, 4)
    assert values.dtype == vectors.dtype == torch.float32
    assert all(error < 1e-5 for error in worst(matrix, values, vectors))
    assert jacobi_eigen(matrix[:0])[1].shape == (0, 3, 4, 4)


def test_a_diagonal_matrix_keeps_its_axes():
    matrix = torch.diag(torch.tensor([3.0, 1.0, 2.0], dtype=DOUBLE))
    values, vectors = jacobi_eigen(matrix)
    assert torch.equal(values, torch.tensor([1.0, 2.0, 3.0], dtype=DOUBLE))
    assert torch.equal(vectors, torch.eye(3, dtype=DOUBLE)[:, [1, 2, 0]])


def test_what_is_no_number_stays_none():
    assert jacobi_eigen(torch.full((1, 3, 3), torch.nan, dtype=DOUBLE))[0].isnan().all()


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_axes_where_programs_are_exported(d, monkeypatch):
    matrix = random(d) @ random(d).mT
    wanted, values = principal_axes(matrix, 0.0)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    axes, found = principal_axes(matrix, 0.0)
    torch.testing.assert_close(found, values, rtol=0, atol=1e-13 * float(values.max()))
    # Up to their signs.
    torch.testing.assert_close((axes * wanted).sum(-2).abs(), torch.ones_like(values), rtol=0, atol=1e-9)
    torch.testing.assert_close(side_of(axes), torch.linalg.det(axes), rtol=0, atol=1e-13)
