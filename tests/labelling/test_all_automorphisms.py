"""Every automorphism is found, also where the engine, which is right about forms, tells of some only."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
from networkx.generators.atlas import graph_atlas

from canonize.labelling import Graphs, engine, label, pair_orbits
from canonize.labelling import complete as module

# Graphs of seven nodes on which canonaut 1.0.0 tells of more or fewer automorphisms as the nodes are numbered.
HARD = [354, 1171]
# One of eight nodes, where colour refinement does not help.
CUBIC = [(2, 1), (3, 0), (3, 1), (4, 2), (5, 0), (5, 4), (6, 0), (6, 4), (6, 5), (7, 1), (7, 2), (7, 3)]
Edges = list[tuple[int, int]]


def automorphisms(n: int, edges: Edges, colours: list[int]) -> set[tuple[int, ...]]:
    both = set(edges) | {(b, a) for a, b in edges}
    return {
        p
        for p in itertools.permutations(range(n))
        if all(colours[p[i]] == colours[i] for i in range(n)) and all((p[a], p[b]) in both for a, b in edges)
    }


def closure(generators: list[list[int]], n: int) -> set[tuple[int, ...]]:
    found = {tuple(range(n))}
    front = list(found)
    while front:
        products = {tuple(g[i] for i in h) for h in front for g in generators}
        front = [p for p in products if p not in found]
        found |= products
    return found


def numbered(edges: Edges, n: int, seed: int) -> tuple[list[int], Edges]:
    p = list(range(n))
    random.Random(seed).shuffle(p)
    return p, [(p[a], p[b]) for a, b in edges]


def packed(n: int, edges: Edges, colours: list[int]) -> Graphs:
    return Graphs(torch.tensor([n]), torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).T, torch.tensor(colours))


@pytest.mark.parametrize("few", [0, 8], ids=["refined", "asked"])
@pytest.mark.parametrize("number", HARD)
def test_hard_graphs(number: int, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FEW", few)
    graph = graph_atlas(number)
    n, edges = graph.number_of_nodes(), list(graph.edges)
    count = len(automorphisms(n, edges, [0] * n))
    shapes = set()
    for seed in range(20):
        p, moved = numbered(edges, n, seed)
        found = label(packed(n, moved, [0] * n))
        generators = found.generators(0)
        assert len(closure(generators.tolist(), n)) == count
        pairs = pair_orbits(generators, n)
        shapes.add(
            tuple(
                (pairs[p[i], p[j]] == pairs[p[k], p[m]]).item() for i, j, k, m in itertools.product(range(3), repeat=4)
            )
        )
    assert len(shapes) == 1


@pytest.mark.parametrize("few", [0, 8], ids=["refined", "asked"])
def test_coloured_graphs_of_the_atlas(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FEW", few)
    draw = random.Random(few)
    for number in range(1, 209, 3):
        graph = graph_atlas(number)
        n, edges = graph.number_of_nodes(), list(graph.edges)
        colours = [draw.randrange(2) for _ in range(n)] if number % 2 else [0] * n
        generators = label(packed(n, edges, colours)).generators(0).tolist()
        assert closure(generators, n) == automorphisms(n, edges, colours), number


def test_hard_graph_that_refinement_leaves_whole() -> None:
    count = len(automorphisms(8, CUBIC, [0] * 8))
    for seed in range(20):
        _, moved = numbered(CUBIC, 8, seed)
        assert len(closure(label(packed(8, moved, [0] * 8)).generators(0).tolist(), 8)) == count


def test_what_the_engine_alone_tells_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "complete", lambda call, own, pairs, colours, cells, known: [list(g) for g in known])
    count = len(automorphisms(8, CUBIC, [0] * 8))
    sizes = set()
    for seed in range(40):
        _, moved = numbered(CUBIC, 8, seed)
        sizes.add(len(closure(label(packed(8, moved, [0] * 8)).generators(0).tolist(), 8)))
    if sizes == {count}:
        pytest.skip("this version of canonaut tells of all automorphisms of the graph that 1.0.0 fails on")
    assert len(sizes) > 1


def test_cells_hold_orbits_together() -> None:
    graph = graph_atlas(1171)
    edges = torch.tensor(list(graph.edges)).T
    cells = module.hashed(torch.tensor([7, 7]), torch.zeros(14, dtype=torch.int64), *torch.cat([edges, edges + 7], 1))
    assert not set(cells[:7].tolist()) & set(cells[7:].tolist())
    orbits = label(packed(7, list(graph.edges), [0] * 7)).orbits.tolist()
    for a, b in itertools.combinations(range(7), 2):
        assert orbits[a] != orbits[b] or cells[a] == cells[b]
