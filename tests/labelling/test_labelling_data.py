"""The published sets of graphs that are hard to tell apart, where the data are at hand."""

import os
from pathlib import Path

import networkx as nx
import pytest
import torch
from label_cases import copied, packed

from canonize.labelling import Graphs, label, relabelled

DATA = Path(os.environ["CANONIZE_DATA"], "graphs") if "CANONIZE_DATA" in os.environ else None
pytestmark = pytest.mark.skipif(
    DATA is None or not DATA.is_dir(), reason="set CANONIZE_DATA to the folder that holds graphs/"
)


def read(lines):
    """One batch of graphs in graph6."""
    return batch([(g.number_of_nodes(), list(g.edges())) for g in map(nx.from_graph6_bytes, lines)])


def batch(pairs, colours=None):
    every, shift = [], 0
    for n, edges in pairs:
        every += [(u + shift, v + shift) for u, v in edges]
        shift += n
    whole = packed(shift, every, colours)
    return Graphs(torch.tensor([n for n, _ in pairs]), whole.edges, whole.colours)


def forms(graphs):
    """A key for each graph of a batch."""
    moved = relabelled(graphs, label(graphs))
    owner, starts = graphs.owner, graphs.starts.tolist()
    edges = [[] for _ in starts]
    for (u, v), graph in zip(moved.edges.T.tolist(), owner[moved.edges[0]].tolist(), strict=True):
        edges[graph].append((u - starts[graph], v - starts[graph]))
    colours = [()] * len(starts) if moved.colours is None else moved.colours.split(graphs.sizes.tolist())
    return [
        (n, tuple(colour.tolist() if len(colour) else ()), tuple(own))
        for n, colour, own in zip(graphs.sizes.tolist(), colours, edges, strict=True)
    ]


def both(graphs):
    """The forms, after a look at those of relabelled copies."""
    found = forms(graphs)
    assert forms(copied(graphs, 1)) == found
    return found


def test_strongly_regular_graphs():
    assert len(set(both(read((DATA / "sr25.g6").read_bytes().split())))) == 15


def test_all_connected_graphs_of_eight_nodes():
    assert len(set(both(read((DATA / "graph8c.g6").read_bytes().split())))) == 11117


def test_brec():
    rows = [line.split("\t") for line in (DATA / "brec_pairs.tsv").read_text().splitlines()[1:]]
    found = both(read([text.encode() for row in rows for text in row[1:3]]))
    assert len(rows) == 400
    assert all(one != other for one, other in zip(found[::2], found[1::2], strict=True))


@pytest.mark.parametrize("name", ["csl", "exp"])
def test_sets_of_arrays(name):
    numpy = pytest.importorskip("numpy", reason="numpy reads the files")
    with numpy.load(DATA / f"{name}.npz") as arrays:
        ends, edges = arrays["edge_offsets"], arrays["edges"]
        pairs = [(int(n), edges[a:b].tolist()) for n, a, b in zip(arrays["n_nodes"], ends[:-1], ends[1:], strict=True)]
        colours = arrays["x"].reshape(-1).astype(int).tolist() if name == "exp" else None
        labels = arrays["labels"].tolist()
    found = both(batch(pairs, colours))
    if name == "exp":
        assert all(one != other for one, other in zip(found[::2], found[1::2], strict=True))
    else:
        assert len(set(found)) == len(set(zip(found, labels, strict=True))) == 10
