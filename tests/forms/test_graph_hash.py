"""Graphs: equal hashes for isomorphic ones with their features, and for these only."""

from __future__ import annotations

import copy
import os
import pickle
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from form_cases import drawn, relabelled

from canonize import Graph, S, SymmetryError, canonical_hash, canonical_hashes, duplicates
from canonize.forms import graph as forms

pytest.importorskip("canonaut", reason="canonaut is not installed")
networkx = pytest.importorskip("networkx", reason="networkx is not installed")


def as_digraph(graph: Graph) -> Any:
    """As networkx compares it: both directions, each with the multiset of its labels."""
    made = networkx.DiGraph()
    made.add_nodes_from((place, {"kind": (type(part).__name__, part)}) for place, part in enumerate(graph.nodes))
    arcs: dict[tuple[int, int], list[float]] = {}
    for (u, v), label in zip(graph.edges.T.tolist(), graph.labels, strict=True):
        for pair in {(u, v)} if graph.directed else {(u, v), (v, u)}:
            arcs.setdefault(pair, []).append(label)
    made.add_edges_from((u, v, {"labels": sorted(labels)}) for (u, v), labels in arcs.items())
    return made


def same(one: Any, other: Any) -> bool:
    found: bool = networkx.is_isomorphic(one, other, node_match=lambda a, b: a == b, edge_match=lambda a, b: a == b)
    return found


def test_hashes_agree_with_isomorphism() -> None:
    rng = random.Random(0)
    graphs = [drawn(rng, most=4) for _ in range(150)]
    hashes = canonical_hashes(graphs, S())
    known = [as_digraph(graph) for graph in graphs]
    equal = 0
    for i in range(len(graphs)):
        for j in range(i):
            told = same(known[i], known[j])
            equal += told
            assert (hashes[i] == hashes[j]) is told, (graphs[i], graphs[j])
    assert equal > 20


def test_relabelled_copies_have_one_hash() -> None:
    rng = random.Random(1)
    graphs = [drawn(rng, most=12) for _ in range(150)]
    hashes = canonical_hashes(graphs, S())
    assert canonical_hashes([relabelled(graph, rng) for graph in graphs], S()) == hashes
    assert len(set(hashes)) > 100


@pytest.mark.parametrize("fault", ["label", "orders"])
def test_planted_faults_are_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels of edges that are dropped, and orders that are not canonical."""
    rng = random.Random(2)
    graphs = [drawn(rng, most=5) for _ in range(60)]
    if fault == "orders":
        monkeypatch.setattr(forms, "_orders", lambda parts, *_: [list(range(part.n)) for part in parts])
        copies = [relabelled(graph, rng) for graph in graphs]
        assert canonical_hashes(copies, S()) != canonical_hashes(graphs, S())
    else:
        plain = [Graph(graph.edges, graph.nodes, None, graph.count, graph.directed) for graph in graphs]
        known = [as_digraph(graph) for graph in graphs]
        hashes = canonical_hashes(plain, S())
        assert any((hashes[i] == hashes[j]) is not same(known[i], known[j]) for i in range(60) for j in range(i))


def large(rng: random.Random, n: int = 200) -> Graph:
    """Too large for the engine as it is, without kinds and labels that would tell its nodes apart at once."""
    edges = torch.tensor([sorted((rng.randrange(n), rng.randrange(n))) for _ in range(n)]).T
    return Graph(edges, [0] * n, [0] * n, n, rng.random() < 0.5)


def test_a_graph_has_the_same_hash_alone_and_in_a_batch() -> None:
    rng = random.Random(3)
    graphs = [large(rng), drawn(rng), large(rng), drawn(rng, most=12), Graph([[0], [1]])]
    alone = [canonical_hash(graph, S()) for graph in graphs]
    assert canonical_hashes(graphs * 3, S()) == alone * 3
    assert canonical_hashes([relabelled(graphs[0], rng) for _ in range(4)], S()) == alone[:1] * 4


def test_one_graph_in_several_forms() -> None:
    path = networkx.path_graph(3)
    square = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    fields = SimpleNamespace(edge_index=torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), num_nodes=3)
    forms = [
        path,
        Graph([[0, 1], [1, 2]]),
        Graph([[2, 0], [0, 1]]),
        Graph.dense(square),
        Graph.dense(square.bool()),
        fields,
    ]
    both = Graph([[0, 1, 1, 2], [1, 0, 2, 1]])
    assert len(set(canonical_hashes([*forms, both, Graph(both.edges, directed=True)], S()))) == 1
    assert canonical_hash(Graph([[0, 1], [1, 2]], directed=True), S()) != canonical_hash(path, S())
    assert canonical_hash(Graph([[0, 1], [1, 2]], count=4), S()) != canonical_hash(path, S())
    assert canonical_hash(Graph.dense(square * 2), S()) != canonical_hash(path, S())
    named = networkx.relabel_nodes(path, {0: "b", 1: "c", 2: "a"})
    assert canonical_hash(named, S(3)) == canonical_hash(path, S())


def test_fields_of_nodes_and_edges_count() -> None:
    edges = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.5]])
    weights = torch.tensor([1.0, 1.0, 2.0, 2.0])

    def of(**parts: Any) -> str:
        return canonical_hash(SimpleNamespace(edge_index=edges, num_nodes=3, **parts), S())

    assert of(x=x) != of()
    assert of(x=x, y=torch.tensor(3)) == of(x=x)
    assert of(x=x, edge_attr=weights) != of(x=x)
    turned = SimpleNamespace(edge_index=2 - edges, num_nodes=3, x=x.flip(0), edge_attr=weights)
    assert canonical_hash(turned, S()) == of(x=x, edge_attr=weights)
    assert of(x=x.double()) == of(x=x)
    assert of(x=x.long()) != of(x=x.long().float())


def test_parallel_edges_count_as_a_multiset() -> None:
    one, two, other = ([1, 2, 1], [2, 1, 1], [1, 2, 2])
    hashes = [canonical_hash(Graph([[0, 0, 0], [1, 1, 1]], labels=labels), S()) for labels in (one, two, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_tolerance_rounds_features() -> None:
    def of(value: float, tolerance: float | None) -> str:
        return canonical_hash(Graph([[0], [1]], nodes=[value, 1.0]), S(), tolerance=tolerance)

    assert of(0.3, 0.1) == of(0.1 + 0.2, 0.1)
    assert of(0.3, None) != of(0.1 + 0.2, None)
    assert of(0.0, None) == of(-0.0, None)
    assert of(0.3, 0.1) != of(0.4, 0.1)


def test_rows_in_any_order() -> None:
    x = torch.randn(5, 2, 3)
    assert canonical_hash(x, S()) == canonical_hash(x[torch.randperm(5)], S(5))
    assert canonical_hash(x, S()) != canonical_hash(x[:, [1, 0]], S())
    assert canonical_hash(x[[0, 0, 1]], S()) != canonical_hash(x[[0, 1, 1]], S())


def test_duplicates_of_graphs() -> None:
    rng = random.Random(5)
    graphs = [networkx.cycle_graph(6), networkx.path_graph(6), networkx.star_graph(5)]
    copies = [networkx.relabel_nodes(graphs[0], dict(enumerate(rng.sample(range(6), 6)))), graphs[2]]
    assert duplicates([*graphs, *copies], S()) == [[0, 3], [2, 4]]
    assert duplicates([], S()) == []


def test_a_graph_is_a_plain_value() -> None:
    graph = Graph(torch.tensor([[0], [1]]), nodes=["a", "b"])
    for other in (copy.deepcopy(graph), pickle.loads(pickle.dumps(graph))):
        assert canonical_hash(other, S()) == canonical_hash(graph, S())


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (Graph([[0], [5]], count=3), "an edge ends at a node that is not there"),
        (Graph([[-1], [1]]), "an edge ends at a node that is not there"),
        (Graph([[0.0], [1.0]]), "edges are two rows of numbers of nodes"),
        (Graph([[0, 1, 2]]), "edges are two rows of numbers of nodes"),
        (Graph([[0], [1]], nodes=[1]), "an edge ends at a node that is not there"),
        (Graph([[0], [1]], nodes=[1], count=2), "features of nodes do not fit the nodes"),
        (Graph([[0], [1]], labels=[1, 2]), "labels of edges do not fit the edges"),
        (Graph([[0, 1], [1, 0]], labels=[1, 2]), "an undirected edge has different labels"),
        (Graph([[0], [1]], nodes=[1.0, float("nan")]), "not-a-number has no canonical form"),
        (Graph([[0], [1]], nodes=[1, object()]), "a feature of this kind has no canonical form"),
        (SimpleNamespace(edge_index=torch.tensor([[0], [1]]), num_nodes=2, batch=torch.tensor([0, 1])), "this is a batch"),
        ("CCO", "there is no canonical form of this value under this group"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(value: Any, what: str) -> None:
    with pytest.raises(SymmetryError, match=f"^{what}"):
        canonical_hash(value, S())
    with pytest.raises(SymmetryError, match=r"^an adjacency matrix is square"):
        Graph.dense(torch.zeros(2, 3))
    with pytest.raises(SymmetryError, match=r"^the graph has another size"):
        canonical_hash(Graph([[0], [1]], count=2), S(3))
    with pytest.raises(SymmetryError, match=r"^not-a-number"):
        canonical_hash(Graph.dense(torch.tensor([[0.0, torch.nan], [torch.nan, 0.0]])), S())


@pytest.mark.skipif("CANONIZE_DATA" not in os.environ, reason="CANONIZE_DATA does not say where the data are")
def test_all_connected_graphs_of_eight_nodes_differ() -> None:
    lines = (Path(os.environ["CANONIZE_DATA"]) / "graphs" / "graph8c.g6").read_bytes().split()
    graphs = [networkx.from_graph6_bytes(line) for line in lines]
    hashes = canonical_hashes(graphs, S())
    assert len(set(hashes)) == len(graphs) == 11_117
    rng = random.Random(0)
    turned = [networkx.relabel_nodes(graph, dict(enumerate(rng.sample(range(8), 8)))) for graph in graphs]
    assert canonical_hashes(turned, S()) == hashes
