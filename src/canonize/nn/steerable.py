"""A network of circular harmonics that points: vectors that turn with the image, by any angle."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from canonize.errors import refuse
from canonize.nn.scorer import drawn, images, plane, positive, soft_disk

_SPREAD = 0.6  # of a ring, in pixels
_TINY = 1e-5  # mean squares are compared with this


@final
class Steerable(nn.Module):
    """Vectors in the plane that turn with the image: v(h · x) = h v(x) for rotations, and reflections if asked.

    Feature maps are complex; those of order m turn by e^(i m angle) where the image turns by an angle. Filters are radial
    profiles times e^(i k angle), which take order m to order m + k; nonlinearities scale values by a function of their
    modulus. The vectors are means over the disk of maps of order m times the (1 - m)-th power of the place, so that it
    matters where things are.

    The law holds to rounding for elements that only move pixels: quarter turns of square images, half turns of any image,
    and flips of any image with `reflections`. For all other angles it holds as far as the grid lets it.

    Args:
        channels: of the images.
        vectors: how many vectors.
        width: complex feature maps of each order.
        depth: layers.
        orders: the highest order of rotation of the feature maps, at least 1.
        kernel: pixels a side of a filter, odd, at least 3.
        reflections: also v(flip x) = flip v(x): profiles are real, so that a reflection conjugates every map. Without it
            they are complex, and the network may prefer one sense of rotation to the other.
        resolution: images whose longer side is more than this many pixels are shrunk to it by area averaging; None never
            shrinks. By `adaptive_avg_pool2d`, which has a gradient; it commutes with turns to rounding.
        generator: draws the initial weights; the global one where None.

    Values: images (batch, channels, height, width) of any size from 1 x 1, floating point, dimensionless, about 1 in size
        and best with mean 0; only the inscribed disk is seen, with a soft edge. Vectors (batch, vectors, 2), x to the right
        and y up, dimensionless, any length, in float32 at least. Each sample is normalised by itself.

    Raises:
        SymmetryError: sizes that are no positive whole numbers, an even kernel; on use, images of another shape, whole
            numbers.

    Singular case: a vector is zero, to rounding, for images that a turn other than the identity leaves as they are, such as
    constant ones and all of 1 x 1; with `reflections`, all vectors of an image with a mirror axis lie on that axis. A
    vector much shorter than usual is a warning that its direction is noise. Two vectors of an image without symmetry are
    linearly independent for almost all weights.

    Source: harmonic networks, Worrall et al., arXiv 1612.04642.
    """

    by_place = True  # the image, whatever a claim names it

    def __init__(
        self,
        channels: int,
        *,
        vectors: int = 1,
        width: int = 8,
        depth: int = 3,
        orders: int = 2,
        kernel: int = 7,
        reflections: bool = False,
        resolution: int | None = 32,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        positive(
            "Steerable", channels=channels, vectors=vectors, width=width, depth=depth, orders=orders, kernel=kernel
        )
        if resolution is not None:
            positive("Steerable", resolution=resolution)
        if kernel % 2 == 0 or kernel < 3:
            raise refuse(
                "Steerable: this kernel cannot hold a direction",
                got=f"kernel={kernel}",
                expected="an odd number of pixels, at least 3",
                fix="kernel=7",
            )
        self.channels = channels
        self.resolution = resolution
        self.reflections = reflections
        parts = 1 if reflections else 2
        self.layers = nn.ModuleList(
            _Harmonic(
                width if level else channels, width, orders, kernel, parts, real_input=not level, generator=generator
            )
            for level in range(depth)
        )
        self.gates = nn.ModuleList(_Gate(width, orders) for _ in range(depth))
        self.head = drawn(parts, vectors, orders + 1, width, fan=parts * width * (orders + 1), generator=generator)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch vectors 2"]:
        """Vectors (batch, vectors, 2), x right and y up, of images (batch, channels, height, width)."""
        images(self, x, self.head)
        x = _shrunk(x, self.resolution)
        disk = soft_disk(x)
        y = x[:, None, None]
        for layer, gate in zip(self.layers, self.gates, strict=True):
            # Masked at each layer, so that biases do not show the straight edges of the grid.
            y = gate(layer(y * disk))
        means = _means(y, disk)
        real, imaginary = (means[:, :, None] * self.head[0]).sum((-2, -1)).unbind(1)
        if not self.reflections:
            turned = (means[:, :, None] * self.head[1]).sum((-2, -1))
            real, imaginary = real - turned[:, 1], imaginary + turned[:, 0]
        return torch.stack([real, imaginary], -1)


class _Harmonic(nn.Module):
    """A convolution with circular harmonics, from maps (batch, 2, orders, old, h, w) to (batch, 2, orders, new, h, w)."""

    basis: Tensor

    def __init__(
        self,
        old: int,
        new: int,
        orders: int,
        kernel: int,
        parts: int,
        *,
        real_input: bool,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        self.real_input = real_input
        self.kernel = kernel
        basis = _harmonics(orders, kernel)
        # Fixed by the sizes: not among the weights that are saved.
        self.register_buffer("basis", basis.to(torch.get_default_dtype()), persistent=False)
        before, rings = 1 if real_input else orders + 1, basis.shape[2]
        fan = parts * old * before * rings
        self.weight = drawn(parts, new, old, orders + 1, before, rings, fan=fan, generator=generator)

    def forward(self, y: Tensor) -> Tensor:
        _, new, _, after, _, _ = self.weight.shape
        filters = self.filters()
        maps = F.conv2d(y.flatten(1, 3).to(filters.dtype), filters, padding=self.kernel // 2)
        return maps.reshape(y.shape[0], 2, after, new, *y.shape[-2:])

    def filters(self) -> Float[Tensor, "out_maps in_maps kernel kernel"]:
        """The filters as real ones, on real and imaginary parts side by side."""
        _, new, old, after, before, _ = self.weight.shape
        top = (self.basis.shape[1] - 1) // 2
        device = self.basis.device
        gain = torch.arange(after, device=device)[:, None] - torch.arange(before, device=device) + top
        chosen = self.basis[:, gain]  # (2, after, before, rings, cells)
        real, imaginary = torch.einsum("oiabr,cabrq->caobiq", self.weight[0], chosen).unbind(0)
        if len(self.weight) == 2:
            turned = torch.einsum("oiabr,cabrq->caobiq", self.weight[1], chosen)
            real, imaginary = real - turned[1], imaginary + turned[0]
        onto_real, onto_imaginary = torch.stack([real, -imaginary], 2), torch.stack([imaginary, real], 2)
        both = torch.stack([onto_real, onto_imaginary])  # (2, after, new, 2, before, old, cells)
        inputs = 1 if self.real_input else 2
        return both[:, :, :, :inputs].reshape(2 * after * new, inputs * before * old, self.kernel, self.kernel)


class _Gate(nn.Module):
    """Maps over their root mean square, a shift of order 0 alone, and a factor that depends on each modulus.

    One mean square for all orders: near a singular image, where the higher orders vanish, they stay small.
    """

    def __init__(self, width: int, orders: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(width))
        self.slope = nn.Parameter(torch.ones(orders + 1, width))
        self.offset = nn.Parameter(torch.zeros(orders + 1, width))

    def forward(self, y: Tensor) -> Tensor:
        if y.dtype in (torch.float16, torch.bfloat16):
            y = y.float()
        y = y * (y.square().mean((1, 2, 3, 4, 5), keepdim=True) + _TINY).rsqrt()
        # Order 0 alone may be shifted, and only along the real axis, which reflections keep.
        shift = F.pad(self.shift[None, None, :], (0, 0, 0, self.slope.shape[0] - 1, 0, 1))
        y = y + shift[..., None, None]
        modulus = (y.square().sum(1, keepdim=True) + _TINY).sqrt()
        return y * torch.sigmoid(self.slope[..., None, None] * modulus + self.offset[..., None, None])


def _harmonics(orders: int, kernel: int) -> Float[Tensor, "2 gains rings cells"]:
    """Ring times e^(i k angle), k from -orders to orders, as real and imaginary parts, each of norm 1 where it is not zero.

    Rings are read from a table of squared radii, and powers are products, so that a quarter turn only moves entries and
    turns signs over, bit for bit. A ring too narrow for k has no harmonic of that k: it could not be told from another.
    """
    half = kernel // 2
    line = torch.arange(-half, half + 1)
    x, y = line.repeat(kernel), -line.repeat_interleave(kernel)
    radius = torch.arange(2 * half**2 + 1, dtype=torch.float64).sqrt()
    middle = torch.arange(half + 1, dtype=torch.float64) * (kernel / 2 - 1) / half
    table = torch.exp(-((radius - middle[:, None]) ** 2) / (2 * _SPREAD**2)) * (kernel / 2 - radius).clamp(0, 1)
    place = x.square() + y.square()
    rings = table[:, place]
    unit = torch.stack([x, y]) / radius[place].clamp(min=1.0)
    power = torch.stack([torch.ones_like(unit[0]), torch.zeros_like(unit[0])])
    found = {0: power}
    for k in range(1, orders + 1):
        power = torch.stack([power[0] * unit[0] - power[1] * unit[1], power[0] * unit[1] + power[1] * unit[0]])
        found[k], found[-k] = power, torch.stack([power[0], -power[1]])
    waves = torch.stack([found[k] for k in range(-orders, orders + 1)], 1)
    basis = waves[:, :, None] * rings
    gains, ring = torch.arange(-orders, orders + 1).abs(), torch.arange(half + 1)
    fits = gains[:, None] <= 2 * ring
    norm = basis.square().sum((0, -1)).sqrt()
    return torch.where(fits[..., None], basis / torch.where(norm > 0, norm, 1.0)[..., None], 0.0)


def _shrunk(x: Tensor, resolution: int | None) -> Tensor:
    longest = max(x.shape[-2:])
    if resolution is None or longest <= resolution:
        return x
    height, width = (max(1, round(size * resolution / longest)) for size in x.shape[-2:])
    return F.adaptive_avg_pool2d(x, (height, width))


def _means(y: Float[Tensor, "batch 2 orders maps height width"], disk: Tensor) -> Float[Tensor, "batch 2 orders maps"]:
    """Means over the disk of each map of order m times the (1 - m)-th power of the place, which turn as vectors do."""
    right, up = plane(disk)
    radius = min(disk.shape) / 2
    x, up = (right / radius).expand(disk.shape), (up / radius).expand(disk.shape)
    share = disk / disk.sum()
    powers = [(x * share, up * share), (share, torch.zeros_like(share))]
    for _ in range(y.shape[2] - 2):
        real, imaginary = powers[-1]
        powers.append((real * x + imaginary * up, imaginary * x - real * up))
    weight = torch.stack([torch.stack(pair) for pair in powers], 1)[:, :, None].to(y.dtype)
    real = (y[:, 0] * weight[0] - y[:, 1] * weight[1]).sum((-2, -1))
    imaginary = (y[:, 0] * weight[1] + y[:, 1] * weight[0]).sum((-2, -1))
    return torch.stack([real, imaginary], 1)
