"""Orders are canonical, orbits and generators are those of the automorphisms, on each way through the code."""

import dataclasses
import os

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from label_cases import WAYS, automorphisms, by, changed, copied, form, graphs, isomorphic

from canonize.labelling import Graphs, edge_orbits, label, pair_orbits, relabelled

COUNT = int(os.environ.get("CANONIZE_GRAPHS", "300"))
LAW = settings(
    max_examples=COUNT, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)
FEW = settings(LAW, max_examples=max(1, COUNT // 4))


@pytest.mark.parametrize("way", WAYS)
@given(one=graphs(), seed=st.integers(0, 2**31))
@LAW
def test_relabelled_copies_become_one_graph(way, one, seed):
    other = copied(one, seed)
    found = by(way, one)
    assert torch.equal(found.order.sort().values, torch.arange(int(one.sizes.sum())))
    assert form(one, found) == form(other, by(way, other))
    if one.colours is not None:
        colours = one.colours[found.order]
        assert torch.equal(colours, colours.sort().values)


@pytest.mark.parametrize("way", WAYS)
@given(one=graphs(), seed=st.integers(0, 2**31))
@LAW
def test_forms_are_equal_where_networkx_says_isomorphic_and_only_there(way, one, seed):
    other = changed(one, seed)
    assert (form(one, by(way, one)) == form(other, by(way, other))) == isomorphic(one, other)


@pytest.mark.parametrize("way", WAYS)
@given(one=graphs(most=7))
@FEW
def test_orbits_are_those_of_all_automorphisms(way, one):
    n, every, found = int(one.sizes[0]), automorphisms(one), by(way, one)
    assert found.orbits.tolist() == [min(p[i] for p in every) for i in range(n)]
    generators = [tuple(each) for each in found.generators(0).tolist()]
    assert set(generators) <= set(every)
    assert closure(generators, n) == set(every)
    pairs = pair_orbits(found.generators(0), n)
    assert pairs.tolist() == [[min(p[i] * n + p[j] for p in every) for j in range(n)] for i in range(n)]
    labels = [0] * one.edges.shape[1] if one.labels is None else one.labels.tolist()
    listed = list(zip(*one.edges.tolist(), labels, strict=True)) if one.edges.shape[1] else []
    orbit = [{(p[u], p[v], label) for p in every} for u, v, label in listed]
    assert edge_orbits(one, found).tolist() == [min(listed.index(e) for e in listed if e in some) for some in orbit]


def closure(generators, n):
    found = {tuple(range(n))}
    new = set(found)
    while new:
        new = {tuple(g[i] for i in p) for p in new for g in generators} - found
        found |= new
    return found


def side_by_side(several, directed):
    """One batch, and the same graphs one by one; colours and labels where any has them."""
    shifts = [sum(int(each.sizes[0]) for each in several[:place]) for place in range(len(several))]
    alone = [
        Graphs(
            each.sizes,
            each.edges,
            torch.zeros(int(each.sizes[0]), dtype=torch.int64) if each.colours is None else each.colours,
            torch.zeros(each.edges.shape[1], dtype=torch.int64) if each.labels is None else each.labels,
            directed,
        )
        for each in several
    ]
    last = Graphs(torch.zeros(1, dtype=torch.int64), *[torch.zeros(s, dtype=torch.int64) for s in ((2, 0), (0,), (0,))])
    every = [*alone, last]
    batch = Graphs(
        torch.cat([each.sizes for each in every]),
        torch.cat([each.edges + shift for each, shift in zip(every, [*shifts, 0], strict=True)], 1),
        torch.cat([each.colours for each in every]),
        torch.cat([each.labels for each in every]),
        directed,
    )
    return batch, alone, shifts


@pytest.mark.parametrize("way", WAYS)
@given(several=st.lists(graphs(most=8), max_size=5), seed=st.integers(0, 2**31), directed=st.booleans())
@FEW
def test_a_batch_is_its_graphs_one_by_one(way, several, seed, directed):
    batch, alone, shifts = side_by_side(several, directed)
    mixed = torch.randperm(batch.edges.shape[1], generator=torch.Generator().manual_seed(seed))
    batch = Graphs(batch.sizes, batch.edges[:, mixed], batch.colours, batch.labels[mixed], directed)
    found = by(way, batch)
    for graph, (each, shift) in enumerate(zip(alone, shifts, strict=True)):
        n, own = int(each.sizes[0]), by(way, each)
        assert torch.equal(found.orbits[shift : shift + n] - shift, own.orbits)
        in_batch = dataclasses.replace(own, order=found.order[shift : shift + n] - shift)
        assert form(each, in_batch) == form(each, own)
        pairs = [pair_orbits(g, n) for g in (found.generators(graph), own.generators(0))]
        assert torch.equal(*pairs)
    assert found.generators(len(several)).shape == (0, 0)


def test_no_graphs_and_no_nodes():
    empty = torch.zeros(0, dtype=torch.int64)
    for sizes in (empty, torch.zeros(3, dtype=torch.int64)):
        graphs = Graphs(sizes, empty.expand(2, 0), empty, empty)
        found = label(graphs)
        assert found.order.shape == found.orbits.shape == (0,)
        assert edge_orbits(graphs, found).shape == (0,)
        assert relabelled(graphs, found).edges.shape == (2, 0)
