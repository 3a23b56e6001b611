"""Which graphs a batch of inputs holds, as canonical order reads them."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from canonize._tree import matched
from canonize.actions import Edges, Nodes, Numbering, Pairs, Rows, Scalar
from canonize.actions.relabel import ranked
from canonize.actions.rows import Layout, layout
from canonize.actions.sparse import is_sparse
from canonize.actions.trees import batch_of
from canonize.errors import refuse
from canonize.frames.orders import Table, linked
from canonize.groups import S
from canonize.labelling import Graphs
from canonize.symmetry import Symmetry, check_is_claim


def graphs_of(
    symmetry: Symmetry, inputs: Any, *, first: str | None = None, within: float | str = 0.0
) -> tuple[Graphs, Float[Tensor, " batch"] | None, int]:
    """The graphs that a batch of inputs holds, with ranks of values as colours of nodes and labels of edges.

    Returns:
        The graphs; the margin, where numbers are linked; how long permutations of their nodes are.

    Args:
        symmetry: a claim about `S(n)` or `S()`.
        inputs: what its inputs mirror.
        first: path of the input whose values count before all others.
        within: which numbers count as equal, as in `CanonicalOrder`.

    Raises:
        SymmetryError: as `CanonicalOrder`.
    """
    check_is_claim(symmetry, "CanonicalOrder")
    spec = symmetry.inputs
    batch, _, _ = batch_of(spec, inputs)
    where = layout(spec, inputs)
    nodes: dict[str, Tensor] = {}
    pairs: dict[str, Tensor] = {}
    edges: dict[str, Tensor] = {}
    for action, part, path in matched(spec, inputs):
        _sort_in(action, part, path, nodes, pairs, edges)
    if first is not None and first not in nodes:
        raise refuse(
            f"CanonicalOrder(first={first!r}): no such input",
            got=f"inputs of nodes {sorted(nodes)}",
            expected="the path of an input declared Nodes() or Rows(Nodes())",
            fix="take one of these names",
        )
    _check_together(nodes, pairs, where, spec)
    columns = [nodes[path] for path in sorted(nodes, key=lambda path: path != first)]
    for path, part in {**nodes, **pairs, **edges}.items():
        _check_numbers(path, part, where)
    if where is None:
        n = next(iter({**nodes, **pairs}.values())).shape[1]
        sizes = torch.full((batch,), n)
        owners = torch.arange(batch).repeat_interleave(n)
        colours = [_table(part.cpu(), 2) for part in columns]
    else:
        sizes = torch.bincount(where.index.cpu(), minlength=batch)
        _, by_sample = ranked(where.index.cpu())
        owners = where.index.cpu()[by_sample]
        colours = [_table(part.cpu()[by_sample], 1) for part in columns]
    _check_size(symmetry.group, sizes)
    margins = []
    if within != 0:
        colours, margin = _classes(colours, owners, batch, within)
        margins.append(margin)
    if where is None:
        lists, values, margin = _dense(sizes, list(pairs.values()), within)
    else:
        lists, values, margin = _listed(where, sizes, list(edges.values()), within)
    margins.append(margin)
    graphs = Graphs(
        sizes,
        lists,
        ranks(colours, len(owners)) if colours else None,
        ranks(values, lists.shape[1]) if values else None,
        directed=True,
    )
    longest = n if where is None else int(sizes.max()) if batch else 0
    return graphs, None if within == 0 else torch.stack(margins).amin(0), longest


def ranks(values: list[Tensor], count: int) -> Int[Tensor, " count"]:
    """The rank of each row among all of them, equal for equal rows: by the first column, then by the second, and so on.

    Args:
        values: tables (count, columns) of any dtype, without NaN.
        count: number of rows.
    """
    found = torch.zeros(count, dtype=torch.int64)
    for table in values:
        table = torch.view_as_real(table).flatten(1) if table.is_complex() else table
        for column in table.detach().unbind(1):
            _, place = torch.unique(column, return_inverse=True)
            _, found = torch.unique(found * (1 + int(place.max()) if count else 1) + place, return_inverse=True)
    return found


def _sort_in(
    action: Any, part: Any, path: str, nodes: dict[str, Tensor], pairs: dict[str, Tensor], edges: dict[str, Tensor]
) -> None:
    """Put an input where it belongs, and refuse what an order of nodes does not settle."""
    if action is None or isinstance(action, Scalar):
        return
    at = path and " at " + path
    if isinstance(action, Numbering):
        if isinstance(action, Edges) and not isinstance(action.nodes, Nodes):
            raise refuse(
                f"CanonicalOrder: the edges{at} are declared as if rows never changed places",
                got=repr(action),
                expected="Edges(Nodes())",
                fix="Fields(x=Rows(Nodes()), edge_index=Edges(Nodes()), batch=Index())",
            )
        return
    rows = isinstance(action, Rows)
    inner = action.action if rows else action
    if rows and action.edges and isinstance(inner, Scalar):
        edges[path] = part
    elif isinstance(inner, Nodes) and not (rows and inner.axis):
        # The nodes right after the batch, whichever axis they had.
        nodes[path] = part if rows else part.movedim(inner.axis if inner.axis < 0 else 1 + inner.axis, 1)
    elif isinstance(action, Pairs):
        # Entries that are stored as zero are no edges, as in a dense matrix.
        pairs[path] = part.to_dense() if is_sparse(part) else part
    else:
        raise refuse(
            f"CanonicalOrder orders graphs; the input{at} is declared {action!r}",
            got="an input that may tell nodes apart in a way that it does not see",
            expected="Nodes(), Pairs(), Scalar(), None; in ragged batches Rows(Nodes()), Edges(Nodes()), "
            "Rows(Scalar(), edges=True)",
            fix="for positions under Product(S(), O(3)) use Nested(PCA(), CanonicalOrder())",
        )


def _dense(
    sizes: Tensor, pairs: list[Tensor], within: float | str
) -> tuple[Tensor, list[Tensor], Float[Tensor, " batch"]]:
    """Edges, tables of their values and the margin, of matrices over pairs of nodes; all that is not zero is an edge."""
    batch, n = len(sizes), int(sizes.max()) if len(sizes) else 0
    none = torch.ones(batch, dtype=torch.float64)
    if not pairs:
        return torch.zeros(2, 0, dtype=torch.int64), [], none
    parts = [part.cpu().reshape(batch, n * n, part.shape[3:].numel()) for part in pairs]
    margin = none
    if within != 0:
        # What is linked with zero is no edge: zero is one of the numbers, in a row of its own behind the pairs.
        tables = [torch.cat([part, part.new_zeros(batch, 1, part.shape[2])], 1).flatten(0, 1) for part in parts]
        classes, margin = _classes(tables, torch.arange(batch).repeat_interleave(n * n + 1), batch, within)
        ranked_parts = [table.reshape(batch, n * n + 1, -1) for table in classes]
        parts = [part[:, :-1] - part[:, -1:] for part in ranked_parts]
    joined = torch.stack([(part != 0).any(-1) for part in parts]).any(0)
    sample, pair = joined.nonzero().unbind(1)
    ends = torch.stack([pair // max(n, 1), pair % max(n, 1)]) + sample * n
    return ends, [part[sample, pair] for part in parts], margin


def _listed(
    where: Layout, sizes: Tensor, edges: list[Tensor], within: float | str
) -> tuple[Tensor, list[Tensor], Float[Tensor, " batch"]]:
    """The same of lists of edges; nodes are numbered with the rows sorted by sample."""
    none = torch.ones(len(sizes), dtype=torch.float64)
    if where.edges is None:
        return torch.zeros(2, 0, dtype=torch.int64), [], none
    index, owners = where.index.cpu(), where.owners
    assert owners is not None
    inner, _ = ranked(index)
    place = (sizes.cumsum(0) - sizes)[index] + inner
    values, margin = [_table(part.cpu(), 1) for part in edges], none
    if within != 0:
        values, margin = _classes(values, owners.cpu(), len(sizes), within)
    return place[where.edges.cpu().long()], values, margin


def _classes(
    tables: list[Tensor], owners: Int[Tensor, " rows"], batch: int, within: float | str
) -> tuple[list[Tensor], Float[Tensor, " batch"]]:
    """Tables of ranks in place of numbers, equal for those that count as equal in their sample; and the margin."""
    margin = torch.ones(batch, dtype=torch.float64)
    inner, _ = ranked(owners)
    longest = int(inner.max()) + 1 if len(inner) else 0
    present = torch.zeros(batch, longest, dtype=torch.bool)
    present[owners, inner] = True
    found = []
    for table in tables:
        wide = torch.view_as_real(table).flatten(1) if table.is_complex() else table
        if not wide.is_floating_point() or not wide.numel():
            found.append(table)
            continue
        padded = wide.new_zeros(batch, longest, wide.shape[1])
        padded[owners, inner] = wide
        labels, near = linked(Table((padded,), present), within, alone=True)
        found.append(torch.stack([label[owners, inner] for label in labels], 1))
        margin = torch.minimum(margin, near)
    return found, margin


def _table(part: Tensor, lead: int) -> Tensor:
    """The entries behind the first `lead` axes as columns."""
    return part.reshape(part.shape[:lead].numel(), part.shape[lead:].numel())


def _check_together(nodes: dict[str, Tensor], pairs: dict[str, Tensor], where: Layout | None, spec: Any) -> None:
    sizes = {path: tuple(part.shape[1:3]) for path, part in pairs.items()}
    sizes |= {path: (part.shape[1],) * 2 for path, part in nodes.items()} if where is None else {}
    if (not sizes and where is None) or (where is not None and pairs):
        raise refuse(
            "CanonicalOrder needs a graph",
            got=repr(spec),
            expected="an input declared Pairs() or Nodes(), or a ragged batch with Rows(Nodes()) and Edges(Nodes())",
            fix="Symmetry(S(), inputs=(Nodes(), Pairs()), outputs=Scalar())",
        )
    if len(set(sizes.values())) > 1 or any(len(set(size)) > 1 or len(size) < 2 for size in sizes.values()):
        raise refuse(
            "CanonicalOrder: the inputs disagree on how many nodes there are",
            got=", ".join(f"{path or 'the input'}: {size}" for path, size in sizes.items()),
            expected="(batch, n, ...) for Nodes() and (batch, n, n, ...) for Pairs()",
            fix="put the node axes right after the batch",
        )


def _check_numbers(path: str, part: Tensor, where: Layout | None) -> None:
    lost = part.isnan()
    if bool(lost.any()):
        raise refuse(
            f"CanonicalOrder: the input{path and ' at ' + path} holds what is not a number",
            got=f"NaN at {tuple(lost.nonzero()[0].tolist())}",
            expected="numbers, which have an order",
            fix="drop or fill these entries first",
        )


def _check_size(group: Any, sizes: Tensor) -> None:
    if not isinstance(group, S):
        raise refuse(
            f"CanonicalOrder is a frame of S(n), not of {group!r}",
            got=repr(group),
            expected="S(), or S(n)",
            fix="Symmetry(S(), inputs=Pairs(), outputs=Scalar()); Nested(...) goes with products",
        )
    group.for_sizes(sizes.tolist())
