"""Keys of which any two clouds within the tolerance share at least one."""

from __future__ import annotations

import torch
from torch import Tensor

from canonize.forms.cloud import OFFSET, Centred, Motions, kinds_of
from canonize.forms.digest import digest, raw

PAIRS = 512
"""Up to this many points the distances of all pairs are looked at."""
SLACK = 1.001
"""For the rounding of the invariants."""


def invariants(cloud: Centred, moved: Motions) -> Tensor:
    """Lengths that no motion and no relabelling changes, (k,): none moves by more than t when no point moves by more than t.

    They are singular values of the cloud (Weyl's inequality), and half of means of sorted distances from the origin, or of
    pairs: a distance moves by at most 2 t, and sorting brings no two lists farther apart.
    """
    x, n = cloud.points, len(cloud.points)
    if not n:
        return x.new_zeros(0)
    spread = torch.linalg.svdvals(x) / n**0.5
    spread = torch.cat([spread, spread.new_zeros(moved.dim - len(spread))])
    radii = x.norm(dim=-1)
    # A fixed number between -1 and 1 for each kind: where kinds change places, this moves.
    weights = 2 * torch.frac((cloud.ranks + 1) * OFFSET) - 1
    weighed = (weights * radii).mean()[None] / 2
    lengths = torch.pdist(x) if 1 < n <= PAIRS else radii
    thirds = [part.mean() / 2 for part in lengths.sort().values.tensor_split(3) if len(part)]
    return torch.cat([spread, weighed, torch.stack(thirds)])


def cloud_keys(cloud: Centred, moved: Motions, tolerance: float) -> tuple[str, ...]:
    """One digest for each of k + 1 grids, where k is the number of invariants; equal only for equal kinds.

    Two clouds within the tolerance share at least one: the lines of the grids together are t apart along each invariant, so
    that each of the k intervals between the two clouds' invariants, none longer than t, holds a line of at most one grid.
    """
    found = invariants(cloud, moved)
    grids = len(found) + 1
    step = tolerance * SLACK
    told = [moved.name.encode(), float(tolerance).hex().encode(), kinds_of(cloud)]
    keys = []
    for grid in range(grids):
        places = ((found / step + OFFSET - grid) / grids).floor().long()
        keys.append(digest("cloud key", [*told, str(grid).encode(), raw(places)]))
    return tuple(keys)
