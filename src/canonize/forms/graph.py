"""Graphs with any features, and what is the same of all their relabelled copies."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any, final

import torch
from torch import Tensor

from canonize._tree import describe
from canonize.errors import refuse
from canonize.forms.digest import code, digest
from canonize.labelling import Graphs, label

NODE_FIELDS = ("x", "z", "pos")
EDGE_FIELDS = ("edge_attr", "edge_weight")


@final
@dataclass(frozen=True, eq=False)
class Graph:
    """One graph with anything at its nodes and edges, for `canonical_hash`.

    An undirected edge is the two directed edges between its ends, so that a directed graph with all edges in both directions
    is the undirected one. Of parallel edges the labels count as a multiset. Numbers, strings and tuples are compared as
    `canonical_hash` says.

    Args:
        edges: (2, m) whole numbers, the ends of each edge, from 0; loops are allowed. An undirected edge stands here once, or
            in both directions with the same labels.
        nodes: a feature of each node: a tensor (n, ...), or a sequence of n numbers, strings, tuples, ...; None for none.
        labels: a feature of each edge likewise, m of them.
        count: n, the number of nodes; needed where there are no features, and isolated nodes at the end.
        directed: whether an edge goes from edges[0] to edges[1] only.

    Raises:
        SymmetryError: ends that are no nodes, features that are not as many as nodes or edges, an undirected edge with
            different labels in its two directions.

    Example:
        >>> from canonize import Graph, S, canonical_hash
        >>> path = Graph([[0, 1], [1, 2]], nodes=["C", "C", "O"])
        >>> other = Graph([[2, 0], [0, 1]], nodes=["C", "O", "C"])
        >>> canonical_hash(path, S()) == canonical_hash(other, S())
        True
    """

    edges: Any
    nodes: Any = None
    labels: Any = None
    count: int | None = None
    directed: bool = False

    @classmethod
    def dense(cls, adjacency: Tensor, nodes: Any = None) -> Graph:
        """The graph of an adjacency matrix: an edge from i to j where entry (i, j) is not zero, with the entry as its label.

        A matrix of zeros and ones gives no labels.

        Args:
            adjacency: (n, n) or (n, n, features), any dtype.
            nodes: as for `Graph`.

        Raises:
            SymmetryError: a matrix that is not square.
        """
        if not isinstance(adjacency, Tensor) or adjacency.ndim < 2 or adjacency.shape[0] != adjacency.shape[1]:
            raise refuse(
                "an adjacency matrix is square",
                got=describe(adjacency),
                expected="a tensor (n, n), or (n, n, features)",
                fix="Graph(edges, ...) takes a list of edges",
            )
        n = adjacency.shape[0]
        # Not-a-number is not zero, so that it comes to `code`, which refuses it.
        there = (adjacency != 0).reshape(n, n, -1).any(-1)
        edges = there.nonzero().T
        entries = adjacency[edges[0], edges[1]]
        plain = adjacency.ndim == 2 and bool((entries == 1).all())
        return cls(edges, nodes, None if plain else entries, count=n, directed=True)


@dataclass(frozen=True)
class Plain:
    """A graph as the labelling takes it: ranks of features, each ordered pair of neighbours once (u <= v if undirected)."""

    n: int
    directed: bool
    kinds: tuple[bytes, ...]
    colours: list[int]
    labels: tuple[bytes, ...]
    edges: list[tuple[int, int]]
    ranks: list[int]


def is_graph_like(value: Any) -> bool:
    """Whether `as_graph` takes it: ours, one of networkx, one of PyG or an object with the same fields."""
    if isinstance(value, Graph) or (hasattr(value, "edge_index") and isinstance(value.edge_index, Tensor)):
        return True
    return not isinstance(value, Tensor) and all(callable(getattr(value, name, None)) for name in ("nodes", "edges"))


def as_graph(value: Any) -> Graph:
    """`value` as a `Graph`.

    Of a graph of networkx all attributes of nodes and edges count, not the nodes' names. Of one of PyG the fields x, z and
    pos at the nodes, edge_attr and edge_weight at the edges; others, such as targets, do not.

    Raises:
        SymmetryError: something else; a batch of several graphs.
    """
    if isinstance(value, Graph):
        return value
    if hasattr(value, "edge_index"):
        return _of_fields(value)
    places = {name: place for place, name in enumerate(value.nodes())}
    directed = bool(value.is_directed())
    nodes = [inner or None for _, inner in value.nodes(data=True)]
    ends, labels = [], []
    for u, v, inner in value.edges(data=True):
        one, two = places[u], places[v]
        # Parallel edges of an undirected graph stand in either direction; here they are not one edge told twice.
        ends.append((one, two) if directed or one <= two else (two, one))
        labels.append(inner or None)
    return Graph(torch.tensor(ends, dtype=torch.int64).reshape(-1, 2).T, nodes, labels, len(places), directed)


def _of_fields(value: Any) -> Graph:
    if getattr(value, "batch", None) is not None and int(value.batch.numel()) and int(value.batch.max()) > 0:
        raise refuse(
            "this is a batch of graphs",
            got=f"{int(value.batch.max()) + 1} graphs",
            expected="one graph",
            fix="canonical_hashes(batch.to_data_list(), S())",
        )
    n = int(value.num_nodes)
    at = [part for name in NODE_FIELDS if (part := getattr(value, name, None)) is not None]
    on = [part for name in EDGE_FIELDS if (part := getattr(value, name, None)) is not None]
    nodes = list(zip(*(_listed(part) for part in at), strict=True)) if at else None
    labels = list(zip(*(_listed(part) for part in on), strict=True)) if on else None
    return Graph(value.edge_index, nodes, labels, count=n, directed=True)


def _listed(features: Any) -> Sequence[Any]:
    listed: Sequence[Any] = features.detach().cpu().tolist() if isinstance(features, Tensor) else list(features)
    return listed


def plain(graph: Graph, tolerance: float | None) -> Plain:
    """The graph with its features replaced by their ranks.

    Raises:
        SymmetryError: as `Graph` and `code` say.
    """
    first, second = _ends(graph.edges)
    nodes = None if graph.nodes is None else _listed(graph.nodes)
    most = max(chain(first, second), default=-1) + 1
    n = graph.count if graph.count is not None else most if nodes is None else len(nodes)
    _fitting(graph, n, most, min(chain(first, second), default=0), nodes)
    labels = [b"n"] * len(first)
    if graph.labels is not None:
        labels = [code(part, tolerance) for part in _listed(graph.labels)]
        if len(labels) != len(first):
            raise refuse(
                "labels of edges do not fit the edges",
                got=f"{len(labels)} labels for {len(first)} edges",
                expected="one for each column of edges",
                fix="labels in the order of the edges, or None",
            )
    arcs: dict[tuple[int, int], list[bytes]] = {}
    for u, v, inner in zip(first, second, labels, strict=True):
        arcs.setdefault((u, v), []).append(inner)
    for parallel in arcs.values():
        parallel.sort()
    both, directed = _merged(arcs) if not graph.directed else (arcs, not _mutual(arcs))
    if graph.directed and not directed:
        both = {(u, v): inner for (u, v), inner in arcs.items() if u <= v}
    codes = [code(part, tolerance) for part in nodes] if nodes is not None else [b"n"] * n
    kinds, colours = _ranked(codes)
    told, ranks = _ranked([inner[0] if len(inner) == 1 else _several(inner) for inner in both.values()])
    return Plain(n, directed, kinds, colours, told, list(both), ranks)


def _ends(edges: Any) -> tuple[list[int], list[int]]:
    if not isinstance(edges, Tensor):
        try:
            edges = torch.as_tensor(edges)
        except (TypeError, ValueError, RuntimeError):
            edges = torch.zeros(1, dtype=torch.int64)
    if not edges.numel() and edges.ndim == 2:
        return [], []
    if edges.ndim != 2 or edges.shape[0] != 2 or edges.is_floating_point() or edges.dtype == torch.bool:
        raise refuse(
            "edges are two rows of numbers of nodes",
            got=describe(edges),
            expected="whole numbers (2, m)",
            fix="torch.tensor([[0, 1], [1, 2]]) joins 0 with 1 and 1 with 2; pairs (m, 2) are transposed: pairs.T",
        )
    first, second = edges.tolist()
    return first, second


def _fitting(graph: Graph, n: int, most: int, least: int, nodes: Sequence[Any] | None) -> None:
    if n < 0 or most > n or least < 0:
        raise refuse(
            "an edge ends at a node that is not there",
            got=f"{n} nodes, and an edge that ends at {least if least < 0 else most - 1}",
            expected="numbers from 0 to the number of nodes - 1",
            fix="count= says how many nodes there are",
        )
    if nodes is not None and len(nodes) != n:
        raise refuse(
            "features of nodes do not fit the nodes",
            got=f"{len(nodes)} features for {n} nodes",
            expected="one for each node",
            fix="leave count= out, or give a feature to each node",
        )


def _mutual(arcs: dict[tuple[int, int], list[bytes]]) -> bool:
    return all(arcs.get((v, u)) == inner for (u, v), inner in arcs.items())


def _merged(arcs: dict[tuple[int, int], list[bytes]]) -> tuple[dict[tuple[int, int], list[bytes]], bool]:
    """Each undirected edge once, whether it stands there in one direction or in both; and that it is not directed."""
    found: dict[tuple[int, int], list[bytes]] = {}
    for (u, v), inner in arcs.items():
        back = arcs.get((v, u))
        if back is not None and back != inner:
            raise refuse(
                "an undirected edge has different labels in its two directions",
                got=f"the edges {(u, v)} and {(v, u)}",
                expected="each edge once, or the same labels in both directions",
                fix="directed=True",
            )
        found[min(u, v), max(u, v)] = inner
    return found, False


def _several(inner: list[bytes]) -> bytes:
    return b"m" + b"".join(str(len(part)).encode() + b":" + part for part in inner)


def _ranked(codes: list[bytes]) -> tuple[tuple[bytes, ...], list[int]]:
    """The distinct codes in their order, and for each entry its place among them."""
    kinds = sorted(set(codes))
    places = {part: place for place, part in enumerate(kinds)}
    return tuple(kinds), [places[part] for part in codes]


def graph_digests(graphs: Sequence[Graph], tolerance: float | None, limit: float | None) -> list[str]:
    """The digest of each graph: equal if and only if the graphs are isomorphic with their features, up to collisions.

    Args:
        graphs: any number; they are labelled together.
        tolerance: as for `code`.
        limit: seconds for the labelling of one graph.
    """
    plains = [plain(graph, tolerance) for graph in graphs]
    found: list[str] = [""] * len(plains)
    for directed in (False, True):
        chosen = [place for place, part in enumerate(plains) if part.directed is directed]
        if chosen:
            parts = [plains[place] for place in chosen]
            for place, part, order in zip(chosen, parts, _orders(parts, directed, limit), strict=True):
                found[place] = _digest(part, order)
    return found


def canonical_graphs(
    graphs: Sequence[Graph], tolerance: float | None, limit: float | None
) -> list[tuple[Graph, list[int], str]]:
    """Each graph with its nodes in canonical order, with the node that came to each place, and its digest.

    The same graph for all that are isomorphic with their features, but for the way in which equal features are told (1 or
    True). Each undirected edge stands there once, from the smaller to the larger number; edges are sorted.

    Args and errors as for `graph_digests`.
    """
    plains = [plain(graph, tolerance) for graph in graphs]
    found: dict[int, tuple[Graph, list[int], str]] = {}
    for directed in (False, True):
        chosen = [place for place, part in enumerate(plains) if part.directed is directed]
        if chosen:
            parts = [plains[place] for place in chosen]
            for place, part, order in zip(chosen, parts, _orders(parts, directed, limit), strict=True):
                found[place] = (_renumbered(graphs[place], part, order, tolerance), order, _digest(part, order))
    return [found[place] for place in range(len(plains))]


def _renumbered(graph: Graph, part: Plain, order: list[int], tolerance: float | None) -> Graph:
    places = [0] * part.n
    for place, node in enumerate(order):
        places[node] = place
    first, second = _ends(graph.edges)
    labels = [None] * len(first) if graph.labels is None else _listed(graph.labels)
    arcs: dict[tuple[int, int], list[Any]] = {}
    for u, v, label_ in zip(first, second, labels, strict=True):
        arcs.setdefault((places[u], places[v]), []).append(label_)
    if not part.directed:
        # In both directions the labels are the same.
        arcs = {(min(ends), max(ends)): inner for ends, inner in arcs.items()}
    rows = [(*ends, code(each, tolerance), each) for ends, inner in arcs.items() for each in inner]
    rows.sort(key=lambda row: row[:3])
    edges = torch.tensor([row[:2] for row in rows], dtype=torch.int64).reshape(-1, 2).T
    nodes = None if graph.nodes is None else [_listed(graph.nodes)[node] for node in order]
    return Graph(edges, nodes, None if graph.labels is None else [row[3] for row in rows], part.n, part.directed)


def _orders(parts: list[Plain], directed: bool, limit: float | None) -> Iterable[list[int]]:
    """For each graph the node at each place of its canonical order."""
    starts = list(accumulate((part.n for part in parts), initial=0))
    edges = [(u + start, v + start) for part, start in zip(parts, starts[:-1], strict=True) for u, v in part.edges]
    packed = Graphs(
        torch.tensor([part.n for part in parts], dtype=torch.int64),
        torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).T.contiguous(),
        torch.tensor(list(chain.from_iterable(part.colours for part in parts)), dtype=torch.int64),
        torch.tensor(list(chain.from_iterable(part.ranks for part in parts)), dtype=torch.int64),
        directed=directed,
    )
    order = label(packed, limit=limit).order.tolist()
    for part, start in zip(parts, starts[:-1], strict=True):
        yield [node - start for node in order[start : start + part.n]]


def _digest(part: Plain, order: list[int]) -> str:
    places = [0] * part.n
    for place, node in enumerate(order):
        places[node] = place
    rows = []
    for (u, v), rank in zip(part.edges, part.ranks, strict=True):
        one, two = places[u], places[v]
        rows.append((one, two, rank) if part.directed or one <= two else (two, one, rank))
    rows.sort()
    return digest(
        "graph",
        [
            f"{part.n} {part.directed}".encode(),
            *(_several(list(names)) for names in (part.kinds, part.labels)),
            _bytes(part.colours[node] for node in order),
            _bytes(chain.from_iterable(rows)),
        ],
    )


def _bytes(numbers: Iterable[int]) -> bytes:
    return array("q", numbers).tobytes()
