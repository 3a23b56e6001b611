"""Clouds and graphs that the tests of canonical forms share."""

from __future__ import annotations

import math
import random
from typing import Any

import torch

from canonize import Cloud, Graph


def clouds() -> dict[str, Cloud]:
    g = torch.Generator().manual_seed(1)
    corners = torch.tensor([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=torch.float64)
    turn = torch.arange(6, dtype=torch.float64) * math.pi / 3
    ring = torch.stack([turn.cos(), turn.sin(), torch.zeros(6, dtype=torch.float64)], 1)
    tetrahedron = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    some = torch.randn(12, 3, generator=g, dtype=torch.float64)
    return {
        "none": Cloud(some[:0]),
        "one": Cloud(some[:1]),
        "coinciding": Cloud(some[:1].expand(4, 3)),
        "collinear": Cloud(torch.tensor([[0, 0, -1.16], [0, 0, 0], [0, 0, 1.16]], dtype=torch.float64), [8, 6, 8]),
        "cube": Cloud(corners),
        "methane": Cloud(torch.cat([tetrahedron[:1] * 0, tetrahedron * 0.63]), ["C", "H", "H", "H", "H"]),
        "benzene": Cloud(torch.cat([ring * 1.39, ring * 2.48]), torch.tensor([6] * 6 + [1] * 6)),
        "planar": Cloud(some * torch.tensor([1.0, 1.0, 0.0])),
        "chiral": Cloud(torch.tensor([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]], dtype=torch.float64)),
        "random": Cloud(some, torch.tensor([1, 2] * 6)),
        "far": Cloud(some + 1e6),
        "large": Cloud(some * 1e4),
    }


def copied(cloud: Cloud, group: Any, generator: torch.Generator, *, noise: Any = 0.0, order: bool = True) -> Cloud:
    """The cloud relabelled (where `order`), moved, and with each point off by `noise` in a random direction."""
    n, d = cloud.points.shape
    places = torch.randperm(n, generator=generator) if order else torch.arange(n)
    element = group.sample(generator=generator, dtype=torch.float64)
    off = torch.randn(n, d, generator=generator, dtype=torch.float64)
    x = cloud.points + noise * off / off.norm(dim=-1, keepdim=True)
    moved = x[places] @ getattr(element, "linear", element).T + getattr(element, "shift", 0.0)
    kinds = cloud.kinds
    return Cloud(moved, None if kinds is None else [kinds[place] for place in places.tolist()])


def drawn(rng: random.Random, *, most: int = 6) -> Graph:
    """A small random graph with kinds, labels, loops and parallel edges."""
    n = rng.randrange(most + 1)
    directed = rng.random() < 0.5
    ends = [(rng.randrange(n), rng.randrange(n)) for _ in range(rng.randrange(2 * n + 1))] if n else []
    if not directed:
        ends = [(min(pair), max(pair)) for pair in ends]
    edges = torch.tensor(ends, dtype=torch.int64).reshape(-1, 2).T
    nodes = [rng.choice([1, 1.0, "a"]) for _ in range(n)]
    return Graph(edges, nodes, [rng.choice([1, 2.5]) for _ in ends], count=n, directed=directed)


def relabelled(graph: Graph, rng: random.Random) -> Graph:
    """The graph with its nodes in another order, its edges too, and undirected edges turned over together."""
    n = graph.count if graph.count is not None else len(graph.nodes)
    new, order = list(range(n)), list(range(graph.edges.shape[1]))
    rng.shuffle(new)
    rng.shuffle(order)
    edges = torch.tensor(new, dtype=torch.int64)[graph.edges[:, order]] if n else graph.edges
    edges = edges if graph.directed else edges.sort(0).values
    nodes = None
    if graph.nodes is not None:
        nodes = [None] * n
        for old, place in enumerate(new):
            nodes[place] = graph.nodes[old]
    labels = None if graph.labels is None else [graph.labels[i] for i in order]
    return Graph(edges, nodes, labels, n, graph.directed)
