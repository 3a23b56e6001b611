"""Search: what is exact for lossless moves, how near it comes otherwise, what it spends, and the derivative of its minimum."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from canonize import (
    SO,
    C,
    D,
    Image,
    O,
    Point,
    Scalar,
    Symmetry,
    SymmetryError,
    Volume,
    symmetrize,
)
from canonize._tree import tensors
from canonize.actions import move
from canonize.frames import Search, descent, search, turns
from canonize.frames.descent import Probe
from canonize.testing import check_frame

DOUBLE = torch.float64
INFINITE = [SO(2), O(2), SO(3), O(3)]


def brightness(x):
    """Not symmetric, for images and volumes of any size."""
    ramp = torch.ones((), dtype=x.dtype)
    for axis, size in enumerate(x.shape[2:]):
        ramp = ramp[..., None] * torch.linspace(1, 2 + axis / 2, size, dtype=x.dtype)
    return (x * ramp).flatten(1).mean(1)


def pictures(*sizes, dtype=torch.float32):
    """Random, constant, zero, mirror-symmetric, half-turn-symmetric, and where the sides are equal four-fold."""
    x = torch.rand(6, 2, *sizes, generator=torch.Generator().manual_seed(0), dtype=dtype)
    x[1], x[2], x[3] = 0.7, 0.0, x[3] + x[3].flip(-1)
    x[4] = x[4] + x[4].rot90(2, (-2, -1))
    if sizes[-1] == sizes[-2]:
        x[5] = sum(x[5].rot90(k, (-2, -1)) for k in range(4))
    return x


def lossless_moves(group, action, x):
    """The signed permutations of the group that move x without loss."""
    for h in turns.kind_of(group).signed().to(x.dtype):
        h = h.expand(len(x), *h.shape)
        if bool(action.lossless(h, x).all()):
            yield h


def some_moves(group, action, x):
    """At most eight of them."""
    moves = list(lossless_moves(group, action, x))
    return moves[:: -(-len(moves) // 8)][::-1]


@torch.no_grad()
def exact(frame, claim, model, x, tolerance):
    """Canonical input and margin bit for bit, outputs to rounding, for lossless moves."""
    poses = frame(claim, x)
    upright = symmetrize(model, claim, lambda symmetry, inputs: poses)
    shown, wanted = upright.canonical(x), upright(x)
    for h in some_moves(claim.group, claim.inputs, x)[:6]:
        moved = claim.inputs(h, x)
        other = frame(claim, moved)
        again = symmetrize(model, claim, lambda symmetry, inputs, other=other: other)
        assert torch.equal(again.canonical(moved), shown)
        assert torch.equal(other.margin, poses.margin)
        expected = move(claim.outputs, h, wanted)
        for found, right in zip(tensors(again(moved)), tensors(expected), strict=True):
            assert float((found - right).abs().max()) < tolerance


def canonical(frame, symmetry, x):
    with torch.no_grad():
        return symmetrize(lambda x: x, symmetry, frame).canonical(x)


def differs(frame, group, action, x):
    """Whether some lossless move changes a bit of the canonical input."""
    claim = Symmetry(group, action, Scalar())
    wanted = canonical(frame, claim, x)
    return any(not torch.equal(canonical(frame, claim, action(h, x)), wanted) for h in lossless_moves(group, action, x))


IMAGES = [
    *((g, (12, 12)) for g in (SO(2), O(2), C(64), D(64), D(6))),
    *((g, (64, 48)) for g in (SO(2), O(2))),
    *((g, (16, 12)) for g in (C(62), D(31), C(7))),
]


@pytest.mark.parametrize("refine", ["golden", "gradient", None])
@pytest.mark.parametrize(("group", "sizes"), IMAGES, ids=str)
def test_lossless_moves_of_images_are_exact(group, sizes, refine):
    if refine == "gradient" and hasattr(group, "elements"):
        return
    x, wave = pictures(*sizes), torch.arange(1.0 * sizes[1])
    claim = Symmetry(group, Image(), {"map": Image(), "score": Scalar()})

    def model(x):
        return {"map": torch.sin(3 * x * wave), "score": (torch.sin(5 * x) * wave).mean((1, 2, 3))}

    for resolution in (None, 8) if refine == "golden" else (None,):
        frame = Search(brightness, refine=refine, resolution=resolution, steps=6)
        exact(frame, claim, model, x, 4e-5)


@pytest.mark.parametrize("sizes", [(6, 6, 6), (6, 5, 5)], ids=str)
@pytest.mark.parametrize("refine", ["golden", "gradient", None])
@pytest.mark.parametrize("group", [SO(3), O(3)], ids=repr)
def test_lossless_moves_of_volumes_are_exact(group, refine, sizes):
    x = pictures(*sizes)[[0, 1, 4]]
    frame = Search(brightness, refine=refine, steps=4, grid=4 if refine == "gradient" else 16)
    wave = torch.arange(1.0 * sizes[2])
    exact(frame, Symmetry(group, Volume(), Volume()), lambda x: torch.sin(3 * x * wave), x, 1e-5)


@pytest.mark.parametrize("sizes", [(9, 9), (9, 6)], ids=str)
def test_the_law_of_frames_on_images(sizes):
    x = pictures(*sizes, dtype=DOUBLE)[:3] if sizes[0] == sizes[1] else pictures(*sizes, dtype=DOUBLE)[[0, 3]]
    check_frame(Search(brightness, steps=4), Symmetry(C(4) if sizes[0] == sizes[1] else D(2), Image(), Scalar()), x)
    if sizes[0] == sizes[1]:
        check_frame(Search(brightness, steps=4), Symmetry(O(2), Image(), Scalar()), x, count=2)


class Counted(nn.Module):
    """An energy that counts what it is shown."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, x):
        self.seen += len(x)
        return brightness(x)


@pytest.mark.parametrize("budget", [None, 31, 100])
@pytest.mark.parametrize("settings", [{}, {"refine": "gradient"}, {"refine": None}, {"chunk": 3}, {"implicit": True}])
@pytest.mark.parametrize("group", [SO(2), O(2), C(64), D(64), SO(3)], ids=repr)
def test_what_is_spent_is_counted_and_within_the_budget(group, settings, budget):
    if hasattr(group, "elements") and (settings.get("refine") == "gradient" or "implicit" in settings):
        return
    energy, x = Counted(), pictures(*(6,) * group.dim)[[0, 3]]
    claim = Symmetry(group, Image() if group.dim == 2 else Volume(), Scalar())
    frame = Search(energy, budget=budget, **settings)
    if budget is not None and budget < 64 and "implicit" in settings and group == SO(3):
        with pytest.raises(SymmetryError, match="budget cannot pay for the smallest grid"):
            frame(claim, x)
        return
    poses = frame(claim, x)
    assert energy.seen == poses.spent * len(x)
    assert budget is None or poses.spent <= budget


def test_how_a_budget_is_cut():
    claim, x = Symmetry(SO(2), Image(), Scalar()), pictures(8, 8)
    spent = {b: Search(brightness, budget=b)(claim, x).spent for b in (4, 5, 24, 28, 39, 40)}
    # The grid alone; it alone; 12 + one beam of 12; 12 + one beam; 16 + one beam; all.
    assert spent == {4: 4, 5: 4, 24: 24, 28: 24, 39: 28, 40: 40}
    with pytest.raises(SymmetryError, match=r"at least 4 forward passes(.|\n)*budget=28"):
        Search(brightness, budget=3)(claim, x)


def pointed(x):
    """Low where the first point of a cloud lies along -x and the second one along -y."""
    return 2 * x[:, 0, 0] + x[:, 1, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("settings", [{}, {"refine": "gradient", "implicit": True}, {"refine": None}], ids=str)
def test_shapes_and_dtypes(settings, batch, dtype):
    for group, action, sizes in ((O(2), Image(), (6, 6)), (SO(3), Volume(), (4, 4, 4)), (SO(3), Point(), (3,))):
        energy = pointed if isinstance(action, Point) else brightness
        poses = Search(energy, steps=3, **settings)(
            Symmetry(group, action, Scalar()), torch.rand(batch, 2, *sizes, dtype=dtype)
        )
        assert poses.elements.shape == (1, batch, group.n, group.n)
        assert poses.elements.dtype == poses.weights.dtype == dtype
        assert poses.margin.shape == (batch,)


def test_it_is_a_module_without_a_memory():
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 1), nn.Flatten(0))
    frame, claim, x = Search(net, refine="gradient"), Symmetry(SO(2), Image(), Scalar()), pictures(6, 6)[:, :1]
    before, state = copy.deepcopy(vars(frame)), torch.get_rng_state()
    wanted, given = frame(claim, x), x.clone()
    assert vars(frame).keys() == before.keys()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, given)
    assert all(parameter.grad is None for parameter in frame.parameters())
    assert set(dict(frame.named_parameters())) == {"energy.1.weight", "energy.1.bias"}
    assert "refine='gradient'" in repr(frame)
    for copied in (pickle.loads(pickle.dumps(frame)), copy.deepcopy(frame)):
        assert torch.equal(copied(claim, x).elements, wanted.elements)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: frame(claim, x), range(8)):
            assert torch.equal(found.elements, wanted.elements)
    with torch.inference_mode():
        assert torch.equal(frame(claim, x.clone()).elements, wanted.elements)


@pytest.mark.parametrize("group", [SO(2), C(64)], ids=repr)
def test_chunks_change_nothing(group):
    claim, x = Symmetry(group, Image(), Scalar()), pictures(8, 8)
    for chunk in (1, 5, 100):
        found, wanted = Search(brightness, chunk=chunk)(claim, x), Search(brightness)(claim, x)
        assert torch.equal(found.elements, wanted.elements)
        assert found.spent == wanted.spent


def test_a_search_that_ends_at_a_quarter_turn_of_an_uneven_image_keeps_off_it():
    """A quarter turn of a 16 x 12 image is refused; its neighbours are resampled."""
    x = torch.zeros(1, 1, 16, 12)
    x[..., 4:12, 7:] = 1.0
    ramp = torch.linspace(-1, 1, 16)[:, None].abs()
    poses = Search(lambda x: -(x * ramp).mean((1, 2, 3)), refine="golden", steps=60)(
        Symmetry(SO(2), Image(), Scalar()), x
    )
    assert bool(poses.elements.isfinite().all())
    probe = Probe(brightness, Symmetry(SO(2), Image(), Scalar()), x, 1, x, None)
    probe.uneven = True
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=DOUBLE)[None, None]
    assert probe(quarter).shape == (1, 1)


class TestPlantedFaults:
    def test_a_grid_that_is_no_multiple_of_four(self, monkeypatch):
        monkeypatch.setattr(search, "sizes", lambda kind, angles, tilted: [18])
        assert differs(Search(brightness), SO(2), Image(), pictures(12, 12)[:1])

    def test_refinement_from_the_left(self, monkeypatch):
        def wrong(g, xi):
            return turns.turned(torch.eye(3, dtype=g.dtype), xi) @ g

        monkeypatch.setattr(descent, "turned", wrong)
        assert differs(Search(brightness, steps=4), SO(3), Volume(), pictures(6, 6, 6)[:1])

    def test_icosahedral_rotations_alone(self, monkeypatch):
        from canonize import Icosahedral

        def wrong(kind, size, tilted):
            whole = turns.grid(kind, 120)
            only = Icosahedral().elements(dtype=DOUBLE)
            return turns.Grid(only, torch.arange(60)[None], whole.step)

        monkeypatch.setattr(search, "grid", wrong)
        assert differs(Search(brightness, refine=None), SO(3), Volume(), pictures(6, 6, 6)[:1])

    def test_candidates_in_the_order_of_the_grid(self, monkeypatch):
        """Scored as they come, images that are equal to rounding of the energy would be told apart by their place."""
        from canonize.frames import beams

        noise = torch.Generator().manual_seed(0)
        monkeypatch.setattr(beams, "keys", lambda spec, candidates, shape: torch.randint(9, shape, generator=noise))
        assert differs(Search(brightness), SO(2), Image(), pictures(12, 12))
