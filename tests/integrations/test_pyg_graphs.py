"""Graphs of PyG: their fields, whole batches behind a frame, and the transform that poses them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("torch_geometric", reason="torch-geometric is not installed")

from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GCNConv, global_add_pool

from canonize import (
    PCA,
    SE,
    SO,
    Average,
    E,
    Edges,
    Fields,
    Index,
    O,
    Octahedral,
    Offsets,
    Point,
    Rows,
    S,
    Scalar,
    Symmetry,
    SymmetryError,
    Vector,
    Weighted,
    _tree,
    symmetrize,
)
from canonize import (
    Tensor as Rank,
)
from canonize.actions import move
from canonize.actions.trees import batch_of, repeat, take
from canonize.integrations.pyg import Canonical, pyg_fields
from canonize.testing import assert_equivariant
from lists import draw

DOUBLE = torch.float64
# The molecules here are whole, in boxes.
pytestmark = pytest.mark.filterwarnings("ignore:.*periodic system is read from its positions")


def molecule(atoms: int, seed: int = 0, dtype: torch.dtype = DOUBLE, **more: Any) -> Data:
    """A molecule with a ring of bonds in both directions, and an extra one."""
    generator = torch.Generator().manual_seed(seed)
    ring = torch.stack([torch.arange(atoms), torch.arange(atoms).roll(-1)])
    edges = torch.cat([ring, ring.flip(0), torch.tensor([[0], [atoms // 2]])], 1)
    return Data(
        pos=draw(atoms, 3, dtype=dtype, seed=seed),
        vel=draw(atoms, 3, dtype=dtype, seed=seed + 1),
        z=torch.randint(1, 9, (atoms,), generator=generator),
        edge_index=edges,
        edge_attr=draw(edges.shape[1], 2, dtype=dtype, seed=seed + 2),
        cell=draw(1, 3, 3, dtype=dtype, seed=seed + 3),
        y=draw(1, 4, dtype=dtype, seed=seed + 4),
        charge=torch.tensor(seed),
        name=f"molecule {seed}",
        **more,
    )


MOLECULES = [molecule(atoms, seed) for seed, atoms in enumerate([5, 3, 8, 6])]
FIELDS = pyg_fields(MOLECULES[0], vel=Vector(), cell=Vector())


def batch() -> Batch:
    return Batch.from_data_list(MOLECULES)


class Network(nn.Module):
    """A plain network of messages, without any symmetry; it counts its graphs as PyG's own models do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = GCNConv(7, 8).double(), GCNConv(8, 8).double()
        self.energy, self.force = nn.Linear(8, 2).double(), nn.Linear(8, 3).double()

    def forward(self, data: Any) -> dict[str, Tensor]:
        assert data.num_graphs == len(data.ptr) - 1 == len(data.y)
        assert data.num_nodes == len(data.pos) == len(data.batch)
        assert data.num_edges == len(data.edge_attr)
        bent = data.pos + 0.1 * data.cell[data.batch].sum(1)
        hidden = torch.cat([bent, data.vel, data.z[:, None].to(bent)], 1)
        weight = data.edge_attr[:, 0].abs()
        hidden = self.first(hidden, data.edge_index, weight).tanh()
        hidden = self.second(hidden, data.edge_index, weight).tanh()
        return {
            "energy": self.energy(global_add_pool(hidden, data.batch, size=data.num_graphs)),
            "force": self.force(hidden),
        }


OUTPUTS = {"energy": Scalar(), "force": Rows(Vector())}


def snapshot(data: Data) -> dict[str, Any]:
    return {
        name: part.clone() if isinstance(part, Tensor) else copy.copy(part) for name, part in data.to_dict().items()
    }


def unchanged(data: Data, before: dict[str, Any]) -> None:
    after = data.to_dict()
    assert after.keys() == before.keys()
    for name, part in before.items():
        assert torch.equal(part, after[name]) if isinstance(part, Tensor) else part == after[name]


class TestFields:
    def test_each_field_is_declared(self) -> None:
        assert (
            Fields(
                pos=Rows(Point()),
                vel=Rows(Vector()),
                z=Rows(Scalar()),
                edge_index=Edges(),
                edge_attr=Rows(Scalar(), edges=True),
                cell=Vector(),
                y=Scalar(),
                charge=Scalar(),
                batch=Index(),
                ptr=Offsets(),
            )
            == FIELDS
        )
        assert "pos=Rows(Point())" in repr(FIELDS)

    def test_a_batch_says_the_same_as_a_graph(self) -> None:
        assert pyg_fields(batch(), vel=Vector(), cell=Vector()) == FIELDS

    def test_what_is_declared_counts(self) -> None:
        graph = molecule(4, dipole=draw(1, 3), stress=draw(1, 3, 3), torque=draw(4, 3))
        parts = pyg_fields(
            graph, vel=Scalar(), cell=Vector(), dipole=Vector(), stress=Rank(2), torque=Rows(Rank(1, odd=True)), y=None
        ).parts
        assert (parts["vel"], parts["dipole"], parts["stress"]) == (Rows(Scalar()), Vector(), Rank(2))
        assert (parts["torque"], parts["y"]) == (Rows(Rank(1, odd=True)), None)

    @pytest.mark.parametrize(
        ("graph", "declared", "says"),
        [
            (Data(pos=draw(4, 3), vel=draw(4, 3)), {}, r"nobody but you knows how the field 'vel' moves"),
            (MOLECULES[0], {"vel": Vector()}, r"how the field 'cell' moves"),
            (Data(pos=draw(4, 3)), {"vel": Vector()}, r"no field 'vel'"),
            (Data(pos=draw(4, 3), far=draw(5)), {}, r"the field 'far' has an entry neither"),
            (Data(pos=draw(1, 3), size=draw(1)), {}, r"cannot be told whether the field 'size'"),
            (Data(pos=draw(4, 3), adj=torch.eye(4).to_sparse()), {}, r"the field 'adj' moves"),
            ({"pos": draw(4, 3)}, {}, r"needs a graph of PyG"),
        ],
    )
    def test_refused(self, graph: Any, declared: dict[str, Any], says: str) -> None:
        with pytest.raises(SymmetryError, match=says):
            pyg_fields(graph, **declared)

    def test_a_single_graph_is_no_batch(self) -> None:
        with pytest.raises(SymmetryError, match=r"Batch\.from_data_list"):
            symmetrize(Network(), Symmetry(Octahedral(), FIELDS, OUTPUTS))(MOLECULES[0])


class TestBatches:
    def test_moved_repeated_and_taken_batches_are_batches(self) -> None:
        value = batch()
        before, model = snapshot(value), Network()
        g = E(3).sample(4, dtype=DOUBLE)
        moved = move(FIELDS, g, value)
        assert moved.num_graphs == 4
        # Nothing but numbers changed, so that what the batch knows of its graphs is still true.
        for alone, graph, number in zip(moved.to_data_list(), MOLECULES, range(4), strict=True):
            torch.testing.assert_close(alone.pos, graph.pos @ g.linear[number].mT + g.shift[number])
            assert alone.name == graph.name
        many = repeat(FIELDS, value, 3, batch=4)
        assert (many.num_graphs, many.num_nodes, many.num_edges) == (12, 66, 3 * value.num_edges)
        assert batch_of(FIELDS, many)[0] == 12
        torch.testing.assert_close(model(many)["energy"], model(value)["energy"].repeat(3, 1))
        some = take(FIELDS, value, torch.tensor([2, 2, 0]))
        expected = Batch.from_data_list([MOLECULES[i] for i in (2, 2, 0)])
        assert (some.num_graphs, some.num_nodes) == (3, 21)
        for name in FIELDS.parts:
            assert torch.equal(some[name], expected[name])
        torch.testing.assert_close(model(some), model(expected))
        unchanged(value, before)
        assert [graph.name for graph in value.to_data_list()] == [graph.name for graph in MOLECULES]

    def test_what_a_batch_knew_of_its_graphs_is_forgotten(self) -> None:
        # Two molecules of one size: offsets are the same, bonds are not.
        graphs = [molecule(4), molecule(4, 1)]
        graphs[1].edge_index, graphs[1].edge_attr = graphs[1].edge_index[:, :3], graphs[1].edge_attr[:3]
        turned = take(FIELDS, Batch.from_data_list(graphs), torch.tensor([1, 0]))
        assert turned.num_graphs == 2
        with pytest.raises(RuntimeError):
            turned.to_data_list()

    def test_a_number_of_nodes_that_was_set_is_counted_anew(self) -> None:
        value = Batch.from_data_list([molecule(4, num_nodes=4), molecule(5, 1, num_nodes=5)])
        assert repeat(FIELDS, value, 2, batch=2).num_nodes == 18
        assert take(FIELDS, value, torch.tensor([1])).num_nodes == 5
        assert value.num_nodes == 9

    def test_a_batch_that_remembers_its_graphs_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_tree, "_forget_graphs", lambda *_: None)
        with pytest.raises(AssertionError):
            self.test_moved_repeated_and_taken_batches_are_batches()

    @pytest.mark.parametrize("chunk", [1, 5, 24])
    def test_a_network_behind_all_elements(self, chunk: int) -> None:
        claim, value, model = Symmetry(Octahedral(), FIELDS, OUTPUTS), batch(), Network()
        before = snapshot(value)
        upright = symmetrize(model, claim, Average(), chunk=chunk)
        assert not assert_equivariant(upright, claim, value).skipped
        answer = upright(value)
        unchanged(value, before)
        alone = upright(Batch.from_data_list(MOLECULES[2:3]))
        torch.testing.assert_close(answer["energy"][2:3], alone["energy"])
        torch.testing.assert_close(answer["force"][8:16], alone["force"])

    @pytest.mark.parametrize("chunk", [1, 4])
    @pytest.mark.parametrize("frame", [PCA(), PCA(signs="ruled"), Weighted()], ids=repr)
    @pytest.mark.parametrize("group", [SO(3), O(3), SE(3), E(3)], ids=repr)
    def test_a_network_behind_the_frames_of_clouds(self, group: Any, frame: Any, chunk: int) -> None:
        claim, model = Symmetry(group, FIELDS, OUTPUTS), Network()
        assert_equivariant(symmetrize(model, claim, frame, chunk=chunk), claim, batch(), tolerance=1e-9)
        with pytest.raises(SymmetryError):
            assert_equivariant(model, claim, batch(), tolerance=1e-9)

    def test_a_model_that_changes_its_batch_harms_nobody(self) -> None:
        def rude(data: Any) -> Tensor:
            for name in FIELDS.parts:
                data[name].mul_(0)
            del data.pos
            data.extra = 1
            return torch.zeros(4, dtype=DOUBLE)

        value = batch()
        before = snapshot(value)
        symmetrize(rude, Symmetry(Octahedral(), FIELDS, Scalar()))(value)
        unchanged(value, before)

    @pytest.mark.parametrize("chunk", [1, 5])
    def test_a_graph_as_an_answer(self, chunk: int) -> None:
        def model(data: Any) -> Data:
            force = data.pos * torch.tensor([1.0, 2.0, 3.0], dtype=DOUBLE) + data.vel.sin()
            return Data(force=force, batch=data.batch, ptr=data.ptr, edge_index=data.edge_index)

        outputs = Fields(force=Rows(Vector()), batch=Index(), ptr=Offsets(), edge_index=Edges())
        claim, value = Symmetry(Octahedral(), FIELDS, outputs), batch()
        upright = symmetrize(model, claim, chunk=chunk)
        assert_equivariant(upright, claim, value)
        answer = upright(value)
        assert isinstance(answer, Data)
        for name in ("batch", "ptr", "edge_index"):
            assert torch.equal(answer[name], value[name])

    def test_one_symmetric_molecule_slows_nobody_else(self) -> None:
        square = torch.tensor([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]], dtype=DOUBLE)
        symmetric = molecule(4, 9)
        symmetric.pos = square
        fields = pyg_fields(symmetric, vel=Scalar(), cell=Scalar())
        shown: list[int] = []

        def model(data: Any) -> Tensor:
            shown.append(data.num_graphs)
            return global_add_pool(
                (data.pos * torch.tensor([1.0, 2, 3], dtype=DOUBLE)).sin(), data.batch, data.num_graphs
            )

        claim = Symmetry(SO(3), fields, Scalar())
        upright = symmetrize(model, claim, PCA())
        value = Batch.from_data_list([*MOLECULES, symmetric])
        poses = upright.poses(value)
        upright(value)
        assert sum(shown) == int((poses.weights != 0).sum())
        assert sum(shown) < poses.count * 5
        assert_equivariant(upright, claim, value, tolerance=1e-9)


class TestCanonical:
    CLAIM = Symmetry(SE(3), FIELDS, Scalar())

    @pytest.mark.parametrize("group", [SO(3), O(3), SE(3), E(3)], ids=repr)
    def test_a_moved_graph_gets_the_same_pose_and_can_be_moved_back(self, group: Any) -> None:
        claim = Symmetry(group, FIELDS, Scalar())
        transform = Canonical(PCA(signs="ruled"), claim)
        # The mirror in its plane leaves a molecule of three atoms as it is.
        for graph in MOLECULES if group in (SO(3), SE(3)) else [MOLECULES[0], *MOLECULES[2:]]:
            before, g = snapshot(graph), group.sample(1, dtype=DOUBLE)
            moved = Batch.from_data_list([graph])
            moved = move(FIELDS, g, moved).to_data_list()[0]
            posed, again = transform(graph), transform(moved)
            unchanged(graph, before)
            for name in ("pos", "vel", "cell"):
                torch.testing.assert_close(posed[name], again[name], rtol=1e-9, atol=1e-9)
                assert not torch.allclose(posed[name], graph[name])
            back = transform.undo(posed)
            assert sorted(back.keys()) == sorted(graph.keys())
            for name, part in before.items():
                if isinstance(part, Tensor):
                    torch.testing.assert_close(back[name], part)

    def test_poses_in_a_loader(self) -> None:
        transform = Canonical(PCA(signs="ruled"), self.CLAIM)
        loaded = next(iter(DataLoader([transform(graph) for graph in MOLECULES], batch_size=4)))
        assert loaded.pose.shape == (4, 3, 3)
        assert loaded.pose_shift.shape == (4, 3)
        at_once = transform(batch())
        for name in ("pos", "vel", "pose", "pose_shift"):
            torch.testing.assert_close(at_once[name], loaded[name])
        for back in (transform.undo(loaded), transform.undo(at_once)):
            torch.testing.assert_close(back.pos, batch().pos)
            assert "pose" not in back
        # What a model says of posed graphs is moved back by their poses.
        force = loaded.vel
        torch.testing.assert_close(move(Rows(Vector()), transform.pose(loaded), force, index=loaded.batch), batch().vel)
        assert pyg_fields(transform(MOLECULES[0]), vel=Vector(), cell=Vector()).parts["pose"] == Scalar()

    def test_a_graph_that_several_poses_suit_is_refused_or_put_in_one_of_them(self) -> None:
        fields = pyg_fields(Data(pos=draw(4, 3)))
        square = Data(pos=torch.tensor([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]], dtype=DOUBLE))
        claim = Symmetry(SE(3), fields, Scalar())
        with pytest.raises(SymmetryError, match="several poses suit graph 1 equally well"):
            Canonical(PCA(signs="ruled"), claim)(Batch.from_data_list([Data(pos=draw(5, 3)), square]))
        transform, g = Canonical(PCA(signs="ruled"), claim, ties=True), SE(3).sample(1, dtype=DOUBLE)
        turned = Data(pos=square.pos @ g.linear[0].mT + g.shift[0])
        one, two = (transform(graph).pos for graph in (square, turned))
        assert float(torch.cdist(one, two).amin(0).max()) < 1e-9

    def test_it_pickles(self) -> None:
        transform = pickle.loads(pickle.dumps(Canonical(PCA(signs="ruled"), self.CLAIM)))
        assert repr(transform) == repr(Canonical(PCA(signs="ruled"), self.CLAIM))
        assert torch.equal(transform(MOLECULES[0]).pos, Canonical(PCA(signs="ruled"), self.CLAIM)(MOLECULES[0]).pos)

    def test_refused(self) -> None:
        transform = Canonical(PCA(signs="ruled"), self.CLAIM)
        for call, says in (
            (lambda: Canonical(PCA(), Symmetry(SE(3), Point(), Scalar())), "claim about the fields"),
            (lambda: Canonical(PCA, self.CLAIM), "cannot be called"),
            (lambda: Canonical(PCA(), FIELDS), "needs the claim"),
            (lambda: transform(transform(MOLECULES[0])), "a pose already"),
            (lambda: transform.undo(MOLECULES[0]), "no pose"),
            (lambda: Canonical(Average(), Symmetry(Octahedral(), FIELDS, Scalar()))(batch()), "graph 0 equally well"),
        ):
            with pytest.raises(SymmetryError, match=says):
                call()
        assert Canonical(Average(), Symmetry(Octahedral(), FIELDS, Scalar()), ties=True)(batch()).pose.shape == (
            4,
            3,
            3,
        )


def normalised(pos: Tensor) -> Tensor:
    """What PyG's own transform makes of a cloud: centred, on the principal axes, of whatever signs."""
    from torch_geometric.transforms import Center, NormalizeRotation

    return NormalizeRotation()(Center()(Data(pos=pos))).pos


def test_a_turned_cloud_is_normalised_to_the_same_cloud() -> None:
    transform = Canonical(PCA(signs="ruled"), Symmetry(SE(3), pyg_fields(Data(pos=draw(9, 3))), Scalar()))
    ours, theirs = 0, 0
    for seed in range(40):
        pos, g = draw(9, 3, seed=seed), SE(3).sample(1, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)
        turned = pos @ g.linear[0].mT + g.shift[0]
        ours += torch.allclose(*(transform(Data(pos=one)).pos for one in (pos, turned)), rtol=1e-8, atol=1e-8)
        theirs += torch.allclose(*(normalised(one) for one in (pos, turned)), rtol=1e-8, atol=1e-8)
    # The twin that must fail: signs as the solver leaves them are another choice for the turned cloud.
    assert (ours, theirs < 40) == (40, True)


def test_groups_that_are_no_matrices_are_refused() -> None:
    fields = pyg_fields(Data(pos=draw(3, 3)))
    with pytest.raises(SymmetryError):
        Canonical(Average(), Symmetry(S(3), fields, Scalar()), ties=True)(Data(pos=draw(3, 3)))
