"""How far the canonical form of a graph moves when one edge is added or removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from canonize._tree import matched, to_tensors, walk
from canonize.actions import Edges, Pairs, Rows
from canonize.actions.relabel import ranked
from canonize.actions.rows import Layout, layout
from canonize.actions.trees import batch_of
from canonize.errors import refuse, within
from canonize.frames.base import draws
from canonize.frames.check import check_is_frame
from canonize.groups.base import check_is_group
from canonize.symmetry import Symmetry, arguments, check_is_claim


@final
@dataclass(frozen=True)
class Stability:
    """What `audit_stability` found. Print it.

    Attributes:
        frame: the frame, as it prints.
        moved: (edits, samples), float64: entries of the canonical adjacency matrix that changed, over those that were edited;
            1 where nothing moved but the edge itself, NaN for graphs without room for an edit.
    """

    frame: str
    moved: Float[Tensor, "edits samples"]

    @property
    def known(self) -> Float[Tensor, " found"]:
        """The ratios of all edits that were made."""
        return self.moved[~self.moved.isnan()]

    @property
    def still(self) -> float:
        """The share of edits, from 0 to 1, after which nothing moved but the edge itself; NaN without edits."""
        return float((self.known <= 1).double().mean())

    @property
    def median(self) -> float:
        """The median ratio; NaN without edits."""
        return float(self.known.median()) if self.known.numel() else float("nan")

    @property
    def worst(self) -> float:
        """The largest ratio; NaN without edits."""
        return float(self.known.max()) if self.known.numel() else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """The figures, for JSON."""
        return {
            "frame": self.frame,
            "edits": self.known.numel(),
            "still": self.still,
            "median": self.median,
            "worst": self.worst,
        }

    def __str__(self) -> str:
        if not self.known.numel():
            return f"{self.frame}: no graph has room for an edit"
        return (
            f"{self.frame}: after one edge is added or removed, {self.still:.0%} of {self.known.numel()} canonical forms "
            "change in that edge alone; entries changed for each that was edited: "
            f"median {self.median:.3g}, worst {self.worst:.3g}"
        )


def audit_stability(
    frame: Any, symmetry: Symmetry, inputs: Any, *, edits: int = 8, generator: torch.Generator | None = None
) -> Stability:
    """How far the canonical form of each graph moves when one edge, drawn at random, is added or removed.

    A canonical order is exact, but one edge may reorder everything, and a model that minds the order then sees another graph.
    Where nodes have identities, `CanonicalOrder(first=...)` makes the order universal, and nothing moves but the edge.

    Args:
        frame: of graphs, one pose a sample, such as `CanonicalOrder()`.
        symmetry: the claim; inputs with one `Pairs()`, or with `Edges(Nodes())`. Undirected graphs are edited in both
            directions; a new edge takes its values from an edge of the same graph, 1 where there is none.
        inputs: what a model would take.
        edits: how many edits of each graph.
        generator: source of randomness; seed 0 where None.

    Raises:
        SymmetryError: inputs without a graph, edits below 1, a frame with several poses.

    Source: stability of universal graph canonization, Dong et al., arXiv 2309.00738.

    Example:
        >>> import torch
        >>> from canonize import CanonicalOrder, Nodes, Pairs, S, Scalar, Symmetry, audit_stability
        >>> claim = Symmetry(S(), {"gene": Nodes(), "links": Pairs()}, Scalar())
        >>> links = (torch.rand(4, 9, 9, generator=torch.Generator().manual_seed(0)) < 0.3).float()
        >>> graphs = {"gene": torch.arange(9).expand(4, 9), "links": links}
        >>> audit_stability(CanonicalOrder(first=".gene"), claim, graphs).still
        1.0
    """
    check_is_claim(symmetry, "audit_stability")
    check_is_frame(frame, "audit_stability")
    check_is_group(symmetry.group, "audit_stability")
    if not isinstance(edits, int) or isinstance(edits, bool) or edits < 1:
        raise refuse("audit_stability: bad edits", got=repr(edits), expected="a whole number from 1", fix="edits=8")
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    value, _ = to_tensors(arguments(symmetry, inputs))
    with within("audit_stability(...)"), torch.no_grad():
        batch = batch_of(symmetry.inputs, value)[0]
        before = _form(frame, symmetry, value, batch)
        rows = []
        for _ in range(edits):
            edited, made = _edited(symmetry, value, batch, generator)
            after = _form(frame, symmetry, edited, batch)
            changed = torch.zeros(batch, dtype=torch.float64)
            for edge in before ^ after:
                changed[edge[0]] += 1
            rows.append(torch.where(made > 0, changed / made.clamp(min=1), torch.nan))
    return Stability(repr(frame), torch.stack(rows))


def _form(frame: Any, symmetry: Symmetry, value: Any, batch: int) -> set[tuple[int, int, int]]:
    """All edges of the canonical forms, as (sample, place, place)."""
    poses = frame(symmetry, value, **draws(frame, torch.Generator().manual_seed(0)))
    if poses.count != 1:
        raise refuse(
            "stability is that of one canonical form",
            got=f"{poses.count} poses a sample",
            expected="a frame with one pose, such as CanonicalOrder()",
            fix="audit_stability(CanonicalOrder(), ...)",
        )
    back = symmetry.group.inverse(poses.elements[0])
    sample, ends = _edges(symmetry, value)
    places = back[sample, ends]
    return set(zip(sample.tolist(), places[0].tolist(), places[1].tolist(), strict=True))


def _edges(symmetry: Symmetry, value: Any) -> tuple[Tensor, Tensor]:
    """The sample of each edge, and the numbers within it of the nodes that it joins, (2, edges)."""
    pairs = _only_pairs(symmetry, value)
    if pairs is not None:
        joined = pairs.flatten(3).ne(0).any(-1) if pairs.ndim > 3 else pairs.ne(0)
        sample, i, j = joined.nonzero().unbind(1)
        return sample, torch.stack([i, j])
    where = layout(symmetry.inputs, value)
    assert where is not None
    assert where.edges is not None
    inner, _ = ranked(where.index)
    owners = where.owners
    assert owners is not None
    return owners, inner[where.edges.long()]


def _only_pairs(symmetry: Symmetry, value: Any) -> Tensor | None:
    """The one input declared `Pairs()`; None where edges are listed."""
    found = [part for action, part, _ in matched(symmetry.inputs, value) if isinstance(action, Pairs)]
    listed = any(isinstance(action, Edges) for action, _, _ in matched(symmetry.inputs, value))
    if len(found) + listed != 1:
        raise refuse(
            "audit_stability edits one graph a sample",
            got=f"{len(found)} inputs declared Pairs(), {'one' if listed else 'none'} declared Edges(Nodes())",
            expected="one of them",
            fix="Symmetry(S(), inputs=(Nodes(), Pairs()), outputs=Scalar())",
        )
    return found[0] if found else None


def _edited(symmetry: Symmetry, value: Any, batch: int, generator: torch.Generator) -> tuple[Any, Tensor]:
    """The value with one edge more or less in each graph, and how many directed edges that is, (batch,)."""
    pairs = _only_pairs(symmetry, value)
    if pairs is not None:
        new, made = _edited_pairs(pairs, generator)
        return walk(
            lambda action, part, *, path: new if isinstance(action, Pairs) else part, symmetry.inputs, value
        ), made
    where = layout(symmetry.inputs, value)
    assert where is not None
    keep, added, source, made = _edited_lists(where, batch, generator)

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if isinstance(action, Edges):
            return torch.cat([part[:, keep], added.to(part.dtype)], 1)
        if isinstance(action, Rows) and action.edges:
            copied = part[source.clamp(min=0)] if len(part) else part.new_ones(len(source), *part.shape[1:])
            copied = torch.where((source >= 0).reshape(-1, *(1,) * (part.ndim - 1)), copied, torch.ones_like(copied))
            return torch.cat([part[keep], copied])
        return part

    return walk(leaf, symmetry.inputs, value), made


def _edited_pairs(pairs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    new, made = pairs.clone(), torch.zeros(len(pairs))
    n = pairs.shape[1]
    for sample in range(len(pairs) if n > 1 else 0):
        i, j = torch.randperm(n, generator=generator)[:2].tolist()
        here = new[sample]
        both = bool(torch.equal(here, here.transpose(0, 1)))
        joined = here.flatten(2).ne(0).any(-1) if here.ndim > 2 else here.ne(0)
        if bool(joined[i, j]):
            here[i, j] = 0
        else:
            others = (joined & ~torch.eye(n, dtype=torch.bool)).nonzero()
            pick = int(torch.randint(max(1, len(others)), (), generator=generator))
            here[i, j] = here[tuple(others[pick])] if len(others) else 1
        made[sample] = 1 + both
        if both:
            here[j, i] = here[i, j]
    return new, made


def _edited_lists(where: Layout, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Which edges stay, those that are added, the edge whose values each of these takes (-1: none), and how many changed."""
    assert where.edges is not None
    owners = where.owners
    assert owners is not None
    edges = where.edges.long()
    keep, made = torch.ones(edges.shape[1], dtype=torch.bool), torch.zeros(batch)
    added: list[list[int]] = []
    source: list[int] = []
    _, by_sample = ranked(where.index)
    counts = torch.bincount(where.index, minlength=batch)
    starts = counts.cumsum(0) - counts
    for sample, n in enumerate(counts.tolist()):
        if n < 2:
            continue
        i, j = by_sample[starts[sample] + torch.randperm(n, generator=generator)[:2]].tolist()
        mine = (owners == sample).nonzero()[:, 0]
        here = edges[:, mine]
        listed = set(map(tuple, here.T.tolist()))
        both = all((b, a) in listed for a, b in listed)
        if (i, j) in listed:
            gone = ((here[0] == i) & (here[1] == j)) | (both & (here[0] == j) & (here[1] == i))
            keep[mine[gone]] = False
        else:
            pick = int(mine[torch.randint(len(mine), (), generator=generator)]) if len(mine) else -1
            added += [[i, j], [j, i]] if both else [[i, j]]
            source += [pick] * (1 + both)
        made[sample] = 1 + both
    ends = torch.tensor(added, dtype=torch.int64).reshape(-1, 2).T
    return keep, ends, torch.tensor(source, dtype=torch.int64), made
