"""The frame of a group that only shifts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch

from canonize._tree import brief, spec_leaves
from canonize.actions import Point
from canonize.actions.trees import batch_of
from canonize.errors import refuse
from canonize.frames.base import Poses
from canonize.frames.cloud import cloud_of
from canonize.frames.declared import moved_by
from canonize.frames.weighted import elements_of
from canonize.groups import Translation
from canonize.symmetry import Symmetry, check_is_claim


@final
@dataclass(frozen=True, repr=False)
class Centred:
    """One pose for each sample, its origin at the mean of the points, for `Translation(d)`: one call of the model.

    The mean is a linear function of the points, so that the symmetrized model is as smooth as the model, and its forces sum
    to zero over a cloud.

    Args:
        of: name of the field that holds the points; where None the first declared `Point()`.
        weights: name of the field with a weight from 0 for each point (masses, a mask).

    Raises:
        SymmetryError: another group; on use, no `Point()` among the inputs, no such field, NaN or infinity, negative weights.

    Computed in float64; poses have the dtype of the inputs. What is far from the origin has lost digits before.

    Singular case: a sample without points keeps its origin, and one in which no point has a weight is put at one of them.

    Example:
        >>> import torch
        >>> from canonize import Centred, Point, Scalar, Symmetry, Translation, symmetrize
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)).double()
        >>> anywhere = symmetrize(model, Symmetry(Translation(3), Point(), Scalar()), Centred())
        >>> x = torch.rand(5, 4, 3, dtype=torch.float64)
        >>> torch.allclose(anywhere(x), anywhere(x + 7.0))
        True

    Source: subtracting the mean is folklore; as the shift of a frame it stands in Puny et al., arXiv 2110.03336.
    """

    __repr__ = brief

    of: str | None = None
    weights: str | None = None

    def __call__(self, symmetry: Symmetry, inputs: Any, *, generator: torch.Generator | None = None) -> Poses:
        """The pose of each sample, with its derivative. Draws nothing."""
        check_is_claim(symmetry, "Centred")
        if not isinstance(symmetry.group, Translation):
            raise refuse(
                f"Centred makes no elements of {symmetry.group!r}",
                got=repr(symmetry.group),
                expected="Translation(d)",
                fix="PCA() and Weighted() centre clouds under SE(d) and E(d) too; a group without shifts needs no centre",
            )
        if not any(isinstance(moved_by(action), Point) for action in spec_leaves(symmetry.inputs)):
            raise refuse(
                "Centred reads the origin from points, and finds none in the inputs",
                got=f"inputs={symmetry.inputs!r}",
                expected="a Point(): nothing else feels a shift",
                fix="declare the coordinates: inputs=Point(), or Fields(pos=Rows(Point()), batch=Index())",
            )
        cloud = cloud_of(symmetry, inputs, "Centred", of=self.of, weights=self.weights)
        _, dtype, _ = batch_of(symmetry.inputs, inputs)
        unit = torch.eye(cloud.dim, dtype=dtype, device=cloud.points.device).expand(1, cloud.batch, -1, -1)
        return Poses(elements_of(symmetry, unit, cloud, dtype), torch.ones_like(unit[..., 0, 0]))
