"""Orders of sets: the same for every relabelling and any rounding, along rows and along a curve; margins that hold."""

import copy
import itertools
import pickle

import pytest
import torch

from canonize import Fields, Nodes, Pairs, S, Scalar, Sorted, Symmetry, SymmetryError, symmetrize
from canonize.actions import move
from canonize.errors import LawError
from canonize.frames.orders import Table, along_curve, along_rows, lexicographic, linked
from canonize.frames.sort import table_of
from canonize.testing import check_frame
from lists import DTYPES, draw, two_with_ties, with_ties

DOUBLE = torch.float64
ORDERS = ["lexicographic", "hilbert"]
FRAMES = [Sorted(order, within=within) for order in ORDERS for within in (0.0, "rounding", 1e-3, 0.3)]


def grid(n, d):
    return torch.tensor(list(itertools.product(range(n), repeat=d)), dtype=DOUBLE)


def turned(x, seed=0):
    """Under a random rotation: exact ties become ties to rounding."""
    q = torch.linalg.qr(draw(x.shape[1], x.shape[1], seed=seed)).Q
    return x @ q @ q.T


SETS = {
    "cube": 2 * grid(2, 3) - 1,
    "grid": grid(4, 2),
    "grid in space": grid(3, 3) - 1,
    "planar": torch.cat([draw(7, 2), torch.zeros(7, 1, dtype=DOUBLE)], 1),
    "upright": torch.cat([torch.zeros(7, 1, dtype=DOUBLE), draw(7, 2)], 1),
    "duplicates": draw(4, 3).repeat(3, 1),
    "one twice": torch.cat([draw(5, 3), draw(5, 3)[:1]]),
    "coincident": draw(1, 3).expand(6, 3).clone(),
    "zero": torch.zeros(4, 2, dtype=DOUBLE),
    "generic": draw(20, 3),
    "line": torch.arange(9.0, dtype=DOUBLE)[:, None] * torch.tensor([[1.0, 2.0, -1.0]], dtype=DOUBLE),
    "far": grid(2, 3) + 100,
    "one": draw(1, 3),
    "none": draw(0, 3),
}


def claim(n, outputs=None):
    return Symmetry(S(n), Nodes(), Nodes() if outputs is None else outputs)


def canonical(frame, x):
    return symmetrize(torch.nn.Identity(), claim(x.shape[1]), frame).canonical(x)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", SETS)
def test_one_canonical_set_for_every_relabelling_and_any_rounding(name, order, scale, dtype):
    """Sets that agree to a few units of rounding have canonical forms that do."""
    x = (scale * SETS[name]).to(dtype)
    size = float(x.abs().amax()) if x.numel() else 0.0
    noise = 8 * torch.finfo(dtype).eps * size
    frame, seen = Sorted(order, within="rounding"), []
    for seed in range(6):
        shuffled = x[S(len(x)).sample(generator=torch.Generator().manual_seed(seed))]
        shaken = shuffled + noise * (2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) - 1).to(
            dtype
        )
        seen.append(canonical(frame, shaken[None])[0])
    for one in seen[1:]:
        assert float((one - seen[0]).abs().amax() if x.numel() else 0.0) <= 4 * noise


def test_exact_comparison_does_not_pass_that_law():
    """The law above finds the fault that `within` mends."""
    x = turned(SETS["grid in space"])
    seen = [canonical(Sorted(), (x + 1e-16 * draw(27, 3, seed=seed))[None]) for seed in range(6)]
    assert max(float((one - seen[0]).abs().amax()) for one in seen) > 0.5


@pytest.mark.parametrize("within", [0.0, "rounding"])
def test_a_row_on_a_wall_of_the_curve_is_told(within):
    """Some sets stand on a wall between cells, wherever the walls are; the margin says so."""
    frame, x = Sorted("hilbert", within=within), draw(1, 12, 2)
    x = (x - x.amin(1)) / (x.amax(1) - x.amin(1)).amax()
    # Between the first and the last quarter of the curve.
    x[0, 4, 0], x[0, 4, 1] = 1.0123 / 2, 0.05
    first, second = x.clone(), x.clone()
    first[0, 4, 0] -= 1e-9
    second[0, 4, 0] += 1e-9
    assert not torch.equal(frame(claim(12), first).elements, frame(claim(12), second).elements)
    assert all(float(frame(claim(12), one).margin) < 1e-8 for one in (first, x, second))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("frame", FRAMES, ids=repr)
def test_laws(frame, dtype):
    for name, x in SETS.items():
        checked = check_frame(frame, claim(len(x)), x[None].to(dtype), count=1)
        assert any(law.startswith("equivariance") for law in checked.laws), name
    check_frame(frame, claim(5, Pairs()), with_ties(dtype), count=2)
    check_frame(frame, Symmetry(S(5), (Nodes(), Nodes()), Nodes()), two_with_ties(dtype), count=2)


@pytest.mark.parametrize("order", ORDERS)
def test_a_fault_in_the_order_is_found(order):
    """Rows that count as equal, in the order in which they happen to stand."""

    def frame(symmetry, inputs):
        poses = Sorted(order, within=0.3)(symmetry, inputs)
        labels = poses.stabilizer.labels
        apart = poses.elements[0] + len(labels[0]) * labels
        return type(poses)(
            apart.argsort(1)[None].gather(2, poses.elements * 0 + torch.arange(20)).clone(), poses.weights
        )

    with pytest.raises(LawError, match="equivariance"):
        check_frame(frame, claim(20), SETS["generic"][None])


def test_classes_against_the_naive_twin():
    """Single linkage, column by column, in each class."""

    def classes(rows, columns, width):
        if not columns:
            return [rows]
        rows = sorted(rows, key=lambda row: row[columns[0]])
        parts = [[rows[0]]]
        for row in rows[1:]:
            if row[columns[0]] - parts[-1][-1][columns[0]] <= width:
                parts[-1].append(row)
            else:
                parts.append([row])
        return [one for part in parts for one in classes(part, columns[1:], width)]

    x = draw(6, 30, 3, seed=3).round(decimals=1)
    for within in (1e-3, 0.02, 0.05, 0.2):
        found = along_rows(Table((x,)), within)
        for i in range(len(x)):
            width = within * float((x[i].amax(0) - x[i].amin(0)).amax())
            wanted = classes(x[i].tolist(), [0, 1, 2], width)
            got = [[] for _ in range(int(found.labels[i, -1]) + 1)]
            for place, label in enumerate(found.labels[i].tolist()):
                got[label].append(x[i, found.order[i, place]].tolist())
            assert [sorted(part) for part in got] == [sorted(part) for part in wanted]


def test_each_column_alone_against_the_naive_twin():
    x = draw(3, 12, 2, seed=3)
    found, _ = linked(Table((x,)), 0.05, alone=True)
    for i in range(3):
        width = 0.05 * float((x[i].amax(0) - x[i].amin(0)).amax())
        for column, labels in enumerate(found):
            values = x[i, :, column].sort()
            steps = (values.values.diff() > width).cumsum(0).tolist()
            assert labels[i, values.indices].tolist() == [0, *steps]


@pytest.mark.parametrize("frame", [frame for frame in FRAMES if frame != Sorted()], ids=repr)
def test_the_margin_is_how_far_a_set_may_move(frame):
    """Any change by a fifth of it keeps the canonical order up to rows that count as equal."""
    told = 0
    for seed in range(30):
        x = draw(1, 8, 2, seed=seed)
        symmetry = claim(8)
        poses = frame(symmetry, x)
        span = float((x.amax(1) - x.amin(1)).amax())
        reach = 0.2 * float(poses.margin) * span
        told += float(poses.margin) > 1e-9
        labels = torch.arange(8)[None] if poses.stabilizer is None else poses.stabilizer.labels
        ranks = torch.zeros_like(labels).scatter(1, poses.elements[0], labels)
        for again in range(10):
            moved = x + reach * (
                2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(again), dtype=DOUBLE) - 1
            )
            other = frame(symmetry, moved)
            kept = torch.arange(8)[None] if other.stabilizer is None else other.stabilizer.labels
            assert torch.equal(torch.zeros_like(kept).scatter(1, other.elements[0], kept), ranks)
    assert told >= 25


@pytest.mark.parametrize("order", ORDERS)
def test_the_margin_is_no_smaller_than_it_has_to_be(order):
    """A change by several times the margin does change some order."""
    frame, changed = Sorted(order, within=0.02), 0
    for seed in range(30):
        x = draw(1, 8, 2, seed=seed)
        poses = frame(claim(8), x)
        reach = 20 * float(poses.margin) * float((x.amax(1) - x.amin(1)).amax())
        found = [frame(claim(8), x + reach * draw(1, 8, 2, seed=100 + again)).elements for again in range(10)]
        changed += any(not torch.equal(one, poses.elements) for one in found)
    assert changed >= 20


def test_margins():
    x = torch.tensor([[[0.0, 0.0], [0.3, 5.0], [10.0, 0.0]]], dtype=DOUBLE)
    torch.testing.assert_close(Sorted(within=0.01)(claim(3), x).margin, torch.tensor([0.02], dtype=DOUBLE))
    torch.testing.assert_close(Sorted(within=0.1)(claim(3), x).margin, torch.tensor([0.07], dtype=DOUBLE))
    one = draw(2, 1, 2)
    assert all(frame(claim(1), one).margin.tolist() == [1.0, 1.0] for frame in FRAMES)
    # Different rows in one cell: the curve does not say which is first.
    assert Sorted("hilbert", bits=1)(claim(3), x).margin.tolist() == [0.0]
    assert Sorted("hilbert", bits=1)(claim(3), x).elements.tolist() == [[[0, 1, 2]]]


def test_the_curve_goes_through_a_grid_in_steps_of_one():
    for n, d in ((4, 2), (8, 2), (4, 3), (2, 5)):
        x = grid(n, d)[torch.randperm(n**d, generator=torch.Generator().manual_seed(1))]
        steps = canonical(Sorted("hilbert"), x[None])[0].diff(dim=0)
        assert (steps.abs().sum(1) == 1).all()
        assert canonical(Sorted(), x[None])[0].diff(dim=0).abs().sum(1).amax() > 1


def test_the_curve_does_not_feel_scale_or_place():
    x = draw(3, 40, 3)
    wanted = Sorted("hilbert")(claim(40), x).elements
    for other in (4.0 * x, x / 1024, 1e6 * x + 0.0):
        assert torch.equal(Sorted("hilbert")(claim(40), other).elements, wanted)
    assert torch.equal(Sorted("hilbert", within="rounding")(claim(40), x + 3.0).elements, wanted)


def test_whole_numbers_are_exact():
    x = torch.tensor([[[2**53 + 1], [2**53], [2**53 + 1], [-(2**62)]]])
    for frame in FRAMES:
        found = canonical(frame, x)[0, :, 0].tolist()
        assert found == sorted(x[0, :, 0].tolist())
        labels = frame(claim(4), x).stabilizer.labels
        assert labels.tolist() == [[0, 1, 2, 2]]


def test_each_input_has_a_unit_of_its_own():
    """A small number beside a large one is noise in one input, and none in two."""
    large, small = torch.tensor([[[1.0], [1.0], [0.0]]]), torch.tensor([[[2e-9], [1e-9], [0.0]]])
    two = Symmetry(S(3), (Nodes(), Nodes()), Scalar())
    assert Sorted(within=1e-3)(two, (large, small)).stabilizer is None
    assert Sorted(within=1e-3)(claim(3), torch.cat([large, small], -1)).stabilizer is not None


def test_outputs_of_rows_that_count_as_equal_are_averaged():
    x = torch.tensor([[[0.0], [1.0], [1.0 + 1e-14]]], dtype=DOUBLE)
    model = lambda x: x + torch.arange(3.0, dtype=DOUBLE)[:, None]  # noqa: E731
    found = symmetrize(model, claim(3), Sorted(within="rounding"))(x)
    assert float((found[0, 1] - found[0, 2]).abs()) == 0.0
    exact = symmetrize(model, claim(3), Sorted())(x)
    assert float((exact[0, 1] - exact[0, 2]).abs()) > 0.5
    with pytest.raises(SymmetryError, match="equal rows"):
        symmetrize(lambda x: x.long(), claim(3), Sorted(within="rounding"))(x)


@pytest.mark.parametrize("within", [0.0, "rounding", 0.05])
@pytest.mark.parametrize("order", ORDERS)
def test_rows_that_are_not_there_come_last_and_change_nothing(order, within):
    made = {"lexicographic": along_rows, "hilbert": lambda table, within: along_curve(table, None, within)}[order]
    x, kinds = draw(6, 9, 2, seed=2), draw(6, 9, 1, seed=3).round().long()
    x[4] = x[4].round()
    sizes = [9, 4, 0, 1, 7, 5]
    present = torch.arange(9) < torch.tensor(sizes)[:, None]
    for junk in (0.0, 1e9, torch.nan, torch.inf):
        padded = torch.where(present[..., None], x, junk)
        found = made(Table((kinds, padded), present), within)
        for i, n in enumerate(sizes):
            alone = made(Table((kinds[i : i + 1, :n], x[i : i + 1, :n])), within)
            assert torch.equal(found.order[i, :n], alone.order[0])
            assert torch.equal(found.labels[i, :n], alone.labels[0])
            assert found.order[i, n:].tolist() == list(range(n, 9))
            assert found.labels[i, n:].unique().numel() == 9 - n
            assert n == 0 or n == 9 or found.labels[i, n] > found.labels[i, n - 1]
            torch.testing.assert_close(found.margin[i], alone.margin[0], rtol=0, atol=0)


def test_the_order_of_some_rows_against_the_naive_twin():
    x = with_ties(DOUBLE)
    present = torch.tensor([True, False, True, True, False]).expand(4, 5)
    order = lexicographic(list(x.unbind(-1)), present)
    for i in range(4):
        assert x[i, order[i, :3]].tolist() == sorted(x[i, [0, 2, 3]].tolist())
        assert order[i, 3:].tolist() == [1, 4]


@pytest.mark.parametrize("bad", [torch.inf, -torch.inf])
@pytest.mark.parametrize("frame", FRAMES, ids=repr)
def test_infinite_rows(frame, bad):
    x = torch.tensor([[[bad, 1], [bad, 2], [0, 1], [1, 1]]])
    found = [canonical(frame, x[:, list(order)]) for order in itertools.permutations(range(4))]
    assert all(torch.equal(one, found[0]) for one in found)
    assert bool((frame(claim(4), x).margin >= 0).all())


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"order": "morton"}, "no such order"),
        ({"within": -0.1}, "bad within"),
        ({"within": 1.0}, "bad within"),
        ({"within": torch.nan}, "bad within"),
        ({"within": "exact"}, "bad within"),
        ({"within": True}, "bad within"),
        ({"bits": 0}, "bad bits"),
        ({"bits": 63}, "bad bits"),
    ],
    ids=str,
)
def test_arguments_are_refused(words, match):
    with pytest.raises(SymmetryError, match=f"Sorted: {match}"):
        Sorted(**words)


def test_too_many_columns_for_a_curve():
    with pytest.raises(SymmetryError, match=r"too many cells(.|\n)*bits=20"):
        Sorted("hilbert", bits=21)(claim(4), draw(1, 4, 3))
    with pytest.raises(SymmetryError, match=r"too many cells(.|\n)*order=\"lexicographic\""):
        Sorted("hilbert")(claim(4), draw(1, 4, 63))
    assert Sorted("hilbert")(claim(4), draw(1, 4, 62)).elements.shape == (1, 1, 4)


@pytest.mark.parametrize("frame", FRAMES, ids=repr)
def test_not_a_number_is_refused(frame):
    x = draw(3, 4, 2)
    x[1, 2, 0] = torch.nan
    with pytest.raises(SymmetryError, match=r"NaN in sample \[1\]"):
        frame(claim(4), x)


def test_frames_are_values():
    for frame in FRAMES:
        assert pickle.loads(pickle.dumps(frame)) == copy.deepcopy(frame) == frame
    assert repr(Sorted("hilbert", bits=4)) == "Sorted(order='hilbert', bits=4)"
    assert repr(Sorted()) == "Sorted()"


def test_fields_and_their_units():
    symmetry = Symmetry(S(4), Fields(x=Nodes(), kind=Nodes()), {"x": Nodes()})
    value = {"x": draw(2, 4, 2), "kind": torch.tensor([[1, 0, 1, 0], [2, 2, 2, 2]])}
    table = table_of(symmetry, value)
    assert [part.shape[2] for part in table.parts] in ([2, 1], [1, 2])
    h = S(4).sample((2,), generator=torch.Generator().manual_seed(0))
    one, two = (
        symmetrize(lambda value: {"x": value["x"]}, symmetry, Sorted("hilbert")).canonical(v)
        for v in (value, move(symmetry.inputs, h, value))
    )
    assert torch.equal(one["x"], two["x"])
