"""Connected components by labels that fall."""

from __future__ import annotations

import torch
from torch import Tensor


def components(count: int, one: Tensor, other: Tensor) -> Tensor:
    """For each of `count` things the smallest that is connected with it, (count,), int64.

    Args:
        count: how many things there are.
        one: (m,), one end of each connection.
        other: (m,), the other end.
    """
    root = torch.arange(count)
    while True:
        a, b = root[one], root[other]
        open_ = a != b
        if not bool(open_.any()):
            return root
        one, other, a, b = one[open_], other[open_], a[open_], b[open_]
        low = torch.minimum(a, b)
        root = root.scatter_reduce(0, a, low, "amin").scatter_reduce(0, b, low, "amin")
        while True:
            further = root[root]
            if torch.equal(further, root):
                break
            root = further
