"""The benchmark of graphs sees frames that do not know copies again, outputs that do not follow, and unfair folds."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from canonize import CanonicalOrder, Poses, symmetrize

FOLDER = Path(__file__).parent.parent / "benchmarks"


def loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the benchmarks."""
    for library in ("canonaut", "networkx", "numpy", "rich"):
        pytest.importorskip(library, reason=f"the benchmarks need {library}: pip install -e '.[dev]'")
    monkeypatch.syspath_prepend(str(FOLDER))
    return __import__(name)


def graphs_of(data: ModuleType) -> list[Any]:
    """Two rings of three beside one of six; both on a path; a star."""
    joined = ([[0, 1, 2, 3, 4, 5], [1, 2, 0, 4, 5, 3]], [[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0]])
    tail = [[0, 6, 7], [6, 7, 8]]
    edges = [torch.tensor(pairs) for pairs in joined]
    edges += [torch.cat([pairs, torch.tensor(tail)], 1) for pairs in edges]
    edges.append(torch.tensor([[0, 0, 0], [1, 2, 3]]))
    sizes = [6, 6, 9, 9, 4]
    return [
        data.Graph(n, pairs, torch.ones(n, 1, dtype=torch.float64), number % 2)
        for number, (n, pairs) in enumerate(zip(sizes, edges, strict=True))
    ]


def test_only_canonical_order_tells_apart_and_knows_again(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, data = loaded("_graphs_separation", monkeypatch), sys.modules["_graphs_data"]
    graphs = graphs_of(data)
    copies = data.relabelled(graphs, torch.Generator().manual_seed(0))
    ways = parts.candidates(graphs)
    out = {way: outputs(graphs) for way, outputs in ways.items()}
    again = {way: outputs(copies) for way, outputs in ways.items()}
    pairs = len(graphs) * (len(graphs) - 1) // 2
    exact, given, _, messages = ways
    assert parts.among(out[exact])[:2] == (pairs, 0)
    assert torch.equal(out[exact], again[exact])
    assert parts.among(out[given])[1] == 0
    assert bool((parts.apart(out[given], again[given], unknown=math.inf) > parts.THRESHOLD).any())
    # The two triangles and the ring of six are one and the same to messages.
    assert parts.among(out[messages])[1] == 1
    assert bool((parts.apart(out[messages], again[messages], unknown=math.inf) < 1e-12).all())


def test_the_order_of_eigenvectors_is_an_order(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, data = loaded("_graphs_separation", monkeypatch), sys.modules["_graphs_data"]
    graphs = graphs_of(data)
    assert parts.forms(parts.by_eigenvectors(graphs)) == parts.forms(graphs)


def test_what_is_not_a_number_never_counts_for_us(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = loaded("_graphs_separation", monkeypatch)
    lost = torch.full((3, 2), torch.nan)
    assert parts.among(lost)[1] == 3
    assert bool((parts.apart(lost, lost, unknown=math.inf) > parts.THRESHOLD).all())
    assert parts.among(torch.zeros(3, 2))[1] == 3


def test_forms_of_copies_and_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, data = loaded("_graphs_separation", monkeypatch), sys.modules["_graphs_data"]
    graphs = graphs_of(data)
    found = parts.forms(graphs)
    assert found == parts.forms(data.relabelled(graphs, torch.Generator().manual_seed(1)))
    assert len(set(found)) == len(graphs)
    assert len(set(parts.forms([graphs[0], graphs[0].moved(torch.tensor([3, 4, 5, 0, 1, 2]))]))) == 1
    # The triangle and the ring of six stand in graphs of one class each, until the triangles come in the other too.
    assert parts._kinds(graphs[:2]) == {"different": 2, "of one class": 2}
    assert parts._kinds([*graphs[:2], replace(graphs[0], label=1)]) == {"different": 2, "of one class": 1}


@pytest.mark.parametrize("model", ["MLP", "transformer"])
def test_outputs_that_do_not_follow_are_seen(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, data = loaded("_graphs_exact", monkeypatch), sys.modules["_graphs_data"]
    row = parts._row(graphs_of(data), model, 3)
    assert row["symmetric"] == 5
    for precision, bound in {"float32": 1e-5, "float64": 1e-13}.items():
        for output in parts.OUTPUTS:
            assert row[precision][output]["error"] <= bound
            assert row[precision][output]["bare"] > 1e-2

    class Unaveraged:
        """Canonical order without the mean over interchangeable nodes."""

        def __call__(self, symmetry: Any, inputs: Any) -> Poses:
            poses = CanonicalOrder()(symmetry, inputs)
            return Poses(poses.elements, poses.weights)

    monkeypatch.setattr(parts, "CanonicalOrder", Unaveraged)
    row = parts._row(graphs_of(data), model, 3)
    assert row["float64"]["node"]["error"] > 1e-3
    assert row["float64"]["pair"]["error"] > 1e-3


def test_an_output_that_is_lost_has_infinite_error(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = loaded("_graphs_exact", monkeypatch)
    value = (torch.ones(2, 3, 1), torch.zeros(2, 3, 3))
    made = {"node": torch.ones(2, 3, 1), "pair": torch.full((2, 3, 3), torch.nan)}
    found = parts._worst(lambda x, a: made, value, [torch.tensor([[1, 0, 2], [0, 1, 2]])])
    assert found == {"node": 0.0, "pair": math.inf}


@pytest.mark.parametrize("together", [1, 2])
def test_folds_are_fair(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = loaded("_graphs_models", monkeypatch)
    labels = torch.tensor([0, 1] * 20)
    seen = []
    for learn, test in parts.folds(labels, 5, torch.Generator().manual_seed(0), together=together):
        assert sorted([*learn.tolist(), *test.tolist()]) == list(range(40))
        assert labels[test].sum() == 4
        if together == 2:
            assert set((test // 2).tolist()).isdisjoint((learn // 2).tolist())
        seen += test.tolist()
    assert sorted(seen) == list(range(40))


def test_places_in_components_do_not_mind_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, data = loaded("_graphs_folds", monkeypatch), sys.modules["_graphs_data"]
    path = torch.tensor([[0, 1, 2], [1, 2, 3]])
    x = torch.tensor([[3.0], [1], [2], [5]], dtype=torch.float64)
    alone = data.Graph(4, path, x)
    both = data.Graph(8, torch.cat([path, path + 4], 1), torch.cat([x, 1 - x]))
    assert torch.equal(parts.in_pieces([both])[0].place[:4], parts.in_order([alone])[0].place)
    assert sorted(parts.in_pieces([both])[0].place.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert parts.in_order([alone])[0].place.tolist() == [2, 0, 1, 3]


def test_copies_get_the_same_features_from_all_but_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, data = loaded("_graphs_folds", monkeypatch), sys.modules["_graphs_data"]
    draw = torch.Generator().manual_seed(0)
    n = 12
    edges = torch.tensor([[i, j] for i in range(n) for j in range(i) if torch.rand((), generator=draw) < 0.3]).T
    graph = data.Graph(n, edges, torch.ones(n, 1, dtype=torch.float64))
    p = torch.randperm(n, generator=draw)
    for encode in (parts.canonical, parts.projected):
        one, other = encode([graph, graph.moved(p)])
        torch.testing.assert_close(other.x[p], one.x, rtol=0, atol=1e-6)
    whole, signed = parts.solved([graph])[0].x, parts.flipped(parts.solved([graph]), draw)[0].x
    assert torch.equal(whole.abs(), signed.abs())
    assert not torch.equal(whole, signed)


def test_places_as_features_are_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, data = loaded("_graphs_folds", monkeypatch), sys.modules["_graphs_data"]
    torch.manual_seed(0)
    model = parts.GIN(1, 2, width=8, depth=2, positions=9).double().eval()
    frame = symmetrize(lambda batch: model(batch | {"place": data.places(batch)}), parts.CLAIM, CanonicalOrder())
    graphs = graphs_of(data)
    for some in (graphs, data.relabelled(graphs, torch.Generator().manual_seed(0))):
        told = model(data.batch_of(parts.in_order(some)))
        torch.testing.assert_close(frame(data.batch_of(some)), told, rtol=1e-12, atol=1e-12)
        given = model(data.batch_of(some) | {"place": data.places(data.batch_of(some))})
        assert (given - told).abs().max() > 1e-3


def test_parts_without_a_run_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = loaded("_graphs", monkeypatch)
    assert parts.page(tmp_path) == parts.HEAD
