"""The public check for jumps: continuous frames pass it on the hardest clouds, sign frames and single poses do not."""

import pytest
import torch

from canonize import (
    PCA,
    SE,
    SO,
    Average,
    C,
    E,
    Image,
    O,
    Octahedral,
    Point,
    Poses,
    Sampled,
    Scalar,
    Symmetry,
    SymmetryError,
    Vector,
    Weighted,
)
from canonize.errors import LawError
from canonize.testing import check_continuity
from lists import draw
from zoo import DOUBLE, POINTS, SINGULAR, member, ragged, zoo

# Their poses are hundreds: a few paths through them are enough.
DENSE = ("icosahedron", "dodecahedron", "cube + 1e-6", "tiny cube", "huge octahedron", "polygon 12")


def held(checked):
    return {law for law in checked.laws if law.startswith("a step of")}


@pytest.mark.parametrize("group", [SO, O, SE, E], ids=lambda group: group.__name__)
@pytest.mark.parametrize("d", [2, 3])
def test_weighted_on_the_zoo(d, group):
    """Coincident points are left out: a vector has no limit there, since the poses of what is near them take all directions."""
    clouds = [cloud for name, cloud in zoo(d) if name not in (*SINGULAR, *DENSE)]
    checked = check_continuity(Weighted(), Symmetry(group(d), POINTS, Scalar()), ragged(clouds), paths=3)
    assert len(held(checked)) == 2
    assert not checked.skipped


@pytest.mark.parametrize("name", ["icosahedron", "dodecahedron"])
def test_weighted_where_many_poses_tie(name):
    check_continuity(Weighted(), Symmetry(SE(3), POINTS, Scalar()), ragged([member(name)]), paths=3, reach=1e-5)


class TestJumps:
    """What must not pass."""

    SYMMETRY = Symmetry(SE(3), POINTS, Scalar())

    @pytest.mark.parametrize("signs", ["all", "ruled"])
    @pytest.mark.parametrize("name", ["cube", "octahedron", "CH4", "hexagon"])
    def test_principal_axes_without_a_fallback(self, name, signs):
        with pytest.raises(LawError, match="a step of 1e-06 changes the symmetrized output"):
            check_continuity(PCA(signs=signs, fallback=None), self.SYMMETRY, ragged([member(name)]))

    def test_one_pose_jumps_also_where_axes_are_known(self):
        frame = PCA(signs="ruled", fallback=None)
        with pytest.raises(LawError):
            check_continuity(frame, self.SYMMETRY, ragged([member("inversion")]))

    def test_a_jump_beside_the_input(self):
        """At a distance that no grid holds, and for one sample alone."""

        def frame(symmetry, inputs):
            poses = Weighted()(symmetry, inputs)
            far = (inputs["pos"].square().sum() * 0 + inputs["pos"][0, 0]) > member("generic")[0, 0] + 0.0123
            return Poses(type(poses.elements)(poses.elements.linear, poses.elements.shift + 0.01 * far), poses.weights)

        # A batch of one path at a time, as the frame looks at the first row only.
        with pytest.raises(LawError, match=r"t from (-?0\.0\d+) to"):
            check_continuity(frame_of_each(frame), self.SYMMETRY, ragged([member("generic")]), paths=2)

    def test_not_a_number(self):
        def frame(symmetry, inputs):
            poses = Weighted()(symmetry, inputs)
            return Poses(type(poses.elements)(poses.elements.linear * torch.nan, poses.elements.shift), poses.weights)

        with pytest.raises(LawError):
            check_continuity(frame, self.SYMMETRY, ragged([member("generic")]), paths=1)


def frame_of_each(frame):
    """A frame that is asked about each sample alone."""

    def each(symmetry, inputs):
        found = []
        for i in range(len(inputs["tag"])):
            own = inputs["batch"] == i
            alone = {"pos": inputs["pos"][own], "batch": inputs["batch"][own] * 0, "tag": inputs["tag"][i : i + 1]}
            found.append(frame(symmetry, alone))
        k = max(poses.count for poses in found)

        def padded(part):
            return torch.cat([part, part[:1].expand(k - len(part), *part.shape[1:])])

        weights = [torch.cat([poses.weights, poses.weights.new_zeros(k - poses.count, 1)]) for poses in found]
        rigid = type(found[0].elements)
        elements = rigid(
            torch.cat([padded(poses.elements.linear) for poses in found], 1),
            torch.cat([padded(poses.elements.shift) for poses in found], 1),
        )
        return Poses(elements, torch.cat(weights, 1), sparse=True)

    return each


def test_the_largest_change_is_told():
    symmetry = Symmetry(SO(3), Point(), Scalar())
    checked = check_continuity(Weighted(), symmetry, draw(2, 6, 3), paths=3)
    found = [float(law.rsplit(" ", 1)[1]) for law in held(checked)]
    assert all(0 < most <= 1e-4 for most in found)
    with pytest.raises(LawError, match=f"at most {min(found) / 2:.3g}"):
        check_continuity(Weighted(), symmetry, draw(2, 6, 3), paths=3, jump=min(found) / 2)


def test_frames_of_other_groups():
    check_continuity(
        Average(), Symmetry(Octahedral(), (Vector(), Scalar()), Scalar()), (draw(2, 4, 3), draw(2)), paths=3
    )
    check_continuity(Average(), Symmetry(Octahedral(), Vector(), Scalar()), draw(2, 3), paths=2)


def test_what_is_skipped():
    symmetry = Symmetry(SE(3), POINTS, Scalar())
    mixed = ragged([member("coincident"), member("generic"), member("empty")])
    checked = check_continuity(Weighted(), symmetry, mixed, paths=1)
    assert held(checked)
    assert ("continuity", "samples [0, 2] have no extent, so that what turns has no direction there") in checked.skipped
    checked = check_continuity(Weighted(), symmetry, ragged([member("one")]))
    assert not checked.laws
    checked = check_continuity(Sampled(2), Symmetry(Octahedral(), Point(), Scalar()), draw(2, 4, 3))
    assert not checked.laws
    assert "draws at random" in checked.skipped[0][1]


BAD = [{"step": 0.0}, {"step": 2.0}, {"jump": 0.0}, {"jump": torch.nan}, {"reach": 1e-7}, {"paths": 0}]


@pytest.mark.parametrize("words", BAD, ids=str)
def test_settings_are_refused(words):
    with pytest.raises(SymmetryError, match=f"check_continuity: bad {next(iter(words))}"):
        check_continuity(Weighted(), Symmetry(SO(3), Point(), Scalar()), draw(1, 4, 3), **words)


def test_inputs_are_refused():
    with pytest.raises(SymmetryError, match="needs inputs in float64"):
        check_continuity(Weighted(), Symmetry(SO(3), Point(), Scalar()), draw(1, 4, 3, dtype=torch.float32))
    with pytest.raises(SymmetryError, match="a frame"):
        check_continuity("Weighted", Symmetry(SO(3), Point(), Scalar()), draw(1, 4, 3))


def test_nothing_is_changed_and_seeds_are_kept():
    symmetry, x = Symmetry(SO(3), Point(), Scalar()), draw(2, 6, 3)
    before, state = x.clone(), torch.get_rng_state()
    one, two = (
        check_continuity(Weighted(), symmetry, x, paths=1, generator=torch.Generator().manual_seed(4)) for _ in range(2)
    )
    assert torch.equal(x, before)
    assert torch.equal(state, torch.get_rng_state())
    assert one == two


def test_images():
    """The average over a group is as smooth as the model."""
    check_continuity(Average(), Symmetry(C(4), Image(), Scalar()), draw(2, 1, 4, 4, dtype=DOUBLE), paths=2)
