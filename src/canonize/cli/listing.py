"""Lists of samples that are made when they are asked for, so that a list of a billion costs what its files cost."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, final, overload

import torch


@dataclass(frozen=True)
class Item:
    """One thing to work on.

    Attributes:
        name: where it stands, relative to the folder: `a/b.png`, `set.g6:12` (line or record, from 1), `set.npz[3]`.
        stamp: size in bytes and time of change of its file, which tell whether it is as it was.
        read: makes the value; whatever is wrong with it is raised here.
        more: what stands beside the value in its file, by name, such as a label.
    """

    name: str
    stamp: tuple[int, int]
    read: Callable[[], Any]
    more: Callable[[], dict[str, Any]] = dict


@final
class Items(Sequence[Item]):
    """The items of several blocks, one after the other; it pickles where they do.

    Args:
        blocks: sequences of items; those of large files make each item when it is asked for.
        files: name and stamp of each file, which tell whether the whole is as it was.
    """

    def __init__(self, blocks: Sequence[Sequence[Item]], files: Sequence[tuple[str, tuple[int, int]]] = ()) -> None:
        self.blocks = tuple(block for block in blocks if len(block))
        self.files = tuple(files)
        self.ends = tuple(accumulate(map(len, self.blocks)))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    @overload
    def __getitem__(self, place: int) -> Item: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Item]: ...

    def __getitem__(self, place: int | slice) -> Item | Sequence[Item]:
        if isinstance(place, slice):
            return [self[each] for each in range(len(self))[place]]
        if place < 0:
            place += len(self)
        if not 0 <= place < len(self):
            raise IndexError(place)
        block = bisect_right(self.ends, place)
        return self.blocks[block][place - (self.ends[block - 1] if block else 0)]


def spread(limit: int, count: int, seed: int) -> list[int]:
    """`limit` places of `count`, ascending, one drawn from each of as many stretches of equal length; all where they are fewer.

    Files are often sorted by class, which an even spread is for; others go through the classes in turn, and of these every
    k-th sample is of one class, so that the place within a stretch is drawn.

    Args:
        limit: how many, at least 1.
        count: how many there are.
        seed: of the draw; equal seeds give equal places.

    Example:
        >>> from canonize.cli.listing import spread
        >>> places = spread(4, 100, seed=0)
        >>> [place // 25 for place in places]
        [0, 1, 2, 3]
    """
    if limit >= count:
        return list(range(count))
    draws = torch.rand(limit, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist()
    ends = [number * count // limit for number in range(limit + 1)]
    return [start + int(draw * (end - start)) for draw, start, end in zip(draws, ends, ends[1:], strict=False)]
