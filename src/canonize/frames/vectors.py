"""What a network of vectors must return."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from canonize._tree import describe
from canonize._values import unseen
from canonize.errors import refuse


def checked_vectors(vectors: Any, shape: tuple[int, int, int], where: str) -> Tensor:
    """Vectors as they came.

    Raises:
        SymmetryError: another shape, too few of them, whole numbers or complex ones, NaN or infinity.
    """
    batch, needed, dim = shape
    good = isinstance(vectors, Tensor) and vectors.is_floating_point() and vectors.ndim == 3
    if not good or vectors.shape[0] != batch or vectors.shape[1] < needed or vectors.shape[2] != dim:
        raise refuse(
            f"{where}: the network must return vectors for each sample",
            got=describe(vectors),
            expected=f"a floating-point tensor ({batch}, m, {dim}) with m at least {needed}",
            fix=f"return {needed} or more vectors of {dim} components; for one vector, vector[:, None]",
        )
    assert isinstance(vectors, Tensor)
    if unseen(vectors):
        return vectors
    lost = ~vectors.detach().isfinite().flatten(1).all(1)
    if bool(lost.any()):
        raise refuse(
            f"{where}: the vectors are not finite",
            got=f"NaN or infinity for sample {lost.nonzero()[:, 0].tolist()[:8]} of the batch",
            expected="numbers",
            fix="look for NaN and overflow in these inputs, or in the network's own arithmetic",
        )
    return vectors
