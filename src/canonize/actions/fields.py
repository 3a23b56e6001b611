"""Building actions from actions: named fields, ragged rows, parts of a product, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor

from canonize._tree import Listed, Node, brief, describe
from canonize.actions.base import bitwise, lossless
from canonize.errors import refuse


@final
class Fields(Node):
    """Actions for named parts of a dict, of a dataclass or of any object with attributes; the rest is left alone.

    Left alone means: as the model was given it, and of an output as the model returned it (for the last poses where a
    sample has several).

    Args:
        parts: the same as a mapping, for names that are not Python words.
        named: action of each part, for example `Fields(pos=Point(), charge=Scalar())`.

    Example:
        `Fields(pos=Rows(Point()), batch=Index())` is a batch of clouds of different sizes in one tensor.

    Raises:
        SymmetryError: no parts; on use, a part that the value does not have.
    """

    def __init__(self, parts: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        if parts is not None and not isinstance(parts, Mapping):
            raise refuse(
                "Fields takes names", got=describe(parts), expected="a mapping or keywords", fix="Fields(pos=Point())"
            )
        self.parts = {**(parts or {}), **named}
        if not self.parts:
            raise refuse(
                "Fields needs parts", got="none", expected="an action for each named part", fix="Fields(pos=Point())"
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.parts)))

    def __repr__(self) -> str:
        return f"Fields({', '.join(f'{name}={action!r}' for name, action in self.parts.items())})"


class Numbering:
    """A leaf that declares how rows are numbered; its values are whole numbers, no action, and do not move."""


@final
@dataclass(frozen=True, repr=False)
class Rows:
    """Rows of many samples in one tensor, (rows, ...): each row moves with the element of the sample that it belongs to.

    The sample of each row is told by the field that is declared as `Index()` or `Offsets()`.

    Args:
        action: how one row moves; the row axis takes the place of the batch.
        edges: whether there is one entry for each edge of the field that is declared as `Edges()`, (edges, ...), in place
            of one for each row; an edge belongs to the sample of its nodes.

    Raises:
        SymmetryError: what it wraps is not one action.
    """

    __repr__ = brief

    action: Any
    edges: bool = False

    def __post_init__(self) -> None:
        if not callable(self.action) or isinstance(self.action, Rows | Node | Listed | Numbering | type):
            raise refuse(
                "Rows wraps one action",
                got=repr(self.action),
                expected="an action such as Point()",
                fix="Fields(pos=Rows(Point()), batch=Index())",
            )


@final
@dataclass(frozen=True, repr=False)
class Index(Numbering):
    """The integer tensor (rows,) that names the sample of each row of the `Rows` fields beside it; it does not move.

    Samples are numbered from 0 and stand one behind the other. How many there are is told by another field, by `Offsets()`
    or by anything that has one entry for each sample; without such a field it is the largest number and one, and then
    each sample must have rows: one without would be nothing but a wrong number.

    Args:
        loose: whether rows may stand in any order and samples may be left out.

    Raises:
        SymmetryError: on use, no vector of whole numbers from 0; unless `loose`, rows that come back to a sample after
            another one began, and samples without rows that no field tells of. The message names sample and row.
    """

    __repr__ = brief

    loose: bool = False


@final
@dataclass(frozen=True)
class Offsets(Numbering):
    """The integer tensor (samples + 1,) with the place where the rows of each sample begin, and the end; it does not move.

    It is what PyG calls `ptr`, and it tells how many samples there are: those without rows are counted too. Rows of a
    sample stand one behind the other. The `Index()` beside it, which may be left out, has to say the same.

    Raises:
        SymmetryError: on use, no vector of whole numbers from 0 that never go down, or an index that says otherwise. The
            message names the sample.
    """


@final
@dataclass(frozen=True, repr=False)
class Edges(Numbering):
    """The integer tensor (2, edges) with the places of the two rows that each edge joins.

    It is what PyG calls `edge_index`. Places are numbered anew where samples are taken out of a batch or repeated, so that
    a model may be called on some of the samples, or on several poses of them at once. Edges stand in any order, and keep it.

    Args:
        nodes: None where rows keep their places; where they are declared as `Rows(Nodes())`, `Nodes()`, or `Nodes()` in a
            `Factor`, so that the edges join the same rows after these have changed places.

    Raises:
        SymmetryError: `nodes` that is no action; on use, no such tensor, an edge that joins two samples, or one whose row
            does not exist. The message names the edge.
    """

    __repr__ = brief

    nodes: Any = None

    def __post_init__(self) -> None:
        if self.nodes is not None:
            _inner("Edges", self.nodes, "Edges(Nodes())")


@final
@dataclass(frozen=True, repr=False)
class Factor:
    """One part of a `Product` acts: `Factor(1, Point())` feels the second group only.

    Args:
        position: which factor, from 0.
        action: how that factor's elements move the value.

    Raises:
        SymmetryError: a position that is no whole number, something that is no action; on use, an element that has no
            such part.
    """

    __repr__ = brief

    position: int
    action: Any

    def __post_init__(self) -> None:
        if not isinstance(self.position, int) or isinstance(self.position, bool):
            raise refuse(
                "Factor needs the number of a part first",
                got=describe(self.position),
                expected="a whole number, from 0",
                fix="Factor(0, Point())",
            )
        _inner("Factor", self.action, "Factor(0, Point())")

    def __call__(self, g: Any, x: Any) -> Any:
        """The action of that part of g."""
        return self.action(self.part(g), x)

    def lossless(self, g: Any, x: Tensor) -> Tensor:
        """As the inner action says."""
        return lossless(self.action, self.part(g), x)

    def bitwise(self, g: Any, x: Tensor) -> Tensor:
        """As the inner action says."""
        return bitwise(self.action, self.part(g), x)

    def part(self, g: Any) -> Any:
        """The part of an element that is meant.

        Raises:
            SymmetryError: no element of a product with so many factors.
        """
        if type(g) is not tuple or not -len(g) <= self.position < len(g):
            raise refuse(
                f"{self!r} needs elements of a product with that many factors",
                got=f"{type(g).__name__} of {len(g)}" if isinstance(g, tuple) else type(g).__name__,
                expected=f"a tuple with a part number {self.position}",
                fix="declare Product(first, second, ...) as the group",
            )
        return g[self.position]


@final
@dataclass(frozen=True, init=False, repr=False)
class Chain:
    """Actions that commute, one after the other: `Chain(Factor(0, Nodes()), Factor(1, Point()))` for relabelled points.

    Args:
        actions: one or more; the law g·(h·x) = (gh)·x holds where they commute.

    Raises:
        SymmetryError: no actions, or something that is none.
    """

    actions: tuple[Any, ...]

    def __init__(self, *actions: Any) -> None:
        if not actions:
            raise refuse(
                "Chain needs actions", got="none", expected="one or more", fix="Chain(Factor(0, Nodes()), ...)"
            )
        for action in actions:
            _inner("Chain", action, "Chain(Factor(0, Nodes()), Factor(1, Point()))")
        object.__setattr__(self, "actions", actions)

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, self.actions))})"

    def __call__(self, g: Any, x: Any) -> Any:
        """All of them, the first first."""
        for action in self.actions:
            x = action(g, x)
        return x

    def lossless(self, g: Any, x: Tensor) -> Tensor:
        """Whether all of them are."""
        told = lossless(self.actions[0], g, x)
        for action in self.actions[1:]:
            told = told & lossless(action, g, x)
        return told

    def bitwise(self, g: Any, x: Tensor) -> Tensor:
        """Whether all of them say so."""
        told = bitwise(self.actions[0], g, x)
        for action in self.actions[1:]:
            told = told & bitwise(action, g, x)
        return told


def _inner(name: str, action: Any, fix: str) -> None:
    if not callable(action) or isinstance(action, Rows | Node | Listed | Numbering | type):
        raise refuse(
            f"{name} is built from actions of one tensor",
            got=f"the class {action.__name__}" if isinstance(action, type) else describe(action),
            expected="an action such as Point(), or a function (g, x) -> x",
            fix=fix,
        )
