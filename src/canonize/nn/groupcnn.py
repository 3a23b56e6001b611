"""A group-equivariant CNN that gives one energy for each element of a group of the plane."""

from __future__ import annotations

import math
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from canonize._tree import describe
from canonize.errors import refuse
from canonize.linalg import is_signed_permutation
from canonize.nn.scorer import SampleNorm, drawn, halved, images, positive, soft_disk

_SPREAD = 0.7  # of the bump that stands for one weight, in pixels: smooth enough to be sampled at any angle


@final
class GroupCNN(nn.Module):
    """An energy for each element of the group from one pass: energies(h · x)[h g] = energies(x)[g].

    A lifting convolution with a turned copy of its filters for each element, then group convolutions, then the mean over
    places. The law holds to rounding for every h that only moves pixels: quarter turns and flips of square images, half
    turns and flips of any image. For all other h it holds as far as resampling lets it. The pose is the g of lowest energy:
    x = g · canonical.

    Args:
        group: `C(n)`, `D(n)`, or another finite group of orthogonal 2 x 2 matrices.
        channels: of the images.
        width: channels for each element of the group.
        depth: layers: the lifting and depth - 1 group convolutions.
        kernel: pixels a side of a filter, odd. Filters are turned by one fixed matrix: entries are moved in subgroups of
            D(4); in all other groups weights stand for smooth bumps on a disk, sampled where the element puts them.
        disk: look only at the disk inscribed in the grid. None does so unless the group is a subgroup of D(4).
        generator: draws the initial weights; the global one where None.

    Values: images (batch, channels, height, width) of any size from 1 x 1, floating point, dimensionless, about 1 in size;
        between layers, maps of more than 8 cells a side are halved by averages that commute with turns. Energies
        (batch, |G|), any real number, dimensionless, in the order of `group.elements()`. Each sample is normalised by
        itself.

    Raises:
        SymmetryError: a group that is not finite, or not of orthogonal 2 x 2 matrices; sizes that are no positive whole
            numbers, an even kernel; on use, images of another shape, whole numbers.

    Singular case: where h · x = x, the energies of g and h g are equal up to rounding, and no choice between them is
    equivariant; all are equal for a constant image where h moves pixels only.

    Source: group convolutions, Cohen and Welling, arXiv 1602.07576.
    """

    turns: Tensor
    table: Tensor

    by_place = True  # the image, whatever a claim names it

    def __init__(
        self,
        group: Any,
        channels: int,
        *,
        width: int = 8,
        depth: int = 3,
        kernel: int = 5,
        disk: bool | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        positive("GroupCNN", channels=channels, width=width, depth=depth, kernel=kernel)
        if kernel % 2 == 0:
            raise refuse(
                "GroupCNN: an even kernel has no middle pixel",
                got=f"kernel={kernel}",
                expected="an odd number of pixels",
                fix=f"kernel={kernel + 1}",
            )
        matrices = _plane_matrices(group)
        moves = bool(is_signed_permutation(matrices).all())
        self.group = group
        self.channels = channels
        self.kernel = kernel
        self.disk = not moves if disk is None else disk
        turns = _turns(matrices, kernel, smooth=not moves)
        # Fixed by the group and the kernel: not among the weights that are saved.
        self.register_buffer("turns", turns.to(torch.get_default_dtype()), persistent=False)
        self.register_buffer("table", _quotients(group, matrices), persistent=False)
        taps, order = turns.shape[-1], len(matrices)
        self.lift = drawn(width, channels, taps, fan=channels * taps / 2, generator=generator)
        self.filters = nn.ParameterList(
            drawn(width, width, order, taps, fan=width * order * taps / 2, generator=generator)
            for _ in range(depth - 1)
        )
        self.norms = nn.ModuleList(SampleNorm(width) for _ in range(depth))
        self.head = drawn(width, fan=width, generator=generator)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch order"]:
        """Energies (batch, |G|) of images (batch, channels, height, width)."""
        images(self, x, self.lift)
        y = self._convolve(self._inside(x), torch.einsum("gqp,oip->ogiq", self.turns, self.lift))
        y = self._activate(y, 0)
        for level, psi in enumerate(self.filters, start=1):
            # What element g sees of element k is the filter of g^-1 k, turned by g.
            turned = torch.einsum("gqp,oigkp->ogikq", self.turns, psi[:, :, self.table])
            y = self._convolve(halved(y, down_to=8), turned.flatten(2, 3))
            y = self._activate(y, level)
        mean = y.mean((-2, -1)).reshape(y.shape[0], len(self.head), len(self.table))
        return (mean * self.head[:, None]).sum(1)

    def _inside(self, x: Tensor) -> Tensor:
        return x * soft_disk(x) if self.disk else x

    def _convolve(self, x: Tensor, weight: Float[Tensor, "out order old cells"]) -> Tensor:
        filters = weight.reshape(-1, weight.shape[2], self.kernel, self.kernel)
        return F.conv2d(x, filters, padding=self.kernel // 2)

    def _activate(self, y: Tensor, level: int) -> Tensor:
        normed = self.norms[level](y.reshape(y.shape[0], len(self.head), len(self.table), *y.shape[2:]))
        # Masked again at each layer: what stands outside must not depend on the straight edges of the grid.
        return self._inside(F.silu(normed).flatten(1, 2))


def _plane_matrices(group: Any) -> Float[Tensor, "order 2 2"]:
    """The elements in float64.

    Raises:
        SymmetryError: no finite group of orthogonal 2 x 2 matrices.
    """
    found = group.elements(dtype=torch.float64) if hasattr(group, "elements") and not isinstance(group, type) else None
    unit = torch.eye(2, dtype=torch.float64)
    plane = isinstance(found, Tensor) and found.ndim == 3 and found.shape[1:] == (2, 2)
    if isinstance(found, Tensor) and plane and torch.allclose(found @ found.mT, unit, atol=1e-9):
        return found
    raise refuse(
        "GroupCNN needs a finite group of turns and reflections of the plane",
        got=repr(group) if hasattr(group, "sample") else describe(group),
        expected="a finite group of orthogonal 2 x 2 matrices",
        fix="GroupCNN(C(8), channels=3), or D(4); for all angles use Steerable",
    )


def _turns(matrices: Float[Tensor, "order 2 2"], kernel: int, *, smooth: bool) -> Float[Tensor, "order cells taps"]:
    """What each weight at p adds at each cell q of the filter turned by g, (order, cells, taps): a bump about g p.

    Rows of the filter run downwards. Sums have two terms each, so that a quarter turn only moves entries, bit for bit.
    """
    half = kernel // 2
    line = torch.arange(-half, half + 1, dtype=torch.float64)
    x, y = line.repeat(kernel), -line.repeat_interleave(kernel)
    radius = (x.square() + y.square()).sqrt()
    # The content at g^-1 q comes to stand at q, and the inverse of an orthogonal matrix is its transpose.
    a, b, c, d = (matrices[:, i, j, None] for i in range(2) for j in range(2))
    back_x, back_y = a * x + c * y, b * x + d * y
    taps = radius <= kernel / 2 if smooth else torch.ones_like(radius, dtype=torch.bool)
    distance = (back_x[..., None] - x[taps]).square() + (back_y[..., None] - y[taps]).square()
    if not smooth:
        return (distance < 0.25).double()
    # Zero half a pixel outside: the smoother the rim, the less the grid shows.
    rim = torch.cos(math.pi / 2 * radius.clamp(max=kernel / 2 + 0.5) / (kernel / 2 + 0.5)).square()
    bumps = torch.exp(-distance / (2 * _SPREAD**2)) * rim[:, None]
    return bumps / bumps[0].square().sum(-1).mean().sqrt()


def _quotients(group: Any, matrices: Float[Tensor, "order 2 2"]) -> Int[Tensor, "order order"]:
    """The number of g^-1 k in the list of elements, for each g and k."""
    products: Tensor = group.compose(group.inverse(matrices)[:, None], matrices[None])
    return (products[:, :, None] - matrices).abs().amax((-2, -1)).argmin(-1)
