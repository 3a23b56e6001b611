"""Image models of Hugging Face transformers, called by keywords as they are; outputs keep their class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils.generic import ModelOutput

from canonize._tree import brief, describe
from canonize.actions import Image, Mask, Scalar
from canonize.actions.base import fit, floating, matrix_of
from canonize.actions.grid import downward, lossless_on
from canonize.adapt.modes import in_eval
from canonize.errors import refuse
from canonize.integrations._pretrained import as_pretrained
from canonize.symmetry import Keywords, Symmetry

__all__ = ["Pixels", "RelativeBoxes", "Tokens", "as_pretrained", "image_symmetry"]


def image_symmetry(model: PreTrainedModel, group: Any, /, **example: Any) -> Symmetry:
    """The claim that answers move with the picture, for a model that is called as `model(pixel_values=...)`.

    The model is called once, in eval mode and without gradient, and each part of its output is declared by what it is:

    - logits of classes, pooled features and embeddings: `Scalar()`;
    - logits of pixels, depth, feature maps, reconstructed images: `Image()`;
    - hidden states and attentions of patches, where the patches can be told from the configuration: `Tokens()`, the grid
      of patches turns and the class token stays;
    - of detections the boxes are `RelativeBoxes()` and the logits of each query `Scalar()`;
    - the loss, and all else: `None`, as the model returned it for the pose that it was shown.

    Parts declared `None` have no mean over poses. So a detector, whose queries find other things in other poses, and any
    call with `labels` take a frame with one pose, such as `Best`. Where a turn leaves a picture as it is, the boxes of
    a query are averaged over these turns, onto the middle.

    Args:
        model: an image model; not changed.
        group: a group of the plane, such as `C(4)` or `D(4)`.
        example: one call, such as `**processor(images, return_tensors="pt")`: the symmetrized model is then called with
            just these keywords. `pixel_values` (batch, channels, height, width), or (batch, frames, channels, height,
            width); where left out, two blank images of the size in the configuration (224 where there is none).
            `labels`, whole numbers or floats: (batch,) or (batch, classes) stay, (batch, height, width) turn as a
            `Mask`. Options such as `output_hidden_states=True` are passed on.

    Returns:
        A claim for `symmetrize` and `audit`, in which inputs are `Keywords(pixel_values=Image(), ...)`.

    Raises:
        SymmetryError: a model that takes no `pixel_values`, a tensor or labels whose movement is not known, a model
            that returns a tuple.

    Example:
        >>> import torch
        >>> from transformers import ViTConfig, ViTForImageClassification
        >>> from canonize import Best, C, Confidence, symmetrize
        >>> from canonize.integrations.transformers import image_symmetry
        >>> config = ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=16, patch_size=8)
        >>> model = ViTForImageClassification(config).eval()
        >>> upright = symmetrize(model, image_symmetry(model, C(4)), Best(Confidence(model)))
        >>> x = torch.rand(2, 3, 16, 16)
        >>> turned = x.rot90(1, (-2, -1))
        >>> torch.allclose(upright(pixel_values=x).logits, upright(pixel_values=turned).logits)
        True

        A detector has one pose, for example that in which it is surest of what it finds:

        >>> def surest(pixel_values):
        ...     return -detector(pixel_values=pixel_values).logits.softmax(-1)[..., :-1].amax((1, 2))
        >>> # symmetrize(detector, image_symmetry(detector, C(4)), Best(surest))
    """
    if not isinstance(model, nn.Module):
        raise refuse(
            "image_symmetry needs the model first",
            got=f"the class {model.__name__}" if isinstance(model, type) else describe(model),
            expected="an image model of transformers",
            fix="image_symmetry(AutoModelForImageClassification.from_pretrained(...), C(4))",
        )
    main = getattr(model, "main_input_name", "pixel_values")
    if main != "pixel_values":
        raise refuse(
            "the model is not called with pictures first",
            got=f"{type(model).__name__}, called with {main}",
            expected="a model of images, called with pixel_values",
            fix=f"write the claim for what it takes: Symmetry(group, Keywords({main}=...), {{...}})",
        )
    if "pixel_values" not in example:
        example = {"pixel_values": _blank(model), **example}
    inputs = Keywords({name: _input(name, value) for name, value in example.items()})
    output = _tried(model, example)
    if not isinstance(output, ModelOutput):
        raise refuse(
            "the outputs of the model have no names",
            got=describe(output),
            expected="a ModelOutput",
            fix="leave return_dict at True, in the call and in model.config",
        )
    place = _Place(model, example["pixel_values"], "pred_boxes" in output)
    return Symmetry(group, inputs, {name: _output(name, part, place) for name, part in output.items()})


@final
@dataclass(frozen=True)
class Pixels:
    """What an image processor makes of pictures, as one tensor: `Pixels(processor)(images)` is what the model takes.

    The processor's own size, crop, mean and deviation are used.

    Args:
        processor: an image processor, or a processor that has one.

    Raises:
        SymmetryError: something else; on use, float images, which processors would divide by 255 once more, and pictures
            of different sizes that had to be padded.

    Example:
        >>> from transformers import ViTImageProcessor
        >>> import torch
        >>> to_pixels = Pixels(ViTImageProcessor(size={"height": 16, "width": 16}))
        >>> to_pixels(torch.zeros(2, 3, 20, 20, dtype=torch.uint8)).shape
        torch.Size([2, 3, 16, 16])
    """

    processor: Any

    def __post_init__(self) -> None:
        if not callable(self.processor) or isinstance(self.processor, type | nn.Module):
            raise refuse(
                "Pixels needs an image processor",
                got=describe(self.processor),
                expected="what AutoImageProcessor.from_pretrained returns",
                fix="Pixels(AutoImageProcessor.from_pretrained(name))",
            )

    def __call__(self, images: Any) -> Tensor:
        """(batch, channels, height, width), normalised, in float32.

        Args:
            images: a picture of Pillow or a sequence of them, or a uint8 tensor (batch, channels, height, width), 0 to
                255; not changed.
        """
        if isinstance(images, Tensor):
            if images.dtype != torch.uint8 or images.ndim != 4:
                raise refuse(
                    "Pixels takes pictures as they are stored",
                    got=describe(images),
                    expected="a uint8 tensor (batch, channels, height, width), or pictures of Pillow",
                    fix="(images * 255).round().to(torch.uint8) for floats in [0, 1]",
                )
            images = list(images)
        made = self.processor(images=images, return_tensors="pt")
        mask = made.get("pixel_mask")
        if isinstance(mask, Tensor) and not bool(mask.all()):
            raise refuse(
                "pictures of different sizes were padded to one",
                got=f"pixel_mask of shape {tuple(mask.shape)} with zeros",
                expected="pictures of one size",
                fix="crop them first; or call the processor, and pass its pixel_mask to image_symmetry and to the model",
            )
        pixels: Tensor = made["pixel_values"]
        return pixels


@final
@dataclass(frozen=True, repr=False)
class Tokens:
    """Patches of an image in a row, line after line: their grid turns as an `Image`; tokens before them stay.

    Args:
        before: how many tokens stand before the patches: class token, registers.
        grid: (rows, columns) of patches; None for a square.
        pairs: whether both of the last axes are tokens, as of attentions.

    Values: (*batch, ..., tokens, channels), or (*batch, ..., tokens, tokens) with `pairs`; floating point where elements
    resample.

    Raises:
        SymmetryError: on use, tokens that do not fill the grid; otherwise as for `Image`.
    """

    __repr__ = brief

    before: int = 0
    grid: tuple[int, int] | None = None
    pairs: bool = False

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        """The tokens in their new places, of the shape of x."""
        moved = self._rows(g, x)
        return self._rows(g, moved.mT).mT if self.pairs else moved

    def lossless(self, g: Any, x: Tensor) -> Tensor:
        """Whether each element only moves tokens."""
        return lossless_on(matrix_of(self, g, 2), self._grid(x))

    bitwise = lossless

    def _rows(self, g: Any, x: Tensor) -> Tensor:
        x = fit(self, matrix_of(self, g, 2).shape[:-2], x, 2, x.device)
        patches = x[..., self.before :, :].mT
        patches = patches.reshape(*patches.shape[:-1], *self._grid(x))
        return torch.cat([x[..., : self.before, :], Image()(g, patches).flatten(-2).mT], -2)

    def _grid(self, x: Tensor) -> tuple[int, int]:
        count = x.shape[-2] - self.before
        side = round(max(count, 0) ** 0.5)
        grid = (side, side) if self.grid is None else self.grid
        if grid[0] * grid[1] != count or (self.pairs and x.shape[-1] != x.shape[-2]):
            raise refuse(
                f"{self!r}: the tokens do not fill the grid of patches",
                got=f"shape {tuple(x.shape)}, so {count} patches",
                expected="a square number of patches" if self.grid is None else f"{grid[0]} x {grid[1]} patches",
                fix="show image_symmetry images of the size that the model is called with: "
                "image_symmetry(model, group, pixel_values=x)",
            )
        return grid


@final
@dataclass(frozen=True)
class RelativeBoxes:
    """Axis-parallel boxes (centre x, centre y, width, height) as shares of the width and height of the image, from 0 to 1.

    y points down. The box that encloses the turned box is returned: exact for quarter turns and flips, larger for any
    other element.

    Values: (*batch, ..., 4), floating point.

    Raises:
        SymmetryError: a last axis that is not 4, whole numbers, elements that are not 2 x 2 matrices.
    """

    def __call__(self, g: Any, x: Tensor) -> Tensor:
        """The turned boxes, of the shape and dtype of x."""
        matrix = matrix_of(self, g, 2)
        x = floating(self, fit(self, matrix.shape[:-2], x, 1, matrix.device))
        if x.shape[-1] != 4:
            raise refuse(
                f"{self!r}: the last axis does not fit",
                got=f"shape {tuple(x.shape)}",
                expected="(batch, ..., 4): centre x, centre y, width, height",
                fix="put the four numbers last; Boxes(size) is for corners in pixels",
            )
        wide = torch.promote_types(x.dtype, matrix.dtype)
        axes = downward(matrix).to(wide).reshape(*matrix.shape[:-2], *(1,) * (x.ndim - matrix.ndim + 1), 2, 2)
        centre, extent = x[..., :2].to(wide), x[..., 2:].to(wide)
        centre = (axes @ (centre - 0.5)[..., None])[..., 0] + 0.5
        extent = (axes.abs() @ extent[..., None])[..., 0]
        return torch.cat([centre, extent], -1).to(x.dtype)

    def lossless(self, g: Any, x: Tensor) -> Tensor:
        """Whether each element keeps boxes parallel to the axes."""
        return lossless_on(matrix_of(self, g, 2), (1, 1))


def _blank(model: nn.Module) -> Tensor:
    """Two black images of the size that the configuration names."""
    config = _vision(model)
    size = getattr(config, "image_size", None) or 224
    if isinstance(size, Mapping):
        size = (size["height"], size["width"])
    height, width = size if isinstance(size, Sequence) else (size, size)
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    channels = getattr(config, "num_channels", None) or 3
    return torch.zeros(2, channels, height, width, dtype=like.dtype, device=like.device)


def _vision(model: nn.Module) -> Any:
    """The part of the configuration that tells of images."""
    config = getattr(model, "config", None)
    for name in ("vision_config", "backbone_config"):
        inner = getattr(config, name, None)
        if inner is not None and getattr(config, "image_size", None) is None:
            return inner
    return config


def _input(name: str, value: Any) -> Any:
    """How a keyword argument moves."""
    if name == "pixel_values":
        if not isinstance(value, Tensor) or value.ndim not in (4, 5):
            raise refuse(
                "pixel_values are no batch of images",
                got=describe(value),
                expected="a tensor (batch, channels, height, width)",
                fix="processor(images, return_tensors='pt'), or x[None] for one image",
            )
        return Image()
    if name == "pixel_mask":
        return Mask()
    if isinstance(value, Tensor) and name == "labels" and 1 <= value.ndim <= 3:
        return Mask() if value.ndim == 3 else Scalar()
    if value is None or isinstance(value, bool | int | float | str):
        return None
    fix = f"leave it out; or write the claim: Symmetry(group, Keywords(pixel_values=Image(), {name}=...), {{...}})"
    raise refuse(
        f"image_symmetry does not know how {name!r} moves with the picture",
        got=describe(value),
        expected="pixel_values, pixel_mask, labels of classes or of pixels, and options that are no tensors",
        fix="leave labels out, and take the loss outside from the outputs" if name == "labels" else fix,
    )


def _tried(model: nn.Module, example: dict[str, Any]) -> Any:
    """What the model returns in eval mode; its modes are as before afterwards."""
    with in_eval(model), torch.no_grad():
        return model(**example)


class _Place:
    """What is needed to tell what a part of the output is: the batch, the size of the image, the grids of patches."""

    def __init__(self, model: nn.Module, pixels: Tensor, detects: bool) -> None:
        config = _vision(model)
        self.batch = len(pixels)
        self.size = (int(pixels.shape[-2]), int(pixels.shape[-1]))
        self.detects = detects
        self.most = 2 + (getattr(config, "num_register_tokens", None) or 0)
        patch = getattr(config, "patch_size", None)
        patch = patch[0] if isinstance(patch, Sequence) and len(set(patch)) == 1 else patch
        # Video models have patches of several frames in a row, and masked autoencoders show patches in random order.
        if not isinstance(patch, int) or patch < 1 or pixels.ndim != 4 or hasattr(config, "mask_ratio"):
            patch = None
        levels = len(getattr(config, "depths", None) or [0])
        self.strides = [] if patch is None else [patch * 2**level for level in range(levels)]

    def tokens(self, count: int, *, pairs: bool = False) -> Tokens | None:
        """The action of so many tokens, or None where they are no grid of patches."""
        for stride in self.strides:
            grid = (self.size[0] // stride, self.size[1] // stride)
            before = count - grid[0] * grid[1]
            if 0 <= before <= self.most and grid[0] * grid[1]:
                return Tokens(before, None if grid[0] == grid[1] else grid, pairs)
        return None


def _output(name: str, part: Any, place: _Place) -> Any:
    """How a part of the output moves."""
    if isinstance(part, Mapping):
        return {key: _output(str(key), inner, place) for key, inner in part.items()}
    if isinstance(part, tuple | list):
        return type(part)(_output(name, inner, place) for inner in part)
    if not isinstance(part, Tensor) or part.ndim == 0 or len(part) != place.batch or not part.is_floating_point():
        return None
    if name == "pred_boxes":
        return RelativeBoxes()
    if place.detects:
        return Scalar() if name == "logits" else Image() if name == "pred_masks" else None
    if name == "predicted_depth":
        return Image()
    if part.ndim == 2:
        return Scalar()
    if "attentions" in name:
        return place.tokens(part.shape[-1], pairs=True) if part.shape[-1] == part.shape[-2] else None
    if part.ndim == 3:
        return Scalar() if name == "class_queries_logits" else place.tokens(part.shape[1])
    square = [size[0] == size[1] for size in (place.size, tuple(part.shape[-2:]))]
    return Image() if part.ndim == 4 and square[0] <= square[1] else None
