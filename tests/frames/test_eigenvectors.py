"""Canonical eigenvectors move with the nodes, whatever the solver returned; what cannot be fixed is reported, and only that."""

import copy
import pickle

import pytest
import torch
from eigen_cases import CASES, FRUCHT, SMALL, fixable, laplacian, mixed_eigh, path, random_graph, weighted

import canonize.frames.eigenvectors as module
from canonize import SymmetryError
from canonize.frames import CanonicalEigenvectors
from lists import DTYPES, draw

DOUBLE = torch.float64
REAL = torch.linalg.eigh


def worst(rule, a, *, count=6, mixed=None):
    """The largest error of the law over what `rule` reports as fixed, in units of the reported error; infinite where the
    report itself changes."""
    base, largest = rule(a[None]), 0.0
    for seed in range(count):
        p = torch.randperm(len(a), generator=torch.Generator().manual_seed(seed))
        if mixed:
            mixed.setattr(torch.linalg, "eigh", mixed_eigh(REAL, seed))
        moved = rule(a[p][:, p][None])
        if not (torch.equal(moved.fixed, base.fixed) and torch.equal(moved.space, base.space)):
            return torch.inf
        # In units of what float64, and for other dtypes the last rounding, allow.
        allowed = base.error[0] + torch.finfo(a.dtype).eps
        off = (moved.vectors[0] - base.vectors[0][p]).double().norm(dim=0) / allowed
        off = torch.where(off.isfinite(), off, torch.inf)[base.fixed[0]]
        largest = max(largest, float(off.amax()) if len(off) else 0.0)
    return largest


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_vectors_move_with_the_nodes(name, dtype, monkeypatch):
    assert worst(CanonicalEigenvectors(), CASES[name].to(dtype)) < 1
    assert worst(CanonicalEigenvectors(), CASES[name].to(dtype), mixed=monkeypatch) < 1


@pytest.mark.parametrize("name", CASES)
def test_what_stands_in_for_open_columns_moves_with_the_nodes(name, monkeypatch):
    a, rule = CASES[name], CanonicalEigenvectors()
    base, whole = rule(a[None]), rule.projectors(a[None])
    for seed in range(4):
        p = torch.randperm(len(a), generator=torch.Generator().manual_seed(seed))
        monkeypatch.setattr(torch.linalg, "eigh", mixed_eigh(REAL, seed))
        moved = rule(a[p][:, p][None])
        # Roots of rounding are as large as 1e-8.
        torch.testing.assert_close(moved.vectors[0].square(), base.vectors[0][p].square(), rtol=0, atol=1e-10)
        assert bool((moved.vectors[0][:, ~moved.fixed[0]] >= 0).all())
        torch.testing.assert_close(rule.projectors(a[p][:, p][None])[0], whole[0][:, p][..., p], rtol=0, atol=1e-11)


def by_node_order(invariants, owner, share, count):
    """Guides that look at the numbers of the nodes."""
    return torch.linspace(1, 2, share.shape[1] * count, dtype=share.dtype).reshape(count, -1).expand(len(share), -1, -1)


def by_chance(rows, guides, gap, clear, further=None):
    """What the solver returned, with random signs, called fixed."""
    signs = torch.where(torch.rand(rows.shape[:2]) < 0.5, -1.0, 1.0)
    one = torch.ones_like(rows[..., 0])
    return module.Pinned(rows * signs[..., None].to(rows), one > 0, one, 1e-14 * one)


def first_entry(rows, guides, gap, clear, further=None):
    """The first node that is not zero gets a positive entry: the usual rule of thumb."""
    place = (rows.abs() > 1e-6).int().argmax(-1, keepdim=True)
    one = torch.ones_like(rows[..., 0])
    return module.Pinned(rows * rows.gather(-1, place).sign(), one > 0, one, 1e-14 * one)


@pytest.mark.parametrize("fault", [("guides", by_node_order), ("pinned", by_chance), ("pinned", first_entry)])
@pytest.mark.parametrize("name", ["path", "random", "weighted", "frucht"])
def test_rules_that_break_the_law_are_found(name, fault, monkeypatch):
    monkeypatch.setattr(module, *fault)
    assert worst(CanonicalEigenvectors(), CASES[name], count=12) > 1e3


@pytest.mark.parametrize(
    "name", [name for name in CASES if name in SMALL or name in ("weighted", "weighted 30", "planes")]
)
def test_all_that_can_be_fixed_is_fixed_and_nothing_else(name):
    a = CASES[name]
    found = CanonicalEigenvectors()(a[None])
    able = (
        fixable(a, found.space[0])
        if len(a) <= 7
        else {int(s): int(d) for s, d in zip(found.space[0], found.dimension[0], strict=True)}
    )
    fixed = {space: int(found.fixed[0][found.space[0] == space].sum()) for space in able}
    assert fixed == able


def test_every_graph_of_five_nodes():
    """All 1,024 labelled ones, symmetric or not."""
    pairs = torch.triu_indices(5, 5, 1)
    bits = (torch.arange(1024)[:, None] >> torch.arange(10)) & 1
    a = torch.zeros(1024, 5, 5, dtype=DOUBLE)
    a[:, pairs[0], pairs[1]] = bits.to(DOUBLE)
    a = a + a.mT
    matrices = torch.diag_embed(a.sum(-1)) - a
    found = CanonicalEigenvectors()(matrices)
    for number in range(0, 1024, 7):
        able = fixable(matrices[number], found.space[number])
        fixed = {space: int(found.fixed[number][found.space[number] == space].sum()) for space in able}
        assert fixed == able, a[number]
    # Relabelled copies agree: the columns as sets of numbers, one for each graph.
    p = torch.tensor([3, 0, 4, 1, 2])
    again = CanonicalEigenvectors()(matrices[:, p][:, :, p])
    torch.testing.assert_close(again.vectors, found.vectors[:, p], rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", CASES)
def test_they_are_eigenvectors(name):
    a = CASES[name]
    found = CanonicalEigenvectors()(a[None])
    v, fixed = found.vectors[0][:, found.fixed[0]], found.fixed[0]
    scale = max(1e-300, float(a.abs().amax()) * len(a))
    assert float((a @ v - v * found.values[0][fixed]).abs().amax()) <= 1e-13 * scale if v.numel() else True
    torch.testing.assert_close(v.mT @ v, torch.eye(int(fixed.sum()), dtype=DOUBLE), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.vectors[0].norm(dim=0), torch.ones(len(a), dtype=DOUBLE), rtol=0, atol=1e-12)


def test_a_first_odd_moment_and_colours_decide():
    # Of a path no rule tells the ends apart; a colour does.
    a = laplacian(path(5))[None]
    bare, marked = CanonicalEigenvectors()(a), CanonicalEigenvectors()(a, colours=torch.tensor([[1, 0, 0, 0, 0]]))
    assert bare.fixed.tolist() == [[True, False, True, False, True]]
    assert bool(marked.fixed.all())
    other = CanonicalEigenvectors()(a, colours=torch.tensor([[0, 0, 0, 0, 1]]))
    torch.testing.assert_close(other.vectors, marked.vectors.flip(1), rtol=0, atol=1e-12)
    # Colours divide even the zero matrix, as far as they differ.
    zero = torch.zeros(1, 5, 5, dtype=DOUBLE)
    assert int(CanonicalEigenvectors()(zero, colours=torch.tensor([[1, 2, 2, 3, 4]])).fixed.sum()) == 4
    assert bool(CanonicalEigenvectors()(zero, colours=draw(1, 5)).fixed.all())


def test_continuous_away_from_ties():
    a, bump = weighted(10, 3), weighted(10, 4)
    base = CanonicalEigenvectors()(a[None])
    for size in (1e-4, 1e-6, 1e-8):
        moved = CanonicalEigenvectors()((a + size * bump)[None])
        limit = 4 * size * float(torch.linalg.matrix_norm(bump, 2)) / (base.gap[0] * a.norm())
        assert bool(((moved.vectors - base.vectors)[0].norm(dim=0) <= limit * 10).all())


def test_margins_tell_of_ties():
    # The path, a little lopsided: signs are fixed by what is lopsided, and by no more than that.
    for size in (1e-2, 1e-4, 1e-6):
        a = path(5)
        a[0, 1] = a[1, 0] = 1 + size
        odd = CanonicalEigenvectors()(laplacian(a)[None]).margin[0, [1, 3]]
        assert bool((odd < 50 * size).all())
        assert bool((odd > 1e-4 * size).all())
    near = torch.diag(torch.tensor([0.0, 1.0, 1.0 + 7e-8, 2.0], dtype=DOUBLE))
    assert float(CanonicalEigenvectors()(near[None]).margin[0, 1]) < 0.5


def test_batches_agree_with_one_at_a_time():
    """Mixed sizes, padded with rubbish, at random places; packed graphs; more columns than nodes."""
    graphs = [random_graph(n, n, 0.35) for n in (1, 5, 9, 9, 3, 12)]
    sizes = torch.tensor([len(g) for g in graphs])
    wide = torch.full((6, 14, 14), torch.nan, dtype=DOUBLE)
    mask = torch.zeros(6, 14, dtype=torch.bool)
    sorted_first = torch.zeros(6, 14, 14, dtype=DOUBLE)
    for number, g in enumerate(graphs):
        places = torch.randperm(14)[: len(g)].sort().values
        mask[number, places] = True
        wide[number, places[:, None], places] = laplacian(g)
        sorted_first[number, : len(g), : len(g)] = laplacian(g)
    rule = CanonicalEigenvectors(13)
    masked, padded = rule(wide, mask=mask), rule(sorted_first, sizes=sizes)
    edges = torch.cat([g.nonzero().T + int(sizes[:k].sum()) for k, g in enumerate(graphs)], 1)
    packed = rule.of_graphs(edges, sizes, laplacian="combinatorial", weights=torch.ones(edges.shape[1], dtype=DOUBLE))
    for number, g in enumerate(graphs):
        n = len(g)
        alone = CanonicalEigenvectors()(laplacian(g)[None])
        rows = slice(int(sizes[:number].sum()), int(sizes[: number + 1].sum()))
        for vectors, found in (
            (masked.vectors[number][mask[number]], masked),
            (padded.vectors[number][:n], padded),
            (packed.vectors[rows], packed),
        ):
            # In pieces, graphs have several trivial vectors, of which the packed ones know the first beforehand.
            single = alone.dimension[0] == 1
            torch.testing.assert_close(vectors[:, :n][:, single], alone.vectors[0][:, single], rtol=0, atol=1e-9)
            assert bool((vectors[:, n:] == 0).all())
            assert bool((found.dimension[number, n:] == 0).all())
            assert not bool(found.fixed[number, n:].any())
            torch.testing.assert_close(found.values[number, :n], alone.values[0], rtol=0, atol=1e-12)
    assert bool((masked.vectors[~mask] == 0).all())
    whole = rule.projectors(wide, mask=mask)
    assert whole.shape == (6, 13, 14, 14)
    assert bool((whole.isfinite()).all())
    trace = whole.diagonal(dim1=-2, dim2=-1).sum(-1)
    torch.testing.assert_close(trace, masked.dimension.to(DOUBLE), rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["combinatorial", "symmetric", "random-walk"])
def test_laplacians(kind):
    """Against their definition; the first vector is the trivial one, also of graphs in pieces."""
    for a in (FRUCHT, random_graph(9, 2, 0.4), torch.block_diag(random_graph(6, 3, 0.5), path(2), path(1)), path(1)):
        edges, degrees = a.nonzero().T, a.sum(1)
        held = torch.where(degrees > 0, degrees, 1.0)
        inverse = torch.diag(held.pow(-1.0)) if kind == "random-walk" else torch.diag(held.rsqrt())
        matrix = {"combinatorial": lambda m: m, "symmetric": lambda m, d=inverse: d @ m @ d,
                  "random-walk": lambda m, d=inverse: d @ m}[kind](laplacian(a))  # fmt: skip
        weights = torch.ones(edges.shape[1], dtype=DOUBLE)
        found = CanonicalEigenvectors().of_graphs(edges, len(a), weights=weights, laplacian=kind)
        fixed = found.fixed[0]
        v = found.vectors[:, fixed]
        torch.testing.assert_close(matrix @ v, v * found.values[0, fixed], rtol=0, atol=1e-12)
        assert bool(fixed[0])
        first = held.sqrt() if kind == "symmetric" else torch.ones_like(held)
        cosine = (v[:, 0] @ first) / v[:, 0].norm() / first.norm()
        torch.testing.assert_close(cosine, torch.ones((), dtype=DOUBLE), rtol=0, atol=1e-12)
        if kind == "random-walk":
            torch.testing.assert_close(
                v.mT @ torch.diag(held) @ v, torch.eye(v.shape[1], dtype=DOUBLE), rtol=0, atol=1e-11
            )


def test_parallel_edges_add_up_and_loops_are_left_out():
    edges = torch.tensor([[0, 1, 0, 1, 1, 2, 2], [1, 0, 1, 0, 2, 1, 2]])
    doubled = CanonicalEigenvectors().of_graphs(edges, 3)
    weights = torch.tensor([2.0, 2.0, 1.0, 1.0])
    once = CanonicalEigenvectors().of_graphs(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), 3, weights=weights)
    torch.testing.assert_close(doubled.vectors, once.vectors)


def test_fallbacks():
    a = CASES["star"][None]
    by = {name: CanonicalEigenvectors(fallback=name)(a) for name in ("projectors", "zero", "keep")}
    open_ = ~by["zero"].fixed[0]
    assert open_.sum() == 4
    assert bool((by["zero"].vectors[0][:, open_] == 0).all())
    kept = by["keep"].vectors[0]
    torch.testing.assert_close(kept.mT @ kept, torch.eye(6, dtype=DOUBLE), rtol=0, atol=1e-12)
    torch.testing.assert_close(
        by["projectors"].vectors[0][:, open_].square(),
        (kept[:, open_].square().sum(1) / 4)[:, None].expand(-1, 4), rtol=0, atol=1e-13,
    )  # fmt: skip
    with pytest.raises(SymmetryError, match=r"graph 1\n.*eigenvalue 1: dimension 4, open"):
        CanonicalEigenvectors(fallback="raise")(torch.cat([CASES["weighted"][None, :6, :6], a]))
    CanonicalEigenvectors(fallback="raise")(CASES["frucht"][None])


def test_the_report_in_words():
    found = CanonicalEigenvectors()(torch.stack([CASES["star"], CASES["asymmetric"]]))
    assert [space.open for space in found.spaces(0)] == [0, 4, 0]
    assert all(space.fixed == space.dimension == 1 for space in found.spaces(1))
    text = str(found)
    assert "8 of 12 columns fixed" in text
    assert "graph 0, eigenvalue 1: dimension 4, open: the rule ties" in text
    assert "graph 1" not in text
    cut = CanonicalEigenvectors(3)(CASES["star"][None]).spaces(0)[1]
    assert (cut.shown, cut.dimension) == (2, 4)
    with pytest.raises(SymmetryError, match="no such graph"):
        found.spaces(2)


def test_nothing_at_all():
    rule = CanonicalEigenvectors()
    assert rule(torch.zeros(0, 3, 3)).vectors.shape == (0, 3, 0)
    assert rule(torch.zeros(2, 0, 0)).vectors.shape == (2, 0, 0)
    none = CanonicalEigenvectors(2).of_graphs(torch.zeros(2, 0, dtype=torch.int64), torch.tensor([0, 1, 0]))
    assert none.vectors.tolist() == [[1.0, 0.0]]
    assert none.dimension.tolist() == [[0, 0], [1, 0], [0, 0]]
    assert CanonicalEigenvectors(0)(torch.ones(1, 2, 2)).vectors.shape == (1, 2, 0)
    assert rule.projectors(torch.zeros(0, 3, 3)).shape == (0, 0, 3, 3)


def test_gradients_where_they_exist():
    half = weighted(5, 1)

    def vectors(half):
        found = CanonicalEigenvectors()((half + half.mT)[None])
        assert bool(found.fixed.all())
        return found.vectors, found.values

    assert torch.autograd.gradcheck(vectors, half.clone().requires_grad_())
    assert torch.autograd.gradgradcheck(vectors, half.clone().requires_grad_())


def test_projectors_have_a_derivative_also_of_multiple_eigenvalues():
    # Along rotations of the whole the eigenvalues stay equal.
    base = torch.diag(torch.tensor([1.0, 1.0, 2.0, 4.0, 4.0], dtype=DOUBLE))

    def projectors(half):
        turn = torch.linalg.matrix_exp(half - half.mT)
        return CanonicalEigenvectors().projectors((turn @ base @ turn.mT)[None])

    assert torch.autograd.gradcheck(projectors, draw(5, 5, seed=3).requires_grad_())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("fallback", ["projectors", "zero", "keep"])
def test_gradients_are_finite_everywhere(name, fallback):
    a = CASES[name].clone().requires_grad_()
    found = CanonicalEigenvectors(fallback=fallback)(((a + a.mT) / 2)[None])
    plain = CanonicalEigenvectors(fallback=fallback)(CASES[name][None])
    torch.testing.assert_close(found.vectors.detach(), plain.vectors, rtol=0, atol=1e-12)
    (first,) = torch.autograd.grad(found.vectors.pow(3).sum() + found.values.square().sum(), a, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), a)
    assert bool(first.isfinite().all())
    assert bool(second.isfinite().all())


def test_weights_have_a_derivative():
    edges = FRUCHT.nonzero().T
    weights = torch.ones(edges.shape[1] // 2, dtype=DOUBLE, requires_grad=True)
    up = edges[:, edges[0] < edges[1]]
    found = CanonicalEigenvectors(4).of_graphs(torch.cat([up, up.flip(0)], 1), 12, weights=weights.repeat(2))
    (grad,) = torch.autograd.grad(found.vectors[:, 1].pow(3).sum(), weights)
    assert bool((grad != 0).any())
    assert bool(grad.isfinite().all())


def test_settings_pickle_and_inputs_stay():
    rule = CanonicalEigenvectors(3, fallback="zero")
    assert pickle.loads(pickle.dumps(rule)) == copy.deepcopy(rule) == rule
    a = CASES["random"][None].clone()
    found = rule(a)
    assert torch.equal(a, CASES["random"][None])
    assert torch.equal(pickle.loads(pickle.dumps(found)).vectors, found.vectors)
    assert rule(a.float()).vectors.dtype == torch.float32
    assert rule(a.to(torch.int64)).vectors.dtype == torch.get_default_dtype()
    assert repr(rule) == "CanonicalEigenvectors(count=3, fallback='zero')"
