"""The pieces that refinement cannot take apart: most go to the engine, large ones are searched."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from canonize.labelling import timed
from canonize.labelling.balls import by_balls
from canonize.labelling.engine import labelled, taken, whole
from canonize.labelling.parts import Ordered, numbered, ordered
from canonize.labelling.refine import Arcs, cells_of, refine
from canonize.labelling.search import searched
from canonize.labelling.simple import Simple
from canonize.labelling.timed import AT_ONCE, Timed

# A cell of more nodes is worth a look at short cycles. The engine's time grows with the cube of the nodes, and trying the
# nodes of one cell costs a refinement each; but a search in searches grows with the product of the cells.
_FEW, _LARGE, _DEEPEST = 16, 1000, 4


@dataclass(frozen=True, eq=False)
class Rest:
    """Labels pieces, as `ordered` asks for it.

    Attributes:
        arcs: the graph.
        directed: whether odd kinds are the same edges seen from the head.
        graph: (nodes,), the number of each node's graph, for messages.
        engine: the engine and its limit.
        least: pieces of more nodes are taken apart by short cycles, or searched where they are large; 0: all are searched.
        depth: how many searches this is in.
    """

    arcs: Arcs
    directed: bool
    graph: Tensor
    engine: Timed
    least: int = AT_ONCE
    depth: int = 0

    def __call__(self, nodes: Tensor, piece: Tensor, cell: Tensor, some: Tensor) -> tuple[Tensor, Tensor]:
        """The place of each node in its piece, and generators: number, node, image."""
        sizes = torch.bincount(piece)
        _, inverse, times = torch.unique(piece * len(self.graph) + cell, return_inverse=True, return_counts=True)
        times = times[inverse]
        narrow = torch.full_like(sizes, len(nodes) + 1).scatter_reduce(
            0, piece, torch.where(times > 1, times, len(nodes) + 1), "amin"
        )
        searches = sizes > self.least
        place = torch.empty_like(nodes)
        moves = []
        owner = torch.zeros(len(self.graph), dtype=torch.int64)
        owner[nodes] = piece
        arc_piece = owner[self.arcs.tail[some]]
        for which in searches.nonzero()[:, 0].tolist():
            mine = piece == which
            own = nodes[mine]
            solved = self._searched(own, cell[mine], some[arc_piece == which], int(narrow[which]))
            searches[which] = solved is not None
            if solved is not None:
                at, found = solved
                place[mine] = at
                moves.append(torch.stack([found[0], own[found[1]], own[found[2]]]))
        rest = ~searches[piece]
        if bool(rest.any()):
            dense = torch.unique(piece[rest], return_inverse=True)[1]
            place[rest], found = self._engine(nodes[rest], dense, cell[rest], some[~searches[arc_piece]])
            moves.append(found)
        return place, numbered(moves)

    def _searched(self, nodes: Tensor, cell: Tensor, some: Tensor, narrow: int) -> tuple[Tensor, Tensor] | None:
        """A piece without the engine; None where the engine is the better choice."""
        at = torch.zeros(len(self.graph), dtype=torch.int64)
        at[nodes] = torch.arange(len(nodes))
        tail, head, kind = at[self.arcs.tail[some]], at[self.arcs.head[some]], self.arcs.kind[some]
        by = tail.argsort(stable=True)
        first = torch.zeros(len(nodes) + 1, dtype=torch.int64)
        first[1:] = torch.bincount(tail, minlength=len(nodes)).cumsum(0)
        own = Arcs(tail[by], head[by], kind[by], first, torch.zeros_like(nodes))
        rest = Rest(own, self.directed, self.graph[nodes], self.engine, self.least, self.depth + 1)
        graph = int(self.graph[nodes[0]])

        def solve(cells: Tensor) -> Ordered:
            return ordered(own, cells, directed=self.directed, core=rest)

        def tick() -> None:
            self.engine.check(graph, len(nodes))

        cells = cells_of(cell)
        with self.engine.counted(graph):
            split = by_balls(own, cells) if narrow > _FEW else cells
            if not torch.equal(split, cells):
                found = solve(refine(own, split))
            elif self.least and (len(nodes) <= _LARGE or (self.depth >= _DEEPEST and len(nodes) <= timed.MOST)):
                return None
            else:
                found = searched(own, cells, directed=self.directed, solve=solve, tick=tick)
            tick()
        place = torch.empty_like(found.order)
        place[found.order] = torch.arange(len(place))
        return place, found.moves

    def _engine(self, nodes: Tensor, piece: Tensor, cell: Tensor, some: Tensor) -> tuple[Tensor, Tensor]:
        order = piece.argsort(stable=True)
        nodes, piece, cell = nodes[order], piece[order], cell[order]
        sizes = torch.bincount(piece)
        at = torch.zeros(len(self.graph), dtype=torch.int64)
        at[nodes] = torch.arange(len(nodes))
        tail, head, kind = at[self.arcs.tail[some]], at[self.arcs.head[some]], self.arcs.kind[some]
        once = kind % 2 == 0 if self.directed else tail < head
        tail, head, kind = tail[once], head[once], kind[once] // 2 if self.directed else kind[once]
        edge = tail.argsort(stable=True)
        starts = sizes.cumsum(0) - sizes
        # Cells are ranked in each piece, so that the engine's numbers stay small.
        rank = torch.unique(piece * len(at) + cell, return_inverse=True)[1]
        rank = rank - torch.full_like(sizes, len(at)).scatter_reduce(0, piece, rank, "amin")[piece]
        batch = Simple(sizes, rank, tail[edge], head[edge], kind[edge], self.directed)
        numbers: list[int] = self.graph[nodes[starts]].tolist()
        found = labelled(batch, lambda which, *size: self.engine.at(numbers[which], *size), automorphisms=True)
        shift = starts.repeat_interleave(sizes)
        place = torch.empty_like(order)
        place[order[found.order + shift]] = torch.arange(len(nodes)) - shift
        columns: list[list[int]] = [[], [], []]
        number, begins, lengths = 0, starts.tolist(), sizes.tolist()
        for which, each in found.found.items():
            begin = begins[which]
            for image in taken(each, lengths[which]):
                moved = [i for i, value in enumerate(image) if value != i]
                columns[0] += [number] * len(moved)
                columns[1] += [begin + i for i in moved]
                columns[2] += [begin + image[i] for i in moved]
                number += 1
        numbering, node, image_of = (whole(column) for column in columns)
        return place, torch.stack([numbering, nodes[node], nodes[image_of]])
