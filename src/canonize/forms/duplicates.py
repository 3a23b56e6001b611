"""Which values are the same under a group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from canonize.forms.hash import canonical_hashes, canonical_keys, decided_by_hash, equivalent


def duplicates(
    values: Iterable[Any],
    group: Any,
    *,
    tolerance: float | None = None,
    action: Any = None,
    limit: float | None = 60.0,
) -> list[list[int]]:
    """The groups of values that are the same under the group, as lists of their places; what is alone is left out.

    For clouds a pair belongs together where a motion was found that takes each point to within the tolerance, and all pairs
    that could are looked at: the several keys of a cloud (`canonical_keys`) make sure of it. Nearness is not transitive, so
    a group is what is linked by such pairs.

    Arguments and errors as for `canonical_hash`.

    Returns:
        Lists of at least two places in ascending order, sorted by their first.

    Example:
        >>> import torch
        >>> from canonize import Product, S, SE, duplicates
        >>> clouds = [torch.randn(7, 3) for _ in range(4)]
        >>> clouds += [clouds[2].flip(0) @ SE(3).sample().linear + 1]
        >>> duplicates(clouds, Product(S(), SE(3)), tolerance=1e-3)
        [[2, 4]]
    """
    listed = list(values)
    if all(decided_by_hash(value, group) for value in listed):
        told = canonical_hashes(listed, group, tolerance=tolerance, action=action, limit=limit)
        return linked([(part,) for part in told])
    keys = [canonical_keys(value, group, tolerance=tolerance, action=action, limit=limit) for value in listed]

    def same(i: int, j: int) -> bool:
        return equivalent(listed[i], listed[j], group, tolerance=tolerance, action=action, limit=limit)

    return linked(keys, same)


def linked(
    keys: Sequence[Sequence[str]],
    same: Callable[[int, int], bool] | None = None,
    report: Callable[[int, int], None] | None = None,
) -> list[list[int]]:
    """The groups of places that are linked by a common key and, where `same` is given, by its word.

    Args:
        keys: of each place.
        same: whether two places with a common key belong together; not asked about what is linked already.
        report: called with (done, total) as keys that several places share are gone through.
    """
    places: dict[str, list[int]] = {}
    for place, own in enumerate(keys):
        for key in dict.fromkeys(own):
            places.setdefault(key, []).append(place)
    parent = list(range(len(keys)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    asked: set[tuple[int, int]] = set()
    shared = [found for found in places.values() if len(found) > 1]
    for done, found in enumerate(shared):
        for first, i in enumerate(found):
            for j in found[first + 1 :]:
                if root(i) == root(j) or (i, j) in asked:
                    continue
                asked.add((i, j))
                if same is None or same(i, j):
                    parent[max(root(i), root(j))] = min(root(i), root(j))
        if report is not None:
            report(done + 1, len(shared))
    groups: dict[int, list[int]] = {}
    for place in range(len(keys)):
        groups.setdefault(root(place), []).append(place)
    return [found for found in groups.values() if len(found) > 1]
