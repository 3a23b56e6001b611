"""What the benchmark of graphs reads: sets that are hard to tell apart, and two of molecules; batches of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import numpy as np
import torch
from _data import file_in
from torch import Tensor

from canonize import Edges, Fields, Index, Nodes, Offsets, Rows

SOURCES = {
    "exp.npz": "EXP (arXiv 2010.01179): 600 pairs of graphs with one feature; n_nodes, edge_offsets, edges (M, 2), x, labels",
    "csl.npz": "CSL (arXiv 1903.02541): 150 circulant graphs in 10 classes, the same fields without x",
    "sr25.g6": "15 strongly regular graphs (25, 12, 5, 6), graph6",
    "graph8c.g6": "all 11,117 connected graphs of 8 nodes, graph6",
    "brec_pairs.tsv": "BREC (arXiv 2304.07702): 400 pairs, columns category, graph6_a, graph6_b",
    "mutag.npz": "MUTAG of the TU collection (arXiv 2007.08663), fields as in exp.npz",
    "ptc.npz": "PTC of the TU collection (arXiv 2007.08663), fields as in exp.npz",
}
RAGGED = Fields(x=Rows(Nodes()), edge_index=Edges(Nodes()), batch=Index(), ptr=Offsets())
Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Graph:
    """One undirected graph: edges (2, m), each once; features of nodes (n, width), float64; a class; places of nodes."""

    n: int
    edges: Tensor
    x: Tensor
    label: int = 0
    place: Tensor | None = None

    def moved(self, p: Tensor) -> Graph:
        """The same graph where node i is called p[i], without places."""
        return Graph(self.n, p[self.edges], self.x[p.argsort()], self.label)

    def matrix(self) -> Tensor:
        """The adjacency matrix (n, n), float64."""
        a = torch.zeros(self.n, self.n, dtype=torch.float64)
        a[self.edges[0], self.edges[1]] = a[self.edges[1], self.edges[0]] = 1
        return a


def packed(data: Path, name: str) -> list[Graph]:
    """The graphs of a file NAME.npz, classes as 0, 1, ...; nodes without features get one that is 1."""
    with np.load(file_in(data, "graphs", f"{name}.npz", SOURCES)) as stored:
        held = {key: torch.as_tensor(stored[key].astype(np.int64)) for key in stored.files}
    _, labels = held["labels"].unique(return_inverse=True)
    ends, starts = held["n_nodes"].cumsum(0), held["edge_offsets"]
    x = held.get("x", torch.ones(int(ends[-1]), dtype=torch.int64)).double()
    x = x[:, None] if x.ndim == 1 else x
    return [
        Graph(n, held["edges"][starts[i] : starts[i + 1]].T, x[ends[i] - n : ends[i]], int(labels[i]))
        for i, n in enumerate(held["n_nodes"].tolist())
    ]


def listed(data: Path, name: str) -> list[Graph]:
    """The graphs of a file NAME.g6."""
    return [_read(line) for line in file_in(data, "graphs", f"{name}.g6", SOURCES).read_text().split()]


def brec(data: Path) -> dict[str, list[Graph]]:
    """The pairs of BREC by category, the two graphs of a pair one after the other."""
    found: dict[str, list[Graph]] = {}
    for line in file_in(data, "graphs", "brec_pairs.tsv", SOURCES).read_text().splitlines()[1:]:
        category, *both = line.split("\t")
        found.setdefault(category, []).extend(_read(one) for one in both)
    return found


def _read(line: str) -> Graph:
    graph = nx.from_graph6_bytes(line.encode())
    n = graph.number_of_nodes()
    edges = torch.tensor(list(graph.edges), dtype=torch.int64).reshape(-1, 2).T
    return Graph(n, edges, torch.ones(n, 1, dtype=torch.float64))


def components(graph: Graph) -> list[tuple[Tensor, Graph]]:
    """The connected components, each with the numbers of its nodes in the graph."""
    drawn = nx.empty_graph(graph.n)
    drawn.add_edges_from(graph.edges.T.tolist())
    inside, owner = torch.empty(graph.n, dtype=torch.int64), torch.empty(graph.n, dtype=torch.int64)
    pieces = [torch.tensor(sorted(piece)) for piece in nx.connected_components(drawn)]
    for number, piece in enumerate(pieces):
        inside[piece], owner[piece] = torch.arange(len(piece)), number
    mine = owner[graph.edges[0]]
    return [
        (piece, Graph(len(piece), inside[graph.edges[:, mine == number]], graph.x[piece], graph.label))
        for number, piece in enumerate(pieces)
    ]


def batch_of(graphs: list[Graph], dtype: torch.dtype = torch.float64) -> Batch:
    """One ragged batch, edges in both directions."""
    sizes = torch.tensor([graph.n for graph in graphs])
    ptr = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    edges = torch.cat([graph.edges + start for graph, start in zip(graphs, ptr.tolist(), strict=False)], 1)
    batch = {
        "x": torch.cat([graph.x for graph in graphs]).to(dtype),
        "edge_index": torch.cat([edges, edges.flip(0)], 1),
        "batch": torch.repeat_interleave(sizes),
        "ptr": ptr,
    }
    told = [graph.place for graph in graphs if graph.place is not None]
    return batch | {"place": torch.cat(told)} if told else batch


def relabelled(graphs: list[Graph], generator: torch.Generator) -> list[Graph]:
    """A copy of each graph with its nodes called otherwise, at random."""
    return [graph.moved(torch.randperm(graph.n, generator=generator)) for graph in graphs]


def places(batch: Batch) -> Tensor:
    """The place of each node in its graph, (nodes,)."""
    return torch.arange(len(batch["x"])) - batch["ptr"][batch["batch"]]
