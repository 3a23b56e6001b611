"""Sparse matrices over pairs of nodes: what permutations do to their indices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from canonize._tree import describe
from canonize.errors import refuse

_ROWS = (torch.sparse_csr, torch.sparse_csc)


def is_sparse(x: Any) -> bool:
    """Whether a tensor is stored by its entries: as COO, CSR or CSC."""
    return isinstance(x, Tensor) and x.layout in (torch.sparse_coo, *_ROWS)


def relabelled_entries(action: Any, g: Tensor, x: Tensor) -> Tensor:
    """The relabelled matrices (batch, n, n), in the layout in which they came; entries stored as zero stay stored.

    Args:
        action: for messages.
        g: permutations (batch, n).
        x: sparse, (batch, n, n, ...); entries may be vectors.

    Raises:
        SymmetryError: other axes.
    """
    n = g.shape[-1]
    if g.ndim != 2 or x.ndim < 3 or x.shape[0] != len(g) or x.shape[1:3] != (n, n) or _kept(x) != 3:
        raise refuse(
            f"{action!r}: the sparse matrices do not fit the permutations",
            got=f"{describe(x)}, permutations {tuple(g.shape)}",
            expected="(batch, n, n), sparse in these three axes",
            fix="torch.stack([a.to_sparse() for a in matrices]) for a batch of one size; edges of graphs of different sizes "
            "are declared as Edges(Nodes())",
        )
    entries = coo(x)
    sample, i, j = entries.indices()
    places = torch.stack([sample, g[sample, i], g[sample, j]])
    moved = torch.sparse_coo_tensor(places, entries.values(), entries.shape, check_invariants=False).coalesce()
    return like(moved, x)


def taken_entries(x: Tensor, samples: Tensor) -> Tensor:
    """The samples of these numbers, also several times, in the layout in which they came."""
    return like(coo(x).index_select(0, samples).coalesce(), x)


def coo(x: Tensor) -> Tensor:
    """Sorted COO entries of a sparse tensor, each place once."""
    entries: Tensor = x if x.layout == torch.sparse_coo else x.to_sparse(layout=torch.sparse_coo)
    return entries.coalesce()


def like(entries: Tensor, x: Tensor) -> Tensor:
    """COO entries (batch, n, n) in the layout of another tensor, with as many entries in each sample as that needs."""
    if x.layout == torch.sparse_coo:
        return entries
    batch, n = entries.shape[:2]
    sample, i, j = entries.indices()
    rows, columns, values = (i, j, entries.values()) if x.layout == torch.sparse_csr else (j, i, entries.values())
    order = ((sample * n + rows) * n + columns).argsort()
    ends = torch.bincount(sample * n + rows, minlength=batch * n).reshape(batch, n).cumsum(1)
    starts = torch.cat([ends.new_zeros(batch, 1), ends], 1)
    shape = (batch, len(order) // max(batch, 1))
    return torch.sparse_compressed_tensor(
        starts,
        columns[order].reshape(shape),
        values[order].reshape(*shape, *values.shape[1:]),
        entries.shape,
        layout=x.layout,
        check_invariants=False,
    )


def numbers(x: Tensor) -> Tensor:
    """The entries that are stored, of a dense tensor all."""
    if not is_sparse(x):
        return x
    return coo(x).values()


def _kept(x: Tensor) -> int:
    """The number of axes that are stored by index."""
    return x.ndim if x.layout in _ROWS else x.sparse_dim()
