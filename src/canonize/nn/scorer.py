"""An ordinary CNN that scores poses, and what all networks of this package share."""

from __future__ import annotations

import math
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from canonize._tree import describe
from canonize.errors import refuse
from canonize.nn._checks import same_dtype

_READ = 4  # the layout that the last layer reads, cells a side


@final
class Scorer(nn.Module):
    """One energy for each image, low for upright: a small residual CNN that knows nothing of rotations.

    Residual blocks of 3 x 3 convolutions, and a linear layer on a 4 x 4 layout, so that it matters where things are.
    Each sample is normalised by itself, in train and in eval mode alike: no sample sees the rest of its batch.

    Args:
        channels: of the images.
        width: channels of the first block; later blocks have twice and four times as many.
        depth: residual blocks.
        disk: look only at the disk inscribed in the grid, with a soft edge. Needed where poses are resampled, as for C(8):
            what stands in their corners would give the pose away.
        generator: draws the initial weights; the global one where None.

    Values: images (batch, channels, height, width) of any size from 1 x 1, floating point, dimensionless; the weights are
        made for values of about 1 in size. Energies (batch,), any real number, dimensionless. The parameters and the images
        have one dtype, unless `torch.autocast` is on.

    Raises:
        SymmetryError: sizes that are no positive whole numbers; on use, images of another shape, whole numbers.

    Nothing is singular here. A constant image has one energy in all poses that only move pixels: a choice by it is a tie.

    Source: residual blocks, He et al., arXiv 1512.03385; the use as an energy, Kaba et al., arXiv 2211.06489.
    """

    by_place = True  # the image, whatever a claim names it

    def __init__(
        self,
        channels: int,
        *,
        width: int = 16,
        depth: int = 3,
        disk: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        positive("Scorer", channels=channels, width=width, depth=depth)
        self.channels = channels
        self.disk = disk
        self.stem = _convolution(channels, width, 5, generator, stride=2)
        widths = [width * min(2**level, 4) for level in range(depth)]
        self.blocks = nn.ModuleList(
            _Block(old, new, generator) for old, new in zip([width, *widths], widths, strict=False)
        )
        self.norm = SampleNorm(widths[-1])
        self.head = nn.Linear(widths[-1] * _READ**2, 1, device="meta")
        self.head.weight = drawn(1, widths[-1] * _READ**2, fan=widths[-1] * _READ**2, generator=generator)
        self.head.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, " batch"]:
        """Energies (batch,) of images (batch, channels, height, width)."""
        images(self, x, self.stem.weight)
        y: Tensor = self.stem(x * soft_disk(x) if self.disk else x)
        for level, block in enumerate(self.blocks):
            # Never smaller than the layout that is read: small images keep their places.
            y = block(halved(y, down_to=_READ) if level else y)
        y = F.adaptive_avg_pool2d(F.relu(self.norm(y)), _READ)
        energies: Tensor = self.head(y.flatten(1))
        return energies[:, 0]


class _Block(nn.Module):
    """Two convolutions on normalised values, added to the input."""

    def __init__(self, old: int, new: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.first, self.second = SampleNorm(old), SampleNorm(new)
        self.one, self.two = _convolution(old, new, 3, generator), _convolution(new, new, 3, generator)
        self.skip: nn.Module = nn.Identity() if old == new else _convolution(old, new, 1, generator)

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(F.relu(self.first(x)))
        total: Tensor = self.skip(x) + self.two(F.relu(self.second(y)))
        return total


class SampleNorm(nn.Module):
    """Each sample with mean 0 and variance 1 over all its axes, then a learned scale and shift for each channel.

    The mean over every axis commutes with every permutation of places and of group elements.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "batch channels *rest"]) -> Float[Tensor, "batch channels *rest"]:
        """Values (batch, channels, ...)."""
        # Autocast would leave this in half precision on a CPU, where energies of nearby poses are alike.
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.promote_types(x.dtype, torch.float32))
        # One group is the whole sample; in one operation it takes a third of the time of three.
        return torch.group_norm(x, 1, self.scale.to(x.dtype), self.shift.to(x.dtype))


def drawn(*shape: int, fan: float, generator: torch.Generator | None) -> nn.Parameter:
    """Normal weights of variance 1 / fan, drawn from `generator`, or from the global one where None."""
    device = None if generator is None else generator.device
    return nn.Parameter((torch.randn(*shape, generator=generator, device=device) / math.sqrt(fan)).to(_default()))


def _default() -> torch.device:
    return torch.get_default_device()


def _convolution(old: int, new: int, size: int, generator: torch.Generator | None, stride: int = 1) -> nn.Conv2d:
    # Made without values, so that nothing is drawn beside `generator`.
    made = nn.Conv2d(old, new, size, stride=stride, padding=size // 2, bias=False, device="meta")
    made.weight = drawn(new, old, size, size, fan=old * size**2 / 2, generator=generator)
    return made


def positive(where: str, **values: object) -> None:
    """Refuse settings that are no whole numbers from 1.

    Raises:
        SymmetryError: it names the setting.
    """
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise refuse(
                f"{where}: {name} is no positive whole number",
                got=f"{name}={value!r}",
                expected="a whole number from 1",
                fix=f"{name}=8",
            )


def images(module: Any, x: Any, weight: Tensor) -> None:
    """Refuse what is no batch of images for a network with these weights.

    Raises:
        SymmetryError: another number of axes or channels, an empty grid, whole or complex numbers, another dtype.
    """
    where = type(module).__name__
    shape = tuple(x.shape) if isinstance(x, Tensor) else ()
    if len(shape) == 4 and shape[1] != module.channels and 0 not in shape[1:]:
        # Of a batch behind a frame this sees all copies at once: its size would tell nobody anything.
        raise refuse(
            f"{where} was made for {module.channels} channel{'s' if module.channels > 1 else ''}",
            got=f"{shape[1]} channel{'s' if shape[1] > 1 else ''} in images of {shape[2]} x {shape[3]} pixels",
            expected=f"a tensor (batch, {module.channels}, height, width)",
            fix=f"canonize.nn.{where}({f'{module.group!r}, ' if hasattr(module, 'group') else ''}{shape[1]})",
        )
    if len(shape) != 4 or shape[1] != module.channels or 0 in shape[1:]:
        raise refuse(
            f"{where} needs images",
            got=describe(x),
            expected=f"a tensor (batch, {module.channels}, height, width) of at least 1 x 1 pixels",
            fix="put the batch first: x[None] adds a batch axis to a single image",
        )
    same_dtype(where, "the images", x, weight, hint=", scaled to about 1 in size (x / 255 for bytes)")


def plane(x: Tensor) -> tuple[Tensor, Tensor]:
    """Places on the grid of x in pixels from its middle: to the right (width,), upwards (height, 1).

    Halves of whole numbers, so that they turn without rounding; in float32 at least.
    """
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    height, width = x.shape[-2:]
    right = torch.arange(width, dtype=dtype, device=x.device) - (width - 1) / 2
    up = (height - 1) / 2 - torch.arange(height, dtype=dtype, device=x.device)
    return right, up[:, None]


def soft_disk(x: Tensor) -> Float[Tensor, "height width"]:
    """1 inside the disk inscribed in the grid of x, 0 outside; linear over a pixel, or 1/8 of the radius if that is more."""
    right, up = plane(x)
    # At least a pixel, so that something is left of a grid that is one pixel wide.
    radius = max(1.0, min(x.shape[-2:]) / 2)
    edge = max(1.0, radius / 8)
    return ((radius - (right.square() + up.square()).sqrt()) / edge).clamp(0, 1).to(x.dtype)


def halved(x: Float[Tensor, "batch channels height width"], *, down_to: int) -> Float[Tensor, "batch channels h w"]:
    """Half as many cells a side, rounded up, by averages; x itself where no side is longer than `down_to`.

    The windows of adaptive pooling are symmetric for odd sizes too, so that this commutes with turns and flips.
    """
    height, width = x.shape[-2:]
    if max(height, width) <= down_to:
        return x
    return F.adaptive_avg_pool2d(x, ((height + 1) // 2, (width + 1) // 2))
