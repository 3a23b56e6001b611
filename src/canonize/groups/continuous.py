"""Infinite groups of motions: rotations, orthogonal maps, translations, and rigid motions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from canonize._tree import brief, describe
from canonize._values import sent
from canonize.errors import refuse
from canonize.groups.base import Rigid, Shape, batch_shape, fitting, real
from canonize.linalg import haar_orthogonal, matmul


class _Orthogonal:
    """Orthogonal n x n matrices, (*batch, n, n); the determinant is +1 where `special`."""

    n: int
    special: bool
    haar = True
    order = None

    def __post_init__(self) -> None:
        _dimension(type(self).__name__, self.n)

    @property
    def dim(self) -> int:
        """n, the dimension of the space that the matrices act on."""
        return self.n

    def identity(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Float[Tensor, "n n"]:
        """The unit matrix, (n, n)."""
        return torch.eye(self.n, dtype=real(dtype), device=device)

    def sample(
        self,
        shape: Shape = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*batch n n"]:
        """Elements drawn from the Haar measure, (*shape, n, n); arXiv math-ph/0609050."""
        dtype = real(dtype)
        shape = batch_shape(shape)
        return haar_orthogonal(shape, self.n, special=self.special, generator=generator, dtype=dtype, device=device)

    def compose(self, g: Float[Tensor, "*#batch n n"], h: Float[Tensor, "*#batch n n"]) -> Float[Tensor, "*batch n n"]:
        """The product g h."""
        fitting(self, g, h, axes=(self.n, self.n))
        return matmul(g, h)

    def inverse(self, g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
        """The transpose, which is exact."""
        fitting(self, g, axes=(self.n, self.n))
        return g.mT

    def residual(self, g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch"]:
        """How far each matrix is from the group: the largest entry of g^T g - 1, and of det - 1 where it must be +1."""
        fitting(self, g, axes=(self.n, self.n))
        off = (g.mT @ g - torch.eye(self.n, dtype=g.dtype, device=g.device)).abs().amax((-2, -1))
        if not self.special:
            return off
        return torch.maximum(off, (torch.linalg.det(g) - 1).abs())


@final
@dataclass(frozen=True, repr=False)
class SO(_Orthogonal):
    """Rotations of n-dimensional space.

    Raises:
        SymmetryError: n < 1.
    """

    __repr__ = brief

    n: int
    special = True


@final
@dataclass(frozen=True, repr=False)
class O(_Orthogonal):  # noqa: E742 - the field writes O(n)
    """Rotations and reflections of n-dimensional space.

    Raises:
        SymmetryError: n < 1.
    """

    __repr__ = brief

    n: int
    special = False


class _RigidMotions:
    """Pairs `Rigid(linear, shift)`: x -> linear x + shift, with the linear part in a group of its own."""

    n: int
    scale: float
    haar = False
    order = None

    def __post_init__(self) -> None:
        _dimension(type(self).__name__, self.n)
        if not isinstance(self.scale, int | float) or not 0 < self.scale < math.inf:
            raise refuse(
                "the scale of the sampled shifts must be positive",
                got=repr(self.scale),
                expected="a positive, finite length",
                fix=f"{type(self).__name__}({self.n}, scale=1.0), about the size of your inputs",
            )

    def _linear(self) -> _Orthogonal | None:
        raise NotImplementedError

    @property
    def dim(self) -> int:
        """n, the dimension of the space that is moved."""
        return self.n

    def identity(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Rigid:
        """No motion."""
        dtype = real(dtype)
        return Rigid(torch.eye(self.n, dtype=dtype, device=device), torch.zeros(self.n, dtype=dtype, device=device))

    def sample(
        self,
        shape: Shape = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Rigid:
        """Linear parts drawn from their Haar measure, shifts from a normal law of standard deviation `scale`.

        The group is not compact, so that no invariant probability law exists; the shifts' law is a choice.
        """
        dtype, shape = real(dtype), batch_shape(shape)
        inner = self._linear()
        if inner is None:
            linear = self.identity(dtype=dtype, device=device).linear.expand(*shape, self.n, self.n).clone()
        else:
            linear = inner.sample(shape, generator=generator, dtype=dtype, device=device)
        source = generator.device if generator is not None else torch.device("cpu")
        shift = torch.randn(*shape, self.n, generator=generator, dtype=torch.float64, device=source) * self.scale
        return Rigid(linear, sent(shift, linear.device, dtype))

    def compose(self, g: Rigid, h: Rigid) -> Rigid:
        """h first, then g: (A, a)(B, b) = (AB, Ab + a)."""
        self._motions(g, h)
        return Rigid(matmul(g.linear, h.linear), matmul(g.linear, h.shift[..., None])[..., 0] + g.shift)

    def inverse(self, g: Rigid) -> Rigid:
        """(A, a)^-1 = (A^T, -A^T a)."""
        self._motions(g)
        back = g.linear.mT
        return Rigid(back, -matmul(back, g.shift[..., None])[..., 0])

    def residual(self, g: Rigid) -> Float[Tensor, "*batch"]:
        """How far each motion's linear part is from where it must be; dimensionless."""
        self._motions(g)
        inner = self._linear()
        if inner is not None:
            return inner.residual(g.linear)
        return (g.linear - torch.eye(self.n, dtype=g.linear.dtype, device=g.linear.device)).abs().amax((-2, -1))

    def _motions(self, *elements: Any) -> None:
        for element in elements:
            if not isinstance(element, Rigid):
                raise refuse(
                    f"this is no element of {self!r}",
                    got=describe(element),
                    expected=f"Rigid(linear (*batch, {self.n}, {self.n}), shift (*batch, {self.n}))",
                    fix="Rigid(matrix, torch.zeros(n)) turns without a shift",
                )
        fitting(self, *(element.linear for element in elements), axes=(self.n, self.n))
        fitting(self, *(element.shift for element in elements), axes=(self.n,))


@final
@dataclass(frozen=True, repr=False)
class Translation(_RigidMotions):
    """Shifts of n-dimensional space, as `Rigid` motions whose linear part is the unit matrix.

    Args:
        n: dimension of the space.
        scale: standard deviation of the sampled shifts, in the unit of the coordinates.

    Raises:
        SymmetryError: n < 1, or a scale that is not positive.
    """

    __repr__ = brief

    n: int
    scale: float = 1.0

    def _linear(self) -> None:
        return None


@final
@dataclass(frozen=True, repr=False)
class SE(_RigidMotions):
    """Rotations and shifts of n-dimensional space. Arguments and errors as for `Translation`."""

    __repr__ = brief

    n: int
    scale: float = 1.0

    def _linear(self) -> _Orthogonal:
        return SO(self.n)


@final
@dataclass(frozen=True, repr=False)
class E(_RigidMotions):
    """Rotations, reflections and shifts of n-dimensional space. Arguments and errors as for `Translation`."""

    __repr__ = brief

    n: int
    scale: float = 1.0

    def _linear(self) -> _Orthogonal:
        return O(self.n)


def _dimension(name: str, n: int) -> None:
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise refuse(f"{name}(n) needs a dimension", got=repr(n), expected="a whole number n >= 1", fix=f"{name}(3)")
