"""Symmetric graphs, graphs that refinement does not understand, and large ones."""

import copy
import dataclasses
import pickle
import time

import networkx as nx
import pytest
import torch
from label_cases import WAYS, _numbered, by, cfi, copied, form, isomorphic, packed, zoo

from canonize.labelling import Graphs, cores, edge_orbits, label, pair_orbits, relabelled

ZOO = zoo()


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("way", WAYS)
def test_copies_have_one_form_and_orbits_agree(way, name):
    graph = ZOO[name]
    found, plain = by(way, graph), by("engine", graph)
    for seed in range(5):
        other = copied(graph, seed)
        assert form(other, by(way, other)) == form(graph, found)
    n = int(graph.sizes[0])
    assert torch.equal(found.orbits, plain.orbits)
    assert torch.equal(pair_orbits(found.generators(0), n), pair_orbits(plain.generators(0), n))
    assert torch.equal(edge_orbits(graph, found), edge_orbits(graph, plain))


@pytest.mark.parametrize("way", WAYS)
def test_different_graphs_have_different_forms(way):
    forms = {}
    for name, graph in ZOO.items():
        forms.setdefault(str((int(graph.sizes[0]), graph.directed, form(graph, by(way, graph)))), []).append(name)
    assert all(len(names) == 1 for names in forms.values()), forms


@pytest.mark.parametrize("name", ["petersen", "rook", "shrikhande", "cfi", "csl 2", "cubic", "both"])
def test_forms_agree_with_networkx(name):
    graph = ZOO[name]
    for other_name in ("petersen", "rook", "shrikhande", "cfi", "cfi twisted", "csl 9", "both"):
        other = ZOO[other_name]
        if graph.sizes.equal(other.sizes) and other_name != name:
            assert not isomorphic(graph, other)
            assert form(graph, label(graph)) != form(other, label(other))


@pytest.mark.parametrize("name", ["cubic", "torus", "both", "csl 9", "cfi"])
def test_short_cycles_split_what_refinement_leaves(name, monkeypatch):
    """With wide cells only: balls first, then the engine or the search."""
    monkeypatch.setattr(cores, "_FEW", 1)
    for large in (0, 1000):
        monkeypatch.setattr(cores, "_LARGE", large)
        graph = ZOO[name]
        found = by("searched", graph)
        assert torch.equal(found.orbits, by("engine", graph).orbits)
        for seed in range(3):
            other = copied(graph, seed)
            assert form(other, by("searched", other)) == form(graph, found)


def _line(n, step=1):
    return torch.stack([torch.arange(n - step), torch.arange(step, n)])


def large():
    draw = torch.Generator().manual_seed(0)
    n = 3000
    sparse = torch.randint(n, (2, 2 * n), generator=draw)
    parent = (torch.rand(n - 1, generator=draw) * torch.arange(1, n)).long()
    six = torch.arange(n // 6).repeat_interleave(6) * 6
    turn = torch.arange(6).repeat(n // 6)
    edges = {
        "sparse": sparse[:, sparse[0] != sparse[1]],
        "tree": torch.stack([torch.arange(1, n), parent]),
        "path": _line(n),
        "ring": torch.cat([_line(n), torch.tensor([[n - 1], [0]])], 1),
        "star": torch.stack([torch.zeros(n - 1, dtype=torch.int64), torch.arange(1, n)]),
        "benzenes": torch.stack([six + turn, six + (turn + 1) % 6]),
        "grid": _numbered(nx.grid_2d_graph(40, 75)).edges,
        "cubic": _numbered(nx.random_regular_graph(3, n, seed=0)).edges,
        "binary tree": torch.stack([torch.arange(1, n), (torch.arange(1, n) - 1) // 2]),
    }
    return {name: Graphs(torch.tensor([n]), each) for name, each in edges.items()}


LARGE = large()
ORBITS = {"path": 1500, "ring": 1, "star": 2, "benzenes": 1, "grid": 20 * 38, "cubic": 3000}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("directed", [False, True])
def test_large_graphs_have_one_form(name, directed):
    kinds = torch.Generator().manual_seed(1)
    graph = Graphs(LARGE[name].sizes, LARGE[name].edges, directed=directed)
    found, other = label(graph), copied(graph, 1)
    assert form(graph, found) == form(other, label(other))
    if name in ORBITS and not directed:
        assert len(found.orbits.unique()) == ORBITS[name]
    assert torch.equal(found.orbits, found.orbits[found.orbits])
    if name in ("sparse", "tree"):
        labels = torch.randint(3, (graph.edges.shape[1],), generator=kinds)
        graph = Graphs(graph.sizes, graph.edges, labels=labels, directed=directed)
        other = copied(graph, 2)
        assert form(graph, label(graph)) == form(other, label(other))


@pytest.mark.parametrize("name", ["tree", "benzenes", "star", "grid"])
def test_generators_of_large_graphs_are_automorphisms(name):
    graph = LARGE[name]
    found = label(graph)
    number, node, image = found.moves()
    n = int(graph.sizes[0])
    edges = {tuple(sorted(edge)) for edge in graph.edges.T.tolist()}
    for which in torch.randperm(int(number.max()) + 1)[:20].tolist():
        moved = torch.arange(n)
        moved[node[number == which]] = image[number == which]
        assert not torch.equal(moved, torch.arange(n))
        assert torch.equal(moved.sort().values, torch.arange(n))
        assert {tuple(sorted(edge)) for edge in moved[graph.edges].T.tolist()} == edges


def test_hard_graphs_and_their_twins_are_told_apart_in_the_process():
    base = nx.circular_ladder_graph(10)
    one, twin = cfi(base, twisted=False), cfi(base, twisted=True)
    assert int(one.sizes[0]) > 128
    assert form(one, label(one)) == form(copied(one, 1), label(copied(one, 1)))
    assert form(one, label(one)) != form(twin, label(twin))
    assert form(one, label(one)) == form(one, label(one, limit=None))


def test_labellings_pickle_copy_and_keep_what_they_say():
    graph = packed(5, [(0, 1), (0, 2), (0, 3), (3, 4)], labels=[1, 1, 2, 1])
    found = label(graph)
    for again in (copy.deepcopy(found), pickle.loads(pickle.dumps(found)), copy.copy(found)):
        assert torch.equal(again.order, found.order)
        assert torch.equal(again.orbits, found.orbits)
        assert torch.equal(again.generators(0), found.generators(0))
        assert torch.equal(again.moves(), found.moves())
    assert torch.equal(pickle.loads(pickle.dumps(graph)).edges, graph.edges)


def test_inputs_stay_as_they_are():
    graph = ZOO["both"]
    before = copy.deepcopy(graph)
    for way in WAYS:
        relabelled(graph, by(way, graph))
    assert torch.equal(before.edges, graph.edges)


def test_both_directions_and_repeats_are_one_edge():
    once = packed(4, [(0, 1), (1, 2), (3, 2)])
    twice = packed(4, [(0, 1), (1, 0), (2, 1), (1, 2), (3, 2), (2, 3), (2, 3)])
    assert form(once, label(once)) == form(twice, label(twice))
    labels = packed(4, [(0, 1), (1, 2), (3, 2)], labels=[5, 5, 6])
    both = packed(4, [(0, 1), (1, 2), (3, 2), (1, 0), (2, 1), (2, 3)], labels=[5, 5, 6, 5, 5, 6])
    double = packed(4, [(0, 1), (1, 2), (3, 2), (3, 2)], labels=[5, 5, 6, 6])
    assert form(labels, label(labels)) == form(both, label(both)) != form(double, label(double))


def test_a_path_of_many_nodes_takes_seconds():
    """Half as many rounds as nodes: each must cost what it touches, not what there is."""
    n = 20_000
    begun = time.process_time()
    found = label(Graphs(torch.tensor([n]), _line(n)))
    assert time.process_time() - begun < 20
    assert len(found.orbits.unique()) == n // 2


@pytest.mark.parametrize("names", [["path", "grid", "sparse"], ["sparse", "benzenes", "path", "tree", "ring"]])
def test_large_graphs_in_a_batch_are_as_they_are_alone(names):
    """What else is in the batch must enter neither an order nor the choice of how it is found."""
    several = [LARGE[name] for name in names]
    sizes = torch.cat([each.sizes for each in several])
    starts = (sizes.cumsum(0) - sizes).tolist()
    batch = Graphs(sizes, torch.cat([each.edges + start for each, start in zip(several, starts, strict=True)], 1))
    found = label(batch)
    for each, start in zip(several, starts, strict=True):
        n, own = int(each.sizes[0]), label(each)
        alone = dataclasses.replace(own, order=found.order[start : start + n] - start)
        assert form(each, alone) == form(each, own)
        assert torch.equal(found.orbits[start : start + n] - start, own.orbits)
