"""What cannot be labelled is refused, with what to do instead."""

import sys
import time

import networkx as nx
import pytest
import torch
from label_cases import _numbered, cfi, packed

from canonize import SymmetryError
from canonize.labelling import Graphs, cores, label, pair_orbits, timed

TWO = torch.tensor([2, 3])
EDGES = torch.tensor([[0, 2], [1, 4]])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((TWO.float(), EDGES), "sizes of graphs are whole numbers"),
        (([2, 3], EDGES), "sizes of graphs are whole numbers"),
        ((TWO[None], EDGES), r"int64 tensor \(graphs,\)"),
        ((TWO, EDGES.float()), "edges of graphs are whole numbers"),
        ((TWO, EDGES[0]), r"edges(.|\n)*\(2, m\)"),
        ((torch.tensor([2, -1]), EDGES[:, :0]), "-1 nodes in graph 1"),
        ((TWO, torch.tensor([[0], [5]])), "node 5(.|\n)*from 0 to 4"),
        ((TWO, torch.tensor([[0], [-1]])), "node -1(.|\n)*padding"),
        ((TWO, torch.tensor([[0, 1], [1, 2]])), r"edge 1, \(1, 2\), of graphs \[0, 1\]"),
        ((TWO, EDGES, torch.zeros(4, dtype=torch.int64)), "colours of the wrong length(.|\n)*4 colours(.|\n)*5"),
        ((TWO, EDGES, torch.zeros(5)), "colours of graphs are whole numbers(.|\n)*ranks"),
        ((TWO, EDGES, None, torch.zeros(3, dtype=torch.int64)), "labels of the wrong length(.|\n)*one for each edge"),
        ((TWO, EDGES, None, torch.full((2,), float("nan"))), "labels of graphs are whole numbers"),
    ],
)
def test_wrong_graphs(inputs, message):
    with pytest.raises(SymmetryError, match=message):
        Graphs(*inputs)


def test_a_missing_engine_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "canonaut", None)
    with pytest.raises(SymmetryError, match=r"pip install canonize\[graphs\]"):
        label(packed(2, [(0, 1)]))


@pytest.mark.parametrize("limit", [0, -1.0, float("nan")])
def test_a_limit_is_positive(limit):
    with pytest.raises(SymmetryError, match="positive limit"):
        label(packed(2, [(0, 1)]), limit=limit)


def test_numbers_of_graphs_and_generators():
    found = label(packed(2, [(0, 1)]))
    for graph in (-1, 1):
        with pytest.raises(SymmetryError, match="from 0 to 0"):
            found.generators(graph)
    with pytest.raises(SymmetryError, match=r"int64 tensor \(count, 3\)"):
        pair_orbits(found.generators(0), 3)


def hard(kind="cfi"):
    if kind == "torus":
        return _numbered(nx.grid_2d_graph(40, 40, periodic=True))
    return cfi(nx.random_regular_graph(3, 60, seed=3), twisted=False)


def second(graph):
    """The graph as the second of a batch."""
    colours = None if graph.colours is None else torch.cat([torch.zeros(3, dtype=torch.int64), graph.colours])
    return Graphs(torch.cat([torch.tensor([3]), graph.sizes]), graph.edges + 3, colours)


@pytest.mark.parametrize("kind", ["cfi", "torus"])
def test_the_time_limit_ends_what_takes_long(kind):
    begun = time.perf_counter()
    with pytest.raises(SymmetryError, match=r"graph 1 was not labelled within the time limit") as refused:
        label(second(hard(kind)), limit=0.01)
    assert time.perf_counter() - begun < 30
    for word in (
        "0.01 seconds",
        "nodes that colour refinement cannot tell apart",
        "raise limit=",
        "colours",
        "Sorted()",
    ):
        assert word in str(refused.value)


def test_a_process_that_dies_is_told(monkeypatch, tmp_path):
    program = tmp_path / "timed.py"
    (tmp_path / "worker.py").write_text("raise SystemExit(1)")
    monkeypatch.setattr(timed, "__file__", str(program))
    with pytest.raises(SymmetryError, match="ended without an answer on graph 1"):
        label(second(hard()))


def test_one_process_a_call_and_none_without_a_limit(monkeypatch):
    started, popen = [], timed.subprocess.Popen

    def counted(*inputs, **options):
        started.append(popen(*inputs, **options))
        return started[-1]

    monkeypatch.setattr(timed.subprocess, "Popen", counted)
    one = cfi(nx.circular_ladder_graph(10), twisted=False)
    n = int(one.sizes[0])
    both = Graphs(torch.tensor([n, n]), torch.cat([one.edges, one.edges + n], 1), one.colours.repeat(2))
    assert torch.equal(label(both).order, label(both, limit=None).order)
    assert len(started) == 1
    assert started[0].poll() is not None
    label(packed(4, [(0, 1)]))
    assert len(started) == 1


def test_pieces_too_large_for_the_engine(monkeypatch):
    monkeypatch.setattr(timed, "MOST", 200)
    monkeypatch.setattr(cores, "_LARGE", 10_000)
    monkeypatch.setattr(cores, "_FEW", 1)
    for limit in (60.0, None):
        with pytest.raises(SymmetryError, match=r"graph 1 is too large for exact labelling(.|\n)*at most 200 nodes"):
            label(second(hard()), limit=limit)
