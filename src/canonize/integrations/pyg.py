"""Graphs of PyG: how their fields move, and a transform that poses them as they are loaded."""

from __future__ import annotations

import copy
from typing import Any, final

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import BaseTransform

from canonize._tree import describe
from canonize.actions import (
    Chain,
    Edges,
    Factor,
    Fields,
    Index,
    Nodes,
    Numbering,
    Offsets,
    Point,
    Rows,
    Scalar,
    move,
)
from canonize.actions.trees import at
from canonize.errors import refuse
from canonize.frames import Poses
from canonize.frames.check import check_is_frame
from canonize.groups import Rigid
from canonize.integrations._pyg_eigenvectors import CanonicalLaplacianPE as CanonicalLaplacianPE
from canonize.symmetry import Symmetry, check_is_claim

POSE, SHIFT = "pose", "pose_shift"
"""The fields in which `Canonical` keeps what it did."""

_NUMBERED: dict[str, Numbering] = {"batch": Index(), "ptr": Offsets(), "edge_index": Edges()}
_STILL = (POSE, SHIFT)
"""Fields that do not turn, whatever their shape."""


def pyg_fields(data: Data, /, **declared: Any) -> Fields:
    """How the fields of a graph, or of a batch of graphs, move: the `inputs` of a claim about a model that takes a `Batch`.

    Print it to see what was declared how. Without a word of yours

    - `batch`, `ptr` and `edge_index` are the numbering of nodes, graphs and edges: `Index()`, `Offsets()`, `Edges()`;
    - `pos` is `Rows(Point())`;
    - what cannot turn for its shape or its dtype, does not: `Rows(Scalar())` with an entry for each node,
      `Rows(Scalar(), edges=True)` with one for each edge, `Scalar()` with one for each graph;
    - floating-point numbers that could turn are refused, `x` and `y` too: nobody but you knows whether they do. Those are
      fields with an axis after the first that is as long as a vector (3 beside positions in space), a symmetric matrix (6,
      as in Voigt's notation) or a matrix (9);
    - what is no tensor is left out: the model gets it as it is.

    Args:
        data: a graph or a batch like those that the model will get; its shapes and dtypes are looked at, nothing is changed.
        declared: action of a field, for example `vel=Vector()`, `cell=Vector()`, `edge_attr=Scalar()`. One that is not
            `Rows` already is put into `Rows` where the field has an entry for each node or edge.

    Returns:
        Fields for batches as `Batch.from_data_list` and the loaders of PyG make them. A single graph has no `batch`:
        `Batch.from_data_list([graph])`.

    Raises:
        SymmetryError: no graph of PyG, a field that is not there, fields that have to be declared; it names them.

    Example:
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> from canonize import Vector
        >>> from canonize.integrations.pyg import pyg_fields
        >>> water = Data(z=torch.tensor([8, 1, 1]), pos=torch.randn(3, 3), vel=torch.randn(3, 3))
        >>> pyg_fields(water, vel=Vector())
        Fields(pos=Rows(Point()), vel=Rows(Vector()), z=Rows(Scalar()), batch=Index(), ptr=Offsets())
    """
    if not isinstance(data, Data):
        raise refuse(
            "pyg_fields needs a graph of PyG",
            got=describe(data),
            expected="a Data or a Batch of Data",
            fix="pyg_fields(dataset[0], ...); for other objects Fields(pos=Rows(Point()), batch=Index(), ...)",
        )
    absent = sorted(set(declared) - set(data.keys()))
    if absent:
        raise refuse(
            f"pyg_fields: the graph has no field {absent[0]!r}",
            got=f"fields {sorted(data.keys())}",
            expected=f"a field {absent[0]!r}, as declared",
            fix="correct the name, or leave it out",
        )
    parts: dict[str, Any] = {}
    for name in sorted(data.keys()):
        if name in declared:
            parts[name] = _wrapped(data, name, declared[name])
        elif name not in ("batch", "ptr") and isinstance(data[name], Tensor):
            parts[name] = _NUMBERED[name] if name in _NUMBERED else _wrapped(data, name, _usual(data, name))
    return Fields({**parts, **{name: _NUMBERED[name] for name in ("batch", "ptr") if name not in parts}})


def pyg_relabelled(data: Data, /, *, beside: bool = False, **declared: Any) -> Fields:
    """How the fields of a graph, or of a batch, move when nodes are numbered anew: the `inputs` of a claim about `S()`.

    Each field with an entry for each node is `Rows(Nodes())`, positions included, `edge_index` is `Edges(Nodes())`, and the
    rest is as `pyg_fields` has it.

    Args:
        data: a graph or a batch like those that the model will get.
        beside: whether the group is `Product(S(), other)`, with the group that turns positions second: then they move by
            both, `Rows(Chain(Factor(0, Nodes()), Factor(1, Point())))`.
        declared: actions as for `pyg_fields`, of the group that turns positions. Without one nothing turns, and what could
            turn need not be declared.

    Returns:
        Fields for batches as `Batch.from_data_list` and the loaders of PyG make them.

    Raises:
        SymmetryError: as `pyg_fields`.

    Example:
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> from canonize.integrations.pyg import pyg_relabelled
        >>> pyg_relabelled(Data(x=torch.randn(3, 2), edge_index=torch.tensor([[0, 1], [1, 2]])))
        Fields(edge_index=Edges(nodes=Nodes()), x=Rows(Nodes()), batch=Index(), ptr=Offsets())
    """
    if not beside and isinstance(data, Data):
        names = sorted(data.keys())
        still = [name for name in names if isinstance(data[name], Tensor) and data[name].is_floating_point()]
        declared = {**dict.fromkeys(still, Scalar()), **declared}
    fields = pyg_fields(data, **declared)
    nodes: Any = Factor(0, Nodes()) if beside else Nodes()

    def moved(action: Any) -> Any:
        if isinstance(action, Edges):
            return Edges(nodes)
        if action is None or isinstance(action, Numbering):
            return action
        inner = action.action if isinstance(action, Rows) else action
        turned = inner if isinstance(inner, Scalar) else Factor(1, inner) if beside else inner
        if not isinstance(action, Rows) or action.edges:
            return Rows(turned, edges=True) if isinstance(action, Rows) else turned
        return Rows(nodes if isinstance(turned, Scalar) else Chain(nodes, turned))

    return Fields({name: moved(action) for name, action in fields.parts.items()})


@final
class Canonical(BaseTransform):  # type: ignore[misc, unused-ignore]  # untyped where PyG is not installed
    """Graphs in the pose that a frame chooses, x = g · canonical: a transform for PyG's datasets and loaders.

    A dataset that is posed once, as it is loaded, costs nothing in training. The model must then be shown posed graphs only,
    and what it predicts stands in that pose: `symmetrize` does both in one, and is to be preferred where the pose needs a
    derivative, as forces do.

    The fields `pose` (1, d, d), and `pose_shift` (1, d) for groups with shifts, keep g; they are batched like all others.

    Args:
        frame: chooses the pose of each graph: that of the largest weight, where it gives several, as `PCA(signs="ruled")`.
        symmetry: the claim, with `inputs=pyg_fields(...)`.
        ties: whether a graph that several poses suit equally well is put in the first of them, and then in another one, maybe,
            if it comes turned. Symmetric molecules are such graphs: all their poses show the same points in another order,
            but what else is in the graph may look different in each of them.

    Raises:
        SymmetryError: no frame or no claim about fields; on use, a graph that has a pose already, and a tie unless `ties`.

    Example: `QM9(root, pre_transform=Canonical(PCA(signs="ruled"), Symmetry(SE(3), pyg_fields(graph), Scalar()), ties=True))`.
    """

    def __init__(self, frame: Any, symmetry: Symmetry, *, ties: bool = False) -> None:
        check_is_frame(frame, "Canonical")
        check_is_claim(symmetry, "Canonical")
        if not isinstance(symmetry.inputs, Fields):
            raise refuse(
                "Canonical needs a claim about the fields of a graph",
                got=f"inputs={symmetry.inputs!r}",
                expected="inputs=pyg_fields(graph, ...)",
                fix="Canonical(frame, Symmetry(group, pyg_fields(graph), Scalar()))",
            )
        self.frame = frame
        self.symmetry = symmetry
        self.ties = ties

    def __repr__(self) -> str:
        return f"Canonical({self.frame!r}, {self.symmetry!r}{', ties=True' if self.ties else ''})"

    def forward(self, data: Data) -> Data:
        """The graph (or each graph of a batch) in its pose, with the pose beside it; without a derivative."""
        if POSE in data:
            raise refuse(
                "Canonical: the graph has a pose already",
                got=describe(data),
                expected=f"a graph without the field {POSE!r}",
                fix="pose it once, or take the pose back with .undo(graph)",
            )
        batch = _as_batch(data)
        with torch.no_grad():
            poses: Poses = self.frame(self.symmetry, batch)
            if not self.ties:
                _check_ties(poses.weights)
            best = poses.weights.argmax(0)
            g = at(poses.elements, (best, torch.arange(len(best), device=best.device)))
            posed = self._moved(self.symmetry.group.inverse(g), data, batch)
        linear, shift = (g.linear, g.shift) if isinstance(g, Rigid) else (g, None)
        if not isinstance(linear, Tensor):
            raise refuse(
                "Canonical keeps poses that are matrices",
                got=repr(self.symmetry.group),
                expected="a group of matrices, such as SO(3) or E(3)",
                fix="symmetrize(model, symmetry, frame) takes any group",
            )
        posed[POSE] = linear
        if shift is not None:
            posed[SHIFT] = shift
        return posed

    def pose(self, data: Data) -> Any:
        """The elements g of a posed graph or of a batch of them, to move predictions back: `move(outputs, g, answer)`.

        Raises:
            SymmetryError: a graph without a pose.
        """
        if POSE not in data:
            raise refuse(
                "Canonical: the graph has no pose",
                got=f"fields {sorted(data.keys())}",
                expected=f"the field {POSE!r}, which this transform adds",
                fix="graph = Canonical(frame, symmetry)(graph)",
            )
        return Rigid(data[POSE], data[SHIFT]) if SHIFT in data else data[POSE]

    def undo(self, data: Data) -> Data:
        """The graph (or the batch) as it stood before, to rounding, without its pose."""
        bare = self._moved(self.pose(data), data, _as_batch(data))
        for name in (POSE, SHIFT):
            if name in bare:
                del bare[name]
        return bare

    def _moved(self, g: Any, data: Data, batch: Batch) -> Data:
        moved, new = move(self.symmetry.inputs, g, batch), copy.copy(data)
        for name, action in self.symmetry.inputs.parts.items():
            if name in data and action is not None and not isinstance(action, Numbering):
                new[name] = moved[name].reshape(data[name].shape)
        return new


def _as_batch(data: Data) -> Batch:
    return data if isinstance(data, Batch) else Batch.from_data_list([data])


def _check_ties(weights: Tensor) -> None:
    """Refuse graphs that several poses suit equally well."""
    largest = weights.amax(0)
    close = (weights > largest * (1 - torch.finfo(weights.dtype).eps ** 0.5)).sum(0)
    if bool((close > 1).any()):
        graph = int((close > 1).int().argmax())
        raise refuse(
            f"Canonical: several poses suit graph {graph} equally well",
            got=f"{int(close[graph])} poses of weight {float(largest[graph]):.3g}",
            expected="one pose of the largest weight",
            fix="symmetrize(model, symmetry, frame) takes the mean over them; for one pose a frame that chooses, such as "
            'PCA(signs="ruled"); ties=True takes the first where a graph is symmetric',
        )


def _usual(data: Data, name: str) -> Any:
    """The action of a field of which nobody said anything.

    Raises:
        SymmetryError: it could be anything.
    """
    part, dim = data[name], data.pos.shape[-1] if isinstance(data.pos, Tensor) else None
    if name == "pos":
        return Point()
    if part.layout != torch.strided:
        raise refuse(
            f"pyg_fields: nobody but you knows how the field {name!r} moves",
            got=describe(part),
            expected="an action for it, or adjacency as edge_index",
            fix=f"data.edge_index in place of a sparse matrix; pyg_fields(data, {name}=None) leaves it out",
        )
    known = {} if dim is None else {dim * dim: "a matrix", dim * (dim + 1) // 2: "a symmetric matrix", dim: "a vector"}
    turning = [known[length] for length in part.shape[1:] if length in known]
    if turning and name not in _STILL and (part.is_floating_point() or part.is_complex()):
        raise refuse(
            f"pyg_fields: nobody but you knows how the field {name!r} moves",
            got=f"{describe(part)}, with an axis as long as {turning[0]}, beside positions of {dim} components",
            expected="an action for each field that may turn",
            fix=f"pyg_fields(data, {name}=Scalar()) where it does not turn; where it does, {name}=Vector() for vectors in the "
            f"last axis, {name}=Vector(axis=-2) where channels follow them, {name}=Tensor(2) for matrices ({dim}, {dim}); a "
            "symmetric matrix in fewer numbers as a matrix",
        )
    return Scalar()


def _wrapped(data: Data, name: str, action: Any) -> Any:
    """The action in `Rows` where a field has one entry for each node or edge.

    Raises:
        SymmetryError: a field of which it cannot be told whose entries it has.
    """
    part = data[name]
    if action is None or isinstance(action, Rows | Numbering) or not isinstance(part, Tensor):
        return action
    graphs = data.num_graphs if isinstance(data, Batch) else 1
    nodes, edges = part.ndim > 0 and data.is_node_attr(name), part.ndim > 0 and data.is_edge_attr(name)
    if (nodes or edges) and len(part) == graphs and name not in ("x", "z", "pos"):
        raise refuse(
            f"pyg_fields: it cannot be told whether the field {name!r} belongs to nodes, to edges or to graphs",
            got=f"{describe(part)} in {graphs} graphs of {data.num_nodes} nodes and {data.num_edges} edges",
            expected="a graph of more nodes and edges to look at",
            fix=f"pass another graph; or None in place of it, and Fields({{**pyg_fields(data, {name}=None).parts, ...}})",
        )
    if nodes or edges:
        return Rows(action) if nodes else Rows(action, edges=True)
    if part.ndim == 0 or len(part) == graphs:
        return action
    raise refuse(
        f"pyg_fields: the field {name!r} has an entry neither for each node nor for each edge or graph",
        got=f"{describe(part)} in a graph of {data.num_nodes} nodes and {data.num_edges} edges",
        expected=f"a first axis of {data.num_nodes}, {data.num_edges} or {graphs}",
        fix=f"data.{name} = data.{name}[None] for what belongs to the graph as a whole",
    )
