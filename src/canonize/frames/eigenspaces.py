"""Canonical eigenvectors as they are returned, with the report of what is fixed and what is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor

from canonize.errors import refuse
from canonize.frames.spectra import Layout


class Eigenspace(NamedTuple):
    """One eigenspace of one graph, as far as it is among the columns.

    Attributes:
        value: the mean eigenvalue; 0 where it is below 1e-12 of the largest one in size that is there.
        dimension: of the eigenspace.
        shown: how many of its columns there are; less than the dimension where `count` cuts it.
        fixed: how many of them are fixed, the first ones.
        margin: dimensionless, 0 to 1: how far the fixed columns are from a tie; of what is open where none is fixed.
        forced: whether an automorphism moves what is open, so that no rule can fix it; False where that is not known.
    """

    value: float
    dimension: int
    shown: int
    fixed: int
    margin: float
    forced: bool

    @property
    def open(self) -> int:
        """How many columns are not fixed."""
        return self.shown - self.fixed

    def __str__(self) -> str:
        text = f"eigenvalue {self.value + 0.0:.6g}: dimension {self.dimension}, "
        if not self.open:
            return text + f"fixed, margin {self.margin:.2g}"
        text += "open: " if not self.fixed else f"{self.fixed} of {self.shown} columns fixed, the rest open: "
        return text + ("an automorphism moves it" if self.forced else "the rule ties")


@final
@dataclass(frozen=True)
class Eigenvectors:
    """Eigenvectors of a batch of graphs, and for each of them whether it is canonical.

    Attributes:
        values: (graphs, count), the eigenvalues, the smallest first; 0 where a graph has fewer.
        vectors: (graphs, n, count) of a dense batch, (nodes, count) of a packed one; zero where a graph has fewer, and what
            the fallback says where nothing fixes them.
        sizes: (graphs,), int64, how many nodes.
        space: (graphs, count), int64: columns of one number share an eigenspace; -1 where a graph has fewer.
        dimension: (graphs, count), int64, of the eigenspace; 0 where a graph has fewer.
        fixed: (graphs, count), bool: sign and basis are fixed by a rule that moves with the nodes.
        forced: (graphs, count), bool: an automorphism moves the column, so that no rule can fix it. Known with exact=True.
        margin: (graphs, count), 0 to 1, dimensionless: how far the column is from a tie; below about 1e-9 it is one.
        gap: (graphs, count), 0 to 1: the distance to the next eigenspace relative to the largest eigenvalue in size.
        error: (graphs, count): about how far rounding in float64 moves the column, a unit vector; at most 1e-5 where fixed,
            infinite where a graph has fewer.
    """

    values: Tensor
    vectors: Tensor
    sizes: Tensor
    space: Tensor
    dimension: Tensor
    fixed: Tensor
    forced: Tensor
    margin: Tensor
    gap: Tensor
    error: Tensor

    def spaces(self, graph: int) -> list[Eigenspace]:
        """The eigenspaces of one graph, that of the smallest eigenvalue first.

        Raises:
            SymmetryError: no such graph.
        """
        if not -len(self.sizes) <= graph < len(self.sizes):
            raise refuse(
                "Eigenvectors: no such graph",
                got=graph,
                expected=f"0 to {len(self.sizes) - 1}",
                fix="graphs are counted from 0",
            )
        told, values = [], self.values[graph].detach().double()
        for space in torch.unique(self.space[graph]).tolist():
            ours = (self.space[graph] == space) & (self.dimension[graph] > 0)
            if bool(ours.any()):
                fixed, margin = self.fixed[graph][ours], self.margin[graph][ours]
                value = float(values[ours].mean())
                told.append(
                    Eigenspace(
                        value if abs(value) > 1e-12 * float(values.abs().amax()) else 0.0,
                        int(self.dimension[graph][ours][0]),
                        len(fixed),
                        int(fixed.sum()),
                        float(margin[fixed].min() if bool(fixed.any()) else margin.max()),
                        bool(self.forced[graph][ours].any()),
                    )
                )
        return told

    def __str__(self) -> str:
        there = self.dimension > 0
        graphs = f"{len(self.sizes)} graph{'s' * (len(self.sizes) != 1)}"
        lines = [f"Eigenvectors of {graphs}: {int(self.fixed.sum())} of {int(there.sum())} columns fixed"]
        for graph in (there & ~self.fixed).any(1).nonzero()[:8, 0].tolist():
            lines += [f"  graph {graph}, {space}" for space in self.spaces(graph) if space.open]
        left = int((there & ~self.fixed).any(1).sum()) - 8
        return "\n".join([*lines, f"  and {left} more graphs"] if left > 0 else lines)


def gathered(layout: Layout, parts: list[dict[str, Tensor]], count: int, *, exact: bool) -> Eigenvectors:
    """The parts of all blocks as one result."""
    graphs, device = len(layout.sizes), layout.sizes.device
    which = torch.cat([block.graphs for block in layout.blocks]) if parts else layout.sizes[:0]
    rows = torch.cat([block.places.flatten() for block in layout.blocks]) if parts else layout.sizes[:0]

    def put(name: str, empty: float, dtype: torch.dtype) -> Tensor:
        place, size = (rows, layout.rows) if name == "vectors" else (which, graphs)
        whole = torch.full((size, count), empty, dtype=dtype, device=device)
        padded = [
            torch.nn.functional.pad(part[name], (0, count - part[name].shape[-1]), value=empty).flatten(0, -2)
            for part in parts
        ]
        return whole.index_copy(0, place, torch.cat(padded).to(dtype)) if parts else whole

    fixed, error = put("fixed", False, torch.bool), put("error", torch.inf, torch.float64)
    dimension = put("dimension", 0, torch.int64)
    vectors = put("vectors", 0.0, torch.float64)
    if layout.width is not None:
        vectors = vectors.reshape(graphs, layout.width, count)
    return Eigenvectors(
        values=put("values", 0.0, torch.float64).to(layout.dtype),
        vectors=vectors.to(layout.dtype),
        sizes=layout.sizes,
        space=put("space", -1, torch.int64),
        dimension=dimension,
        fixed=fixed,
        forced=~fixed & (dimension > 0) & (error >= 1) if exact else torch.zeros_like(fixed),
        margin=put("margin", 0.0, torch.float64),
        gap=put("gap", 0.0, torch.float64),
        error=error,
    )
