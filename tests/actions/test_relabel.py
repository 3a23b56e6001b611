"""Rows that change places, and edges that follow them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from canonize import (
    Chain,
    E,
    Edges,
    Factor,
    Fields,
    Index,
    LawError,
    Nodes,
    Offsets,
    Pairs,
    Point,
    Product,
    Rows,
    S,
    Scalar,
    Symmetry,
    SymmetryError,
    Vector,
)
from canonize.actions import lossless_tree, move
from canonize.actions.parts import factor_of
from canonize.actions.relabel import sizes_of
from canonize.symmetry import group_for
from canonize.testing import check_action
from relabelled_graphs import RAGGED, ragged, ring, star, zoo

BATCHES = {
    "zoo": list(zoo().values()),
    "one": [ring(5)],
    "equal sizes": [ring(4), star(4)],
    "empty at the ends": [torch.zeros(0, 0), ring(3), torch.zeros(0, 0)],
}
SIZED = Fields({**RAGGED.parts, "ptr": Offsets()})


def with_offsets(matrices: list[torch.Tensor], dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    value = ragged(matrices, dtype=dtype)
    value["ptr"] = torch.tensor([0, *(len(matrix) for matrix in matrices)]).cumsum(0)
    return value


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int16], ids=str)
@pytest.mark.parametrize("matrices", BATCHES.values(), ids=list(BATCHES))
def test_laws(matrices: list[torch.Tensor], dtype: torch.dtype) -> None:
    checked = check_action(SIZED, S(), with_offsets(matrices, dtype), count=3)
    assert any(law.startswith("composition") for law in checked.laws)
    assert not checked.skipped


def test_laws_beside_positions() -> None:
    value = with_offsets(BATCHES["zoo"])
    value["pos"] = torch.randn(len(value["x"]), 3, dtype=torch.float64)
    spec = Fields(
        x=Rows(Factor(0, Nodes())),
        pos=Rows(Chain(Factor(0, Nodes()), Factor(1, Point()))),
        edge_index=Edges(Factor(0, Nodes())),
        w=Rows(Scalar(), edges=True),
        batch=Index(),
        ptr=Offsets(),
    )
    check_action(spec, Product(S(), E(3)), value, count=3)


def test_each_edge_joins_the_same_rows() -> None:
    value = with_offsets(BATCHES["zoo"])
    group = group_for(Symmetry(S(), SIZED, None), value)
    moved = move(SIZED, group.sample((len(value["ptr"]) - 1,), generator=torch.Generator().manual_seed(0)), value)
    tagged = torch.arange(len(value["x"]))
    places = move(Fields(t=Rows(Nodes()), ptr=Offsets()), group.sample((14,), generator=torch.Generator().manual_seed(0)),
                  {"t": tagged, "ptr": value["ptr"]})["t"]  # fmt: skip
    assert torch.equal(places[moved["edge_index"]], value["edge_index"])
    assert not torch.equal(moved["edge_index"], value["edge_index"])


def test_ragged_is_dense_one_by_one() -> None:
    value = with_offsets(BATCHES["zoo"])
    g = group_for(Symmetry(S(), SIZED, None), value).sample((14,), generator=torch.Generator().manual_seed(1))
    moved = move(SIZED, g, value)["x"]
    starts = value["ptr"].tolist()
    for sample, (begin, end) in enumerate(pairwise(starts)):
        alone = Nodes()(g[sample : sample + 1, : end - begin], value["x"][None, begin:end])[0]
        assert torch.equal(alone, moved[begin:end])


def test_rows_in_any_order() -> None:
    spec = Fields(x=Rows(Nodes()), batch=Index(loose=True), edge_index=Edges(Nodes()))
    value = {
        "x": torch.randn(7, 2),
        "batch": torch.tensor([1, 0, 1, 0, 2, 1, 0]),
        "edge_index": torch.tensor([[1, 0, 4], [3, 5, 4]]),
    }
    check_action(spec, S(), value, count=4)


def test_edges_that_stay_behind_are_caught() -> None:
    value = ragged([ring(5), star(4)])
    value["left"] = value["x"][value["edge_index"][0]]

    class Forgetful:
        """Moves rows and leaves the edges as they were."""

        def __call__(self, graph: dict[str, Any]) -> torch.Tensor:
            x, (i, j) = graph["x"], graph["edge_index"]
            return torch.zeros(2, 1).double().index_add(0, graph["batch"][i], (x[i] - 2) * (x[j] + 1) ** 2 * x[i])

    from canonize.testing import assert_equivariant

    fields = {**RAGGED.parts}
    good = Symmetry(S(), Fields(fields), Scalar())
    value["x"] = torch.randn(9, 1, dtype=torch.float64)
    assert_equivariant(Forgetful(), good, value)
    with pytest.raises(LawError):
        assert_equivariant(Forgetful(), Symmetry(S(), Fields({**fields, "edge_index": Edges()}), Scalar()), value)


def test_sizes() -> None:
    value = with_offsets(BATCHES["empty at the ends"])
    assert sizes_of(SIZED, value, 3) == [0, 3, 0]
    assert sizes_of((Nodes(), Pairs()), (torch.zeros(2, 4, 1), torch.zeros(2, 4, 4)), 2) == [4, 4]
    assert sizes_of(Nodes(axis=-1), torch.zeros(2, 3, 5), 2) == [5, 5]
    assert sizes_of(Chain(Factor(1, Vector()), Factor(0, Nodes())), torch.zeros(2, 3, 5), 2) == [3, 3]


def test_moving_places_loses_nothing() -> None:
    value = with_offsets(BATCHES["zoo"])
    g = group_for(Symmetry(S(), SIZED, None), value).sample((14,))
    assert lossless_tree(SIZED, g, value).all()


def test_the_tree_that_a_factor_sees() -> None:
    spec = {
        "x": Rows(Chain(Factor(0, Nodes()), Factor(1, Point()))),
        "z": (Factor(0, Nodes()), None, Scalar()),
        "e": Edges(Factor(0, Nodes())),
        "b": Index(),
    }
    assert factor_of(spec, 0, 2) == {
        "x": Rows(Nodes()),
        "z": (Nodes(), None, Scalar()),
        "e": Edges(Nodes()),
        "b": Index(),
    }
    assert factor_of(spec, 1, 2) == {"x": Rows(Point()), "z": (Scalar(), None, Scalar()), "e": Edges(), "b": Index()}
    with pytest.raises(SymmetryError, match="whole elements of a product"):
        factor_of({"x": Point()}, 0, 2)


@pytest.mark.parametrize(
    ("action", "g", "words"),
    [
        (Rows(Nodes()), torch.tensor([[1, 0], [0, 1]]), "do not fit the samples"),
        (Rows(Nodes()), torch.tensor([[2, 1, 0], [1, 2, 0]]), "out of its sample"),
        (Rows(Nodes(axis=-1)), torch.tensor([[2, 1, 0], [1, 0, 2]]), "first axis"),
        (Rows(Pairs()), torch.tensor([[2, 1, 0], [1, 0, 2]]), "has no meaning"),
        (Rows(Nodes()), torch.eye(3), "elements that are permutations"),
    ],
    ids=["short", "beyond", "axis", "pairs", "matrices"],
)
def test_refused(action: Any, g: torch.Tensor, words: str) -> None:
    with pytest.raises(SymmetryError, match=words):
        move(Fields(x=action, batch=Index()), g, {"x": torch.randn(5, 2), "batch": torch.tensor([0, 0, 0, 1, 1])})


def test_edges_need_rows_that_are_told() -> None:
    with pytest.raises(SymmetryError, match=r"none as Index|whose the rows are"):
        move(Fields(e=Edges(Nodes())), torch.tensor([[0, 1]]), {"e": torch.tensor([[0], [1]])})
    with pytest.raises(SymmetryError, match="built from actions"):
        Edges(Rows(Nodes()))


def test_nothing_tells_the_size() -> None:
    with pytest.raises(SymmetryError, match="nothing in the input tells"):
        group_for(Symmetry(S(), Scalar(), Scalar()), torch.zeros(2, 3))
    with pytest.raises(SymmetryError, match="not clear"):
        group_for(Symmetry(S(), (Nodes(), Nodes()), Scalar()), (torch.zeros(2, 3), torch.zeros(2, 4)))
