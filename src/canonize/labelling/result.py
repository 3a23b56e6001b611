"""What a labelling is: an order of each graph's nodes, and its symmetries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import torch
from jaxtyping import Int
from torch import Tensor

from canonize.errors import refuse
from canonize.labelling.components import components
from canonize.labelling.engine import Found, Plain, taken, whole

_ROOM = 1 << 28


@final
@dataclass(frozen=True, eq=False)
class Labelling:
    """The canonical order of a batch of graphs, and their automorphisms; made by `label`.

    Attributes:
        order: (nodes,), int64: the node, numbered through the batch, that stands at each place. A graph keeps its range.
        sizes: (graphs,), int64: the nodes of each graph.
        found: automorphisms of graphs that the engine saw whole, as it tells them, by number.
        moved: (4, moves), int64: those of all other graphs: graph, number of the generator in its graph, node, image.
    """

    order: Int[Tensor, " nodes"]
    sizes: Int[Tensor, " graphs"]
    found: Mapping[int, Found] = field(repr=False)
    moved: Int[Tensor, "4 moves"] = field(repr=False)

    @cached_property
    def orbits(self) -> Int[Tensor, " nodes"]:
        """(nodes,), int64: for each node the smallest node of its orbit under automorphisms, numbered through the batch."""
        sizes = self.sizes.tolist()
        orbits = components(len(self.order), *self.moved[2:].cpu())
        if self.found:
            values: list[int] = []
            for graph, each in self.found.items():
                own = each.orbits
                values += own if len(own) == sizes[graph] else own[: sizes[graph]]
            some = torch.zeros(len(sizes), dtype=torch.bool)
            some[list(self.found)] = True
            shift = (self.sizes.cumsum(0) - self.sizes).cpu()[some]
            nodes = some.repeat_interleave(self.sizes.cpu())
            orbits[nodes] = whole(values, max(sizes)) + shift.repeat_interleave(self.sizes.cpu()[some])
        return orbits.to(self.order.device)

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
        if graph in self.found:
            return torch.tensor(taken(self.found[graph], n), dtype=torch.int64, device=device).reshape(-1, n)
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
        device = self.order.device
        starts = (self.sizes.cumsum(0) - self.sizes).tolist()
        columns: list[list[int]] = [[], [], []]
        count = 0
        sizes = self.sizes.tolist()
        for graph, found in self.found.items():
            start = starts[graph]
            for image in taken(found, sizes[graph]):
                places = [place for place, value in enumerate(image) if place != value]
                columns[0] += [count] * len(places)
                columns[1] += [start + place for place in places]
                columns[2] += [start + image[place] for place in places]
                count += 1
        graph, generator, node, image = self.moved
        width = int(generator.max()) + 1 if len(generator) else 1
        number = torch.unique(graph * width + generator, return_inverse=True)[1] + count
        few = torch.stack([whole(column) for column in columns]).to(device)
        return torch.cat([few, torch.stack([number, node, image])], 1)

    def __getstate__(self) -> dict[str, Any]:
        """The engine's answers as plain numbers, which pickle and copy."""
        plain = {
            graph: Plain(
                list(each.labeling), list(each.orbits), each.num_orbits, [list(one) for one in each.generators]
            )
            for graph, each in self.found.items()
        }
        return self.__dict__ | {"found": plain}
