"""Which fields of a graph of PyG could turn for their shape, and are refused until somebody says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("torch_geometric", reason="torch-geometric is not installed")

from torch_geometric.data import Batch, Data
from torch_geometric.nn import global_add_pool

from canonize import SO, Rows, Scalar, Symmetry, SymmetryError, Vector
from canonize.integrations.pyg import pyg_fields
from canonize.testing import assert_equivariant
from lists import draw

DOUBLE = torch.float64


@pytest.mark.parametrize("name", ["x", "y", "z", "edge_attr", "stress"])
@pytest.mark.parametrize(
    ("dim", "shape"),
    [
        (3, (3,)),
        (3, (3, 16)),
        (3, (16, 3)),
        (3, (3, 3)),
        (3, (6,)),
        (3, (9,)),
        (3, (2, 6)),
        (2, (2,)),
        (2, (3,)),
        (2, (2, 2)),
        (4, (10,)),
    ],
)
def test_what_could_turn_is_to_be_declared(name: str, dim: int, shape: tuple[int, ...]) -> None:
    edges = torch.tensor([[0, 1, 2, 3, 0], [1, 2, 3, 0, 2]])
    rows = {"edge_attr": 5, "stress": 1}.get(name, 4)
    graph = Data(pos=draw(4, dim), edge_index=edges, **{name: draw(rows, *shape)})
    with pytest.raises(SymmetryError, match=rf"the field '{name}' moves") as told:
        pyg_fields(graph)
    assert f"pyg_fields(data, {name}=Scalar())" in str(told.value)
    kept = pyg_fields(graph, **{name: Scalar()}).parts[name]
    assert kept == {"edge_attr": Rows(Scalar(), edges=True), "stress": Scalar()}.get(name, Rows(Scalar()))


@pytest.mark.parametrize("name", ["x", "y", "z"])
@pytest.mark.parametrize("shape", [(), (1,), (2,), (5,), (16,), (19,), (4, 8)])
def test_what_cannot_turn_for_its_shape_does_not(name: str, shape: tuple[int, ...]) -> None:
    assert pyg_fields(Data(pos=draw(4, 3), **{name: draw(4, *shape)})).parts[name] == Rows(Scalar())


def test_kinds_do_not_turn() -> None:
    graph = Data(pos=draw(4, 3), z=torch.zeros(4, 3, dtype=torch.long), kind=draw(4, 3) > 0)
    parts = pyg_fields(graph).parts
    assert [parts[name] for name in ("z", "kind")] == [Rows(Scalar())] * 2


def test_normals_in_x_turn_only_where_they_are_declared_so() -> None:
    """What passed in silence before: normals in x, of which a model is made invariant that is none."""
    value = Batch.from_data_list([Data(pos=draw(6, 3, dtype=DOUBLE), x=draw(6, 3, dtype=DOUBLE, seed=1))])
    right, wrong = (Symmetry(SO(3), pyg_fields(value, x=each), Scalar()) for each in (Vector(), Scalar()))

    def model(data: Any) -> Tensor:
        return global_add_pool((data.x * data.pos).sum(1, keepdim=True).sin(), data.batch, data.num_graphs)

    assert_equivariant(model, right, value)
    with pytest.raises(SymmetryError):
        assert_equivariant(model, wrong, value)
