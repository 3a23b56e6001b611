"""Eigenvectors of symmetric matrices and of graph Laplacians, with signs and bases that move with the nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from canonize._tree import brief
from canonize._values import differentiated
from canonize.errors import refuse
from canonize.frames.eigenspaces import Eigenvectors, gathered
from canonize.frames.spectra import Block, Kind, Layout, of_graphs, of_matrices
from canonize.linalg.eigenspaces import (
    Pinned,
    eigenspace_gaps,
    guides,
    node_invariants,
    pinned,
    ranked_guides,
    symmetric_eigen,
)

Fallback = Literal["projectors", "zero", "keep", "raise"]
_EPS = torch.finfo(torch.float64).eps


@final
@dataclass(frozen=True, repr=False)
class CanonicalEigenvectors:
    """Eigenvectors whose sign and basis are fixed by a rule that moves with the nodes, and the report of what it could not fix.

    An eigenvector is known up to its sign, and those of a multiple eigenvalue up to a rotation. Here each eigenspace gets
    the projections of vectors that are functions of the nodes and do not depend on their order: of the first, of what is
    left of the second, and so on (axis projection, orthogonalised). For one direction v the sum over nodes of v_i u_i is
    made positive, where u_i is led by v_i^2: an odd moment. So vectors(P A P^T) = P vectors(A) for every permutation P,
    whatever a solver returned, to within `Eigenvectors.error`. Away from ties the result is a smooth function of the matrix.

    What an automorphism of the matrix moves, no rule can fix: the star's leaves, both ends of a path, any cycle. Then

    - fallback="projectors": the columns in question hold, each of them, the root of the diagonal of the projector onto the
      open part of the eigenspace, divided by its dimension: for one direction |v|. It does not depend on the basis and
      moves with the nodes, but is no eigenvector. `projectors` gives the whole matrices.
    - fallback="zero": zeros.
    - fallback="keep": what the solver returned, which depends on the order of nodes; the report says so.
    - fallback="raise": an error that names the graph and the eigenvalue.

    Args:
        count: how many eigenvectors, those of the smallest eigenvalues (pass -A for the largest); None for as many as the
            largest graph has nodes. What a smaller graph does not have is zero, of dimension 0.
        exact: label each graph canonically where the smooth rule leaves something open. Complete: what is still open then
            is so by an automorphism, and reported as `forced`. Needs canonaut. Compares matrix entries and colours bit for
            bit, so that it jumps where two weights become equal.
        fallback: see above.
        tolerance: neighbouring eigenvalues that differ by at most this many units of eps of float64, relative to the
            largest in size, share an eigenspace; for inputs in lower precision, at least eight units of theirs. The default,
            2^28, is a relative difference of 6e-8: below it rounding would show in the vectors.

    Computed in float64, returned in the dtype of the input. The derivative is that of the eigenvector where the eigenspace
    has one dimension, zero elsewhere, and finite everywhere, also when taken twice; it grows as one over the gap.

    Cost: that of all eigenvectors, O(n^3) a graph, batched over the graphs of one size.

    Raises:
        SymmetryError: settings that are none of these; on use, asymmetric matrices (it says how, and where), NaN, infinity,
            negative weights in a normalised Laplacian, node numbers out of range, wrong shapes, and fallback="raise".

    Singular cases: n = 0 and n = 1 are fine; of the zero matrix all vectors are one eigenspace, which only colours or
    `exact` divide, as far as nodes differ.

    Source: axis projections and their orthogonalisation: Ma et al., arXiv 2405.18378. They look at one node at a time and
    keep an arbitrary basis where it ties; the vectors projected here are smooth and several, and ties are reported.

    Example:
        >>> import torch
        >>> from canonize.frames import CanonicalEigenvectors
        >>> path = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
        >>> found = CanonicalEigenvectors()(path[None])
        >>> print(found)
        Eigenvectors of 1 graph: 2 of 3 columns fixed
          graph 0, eigenvalue 0: dimension 1, open: the rule ties
        >>> found.vectors[0, :, 1].round(decimals=4)
        tensor([0.7071, 0.0000, 0.7071])
    """

    __repr__ = brief

    count: int | None = None
    exact: bool = False
    fallback: Fallback = "projectors"
    tolerance: float = 2.0**28

    def __post_init__(self) -> None:
        whole = isinstance(self.count, int) and not isinstance(self.count, bool) and self.count >= 0
        if self.count is not None and not whole:
            raise refuse(
                "CanonicalEigenvectors: bad count",
                got=repr(self.count),
                expected="a whole number of eigenvectors, at least 0, or None for all",
                fix="CanonicalEigenvectors(8)",
            )
        if self.fallback not in ("projectors", "zero", "keep", "raise"):
            raise refuse(
                "CanonicalEigenvectors: bad fallback",
                got=repr(self.fallback),
                expected="'projectors', 'zero', 'keep' or 'raise'",
                fix="CanonicalEigenvectors(8)",
            )
        if not 2.0**10 <= self.tolerance * 1.0 <= 2.0**42:
            raise refuse(
                "CanonicalEigenvectors: bad tolerance",
                got=repr(self.tolerance),
                expected="between 2^10 and 2^42, in units of eps of float64",
                fix="CanonicalEigenvectors(8, tolerance=2.0**28)",
            )

    def __call__(
        self,
        matrix: Tensor,
        *,
        sizes: Tensor | None = None,
        mask: Tensor | None = None,
        colours: Tensor | None = None,
    ) -> Eigenvectors:
        """The eigenvectors of a batch of symmetric matrices, (batch, n, count).

        Args:
            matrix: (batch, n, n), symmetric to rounding; whole numbers are taken as floats.
            sizes: (batch,), whole numbers: how many of the first rows and columns belong to each graph; all by default.
            mask: (batch, n), bool: which rows and columns do, in place of sizes. Others may hold anything; their rows of
                the result are zero.
            colours: (batch, n) or (batch, n, features), what else tells nodes apart: they move with the nodes.
        """
        return self._solved(of_matrices(matrix, sizes, mask, colours, exact=self.exact))

    def of_graphs(
        self,
        edges: Tensor,
        sizes: Tensor | int,
        *,
        weights: Tensor | None = None,
        colours: Tensor | None = None,
        laplacian: Kind = "symmetric",
    ) -> Eigenvectors:
        """The eigenvectors of the Laplacians of a packed batch of undirected graphs, (nodes, count).

        With degrees D and adjacency A without its loops: "combinatorial" D - A; "symmetric" D^-1/2 (D - A) D^-1/2;
        "random-walk" D^-1 (D - A), whose eigenvectors v have v^T D v = 1. Nodes without edges have zeros in the matrix,
        and count as of degree 1. Where no weight is negative the first vector is the trivial one, of eigenvalue 0: constant,
        or along the roots of the degrees; it is always fixed.

        Args:
            edges: (2, m), int64, nodes numbered through the batch, each edge in both directions, as PyG has them.
                Parallel edges add up; loops are left out.
            sizes: (graphs,), how many nodes each graph has; a number for one graph.
            weights: (m,), floating point; 1 by default.
            colours: (nodes,) or (nodes, features), what else tells nodes apart.
            laplacian: see above.
        """
        return self._solved(of_graphs(edges, sizes, weights, colours, laplacian, exact=self.exact))

    def projectors(self, matrix: Tensor, *, sizes: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The projector onto the eigenspace of each column, (batch, count, n, n): free of sign and basis, always canonical.

        P A P^T has the projectors P projector P^T. Columns of one eigenspace get the same one, and its derivative.

        Args:
            matrix, sizes, mask: as for the call.
        """
        layout = of_matrices(matrix, sizes, mask, None, exact=False)
        count, n = self._columns(layout), matrix.shape[-1]
        places, parts = [], []
        for block in layout.blocks:
            values, vectors, space = symmetric_eigen(block.matrix, self._tolerance(layout))
            kept = min(count, values.shape[1])
            alike = (space[:, :kept, None] == space[:, None, :]).to(values.dtype)
            whole = (vectors[:, None] * alike[:, :, None, :]) @ vectors.mT[:, None]
            columns = (block.places - block.graphs[:, None] * n)[:, None, None, :].expand_as(whole)
            wide = whole.new_zeros(*whole.shape[:-1], n).scatter(-1, columns, whole).transpose(1, 2).flatten(0, 1)
            parts.append(torch.nn.functional.pad(wide, (0, 0, 0, count - kept)))
            places.append(block.places.flatten())
        found = matrix.new_zeros(layout.rows, count, n, dtype=torch.float64)
        if parts:
            found = found.index_copy(0, torch.cat(places), torch.cat(parts))
        return found.reshape(len(matrix), n, count, n).transpose(1, 2).to(layout.dtype)

    def _tolerance(self, layout: Layout) -> float:
        return float(max(self.tolerance * _EPS, 8 * torch.finfo(layout.dtype).eps))

    def _columns(self, layout: Layout) -> int:
        widest = max((block.matrix.shape[1] for block in layout.blocks), default=0)
        return widest if self.count is None else self.count

    def _solved(self, layout: Layout) -> Eigenvectors:
        count = self._columns(layout)
        parts = [_solve(block, count, self._tolerance(layout), self.fallback) for block in layout.blocks]
        found = gathered(layout, parts, count, exact=self.exact)
        if self.fallback == "raise":
            _check_all_fixed(found)
        return found


def _solve(block: Block, count: int, tolerance: float, fallback: Fallback) -> dict[str, Tensor]:
    """The columns of one block of graphs of equal size: (graphs, columns) each, and vectors (graphs, n, columns)."""
    values, vectors, space = symmetric_eigen(block.matrix, tolerance)
    n = values.shape[1]
    with torch.no_grad():
        gap, clear = eigenspace_gaps(values, space, tolerance)
        invariants = node_invariants(values, vectors, space, block.colours)
        dimension = torch.zeros_like(space).scatter_add(1, space, torch.ones_like(space)).gather(1, space)
        first = torch.nn.functional.pad(space.diff(dim=1) > 0, (1, 0), value=True)
        first[:, count:] = False
        told = {"gap": gap, "margin": torch.zeros_like(gap), "error": torch.full_like(gap, torch.inf)}
        fixed, written = torch.zeros_like(first), torch.zeros_like(vectors.mT)
        for d in torch.unique(dimension[first]).tolist():
            graph, start = (first & (dimension == d)).nonzero().unbind(1)
            place = (graph[:, None], start[:, None] + torch.arange(d, device=start.device))
            rows = vectors.mT[place]
            guiding = guides(invariants, graph, rows.square().sum(1) * (n / d), d)
            if block.trivial is not None:
                guiding[:, 0] = torch.where(start[:, None] == 0, block.trivial[graph], guiding[:, 0])
            ranked = None if block.ranks is None else ranked_guides(block.ranks[graph], d)
            found = pinned(rows, guiding, gap[place][:, 0], clear[place][:, 0], ranked)
            fixed[place], told["margin"][place], told["error"][place] = found.fixed, found.margin, found.error
            written[place] = torch.where(found.fixed[..., None], found.basis, _instead(found, fallback))
        alone = (dimension == 1)[:, None, :]
    if differentiated(vectors):
        # Of the other columns no derivative exists; they keep their values.
        ours = torch.where((vectors.detach() * written.mT).sum(1, keepdim=True) < 0, -vectors, vectors)
        if fallback in ("projectors", "zero"):
            ours = torch.where(fixed[:, None, :], ours, vectors.abs() if fallback == "projectors" else 0.0)
        columns = torch.where(alone, ours, written.mT)
    else:
        columns = written.mT
    if block.unscale is not None:
        columns = columns * block.unscale[..., None]
    told |= {"space": space, "dimension": dimension, "fixed": fixed, "values": values}
    return {name: part[:, :count] for name, part in told.items()} | {"vectors": columns[..., :count]}


def _instead(found: Pinned, fallback: Fallback) -> Tensor:
    """What stands in the place of directions that nothing fixes, (spaces, d, n)."""
    if fallback == "zero":
        return torch.zeros_like(found.basis)
    if fallback != "projectors":
        return found.basis
    left = (~found.fixed).to(found.basis.dtype)[..., None]
    share = (found.basis.square() * left).sum(1, keepdim=True) / left.sum(1, keepdim=True).clamp(min=1)
    return share.sqrt().expand_as(found.basis)


def _check_all_fixed(found: Eigenvectors) -> None:
    """Refuse results with something open."""
    missing = (~found.fixed & (found.dimension > 0)).any(1).nonzero()
    if len(missing):
        graph = int(missing[0, 0])
        raise refuse(
            f"CanonicalEigenvectors: nothing fixes the eigenvectors of graph {graph}",
            got=str(next(space for space in found.spaces(graph) if space.open)),
            expected='eigenspaces without symmetry, since fallback="raise"',
            fix='fallback="projectors" puts in what does not depend on the basis; colours, or exact=True, may tell apart '
            "nodes that the rule does not",
        )
