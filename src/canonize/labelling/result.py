"""What a labelling is: an order of each graph's nodes, and its symmetries."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import torch
from jaxtyping import Int
from torch import Tensor

from canonize.errors import refuse
from canonize.labelling.components import components
from canonize.labelling.refined import placed, refined
from canonize.labelling.simple import Simple
from canonize.labelling.timed import AT_ONCE, Timed

_ROOM = 1 << 28


@final
@dataclass(frozen=True, eq=False)
class Labelling:
    """The canonical order of a batch of graphs, and their automorphisms; made by `label`.

    Automorphisms of graphs of up to 128 nodes are found when they are first asked for, and kept.

    Attributes:
        order: (nodes,), int64: the node, numbered through the batch, that stands at each place. A graph keeps its range.
        sizes: (graphs,), int64: the nodes of each graph.
        left: the graphs whose automorphisms are still to be found.
        numbers: their numbers in the batch.
        known: (4, moves), int64: generators of the others: graph, number in the graph, node, image.
    """

    order: Int[Tensor, " nodes"]
    sizes: Int[Tensor, " graphs"]
    left: Simple = field(repr=False)
    numbers: Tensor = field(repr=False)
    known: Int[Tensor, "4 moves"] = field(repr=False)

    @cached_property
    def moved(self) -> Int[Tensor, "4 moves"]:
        """Generators of all graphs, (4, moves), int64: graph, number of the generator in its graph, node, image."""
        with Timed(None) as engine:
            found = refined(self.left, self.numbers, engine, AT_ONCE)
        return torch.cat([self.known, placed(found.moves, self.sizes.cpu(), self.numbers).to(self.known.device)], 1)

    @cached_property
    def orbits(self) -> Int[Tensor, " nodes"]:
        """(nodes,), int64: for each node the smallest node of its orbit under automorphisms, numbered through the batch."""
        node, image = self.moved[2:].cpu()
        return components(len(self.order), node, image).to(self.order.device)

    def generators(self, graph: int) -> Int[Tensor, "count n"]:
        """Permutations that generate all automorphisms of one graph, (count, n), int64: the image of each node.

        Nodes are numbered in the graph from 0. None are listed where only the identity is an automorphism.

        Raises:
            SymmetryError: no such graph; a table of more than 2^28 numbers, which `moves` does not write out.
        """
        if not 0 <= graph < len(self.sizes):
            raise refuse(
                "no such graph",
                got=f"graph {graph}",
                expected=f"a number from 0 to {len(self.sizes) - 1}",
                fix="number the graphs of the batch from 0",
            )
        n, device = int(self.sizes[graph]), self.order.device
        _, generator, node, image = self.moved[:, self.moved[0] == graph]
        count = int(generator.max()) + 1 if len(generator) else 0
        if count * n > _ROOM:
            raise refuse(
                "too many generators to write out",
                got=f"{count} permutations of {n} nodes in graph {graph}",
                expected=f"at most {_ROOM} numbers",
                fix="read labelling.moves(), which lists only the nodes that each generator moves",
            )
        start = int(self.sizes[:graph].sum())
        images = torch.arange(n, device=device).repeat(count, 1)
        images[generator, node - start] = image - start
        return images

    def moves(self) -> Int[Tensor, "3 moves"]:
        """All generators of all graphs, by the nodes that they move, (3, moves), int64.

        Row by row: the number of the generator through the batch, the node, its image; nodes numbered through the batch.
        """
        graph, generator, node, image = self.moved
        width = int(generator.max()) + 1 if len(generator) else 1
        number = torch.unique(graph * width + generator, return_inverse=True)[1]
        return torch.stack([number, node, image])
