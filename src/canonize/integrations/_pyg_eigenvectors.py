"""Laplacian encodings for PyG that are the same for relabelled copies of a graph."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import BaseTransform

from canonize._tree import describe
from canonize.errors import refuse
from canonize.frames import CanonicalEigenvectors, Eigenvectors
from canonize.frames.eigenvectors import Fallback
from canonize.frames.spectra import Kind


@final
class CanonicalLaplacianPE(BaseTransform):  # type: ignore[misc, unused-ignore]  # untyped where PyG is not installed
    """Eigenvectors of the Laplacian as node features, with canonical signs and bases: in place of AddLaplacianEigenvectorPE.

    That transform gives each vector a random sign, and multiple eigenvalues whatever basis the solver returned. Here
    relabelled copies of a graph get relabelled copies of one encoding, which needs no training over signs. The trivial
    vector, of eigenvalue 0, is left out. Graphs of up to k nodes get columns of zeros in place of what they do not have.

    What no rule can fix, since an automorphism moves it, is replaced by `fallback`: by default the root of the diagonal of
    the projector, |v| for one direction, which is the same for nodes that are alike. The field `lap_pe_fixed`
    (graphs, k), bool, says which columns are eigenvectors with a canonical sign; feed it to a model that should know.

    Takes a graph, or a `Batch` of graphs of mixed sizes, which is several times faster; what is added to a `Batch` is not
    taken apart again by its `to_data_list`.

    Args:
        k: how many eigenvectors.
        attr_name: the field of the encoding, (nodes, k); None to put it behind `x`.
        laplacian: "symmetric", "combinatorial" or "random-walk"; see `CanonicalEigenvectors.of_graphs`.
        weights: the field of edge weights, (edges,) or (edges, 1); None for 1.
        colours: fields of nodes that tell them apart, such as ("x",) or ("z",): with them more can be fixed, and the
            encoding depends on them.
        exact, fallback: see `CanonicalEigenvectors`.

    Raises:
        SymmetryError: bad settings; on use, an edge that is there in one direction only, a field that is not there.

    Example:
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> from canonize.integrations.pyg import CanonicalLaplacianPE
        >>> graph = Data(edge_index=torch.tensor([[0, 1, 1, 2, 2, 3, 1, 3], [1, 0, 2, 1, 3, 2, 3, 1]]), num_nodes=4)
        >>> CanonicalLaplacianPE(2)(graph)
        Data(edge_index=[2, 8], num_nodes=4, lap_pe=[4, 2], lap_pe_fixed=[1, 2])
    """

    def __init__(
        self,
        k: int,
        attr_name: str | None = "lap_pe",
        *,
        laplacian: Kind = "symmetric",
        weights: str | None = None,
        colours: tuple[str, ...] = (),
        exact: bool = False,
        fallback: Fallback = "projectors",
    ) -> None:
        if not isinstance(k, int) or isinstance(k, bool) or k < 0:
            raise refuse(
                "CanonicalLaplacianPE: bad k",
                got=repr(k),
                expected="a whole number of eigenvectors, at least 0",
                fix="CanonicalLaplacianPE(8)",
            )
        if isinstance(colours, str):
            raise refuse(
                "CanonicalLaplacianPE: bad colours",
                got=repr(colours),
                expected="a tuple of names",
                fix=f"colours=({colours!r},)",
            )
        self.k = k
        self.attr_name = attr_name
        self.laplacian: Kind = laplacian
        self.weights = weights
        self.colours = tuple(colours)
        self.rule = CanonicalEigenvectors(k + 1, exact=exact, fallback="zero" if fallback == "raise" else fallback)
        self.strict = fallback == "raise"

    def __repr__(self) -> str:
        return f"CanonicalLaplacianPE({self.k}, {self.attr_name!r}, laplacian={self.laplacian!r})"

    def eigenvectors(self, data: Data) -> Eigenvectors:
        """The eigenvectors, the trivial one included, with the report of what is fixed."""
        sizes = data.ptr.diff() if isinstance(data, Batch) else torch.tensor([data.num_nodes])
        edges = self._field(data, "edge_index")
        weights = None if self.weights is None else self._field(data, self.weights)
        if weights is not None and weights.ndim == 2 and weights.shape[1] == 1:
            weights = weights[:, 0]
        told: list[Any] = [self._field(data, name) for name in self.colours]
        flat = [field.reshape(len(field), -1).double() for field in told]
        return self.rule.of_graphs(
            edges,
            sizes.to(edges.device),
            weights=weights,
            colours=torch.cat(flat, 1) if flat else None,
            laplacian=self.laplacian,
        )

    def forward(self, data: Data) -> Data:
        """The graph, or the batch of graphs, with its encoding."""
        found = self.eigenvectors(data)
        vectors, fixed = found.vectors[:, 1:], found.fixed[:, 1:]
        missing = ((found.dimension[:, 1:] > 0) & ~fixed).any(1).nonzero()
        if self.strict and len(missing):
            graph = int(missing[0, 0])
            raise refuse(
                f"CanonicalLaplacianPE: nothing fixes the eigenvectors of graph {graph}",
                got=str(next(space for space in found.spaces(graph) if space.open)),
                expected='eigenspaces without symmetry, since fallback="raise"',
                fix='fallback="projectors", or colours=("x",) where features tell nodes apart',
            )
        if self.attr_name is None:
            features = data.x if isinstance(data.x, Tensor) else None
            if features is not None:
                features = features[:, None] if features.ndim == 1 else features
                vectors = torch.cat([features, vectors.to(features)], 1)
            data.x = vectors
        else:
            data[self.attr_name] = vectors
        data[f"{self.attr_name or 'lap_pe'}_fixed"] = fixed
        return data

    def _field(self, data: Data, name: str) -> Tensor:
        if name not in data or not isinstance(data[name], Tensor):
            raise refuse(
                f"CanonicalLaplacianPE: the graph has no field {name!r}",
                got=describe(data),
                expected=f"a tensor {name!r}",
                fix="ToUndirected() and the like leave edge_index; correct the names of weights and colours",
            )
        field: Tensor = data[name]
        return field
