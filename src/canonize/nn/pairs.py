"""Who hears whom in a batch of clouds: all points of a sample each other, or along edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from canonize._tree import describe
from canonize.errors import refuse
from canonize.nn._checks import part
from canonize.nn.clouds import Cloud


@dataclass(frozen=True)
class Pairs:
    """Pairs of points, `pairs` being (batch, n, n) for dense clouds, (edges,) for ragged ones.

    Attributes:
        hears, sends: (edges,), rows; None for dense clouds.
        rows: how many rows there are.
        share: (*pairs, 1), how much each sender counts; they sum to one over those whom a point hears, if any.
        features: (*pairs, e), numbers that do not turn.
    """

    hears: Tensor | None
    sends: Tensor | None
    rows: int
    share: Tensor
    features: Tensor

    def hearing(self, values: Tensor) -> Tensor:
        """For each pair the value of the point that hears, (edges, ...) or (batch, n, 1, ...), of values (*lead, ...)."""
        return values[:, :, None] if self.hears is None else values[self.hears]

    def sending(self, values: Tensor) -> Tensor:
        """For each pair the value of the point that sends, (edges, ...) or (batch, 1, n, ...), of values (*lead, ...)."""
        return values[:, None] if self.sends is None else values[self.sends]

    def mean(self, values: Tensor) -> Tensor:
        """(*lead, ...): the weighted mean of values (*pairs, ...) over what each point hears; 0 where it hears nobody."""
        if self.hears is None:
            return (values * self.share).sum(2)
        return values.new_zeros(self.rows, values.shape[1]).index_add(0, self.hears, values * self.share)


def pairs_of(module: Any, cloud: Cloud, edges: Any, features: Any) -> Pairs:
    """The pairs of a cloud, for a network with the attribute `edge_features`.

    Raises:
        SymmetryError: edges that are no pairs of rows, that join samples, or that come with a dense cloud; features of
            another shape.
    """
    where, points, count = type(module).__name__, cloud.points, module.edge_features
    if cloud.index is None:
        if edges is not None:
            raise refuse(
                f"{where}: edges name rows, and a dense cloud has none",
                got=f"edges with points of shape {tuple(points.shape)}",
                expected="points (rows, d) with index=, the sample of each row",
                fix="points.flatten(0, 1), index=torch.arange(batch).repeat_interleave(n)",
            )
        batch, n = points.shape[:2]
        features = part(where, "edge_features", features, (batch, n, n, count), points, count=count)
        others = ~torch.eye(n, dtype=torch.bool, device=points.device)[None, :, :, None]
        share = torch.where(others, cloud.share[:, None], 0.0)
        total = share.sum(2, keepdim=True)
        return Pairs(None, None, 0, share / torch.where(total > 0, total, 1.0), features)
    rows = len(points)
    if edges is None:
        sends, hears = _all_of(cloud.index, cloud.batch)
        if module.edge_features:
            raise refuse(
                f"{where}: features of edges need the edges",
                got="points (rows, d) without edges=",
                expected=f"edges (2, edges) and edge_features (edges, {module.edge_features})",
                fix="pass edges=, or a dense cloud with edge_features (batch, n, n, e)",
            )
    else:
        sends, hears = _checked_edges(where, edges, cloud.index, rows)
    features = part(where, "edge_features", features, (len(hears), count), points, count=count)
    # Of a point that no sample counts there is no share, and it is heard as little as it counts.
    each = cloud.share[sends]
    total = points.new_zeros(rows, 1).index_add(0, hears, each)[hears]
    return Pairs(hears, sends, rows, each / torch.where(total > 0, total, 1.0), features)


def _all_of(index: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """The rows that send and that hear, for all pairs of different rows of one sample."""
    counts = torch.bincount(index, minlength=batch)
    order = index.argsort(stable=True)
    heard = counts[index]
    hears = torch.arange(len(index), device=index.device).repeat_interleave(heard)
    # The sorted index holds the rows of a sample side by side, from its first place on.
    shift = (counts.cumsum(0) - counts)[index] - (heard.cumsum(0) - heard)
    sends = order[torch.arange(len(hears), device=index.device) + shift[hears]]
    other = sends != hears
    return sends[other], hears[other]


def _checked_edges(where: str, edges: Any, index: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    good = isinstance(edges, Tensor) and edges.dtype in (torch.int64, torch.int32) and edges.ndim == 2
    if not good or len(edges) != 2 or (edges.numel() and not 0 <= int(edges.min()) <= int(edges.max()) < rows):
        raise refuse(
            f"{where}: the edges are no pairs of rows",
            got=describe(edges),
            expected=f"an int64 tensor (2, edges) of rows from 0 to {rows - 1}",
            fix="edges[0] sends, edges[1] hears, as in the edge_index of a graph",
        )
    sends, hears = edges.long().unbind(0)
    if not torch.equal(index[sends], index[hears]):
        wrong = int((index[sends] != index[hears]).int().argmax())
        raise refuse(
            f"{where}: an edge joins two samples",
            got=f"edge {wrong} from sample {int(index[sends[wrong]])} to sample {int(index[hears[wrong]])}",
            expected="edges between rows of one sample",
            fix="add the number of rows before a sample to its edges when batching",
        )
    return sends, hears
