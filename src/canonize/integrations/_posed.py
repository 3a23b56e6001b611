"""Rows of a table as what they were flattened from, and as a frame poses them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data
from torch import Tensor, nn

from canonize._tree import map_tensors
from canonize.actions import Nodes, Point, Scalar, Vector, VectorImage, Volume
from canonize.actions.images import axes_of
from canonize.actions.trees import at, move
from canonize.adapt.modes import in_eval
from canonize.errors import refuse, within
from canonize.frames import Poses
from canonize.frames.base import draws
from canonize.groups import S
from canonize.symmetrize import Symmetrized
from canonize.symmetry import Symmetry, check_is_claim

_IMAGE = ("channels", "height", "width")
ROWS = 1024
"""Rows that are posed at a time: each may have as many poses as the group has elements."""


class Posed(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What all of them share: a claim about rows, and the poses of a frame."""

    symmetry: Symmetry | None
    shape: tuple[int, ...] | None
    frame: Any
    n_features_in_: int

    def _claim(self) -> Symmetry:
        if self.symmetry is None:
            return Symmetry(S(), Nodes(), Scalar())
        check_is_claim(self.symmetry, type(self).__name__)
        return self.symmetry

    def _rows(self, table: Any) -> Tensor:
        """(rows, features) as (rows, *shape)."""
        count, features = table.shape
        if self.shape is None:
            self._check_flat(features)
        shape = (
            (features,) if self.shape is None else (self.shape,) if isinstance(self.shape, int) else tuple(self.shape)
        )
        if math.prod(shape) != features:
            raise refuse(
                f"{type(self).__name__}: the shape does not hold the features",
                got=f"shape={shape}, which has {math.prod(shape)} entries, and {features} features",
                expected="as many entries as features",
                fix="the shape of one sample before it was flattened, such as shape=(1, 8, 8) for 8 x 8 pixels",
            )
        return torch.from_numpy(np.array(table, order="C")).reshape(count, *shape)

    def _check_flat(self, features: int) -> None:
        """Refuse rows that cannot be what they are declared as unless somebody says how they were flattened."""
        claim = self._claim()
        dim, side = getattr(claim.group, "dim", None), math.isqrt(features)
        if axes_of(claim.inputs):
            names = ("channels", "depth", "height", "width") if isinstance(claim.inputs, Volume) else _IMAGE
            square = side * side == features and not isinstance(claim.inputs, Volume | VectorImage)
            shape = f"(1, {side}, {side})" if square else f"({', '.join(names)})"
        elif isinstance(claim.inputs, Point | Vector) and isinstance(dim, int) and features != dim:
            shape = f"({features // dim}, {dim})" if features % dim == 0 else f"(points, {dim})"
        else:
            return
        raise refuse(
            f"{type(self).__name__}: nobody says what the rows were before they were flattened",
            got=f"shape=None and {features} features, declared {claim.inputs!r}",
            expected="the shape of one sample, without the batch",
            fix=f"{type(self).__name__}(..., shape={shape})",
        )

    def _seen(self, rows: Tensor) -> Iterator[tuple[slice, Any, Tensor, Tensor]]:
        """Part by part: which rows, the elements of their poses, their weights (k, part), and what a model is shown."""
        claim = self._claim()
        posed = Symmetrized(torch.nn.Identity(), claim, seeing(self.frame))
        with in_eval(posed), torch.no_grad(), within("{}(...)", type(self).__name__):
            for start in range(0, len(rows), ROWS):
                part = slice(start, start + ROWS)
                poses = posed.poses(rows[part])
                shown = [
                    move(claim.inputs, claim.group.inverse(at(poses.elements, k)), rows[part])
                    for k in range(poses.count)
                ]
                yield part, poses.elements, poses.weights, torch.stack(shown).flatten(2)

    def _validated(self, table: Any, *, reset: bool) -> Any:
        return validate_data(self, table, dtype=[np.float64, np.float32], reset=reset)


def seeing(frame: Any) -> Any:
    """A frame that is shown rows in the precision of its weights: tables are float64 as a rule, and networks float32."""
    weights = frame.parameters() if isinstance(frame, nn.Module) else ()
    dtype = next((part.dtype for part in weights if part.is_floating_point()), None)
    return frame if dtype is None else _InPrecision(frame, dtype)


class _InPrecision(nn.Module):
    def __init__(self, frame: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.frame = frame
        self.dtype = dtype

    def forward(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        wanted: set[torch.dtype] = set()

        def there(x: Tensor) -> Tensor:
            wanted.update([x.dtype] if x.is_floating_point() else [])
            return x.to(self.dtype) if x.is_floating_point() else x

        poses: Poses = self.frame(symmetry, map_tensors(there, inputs), **draws(self.frame, generator))
        dtype = next(iter(wanted), self.dtype)
        elements = map_tensors(lambda x: x.to(dtype) if x.is_floating_point() else x, poses.elements)
        return replace(poses, elements=elements, weights=poses.weights.to(dtype))


def first(forms: Tensor, alive: Tensor) -> Tensor:
    """Of several forms of each row (k, rows, features) the lexicographically first among those `alive` (k, rows)."""
    forms = forms + 0.0
    slack = 1e3 * torch.finfo(forms.dtype).eps * forms.abs().amax((0, 2))
    # Rounding must not decide; what is left then differs by no more, and bits decide, so that equal sets give equal forms.
    for within_what in (slack, torch.zeros_like(slack)):
        for column in range(forms.shape[2]):
            if int(alive.sum(0).max()) <= 1:
                break
            value = torch.where(alive, forms[:, :, column], torch.inf)
            alive = alive & (value <= value.amin(0) + within_what)
    return forms[alive.int().argmax(0), torch.arange(forms.shape[1])]
