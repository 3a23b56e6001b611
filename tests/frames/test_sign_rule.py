"""`SignRule`: the law of frames, agreement with all elements, margins, and what it refuses."""

import copy
import pickle

import pytest
import torch

from canonize import (
    Average,
    Chain,
    Factor,
    Flipped,
    Flips,
    LawError,
    Nodes,
    Poses,
    Product,
    S,
    Scalar,
    SignRule,
    Symmetry,
    SymmetryError,
    default_frame,
    symmetrize,
)
from canonize._tree import map_tensors, tensors
from canonize.actions import move
from canonize.frames import first_clear, skewness, total
from canonize.groups import order
from canonize.symmetry import call
from canonize.testing import assert_equivariant, check_frame
from flip_cases import CLAIMS, EDGES, FIRST, SECOND, TRIANGLES, complexes, draw, orientation
from lists import DTYPES

RULES = {"first": first_clear, "total": total, "skewness": skewness}
EACH = pytest.mark.parametrize(("title", "claim", "make"), CLAIMS, ids=[case[0] for case in CLAIMS])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@EACH
def test_laws(title, claim, make, rule, dtype):
    checked = check_frame(SignRule(rule), claim, make(dtype), count=3)
    assert not checked.skipped


def every(claim, inputs):
    """All elements of the group, each for the whole batch."""
    elements = claim.group.elements(dtype=torch.float64)
    batch = len(tensors(inputs)[0])
    for number in range(order(claim.group)):
        yield map_tensors(lambda t, i=number: t[i].expand(batch, *t.shape[1:]), elements)


def alike(one, two):
    """For each sample whether two trees of tensors are equal in all entries."""
    same = [(a == b)[:, None].flatten(1).all(1) for a, b in zip(tensors(one), tensors(two), strict=True)]
    return torch.stack(same).all(0)


@EACH
def test_one_canonical_input_for_all_copies(title, claim, make):
    x = make(torch.float64)
    model = symmetrize(lambda *args: args[0], Symmetry(claim.group, claim.inputs, None), SignRule())
    wanted = call(model.canonical, claim, x)
    for h in list(every(claim, x))[:: max(order(claim.group) // 64, 1)]:
        assert alike(call(model.canonical, claim, move(claim.inputs, h, x)), wanted).all()


def answers(claim, inputs):
    """A model without any symmetry whose answer has the shape of the declared output."""
    index = (
        claim.inputs.index(claim.outputs) if isinstance(claim.inputs, tuple) and claim.outputs in claim.inputs else None
    )
    sizes = [f.n for f in claim.group.factors] if isinstance(claim.group, Product) else [claim.group.n]

    def model(*args):
        mixed = torch.stack([arg.flatten(1).abs().sin().sum(1) + arg.flatten(1).sum(1) for arg in args]).sum(0)
        shape = args[index].shape[1:] if index is not None else args[0].shape[1:]
        if index is None and claim.outputs in (EDGES, Flipped()) and args[0].ndim > 2:
            shape = (sizes[0],)
        if claim.outputs == TRIANGLES and index is None:
            shape = (sizes[1],)
        ladder = torch.arange(1.0, 1 + torch.Size(shape).numel(), dtype=torch.float64).reshape(shape)
        return torch.cos(mixed.reshape(-1, *(1,) * len(shape)) * ladder + ladder)

    return model


FEW = [case for case in CLAIMS if order(case[1].group) <= 4096 and case[0] not in ("none", "complex numbers")]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize(("title", "claim", "make"), FEW, ids=[case[0] for case in FEW])
def test_the_mean_over_what_fixes_the_input_against_the_naive_twin(title, claim, make, rule):
    x = make(torch.float64)
    model = answers(claim, x)
    upright = symmetrize(model, claim, SignRule(rule))
    canonical = call(upright.canonical, claim, x)
    answer = call(model, claim, canonical)
    total_answer, count = torch.zeros_like(answer), torch.zeros(len(answer), dtype=torch.float64)
    for g in every(claim, x):
        hits = alike(move(claim.inputs, g, canonical), x).double()
        total_answer += move(claim.outputs, g, answer) * hits.reshape(-1, *(1,) * (answer.ndim - 1))
        count += hits
    assert (count > 0).all()
    torch.testing.assert_close(call(upright, claim, x), total_answer / count.reshape(-1, *(1,) * (answer.ndim - 1)))
    assert_equivariant(upright, claim, x)


def test_averages_agree_where_the_model_is_odd_already():
    flow, swirl, first, second = complexes(3, triangles=1)
    claim = Symmetry(orientation(1), (EDGES, TRIANGLES, FIRST, SECOND), EDGES)

    def odd(flow, swirl, first, second):
        return torch.tanh(first.mT @ (first @ flow) + second @ swirl)

    wanted = odd(flow, swirl, first, second)
    for frame in (Average(), SignRule()):
        torch.testing.assert_close(symmetrize(odd, claim, frame)(flow, swirl, first, second), wanted)


def test_averages_keep_the_claim_too():
    claim = Symmetry(orientation(1), (EDGES, TRIANGLES, FIRST, SECOND), EDGES)
    inputs = complexes(3, triangles=1)

    def bent(flow, swirl, first, second):
        return torch.relu(first.mT @ (first @ flow) + second @ swirl)

    with pytest.raises(LawError):
        assert_equivariant(bent, claim, inputs)
    assert_equivariant(symmetrize(bent, claim, Average()), claim, inputs)
    assert_equivariant(symmetrize(bent, claim), claim, inputs)


def test_many_simplices_take_one_call():
    inputs = complexes(2, triangles=150, channels=1)
    claim = Symmetry(orientation(150), (EDGES, TRIANGLES, FIRST, SECOND), EDGES)
    calls = []

    def model(flow, swirl, first, second):
        calls.append(len(flow))
        return torch.relu(first.mT @ (first @ flow) + second @ swirl)

    assert isinstance(default_frame(claim), SignRule)
    upright = symmetrize(model, claim)
    upright(*inputs)
    assert calls == [2]
    assert_equivariant(upright, claim, inputs, count=4)


def test_a_long_chain_of_ties_is_followed_to_its_end():
    second = torch.diag_embed(torch.ones(12)) + torch.diag_embed(torch.ones(11), 1)
    claim = Symmetry(Product(Flips(12), Flips(12)), (EDGES, SECOND), EDGES)
    flow = torch.zeros(1, 12)
    flow[0, 5] = -2.0
    poses = SignRule()(claim, (flow, second[None]))
    assert poses.stabilizer is None
    assert poses.elements[0].tolist() == [[[-1.0] * 12]]
    free = SignRule()(claim, (0 * flow, second[None]))
    assert free.stabilizer.owners[0].tolist() == [[1] * 12]
    assert free.margin.tolist() == [0.5]


def test_margins():
    claim = Symmetry(Flips(2), Flipped(), Scalar())
    x = torch.tensor([[[4.0, 1.0], [-2.0, 1.5]], [[0, 0], [1.0, -1.0]], [[4.0, 0], [1e-3, 0]], [[0.0, 0], [0, 0]]])
    torch.testing.assert_close(SignRule()(claim, x).margin, torch.tensor([0.5, 0.5, 2.5e-4, 1.0]))
    torch.testing.assert_close(SignRule(total)(claim, x).margin, torch.tensor([1 / 7, 0.0, 2.5e-4, 1.0]))
    first = torch.tensor([[[1.0, 3.0, -4.0]]])
    signs, margins = first_clear(first)
    assert signs.tolist() == [[1.0]]
    assert margins.tolist() == [[0.25]]


@pytest.mark.parametrize("rule", [total, skewness])
def test_sums_do_not_know_the_order(rule):
    x = draw(5, 3, 4)
    shuffled = x[..., torch.randperm(4, generator=torch.Generator().manual_seed(0))]
    torch.testing.assert_close(rule(x), rule(shuffled))
    assert (rule(-x)[0] == -rule(x)[0]).all()


def test_gradients_pass_through_one_pose():
    flow, _, first, second = complexes(2)
    claim = Symmetry(orientation(), (EDGES, FIRST, SECOND), EDGES)
    upright = symmetrize(lambda x, b, c: b.mT @ b @ x + (c @ c.mT @ x).exp(), claim, SignRule())
    assert torch.autograd.gradcheck(lambda x: upright(x, first, second), flow.clone().requires_grad_())


def even(entries):
    return first_clear(entries.abs())


def loose(symmetry, inputs, *, generator=None):
    """Without the average over what fixes the input."""
    poses = SignRule()(symmetry, inputs)
    return Poses(poses.elements, poses.weights, poses.margin)


@pytest.mark.parametrize("frame", [SignRule(even), loose], ids=["even rule", "no stabilizer"])
def test_planted_faults_are_caught(frame):
    _, claim, make = CLAIMS[0]
    with pytest.raises(LawError, match="frame"):
        check_frame(frame, claim, make(torch.float64))


REFUSED = {
    "matrices": (Symmetry(S(3), Nodes(), Scalar()), torch.zeros(2, 3), "makes flips and nothing else"),
    "mixed": (Symmetry(Product(S(3), Flips(3)), Factor(1, Flipped()), None), torch.zeros(2, 3), "nothing else"),
    "nodes": (Symmetry(Flips(3), lambda g, x: x, None), torch.zeros(2, 3), "may feel more than signs"),
    "no factor": (Symmetry(Product(Flips(3), Flips(2)), Flipped(), None), torch.zeros(2, 3), "more than signs"),
    "third factor": (Symmetry(Product(Flips(3)), Factor(1, Flipped()), None), torch.zeros(2, 3), "more than signs"),
    "three": (Symmetry(Flips(3), Chain(Flipped(), Flipped(1), Flipped(2)), None), torch.zeros(2, 3, 3, 3), "more than"),
    "one axis": (Symmetry(Flips(3), Chain(Flipped(), Flipped(0)), None), torch.zeros(2, 3), "two flips along one axis"),
    "size": (Symmetry(Flips(3), Flipped(), None), torch.zeros(2, 4), "does not have the size"),
    "nan": (Symmetry(Flips(3), Flipped(), None), torch.tensor([[1.0, 1, 1], [torch.nan, 1, 1]]), r"\[1\] of the batch"),
    "infinity": (Symmetry(Flips(3), Flipped(), None), torch.full((2, 3), torch.inf), "NaN or infinity"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("claim", "x", "told"), REFUSED.values(), ids=REFUSED)
def test_what_it_refuses(claim, x, told):
    with pytest.raises(SymmetryError, match=told):
        SignRule()(claim, x)


def test_outputs_that_cannot_be_averaged_are_refused():
    claim = Symmetry(Flips(3), Flipped(), lambda g, x: x)
    with pytest.raises(SymmetryError, match="cannot be averaged over flips"):
        symmetrize(torch.exp, claim, SignRule())(torch.zeros(2, 3))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", [SignRule, "first", None])
def test_a_rule_is_a_function(bad):
    with pytest.raises(SymmetryError, match="needs a rule"):
        SignRule(bad)


def test_copies_are_equal():
    assert pickle.loads(pickle.dumps(SignRule(total))) == copy.deepcopy(SignRule(total)) != SignRule()
