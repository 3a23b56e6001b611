"""Graphs: the nodes in an order that does not depend on how they are numbered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch

from canonize._tree import brief, spec_leaves
from canonize._values import sent
from canonize.actions import Numbering, Scalar
from canonize.actions.relabel import ranked
from canonize.actions.trees import batch_of
from canonize.errors import refuse
from canonize.frames.base import Poses
from canonize.frames.graphs import graphs_of
from canonize.frames.orbits import Automorphisms
from canonize.frames.orders import check_within
from canonize.labelling import label
from canonize.symmetry import Symmetry


@final
@dataclass(frozen=True, repr=False)
class CanonicalOrder:
    """The pose of a graph: its nodes in canonical order, the same for every numbering of them. One model call, exact.

    Nodes are ordered by their values first (all inputs declared `Nodes()` or `Rows(Nodes())`, side by side), then by how
    they are joined: by pairs (`Pairs()`: an entry that is zero everywhere is no edge, all others are edges with that value;
    symmetric or not, loops included), or by lists of edges (`Edges(Nodes())`, with their values as `Rows(Scalar(),
    edges=True)`). What this leaves undecided is decided by exact canonical labelling; nodes that even then
    cannot be told apart are exchanged by automorphisms of the graph, and outputs are averaged over their orbits, so that
    interchangeable nodes, pairs and edges get equal answers.

    Two graphs have the same canonical form if and only if they are isomorphic. A change of one edge may reorder everything:
    `first` names an input that settles the order from outside, as far as it goes.

    Args:
        first: path of an input declared `Nodes()` or `Rows(Nodes())` that is compared before all others, such as an
            identity that nodes have in a whole data set (a gene, an atom of a reaction, a landmark). Where the nodes of a graph
            all differ in it, the order is that of the identities: a universal one, which no edit of edges moves.
        within: which floating-point numbers count as equal: 0 for those that are, bit for bit up to the sign of zero; a share
            of the range of their input, or "rounding", as in `Sorted`: numbers of one graph that are linked by such gaps are
            one value, zero included, so that an edge of a weight near zero is none. The model sees the numbers as they are:
            what linked numbers differ by is what the result is exact to.
        limit: seconds for the exact labelling of one graph; None for no limit.

    `Poses.margin` is told where `within` is not 0: the smallest difference of a gap and the threshold, over the range. Where
    it is 0 numbers are what they are: weights that differ in the last bit make different graphs.

    Raises:
        SymmetryError: nothing that canonical order knows how to read, NaN, a graph that is not labelled within the limit, an
            output that cannot be averaged over automorphisms.

    Needs `pip install canonize[graphs]`.

    Example:
        >>> import torch
        >>> from canonize import CanonicalOrder, Nodes, Pairs, S, Symmetry, symmetrize
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(25, 5))
        >>> exact = symmetrize(model, Symmetry(S(), inputs=Pairs(), outputs=Nodes()), CanonicalOrder())
        >>> ring = torch.eye(5).roll(1, 0) + torch.eye(5).roll(-1, 0)
        >>> len(exact(ring[None]).unique())  # the nodes of a ring are all alike
        1

    Source: McKay, Piperno, doi 10.1016/j.jsc.2013.09.003; Dong et al., arXiv 2309.00738.
    """

    __repr__ = brief

    first: str | None = None
    within: float | str = 0.0
    limit: float | None = 60.0

    def __post_init__(self) -> None:
        check_within("CanonicalOrder", self.within)
        if self.limit is not None and not (isinstance(self.limit, int | float) and self.limit > 0):
            raise refuse(
                "CanonicalOrder: bad limit", got=repr(self.limit), expected="seconds above 0, or None", fix="limit=60.0"
            )

    def __call__(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """One permutation for each graph."""
        graphs, margin, longest = graphs_of(symmetry, inputs, first=self.first, within=self.within)
        _, dtype, device = batch_of(symmetry.inputs, inputs)
        found = label(graphs, limit=self.limit)
        counts, batch = graphs.sizes, len(graphs.sizes)
        owners = torch.repeat_interleave(torch.arange(batch), counts)
        ranks, _ = ranked(owners)
        elements = torch.arange(longest).expand(batch, longest).clone()
        elements[owners, ranks] = found.order - (counts.cumsum(0) - counts)[owners]
        weights = torch.ones(1, batch, dtype=dtype, device=device)
        # Looking for automorphisms takes longer than the order does; what belongs to a whole graph does not feel them.
        whole = all(leaf is None or isinstance(leaf, Scalar | Numbering) for leaf in spec_leaves(symmetry.outputs))
        rigid = whole or torch.equal(found.orbits, torch.arange(len(owners)))
        fixed = None if rigid else Automorphisms(graphs, found, torch.arange(batch))
        return Poses(sent(elements[None], device), weights, None if margin is None else sent(margin, device), fixed)
