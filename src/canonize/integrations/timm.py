"""Image models of timm, as `timm.create_model` makes them, and their pictures as the weights expect them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from typing import Any, final

import timm.data  # type: ignore[import-not-found, unused-ignore]  # an extra, not always installed
import torch
from PIL.Image import Image as Picture
from PIL.Image import fromarray
from torch import Tensor, nn

from canonize._tree import describe
from canonize.actions import Image, Scalar
from canonize.adapt.modes import in_eval
from canonize.errors import refuse
from canonize.symmetry import Symmetry


def image_symmetry(model: nn.Module, group: Any, images: Tensor | None = None) -> Symmetry:
    """The claim that answers move with the picture, for a model that is called as `model(images)`.

    The model is called once, in eval mode and without gradient: logits and pooled features are declared `Scalar()`,
    feature maps (`features_only=True`, `global_pool=""`) `Image()`.

    Args:
        model: what `timm.create_model` returns; not changed.
        group: a group of the plane, such as `C(4)` or `D(4)`.
        images: what to call it with, (batch, channels, height, width), normalised; where None, one blank image of the
            size in `model.pretrained_cfg`.

    Returns:
        A claim for `symmetrize` and `audit`, in which inputs are `Image()`.

    Raises:
        SymmetryError: no model, no `pretrained_cfg` to read the size from, outputs that are neither logits nor maps.

    Example:
        >>> import timm, torch
        >>> from canonize import C, symmetrize
        >>> from canonize.integrations.timm import image_symmetry
        >>> model = timm.create_model("test_vit").eval()
        >>> claim = image_symmetry(model, C(4))
        >>> claim
        Symmetry(group=C(4), inputs=Image(), outputs=Scalar())
        >>> upright = symmetrize(model, claim)
        >>> upright(torch.zeros(2, 3, 160, 160)).shape
        torch.Size([2, 1000])
    """
    _check(model, "image_symmetry")
    if images is None:
        # What a model was made for counts before what its weights were trained with: create_model(..., img_size=...).
        made = getattr(getattr(model, "patch_embed", None), "img_size", None)
        channels, *size = _config(model)["input_size"]
        like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
        images = torch.zeros(1, channels, *(made or size), dtype=like.dtype, device=like.device)
    return Symmetry(group, Image(), _outputs(_tried(model, images)))


@final
@dataclass(frozen=True)
class Pixels:
    """What a model's weights expect pictures to be: `Pixels(model)(pictures)` is what the model takes.

    Size, crop, interpolation, mean and deviation are those of `model.pretrained_cfg`. The model itself is not kept.

    Args:
        model: what `timm.create_model` returns.

    Raises:
        SymmetryError: no model, no `pretrained_cfg`; on use, tensors that are not uint8.

    Example:
        >>> import timm, torch
        >>> to_pixels = Pixels(timm.create_model("test_vit"))
        >>> to_pixels(torch.zeros(2, 3, 200, 200, dtype=torch.uint8)).shape
        torch.Size([2, 3, 160, 160])
    """

    model: InitVar[nn.Module]
    config: dict[str, Any] = field(init=False)
    transform: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self, model: nn.Module) -> None:
        _check(model, "Pixels")
        # A frozen dataclass refuses plain assignment, and no one else has seen it yet.
        object.__setattr__(self, "config", _config(model))
        make = timm.data.create_transform  # type: ignore[attr-defined, unused-ignore]  # timm does not list what it exports
        object.__setattr__(self, "transform", make(**self.config, is_training=False))

    def __call__(self, images: Any) -> Tensor:
        """(batch, channels, height, width), normalised, in float32.

        Args:
            images: a picture of Pillow or a sequence of them, or a uint8 tensor (batch, channels, height, width), 0 to
                255; not changed.
        """
        mode = "L" if self.config["input_size"][0] == 1 else "RGB"
        return torch.stack([self.transform(picture.convert(mode)) for picture in _pictures(images)])


def _pictures(images: Any) -> Sequence[Picture]:
    """The pictures one by one."""
    if isinstance(images, Picture):
        return [images]
    if not isinstance(images, Tensor):
        return list(images)
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise refuse(
            "Pixels takes pictures as they are stored",
            got=describe(images),
            expected="a uint8 tensor (batch, 1 or 3 channels, height, width), or pictures of Pillow",
            fix="(images * 255).round().to(torch.uint8) for floats in [0, 1]",
        )
    rows = images.movedim(1, -1).cpu().numpy()
    return [fromarray(row[..., 0] if row.shape[-1] == 1 else row) for row in rows]


def _check(model: Any, where: str) -> None:
    if not isinstance(model, nn.Module):
        raise refuse(
            f"{where} needs the model first",
            got=f"the class {model.__name__}" if isinstance(model, type) else describe(model),
            expected="what timm.create_model returns",
            fix=f"{where}(timm.create_model({model if isinstance(model, str) else 'vit_small_patch16_224'!r}), ...)",
        )


def _config(model: nn.Module) -> dict[str, Any]:
    """Size, crop, interpolation, mean and deviation."""
    if not getattr(model, "pretrained_cfg", None):
        raise refuse(
            "the model does not say what pictures it takes",
            got=f"{type(model).__name__} without pretrained_cfg",
            expected="what timm.create_model returns, with features_only=False",
            fix="image_symmetry(model, group, images); for Pixels, ask the model whose weights these are",
        )
    resolve: Any = timm.data.resolve_model_data_config  # type: ignore[attr-defined, unused-ignore]  # as above
    config: dict[str, Any] = resolve(model)
    return config


def _tried(model: nn.Module, images: Tensor) -> Any:
    """What the model returns in eval mode; its modes are as before afterwards."""
    with in_eval(model), torch.no_grad():
        return model(images)


def _outputs(part: Any) -> Any:
    """The tree of actions of what a model returned."""
    if isinstance(part, tuple | list):
        return type(part)(_outputs(inner) for inner in part)
    if isinstance(part, Tensor) and part.ndim in (2, 4):
        return Scalar() if part.ndim == 2 else Image()
    raise refuse(
        "image_symmetry does not know how this output moves with the picture",
        got=describe(part),
        expected="logits (batch, classes), features (batch, channels), or maps (batch, channels, height, width)",
        fix="write the claim: Symmetry(group, Image(), outputs)",
    )
