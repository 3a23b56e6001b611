"""Finite groups of matrices: cyclic, dihedral, octahedral, icosahedral, and any that a few matrices generate."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from canonize._tree import brief, describe
from canonize._values import sent, unseen
from canonize.errors import refuse
from canonize.groups.base import Shape, batch_shape, fitting, real
from canonize.linalg import inverse_small, matmul, uniform_integers

Rows = tuple[tuple[float, ...], ...]


class FiniteMatrixGroup:
    """A finite group of n x n matrices: all of it follows from the table of its elements, identity first.

    Products and inverses are rounded to the nearest element of the table, so that they never drift and quarter turns
    stay exact however long the product.
    """

    haar = True

    def rows(self) -> tuple[Rows, ...]:
        """The elements as nested tuples, identity first."""
        raise NotImplementedError

    @property
    def order(self) -> int:
        """The number of elements."""
        return _size(self, 0)

    @property
    def dim(self) -> int:
        """n, the dimension of the space that the matrices act on."""
        return _size(self, -1)

    @property
    def signed(self) -> bool:
        """Whether every element is a signed permutation of the axes, so that it moves entries and rounds none."""
        return _signed(self)

    def elements(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Float[Tensor, "order n n"]:
        """All elements, (order, n, n), identity first; a fresh tensor at each call."""
        return sent(_table(self).to(dtype=real(dtype), copy=True), device or torch.device("cpu"))

    def identity(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Float[Tensor, "n n"]:
        """The unit matrix, (n, n)."""
        return torch.eye(self.dim, dtype=dtype or torch.get_default_dtype(), device=device)

    def sample(
        self,
        shape: Shape = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*batch n n"]:
        """Elements drawn uniformly, (*shape, n, n)."""
        index = uniform_integers(self.order, batch_shape(shape), generator=generator, device=device)
        return self.elements(dtype=dtype, device=device)[index]

    def compose(self, g: Float[Tensor, "*#batch n n"], h: Float[Tensor, "*#batch n n"]) -> Float[Tensor, "*batch n n"]:
        """The product g h, rounded to the table; NaN where an entry is NaN."""
        fitting(self, g, h, axes=(self.dim, self.dim))
        return self._nearest(matmul(g, h))

    def inverse(self, g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
        """The inverse of g, rounded to the table; NaN where an entry is NaN."""
        fitting(self, g, axes=(self.dim, self.dim))
        return self._nearest(inverse_small(g))

    def _nearest(self, matrix: Tensor) -> Tensor:
        table = self.elements(dtype=matrix.dtype, device=matrix.device)
        each, all_of_them = matrix.flatten(-2).reshape(-1, self.dim**2), table.flatten(-2)
        if unseen():
            distance = (each[:, None] - all_of_them).square().sum(-1)
        else:
            distance = torch.cdist(each, all_of_them, compute_mode="donot_use_mm_for_euclid_dist")
        # Rounding must not turn what is not a number into an element.
        nearest = torch.where(distance.isnan().any(-1)[:, None, None], torch.nan, table[distance.argmin(-1)])
        return nearest.reshape(matrix.shape)


@final
@dataclass(frozen=True, repr=False)
class C(FiniteMatrixGroup):
    """The n rotations of the plane by multiples of 360/n degrees, counter-clockwise for x to the right and y up.

    Quarter turns have entries -1, 0 and 1 exactly. `C(1)` is the trivial group.

    Raises:
        SymmetryError: n < 1.
    """

    __repr__ = brief

    n: int

    def __post_init__(self) -> None:
        _positive("C", self.n)

    def rows(self) -> tuple[Rows, ...]:
        """Rotation matrices by 0, 360/n, 2 * 360/n, ... degrees."""
        return tuple(_rotation(k, self.n) for k in range(self.n))


@final
@dataclass(frozen=True, repr=False)
class D(FiniteMatrixGroup):
    """The 2n rotations and reflections of the plane that keep a regular n-gon; the first reflection turns x into -x.

    Raises:
        SymmetryError: n < 1.
    """

    __repr__ = brief

    n: int

    def __post_init__(self) -> None:
        _positive("D", self.n)

    def rows(self) -> tuple[Rows, ...]:
        """The n rotations, then each of them after the reflection diag(-1, 1)."""
        rotations = [_rotation(k, self.n) for k in range(self.n)]
        return (*rotations, *(tuple((-row[0], row[1]) for row in rotation) for rotation in rotations))


@final
@dataclass(frozen=True, repr=False)
class Octahedral(FiniteMatrixGroup):
    """The 24 rotations of the cube with its faces on the axes; with `reflections`, all 48 signed permutations.

    Every entry is -1, 0 or 1 exactly.
    """

    __repr__ = brief

    reflections: bool = False

    def rows(self) -> tuple[Rows, ...]:
        """Signed permutation matrices, identity first."""
        return tuple(matrix for matrix in _signed_permutations(3) if self.reflections or _determinant(matrix) == 1)


@final
@dataclass(frozen=True, repr=False)
class Icosahedral(FiniteMatrixGroup):
    """The 60 rotations of the icosahedron with vertices (0, +-golden ratio, +-1) and cyclic; 120 with `reflections`.

    Entries are rounded to the exact values 0, 1/2, 1, phi/2 and (phi - 1)/2 with either sign, phi being the golden ratio.
    """

    __repr__ = brief

    reflections: bool = False

    def rows(self) -> tuple[Rows, ...]:
        """The closure of a five-fold and a three-fold rotation, and of -1 where `reflections`."""
        phi = (1 + math.sqrt(5)) / 2
        five = ((0.5, -phi / 2, (phi - 1) / 2), (phi / 2, (phi - 1) / 2, -0.5), ((phi - 1) / 2, 0.5, phi / 2))
        three = ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
        mirror = ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0))
        generators = [five, three, *([mirror] if self.reflections else [])]
        exact = torch.tensor([0.0, 0.5, 1.0, phi / 2, (phi - 1) / 2], dtype=torch.float64)
        exact = torch.cat([exact, -exact[1:]])
        closed = _closure(torch.tensor(generators, dtype=torch.float64), limit=120, exact=exact)
        return _as_rows(closed)


@final
@dataclass(frozen=True)
class Generated(FiniteMatrixGroup):
    """The finite group of the given matrices, which are already closed; made by `generated_by`."""

    table: tuple[Rows, ...]

    def rows(self) -> tuple[Rows, ...]:
        """The elements, identity first."""
        return self.table

    def __repr__(self) -> str:
        return f"Generated(order={len(self.table)}, dim={len(self.table[0])})"


def generated_by(matrices: Any, *, limit: int = 2048) -> Generated:
    """The finite group that some invertible matrices generate: all their products.

    Args:
        matrices: (count, n, n), a tensor, an array or nested lists; any invertible real matrices of finite order.
        limit: the largest group that is accepted.

    Returns:
        The group, identity first. Entries within 1e-9 of an integer are made that integer.

    Raises:
        SymmetryError: matrices that are not square, finite and invertible, or that generate more than `limit` elements
            (a rotation by an irrational angle, a shear and a scaling generate infinitely many).
    """
    try:
        generators = torch.as_tensor(matrices)
    except (TypeError, ValueError, RuntimeError):
        generators = torch.zeros(0)
    if generators.is_complex():
        raise refuse(
            "generated_by needs real matrices",
            got=describe(generators),
            expected="real entries",
            fix="write a complex n x n matrix as a real 2n x 2n one",
        )
    # Nested lists of Python numbers have been rounded to float32 on the way: they are read again in full precision.
    exact = isinstance(matrices, list | tuple) and generators.numel() > 0
    generators = torch.as_tensor(matrices if exact else generators, dtype=torch.float64, device="cpu")
    if generators.ndim == 2:
        generators = generators[None]
    if generators.ndim != 3 or generators.shape[-1] != generators.shape[-2] or 0 in generators.shape:
        raise refuse(
            "generated_by needs square matrices",
            got=describe(matrices) if generators.numel() == 0 else f"shape {tuple(generators.shape)}",
            expected="numbers (count, n, n)",
            fix="stack the generators along the first axis",
        )
    if not bool(generators.isfinite().all()) or bool((torch.linalg.det(generators).abs() < 1e-12).any()):
        raise refuse(
            "generated_by needs finite, invertible matrices",
            got=f"determinants {torch.linalg.det(generators).tolist()}",
            expected="determinants other than zero, no NaN, no infinity",
            fix="take the singular matrix out: it has no inverse, so it belongs to no group of matrices",
        )
    return Generated(_as_rows(_closure(generators, limit=limit)))


def _closure(generators: Tensor, *, limit: int, exact: Tensor | None = None) -> Tensor:
    """All products of the generators, identity first, breadth first; entries are rounded to `exact`, or to integers."""
    n = generators.shape[-1]
    found = torch.eye(n, dtype=torch.float64)[None]
    frontier = found
    while len(frontier):
        products = _rounded((generators[:, None] @ frontier[None]).reshape(-1, n, n), exact)
        frontier = found[:0]
        for product in products:
            known = torch.cat([found, frontier])
            # Finite groups of moderate size have well separated elements; rounding is many orders below this gap.
            if float((known - product).abs().amax((-2, -1)).min()) > 1e-6:
                frontier = torch.cat([frontier, product[None]])
            if len(known) > limit or not bool(product.isfinite().all()):
                raise refuse(
                    "generated_by found too many elements",
                    got=f"more than {limit} products of {len(generators)} generators",
                    expected=f"a finite group of at most {limit} elements",
                    fix="check that each generator has finite order (some power of it is the identity), or raise limit=",
                )
        found = torch.cat([found, frontier])
    return found


def _rounded(matrix: Tensor, exact: Tensor | None) -> Tensor:
    if exact is not None:
        return exact[(matrix[..., None] - exact).abs().argmin(-1)]
    whole = matrix.round()
    return torch.where((matrix - whole).abs() < 1e-9, whole, matrix)


def _as_rows(matrices: Tensor) -> tuple[Rows, ...]:
    return tuple(tuple(tuple(row) for row in matrix) for matrix in matrices.tolist())


def _table(group: FiniteMatrixGroup) -> Tensor:
    """The elements, (order, n, n) float64 on the CPU."""
    if torch.compiler.is_dynamo_compiling():
        return _constant(group)
    # What an exporter makes is no tensor to be remembered.
    return _made(group) if torch.compiler.is_compiling() else _remembered(group)


def _constant(group: FiniteMatrixGroup) -> Tensor:
    """The elements as the compiler takes them: found once, not step by step."""
    return _remembered(group)


def _size(group: FiniteMatrixGroup, axis: int) -> int:
    """The length of an axis of the table: a number also where the compiler leaves the sizes of all tensors open."""
    return _table(group).shape[axis]


def _signed(group: FiniteMatrixGroup) -> bool:
    """Whether each row of each element has one entry, 1 or -1."""
    return _remembered_signs(group)


# What `torch.compiler.assume_constant_result` does, without its import of the compiler.
for _found_once in (_constant, _size, _signed):
    vars(_found_once)["_dynamo_marked_constant"] = True


@lru_cache(maxsize=256)
def _remembered_signs(group: FiniteMatrixGroup) -> bool:
    # Read off numbers, without a tensor: an exporter has no values to look at.
    return all(sorted(map(abs, row)) == [0.0] * (len(row) - 1) + [1.0] for matrix in group.rows() for row in matrix)


@lru_cache(maxsize=256)
def _remembered(group: FiniteMatrixGroup) -> Tensor:
    return _made(group)


def _made(group: FiniteMatrixGroup) -> Tensor:
    # Adding zero turns -0.0 into 0.0, so that equal elements are equal bit for bit.
    return torch.tensor(group.rows(), dtype=torch.float64) + 0.0


def _rotation(k: int, n: int) -> Rows:
    """The rotation by k/n of a full turn: exact at quarter turns, and the transpose, bit for bit, at -k/n."""
    quarter, rest = divmod(4 * (k % n), n)
    half = math.pi / 2
    if 2 * rest == n:
        # The library's sine and cosine of 45 degrees differ in the last bit.
        cos = sin = math.sqrt(0.5)
    elif 2 * rest < n:
        cos, sin = math.cos(half * rest / n), math.sin(half * rest / n)
    else:
        cos, sin = math.sin(half * (n - rest) / n), math.cos(half * (n - rest) / n)
    for _ in range(quarter):
        cos, sin = -sin, cos
    return ((cos, -sin), (sin, cos))


def _signed_permutations(n: int) -> Iterator[Rows]:
    for columns in itertools.permutations(range(n)):
        for signs in itertools.product((1.0, -1.0), repeat=n):
            yield tuple(
                tuple(sign if column == position else 0.0 for position in range(n))
                for column, sign in zip(columns, signs, strict=True)
            )


def _determinant(matrix: Rows) -> float:
    """Of a 3 x 3 matrix."""
    a, b, c = matrix
    return sum(a[i] * (b[i - 2] * c[i - 1] - b[i - 1] * c[i - 2]) for i in range(3))


def _positive(name: str, n: int) -> None:
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise refuse(f"{name}(n) needs a positive whole number", got=repr(n), expected="n >= 1", fix=f"{name}(4)")
