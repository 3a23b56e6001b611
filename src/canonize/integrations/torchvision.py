"""Image models of torchvision: classifiers, segmentation, features; and their pictures as the weights expect them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum  # type: ignore[import-not-found, import-untyped, unused-ignore]  # no types

from canonize._tree import describe
from canonize.actions import Image, Scalar
from canonize.adapt.modes import in_eval
from canonize.errors import refuse
from canonize.symmetry import Symmetry


def image_symmetry(model: nn.Module, group: Any, images: Tensor | None = None) -> Symmetry:
    """The claim that answers move with the picture, for a model that is called as `model(images)` in eval mode.

    The model is called once, in eval mode and without gradient: logits and pooled features are declared `Scalar()`,
    logits of pixels (`out` and `aux` of segmentation models) and feature maps `Image()`.

    Args:
        model: a model of torchvision, or one like them; not changed.
        group: a group of the plane, such as `C(4)` or `D(4)`.
        images: what to call it with, (batch, channels, height, width), normalised; where None, one blank image of
            3 x 224 x 224, or of the size that the model was made for.

    Returns:
        A claim for `symmetrize` and `audit`, in which inputs are `Image()`.

    Raises:
        SymmetryError: no model, a detector (it takes and returns lists) or a model of optical flow (it takes two images),
            outputs that are neither logits nor maps.

    Example:
        >>> import torch
        >>> from torchvision.models import resnet18
        >>> from canonize import C, symmetrize
        >>> from canonize.integrations.torchvision import image_symmetry
        >>> model = resnet18().eval()
        >>> claim = image_symmetry(model, C(4))
        >>> claim
        Symmetry(group=C(4), inputs=Image(), outputs=Scalar())
        >>> symmetrize(model, claim)(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 1000])
    """
    if not isinstance(model, nn.Module):
        raise refuse(
            "image_symmetry needs the model first",
            got=f"the class {model.__name__}" if isinstance(model, type) else describe(model),
            expected="a model of torchvision",
            fix="image_symmetry(torchvision.models.resnet50(weights='DEFAULT'), C(4))",
        )
    family = type(model).__module__
    if "torchvision.models.detection" in family or "torchvision.models.optical_flow" in family:
        claim = "Symmetry(group, (Image(), Image()), [VectorImage()] * 12)"
        raise refuse(
            "this model is not called with one batch of images",
            got=f"{type(model).__name__}, of {family}",
            expected="a classifier, a segmentation model, or features",
            fix=f"write the claim: {claim}"
            if "optical_flow" in family
            else "write the claim for the lists that it takes and returns; or claim its features: model.backbone",
        )
    if images is None:
        size = getattr(model, "image_size", None) or 224
        like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
        images = torch.zeros(1, 3, size, size, dtype=like.dtype, device=like.device)
    return Symmetry(group, Image(), _outputs(_tried(model, images)))


@final
@dataclass(frozen=True)
class Pixels:
    """What weights expect pictures to be, as one tensor: `Pixels(weights)(pictures)` is what their model takes.

    Args:
        weights: a member of a weights enum; its `transforms()` are used.

    Raises:
        SymmetryError: something else; on use, tensors that are not uint8.

    Example:
        >>> import torch
        >>> from torchvision.models import ResNet18_Weights
        >>> Pixels(ResNet18_Weights.DEFAULT)(torch.zeros(2, 3, 300, 300, dtype=torch.uint8)).shape
        torch.Size([2, 3, 224, 224])
    """

    weights: Any
    transform: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.weights, WeightsEnum):
            raise refuse(
                "Pixels needs weights",
                got=describe(self.weights),
                expected="a member of a weights enum of torchvision",
                fix="Pixels(torchvision.models.ResNet50_Weights.DEFAULT)",
            )
        # A frozen dataclass refuses plain assignment, and no one else has seen it yet.
        object.__setattr__(self, "transform", self.weights.transforms())

    def __call__(self, images: Any) -> Tensor:
        """(batch, channels, height, width), normalised, in float32.

        Args:
            images: a picture of Pillow or a sequence of them, or a uint8 tensor (batch, channels, height, width), 0 to
                255; not changed. Scaled tensors and scaled pictures of Pillow differ by rounding to 1/255.
        """
        if isinstance(images, Tensor):
            if images.dtype != torch.uint8 or images.ndim != 4:
                raise refuse(
                    "Pixels takes pictures as they are stored",
                    got=describe(images),
                    expected="a uint8 tensor (batch, channels, height, width), or pictures of Pillow",
                    fix="(images * 255).round().to(torch.uint8) for floats in [0, 1]",
                )
            pixels: Tensor = self.transform(images)
            return pixels
        return torch.stack([self.transform(one) for one in (images if isinstance(images, list | tuple) else [images])])


def _tried(model: nn.Module, images: Tensor) -> Any:
    """What the model returns in eval mode; its modes are as before afterwards."""
    with in_eval(model), torch.no_grad():
        return model(images)


def _outputs(part: Any) -> Any:
    """The tree of actions of what a model returned."""
    if isinstance(part, Mapping):
        return {name: _outputs(inner) for name, inner in part.items()}
    if isinstance(part, Tensor) and part.ndim in (2, 4):
        return Scalar() if part.ndim == 2 else Image()
    raise refuse(
        "image_symmetry does not know how this output moves with the picture",
        got=describe(part),
        expected="logits (batch, classes), features (batch, channels), or maps (batch, channels, height, width)",
        fix="write the claim: Symmetry(group, Image(), outputs)",
    )
