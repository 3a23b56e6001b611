"""Clouds: equal hashes for moved copies, shared keys for near ones, and a word that is right on either side."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from form_cases import clouds, copied

from canonize import (
    SE,
    SO,
    Cloud,
    E,
    O,
    Product,
    S,
    SymmetryError,
    canonical_hash,
    canonical_keys,
    duplicates,
    equivalent,
)
from canonize.forms import keys as keyed
from canonize.forms.cloud import centred, motions

GROUPS = [SO(3), O(3), SE(3), E(3)]
TOLERANCE = 1e-3
# Coordinates of 10^4 or around 10^6 are rounded to about 10^-10, far below the tolerance.
CLOUDS = clouds()


def hash_of(cloud: Any, group: Any, tolerance: float = TOLERANCE) -> str:
    return canonical_hash(cloud, group, tolerance=tolerance)


# Turned about a far origin, a cloud is thrown off by the rounding of its coordinates.
@pytest.mark.parametrize(
    ("name", "group"),
    [(name, group) for name in CLOUDS for group in (GROUPS[2:] if name == "far" else GROUPS)],
    ids=repr,
)
def test_moved_and_relabelled_copies_have_one_hash(name: str, group: Any) -> None:
    g = torch.Generator().manual_seed(0)
    both = Product(S(), group)
    for _ in range(8):
        copy = copied(CLOUDS[name], group, g)
        assert hash_of(copy, both) == hash_of(CLOUDS[name], both)
        assert equivalent(CLOUDS[name], copy, both, tolerance=TOLERANCE)
        ordered = copied(CLOUDS[name], group, g, order=False)
        assert hash_of(ordered, group) == hash_of(CLOUDS[name], group)
        assert equivalent(CLOUDS[name], ordered, group, tolerance=TOLERANCE)


@pytest.mark.parametrize("name", CLOUDS)
def test_mirror_images(name: str) -> None:
    mirrored = Cloud(CLOUDS[name].points * torch.tensor([1.0, 1.0, -1.0]), CLOUDS[name].kinds)
    handed = name in ("chiral", "random", "far", "large")
    for group, same in ((Product(S(), E(3)), True), (Product(S(), SE(3)), not handed)):
        assert (hash_of(mirrored, group) == hash_of(CLOUDS[name], group)) is same
        assert equivalent(mirrored, CLOUDS[name], group, tolerance=TOLERANCE) is same


@pytest.mark.parametrize("group", GROUPS, ids=repr)
@pytest.mark.parametrize(
    "name", ["one", "coinciding", "collinear", "cube", "methane", "benzene", "planar", "chiral", "random"]
)
def test_clouds_within_the_tolerance_share_a_key(name: str, group: Any) -> None:
    """Also where each point is off by the whole tolerance; and the pair is found where it is off by most of it."""
    g = torch.Generator().manual_seed(0)
    both, tolerance = Product(S(), group), 2e-2
    base = set(canonical_keys(CLOUDS[name], both, tolerance=tolerance))
    for share in (0.3, 0.9, 0.9999) * 8:
        copy = copied(CLOUDS[name], group, g, noise=share * tolerance)
        assert base & set(canonical_keys(copy, both, tolerance=tolerance)), share
        if share < 0.99:
            assert equivalent(CLOUDS[name], copy, both, tolerance=tolerance), share


def test_one_grid_alone_would_miss_pairs() -> None:
    """The planted fault that the several keys are for."""
    g = torch.Generator().manual_seed(0)
    both, missed = Product(S(), E(3)), 0
    for _ in range(40):
        cloud = Cloud(torch.randn(8, 3, generator=g, dtype=torch.float64))
        copy = copied(cloud, E(3), g, noise=2e-2)
        missed += canonical_keys(cloud, both, tolerance=2e-2)[0] != canonical_keys(copy, both, tolerance=2e-2)[0]
    assert missed > 0


def test_invariants_move_no_more_than_points_do() -> None:
    g = torch.Generator().manual_seed(0)
    for group, name in itertools.product(GROUPS, CLOUDS):
        both = Product(S(), group)
        moved = motions(both)
        assert moved is not None
        if name in ("none", "far", "large"):
            continue
        for _ in range(10):
            copy = copied(CLOUDS[name], group, g, noise=0.1)
            one, two = (keyed.invariants(centred(each, both, moved, TOLERANCE), moved) for each in (CLOUDS[name], copy))
            assert float((one - two).abs().max()) <= 0.1 + 1e-9


@pytest.mark.parametrize("d", [1, 2, 4])
def test_other_dimensions(d: int) -> None:
    g = torch.Generator().manual_seed(0)
    cloud = Cloud(torch.randn(7, d, generator=g, dtype=torch.float64))
    for group in (SO(d), O(d), SE(d), E(d)):
        both = Product(S(), group)
        for _ in range(8):
            copy = copied(cloud, group, g)
            assert hash_of(copy, both) == hash_of(cloud, both)
            assert equivalent(cloud, copy, both, tolerance=TOLERANCE)


@pytest.mark.parametrize(
    "other",
    [
        lambda c: Cloud(c.points * 1.01, c.kinds),
        lambda c: Cloud(c.points + torch.eye(len(c.points), 3) * 0.05, c.kinds),
        lambda c: Cloud(c.points, [3, *list(c.kinds)[1:]]),
        lambda c: Cloud(c.points[1:], list(c.kinds)[1:]),
        lambda c: Cloud(c.points, list(c.kinds)[1:] + list(c.kinds)[:1]),
        lambda c: Cloud(c.points),
    ],
)
def test_other_clouds_differ(other: Any) -> None:
    cloud = CLOUDS["random"]
    group = Product(S(), E(3))
    assert hash_of(other(cloud), group) != hash_of(cloud, group)
    assert not equivalent(other(cloud), cloud, group, tolerance=TOLERANCE)


def test_the_motions_of_the_group_count() -> None:
    cloud = CLOUDS["random"]
    shifted = Cloud(cloud.points + 1, cloud.kinds)
    relabelled = Cloud(cloud.points.flip(0), cloud.kinds.flip(0))
    assert hash_of(shifted, Product(S(), SO(3))) != hash_of(cloud, Product(S(), SO(3)))
    assert not equivalent(shifted, cloud, Product(S(), O(3)), tolerance=TOLERANCE)
    assert hash_of(relabelled, E(3)) != hash_of(cloud, E(3))
    assert not equivalent(relabelled, cloud, E(3), tolerance=TOLERANCE)
    assert hash_of(relabelled, Product(E(3), S(12))) == hash_of(cloud, Product(E(3), S(12)))


def test_points_nearer_to_each_other_than_the_reach_are_matched() -> None:
    """Nearest neighbours collide: augmenting paths find the matching."""
    x = torch.zeros(6, 3, dtype=torch.float64)
    x[:, 0] = torch.tensor([0, 0.01, 0.02, 5, -4, 2])
    x[:, 1] = torch.tensor([0.0, 0, 0, 1, 2, 3])
    y = x.clone()
    y[:3, 0] += torch.tensor([0.006, 0.006, 0.006])
    assert equivalent(x, y.flip(0), Product(S(), E(3)), tolerance=0.0061)


def test_duplicates_are_found_among_near_copies() -> None:
    g = torch.Generator().manual_seed(3)
    group = Product(S(), SE(3))
    base = [Cloud(torch.randn(9, 3, generator=g, dtype=torch.float64)) for _ in range(30)]
    copies = [copied(base[place], SE(3), g, noise=4e-3) for place in (3, 3, 8, 29)]
    mirrored = Cloud(-base[5].points)
    found = duplicates([*base, *copies, mirrored], group, tolerance=1e-2)
    assert found == [[3, 30, 31], [8, 32], [29, 33]]
    found = duplicates([*base, *copies, mirrored], Product(S(), E(3)), tolerance=1e-2)
    assert found == [[3, 30, 31], [5, 34], [8, 32], [29, 33]]


def test_single_precision_is_like_double() -> None:
    x = torch.randn(6, 3)
    group = Product(S(), E(3))
    assert hash_of(x, group) == hash_of(x.double(), group)


@pytest.mark.parametrize(
    ("value", "group", "tolerance", "what"),
    [
        (torch.zeros(3, 3), E(3), None, "coordinates are equal up to a tolerance only"),
        (torch.full((3, 3), torch.nan), E(3), 1e-3, "the coordinates are not finite"),
        (torch.full((3, 3), 1e6), E(3), 1e-3, "the tolerance is lost in the rounding"),
        (torch.zeros(3, 2), E(3), 1e-3, "these are no points of the group's space"),
        (torch.zeros(2, 3, 3), E(3), 1e-3, "these are no points of the group's space"),
        (torch.zeros(4, 3), Product(S(5), E(3)), 1e-3, "the cloud has another size"),
        (Cloud(torch.zeros(4, 3), [1]), E(3), 1e-3, "the kinds do not fit the points"),
        (torch.zeros(4, 3), E(3), 0.0, "the tolerance is no positive number"),
        (torch.zeros(4, 3), E(3), torch.inf, "the tolerance is no positive number"),
        (torch.zeros(4, 3), Product(E(3), E(3)), 1e-3, "entries that only move are compared exactly"),
        (Cloud(torch.zeros(4, 3)), Product(E(3), E(3)), 1e-3, "there is no canonical form of this value"),
    ],
)
def test_what_does_not_fit_is_refused(value: Any, group: Any, tolerance: Any, what: str) -> None:
    with pytest.raises(SymmetryError, match=f"^{what}"):
        canonical_hash(value, group, tolerance=tolerance)
