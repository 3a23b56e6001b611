"""The continuous frame of sets: no jumps, where single orders have them; exact for every set; few poses."""

import copy
import itertools
import pickle

import pytest
import torch

from canonize import Average, Nodes, Pairs, S, Scalar, Sorted, Symmetry, SymmetryError, WeightedOrder, symmetrize
from canonize.actions import move
from canonize.errors import LawError
from canonize.frames import Poses
from canonize.frames.orders import Table
from canonize.frames.weighted_order import weighted_orders
from canonize.testing import check_continuity, check_frame
from lists import DTYPES, draw, two_with_ties, with_ties

DOUBLE = torch.float64
FRAMES = [WeightedOrder(), WeightedOrder(0.1)]


def grid(n, d):
    return torch.tensor(list(itertools.product(range(n), repeat=d)), dtype=DOUBLE)


def near(x, step, seed=9):
    return x + step * draw(*x.shape, seed=seed)


SETS = {
    "generic": draw(6, 2),
    "space": draw(8, 3),
    "numbers": draw(6, 1),
    "numbers twice": draw(4, 1).repeat(2, 1),
    "cube": 2 * grid(2, 3) - 1,
    "grid": grid(3, 2),
    "tied in the first": torch.cat([torch.ones(5, 1, dtype=DOUBLE), draw(5, 2)], 1),
    "two twice": draw(4, 2)[[0, 1, 2, 3, 0, 1]],
    "one thrice": draw(4, 2)[[0, 1, 2, 3, 0, 0]],
    "near twice": near(draw(4, 2)[[0, 1, 2, 3, 0]], 1e-6),
    "near thrice": near(draw(4, 2)[[0, 1, 2, 3, 0, 0]], 1e-6),
    "twice and near": draw(4, 2)[[0, 1, 2, 3, 0, 0]] + 1e-6 * torch.eye(6, 2, dtype=DOUBLE),
    "line": torch.arange(6.0, dtype=DOUBLE)[:, None] * torch.tensor([[0.0, 1.0]], dtype=DOUBLE),
    "two": draw(2, 2),
}
SIZELESS = {"coincident": draw(1, 2).expand(4, 2).clone(), "zero": torch.zeros(4, 2, dtype=DOUBLE), "one": draw(1, 3),
            "none": draw(0, 3)}  # fmt: skip


def claim(n, outputs=None):
    return Symmetry(S(n), Nodes(), Nodes() if outputs is None else outputs)


@pytest.mark.parametrize("name", SETS)
def test_there_are_no_jumps(name):
    x = SETS[name]
    checked = check_continuity(WeightedOrder(0.1), claim(len(x)), x[None], step=1e-7, paths=3)
    assert sum(law.startswith("a step of") for law in checked.laws) == 2
    assert not checked.skipped


@pytest.mark.parametrize("name", ["generic", "near thrice", "grid"])
def test_nor_with_wider_thresholds(name):
    x = SETS[name]
    check_continuity(WeightedOrder(), claim(len(x)), x[None], step=1e-7, paths=3)


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("generic", Sorted()),
        ("cube", Sorted()),
        ("generic", Sorted("hilbert")),
        ("cube", Sorted(within="rounding")),
        ("near twice", Sorted(within=0.01)),
        ("numbers twice", Sorted()),
    ],
    ids=str,
)
def test_single_orders_jump(name, frame):
    x = SETS[name]
    with pytest.raises(LawError, match="a step of 1e-07 changes the symmetrized output"):
        check_continuity(frame, claim(len(x)), x[None], step=1e-7, paths=3)


class Without:
    """The frame less one of its parts."""

    def __init__(self, part):
        self.part = part

    def __call__(self, symmetry, inputs, *, generator=None):
        if self.part == "turns":
            symmetry = Symmetry(symmetry.group, symmetry.inputs, Scalar())
        poses = WeightedOrder(0.1)(symmetry, inputs)
        if self.part == "weights":
            kept = (poses.weights > 0).double()
            return Poses(poses.elements, kept / kept.sum(0), poses.margin, poses.stabilizer)
        return Poses(poses.elements, poses.weights, poses.margin, None if self.part == "classes" else poses.stabilizer)


@pytest.mark.parametrize(
    ("part", "name"),
    [("turns", "near twice"), ("turns", "two twice"), ("weights", "generic"), ("classes", "one thrice")],
)
def test_each_part_is_needed(part, name):
    x = SETS[name]
    check_continuity(Without("nothing"), claim(len(x)), x[None], step=1e-7, paths=3)
    with pytest.raises(LawError):
        check_continuity(Without(part), claim(len(x)), x[None], step=1e-7, paths=3)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("frame", FRAMES, ids=repr)
def test_laws(frame, dtype):
    for name, x in (SETS | SIZELESS).items():
        for scale in (1e-6, 1e6):
            checked = check_frame(frame, claim(len(x)), (scale * x[None]).to(dtype), count=1)
            assert any(law.startswith("equivariance") for law in checked.laws), name
    check_frame(frame, claim(5, Pairs()), with_ties(dtype), count=2)
    check_frame(frame, claim(5), with_ties(dtype).unflatten(2, (2, 1)), count=2)
    check_frame(frame, Symmetry(S(5), (Nodes(), Nodes()), Nodes()), two_with_ties(dtype), count=2)
    check_frame(frame, claim(4), torch.complex(draw(2, 4, 1).to(dtype), draw(2, 4, 1, seed=1).to(dtype)), count=2)


def test_dropped_equal_rows_are_found():
    with pytest.raises(LawError, match="equivariance"):
        check_frame(Without("classes"), claim(6), SETS["one thrice"][None])


@pytest.mark.parametrize("frame", FRAMES, ids=repr)
@pytest.mark.parametrize("name", SETS | SIZELESS)
def test_a_model_that_has_the_symmetry_is_kept(name, frame):
    """Also where rows nearly coincide, which no mean over rows that merely resemble each other would keep."""

    def model(x):
        return x.sin() + x.exp().sum(1, keepdim=True), torch.einsum("bid,bjd->bij", x, x.cos()), x.cos().sum(1)

    x = (SETS | SIZELESS)[name][None]
    symmetry = Symmetry(S(x.shape[1]), Nodes(), (Nodes(), Pairs(), Scalar()))
    for one, other in zip(symmetrize(model, symmetry, frame)(x), model(x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SETS)
def test_poses_are_the_same_bit_for_bit_for_every_relabelling(name):
    x = SETS[name][None]
    symmetry = claim(x.shape[1])
    poses = WeightedOrder(0.1)(symmetry, x)
    shown = move(Nodes(), poses.elements.argsort(2).flatten(0, 1), x.expand(poses.count, -1, -1))
    for seed in range(5):
        h = S(x.shape[1]).sample((1,), generator=torch.Generator().manual_seed(seed))
        moved = Nodes()(h, x)
        other = WeightedOrder(0.1)(symmetry, moved)
        assert torch.equal(other.weights, poses.weights)
        again = move(Nodes(), other.elements.argsort(2).flatten(0, 1), moved.expand(other.count, -1, -1))
        assert torch.equal(again, shown)


def test_weights_against_the_definition():
    """The share of thresholds at which `Sorted(within=...)` finds an order, weighted as the thresholds are."""
    frame, symmetry, x = WeightedOrder(0.5), claim(7, Scalar()), draw(60, 7, 2, seed=6)
    # What the largest threshold parts, all part; the others need the levels below.
    clear = [Sorted(within=0.5 / 6)(symmetry, one[None]).stabilizer is None for one in x]
    x = x[torch.tensor(clear) & (frame(symmetry, x).weights.amax(0) < 0.99)][:5]
    poses = frame(symmetry, x)
    assert len(x) == 5
    count = 1000
    found = []
    for step in range(count):
        u = (step + 0.5) / count
        found.append((Sorted(within=u * 0.5 / 6)(symmetry, x).elements[0].tolist(), 6 * u * (1 - u) / count))
    for i in range(len(x)):
        told: dict[tuple[int, ...], float] = {}
        for element, weight in zip(poses.elements[:, i].tolist(), poses.weights[:, i].tolist(), strict=True):
            told[tuple(element)] = told.get(tuple(element), 0.0) + weight
        seen = dict.fromkeys(told, 0.0)
        for elements, weight in found:
            seen[tuple(elements[i])] += weight
        for element, weight in told.items():
            # Four ends of intervals, where a density of at most 3/2 counts a step too many or too few.
            assert abs(seen[element] - weight) < 4 * 1.5 / count


def test_poses_are_few():
    x = torch.rand(200, 50, 3, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    poses = WeightedOrder(0.1)(claim(50), x)
    used = (poses.weights > 0).sum(0).double()
    expected = 1 + 49 * (1 - torch.tensor(-0.1).exp()) / 2
    assert 0.7 * expected < used.mean() < 1.3 * expected
    assert WeightedOrder(0.1)(claim(27), grid(3, 3)[None]).count == 1
    assert WeightedOrder(0.1)(claim(6), SETS["one thrice"][None]).count == 1
    assert poses.sparse


def test_rows_that_are_not_there_come_last_and_change_nothing():
    x, kinds = draw(4, 7, 2, seed=2), draw(4, 7, 1, seed=3).round().long()
    x[3, 4] = x[3, 0] + 1e-6
    kinds[3, 4] = kinds[3, 0]
    sizes = [7, 4, 1, 5]
    present = torch.arange(7) < torch.tensor(sizes)[:, None]
    for junk in (0.0, 1e9, torch.nan, torch.inf):
        padded = torch.where(present[..., None], x, junk)
        orders, weights, labels, margin = weighted_orders(Table((kinds, padded), present), 1.0, turning=True)
        for i, n in enumerate(sizes):
            alone = weighted_orders(Table((kinds[i : i + 1, :n], x[i : i + 1, :n])), 1.0, turning=True)
            k = len(alone[1])
            assert torch.equal(orders[:k, i, :n], alone[0][:, 0])
            assert (orders[:, i, n:] == torch.arange(n, 7)).all()
            assert torch.equal(labels[:k, i, :n], alone[2][:, 0])
            assert torch.equal(weights[:k, i], alone[1][:, 0])
            assert not weights[k:, i].any()
            assert margin[i] == alone[3][0]
    assert weights[:, 3].count_nonzero() >= 2


def test_a_number_for_each_row_is_sorted():
    """In one column every threshold finds the same order, so that the canonical set is that of `Sorted`."""
    x = draw(4, 9, 1)
    symmetry = claim(9, Scalar())
    model = lambda x: (x[..., 0] * torch.arange(9.0, dtype=DOUBLE)).sin()  # noqa: E731
    torch.testing.assert_close(
        symmetrize(model, symmetry, WeightedOrder(0.1))(x), symmetrize(model, symmetry, Sorted())(x), rtol=0, atol=1e-14
    )
    assert WeightedOrder(0.1)(symmetry, x).count == 1


def test_the_derivative_is_that_of_the_symmetrized_model():
    x = draw(2, 6, 2, seed=4).requires_grad_()
    weight = draw(12, 1)
    model = symmetrize(lambda x: torch.sin(x.flatten(1) @ weight), claim(6, Scalar()), WeightedOrder(1.0))
    assert WeightedOrder(1.0)(claim(6, Scalar()), x).count > 1
    assert torch.autograd.gradcheck(model, x)
    fixed = WeightedOrder(1.0)(claim(6, Scalar()), x).weights.detach()
    assert WeightedOrder(1.0)(claim(6, Scalar()), x).weights.requires_grad
    assert (fixed.sum(0) - 1).abs().amax() < 1e-14


@pytest.mark.parametrize("name", SETS | SIZELESS)
def test_the_derivative_is_finite_at_ties(name):
    x = (SETS | SIZELESS)[name][None].clone().requires_grad_()
    weight = draw(x[0].numel(), 1)
    model = symmetrize(lambda x: torch.sin(x.flatten(1) @ weight), claim(x.shape[1], Scalar()), WeightedOrder(0.1))
    (grad,) = torch.autograd.grad(model(x).sum(), x)
    assert grad.isfinite().all()


def test_the_margin():
    x = draw(3, 6, 2)
    torch.testing.assert_close(WeightedOrder(0.1)(claim(6), x).margin, torch.full((3,), 0.02, dtype=DOUBLE))
    assert WeightedOrder(9.0)(claim(6), x).margin.tolist() == [1.0] * 3


def test_whole_numbers_are_exact():
    x = torch.tensor([[[2**53 + 1], [2**53], [2**53 + 1], [-(2**62)]]])
    poses = WeightedOrder(0.1)(claim(4), x)
    assert poses.count == 1
    assert x[0, poses.elements[0, 0], 0].tolist() == sorted(x[0, :, 0].tolist())
    assert poses.weights.dtype == torch.float32


def test_batches_do_not_feel_each_other():
    x = torch.stack(
        [draw(6, 2, seed=1), SETS["one thrice"], SETS["near thrice"], SETS["two twice"], grid(2, 3)[:6, 1:]]
    )
    weight = draw(12, 6)
    model = symmetrize(lambda x: torch.sin(x.flatten(1) @ weight)[..., None], claim(6), WeightedOrder(0.5), chunk=3)
    whole = model(x)
    for i in range(len(x)):
        torch.testing.assert_close(model(x[i : i + 1]), whole[i : i + 1], rtol=0, atol=1e-14)


def test_agreement_with_the_average_over_all_orders_where_all_rows_are_equal():
    x = draw(1, 1, 2).expand(1, 4, 2).clone()
    weight = draw(8, 4)
    model = lambda x: torch.sin(x.flatten(1) @ weight)[..., None]  # noqa: E731
    torch.testing.assert_close(
        symmetrize(model, claim(4), WeightedOrder(0.1))(x), symmetrize(model, claim(4), Average())(x)
    )


@pytest.mark.parametrize("width", [0.0, -1.0, torch.inf, torch.nan, True])
def test_widths_are_refused(width):
    with pytest.raises(SymmetryError, match="WeightedOrder: bad width"):
        WeightedOrder(width)


@pytest.mark.parametrize(
    ("inputs", "spec", "match"),
    [
        (torch.full((2, 4, 1), torch.nan), Nodes(), "WeightedOrder: rows that are not numbers"),
        (torch.full((2, 4, 1), torch.inf), Nodes(), "WeightedOrder: infinite entries"),
        (torch.rand(2, 4, 4), Pairs(), "WeightedOrder orders sets"),
        (torch.rand(2, 5, 1), Nodes(), "does not have the size of the group"),
        (torch.rand(2, 5, 1), Scalar(), r"WeightedOrder needs an input declared Nodes\(\)"),
    ],
    ids=["NaN", "infinity", "pairs", "size", "no nodes"],
)
def test_inputs_are_refused(inputs, spec, match):
    with pytest.raises(SymmetryError, match=match):
        WeightedOrder(0.1)(Symmetry(S(4), spec, Scalar()), inputs)


def test_too_many_poses_are_refused():
    crowd = torch.cat([1e-9 * draw(300, 2), torch.ones(1, 2, dtype=DOUBLE)])[None]
    with pytest.raises(SymmetryError, match=r"too many poses(.|\n)*Sorted"):
        WeightedOrder(50.0)(claim(301), crowd)


def test_frames_are_values():
    frame = WeightedOrder(0.25)
    assert pickle.loads(pickle.dumps(frame)) == copy.deepcopy(frame) == frame
    poses = WeightedOrder(0.1)(claim(6), torch.stack([SETS["one thrice"], SETS["two twice"]]))
    assert torch.equal(pickle.loads(pickle.dumps(poses.stabilizer)).labels, poses.stabilizer.labels)
    assert (repr(frame), repr(WeightedOrder())) == ("WeightedOrder(width=0.25)", "WeightedOrder()")
