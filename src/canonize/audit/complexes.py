"""Simplicial complexes as models take them: which value belongs to simplices of which dimension, and the claims that follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor

from canonize._tree import Node, brief, describe, matched, rebuild, spec_leaves
from canonize.actions import Chain, Factor, Fields, Flipped, Nodes, Scalar
from canonize.errors import refuse
from canonize.groups import Flips, Product, S
from canonize.symmetry import Symmetry


@final
@dataclass(frozen=True, repr=False)
class Cochain:
    """One row for each simplex of a dimension, (batch, simplices, ...): nodes have 0, edges 1, triangles 2.

    Args:
        dim: of the simplices, at least 0.
        oriented: whether values change their sign when a simplex is written the other way round, as a flow along an edge
            does; False for what does not, such as the length of an edge. Nodes have no orientation.

    Raises:
        SymmetryError: a dimension that is no whole number from 0.
    """

    __repr__ = brief

    dim: int
    oriented: bool = True

    def __post_init__(self) -> None:
        _check_dim("Cochain", self.dim, 0)


@final
@dataclass(frozen=True)
class Boundary:
    """The matrix from simplices of a dimension to their faces, (batch, faces, simplices), with entries -1, 0 and 1.

    `Boundary(1)` has a column for each edge: -1 where it begins, 1 where it ends; `Boundary(2)` one for each triangle. A
    column of zeros is no simplex, so that complexes of different sizes share a batch.

    Args:
        dim: of the simplices, at least 1.

    Raises:
        SymmetryError: a dimension that is no whole number from 1.
    """

    dim: int

    def __post_init__(self) -> None:
        _check_dim("Boundary", self.dim, 1)


def simplicial_claims(inputs: Any, outputs: Any, sizes: Sequence[int]) -> tuple[Symmetry, Symmetry]:
    """The two claims of a model on simplicial complexes: simplices may be numbered, and written, in any way.

    Args:
        inputs: as in `Symmetry`, with `Cochain` and `Boundary` in the place of actions; `Scalar()` and None as they are.
        outputs: likewise.
        sizes: how many simplices there are of each dimension, from nodes on.

    Returns:
        The claim of relabelling, under S(n) of each dimension, and the claim of orientation, under `Flips(n)` of each
        dimension from 1 on. Either is a `Symmetry` for every verb: `symmetrize(model, orientation)` needs no frame.

    Raises:
        SymmetryError: leaves that are none of these, dimensions without a size, nothing but nodes.

    Example:
        >>> from canonize import Boundary, Cochain, simplicial_claims
        >>> simplicial_claims((Cochain(1), Boundary(1)), Cochain(0), sizes=(4, 5))[1]
        Symmetry(group=Product(Flips(5)), inputs=(Factor(0, Flipped()), Factor(0, Flipped(axis=1))), outputs=Scalar())

    Source: Roddenberry, Glaze and Segarra, arXiv 2102.10058.
    """
    for leaf in (*spec_leaves(inputs), *spec_leaves(outputs)):
        if not (leaf is None or isinstance(leaf, Cochain | Boundary | Scalar)):
            raise refuse(
                "simplicial_claims: a leaf does not belong to a complex",
                got=f"the class {leaf.__name__}" if isinstance(leaf, type) else describe(leaf),
                expected="Cochain(dim), Boundary(dim), Scalar() or None",
                fix="inputs=(Cochain(1), Boundary(1), Boundary(2)), outputs=Cochain(0)",
            )
        if isinstance(leaf, Cochain | Boundary) and leaf.dim >= len(sizes):
            raise refuse(
                f"simplicial_claims: how many simplices of dimension {leaf.dim} are there?",
                got=f"{leaf!r}, and sizes of the dimensions {[*range(len(sizes))]}",
                expected="a size for each dimension that is declared",
                fix=f"give {leaf.dim + 1} sizes, or declare an input that has simplices of that dimension",
            )
    if len(sizes) < 2:
        raise refuse(
            "simplicial_claims: nodes have no orientation",
            got=f"sizes {tuple(sizes)}",
            expected="edges, or simplices of more dimensions",
            fix="Symmetry(S(n), Nodes(), ...) for sets",
        )
    relabelled = Product(*(S(size) for size in sizes))
    flipped = Product(*(Flips(size) for size in sizes[1:]))
    return (
        Symmetry(relabelled, _each(_relabelled, inputs), _each(_relabelled, outputs)),
        Symmetry(flipped, _each(_flipped, inputs), _each(_flipped, outputs)),
    )


def sizes_in(inputs: Any, value: Any) -> tuple[int, ...]:
    """How many simplices of each dimension a value holds; 0 for dimensions that no input tells of.

    Raises:
        SymmetryError: what has too few axes, or inputs that disagree.
    """
    found: dict[int, int] = {}
    for leaf, part, path in matched(inputs, value):
        if not isinstance(leaf, Cochain | Boundary):
            continue
        name = path or "the input"
        if not isinstance(part, Tensor) or part.ndim < (2 if isinstance(leaf, Cochain) else 3):
            raise refuse(
                f"{name} is declared {leaf!r}",
                got=describe(part),
                expected="(batch, simplices, ...)" if isinstance(leaf, Cochain) else "(batch, faces, simplices)",
                fix="put the batch first: boundary.expand(batch, -1, -1) gives each sample the same complex",
            )
        told = (
            {leaf.dim: part.shape[1]}
            if isinstance(leaf, Cochain)
            else dict(zip((leaf.dim - 1, leaf.dim), part.shape[1:3], strict=True))
        )
        for dim, size in told.items():
            if found.setdefault(dim, size) != size:
                raise refuse(
                    f"the inputs disagree on how many simplices of dimension {dim} there are",
                    got=f"{size} in {name}, {found[dim]} before",
                    expected="one number",
                    fix="check the dimensions: Boundary(2) is (batch, edges, triangles)",
                )
    return tuple(found.get(dim, 0) for dim in range(max(found, default=-1) + 1))


def _relabelled(leaf: Any) -> Any:
    if isinstance(leaf, Cochain):
        return Factor(leaf.dim, Nodes())
    if isinstance(leaf, Boundary):
        return Chain(Factor(leaf.dim - 1, Nodes()), Factor(leaf.dim, Nodes(axis=1)))
    return leaf


def _flipped(leaf: Any) -> Any:
    # The first factor is that of edges: nodes have no orientation.
    if isinstance(leaf, Cochain):
        return Factor(leaf.dim - 1, Flipped()) if leaf.dim and leaf.oriented else Scalar()
    if isinstance(leaf, Boundary):
        last = Factor(leaf.dim - 1, Flipped(axis=1))
        return last if leaf.dim == 1 else Chain(Factor(leaf.dim - 2, Flipped()), last)
    return leaf


def _each(function: Callable[[Any], Any], spec: Any) -> Any:
    """A tree of declarations with `function` of each leaf."""
    if isinstance(spec, Node):
        return Fields({name: _each(function, part) for name, part in spec.parts.items()})
    if isinstance(spec, Mapping):
        return rebuild(spec, [_each(function, part) for part in spec.values()])
    if isinstance(spec, tuple | list):
        return rebuild(spec, [_each(function, part) for part in spec])
    return function(spec)


def _check_dim(where: str, dim: Any, least: int) -> None:
    if not isinstance(dim, int) or isinstance(dim, bool) or dim < least:
        raise refuse(
            f"{where} needs the dimension of its simplices",
            got=repr(dim),
            expected=f"a whole number from {least}: 1 for edges, 2 for triangles",
            fix=f"{where}(1)",
        )
