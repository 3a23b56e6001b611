"""Spherical tensors as e3nn orders them: the action of rotations by Wigner matrices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import torch
from e3nn import o3  # type: ignore[import-not-found, import-untyped, unused-ignore]  # no types
from torch import Tensor

from canonize.actions.base import fit, floating, matrix_of
from canonize.errors import refuse
from canonize.linalg import is_signed_permutation, matmul


@final
@dataclass(frozen=True, init=False, repr=False)
class Irreps:
    """Spherical tensors, such as the features of e3nn, MACE or NequIP: each irreducible part turns by its Wigner matrix.

    Args:
        irreps: "2x0e + 1x1o + 1x2e", or an `e3nn.o3.Irreps`: how many parts of which degree l and parity, in the order in
            which they stand.

    Values: (*batch, ..., dim), floating point, components as e3nn orders them: for l = 1 they are (x, y, z). Elements are
    matrices of O(3), SO(3), E(3), SE(3) and their finite subgroups; shifts do not act, and reflections act by the parity.

    The matrix of degree l comes from that of degree l - 1 and the element itself by Clebsch-Gordan coefficients, in
    float64: sums and products of the entries, without angles, so that no orientation is special, rotations about the
    polar axis included, and derivatives exist everywhere.

    Raises:
        SymmetryError: no irreps, a last axis of another size, whole numbers, elements that are no orthogonal 3 x 3 matrices
            (to 1e-3; looked at on the CPU only).

    Example:
        >>> import torch
        >>> from e3nn import o3
        >>> from canonize import Point, SO
        >>> g, x = SO(3).sample(5), torch.randn(5, 3)
        >>> harmonics = o3.Irreps("0e + 1o + 2e")
        >>> turned = o3.spherical_harmonics(harmonics, Point()(g, x), normalize=True)
        >>> expected = Irreps(harmonics)(g, o3.spherical_harmonics(harmonics, x, normalize=True))
        >>> torch.allclose(turned, expected, atol=1e-5)
        True

    Source: Geiger and Smidt, e3nn: Euclidean Neural Networks, arXiv 2207.09453.
    """

    parts: tuple[tuple[int, int, int], ...]
    """(how many, l, parity) of each part."""

    def __init__(self, irreps: Any) -> None:
        try:
            known = o3.Irreps(irreps) if isinstance(irreps, str | o3.Irreps | o3.Irrep) else None
        except ValueError:
            known = None
        if known is None:
            raise refuse(
                "these are no irreps",
                got=repr(irreps),
                expected="a word that e3nn reads, or an e3nn.o3.Irreps",
                fix='Irreps("2x0e + 1x1o + 1x2e")',
            )
        object.__setattr__(self, "parts", tuple((part.mul, part.ir.l, part.ir.p) for part in known))

    def __repr__(self) -> str:
        return f"Irreps({str(self._irreps())!r})"

    def _irreps(self) -> Any:
        return o3.Irreps([(mul, (degree, parity)) for mul, degree, parity in self.parts])

    @property
    def band(self) -> int:
        """The highest degree l, from which frames know over how many directions to average."""
        return max((degree for _, degree, _ in self.parts), default=0)

    @property
    def dim(self) -> int:
        """How many components a value has."""
        return sum(mul * (2 * degree + 1) for mul, degree, _ in self.parts)

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        """The turned tensors, of the shape of x."""
        matrix = _orthogonal(self, matrix_of(self, g, 3))
        lead = matrix.ndim - 2
        x = floating(self, fit(self, matrix.shape[:-2], x, 1, matrix.device))
        if x.shape[-1] != self.dim:
            raise refuse(
                f"{self!r}: the value does not have this many components",
                got=f"shape {tuple(x.shape)}",
                expected=f"the last axis of size {self.dim}",
                fix="declare the irreps of this value; other axes stand between the batch and the components",
            )
        sign = torch.where(torch.linalg.det(matrix.detach()) < 0, -1.0, 1.0).to(torch.float64)
        turns = wigner(matrix.double() * sign[..., None, None], max((degree for _, degree, _ in self.parts), default=0))
        moved, start = [], 0
        for mul, degree, parity in self.parts:
            width = 2 * degree + 1
            part = x[..., start : start + mul * width]
            start += mul * width
            turn = turns[degree] if parity == 1 else turns[degree] * sign[..., None, None]
            # One row for each copy and for each entry of the axes between the batch and the components.
            rows = part.reshape(*x.shape[:lead], x.shape[lead:-1].numel() * mul, width)
            moved.append(matmul(rows, turn.to(x.dtype).mT).reshape(part.shape))
        return torch.cat(moved, -1) if moved else x

    def bitwise(self, g: Any, x: Tensor) -> Tensor:
        """Whether each element is a signed permutation and no part has a degree above 1."""
        matrix = matrix_of(self, g, 3)
        if any(degree > 1 for _, degree, _ in self.parts):
            return torch.zeros((), dtype=torch.bool, device=matrix.device)
        return is_signed_permutation(matrix) & (matrix == matrix.round()).flatten(-2).all(-1)


def wigner(rotation: Tensor, highest: int) -> list[Tensor]:
    """The real Wigner matrices of rotations for l = 0, ..., highest, in e3nn's basis: (*batch, 2 l + 1, 2 l + 1) each.

    Args:
        rotation: (*batch, 3, 3), float64, of determinant +1.
        highest: the highest degree.
    """
    found = [torch.ones_like(rotation[..., :1, :1]), rotation]
    for degree in range(2, highest + 1):
        couple = _coupling(degree).to(rotation.device)
        # D_l = C (D_{l-1} x D_1) C^T, where the rows of C are orthonormal.
        half = torch.einsum("abm,...ac->...bcm", couple, found[-1])
        both = torch.einsum("...bcm,...bd->...cdm", half, rotation)
        found.append(torch.einsum("...cdm,cdn->...mn", both, couple))
    return found[: highest + 1]


@lru_cache(maxsize=64)
def _coupling(degree: int) -> Tensor:
    """How degree l arises from l - 1 and 1: (2 l - 1, 3, 2 l + 1), orthonormal in the last axis; float64 on the CPU."""
    # What is remembered must not be bound to the mode of the first call, or it could not be differentiated through later.
    with torch.inference_mode(False), torch.no_grad():
        couple: Tensor = o3.wigner_3j(degree - 1, 1, degree, dtype=torch.float64, device=torch.device("cpu"))
        return couple.mul((2 * degree + 1) ** 0.5)


def _orthogonal(action: Any, matrix: Tensor) -> Tensor:
    """The matrix as it came; on a GPU, where looking at values stalls it, unchecked.

    Raises:
        SymmetryError: it is not orthogonal, or not a number.
    """
    if (
        torch.compiler.is_compiling()
        or matrix.device.type != "cpu"
        or torch._C._functorch.is_functorch_wrapped_tensor(matrix)
    ):
        return matrix
    # In float64, which autocast leaves alone.
    seen = matrix.detach().double()
    off = (seen.mT @ seen - torch.eye(3, dtype=torch.float64)).abs()
    if not bool((off < 1e-3).all()):
        raise refuse(
            f"{action!r} needs orthogonal matrices",
            got=f"g^T g differs from the unit matrix by {float(off.max()):.2g}",
            expected="rotations and reflections, as O(3), SO(3), E(3), SE(3) and their finite subgroups have",
            fix="use Tensor(rank) for linear maps of other kinds",
        )
    return matrix
