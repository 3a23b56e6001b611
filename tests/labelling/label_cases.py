"""Graphs for the laws of labellings: drawn ones, a zoo, and what they should be by another way."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import networkx as nx
import torch
from hypothesis import strategies as st

from canonize.labelling import Graphs, Labelling, relabelled
from canonize.labelling.run import _label

# How a graph can be labelled: whole by the engine; refined, with the engine for what is left; refined and searched.
WAYS = {"engine": (128, 128), "refined": (0, 128), "searched": (0, 0)}


def by(way: str, graphs: Graphs, limit: float | None = 60.0) -> Labelling:
    return _label(graphs, limit, *WAYS[way])


def packed(n, edges, colours=None, labels=None, *, directed=False) -> Graphs:
    pairs = torch.tensor(list(edges), dtype=torch.int64).reshape(-1, 2).T.contiguous()
    whole = [None if each is None else torch.tensor(each, dtype=torch.int64) for each in (colours, labels)]
    return Graphs(torch.tensor([n]), pairs, *whole, directed)


def copied(graphs: Graphs, seed: int) -> Graphs:
    """The same graphs with other numbers for their nodes, edges in another order and, undirected, the other way round."""
    draw = torch.Generator().manual_seed(seed)
    new = torch.cat(
        [start + torch.randperm(int(n), generator=draw) for start, n in zip(graphs.starts, graphs.sizes, strict=True)]
        or [torch.zeros(0, dtype=torch.int64)]
    )
    order = torch.randperm(graphs.edges.shape[1], generator=draw)
    edges = new[graphs.edges][:, order]
    if not graphs.directed and int(torch.randint(2, (), generator=draw)):
        edges = edges.flip(0)
    colours = None if graphs.colours is None else graphs.colours[new.argsort()]
    labels = None if graphs.labels is None else graphs.labels[order]
    return Graphs(graphs.sizes, edges, colours, labels, graphs.directed)


def form(graphs: Graphs, labelling: Labelling) -> tuple:
    moved = relabelled(graphs, labelling)
    return tuple(None if each is None else each.tolist() for each in (moved.edges, moved.colours, moved.labels))


def network(graphs: Graphs) -> nx.DiGraph:
    """One graph for networkx: parallel edges as one with a multiset of labels, counted as the documentation says."""
    found = nx.DiGraph()
    colours = graphs.colours.tolist() if graphs.colours is not None else [0] * int(graphs.sizes.sum())
    found.add_nodes_from((node, {"colour": colour}) for node, colour in enumerate(colours))
    labels = graphs.labels.tolist() if graphs.labels is not None else [0] * graphs.edges.shape[1]
    there: dict[tuple[int, int], Counter] = {}
    for (u, v), label in zip(graphs.edges.T.tolist(), labels, strict=True):
        there.setdefault((u, v), Counter())[label] += 1
    if not graphs.directed:
        there = {
            (u, v): there.get((u, v), Counter()) | there.get((v, u), Counter())
            for a, b in there
            for u, v in ((a, b), (b, a))
        }
    for (u, v), count in there.items():
        found.add_edge(u, v, label=tuple(sorted(count if graphs.labels is None else count.elements())))
    return found


def isomorphic(one: Graphs, other: Graphs) -> bool:
    match = nx.algorithms.isomorphism.categorical_node_match("colour", None)
    edges = nx.algorithms.isomorphism.categorical_edge_match("label", None)
    return nx.is_isomorphic(network(one), network(other), node_match=match, edge_match=edges)


def automorphisms(graphs: Graphs) -> list[tuple[int, ...]]:
    """All of them, by trying every permutation."""
    known = network(graphs)
    colours = [known.nodes[node]["colour"] for node in sorted(known)]
    edges = {(u, v): data["label"] for u, v, data in known.edges(data=True)}
    return [
        p
        for p in itertools.permutations(range(len(colours)))
        if all(colours[i] == colours[p[i]] for i in range(len(p)))
        and all(edges.get((p[u], p[v])) == label for (u, v), label in edges.items())
    ]


@st.composite
def graphs(draw, most: int = 12) -> Graphs:
    """Coloured graphs with loops, parallel edges and labels, directed or not."""
    n = draw(st.integers(1, most))
    node = st.integers(0, n - 1)
    edges = draw(st.lists(st.tuples(node, node), max_size=2 * n + 2))
    colours = draw(st.none() | st.lists(st.integers(-1, 1), min_size=n, max_size=n))
    labels = draw(st.none() | st.lists(st.sampled_from([-7, 2, 3]), min_size=len(edges), max_size=len(edges)))
    return packed(n, edges, colours, labels, directed=draw(st.booleans()))


def changed(graphs: Graphs, seed: int) -> Graphs:
    """A copy in which one edge ends elsewhere, or one colour or label is another: often not the same graph, and close."""
    draw, edges = random.Random(seed), graphs.edges.clone()
    colours, labels = (None if each is None else each.clone() for each in (graphs.colours, graphs.labels))
    what = draw.choice(["edge", "colour", "label", "nothing"])
    if what == "edge" and edges.shape[1]:
        edges[draw.randrange(2), draw.randrange(edges.shape[1])] = draw.randrange(int(graphs.sizes[0]))
    if what == "colour" and colours is not None:
        colours[draw.randrange(len(colours))] = draw.choice([-1, 0, 1])
    if what == "label" and labels is not None and len(labels):
        labels[draw.randrange(len(labels))] = draw.choice([-7, 2, 3])
    return copied(Graphs(graphs.sizes, edges, colours, labels, graphs.directed), seed)


def _numbered(graph: nx.Graph) -> Graphs:
    graph = nx.convert_node_labels_to_integers(graph)
    return packed(graph.number_of_nodes(), graph.edges(), directed=graph.is_directed())


def cfi(base: nx.Graph, *, twisted: bool) -> Graphs:
    """The graph of Cai, Furer and Immerman (10.1007/BF01305232) on a base: refinement cannot tell it from its twin."""
    number: dict[tuple, int] = {}
    edges = []
    for v in base:
        around = list(base[v])
        for size in range(0, len(around) + 1, 2):
            for some in itertools.combinations(around, size):
                inner = number.setdefault(("inner", v, some), len(number))
                edges += [(inner, number.setdefault(("end", v, w, w in some), len(number))) for w in around]
    for place, (u, v) in enumerate(base.edges()):
        for side in (False, True):
            cross = twisted and place == 0
            edges.append((number["end", u, v, side], number["end", v, u, side != cross]))
    return packed(len(number), edges, [int(kind[0] == "end") for kind in number])


def srg(kind: str) -> nx.Graph:
    """The two strongly regular graphs with parameters (16, 6, 2, 2): the rook's and Shrikhande's."""
    steps = [(1, 0), (0, 1), (1, 1)] if kind == "shrikhande" else [(a, b) for a in range(1, 4) for b in (0,)]
    steps = steps if kind == "shrikhande" else steps + [(0, b) for b in range(1, 4)]
    cells = list(itertools.product(range(4), repeat=2))
    return nx.Graph(((a, b), ((a + s) % 4, (b + t) % 4)) for a, b in cells for s, t in steps)


def zoo() -> dict[str, Graphs]:
    """Graphs with many automorphisms, or that refinement does not understand."""
    tree = nx.Graph([(0, 1), (0, 2), (1, 3), (1, 4), (2, 5), (2, 6), (0, 7), (7, 8), (7, 9), (7, 10)])
    found: dict[str, nx.Graph] = {
        "star": nx.star_graph(9),
        "cube 4": nx.hypercube_graph(4),
        "petersen": nx.petersen_graph(),
        "three rings": nx.disjoint_union_all([nx.cycle_graph(3), nx.cycle_graph(5), nx.cycle_graph(5)]),
        "ring of six": nx.cycle_graph(6),
        "two rings of three": nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3)),
        "both": nx.disjoint_union_all([nx.cycle_graph(6), nx.cycle_graph(3), nx.cycle_graph(3)]),
        "bipartite": nx.complete_bipartite_graph(3, 5),
        "cocktail party": nx.complete_multipartite_graph(2, 2, 2, 2),
        "complete": nx.complete_graph(6),
        "twins": tree,
        "binary tree": nx.balanced_tree(2, 4),
        "grid": nx.grid_2d_graph(4, 5),
        "torus": nx.grid_2d_graph(4, 5, periodic=True),
        "rook": srg("rook"),
        "shrikhande": srg("shrikhande"),
        "csl 2": nx.circulant_graph(41, [1, 2]),
        "csl 9": nx.circulant_graph(41, [1, 9]),
        "directed ring": nx.cycle_graph(7, create_using=nx.DiGraph),
        "directed path": nx.path_graph(3, create_using=nx.DiGraph),
        "tournament": nx.DiGraph((i, (i + s) % 7) for i in range(7) for s in (1, 2, 4)),
        "cubic": nx.random_regular_graph(3, 40, seed=1),
        "molecules": nx.disjoint_union_all([nx.cycle_graph(6)] * 3 + [nx.path_graph(4)] * 2),
    }
    zoo = {name: _numbered(graph) for name, graph in found.items()}
    base = nx.complete_graph(4)
    return zoo | {
        "cfi": cfi(base, twisted=False),
        "cfi twisted": cfi(base, twisted=True),
        "no edges": packed(5, []),
        "one node": packed(1, []),
        "loops": packed(4, [(0, 0), (2, 2), (0, 1), (2, 3)]),
        "double bond": packed(4, [(0, 1), (1, 2), (1, 2), (2, 3)], labels=[1, 1, 1, 1]),
    }
