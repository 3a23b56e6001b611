"""Values that change their sign with their thing: the laws of the action, and what it refuses."""

import pytest
import torch

from canonize import C, Chain, Factor, Flipped, Flips, LawError, Product, S, SymmetryError
from canonize.testing import check_action
from flip_cases import CLAIMS, EDGES, FIRST, SECOND, complexes, orientation
from lists import BATCHES, DTYPES, draw

CASES = [
    (Flipped(), Flips(0), (3, 0, 2)),
    (Flipped(), Flips(1), (3, 1)),
    (Flipped(), Flips(4), (3, 4)),
    (Flipped(), Flips(4), (3, 4, 2)),
    (Flipped(axis=1), Flips(4), (3, 2, 4, 2)),
    (Flipped(axis=-1), Flips(4), (3, 2, 2, 4)),
    (Factor(1, Flipped()), Product(Flips(2), Flips(4)), (3, 4)),
    (SECOND, Product(Flips(3), Flips(4)), (3, 3, 4)),
    (Chain(Flipped(), Flipped(axis=1)), Flips(4), (3, 4, 4)),
    (Factor(1, Flipped()), Product(S(3), Flips(4)), (3, 4)),
]
MANY = [*DTYPES, torch.bfloat16, torch.float16, torch.int64, torch.int8, torch.complex64]


@pytest.mark.parametrize("dtype", MANY, ids=str)
@pytest.mark.parametrize(("action", "group", "shape"), CASES, ids=str)
def test_laws(action, group, shape, dtype):
    x = draw(*shape).to(dtype) if dtype.is_complex else draw(*shape, dtype=dtype)
    assert not check_action(action, group, x, count=3).skipped


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("title", "claim", "make"), CLAIMS, ids=[case[0] for case in CLAIMS])
def test_laws_of_the_inputs_of_complexes(title, claim, make, dtype):
    check_action(claim.inputs, claim.group, make(dtype), count=3)


@pytest.mark.parametrize("shape", BATCHES, ids=str)
def test_every_batch_shape_against_the_matrix(shape):
    g = Flips(4).sample(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = draw(*shape, 2, 4, 3)
    assert torch.equal(Flipped(axis=1)(g, x), torch.diag_embed(g)[..., None, :, :] @ x)


def test_infinities_keep_their_size_and_nan_stays():
    x = torch.tensor([[torch.inf, -torch.inf, torch.nan]])
    for values in (x, torch.complex(x, 0 * torch.ones(1, 3)), torch.complex(x, x)):
        moved = Flipped()(torch.tensor([[-1.0, 1.0, -1.0]]), values)
        real = torch.view_as_real(moved)[..., 0] if values.is_complex() else moved
        assert real.tolist()[0][:2] == [-torch.inf, -torch.inf]
        assert real[0, 2].isnan()
    assert (
        not torch.view_as_real(Flipped()(-torch.ones(1, 1), torch.complex(x, 0 * x[:, :1])[:, :1]))[..., 0]
        .isnan()
        .any()
    )


def test_relabelled_complexes_keep_that_boundaries_of_boundaries_vanish():
    _, _, first, second = complexes(3)
    g = orientation().sample(3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert not (FIRST(g, first) @ SECOND(g, second)).any()
    assert (FIRST(g, first) @ second).any()


def test_gradients_turn_too():
    x = draw(2, 3, 2).requires_grad_()
    g = Flips(3).sample(2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda value: Flipped()(g, value), x)


@pytest.mark.parametrize("fault", ["shifted", "added", "sized"])
def test_planted_faults_are_caught(fault):
    def wrong(g, x):
        return {"shifted": x.roll(1, 1) * g, "added": x + g, "sized": x * (2 + g)}[fault]

    with pytest.raises(LawError):
        check_action(wrong, Flips(4), draw(3, 4))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("action", "g", "x", "told"),
    [
        (Flipped(), torch.ones(2, 3), torch.zeros(2, 4), "does not have the size"),
        (Flipped(axis=1), torch.ones(2, 3), torch.zeros(2, 3), "does not have the size"),
        (Flipped(axis=-3), torch.ones(2, 3), torch.zeros(2, 3, 3), "does not have the size"),
        (Flipped(), torch.ones(2, 3), torch.zeros(4, 3), "batch"),
        (Flipped(), torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool), "changes signs"),
        (Flipped(), torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.uint8), "changes signs"),
        (Flipped(), torch.ones(2, 3).long(), torch.zeros(2, 3), "elements that are signs"),
        (Flipped(), C(4).elements(), torch.zeros(4, 2, 3), "elements that are signs"),
        (Flipped(), torch.full((2, 3), torch.nan), torch.zeros(2, 3), "elements that are signs"),
        (Flipped(), (torch.ones(2, 3),), torch.zeros(2, 3), "elements that are signs"),
        (EDGES, torch.ones(2, 3), torch.zeros(2, 3), "elements of a product"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(action, g, x, told):
    with pytest.raises(SymmetryError, match=told):
        action(g, x)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", ["0", 1.5, True, None])
def test_axes_are_whole_numbers(bad):
    with pytest.raises(SymmetryError, match="bad axis"):
        Flipped(axis=bad)
