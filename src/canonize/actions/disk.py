"""What all turned copies of an image have in common: the disk that never leaves it."""

from __future__ import annotations

import torch
from jaxtyping import Shaped
from torch import Tensor

from canonize._tree import describe
from canonize.errors import refuse


def within_disk(
    x: Shaped[Tensor, "*batch height width"], *, fill: float = 0.0
) -> Shaped[Tensor, "*batch height width"]:
    """The image with `fill` outside the largest disk about its middle that every rotation keeps inside.

    A square turned by 45 degrees loses its corners, and something has to stand in the corners that it leaves. A model (and
    an energy) that begins with `within_disk` sees neither: of every turned copy it sees the same content, and the padding
    of `Image` does not count (next to nothing, at the rim, with "bicubic", which reaches further). It commutes with all
    rotations and reflections, bit for bit with the lossless ones.

    Args:
        x: (..., height, width), any dtype. The radius of the disk is (min(height, width) - 1) / 2 pixels, so that it ends
            at the middles of the pixels at the border.
        fill: what stands outside, in the unit of x; the mean of normalised images is 0.

    Returns:
        A new tensor of the shape and dtype of x.

    Raises:
        SymmetryError: no tensor, or fewer than two axes.

    Example:
        >>> import torch
        >>> from canonize.actions import within_disk
        >>> within_disk(torch.ones(3, 3)).tolist()
        [[0.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]
    """
    if not isinstance(x, Tensor) or x.ndim < 2:
        raise refuse(
            "within_disk needs images",
            got=describe(x),
            expected="a tensor (..., height, width)",
            fix="put height and width last",
        )
    # Twice the distance from the middle in whole numbers: nothing is rounded, so that the disk is as symmetric as the grid.
    down, right = (2 * torch.arange(size, device=x.device) - (size - 1) for size in x.shape[-2:])
    inside = down[:, None] ** 2 + right**2 <= (min(x.shape[-2:]) - 1) ** 2
    return torch.where(inside, x, torch.as_tensor(fill, dtype=x.dtype, device=x.device))
