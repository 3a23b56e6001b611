"""How long canonical labelling takes for each graph: in batches, beside the engine alone and other libraries.

All are asked for the canonical order; the rivals get their graphs ready-made, in their own form, canonize starts from tensors.
Two rows have more in them: "orbits read" finds all automorphisms, and canonaut with generators tells of some. networkx has no
canonical form: it says whether a graph and a relabelled copy are isomorphic. pynauty and igraph have to be installed by hand;
the code of minimal frame averaging (arXiv 2403.05026) is in no package registry that we know of and is not timed.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import torch
from _bench import SEED, finish, interleaved, progress, ratio, start, table
from _data import data_option, file_in
from torch import Tensor

from canonize.labelling import Graphs, label, relabelled

OURS, WITH_ORBITS = "canonize, one batch", "canonize, orbits read"
ENGINE, WITH_SOME = "canonaut alone", "canonaut, generators"
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
SOURCES = {
    "qm9_10000.npz": "10,000 molecules of QM9 (10.1038/sdata.2014.22): n_atoms, z, pos",
    "mutag.npz": "MUTAG of the TU collection (arXiv 2007.08663): n_nodes, edge_offsets, edges (M, 2), x",
    "ptc.npz": "PTC of the TU collection (arXiv 2007.08663): the same fields",
}
# Covalent radii in Angstrom (10.1039/b801115j).
RADII = {1: 0.31, 6: 0.76, 7: 0.71, 8: 0.66, 9: 0.57}
One = tuple[int, list[tuple[int, int]], list[int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    data_option(parser, "qm9")
    parser.add_argument("--graphs", type=int, default=1000, help="graphs of each small kind at most (default: 1000)")
    parser.add_argument("--repeats", type=int, default=7, help="timings of each candidate (default: 7)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="which seconds are counted")
    parser.add_argument("--most", type=int, default=100_000, help="nodes of the largest graphs (default: 100,000)")
    options = start(parser)
    kinds = small_kinds(options.data, options.graphs) | large_kinds(options.most)
    rows = []
    with progress() as bar:
        task = bar.add_task("kinds", total=len(kinds))
        for name, graphs in kinds.items():
            rows.append(timed(name, graphs, options))
            bar.advance(task)
    for row in rows:
        show(row)
    result = {"benchmark": "graph_speed", "repeats": options.repeats, "clock": options.clock, "rows": rows}
    present = [name for name in ("pynauty", "igraph") if importlib.util.find_spec(name)]
    finish(options, result, ("canonaut", "networkx", *present))


def timed(name: str, graphs: list[One], options: argparse.Namespace) -> dict[str, Any]:
    """Microseconds for each graph by each candidate, and how many times as long as canonize they take."""
    big = graphs[0][0] > 1000
    together = packed(graphs)
    check(together)
    calls = candidates(graphs, together, big=big)
    repeats = 2 if big else options.repeats
    times = interleaved(calls, repeats=repeats, warm=0.0 if big else 0.3, least=0.02, clock=CLOCKS[options.clock])
    base = ENGINE if ENGINE in times else OURS
    return {
        "graphs": name,
        "count": len(graphs),
        "nodes": [min(n for n, _, _ in graphs), max(n for n, _, _ in graphs)],
        "base": base,
        "microseconds": {way: 1e6 * statistics.median(each) / len(graphs) for way, each in times.items()},
        "ratios": {way: ratio(each, times[base]) for way, each in times.items()},
    }


def show(row: dict[str, Any]) -> None:
    low, high = row["nodes"]
    body = [[way, f"{each:,.1f}", f"{row['ratios'][way]['median']:.2f}"] for way, each in row["microseconds"].items()]
    title = f"{row['graphs']}: {row['count']:,} graphs of {low:,} to {high:,} nodes"
    table(title, ["", "us a graph", f"time over that of {row['base']}"], body)


def check(graphs: Graphs) -> None:
    """Copies have one form; ends the program where they do not."""
    owner = graphs.owner
    keys = torch.rand(len(owner), dtype=torch.float64, generator=torch.Generator().manual_seed(SEED)) + owner
    new = keys.argsort().argsort()
    other = Graphs(graphs.sizes, new[graphs.edges], graphs.colours[new.argsort()])
    one, two = (relabelled(each, label(each)) for each in (graphs, other))
    if not torch.equal(one.edges, two.edges) or not torch.equal(one.colours, two.colours):
        raise SystemExit("relabelled copies have different forms")


def candidates(graphs: list[One], together: Graphs, *, big: bool) -> dict[str, Callable[[], Any]]:
    """What is timed; graphs of thousands of nodes are for canonize and igraph alone, the others need n^2 bits and more."""
    calls: dict[str, Callable[[], Any]] = {OURS: lambda: label(together).order}
    if not big:
        calls[WITH_ORBITS] = lambda: label(together).orbits
        from canonaut import raw

        for name, some in ((ENGINE, False), (WITH_SOME, True)):
            calls[name] = lambda some=some: [
                raw.canonize(n, edges, colors=colours, generators=some).labeling for n, edges, colours in graphs
            ]
        if importlib.util.find_spec("pynauty"):
            calls["pynauty"] = _pynauty(graphs)
        few = graphs[: max(1, len(graphs) // 20)]
        pairs = [_networks(one, number) for number, one in enumerate(few)]
        match = nx.algorithms.isomorphism.categorical_node_match("colour", None)
        per = len(graphs) // len(few)
        # A part of the graphs, as many times as it takes to stand for all of them.
        calls["networkx, two copies"] = lambda: [
            nx.is_isomorphic(one, other, node_match=match) for _ in range(per) for one, other in pairs
        ]
    if importlib.util.find_spec("igraph"):
        calls["igraph"] = _igraph(graphs)
    return calls


def _pynauty(graphs: list[One]) -> Callable[[], Any]:
    import pynauty

    ready = []
    for n, edges, colours in graphs:
        near: dict[int, list[int]] = {}
        for u, v in edges:
            near.setdefault(u, []).append(v)
        classes = [{i for i, colour in enumerate(colours) if colour == each} for each in sorted(set(colours))]
        ready.append(pynauty.Graph(n, adjacency_dict=near, vertex_coloring=classes))
    return lambda: [pynauty.canon_label(each) for each in ready]


def _igraph(graphs: list[One]) -> Callable[[], Any]:
    import igraph

    ready = [(igraph.Graph(n, edges), colours) for n, edges, colours in graphs]
    return lambda: [each.canonical_permutation(color=colours) for each, colours in ready]


def _networks(one: One, seed: int) -> tuple[nx.Graph, nx.Graph]:
    n, edges, colours = one
    new = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
    pair = []
    for name in (list(range(n)), new):
        graph = nx.Graph()
        graph.add_nodes_from((name[i], {"colour": colours[i]}) for i in range(n))
        graph.add_edges_from((name[u], name[v]) for u, v in edges)
        pair.append(graph)
    return pair[0], pair[1]


def packed(graphs: list[One]) -> Graphs:
    """All graphs in one batch."""
    shift, edges, colours = 0, [], []
    for n, own, colour in graphs:
        edges.append(torch.tensor(own, dtype=torch.int64).reshape(-1, 2).T + shift)
        colours += colour
        shift += n
    sizes = torch.tensor([n for n, _, _ in graphs])
    return Graphs(sizes, torch.cat(edges, 1).contiguous(), torch.tensor(colours))


def small_kinds(data: Path, count: int) -> dict[str, list[One]]:
    """Molecules, real and like real ones, and cubic graphs."""
    generator = np.random.default_rng(SEED)
    whole = qm9(data)
    kinds = {
        "QM9 of 20 atoms and more": [each for each in whole if each[0] >= 20][:count],
        "QM9": whole[:count],
        "QM9 without hydrogens": [heavy(each) for each in whole[:count]],
        "MUTAG": collection(data, "mutag")[:count],
        "PTC": collection(data, "ptc")[:count],
        "like molecules": [molecule_like(generator) for _ in range(count)],
    }
    cubic = [nx.random_regular_graph(3, 100, seed=seed) for seed in range(max(1, count // 20))]
    return kinds | {"cubic": [(100, list(each.edges()), [0] * 100) for each in cubic]}


def large_kinds(most: int) -> dict[str, list[One]]:
    """Sparse graphs, trees, grids and cubic graphs of many nodes."""
    kinds: dict[str, list[One]] = {}
    draw = torch.Generator().manual_seed(SEED)
    for n in (size for size in (10_000, 100_000) if size <= most):
        ends = torch.randint(n, (2, 3 * n // 2), generator=draw)
        parent = (torch.rand(n - 1, dtype=torch.float64, generator=draw) * torch.arange(1, n)).long()
        side = int(n**0.5)
        grid = nx.convert_node_labels_to_integers(nx.grid_2d_graph(side, side))
        kinds |= {
            f"sparse, {n:,}": [_plain(n, ends[:, ends[0] != ends[1]])],
            f"tree, {n:,}": [_plain(n, torch.stack([torch.arange(1, n), parent]))],
            f"grid, {n:,}": [_plain(side * side, torch.tensor(list(grid.edges())).T)],
        }
        if n <= 10_000:  # igraph takes minutes for larger ones
            cubic = nx.random_regular_graph(3, n, seed=SEED)
            kinds[f"cubic, {n:,}"] = [_plain(n, torch.tensor(list(cubic.edges())).T)]
    return kinds


def _plain(n: int, edges: Tensor) -> One:
    return n, [tuple(pair) for pair in edges.T.tolist()], [0] * n


def qm9(data: Path) -> list[One]:
    """Molecules with hydrogens; atoms are joined where they are closer than 1.25 times the sum of their radii."""
    with np.load(file_in(data, "qm9", "qm9_10000.npz", SOURCES)) as arrays:
        sizes, z, pos = arrays["n_atoms"].astype(int), arrays["z"].astype(int), arrays["pos"]
    found, begin = [], 0
    for n in sizes:
        own, at = z[begin : begin + n], pos[begin : begin + n].astype(float)
        radius = np.array([RADII[each] for each in own])
        near = np.linalg.norm(at[:, None] - at[None], axis=-1) < 1.25 * (radius[:, None] + radius[None])
        found.append((int(n), [tuple(map(int, pair)) for pair in np.argwhere(np.triu(near, 1))], own.tolist()))
        begin += n
    return found


def heavy(one: One) -> One:
    """A molecule without its hydrogens."""
    kept = [i for i, z in enumerate(one[2]) if z > 1]
    place = {node: i for i, node in enumerate(kept)}
    return (
        len(kept),
        [(place[u], place[v]) for u, v in one[1] if u in place and v in place],
        [one[2][i] for i in kept],
    )


def collection(data: Path, name: str) -> list[One]:
    """A set of molecules of the TU collection, coloured by element."""
    with np.load(file_in(data, "graphs", f"{name}.npz", SOURCES)) as arrays:
        sizes, ends, edges = arrays["n_nodes"].astype(int), arrays["edge_offsets"].astype(int), arrays["edges"]
        kind = arrays["x"].reshape(int(sizes.sum()), -1).argmax(1)
    starts = np.concatenate([[0], sizes.cumsum()])
    return [
        (int(n), [tuple(map(int, pair)) for pair in edges[a:b]], kind[s : s + n].tolist())
        for n, a, b, s in zip(sizes, ends[:-1], ends[1:], starts[:-1], strict=True)
    ]


def molecule_like(generator: np.random.Generator) -> One:
    """A tree of 20 to 40 nodes of degree up to four, with rings, and leaves of another colour."""
    n = int(generator.integers(20, 41))
    core, degree, edges = int(0.55 * n), [0] * n, []
    joins = [(i, 3) for i in range(1, core)]
    for node, most in [*joins, *((i, 4) for i in range(core, n))]:
        free = [other for other in range(min(node, core)) if degree[other] < most]
        other = int(generator.choice(free))
        edges.append((other, node))
        degree[other] += 1
        degree[node] += 1
    for _ in range(2):
        u, v = sorted(int(each) for each in generator.choice(core, 2, replace=False))
        if degree[u] < 4 and degree[v] < 4 and (u, v) not in edges:
            edges.append((u, v))
            degree[u], degree[v] = degree[u] + 1, degree[v] + 1
    return n, edges, [6] * core + [1] * (n - core)


if __name__ == "__main__":
    main()
