"""Ragged batches: which sample each row and each edge belongs to, and what is refused."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from canonize import (
    SE,
    Average,
    Best,
    D,
    E,
    Edges,
    Fields,
    Index,
    Octahedral,
    Offsets,
    Point,
    Poses,
    Rows,
    Scalar,
    Symmetry,
    SymmetryError,
    Vector,
    symmetrize,
)
from canonize.actions import lossless_tree, move, rows, trees
from canonize.actions.rows import layout
from canonize.actions.trees import batch_of, repeat, row_index, separable, take
from canonize.testing import assert_equivariant, check_action, check_frame
from ragged_graphs import DOUBLE, GRAPH, OUTPUTS, SIZES, WITHOUT_INDEX, WITHOUT_OFFSETS, graphs, messages


def equal(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys()
    for name, part in a.items():
        if isinstance(part, Tensor):
            torch.testing.assert_close(part, b[name], rtol=1e-12, atol=1e-12)
        else:
            assert part == b[name]


def given(spec: Fields, value: dict[str, Any]) -> dict[str, Any]:
    """What is declared of a value."""
    return {name: part for name, part in value.items() if name in spec.parts}


def filled(spec: Fields, value: dict[str, Any]) -> dict[str, Any]:
    """A value with the index that the model needs."""
    return {**value, "batch": row_index(spec, value)}


SPECS = [GRAPH, WITHOUT_OFFSETS, WITHOUT_INDEX]
OVER_SIZES = pytest.mark.parametrize("sizes", SIZES.values(), ids=list(SIZES))
OVER_SPECS = pytest.mark.parametrize("spec", SPECS, ids=["both", "index", "offsets"])


@OVER_SIZES
@OVER_SPECS
class TestLaws:
    def test_the_batch_is_counted(self, spec: Fields, sizes: list[int]) -> None:
        value = given(spec, graphs(sizes))
        assert batch_of(spec, value)[0] == len(sizes)
        where = layout(spec, value)
        assert where is not None
        assert torch.equal(where.index, graphs(sizes)["batch"])

    def test_the_laws_of_an_action(self, spec: Fields, sizes: list[int]) -> None:
        if sizes:
            check_action(spec, E(3), given(spec, graphs(sizes)))

    def test_edges_move_with_the_element_of_their_sample(self, spec: Fields, sizes: list[int]) -> None:
        value, g = graphs(sizes), SE(3).sample(len(sizes), dtype=DOUBLE)
        moved = move(spec, g, value)
        owner = value["batch"][value["edge_index"][0]]
        torch.testing.assert_close(moved["shift"], (g.linear[owner] @ value["shift"][..., None])[..., 0])
        assert all(moved[name] is value[name] for name in ("batch", "ptr", "edge_index"))
        assert lossless_tree(spec, g, value).tolist() == [True] * len(sizes)

    @pytest.mark.parametrize("times", [1, 2, 5])
    def test_the_model_of_copies_is_copies_of_the_model(self, spec: Fields, sizes: list[int], times: int) -> None:
        value = given(spec, graphs(sizes))
        many = repeat(spec, value, times, index=row_index(spec, value), batch=len(sizes))
        assert batch_of(spec, many)[0] == times * len(sizes)
        # All numbers are right, so that the copies are a batch like any other: they can be repeated once more.
        assert batch_of(spec, repeat(spec, many, 2, batch=times * len(sizes)))[0] == 2 * times * len(sizes)
        once, all_of_them = messages(filled(spec, value)), messages(filled(spec, many))
        for name in ("energy", "force", "flow"):
            torch.testing.assert_close(all_of_them[name], torch.cat([once[name]] * times), rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("seed", range(4))
    def test_take_then_model_is_model_then_take(self, spec: Fields, sizes: list[int], seed: int) -> None:
        if not sizes:
            return
        value = given(spec, graphs(sizes, seed=seed))
        samples = torch.randint(len(sizes), (seed * 2,), generator=torch.Generator().manual_seed(seed))
        some = take(spec, value, samples)
        assert batch_of(spec, some)[0] == len(samples)
        claim = {"energy": Scalar(), "force": Rows(Vector()), "flow": Rows(Vector(), edges=True)}
        before = {name: part for name, part in messages(filled(spec, value)).items() if name in claim}
        tree = Fields(**spec.parts, **{f"{name}_": part for name, part in claim.items()})
        taken = take(tree, {**value, **{f"{name}_": part for name, part in before.items()}}, samples)
        after = messages(filled(spec, some))
        for name in claim:
            torch.testing.assert_close(after[name], taken[f"{name}_"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("edges", [True, False], ids=["edges", "no edges"])
@OVER_SIZES
@pytest.mark.parametrize("chunk", [2, 5, 24, 100])
def test_the_chunk_changes_nothing(sizes: list[int], chunk: int, edges: bool) -> None:
    claim, value = Symmetry(Octahedral(), GRAPH, OUTPUTS), graphs(sizes, edges=edges)
    one, many = (symmetrize(messages, claim, Average(), chunk=each)(value) for each in (1, chunk))
    equal(one, many)
    equal(
        {name: one[name] for name in ("edge_index", "batch", "ptr")},
        {n: value[n] for n in ("edge_index", "batch", "ptr")},
    )


def some_poses(symmetry: Symmetry, inputs: Any) -> Poses:
    """All elements of the group for samples of three rows, half of them for the others: some poses are idle."""
    batch = batch_of(symmetry.inputs, inputs)[0]
    elements = symmetry.group.elements(dtype=DOUBLE)
    index = row_index(symmetry.inputs, inputs)
    assert index is not None
    large = torch.bincount(index, minlength=batch) == 3
    half = (torch.arange(len(elements)) % 2 == 0)[:, None]
    weights = (half | large).to(DOUBLE)
    return Poses(elements[:, None].expand(-1, batch, -1, -1), weights / weights.sum(0))


@OVER_SIZES
@pytest.mark.parametrize("chunk", [1, 3, 8, 30])
def test_idle_poses_cost_nothing_and_change_nothing(sizes: list[int], chunk: int) -> None:
    claim, value = Symmetry(D(3), GRAPH, OUTPUTS), flat(graphs(sizes))
    shown: list[int] = []

    def counting(graph: dict[str, Any]) -> dict[str, Any]:
        shown.append(len(graph["energy"]))
        return flat_messages(graph)

    answer = symmetrize(counting, claim, some_poses, chunk=chunk)(value)
    poses = some_poses(claim, value)
    assert separable(claim.inputs, value)
    if sizes:
        assert sum(shown) == int((poses.weights != 0).sum())
    # The same by hand: one pose at a time, each for the whole batch.
    total: dict[str, Any] = {}
    for g, weights in zip(poses.elements, poses.weights, strict=True):
        turned = move(OUTPUTS, g, flat_messages(move(claim.inputs, g.mT, value)), index=layout(claim.inputs, value))
        for name, owner in (
            ("energy", torch.arange(len(sizes))),
            ("force", value["batch"]),
            ("flow", value["batch"][value["edge_index"][0]]),
        ):
            total[name] = total.get(name, 0) + turned[name] * weights[owner][:, None]
    for name, part in total.items():
        torch.testing.assert_close(answer[name], part, rtol=1e-12, atol=1e-12)
    assert torch.equal(answer["edge_index"], value["edge_index"])


def flat(graph: dict[str, Any]) -> dict[str, Any]:
    return {**graph, "pos": graph["pos"][:, :2], "shift": graph["shift"][:, :2]}


def flat_messages(graph: dict[str, Any]) -> dict[str, Any]:
    """`messages` for graphs in the plane."""
    pad = torch.nn.functional.pad
    out = messages({**graph, "pos": pad(graph["pos"], (0, 1)), "shift": pad(graph["shift"], (0, 1))})
    return {**out, "force": out["force"][:, :2], "flow": out["flow"][:, :2]}


def lowest(graph: dict[str, Any]) -> Tensor:
    return messages(graph)["energy"][:, 0]


@pytest.mark.parametrize("frame", [Average(), Best(lowest)], ids=["average", "best"])
@pytest.mark.parametrize("chunk", [1, 7])
def test_frames_and_claims_on_graphs(frame: Any, chunk: int) -> None:
    claim, value = Symmetry(Octahedral(), GRAPH, OUTPUTS), graphs([3, 0, 2, 1])
    check_frame(frame, claim, value)
    assert not assert_equivariant(symmetrize(messages, claim, frame, chunk=chunk), claim, value).skipped


@pytest.mark.parametrize(
    "action", [Index(), Index(loose=True), Offsets(), Edges(), Rows(Point(), edges=True), GRAPH], ids=repr
)
def test_declarations_are_values(action: Any) -> None:
    for other in (copy.deepcopy(action), pickle.loads(pickle.dumps(action))):
        assert other == action
        assert hash(other) == hash(action)
    assert eval(repr(action)) == action


# Faults, planted: each law must catch its own.


def _unmoved_edges(action: Any, part: Tensor, times: int, batch: int, count: int) -> Tensor:
    good = rows.repeated(action, part, times, batch, count)
    return part.repeat(1, times) if isinstance(action, Edges) else good


def _offset_by_samples(action: Any, part: Tensor, times: int, batch: int, count: int) -> Tensor:
    return rows.repeated(action, part, times, batch, batch if isinstance(action, Edges) else count)


@pytest.mark.parametrize("fault", [_unmoved_edges, _offset_by_samples])
def test_edges_that_are_not_offset_are_found(fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "repeated", fault)
    with pytest.raises((AssertionError, SymmetryError)):
        test_the_chunk_changes_nothing([3, 2, 4], 5, True)


@pytest.mark.parametrize(
    "fault",
    [
        lambda self, action: self.where.edges[:, self.edges] if isinstance(action, Edges) else GOOD(self, action),
        lambda self, action: GOOD(self, action).flip(0) if isinstance(action, Edges) else GOOD(self, action),
    ],
    ids=["not renumbered", "turned round"],
)
def test_edges_that_are_not_renumbered_are_found(fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows.Taken, "numbers", fault)
    with pytest.raises((AssertionError, SymmetryError)):
        TestLaws().test_take_then_model_is_model_then_take(GRAPH, [3, 2, 4], 2)


GOOD = rows.Taken.numbers
