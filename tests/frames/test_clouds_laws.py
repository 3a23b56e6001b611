"""The law of the frames of clouds, on the hardest clouds there are: the error is rounding, for each of them."""

import pytest
import torch

from canonize import PCA, SE, SO, E, Learned, O, Poses, Symmetry, Weighted, symmetrize
from lists import DTYPES
from zoo import ANSWERS, DOUBLE, POINTS, Generic, batch_of_clouds, g2, violations, zoo

BOUND = {torch.float32: 2e-5, torch.float64: 1e-11}
FRAMES = [PCA(), PCA(signs="ruled"), Weighted()]
GROUPS = [SO, O, SE, E]
# The poses of a cross-polytope in five dimensions are as many as its symmetries, 3,840, and those of lines are not fewer.
FIVE = ("empty", "one", "two", "zero", "generic", "many", "duplicates", "planar", "inversion", "two moments equal",
        "all moments equal", "on a sphere", "tetrahedron", "far", "tiny", "huge")  # fmt: skip
HEAVY = {4: ("cube", "cube + 1e-6", "tiny cube"), 5: tuple(name for name, _ in zoo(5) if name not in FIVE)}


class Pointer(torch.nn.Module):
    """Vectors that turn with a cloud and do not feel shifts: sums over the points, with parameters."""

    def __init__(self, d, group):
        super().__init__()
        self.shifts = isinstance(group, SE | E)
        self.weight = torch.nn.Parameter(torch.linspace(0.5, 2.0, d, dtype=DOUBLE))

    def forward(self, data):
        pos, owner, batch = data["pos"], data["batch"], len(data["tag"])
        pos = pos.double()

        def mean(values):
            count = torch.bincount(owner, minlength=batch).clamp(min=1).to(values)
            sums = values.new_zeros(batch, *values.shape[1:]).index_add(0, owner, values)
            return sums / count.reshape(-1, *(1,) * (values.ndim - 1))

        x = pos - mean(pos)[owner] if self.shifts else pos
        unit = data["tag"].double().exp()[owner, None]
        x = x / unit
        square = x.square().sum(-1, keepdim=True)
        made = [mean(x * (2 * k * square + k).cos() * weight) for k, weight in enumerate(self.weight, start=1)]
        return torch.stack(made, 1) * data["tag"].double().exp()[:, None, None]


def check(found, names, dtype):
    for path, off in found.items():
        bad = [(names[i], f"{float(off[i]):.1e}") for i in (~(off <= BOUND[dtype])).nonzero()[:, 0].tolist()]
        assert not bad, (path, bad)


def members(d):
    return [(name, cloud) for name, cloud in zoo(d) if name not in HEAVY.get(d, ())]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
@pytest.mark.parametrize("frame", FRAMES, ids=repr)
class TestTheLaw:
    @pytest.mark.parametrize("d", [2, 3])
    def test_on_the_zoo(self, frame, group, dtype, d):
        names, clouds = zip(*members(d), strict=True)
        check(violations(frame, group(d), clouds, dtype), names, dtype)

    def test_on_all_molecules_of_g2(self, frame, group, dtype):
        names, clouds = zip(*g2(), strict=True)
        check(violations(frame, group(3), clouds, dtype), names, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("d", [4, 5])
def test_in_more_dimensions(d, dtype):
    names, clouds = zip(*members(d), strict=True)
    check(violations(Weighted(), SE(d), clouds, dtype, count=2), names, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("group", [SO(3), SE(3), O(2), E(3)], ids=str)
def test_learned(group, dtype):
    d = group.n
    names, clouds = zip(*members(d), strict=True)
    frame = Learned(Pointer(d, group), scale=1e-3)
    check(violations(frame, group, clouds, dtype, count=4), names, dtype)
    x, _ = batch_of_clouds(clouds, group)
    margin = dict(zip(names, frame(Symmetry(group, POINTS, ANSWERS), x).margin.tolist(), strict=True))
    # The network is in use, and it has nothing to point at where symmetry forbids it.
    assert max(margin.values()) > 0.1
    assert margin["octahedron"] < 1e-9


class TestPlanted:
    """Frames that are wrong, each in one way: the law above must see it."""

    @staticmethod
    def worst(frame, group, name):
        names, clouds = zip(*zoo(3), strict=True)
        found = violations(frame, group, clouds, DOUBLE, count=4)
        return max(float(off[names.index(name)]) for off in found.values())

    @pytest.mark.parametrize(
        "name", ["cube", "octahedron", "tetrahedron", "benzene", "CH4", "icosahedron", "collinear"]
    )
    @pytest.mark.parametrize("signs", ["all", "ruled"])
    def test_sign_frames_alone(self, signs, name):
        assert self.worst(PCA(signs=signs, fallback=None), SO(3), name) > 1e-3

    def test_weights_that_see_the_room(self):
        def frame(symmetry, inputs):
            poses = Weighted()(symmetry, inputs)
            weights = poses.weights * (1 + poses.elements[..., 0, 0].square())
            return Poses(poses.elements, weights / weights.sum(0), sparse=True)

        assert self.worst(frame, SO(3), "on a sphere") > 1e-3

    def test_a_transposed_pose(self):
        def frame(symmetry, inputs):
            poses = Weighted()(symmetry, inputs)
            return Poses(poses.elements.mT, poses.weights)

        assert self.worst(frame, SO(3), "generic") > 1e-2

    def test_a_centre_that_does_not_move(self):
        def frame(symmetry, inputs):
            poses = Weighted()(symmetry, inputs)
            return Poses(type(poses.elements)(poses.elements.linear, poses.elements.shift * 0), poses.weights)

        assert self.worst(frame, SE(3), "generic") > 1e-2

    def test_not_a_number(self):
        class Broken(Generic):
            def forward(self, data):
                return {name: part * torch.nan for name, part in super().forward(data).items()}

        with pytest.raises(AssertionError):
            check(
                violations(Weighted(), SO(3), [dict(zoo(3))["generic"]], DOUBLE, count=1, model=Broken(3)),
                ["x"],
                DOUBLE,
            )


def test_the_answers_are_no_zeros():
    """What is compared is of the size of what the bare model returns, or the law would hold of nothing."""
    names, clouds = zip(*zoo(3), strict=True)
    x, _ = batch_of_clouds(clouds, E(3))
    model = Generic(3)
    fixed = symmetrize(model, Symmetry(E(3), POINTS, ANSWERS), Weighted())(x)
    bare, at = model(x), names.index("generic")
    for path in ("energy", "dipole", "stress"):
        assert fixed[path][at].abs().amax() > 0.05 * bare[path].square().mean().sqrt()
