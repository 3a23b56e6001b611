"""The Laplacian encoding of PyG graphs: the same for relabelled copies, alone and in batches."""

import copy
import pickle

import pytest
import torch

pytest.importorskip("torch_geometric", reason="torch-geometric is not installed")

from torch_geometric.data import Batch, Data
from torch_geometric.transforms import AddLaplacianEigenvectorPE, Compose

from canonize import SymmetryError
from canonize.integrations.pyg import CanonicalLaplacianPE


def graph(n, edges, **fields):
    half = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).T
    return Data(edge_index=torch.cat([half, half.flip(0)], 1), num_nodes=n, **fields)


ASYMMETRIC = graph(6, [(0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (2, 5)], x=torch.arange(6.0)[:, None])
HEXAGON = graph(6, [(i, (i + 1) % 6) for i in range(6)], x=torch.ones(6, 1))
PAIR = graph(2, [(0, 1)], x=torch.ones(2, 1))
POINT = graph(1, [], x=torch.ones(1, 1))
GRAPHS = [ASYMMETRIC, HEXAGON, PAIR, POINT]


def relabelled(data, seed):
    """A copy whose node p[i] is node i of the graph; and p."""
    p = torch.randperm(data.num_nodes, generator=torch.Generator().manual_seed(seed))
    moved = copy.copy(data)
    moved.edge_index = p[data.edge_index][:, torch.randperm(data.num_edges)]
    moved.x = torch.empty_like(data.x).index_copy(0, p, data.x)
    return moved, p


@pytest.mark.parametrize("data", GRAPHS)
def test_relabelled_copies_get_relabelled_encodings(data):
    encode = CanonicalLaplacianPE(4)
    base = encode(data)
    for seed in range(5):
        moved, p = relabelled(data, seed)
        found = encode(moved)
        # Roots of rounding are as large as 1e-8.
        torch.testing.assert_close(found.lap_pe[p], base.lap_pe, rtol=0, atol=1e-6)
        assert torch.equal(found.lap_pe_fixed, base.lap_pe_fixed)
    assert "lap_pe" not in data


def test_what_it_replaces_is_random_and_otherwise_equal():
    pytest.importorskip("scipy", reason="the transform of PyG needs scipy")
    base = CanonicalLaplacianPE(3)(ASYMMETRIC).lap_pe
    theirs = [AddLaplacianEigenvectorPE(3, "pe", is_undirected=True)(ASYMMETRIC).pe for _ in range(8)]
    for found in theirs:
        torch.testing.assert_close(found.abs(), base.abs(), rtol=0, atol=1e-5)
    assert any(not torch.allclose(theirs[0], found, atol=1e-3) for found in theirs)


def test_batches_agree_with_single_graphs():
    encode = CanonicalLaplacianPE(4)
    batch = encode(Batch.from_data_list(GRAPHS))
    together = Batch.from_data_list([encode(data) for data in GRAPHS])
    torch.testing.assert_close(batch.lap_pe, together.lap_pe, rtol=0, atol=1e-6)
    assert torch.equal(batch.lap_pe_fixed, together.lap_pe_fixed)
    assert batch.lap_pe_fixed.tolist()[0] == [True] * 4
    # All of the hexagon is open, and so are both ends of an edge; a point has nothing to show.
    assert not bool(batch.lap_pe_fixed[1:].any())
    torch.testing.assert_close(batch.lap_pe[batch.batch == 1], torch.full((6, 4), 6**-0.5))
    torch.testing.assert_close(batch.lap_pe[batch.batch == 2], torch.tensor([[0.5**0.5, 0, 0, 0]]).expand(2, 4))
    assert not bool(batch.lap_pe[batch.batch == 3].any())


def test_colours_and_weights():
    marked = CanonicalLaplacianPE(3, colours=("x",))
    assert bool(
        marked(
            graph(6, [(i, (i + 1) % 6) for i in range(6)], x=torch.tensor([[1.0, 0, 2, 0, 0, 0]]).T)
        ).lap_pe_fixed.all()
    )
    data = copy.copy(HEXAGON)
    data.edge_attr = torch.arange(1.0, 7.0).repeat(2)[:, None]
    assert bool(CanonicalLaplacianPE(3, weights="edge_attr")(data).lap_pe_fixed.all())
    assert not bool(CanonicalLaplacianPE(3)(data).lap_pe_fixed.any())


def test_behind_the_features():
    found = Compose([CanonicalLaplacianPE(2, attr_name=None)])(ASYMMETRIC)
    assert found.x.shape == (6, 3)
    assert torch.equal(found.x[:, 0], ASYMMETRIC.x[:, 0])
    bare = CanonicalLaplacianPE(2, attr_name=None)(Data(edge_index=ASYMMETRIC.edge_index, num_nodes=6))
    torch.testing.assert_close(bare.x, found.x[:, 1:])


def test_pickles_and_says_what_it_is():
    encode = CanonicalLaplacianPE(2, "pe")
    assert torch.equal(pickle.loads(pickle.dumps(encode))(ASYMMETRIC).pe, encode(ASYMMETRIC).pe)
    assert repr(encode) == "CanonicalLaplacianPE(2, 'pe', laplacian='symmetric')"
    assert "graph 1, eigenvalue 0.5: dimension 2, open" in str(encode.eigenvectors(Batch.from_data_list(GRAPHS)))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: CanonicalLaplacianPE(-1), "bad k"),
        (lambda: CanonicalLaplacianPE(2, colours="x"), "bad colours"),
        (lambda: CanonicalLaplacianPE(2, colours=("z",))(ASYMMETRIC), "no field 'z'"),
        (lambda: CanonicalLaplacianPE(2)(Data(x=torch.ones(3, 1))), "no field 'edge_index'"),
        (lambda: CanonicalLaplacianPE(2)(Data(edge_index=torch.tensor([[0], [1]]), num_nodes=2)), "not undirected"),
        (lambda: CanonicalLaplacianPE(2, fallback="raise")(HEXAGON), r"nothing fixes[\s\S]*dimension 2"),
        (lambda: CanonicalLaplacianPE(2, fallback="none"), "bad fallback"),
    ],
)
def test_refused(call, words):
    with pytest.raises(SymmetryError, match=words):
        call()


def test_strict_where_all_is_fixed():
    CanonicalLaplacianPE(3, fallback="raise")(ASYMMETRIC)
