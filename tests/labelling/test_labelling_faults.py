"""Faults planted in the labelling: the laws see each of them."""

import torch
from label_cases import WAYS, by, copied, form, packed, zoo

from canonize.labelling import Graphs, cores, edge_orbits, engine, orbits, parts, refined, run, simple

LABELLED = packed(6, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)], labels=[9, 1, 9, 1, 1, 9])
COLOURED = packed(5, [(0, 1), (1, 2), (2, 3), (3, 4)], [7, 7, 3, 7, 7])
KNOWN = zoo() | {"labelled": LABELLED, "coloured": COLOURED}


def broken(way, names):
    """Which laws fail on these graphs: one form for all copies, colours in order, the orbits that another way finds."""
    found = set()
    for name in names:
        graph = KNOWN[name]
        own = by(way, graph)
        for seed in range(8):
            other = copied(graph, seed)
            if form(other, by(way, other)) != form(graph, own):
                found.add("copies")
        if graph.colours is not None and not torch.equal(graph.colours[own.order], graph.colours.sort().values):
            found.add("colours")
        if len(own.orbits.unique()) != ORBITS[name]:
            found.add("orbits")
    return found


ORBITS = {name: len(by("engine", graph).orbits.unique()) for name, graph in KNOWN.items()}


def test_nothing_is_found_where_nothing_is_wrong():
    assert not any(broken(way, KNOWN) for way in WAYS)


def test_dropped_labels(monkeypatch):
    monkeypatch.setattr(run, "simple", lambda graphs: simple.simple(graphs)._replace(kind=None))
    for way in WAYS:
        assert {"copies", "orbits"} <= broken(way, ["labelled"])


def test_colours_ranked_by_first_appearance(monkeypatch):
    def first(values):
        known = {}
        return torch.tensor([known.setdefault(value, len(known)) for value in values.tolist()])

    monkeypatch.setattr(simple, "ranks", first)
    for way in WAYS:
        assert {"copies", "colours"} <= broken(way, ["coloured"])


def test_pieces_in_the_order_of_the_input(monkeypatch):
    monkeypatch.setattr(parts, "_forms", lambda arcs, cells, level, place, *, directed: level.piece)
    assert {"copies", "orbits"} <= broken("refined", ["three rings", "molecules", "both"])


def test_forgotten_exchanges(monkeypatch):
    monkeypatch.setattr(parts, "_swaps", lambda *inputs: torch.zeros((3, 0), dtype=torch.int64))
    assert "orbits" in broken("refined", ["star", "twins", "molecules"])


def test_arcs_dropped_that_tell_something(monkeypatch):
    monkeypatch.setattr(parts, "_telling", lambda arcs, group, size, some: some[:0])
    assert "copies" in broken("refined", ["grid", "petersen", "twins"])


def test_a_search_that_takes_the_first_leaf(monkeypatch):
    search = cores.searched

    def hasty(arcs, cells, *, directed, solve, tick):
        class Enough(Exception):
            pass

        found = []

        def once(finer):
            if found:
                raise Enough
            found.append(solve(finer))
            return found[0]

        try:
            return search(arcs, cells, directed=directed, solve=once, tick=tick)
        except Enough:
            return found[0]

    monkeypatch.setattr(cores, "searched", hasty)
    assert broken("searched", ["cubic", "both", "cfi"])


def test_what_the_engine_says_of_directed_graphs(monkeypatch):
    """The reason why no directed graph is handed to it; if this fails, it has been mended."""
    call = engine.canonaut()
    found = call(3, [(0, 1), (1, 2)], directed=True, generators=True)
    edges = {(0, 1), (1, 2)}
    assert any({(image[u], image[v]) for u, v in edges} != edges for image in found.generators)


def test_places_in_the_batch_that_enter_the_order(monkeypatch):
    arcs = refined.arcs_of
    monkeypatch.setattr(refined, "arcs_of", lambda base, *inputs, **more: arcs(torch.zeros_like(base), *inputs, **more))
    assert not all(alike(name) for name in ("twins", "grid", "cubic", "binary tree", "molecules"))


def alike(name):
    """Whether a graph's form is the same alone and in a batch, after another graph."""
    graph, before = KNOWN[name], KNOWN["petersen"]
    n, shift = int(graph.sizes[0]), int(before.sizes[0])
    batch = Graphs(torch.cat([before.sizes, graph.sizes]), torch.cat([before.edges, graph.edges + shift], 1))
    order = by("refined", batch).order[shift:] - shift
    own, fixed = by("refined", graph), Graphs(graph.sizes, graph.edges[:, :0], torch.arange(n))
    place = order.argsort()
    moved = Graphs(graph.sizes, place[graph.edges])
    return form(moved, by("engine", fixed))[0] == form(graph, own)[0]


def test_forms_in_a_batch_are_those_alone():
    assert all(alike(name) for name in ("twins", "grid", "cubic", "binary tree", "molecules"))


def test_edges_carried_by_their_tails_alone(monkeypatch):
    both = zoo()["bipartite"]
    carried = orbits._carried

    def tails(generator, node, image, tail, head):
        one, (moved, _) = carried(generator, node, image, tail, head)
        return one, (moved, head[one])

    right = edge_orbits(both, by("engine", both))
    monkeypatch.setattr(orbits, "_carried", tails)
    assert not torch.equal(edge_orbits(both, by("engine", both)), right)
