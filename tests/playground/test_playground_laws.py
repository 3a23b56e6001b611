"""What the playground shows obeys the laws: one canonical form and one answer at every position that the claim covers."""

from __future__ import annotations

import copy

import pytest
import torch
from play_cases import CASES, PLAY, SETTINGS, TABS, same, with_frame, with_model

from canonize import SE, SO, C, E, Rigid
from canonize.frames import Poses
from canonize.playground import positions
from canonize.playground.scene import Pose, Reading, _before, covered, look, sweep

ROUNDING = {"image": 1e-5, "molecule": 1e-9, "graph": 1e-12}


def ids(case: tuple[str, str, str]) -> str:
    return "-".join(case)


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_the_symmetrized_answer_is_the_same_at_every_exact_position(case: tuple[str, str, str]) -> None:
    name, sample, claim = case
    tab = TABS[name]
    found = tab.swept(tab.kind.samples[sample], claim, *SETTINGS[name][-1])
    assert found.exact.sum() >= 4
    assert found.moves(symmetrized=True, where=found.exact) < ROUNDING[name]


@pytest.mark.parametrize("name", TABS)
def test_the_plain_answer_moves(name: str) -> None:
    tab = TABS[name]
    for sample in {"image": ["letter F", "noise"], "molecule": ["ethanol", "water"], "graph": ["house", "path"]}[name]:
        found = tab.swept(tab.kind.samples[sample], next(iter(tab.kind.claims)), *SETTINGS[name][0])
        assert found.moves(symmetrized=False, where=found.exact) > 1e-2


# An average has no canonical form: its poses are the group, and stay in the group's order.
@pytest.mark.parametrize("case", [case for case in CASES if not case[2].endswith("average")], ids=ids)
def test_the_canonical_form_and_the_weights_are_the_same_at_every_exact_position(case: tuple[str, str, str]) -> None:
    name, sample, claim = case
    tab = TABS[name]
    inputs, chosen = tab.kind.samples[sample], tab.kind.claims[claim]
    settings = SETTINGS[name][-1]
    stops = tab.stops[::6] if name == "image" else tab.stops[::5]
    elements = [tab.elements(inputs, (stop,), *settings) for stop in stops]
    seen = [look(chosen.behind, inputs, element, chosen.reading) for element in elements]
    # Images are moved bit for bit; coordinates are rounded.
    tolerance = 0.0 if name != "molecule" else 1e-9
    for one in seen[1:]:
        assert same(one.poses[0].form, seen[0].poses[0].form, tolerance)
        weights, first = (torch.tensor([pose.weight for pose in each.poses]) for each in (one, seen[0]))
        assert torch.allclose(weights, first, rtol=0, atol=1e-6)
        assert one.margin is None or one.margin == pytest.approx(seen[0].margin, abs=1e-5)


@pytest.mark.parametrize("name", TABS)
def test_a_frame_that_ignores_its_input_is_seen_to_move(name: str) -> None:
    tab = TABS[name]
    claim = next(iter(tab.kind.claims))

    def fixed(symmetry, inputs, *, generator=None):
        first = inputs[0] if isinstance(inputs, tuple) else inputs
        if name == "graph":
            g = torch.arange(first.shape[-1]).expand(1, len(first), -1)
        elif name == "image":
            g = torch.eye(2).expand(1, len(first), 2, 2)
        else:
            unit = torch.eye(3, dtype=first.dtype).expand(1, len(first), 3, 3)
            g = Rigid(unit, torch.zeros(1, len(first), 3, dtype=first.dtype))
        return Poses(g, torch.ones(1, len(first), dtype=first.dtype))

    broken = with_frame(tab, claim, fixed)
    sample = {"image": "letter F", "molecule": "ethanol", "graph": "house"}[name]
    inputs = broken.kind.samples[sample]
    found = broken.swept(inputs, claim, *SETTINGS[name][0])
    assert found.moves(symmetrized=True, where=found.exact) > 1e-2
    chosen = broken.kind.claims[claim]
    forms = [
        look(chosen.behind, inputs, broken.elements(inputs, (stop,), *SETTINGS[name][0]), chosen.reading).poses[0].form
        for stop in (tab.stops[0], tab.stops[6])
    ]
    assert not same(*forms, tolerance=1e-3)


def test_not_a_number_never_looks_constant() -> None:
    tab = with_model(TABS["graph"], "S(n): CanonicalOrder", lambda x: (x.sum((1, 2)) * torch.nan, x.sum(2)))
    found = tab.swept(tab.kind.samples["house"], "S(n): CanonicalOrder")
    assert found.moves(symmetrized=True) != found.moves(symmetrized=True)


def test_turned_outputs_are_turned_back() -> None:
    tab = TABS["graph"]
    degrees = with_model(tab, "S(n): CanonicalOrder", lambda x: (x.sum((1, 2)), x.sum(2)))
    found = degrees.swept(tab.kind.samples["house"], "S(n): CanonicalOrder")
    # Degrees are equivariant already: no position changes them, and at position 0 they are those of the graph.
    assert found.moves(symmetrized=False) == 0
    assert found.plain[0].tolist() == [12.0, *tab.kind.samples["house"][0][0].sum(1).tolist()]


def test_what_the_claim_covers() -> None:
    turns = positions.turns(positions.ANGLES)
    assert covered(C(4), turns).nonzero().flatten().tolist() == [0, 6, 12, 18]
    assert bool(covered(C(24), turns).all())
    assert not bool(covered(C(24), positions.turns(positions.ANGLES, mirrored=True)).any())
    assert bool(covered(SO(2), turns).all())
    moved = positions.motions((0, 15), "y", shift=1.0)
    assert bool(covered(SE(3), moved).all())
    assert not bool(covered(SO(3), moved).any())
    mirrored = positions.motions((0, 15), "y", mirrored=True)
    assert not bool(covered(SE(3), mirrored).any())
    assert bool(covered(E(3), mirrored).all())


def test_a_mirror_image_is_another_molecule_under_se3_and_the_same_under_e3() -> None:
    tab = TABS["molecule"]
    handed = tab.kind.samples["bromochlorofluoromethane"]
    for claim, moves in (("SE(3): Weighted", True), ("E(3): Weighted", False)):
        found = tab.swept(handed, claim, "x", 0.0, True)
        assert (found.moves(symmetrized=True) > 1e-3) is moves
        assert bool(found.covered.any()) is not moves


def test_the_first_position_is_the_input_itself() -> None:
    for tab in TABS.values():
        inputs = next(iter(tab.kind.samples.values()))
        claim = next(iter(tab.kind.claims.values()))
        seen = look(claim.behind, inputs, tab.elements(inputs, tab.stops[:1], *SETTINGS[tab.name][0]), claim.reading)
        assert same(seen.shown, inputs, 0.0)


def test_quarter_turns_are_exact_and_motions_are_orthogonal() -> None:
    assert positions.turns([90, 180, 270]).abs().sum((1, 2)).tolist() == [2.0, 2.0, 2.0]
    image = torch.rand(1, 1, 5, 5)
    from canonize import Image

    assert torch.equal(Image()(positions.turns([90]), image), image.rot90(1, (-2, -1)))
    for axis in positions.AXES:
        linear = positions.motions(positions.ANGLES, axis).linear
        assert torch.allclose(linear @ linear.mT, torch.eye(3, dtype=torch.float64).expand_as(linear), atol=1e-14)
        unit = torch.tensor(positions.AXES[axis], dtype=torch.float64)
        assert torch.allclose(linear @ unit, unit.expand(len(linear), 3), atol=1e-14)


def test_nothing_is_changed_and_every_tab_copies() -> None:
    before = copy.deepcopy(PLAY)
    for name, sample, claim in CASES[:: max(1, len(CASES) // 6)]:
        tab = TABS[name]
        found = tab.swept(tab.kind.samples[sample], claim, *SETTINGS[name][0])
        tab.drawn(tab.kind.samples[sample], found, claim, 0, *SETTINGS[name][0])
    for kind, old in ((PLAY.images, before.images), (PLAY.molecules, before.molecules), (PLAY.graphs, before.graphs)):
        assert all(same(kind.samples[name], old.samples[name], 0.0) for name in kind.samples)


def test_equal_seeds_give_equal_tabs() -> None:
    from canonize.playground.kinds import graph_kind, molecule_kind

    for make in (molecule_kind, graph_kind):
        one, other, third = (make(torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
        numbers = [
            torch.cat([part.flatten() for part in next(iter(kind.claims.values())).behind.parameters()])
            for kind in (one, other, third)
        ]
        assert torch.equal(numbers[0], numbers[1])
        assert not torch.equal(numbers[0], numbers[2])


def test_poses_are_ordered_by_weight_then_by_content() -> None:
    low, high = (torch.tensor([[0.0, value]]) for value in (1.0, 2.0))
    poses = [
        Pose(0.2, None, (high,)),
        Pose(0.4, None, (low,)),
        Pose(0.4 + 1e-9, None, (low,)),
        Pose(0.4, None, (high,)),
    ]
    assert _before(poses[1], poses[0]) < 0
    assert _before(poses[3], poses[1]) < 0
    assert _before(poses[1], poses[2]) == 0


def test_the_sweep_tells_its_progress() -> None:
    tab = TABS["graph"]
    claim = next(iter(tab.kind.claims.values()))
    told = []
    elements = positions.numberings(range(10), 5)
    sweep(claim.behind, tab.kind.samples["house"], elements, Reading(), chunk=4, progress=lambda *now: told.append(now))
    assert told == [(4, 10), (8, 10), (10, 10)]
