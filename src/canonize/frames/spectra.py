"""Batches of matrices, and of graphs, in blocks of equal size: what eigenvectors are computed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from canonize._tree import describe
from canonize.errors import refuse

Kind = Literal["combinatorial", "symmetric", "random-walk"]


@final
@dataclass(frozen=True)
class Block:
    """Symmetric matrices of one size.

    Attributes:
        graphs: (b,), int64: which graphs of the batch.
        places: (b, n), int64: the rows of the result that belong to their nodes.
        matrix: (b, n, n), float64.
        colours: (b, n, f), float64.
        ranks: (b, n), int64: the number of the orbit of each node in a canonical order, or None.
        trivial: (b, n): a vector of the space of the smallest eigenvalue, known beforehand, or None.
        unscale: (b, n): what the rows of the vectors are multiplied with in the end, or None.
    """

    graphs: Tensor
    places: Tensor
    matrix: Tensor
    colours: Tensor
    ranks: Tensor | None = None
    trivial: Tensor | None = None
    unscale: Tensor | None = None


@final
@dataclass(frozen=True)
class Layout:
    """A batch in blocks; `rows` of the result in all, as a dense batch of `width` rows a graph where that is a number."""

    blocks: list[Block]
    sizes: Tensor
    rows: int
    width: int | None
    dtype: torch.dtype


def of_matrices(
    matrix: Tensor, sizes: Tensor | None, mask: Tensor | None, colours: Tensor | None, *, exact: bool
) -> Layout:
    """Blocks of a dense batch (batch, n, n).

    Raises:
        SymmetryError: wrong shapes, complex numbers, NaN, infinity, matrices that are not symmetric.
    """
    if not isinstance(matrix, Tensor) or matrix.ndim != 3 or matrix.shape[1] != matrix.shape[2] or matrix.is_complex():
        raise refuse(
            "CanonicalEigenvectors needs square real matrices",
            got=describe(matrix),
            expected="a tensor (batch, n, n), real or whole numbers",
            fix="matrix[None] adds a batch axis to one matrix; of_graphs(edges, sizes) takes edge lists",
        )
    batch, n = matrix.shape[:2]
    dtype = matrix.dtype if matrix.is_floating_point() else torch.get_default_dtype()
    there = _mask(matrix, sizes, mask)
    counts = there.sum(1)
    held = torch.where(there[:, :, None] & there[:, None, :], matrix.double(), 0.0)
    _check_symmetric(held, torch.finfo(dtype).eps if matrix.is_floating_point() else 0.0)
    held = (held + held.mT) / 2
    shades = _colours(colours, (batch, n), matrix.device)
    ranks = _ranks_of_matrices(held.detach(), there, shades) if exact else None
    # Nodes that are there first, in their own order.
    order = (~there).to(torch.int8).argsort(dim=1, stable=True)
    blocks = []
    for size in torch.unique(counts).tolist():
        if size == 0:
            continue
        graphs = (counts == size).nonzero()[:, 0]
        kept = order[graphs, :size]
        part = held[graphs[:, None, None], kept[:, :, None], kept[:, None, :]]
        owner = graphs[:, None]
        rank = None if ranks is None else ranks[owner, kept]
        blocks.append(Block(graphs, owner * n + kept, part, shades[owner, kept], rank))
    return Layout(blocks, counts, batch * n, n, dtype)


def of_graphs(
    edges: Tensor, sizes: Tensor | int, weights: Tensor | None, colours: Tensor | None, kind: Kind, *, exact: bool
) -> Layout:
    """Blocks of the Laplacians of a packed batch of graphs.

    Raises:
        SymmetryError: wrong shapes or dtypes, nodes out of range, edges between graphs, NaN, infinity, edges in one direction
            only or of another weight in the other, negative weights in a normalised Laplacian.
    """
    sizes, owner = _checked_graphs(edges, sizes, kind)
    nodes = len(owner)
    if weights is None:
        dtype, held = torch.get_default_dtype(), torch.ones(edges.shape[1], dtype=torch.float64, device=edges.device)
    else:
        dtype, held = weights.dtype, _checked_weights(weights, edges, kind)
    loops = edges[0] == edges[1]
    edges, held = edges[:, ~loops], held[~loops]
    shades = _colours(colours, (nodes,), edges.device)
    ranks = _ranks_of_graphs(sizes, edges, None if weights is None else held.detach(), shades) if exact else None
    begins = sizes.cumsum(0) - sizes
    row, graph_of_edge = edges[0], owner[edges[0]]
    column = edges[1] - begins[graph_of_edge]
    signed = bool((held < 0).any())
    blocks = []
    for size in torch.unique(sizes).tolist():
        if size == 0:
            continue
        graphs = (sizes == size).nonzero()[:, 0]
        places = begins[graphs, None] + torch.arange(size, device=edges.device)
        slot = torch.zeros_like(sizes).index_copy(0, graphs, torch.arange(len(graphs), device=edges.device))
        ours = (sizes[graph_of_edge] == size).nonzero()[:, 0]
        mine = graph_of_edge[ours]
        cell = (slot[mine] * size + row[ours] - begins[mine]) * size + column[ours]
        adjacency = held.new_zeros(len(graphs) * size * size).index_add(0, cell, held[ours])
        adjacency = adjacency.reshape(len(graphs), size, size)
        _check_symmetric(adjacency, torch.finfo(dtype).eps, places=places)
        matrix, trivial, unscale = _laplacian((adjacency + adjacency.mT) / 2, kind)
        rank = None if ranks is None else ranks[places]
        blocks.append(Block(graphs, places, matrix, shades[places], rank, None if signed else trivial, unscale))
    return Layout(blocks, sizes, nodes, None, dtype)


def _laplacian(adjacency: Tensor, kind: Kind) -> tuple[Tensor, Tensor, Tensor | None]:
    """A symmetric Laplacian, a vector of its null space, and what makes its eigenvectors those of the kind."""
    degrees = adjacency.sum(-1)
    if kind == "combinatorial":
        return torch.diag_embed(degrees) - adjacency, torch.ones_like(degrees.detach()), None
    bare = degrees <= 0
    root = torch.where(bare, 1.0, degrees).sqrt()
    matrix = torch.diag_embed((~bare).to(root.dtype)) - adjacency / (root[:, :, None] * root[:, None, :])
    return matrix, root.detach(), 1 / root if kind == "random-walk" else None


def _ranks_of_matrices(held: Tensor, there: Tensor, shades: Tensor) -> Tensor:
    batch, n = there.shape
    sizes = there.sum(1)
    number = torch.zeros(batch * n, dtype=torch.int64, device=held.device)
    rows = there.flatten().nonzero()[:, 0]
    number[rows] = torch.arange(len(rows), device=held.device)
    graph, i, j = (held.triu(1) != 0).nonzero().unbind(1)
    edges = number[torch.stack([graph * n + i, graph * n + j])]
    loops = torch.cat([held.diagonal(dim1=1, dim2=2)[..., None], shades], -1).flatten(0, 1)[rows]
    ranks = _ranks_of_graphs(sizes, torch.cat([edges, edges.flip(0)], 1), held[graph, i, j].repeat(2), loops)
    return torch.zeros_like(number).index_copy(0, rows, ranks).reshape(batch, n)


def _ranks_of_graphs(sizes: Tensor, edges: Tensor, weights: Tensor | None, shades: Tensor) -> Tensor:
    """For each node the place, in the canonical order of its graph, of the first node of its orbit."""
    from canonize.labelling import Graphs, label

    colours = torch.unique(shades, dim=0, return_inverse=True)[1] if shades.shape[1] and len(shades) else None
    once = edges[0] < edges[1]
    if weights is not None:
        once = once & (weights != 0)
    labels = None if weights is None else torch.unique(weights[once], return_inverse=True)[1]
    named = label(Graphs(sizes, edges[:, once], colours, labels))
    place = torch.empty_like(named.order)
    place[named.order] = torch.arange(len(place), device=place.device)
    first = torch.full_like(place, len(place)).scatter_reduce(0, named.orbits, place, "amin")
    begins = sizes.cumsum(0) - sizes
    return first[named.orbits] - begins.repeat_interleave(sizes)


def _mask(matrix: Tensor, sizes: Tensor | None, mask: Tensor | None) -> Tensor:
    batch, n = matrix.shape[:2]
    if sizes is not None and mask is not None:
        raise refuse("CanonicalEigenvectors: sizes and mask", got="both", expected="one of them", fix="leave one out")
    if mask is not None:
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != (batch, n):
            raise refuse(
                "CanonicalEigenvectors: bad mask",
                got=describe(mask),
                expected=f"a bool tensor {(batch, n)}, True for rows that belong to the graph",
                fix="mask = mask.bool()",
            )
        return mask
    if sizes is None:
        return torch.ones(batch, n, dtype=torch.bool, device=matrix.device)
    whole = isinstance(sizes, Tensor) and not sizes.is_floating_point() and sizes.shape == (batch,)
    if not whole or bool(((sizes < 0) | (sizes > n)).any()):
        raise refuse(
            "CanonicalEigenvectors: bad sizes",
            got=describe(sizes) if not whole else f"sizes from {int(sizes.min())} to {int(sizes.max())}",
            expected=f"whole numbers ({batch},) from 0 to {n}",
            fix="sizes counts the rows of each matrix that belong to its graph",
        )
    return torch.arange(n, device=matrix.device) < sizes[:, None]


def _colours(colours: Tensor | None, shape: tuple[int, ...], device: torch.device) -> Tensor:
    if colours is None:
        return torch.zeros(*shape, 0, dtype=torch.float64, device=device)
    good = isinstance(colours, Tensor) and colours.shape[: len(shape)] == shape and not colours.is_complex()
    if not good or colours.ndim > len(shape) + 1:
        raise refuse(
            "CanonicalEigenvectors: colours of the wrong shape",
            got=describe(colours),
            expected=f"a tensor {shape} or {(*shape, 'features')}, one entry a node",
            fix="give each node its colour or its features, in the order of the nodes",
        )
    held = colours.detach().double()
    held = held[..., None] if held.ndim == len(shape) else held
    # Minus zero is zero.
    return _finite(held, "colours") + 0.0


def _checked_graphs(edges: Tensor, sizes: Tensor | int, kind: Kind) -> tuple[Tensor, Tensor]:
    """The sizes as a tensor and the graph of each node."""
    if kind not in ("combinatorial", "symmetric", "random-walk"):
        raise refuse(
            "CanonicalEigenvectors: no such Laplacian",
            got=repr(kind),
            expected="'combinatorial', 'symmetric' or 'random-walk'",
            fix='laplacian="symmetric"',
        )
    whole = isinstance(edges, Tensor) and not edges.is_floating_point() and edges.dtype != torch.bool
    if not whole or edges.ndim != 2 or edges.shape[0] != 2:
        raise refuse(
            "CanonicalEigenvectors: bad edges",
            got=describe(edges),
            expected="whole numbers (2, m), nodes numbered through the batch",
            fix="edges.T, if they come as (m, 2); a dense adjacency matrix goes into the call itself",
        )
    sizes = torch.as_tensor([sizes] if isinstance(sizes, int) else sizes, device=edges.device)
    if sizes.ndim != 1 or sizes.is_floating_point() or bool((sizes < 0).any()):
        raise refuse(
            "CanonicalEigenvectors: bad sizes",
            got=describe(sizes),
            expected="whole numbers (graphs,), at least 0: how many nodes each graph has",
            fix="sizes = torch.bincount(batch, minlength=graphs)",
        )
    nodes = int(sizes.sum())
    if edges.numel() and (int(edges.min()) < 0 or int(edges.max()) >= nodes):
        raise refuse(
            "CanonicalEigenvectors: edges between nodes that are not there",
            got=f"nodes {int(edges.min())} to {int(edges.max())}",
            expected=f"0 to {nodes - 1}, since the graphs have {nodes} nodes in all",
            fix="number the nodes from 0 through the batch, and count nodes without edges in sizes",
        )
    owner = torch.arange(len(sizes), device=edges.device).repeat_interleave(sizes)
    across = (owner[edges[0]] != owner[edges[1]]).nonzero()
    if len(across):
        pair = edges[:, int(across[0, 0])].tolist()
        raise refuse(
            "CanonicalEigenvectors: an edge between two graphs",
            got=f"edge {pair[0]} - {pair[1]}, in graphs {owner[pair].tolist()}",
            expected="edges inside of a graph",
            fix="number the nodes through the batch, as Batch.from_data_list does",
        )
    return sizes.long(), owner


def _checked_weights(weights: Tensor, edges: Tensor, kind: Kind) -> Tensor:
    if not isinstance(weights, Tensor) or not weights.is_floating_point() or weights.shape != edges.shape[1:]:
        raise refuse(
            "CanonicalEigenvectors: bad weights",
            got=describe(weights),
            expected=f"floating-point numbers ({edges.shape[1]},), one an edge",
            fix="weights = weights.float(); edge features of several columns are no weights",
        )
    held = _finite(weights.double(), "weights")
    if kind != "combinatorial" and bool((held < 0).any()):
        edge = int((held < 0).int().argmax())
        raise refuse(
            "CanonicalEigenvectors: a normalised Laplacian of negative weights",
            got=f"weight {float(held[edge]):.6g} of edge {edges[:, edge].tolist()}",
            expected="weights of at least 0, since degrees are divided by",
            fix='laplacian="combinatorial"',
        )
    return held


def _finite(held: Tensor, what: str) -> Tensor:
    bad = (~held.isfinite()).nonzero()
    if len(bad):
        raise refuse(
            f"CanonicalEigenvectors: {what} that are not numbers",
            got=f"{float(held[tuple(bad[0])])} at {bad[0].tolist()}, {len(bad)} in all",
            expected="finite numbers",
            fix="drop or fill these entries first",
        )
    return held


def _check_symmetric(held: Tensor, eps: float, *, places: Tensor | None = None) -> None:
    """Refuse what differs from its transpose by more than rounding; `places` are the numbers of the nodes."""
    _finite(held, "matrix entries")
    off = (held - held.mT).detach().abs()
    largest = held.detach().abs().amax((1, 2), keepdim=True) if held.numel() else off
    bad = (off > 16 * eps * largest).nonzero()
    if len(bad):
        graph, i, j = map(int, bad[off[tuple(bad.T)].argmax()])
        pair = f"[{i}, {j}]" if places is None else f"edge {int(places[graph, i])} - {int(places[graph, j])}"
        raise refuse(
            "CanonicalEigenvectors: a matrix that is not symmetric" if places is None else
            "CanonicalEigenvectors: a graph that is not undirected",
            got=f"{pair}{f' of matrix {graph}' if places is None else ''}: {float(held[graph, i, j]):.6g} one way, "
            f"{float(held[graph, j, i]):.6g} the other; {len(bad) // 2} such pairs",
            expected="the same both ways, to rounding",
            fix="(matrix + matrix.mT) / 2 if that is meant" if places is None else
            "list each edge in both directions, with the same weight: torch.cat([edges, edges.flip(0)], 1)",
        )  # fmt: skip
