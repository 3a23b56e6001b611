"""Clouds in a batch: none feels another, the order of points, weights, marks, draws, margins, and what is refused."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch

from canonize import (
    PCA,
    SE,
    SO,
    C,
    E,
    Fields,
    Index,
    Learned,
    O,
    Point,
    Rigid,
    Rows,
    Scalar,
    Symmetry,
    SymmetryError,
    Translation,
    Vector,
    Weighted,
    symmetrize,
)
from canonize.actions import move
from lists import DTYPES, draw
from zoo import ANSWERS, DOUBLE, POINTS, Generic, batch_of_clouds, cast, element, member, worst_of, zoo

FRAMES = [PCA(), PCA(signs="ruled"), Weighted()]
ROUNDING = {torch.float32: 2e-5, torch.float64: 1e-11}
NAMES = [name for name, _ in zoo(3)]
CLOUDS = [cloud for _, cloud in zoo(3)]


def fixed(group, frame, **words):
    return symmetrize(Generic(group.n), Symmetry(group, POINTS, ANSWERS), frame, **words)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("frame", FRAMES, ids=repr)
class TestNeighbours:
    def test_one_at_a_time_is_the_batch(self, frame, dtype):
        x, _ = batch_of_clouds(CLOUDS, E(3), dtype)
        model = fixed(E(3), frame, chunk=64)
        whole = model(x)
        for i, cloud in enumerate(CLOUDS):
            alone, _ = batch_of_clouds([cloud], E(3), dtype)
            for path, part in model(alone).items():
                same = whole[path][x["batch"] == i] if path == "forces" else whole[path][i : i + 1]
                torch.testing.assert_close(
                    part, same, rtol=0, atol=ROUNDING[dtype], msg=lambda m, i=i: f"{NAMES[i]}: {m}"
                )

    def test_the_order_of_points_does_not_matter(self, frame, dtype):
        x, _ = batch_of_clouds(CLOUDS, E(3), dtype)
        order = [torch.randperm(len(cloud), generator=torch.Generator().manual_seed(1)) for cloud in CLOUDS]
        y, _ = batch_of_clouds([cloud[turn] for cloud, turn in zip(CLOUDS, order, strict=True)], E(3), dtype)
        starts = torch.tensor([0, *(len(cloud) for cloud in CLOUDS)]).cumsum(0)
        rows = torch.cat([turn + start for turn, start in zip(order, starts[:-1], strict=True)])
        model = fixed(E(3), frame, chunk=64)
        one, two = model(x), model(y)
        for path in ANSWERS:
            wanted = one[path][rows] if path == "forces" else one[path]
            off = worst_of((two[path] - wanted).double().abs(), path, y)
            bad = [NAMES[i] for i in (~(off <= ROUNDING[dtype])).nonzero()[:, 0].tolist()]
            assert not bad, (path, bad)

    def test_dense_is_ragged(self, frame, dtype):
        clouds = [cloud for name, cloud in zoo(3) if len(cloud) == 7]
        x, _ = batch_of_clouds(clouds, SE(3), dtype)
        dense = {"pos": x["pos"].reshape(len(clouds), 7, 3), "tag": x["tag"]}
        answers = {**ANSWERS, "forces": Vector()}
        model = symmetrize(Generic(3, ragged=False), Symmetry(SE(3), Fields(pos=Point(), tag=Scalar()), answers), frame)
        one, two = model(dense), fixed(SE(3), frame)(x)
        for path, part in one.items():
            torch.testing.assert_close(part.reshape(two[path].shape), two[path], rtol=0, atol=ROUNDING[dtype])


class Counting(Generic):
    """Counts the clouds that it is shown."""

    def forward(self, data):
        self.seen = getattr(self, "seen", 0) + len(data["tag"])
        return super().forward(data)


@pytest.mark.parametrize(("frame", "calls"), [(PCA(), 4), (PCA(signs="ruled"), None), (Weighted(), None)], ids=repr)
def test_a_symmetric_neighbour_costs_only_its_own_calls(frame, calls):
    generic = [member("generic"), member("many"), member("on a sphere")]

    def seen(clouds):
        model = Counting(3)
        symmetrize(model, Symmetry(SE(3), POINTS, ANSWERS), frame)(batch_of_clouds(clouds, SE(3))[0])
        return model.seen

    alone = seen([member("cube")])
    assert alone >= 24
    assert seen([*generic, member("cube")]) == seen(generic) + alone
    if calls is not None:
        assert seen(generic[:2]) == 2 * calls


class TestDrawn:
    FRAME = PCA(signs="drawn")

    def test_equal_seeds_equal_poses(self):
        symmetry = Symmetry(E(3), POINTS, ANSWERS)
        x, _ = batch_of_clouds(CLOUDS, E(3))
        state = torch.get_rng_state()
        one, two, other = (self.FRAME(symmetry, x, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(one.elements.linear, two.elements.linear)
        assert not torch.equal(one.elements.linear, other.elements.linear)
        assert one.count == 1

    @pytest.mark.parametrize("name", ["generic", "cube", "collinear"])
    def test_the_mean_over_draws_is_that_of_all(self, name):
        x, _ = batch_of_clouds([member(name)] * 2000, SE(3))
        drawn = fixed(SE(3), self.FRAME)(x, generator=torch.Generator().manual_seed(0))
        one, _ = batch_of_clouds([member(name)], SE(3))
        every = fixed(SE(3), PCA())(one)
        for path in ("energy", "dipole", "stress"):
            spread = drawn[path].std(0) / 2000**0.5
            assert ((drawn[path].mean(0) - every[path][0]).abs() <= 5 * spread + 1e-12).all()


def weighed(group):
    spec = Fields(pos=Rows(Point()), batch=Index(loose=True), tag=Scalar(), mass=Rows(Scalar()), kind=Rows(Scalar()))
    return Symmetry(group, spec, ANSWERS)


@pytest.mark.parametrize("group", [SO(3), SE(3), E(3)], ids=str)
@pytest.mark.parametrize("kind", [PCA, Weighted, lambda **words: PCA(signs="ruled", **words)])
class TestWeights:
    def test_padding_of_weight_zero_is_not_seen(self, kind, group):
        x, _ = batch_of_clouds([member("generic"), member("NH3")], group)
        n = len(x["pos"])
        full = {**x, "mass": torch.ones(n, dtype=DOUBLE), "kind": torch.zeros(n, dtype=torch.int64)}
        padded = {
            "pos": torch.cat([x["pos"], 7 * draw(3, 3)]),
            "batch": torch.cat([x["batch"], torch.tensor([1, 1, 1])]),
            "tag": x["tag"],
            "mass": torch.cat([full["mass"], torch.zeros(3, dtype=DOUBLE)]),
            "kind": torch.zeros(n + 3, dtype=torch.int64),
        }
        one, two = (kind(weights="mass")(weighed(group), value) for value in (full, padded))
        for a, b in zip(parts(one.elements), parts(two.elements), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
        torch.testing.assert_close(one.weights, two.weights, rtol=0, atol=1e-12)

    def test_marks_tell_apart_what_looks_alike(self, kind, group):
        x, _ = batch_of_clouds([member("cube")], group)
        mass, marks = torch.ones(8, dtype=DOUBLE), torch.tensor([1, 6, 7, 8, 9, 15, 16, 17])
        value = {**x, "mass": mass, "kind": marks}
        frames = [Weighted(), Weighted(marks="kind")]
        plain, marked = (int((frame(weighed(group), value).weights > 0).sum()) for frame in frames)
        assert marked < plain

    def test_the_law_with_weights_and_marks(self, kind, group):
        clouds = [member(name) for name in ("generic", "cube", "collinear", "benzene", "duplicates", "zero")]
        x, sizes = batch_of_clouds(clouds, group)
        n = len(x["pos"])
        value = {**x, "mass": draw(n, seed=3).abs(), "kind": torch.arange(n) % 3}
        frame, symmetry = kind(weights="mass", marks="kind"), weighed(group)
        model = symmetrize(Generic(3), symmetry, frame)
        base = model(value)
        for seed in range(4):
            h = element(group, sizes, seed)
            found, wanted = model(move(symmetry.inputs, h, value)), move(ANSWERS, h, base, index=x["batch"])
            for path in ANSWERS:
                torch.testing.assert_close(found[path], wanted[path], rtol=0, atol=1e-10)

    def test_heavier_points_pull_the_centre(self, kind, group):
        if isinstance(group, SO):
            return
        x, _ = batch_of_clouds([member("generic")], group)
        mass = torch.arange(1.0, 8.0, dtype=DOUBLE)
        poses = kind(weights="mass")(weighed(group), {**x, "mass": mass, "kind": torch.zeros(7)})
        centre = (mass[:, None] * x["pos"]).sum(0) / mass.sum()
        torch.testing.assert_close(poses.elements.shift[0, 0], centre, rtol=0, atol=1e-12)


def parts(elements):
    return [elements.linear, elements.shift] if isinstance(elements, Rigid) else [elements]


@pytest.mark.parametrize("frame", FRAMES, ids=repr)
@pytest.mark.parametrize("group", [SE(3), O(3)], ids=str)
def test_margins_do_not_turn_and_are_zero_at_ties(frame, group):
    x, sizes = batch_of_clouds(CLOUDS, group)
    symmetry = Symmetry(group, POINTS, ANSWERS)
    margin = frame(symmetry, x).margin
    assert (margin >= 0).all()
    assert not margin.requires_grad
    for seed in range(3):
        moved = move(POINTS, element(group, sizes, seed), x)
        torch.testing.assert_close(frame(symmetry, moved).margin, margin, rtol=0, atol=1e-7)
    at = dict(zip(NAMES, margin.tolist(), strict=True))
    ties = ["empty", "one", "zero", "CO2"] + (
        ["cube", "octahedron", "CH4", "benzene"] if isinstance(frame, PCA) else []
    )
    assert all(at[name] < 1e-7 for name in ties), {name: at[name] for name in ties}
    assert at["generic"] > 1e-3


class TestRefused:
    SYMMETRY = Symmetry(SE(3), Point(), Vector())

    @pytest.mark.parametrize("frame", FRAMES, ids=repr)
    @pytest.mark.parametrize("value", [torch.nan, torch.inf])
    def test_what_is_not_finite_names_the_sample(self, frame, value):
        x = draw(4, 5, 3)
        x[2, 1, 0] = value
        with pytest.raises(SymmetryError, match="NaN or infinity in sample 2 of the batch"):
            frame(self.SYMMETRY, x)
        ragged, _ = batch_of_clouds([draw(2, 3), draw(3, 3), draw(2, 3)], SE(3))
        ragged["pos"][4] = value
        with pytest.raises(SymmetryError, match="in sample 1 of the batch"):
            frame(Symmetry(SE(3), POINTS, ANSWERS), ragged)

    @pytest.mark.parametrize("kind", [PCA, Weighted])
    def test_weights_below_zero(self, kind):
        x, _ = batch_of_clouds([member("generic")], SE(3))
        with pytest.raises(SymmetryError, match="at least 0"):
            kind(weights="mass")(weighed(SE(3)), {**x, "mass": -torch.ones(7, dtype=DOUBLE), "kind": torch.zeros(7)})

    @pytest.mark.parametrize("frame", FRAMES, ids=repr)
    @pytest.mark.parametrize("group", [C(4), Translation(3)], ids=str)
    def test_groups(self, frame, group):
        with pytest.raises(SymmetryError, match=r"expected: SO\(d\), O\(d\), SE\(d\) or E\(d\)"):
            frame(Symmetry(group, Point(), Scalar()), draw(2, 4, group.n if hasattr(group, "n") else 2))

    @pytest.mark.parametrize("kind", [PCA, Weighted])
    def test_fields(self, kind):
        symmetry = Symmetry(SE(3), Fields(pos=Point(), charge=Scalar()), Scalar())
        value = {"pos": draw(2, 4, 3), "charge": draw(2, 4)}
        with pytest.raises(SymmetryError, match="there is no field 'position'"):
            kind(of="position")(symmetry, value)
        with pytest.raises(SymmetryError, match="holds no points"):
            kind(of="charge")(symmetry, value)
        with pytest.raises(SymmetryError, match="no field 'mass' for the weights"):
            kind(weights="mass")(symmetry, value)
        with pytest.raises(SymmetryError, match="finds none in the inputs"):
            kind()(Symmetry(SE(3), Scalar(), Scalar()), draw(2, 4))
        with pytest.raises(SymmetryError, match="no coordinates"):
            kind()(Symmetry(SE(3), Fields(pos=Point(), charge=Scalar()), Scalar()),
                   {"pos": torch.ones(2, 4, 3, dtype=torch.int64), "charge": draw(2, 4)})  # fmt: skip

    def test_arguments(self):
        bad = [(PCA, {"signs": "some"}), (PCA, {"fallback": PCA()}), (Weighted, {"width": 0}), (Weighted, {"flat": 2})]
        for kind, words in bad:
            with pytest.raises(SymmetryError, match="bad"):
                kind(**words)


def arms(x):
    """Two vectors of a dense cloud."""
    return torch.stack(
        [(x * x.square().sum(-1, keepdim=True)).sum(1), (x * x.square().sum(-1, keepdim=True).sin()).sum(1)], 1
    )


EVERY = [*FRAMES, PCA(fallback=None), PCA(signs="ruled", fallback=None), Learned(arms)]


@pytest.mark.parametrize("frame", EVERY, ids=repr)
class TestObjects:
    SYMMETRY = Symmetry(SO(3), Point(), Vector())

    def test_pickled_copied_and_moved(self, frame):
        x = draw(3, 6, 3)
        poses = frame(self.SYMMETRY, x)
        for twin in (pickle.loads(pickle.dumps(frame)), copy.deepcopy(frame)):
            again = twin(self.SYMMETRY, x)
            assert torch.equal(again.elements, poses.elements)
            assert torch.equal(again.weights, poses.weights)
        single = frame(self.SYMMETRY, x.float())
        assert single.elements.dtype == single.weights.dtype == torch.float32

    def test_autocast_changes_nothing(self, frame):
        x = draw(3, 6, 3, dtype=torch.float32)
        poses = frame(self.SYMMETRY, x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            within = frame(self.SYMMETRY, x)
        torch.testing.assert_close(within.elements, poses.elements, rtol=0, atol=1e-6)

    def test_the_input_and_the_global_generator_are_left_alone(self, frame):
        x = draw(3, 6, 3)
        before, state = x.clone(), torch.get_rng_state()
        frame(self.SYMMETRY, x)
        assert torch.equal(x, before)
        assert torch.equal(torch.get_rng_state(), state)


COMPILED = """
import warnings
import torch
from canonize import PCA, Point, SO, Symmetry, Vector, Weighted

symmetry, x = Symmetry(SO(3), Point(), Vector()), torch.rand(4, 6, 3)
warnings.filterwarnings("ignore", module="torch.*")


def summed(poses):
    # A graph lists poses of weight zero, and lists them in another order: compared is a mean over all.
    return (poses.weights[..., None, None] * (1.7 * poses.elements).sin()).sum(0)


# What breaks a graph breaks it before any backend, and large graphs take long to lower: that is seen for the small ones.
for frame, backend in [
    (PCA(fallback=None), "aot_eager"),
    (PCA(signs="ruled", fallback=None), "aot_eager"),
    (PCA(), "eager"),
    (Weighted(), "eager"),
]:
    found = torch.compile(lambda x: summed(frame(symmetry, x)), fullgraph=True, backend=backend)(x)
    torch.testing.assert_close(found, summed(frame(symmetry, x)), rtol=0, atol=1e-5)
print("compiled")
"""


def test_compiled():
    """In a process of its own: annotations are inert there, as they are for users."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "compiled", done.stderr[-2000:]


def test_a_cast_of_the_batch_casts_the_answers():
    x, _ = batch_of_clouds([member("generic")], SO(3))
    assert fixed(SO(3), Weighted())(cast(x, torch.float32))["dipole"].dtype == torch.float32
