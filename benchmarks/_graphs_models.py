"""A small message-passing network for graphs, its training, and folds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from _graphs_data import Batch, Graph, batch_of
from torch import Tensor, nn


class GIN(nn.Module):
    """Graph isomorphism network (arXiv 1810.00826): sums over neighbours, then an MLP; the sums of all layers are read.

    Args:
        features: width of the nodes' features.
        classes: how many.
        positions: for how many places a learned vector is added to the nodes' features; None for none. Places are those
            that the batch tells.
    """

    def __init__(self, features: int, classes: int, *, width: int, depth: int, positions: int | None = None) -> None:
        super().__init__()
        self.inward = nn.Linear(features, width)
        self.place = None if positions is None else nn.Embedding(positions, width)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
            for _ in range(depth)
        )
        self.outward = nn.Linear(width * (depth + 1), classes)

    def forward(self, batch: Batch) -> Tensor:
        """Logits (batch, classes)."""
        h, (tail, head), owner = self.inward(batch["x"]), batch["edge_index"], batch["batch"]
        if self.place is not None:
            h = h + self.place(batch["place"].clamp(max=self.place.num_embeddings - 1))
        count = len(batch["ptr"]) - 1
        size = batch["ptr"].diff().to(h)[:, None].clamp(min=1)
        seen = [h.new_zeros(count, h.shape[1]).index_add(0, owner, h) / size]
        for layer in self.layers:
            h = layer(h.index_add(0, head, h[tail]))
            seen.append(h.new_zeros(count, h.shape[1]).index_add(0, owner, h) / size)
        return self.outward(torch.cat(seen, 1))


@dataclass(frozen=True)
class Settings:
    """How a network is trained."""

    width: int
    depth: int
    epochs: int
    rate: float = 1e-3
    size: int = 32


def folds(
    labels: Tensor, count: int, generator: torch.Generator, *, together: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """Train and test indices of each fold, (train,) and (test,); the share of each class is the same in all.

    Args:
        together: so many graphs in a row come into the same fold, classes taken from the first of them.
    """
    kinds = labels[::together]
    fold = torch.empty(len(kinds), dtype=torch.int64)
    begin = 0
    for kind in kinds.unique():
        mine = (kinds == kind).nonzero()[:, 0]
        fold[mine[torch.randperm(len(mine), generator=generator)]] = (torch.arange(len(mine)) + begin) % count
        begin += len(mine)
    fold = fold.repeat_interleave(together)
    for number in range(count):
        yield (fold != number).nonzero()[:, 0], (fold == number).nonzero()[:, 0]


def train(
    model: nn.Module,
    graphs: list[Graph],
    settings: Settings,
    *,
    generator: torch.Generator,
    fresh: Callable[[list[Graph]], list[Graph]] | None = None,
) -> None:
    """Train in place for a fixed number of epochs, with Adam and a rate that falls to zero along a cosine.

    Args:
        fresh: what is done to the graphs of each mini-batch, anew each time.
    """
    labels = torch.tensor([graph.label for graph in graphs])
    steps = -(-len(graphs) // settings.size) * settings.epochs
    optimizer = torch.optim.Adam(model.parameters(), settings.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    for _ in range(settings.epochs):
        for part in torch.randperm(len(graphs), generator=generator).split(settings.size):
            some = [graphs[i] for i in part.tolist()]
            batch = batch_of(fresh(some) if fresh else some, torch.float32)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch), labels[part]).backward()
            optimizer.step()
            schedule.step()
    model.eval()


@torch.no_grad()
def logits(model: nn.Module, graphs: list[Graph]) -> Tensor:
    """The answers for some graphs, (graphs, classes)."""
    found: Tensor = model(batch_of(graphs, torch.float32))
    return found
