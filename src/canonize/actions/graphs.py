"""Nodes and pairs of nodes: values that permutations act on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from torch import Tensor

from canonize.actions.base import always_bitwise, fit, permutation_of
from canonize.errors import refuse


@final
@dataclass(frozen=True)
class Nodes:
    """One row for each node: what node i had, node g[i] has afterwards.

    Values: (*batch, n, ...), any dtype.

    Raises:
        SymmetryError: a node axis that is not n, or elements that are not permutations.
    """

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        """The relabelled rows, of the shape of x."""
        return _relabel(self, permutation_of(self, g), x, axes=1)

    bitwise = always_bitwise


@final
@dataclass(frozen=True)
class Pairs:
    """One entry for each ordered pair of nodes, such as an adjacency matrix: what (i, j) had, (g[i], g[j]) has afterwards.

    Values: (*batch, n, n, ...), any dtype.

    Raises:
        SymmetryError: as for `Nodes`.
    """

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        """The relabelled entries, of the shape of x."""
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
