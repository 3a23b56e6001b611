"""A network on a simplicial complex whose answers do not depend on how edges and triangles are written down.

Walkers cross a triangulated square with a hole, each in a straight line as far as the edges allow; a network sees the edges
that a walker has taken, as a flow, and says where the walker goes next. Edges and triangles have to be written down in
some orientation, which means nothing. A network with an odd bend does not care; one with ReLU does, unless it stands behind
signs that are read off the complex itself.

    python examples/simplicial.py
    python examples/simplicial.py --steps 400

After Roddenberry, Glaze and Segarra, arXiv 2102.10058.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from canonize import Boundary, Cochain, audit_simplicial, simplicial_claims, symmetrize

INPUTS = (Cochain(1), Boundary(1), Boundary(2))
SIDE, HOLE = 6, (2, 3)  # nodes along a side, and the node that is missing


class Square(NamedTuple):
    """A triangulated square with a hole.

    Attributes:
        places: (nodes, 2), in the unit of a short edge.
        edges: (edges, 2), nodes, the smaller first.
        first: (nodes, edges), the boundary of edges.
        second: (edges, triangles), the boundary of triangles.
    """

    places: torch.Tensor
    edges: list[tuple[int, int]]
    first: torch.Tensor
    second: torch.Tensor


def square() -> Square:
    """The complex: a grid with one diagonal in each cell, without the node at the hole."""
    kept = [(x, y) for x in range(SIDE) for y in range(SIDE) if (x, y) != HOLE]
    number = {place: node for node, place in enumerate(kept)}
    cells = [((x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)) for x in range(SIDE - 1) for y in range(SIDE - 1)]
    corners = [face for a, b, c, d in cells for face in ((a, b, d), (a, c, d))]
    faces = [sorted(number[place] for place in face) for face in corners if HOLE not in face]
    edges = sorted({(f[i], f[j]) for f in faces for i, j in ((0, 1), (0, 2), (1, 2))})
    first, second = torch.zeros(len(kept), len(edges)), torch.zeros(len(edges), len(faces))
    for column, (a, b) in enumerate(edges):
        first[a, column], first[b, column] = -1, 1
    for column, (a, b, c) in enumerate(faces):
        for sign, edge in ((1, (a, b)), (-1, (a, c)), (1, (b, c))):
            second[edges.index(edge), column] = sign
    return Square(torch.tensor(kept, dtype=torch.float32), edges, first, second)


class Walks(NamedTuple):
    """What walkers did: flows (count, edges, 1), the nodes they may go to next (count, nodes), and where they went (count,)."""

    flows: torch.Tensor
    choices: torch.Tensor
    next: torch.Tensor


def walks(space: Square, count: int, draw: torch.Generator, steps: int = 4) -> Walks:
    """Walkers that keep close to a straight line."""
    near = space.first.abs() @ space.first.abs().mT > 0
    near.fill_diagonal_(False)
    signs = {edge: column for column, edge in enumerate(space.edges)}
    flows, choices, goals = torch.zeros(count, len(space.edges), 1), torch.zeros(count, len(near), dtype=torch.bool), []
    for walker in range(count):
        angle = float(torch.rand((), generator=draw)) * math.tau
        way = torch.tensor([math.cos(angle), math.sin(angle)])
        path = [int(torch.randint(len(near), (), generator=draw))]
        for _ in range(steps + 1):
            ahead = space.places - space.places[path[-1]]
            off = (space.places - space.places[path[0]]) @ way.flip(0).mul(torch.tensor([1.0, -1.0]))
            score = ahead @ way - 0.5 * off.abs()
            score[path] -= 100.0
            score[~near[path[-1]]] = -torch.inf
            path.append(int(score.argmax()))
        for a, b in pairwise(path[:-1]):
            flows[walker, signs[min(a, b), max(a, b)], 0] += 1.0 if a < b else -1.0
        choices[walker] = near[path[-2]]
        goals.append(path[-1])
    return Walks(flows, choices, torch.tensor(goals))


class Network(nn.Module):
    """Flows through layers of both Hodge Laplacians; the answer is what flows into each node, (count, nodes, 1)."""

    def __init__(self, bend: Callable[[torch.Tensor], torch.Tensor], width: int = 8, depth: int = 3) -> None:
        super().__init__()
        sizes = [1, *(width,) * depth]
        self.layers = nn.ModuleList(
            nn.ModuleList(nn.Linear(old, new, bias=False) for _ in range(3)) for old, new in pairwise(sizes)
        )
        self.last = nn.Linear(width, 1, bias=False)
        self.bend = bend

    def forward(self, flow: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Scores of nodes."""
        for own, lower, upper in self.layers:
            flow = self.bend(own(flow) + lower(first.mT @ (first @ flow)) / 4 + upper(second @ (second.mT @ flow)) / 4)
        return first @ self.last(flow)


def scores(model: nn.Module, seen: Walks, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Scores of all nodes (count, nodes), minus infinity where a walker cannot go."""
    count = len(seen.flows)
    found = model(seen.flows, first.expand(count, -1, -1), second.expand(count, -1, -1))[..., 0]
    return torch.where(seen.choices, found, -torch.inf)


def compare(steps: int, seed: int = 0) -> dict[str, dict[str, float]]:
    """For each network the share of walkers it is right about, as the complex was written and written otherwise."""
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    space = square()
    train, test = walks(space, 300, draw), walks(space, 200, draw)
    _, claim = simplicial_claims(INPUTS, Cochain(0), (*space.first.shape, space.second.shape[1]))
    models = {"tanh": Network(torch.tanh), "ReLU": Network(torch.relu)}
    models["ReLU behind signs"] = symmetrize(Network(torch.relu), claim)
    signs = claim.group.sample(generator=draw)
    first, second = space.first * signs[0], signs[0][:, None] * space.second * signs[1]
    other = test._replace(flows=test.flows * signs[0][:, None])
    found = {}
    for name, model in models.items():
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(steps):
            loss = F.cross_entropy(scores(model, train, space.first, space.second), train.next)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            as_written = scores(model, test, space.first, space.second).argmax(1) == test.next
            otherwise = scores(model, other, first, second).argmax(1) == test.next
        found[name] = {"as written": float(as_written.float().mean()), "otherwise": float(otherwise.float().mean())}
        count = 32
        value = (test.flows[:count], space.first.expand(count, -1, -1), space.second.expand(count, -1, -1))
        told = audit_simplicial(model, value, inputs=INPUTS, outputs=Cochain(0), elements=4, removals=2, name=name)
        found[name] |= {"orientation": float(told.orientation.error.max), "order": float(told.order)}
    return found


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150, help="training steps on 300 walkers (default: 150)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name, told in compare(options.steps, options.seed).items():
        print(f"{name:18} right as written {told['as written']:.1%}, written otherwise {told['otherwise']:.1%}; "
              f"error of orientation {told['orientation']:.1g}, aware up to dimension {told['order']:.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
