"""Canonical order of graphs: the law, on graphs with many automorphisms and with none, dense and ragged."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from canonize import (
    CanonicalOrder,
    Edges,
    Fields,
    Index,
    LawError,
    Nodes,
    Offsets,
    Pairs,
    Poses,
    Rows,
    S,
    Scalar,
    Sorted,
    Symmetry,
    SymmetryError,
    Vector,
    audit,
    default_frame,
    symmetrize,
)
from canonize.actions import move
from canonize.frames.graphs import ranks
from canonize.symmetry import group_for
from canonize.testing import assert_equivariant, check_frame
from relabelled_graphs import DENSE, DENSE_OUT, OUT, RAGGED, crooked, flat_network, ragged, ring, star, zoo

ZOO = pytest.mark.parametrize("name", list(zoo()))
SIZED = Fields({**RAGGED.parts, "ptr": Offsets()})


def batch_of_zoo(**options: Any) -> dict[str, Any]:
    matrices = list(zoo().values())
    value = ragged(matrices, **options)
    value["ptr"] = torch.tensor([0, *map(len, matrices)]).cumsum(0)
    return value


def copies(claim: Symmetry, value: Any, count: int, seed: int = 0) -> list[tuple[Tensor, Any]]:
    """Relabelled copies of a batch, with the permutations."""
    draw = torch.Generator().manual_seed(seed)
    group = group_for(claim, value)
    batch = len(group.sizes) if hasattr(group, "sizes") else len(value[0])
    drawn = [group.sample((batch,), generator=draw) for _ in range(count)]
    return [(g, move(claim.inputs, g, value)) for g in drawn]


@ZOO
@pytest.mark.parametrize("colours", [1, 2], ids=["plain", "coloured"])
def test_any_network_on_dense_graphs(name: str, colours: int) -> None:
    matrix = zoo()[name].double()
    n = len(matrix)
    x = torch.randint(0, colours, (3, n, 1), generator=torch.Generator().manual_seed(1)).double()
    value = (x, matrix.expand(3, n, n))
    claim = Symmetry(S(n), DENSE, DENSE_OUT)
    check_frame(CanonicalOrder(), claim, value, tolerance=1e-12)
    model = flat_network(n)
    upright = symmetrize(model, claim, CanonicalOrder())
    assert_equivariant(upright, claim, value, tolerance=1e-12, count=8)
    if n > 2 and name not in ("complete", "no edges"):
        with pytest.raises(LawError):
            assert_equivariant(model, claim, value, tolerance=1e-3, count=8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_ragged_graphs_with_outputs_of_nodes_and_edges(dtype: torch.dtype) -> None:
    claim, value = Symmetry(S(), SIZED, OUT), batch_of_zoo(dtype=dtype)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    check_frame(CanonicalOrder(), claim, value, tolerance=tolerance)
    upright = symmetrize(crooked, claim, CanonicalOrder())
    assert_equivariant(upright, claim, value, tolerance=tolerance)
    with pytest.raises(LawError):
        assert_equivariant(crooked, claim, value, tolerance=1e-3)


@ZOO
def test_copies_have_one_canonical_form_bit_for_bit(name: str) -> None:
    matrix = zoo()[name].double()[None]
    claim = Symmetry(S(), DENSE, Scalar())
    value = (torch.zeros(1, matrix.shape[1], 1), matrix)
    upright = symmetrize(lambda x, a: a.flatten(1).sum(1), claim, CanonicalOrder())
    forms = {upright.canonical(*moved)[1].numpy().tobytes() for _, moved in copies(claim, value, 12)}
    assert len(forms) == 1


def test_interchangeable_nodes_get_equal_answers() -> None:
    claim = Symmetry(S(), DENSE, DENSE_OUT)
    made = symmetrize(flat_network(8), claim, CanonicalOrder())(torch.zeros(1, 8, 1), ring(8)[None].double())
    assert len(made["node"][0].unique(dim=0)) == 1
    # The 64 ordered pairs of a ring of 8 fall into five orbits, by their distance.
    assert len(made["pair"][0].flatten().unique()) == 5
    leaves = symmetrize(flat_network(7), claim, CanonicalOrder())(torch.zeros(1, 7, 1), star(7)[None].double())
    assert len(leaves["node"][0].unique(dim=0)) == 2


def test_one_call_of_the_model() -> None:
    calls = []

    def model(a: Tensor) -> Tensor:
        calls.append(len(a))
        return a.sum((1, 2))

    symmetrize(model, Symmetry(S(), Pairs(), Scalar()), CanonicalOrder())(torch.ones(2, 30, 30))
    assert calls == [2]


def test_without_the_mean_over_orbits_the_law_breaks() -> None:
    def bare(symmetry: Symmetry, inputs: Any) -> Poses:
        poses = CanonicalOrder()(symmetry, inputs)
        return Poses(poses.elements, poses.weights)

    with pytest.raises(LawError):
        check_frame(bare, Symmetry(S(), DENSE, DENSE_OUT), (torch.zeros(1, 8, 1), ring(8)[None].double()))


def test_an_order_that_minds_numbers_is_caught() -> None:
    def first_seen(symmetry: Symmetry, inputs: Any) -> Poses:
        order = inputs[1].sum(-1).argsort(dim=1, stable=True)
        return Poses(order[None], torch.ones(1, len(order)))

    check = (Symmetry(S(), DENSE, DENSE_OUT), (torch.zeros(1, 9, 1), zoo()["random symmetric"][None].double()))
    with pytest.raises(LawError):
        check_frame(first_seen, *check)
    check_frame(CanonicalOrder(), *check)


def test_batch_mates_do_not_matter() -> None:
    claim, value = Symmetry(S(), SIZED, OUT), batch_of_zoo()
    upright = symmetrize(crooked, claim, CanonicalOrder())
    poses = upright.poses(value)
    for sample, matrix in enumerate(zoo().values()):
        keep = value["batch"] == sample
        mine = ragged([matrix])
        mine["x"], mine["ptr"] = value["x"][keep], torch.tensor([0, len(matrix)])
        alone = upright.poses(mine)
        assert torch.equal(alone.elements[0, 0], poses.elements[0, sample, : len(matrix)])


def test_the_first_input_settles_the_order() -> None:
    spec = {"gene": Nodes(), "level": Nodes(), "A": Pairs()}
    claim = Symmetry(S(), spec, Scalar())
    draw = torch.Generator().manual_seed(0)
    value = {
        "gene": torch.tensor([[7, 3, 9, 1, 5]]),
        "level": torch.randn(1, 5, 2, generator=draw),
        "A": ring(5)[None],
    }
    poses = CanonicalOrder(first=".gene")(claim, value)
    assert poses.elements[0, 0].tolist() == [3, 1, 4, 0, 2]
    edited = {**value, "A": star(5)[None], "level": -value["level"]}
    assert torch.equal(CanonicalOrder(first=".gene")(claim, edited).elements, poses.elements)
    # Equal identities are told apart by the rest, and the law holds all the same.
    value["gene"] = torch.tensor([[3, 3, 9, 9, 3]])
    check_frame(CanonicalOrder(first=".gene"), claim, value)
    check_frame(CanonicalOrder(first=".level"), claim, value)


def test_values_of_edges_count() -> None:
    claim = Symmetry(S(), Pairs(), Nodes())
    weighted = ring(7).double()
    weighted[0, 1] = weighted[1, 0] = 2.5
    upright = symmetrize(lambda a: a.cumsum(1), claim, CanonicalOrder())
    assert len(upright(ring(7)[None])[0].sum(1).unique()) == 1
    assert_equivariant(upright, claim, weighted[None])
    tall = torch.stack([weighted, weighted * 2, torch.zeros_like(weighted)], -1)[None]
    assert_equivariant(symmetrize(lambda a: a.cumsum(1), claim, CanonicalOrder()), claim, tall)


def test_complete_graphs_with_a_weight_for_each_pair() -> None:
    a = torch.randn(2, 40, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    claim = Symmetry(S(40), (Nodes(), Pairs()), DENSE_OUT)
    assert_equivariant(
        symmetrize(flat_network(40), claim, CanonicalOrder()), claim, (torch.zeros(2, 40, 1), a + a.mT), count=3
    )


def test_complex_bool_and_whole_numbers() -> None:
    claim = Symmetry(S(), (Nodes(), Pairs()), Nodes())
    upright = symmetrize(lambda x, a: a.to(torch.float64).cumsum(1), claim, CanonicalOrder())
    for x in (
        torch.randn(1, 8, dtype=torch.complex64),
        torch.tensor([[True, False, True, True, False, True, True, True]]),
        torch.randint(3, (1, 8), dtype=torch.uint8),
    ):
        assert_equivariant(upright, claim, (x, ring(8)[None] > 0))


def test_an_audit() -> None:
    claim = Symmetry(S(), SIZED, OUT)
    value = batch_of_zoo()
    plain = audit(crooked, claim, value, batch_size=5, elements=8, cost=False)
    mended = audit(symmetrize(crooked, claim, CanonicalOrder()), claim, value, batch_size=5, elements=8, cost=False)
    assert plain.verdict == "fail"
    assert mended.error.max < 1e-12


def test_gradients_pass() -> None:
    claim = Symmetry(S(), DENSE, DENSE_OUT)
    x, a = torch.randn(1, 5, 1, dtype=torch.float64), ring(5)[None].double().requires_grad_()
    upright = symmetrize(flat_network(5), claim, CanonicalOrder())
    upright(x, a)["node"].sum().backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()
    assert a.grad.abs().max() > 0


def test_frames_of_sets_and_of_graphs_by_default() -> None:
    assert default_frame(Symmetry(S(), Nodes(), Scalar())) == Sorted()
    assert default_frame(Symmetry(S(12), (Nodes(), Pairs()), Scalar())) == CanonicalOrder()
    assert default_frame(Symmetry(S(), RAGGED, OUT)) == CanonicalOrder()


def test_copies_of_the_frame() -> None:
    frame = CanonicalOrder(first=".gene", limit=None)
    assert pickle.loads(pickle.dumps(frame)) == copy.deepcopy(frame) == frame
    assert repr(CanonicalOrder()) == "CanonicalOrder()"
    poses = CanonicalOrder()(Symmetry(S(), Pairs(), Nodes()), ring(5)[None])
    assert CanonicalOrder()(Symmetry(S(), Pairs(), Scalar()), ring(5)[None]).stabilizer is None
    again = pickle.loads(pickle.dumps(poses))
    assert torch.equal(again.elements, poses.elements)
    assert again.stabilizer is not None


def test_ranks() -> None:
    table = torch.tensor([[1.0, 2], [1, -3], [0, 9], [-0.0, 9], [1, 2]])
    assert ranks([table], 5).tolist() == [2, 1, 0, 0, 2]
    assert ranks([], 2).tolist() == [0, 0]
    assert ranks([torch.zeros(0, 3)], 0).tolist() == []


@pytest.mark.parametrize(
    ("spec", "value", "words"),
    [
        (Pairs(), torch.full((1, 3, 3), torch.nan), "not a number"),
        ((Nodes(), Pairs()), (torch.zeros(1, 4), torch.zeros(1, 3, 3)), "disagree on how many nodes"),
        (Pairs(), torch.zeros(1, 3, 4), "disagree on how many nodes"),
        ((Nodes(), Vector()), (torch.zeros(1, 4), torch.zeros(1, 3, 3)), "orders graphs"),
        (Scalar(), torch.zeros(2, 3), "needs a graph"),
        (
            Fields(x=Rows(Nodes()), e=Edges(), batch=Index()),
            {"x": torch.zeros(2, 1), "e": torch.tensor([[0], [1]]), "batch": torch.tensor([0, 0])},
            "never changed places",
        ),
    ],
    ids=["nan", "sizes", "not square", "vectors", "nothing", "edges"],
)
def test_refused(spec: Any, value: Any, words: str) -> None:
    with pytest.raises(SymmetryError, match=words):
        CanonicalOrder()(Symmetry(S(), spec, Scalar()), value)


def test_other_refusals() -> None:
    claim = Symmetry(S(), (Nodes(), Pairs()), Scalar())
    value = (torch.zeros(1, 3, 1), ring(3)[None])
    with pytest.raises(SymmetryError, match="no such input"):
        CanonicalOrder(first="gene")(claim, value)
    with pytest.raises(SymmetryError, match="bad limit"):
        CanonicalOrder(limit=0)
    with pytest.raises(SymmetryError, match="does not fit samples"):
        CanonicalOrder()(Symmetry(S(4), (Nodes(), Pairs()), Scalar()), value)
    labels = symmetrize(lambda x, a: a.argmax(1), Symmetry(S(), (Nodes(), Pairs()), Nodes()), CanonicalOrder())
    with pytest.raises(SymmetryError, match="cannot be averaged over them"):
        labels(*value)
    odd = symmetrize(lambda x, a: a, Symmetry(S(), (Nodes(), Pairs()), lambda g, y: y), CanonicalOrder())
    with pytest.raises(SymmetryError, match="how to average this output"):
        odd(*value)


def test_numbers_that_agree_to_rounding() -> None:
    claim = Symmetry(S(), DENSE, DENSE_OUT)
    draw = torch.Generator().manual_seed(0)
    # An equilateral triangle in a square's company: distances that are equal but for rounding, and some near zero.
    points = torch.tensor([[0, 0], [1, 0], [0.5, 0.75**0.5], [0, 0], [3, 3]], dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(2, 2, generator=draw, dtype=torch.float64)).Q
    x = torch.zeros(1, 5, 1, dtype=torch.float64)
    apart = [(points @ m)[None] for m in (torch.eye(2, dtype=torch.float64), turn)]
    far, moved = (torch.cdist(p, p, compute_mode="donot_use_mm_for_euclid_dist") for p in apart)
    noisy = moved + 1e-16 * torch.rand(1, 5, 5, generator=draw, dtype=torch.float64)
    model = symmetrize(flat_network(5), claim, CanonicalOrder(within="rounding"))
    exact = symmetrize(flat_network(5), claim, CanonicalOrder())
    assert (model(x, far)["graph"] - model(x, noisy)["graph"]).abs().max() < 1e-12
    assert (exact(x, far)["graph"] - exact(x, noisy)["graph"]).abs().max() > 1e-3
    assert_equivariant(model, claim, (x, noisy), tolerance=1e-12)
    margin = model.poses(x, noisy).margin
    assert margin is not None
    assert 0 < margin < 1e-12
    # Weights of a graph that are apart by less than the share are one; ragged graphs alike.
    shares = CanonicalOrder(within=0.1)
    value = ragged([ring(5), ring(3)])
    value["w"] = value["w"] + 1e-3 * torch.rand(len(value["w"]), generator=draw)
    spread = {
        **value,
        "w": torch.cat([value["w"][:10] * torch.linspace(1, 4, 10), value["w"][10:]]),
        "x": value["x"] * 0,
    }
    told = shares(Symmetry(S(), RAGGED, OUT), spread).margin
    assert told is not None
    assert told.shape == (2,)
    check_frame(shares, Symmetry(S(), RAGGED, OUT), spread)


@pytest.mark.parametrize("group", [S(), S(8)], ids=repr)
def test_an_empty_batch(group: S) -> None:
    exact = symmetrize(lambda a: a.cumsum(1), Symmetry(group, Pairs(), Nodes()), CanonicalOrder())
    assert exact(torch.zeros(0, 8, 8)).shape == (0, 8, 8)


def test_rounding_of_half_precision_is_no_rounding() -> None:
    for frame in (CanonicalOrder(within="rounding"), Sorted(within="rounding")):
        for dtype in (torch.float16, torch.bfloat16):
            with pytest.raises(SymmetryError, match="too coarse"):
                frame(Symmetry(S(), Nodes(), Scalar()), torch.rand(1, 4, 1).to(dtype))
