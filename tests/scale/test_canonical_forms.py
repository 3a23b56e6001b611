"""Canonical forms: one for each orbit, turned back by their pose, the same beside whatever other values."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

from canonize import (
    SE,
    SO,
    Best,
    C,
    Cloud,
    D,
    E,
    Graph,
    Image,
    O,
    Octahedral,
    Product,
    S,
    Scalar,
    Symmetry,
    SymmetryError,
    Volume,
    nn,
)
from canonize.forms import canonical_hash
from canonize.scale import Canonical, Form, Missing, check_canonical

GRID = {2: Image(), 3: Volume()}
TIGHT = 1e-9
"""Coordinates of size one in float64, turned twice."""


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def turned_cloud(group: Any, value: Cloud, seed: int) -> Cloud:
    parts = group.factors if isinstance(group, Product) else (group,)
    motion = next(part for part in parts if not isinstance(part, S))
    g = motion.sample(generator=draw(seed), dtype=torch.float64)
    x = value.points @ g.linear.T + g.shift if hasattr(g, "linear") else value.points @ g.T
    if isinstance(group, Product):
        order = torch.randperm(len(x), generator=draw(seed + 1))
        return Cloud(x[order], value.kinds[order])
    return Cloud(x, value.kinds)


def turned_graph(group: Any, value: Graph, seed: int) -> Graph:
    n = len(value.nodes)
    places = torch.randperm(n, generator=draw(seed)).tolist()
    nodes = [None] * n
    for node, place in enumerate(places):
        nodes[place] = value.nodes[node]
    edges = torch.tensor(places)[value.edges]
    order = torch.randperm(edges.shape[1], generator=draw(seed + 1))
    labels = [value.labels[i] for i in order.tolist()]
    if value.directed:
        return Graph(edges[:, order], nodes, labels, n, True)
    return Graph(edges[:, order].flip(0), nodes, labels, n)


def turned_image(group: Any, value: torch.Tensor, seed: int) -> torch.Tensor:
    elements = group.elements(dtype=torch.float64)
    return GRID[elements.shape[-1]](elements[seed % len(elements)][None], value[None])[0]


def turned_rows(group: Any, value: Any, seed: int) -> Any:
    order = torch.randperm(4, generator=draw(seed))
    return Cloud(value.points[order], value.kinds[order]) if isinstance(value, Cloud) else value[order]


POINTS = torch.randn(6, 3, generator=draw(0), dtype=torch.float64)
KINDS = torch.tensor([6, 1, 1, 8, 1, 1])
PATH = Graph(torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]]), ["C", "C", "O", "C", "N"], ["a", "b", "a", "a"], 5)
ARROWS = Graph(torch.tensor([[0, 0, 0, 1, 2], [1, 3, 3, 2, 0]]), [1, 1, 1, 2], ["x", "y", "z", "x", "x"], 4, True)
"""Both are written as `undone` writes them: sorted, undirected edges from the smaller number."""
PIXELS = torch.randint(0, 256, (3, 6, 6), generator=draw(1), dtype=torch.uint8)
BLOCK = torch.randn(1, 4, 4, 4, generator=draw(2))
ROWS = torch.randint(0, 3, (4, 2), generator=draw(3))
CASES: list[tuple[str, Any, Any, Callable[..., Any]]] = [
    *((f"cloud {group!r}", group, Cloud(POINTS, KINDS), turned_cloud) for group in (SO(3), O(3), SE(3), E(3))),
    *((f"set S x {g!r}", Product(S(), g), Cloud(POINTS, KINDS), turned_cloud) for g in (O(3), SE(3), E(3))),
    ("graph", S(), PATH, turned_graph),
    ("directed graph", S(), ARROWS, turned_graph),
    ("image C(4)", C(4), PIXELS, turned_image),
    ("image D(4)", D(4), PIXELS, turned_image),
    ("blank image", C(4), torch.zeros(1, 4, 4, dtype=torch.uint8), turned_image),
    ("volume", Octahedral(), BLOCK, turned_image),
    ("rows", S(), ROWS, turned_rows),
    ("rows of kinds", S(), Cloud(POINTS[:4], KINDS[:4]), turned_rows),
]


def parts(value: Any) -> list[Any]:
    if isinstance(value, Graph):
        return [value.edges.tolist(), value.nodes, value.labels, value.count, value.directed]
    if isinstance(value, Cloud):
        return [value.points, value.kinds.tolist()]
    return [value]


def same(one: Any, other: Any, off: float = 0.0) -> bool:
    for a, b in zip(parts(one), parts(other), strict=True):
        if isinstance(a, torch.Tensor):
            if a.shape != b.shape or not bool(((a.double() - b.double()).abs() <= off).all()):
                return False
        elif a != b:
            return False
    return True


def loose(value: Any) -> float:
    return TIGHT if isinstance(value, Cloud) else 0.0


def form(job: Canonical, value: Any) -> Form:
    (found,) = job([value])
    assert isinstance(found, Form), found
    return found


@pytest.mark.parametrize(("group", "value", "turn"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_all_of_an_orbit_have_one_form(group: Any, value: Any, turn: Callable[..., Any]) -> None:
    pytest.importorskip("canonaut", reason="canonaut is not installed")
    tolerance = 1e-3 if isinstance(value, Cloud) and not isinstance(group, S) else None
    job = Canonical(group, hashed=True, tolerance=tolerance)
    first = form(job, value)
    assert first.hash == canonical_hash(value, group, tolerance=tolerance)
    for seed in range(8):
        other = form(job, turn(group, value, seed))
        assert same(first.value, other.value, loose(value)), seed
        assert other.hash == first.hash
    again = form(job, first.value)
    assert same(first.value, again.value, loose(value))


@pytest.mark.parametrize(("group", "value"), [case[1:3] for case in CASES], ids=[case[0] for case in CASES])
def test_the_pose_turns_it_back(group: Any, value: Any) -> None:
    pytest.importorskip("canonaut", reason="canonaut is not installed")
    found = form(Canonical(group), value)
    assert same(undone(found), value, loose(value))
    faults = {"linear": lambda part: part.mT, "order": lambda part: part.roll(1), "shift": lambda part: part}
    wrong = {name: faults[name](part) for name, part in found.pose.items()}
    blank = isinstance(value, torch.Tensor) and not value.any()
    identity = all(torch.equal(part, wrong[name]) for name, part in found.pose.items())
    assert blank or identity or not same(undone(Form(found.value, wrong)), value, loose(value))


def undone(found: Form) -> Any:
    """x = pose · value, by hand."""
    value, pose = found.value, found.pose
    if isinstance(value, Graph):
        order = pose["order"]
        nodes = [value.nodes[int(place)] for place in order.argsort()]
        back = Graph(order[value.edges], nodes, value.labels, value.count, value.directed)
        rows = sorted(
            (*(ends if value.directed else sorted(ends)), label)
            for ends, label in zip(back.edges.T.tolist(), back.labels, strict=True)
        )
        return Graph(
            torch.tensor([row[:2] for row in rows]).T, nodes, [row[2] for row in rows], value.count, value.directed
        )
    if isinstance(value, torch.Tensor) and "linear" in pose:
        return GRID[len(pose["linear"])](pose["linear"][None], value[None])[0]
    x = value.points if isinstance(value, Cloud) else value
    kinds = value.kinds if isinstance(value, Cloud) else None
    if "order" in pose:
        back = pose["order"].argsort()
        x, kinds = x[back], None if kinds is None else kinds[back]
    if "linear" in pose:
        x = x @ pose["linear"].T + pose.get("shift", torch.zeros(x.shape[1], dtype=x.dtype))
    return Cloud(x, kinds) if isinstance(value, Cloud) else x


def test_oblong_images_turn_too() -> None:
    x = torch.randint(0, 256, (3, 5, 8), generator=draw(6), dtype=torch.uint8)
    first = form(Canonical(C(4), hashed=True), x)
    for turns in range(1, 4):
        other = form(Canonical(C(4), hashed=True), x.rot90(turns, (-2, -1)))
        assert same(first.value, other.value)
        assert first.hash == other.hash


def test_one_bad_value_among_good_ones() -> None:
    job = Canonical(Product(S(), SE(3)), hashed=True, tolerance=1e-3)
    bad = [torch.zeros(3, 2), POINTS * torch.nan, torch.zeros(0, 3), "no cloud", Cloud(POINTS, [1, 2])]
    good = [Cloud(POINTS, KINDS), POINTS]
    found = job([good[0], *bad, good[1]])
    assert [isinstance(each, Missing) for each in found] == [False, *[True] * len(bad), False]
    for each, alone in zip((found[0], found[-1]), job(good), strict=True):
        assert isinstance(each, Form)
        assert isinstance(alone, Form)
        assert same(each.value.points, alone.value.points, TIGHT)
        assert each.hash == alone.hash


def framed(group: Any, seed: int = 0) -> tuple[Symmetry, Best]:
    torch.manual_seed(seed)
    return Symmetry(group, Image(), Scalar()), Best(nn.Scorer(3, width=4, depth=1, disk=True), resolution=16).eval()


def test_a_frame_poses_images_of_all_kinds() -> None:
    job = Canonical(C(8), framed(C(8)), mean=(0.5,), std=(0.2, 0.2, 0.2))
    check_canonical(job)
    eight = torch.randint(0, 256, (3, 16, 16), generator=draw(4), dtype=torch.uint8)
    for value in (eight, eight / 255, (eight / 255).double()):
        first = form(job, value)
        assert first.value.dtype == value.dtype
        assert first.margin is not None
        for turns in range(1, 4):
            assert same(form(job, value.rot90(turns, (-2, -1))).value, first.value)
    gray = Canonical(C(4), (framed(C(4))[0], Best(nn.Scorer(1, width=4, depth=1), resolution=16).eval()), gray=True)
    first = form(gray, eight)
    assert same(undone(first), eight)
    assert isinstance(job([eight[:2]])[0], Missing)


@pytest.mark.parametrize(
    ("job", "what"),
    [
        (Canonical(C(8)), "does not map pixels onto pixels, so that a frame has to choose the pose"),
        (Canonical(C(4), framed(C(8))), "the frame is for something else"),
        (Canonical(SE(3), framed(C(4))), "the frame is for something else"),
        (Canonical(C(8), framed(C(8)), hashed=True), "turned pixels that were resampled have no exact hash"),
        (Canonical(Product(C(4), C(4))), "there is no canonical form of this value under this group"),
    ],
)
def test_a_wrong_call_is_told_before_anything_is_read(job: Canonical, what: str) -> None:
    with pytest.raises(SymmetryError, match=what):
        check_canonical(job)


def test_a_job_pickles_and_copies() -> None:
    job = Canonical(C(8), framed(C(8)))
    x = torch.rand(3, 8, 8, generator=draw(5))
    for other in (pickle.loads(pickle.dumps(job)), copy.deepcopy(job)):
        assert same(form(other, x).value, form(job, x).value)
