"""Sums and largest values over the points of each sample, dense (batch, n, ...) or in rows with an index."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from canonize._values import unseen


def positive(x: Tensor) -> Tensor:
    """x, and one where it is zero: a number to divide by."""
    return torch.where(x > 0, x, 1.0)


def segment_total(values: Tensor, owner: Tensor | None, batch: int) -> Tensor:
    """The sum over the points of each sample, (batch, ...); 0 where there are none."""
    if owner is None:
        return values.sum(1)
    return values.new_zeros(batch, *values.shape[1:]).index_add(0, owner, values)


def segment_counts(owner: Tensor, batch: int) -> Tensor:
    """How many entries belong to each sample, (batch,), int64."""
    if unseen(owner):
        return torch.zeros(batch, dtype=torch.int64, device=owner.device).index_add(0, owner, torch.ones_like(owner))
    return torch.bincount(owner, minlength=batch)


def segment_owners(counts: Tensor) -> Tensor:
    """The sample of each entry, where the entries of a sample, of which there are so many, stand side by side."""
    place = torch.arange(counts.shape[0], device=counts.device)
    # Where the program is made before the counts are known, their sum is a size of its own.
    size: Any = counts.sum().item() if unseen() else None
    return place.repeat_interleave(counts, output_size=size)


def most_of(counts: Tensor) -> int:
    """The largest of the counts, at least 1."""
    # `item`, where `int` would ask for the number while the program is made.
    most: int = torch.cat([counts, counts.new_ones(1)]).max().item()  # type: ignore[assignment]  # of whole numbers
    torch._check(most >= 1)  # type: ignore[no-untyped-call]  # torch leaves it so
    return most


def segment_most(values: Tensor, owner: Tensor | None, batch: int) -> Tensor:
    """The largest of numbers from 0 in each sample, (batch,); 0 where there are none."""
    if owner is None:
        return values.amax(1) if values.shape[1] else values.new_zeros(batch)
    return values.new_zeros(batch).scatter_reduce(0, owner, values, "amax", include_self=True)


def segment_largest(x: Tensor, owner: Tensor | None, batch: int) -> Tensor:
    """The largest of all entries of each sample without their signs, (batch,); 0 where there are none."""
    if owner is None and x.numel():
        # The two ends of each component, at a fraction of the cost of absolute values along a short axis.
        return torch.maximum(x.amax(1), -x.amin(1)).amax(-1)
    return segment_most(x.abs().amax(-1) if x.shape[-1] else x.sum(-1), owner, batch)


def segment_spread(values: Tensor, owner: Tensor | None) -> Tensor:
    """For each point the value of its sample; dense, with an axis of one for the points."""
    return values[:, None] if owner is None else values[owner]


def segment_first(x: Tensor, owner: Tensor | None, batch: int) -> Tensor:
    """One point of each sample, which one does not matter; zero for samples without any."""
    if owner is None:
        return x[:, 0] if x.shape[1] else x.new_zeros(batch, x.shape[-1])
    return x.new_zeros(batch, x.shape[-1]).index_copy(0, owner.flip(0), x.flip(0))


def segment_longest(x: Tensor, owner: Tensor | None, batch: int) -> Tensor:
    """The length of the longest vector of each sample, (batch,); no square leaves the range of numbers."""
    length = segment_most(_squared(x), owner, batch).sqrt()
    if unseen(length) or not bool(((length > 1e-150) & (length < 1e150) | (length == 0)).all()):
        entry = segment_largest(x, owner, batch)
        unit = x / segment_spread(positive(entry), owner)[..., None]
        return entry * segment_most(unit.square().sum(-1), owner, batch).sqrt()
    # Squares below the range have been lost where the length is zero and an entry is not.
    if bool((length == 0).any()):
        entry = segment_largest(x, owner, batch)
        return torch.where((length == 0) & (entry > 0), entry, length)
    return length


def _squared(x: Tensor) -> Tensor:
    """The square of the length of each vector; (..., n) gives (...)."""
    if x.shape[-1] > 4 or not x.shape[-1]:
        return x.square() @ x.new_ones(x.shape[-1])
    # Component by component: no memory as large as x is asked for, which takes longer than the sums.
    first, *others = x.unbind(-1)
    total = first.square()
    for part in others:
        total = torch.addcmul(total, part, part)
    return total


def segment_mean(x: Tensor, w: Tensor | None, owner: Tensor | None, batch: int) -> Tensor:
    """The mean over the points of each sample with weights w, (batch, d); 0 where there are none."""
    if w is None and owner is None:
        return x.mean(1) if x.shape[1] else x.new_zeros(batch, x.shape[-1])
    share = torch.ones_like(x[..., 0]) if w is None else w
    share = share / segment_spread(positive(segment_total(share, owner, batch)), owner)
    return segment_total(x * share[..., None], owner, batch)
