"""Nodes and pairs of nodes: values that permutations act on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from torch import Tensor

from canonize._tree import brief
from canonize.actions.base import always_bitwise, fit, permutation_of
from canonize.actions.sparse import is_sparse, relabelled_entries
from canonize.errors import refuse


@final
@dataclass(frozen=True, repr=False)
class Nodes:
    """One row for each node: what node i had, node g[i] has afterwards. Also the samples of a signal, in their order.

    Args:
        axis: which axis after the batch counts the nodes; -1, the last, for signals (batch, channels, n).

    Values: (*batch, n, ...), any dtype.

    Raises:
        SymmetryError: a node axis that is not n, or elements that are not permutations.
    """

    __repr__ = brief

    axis: int = 0

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        """The relabelled rows, of the shape of x."""
        g = permutation_of(self, g)
        if not self.axis:
            return _relabel(self, g, x, axes=1)
        lead = g.ndim - 1
        x = fit(self, g.shape[:-1], x, 1, g.device)
        try:
            rows = x.movedim(self.axis if self.axis < 0 else lead + self.axis, lead)
        except IndexError:
            raise refuse(
                f"{self!r}: the value has no such axis",
                got=f"shape {tuple(x.shape)}",
                expected=f"axis {self.axis} after {lead} batch axes",
                fix="Nodes(axis=-1) for the last axis",
            ) from None
        return _relabel(self, g, rows, axes=1).movedim(lead, self.axis if self.axis < 0 else lead + self.axis)

    bitwise = always_bitwise


@final
@dataclass(frozen=True)
class Pairs:
    """One entry for each ordered pair of nodes, such as an adjacency matrix: what (i, j) had, (g[i], g[j]) has afterwards.

    Values: (*batch, n, n, ...), any dtype; (batch, n, n) also sparse, as COO, CSR or CSC, whose entries stay stored.

    Raises:
        SymmetryError: as for `Nodes`.
    """

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        """The relabelled entries, of the shape of x."""
        if is_sparse(x):
            return relabelled_entries(self, permutation_of(self, g), x)
        return _relabel(self, permutation_of(self, g), x, axes=2)

    bitwise = always_bitwise


def _relabel(action: Any, g: Tensor, x: Tensor, *, axes: int) -> Tensor:
    batch, n = g.shape[:-1], g.shape[-1]
    x = fit(action, batch, x, axes, g.device)
    lead = len(batch)
    if any(size != n for size in x.shape[lead : lead + axes]):
        raise refuse(
            f"{action!r}: the value does not have the size of the permutations",
            got=f"shape {tuple(x.shape)}, permutations of {n}",
            expected=f"(batch, {', '.join([str(n)] * axes)}, ...)",
            fix=f"put the node {'axis' if axes == 1 else 'axes'} right after the batch, and use S({x.shape[lead]})",
        )
    source = g.argsort(-1)
    for axis in range(lead, lead + axes):
        index = source.reshape(*batch, *(1,) * (axis - lead), n, *(1,) * (x.ndim - axis - 1))
        x = x.gather(axis, index.expand(x.shape))
    return x
