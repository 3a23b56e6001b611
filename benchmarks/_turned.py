"""What the benchmark of turned digits trains: small networks, one loop for all, and poses that agree within a class."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from canonize import SO, Image, Poses, Symmetry

ANGLES, RADII = 64, 14
WIDTHS, KERNELS, POOLED = (12, 24, 48, 64), (5, 3, 3, 3), (True, True, False, True)
Draw = Callable[[Tensor, torch.Generator], Tensor]


def cnn() -> nn.Sequential:
    """The backbone of every row but one: four convolutions, 46,974 parameters; (batch, 1, 28, 28) to (batch, 10)."""
    parts: list[nn.Module] = []
    for old, new, kernel, pool in zip((1, *WIDTHS), WIDTHS, KERNELS, POOLED, strict=False):
        parts += [nn.Conv2d(old, new, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(new), nn.ReLU()]
        parts += [nn.MaxPool2d(2)] if pool else []
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(9 * WIDTHS[-1], 10))


class GroupConvolutions(nn.Module):
    """The backbone with convolutions of the group p4, half as many channels for each quarter turn: as many weights.

    Invariant to quarter turns to rounding: the maps of each turn are turned back before the linear layer, and the logits of
    the four are combined by log-sum-exp. Cohen and Welling, arXiv 1602.07576.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = [width // 2 for width in WIDTHS]
        olds = [(1,), *((width, 4) for width in widths)]
        self.filters = nn.ParameterList(
            torch.randn(new, *old, kernel, kernel) * math.sqrt(2 / (math.prod(old) * kernel**2))
            for old, new, kernel in zip(olds, widths, KERNELS, strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm3d(width) for width in widths)
        self.head = nn.Linear(9 * widths[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, 10) of images (batch, 1, 28, 28)."""
        for level, (weight, norm, pool) in enumerate(zip(self.filters, self.norms, POOLED, strict=True)):
            # The filters of turn r see the maps of turn r + s as those of turn 0 see the maps of turn s.
            turns = [(weight.roll(r, 2) if level else weight).rot90(r, (-2, -1)) for r in range(4)]
            filters = torch.stack(turns, 1).flatten(0, 1)
            x = F.conv2d(x, filters.flatten(1, -3), padding=weight.shape[-1] // 2)
            x = F.relu(norm(x.reshape(len(x), -1, 4, *x.shape[-2:])))
            x = (F.max_pool3d(x, (1, 2, 2)) if pool else x).flatten(1, 2)
        x = x.reshape(len(x), -1, 4, *x.shape[-2:])
        upright = torch.stack([x[:, :, r].rot90(-r, (-2, -1)).flatten(1) for r in range(4)], 1)
        return self.head(upright).logsumexp(1)


def fit(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    rate: float,
    seed: int,
    draw: Draw | None = None,
    size: int = 64,
) -> None:
    """AdamW with one cycle, as `adapt` has, in mixed precision: the same for every row.

    Args:
        draw: what the images of an epoch are, from the images and a generator; the images as they are where None.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * -(-len(images) // size))
    for part in model.modules():
        if isinstance(part, nn.Conv2d):
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.train()
    for _ in range(epochs):
        shown = images if draw is None else draw(images, generator)
        for some in torch.randperm(len(images), generator=generator).split(size):
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(model(shown[some].contiguous(memory_format=torch.channels_last)), labels[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()


def turned(images: Tensor, seed: int) -> Tensor:
    """Each image at an angle of its own."""
    return anew(images, torch.Generator().manual_seed(seed))


def anew(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image at an angle of its own, drawn from the generator."""
    return Image()(SO(2).sample((len(images),), generator=generator), images)


@torch.no_grad()
def poses(frame: Any, symmetry: Symmetry, images: Tensor, *, size: int = 50) -> Tensor:
    """The pose of each image that a frame with one pose a sample chooses, (images, 2, 2)."""
    return torch.cat([frame(symmetry, some).elements[0] for some in images.split(size)])


def principal(symmetry: Symmetry, images: Tensor) -> Poses:
    """A frame by hand: the axis along which the intensity spreads most, its sense by the sign of the third moment."""
    height, width = images.shape[-2:]
    weight = images.sum(1)
    total = weight.sum((1, 2)).clamp(min=1e-6)
    right = torch.arange(width, dtype=images.dtype) - (width - 1) / 2
    up = (height - 1) / 2 - torch.arange(height, dtype=images.dtype)[:, None]
    x, y = (weight * right).sum((1, 2)) / total, (weight * up).sum((1, 2)) / total
    dx, dy = right - x[:, None, None], up - y[:, None, None]
    xx, xy, yy = ((weight * part).sum((1, 2)) for part in (dx * dx, dx * dy, dy * dy))
    angle = torch.atan2(2 * xy, xx - yy) / 2
    along = dx * angle.cos()[:, None, None] + dy * angle.sin()[:, None, None]
    angle = angle + math.pi * ((weight * along**3).sum((1, 2)) < 0)
    return Poses(rotation(angle)[None], torch.ones(1, len(images), dtype=images.dtype))


def rotation(angle: Tensor) -> Tensor:
    """Counterclockwise rotations by angles in rad, (batch,) to (batch, 2, 2)."""
    return torch.stack([torch.stack([angle.cos(), -angle.sin()], -1), torch.stack([angle.sin(), angle.cos()], -1)], -2)


def agreed(images: Tensor, labels: Tensor, *, each: int, seed: int, rounds: int = 15) -> Tensor:
    """Angles in rad by which the images of a class are turned against a common pose, found without an upright one.

    Each image is turned onto the nearest of the mean images of its class, which are taken anew, in turn; then the means
    turn onto each other, across classes. All 64 turns are compared at once: in polar coordinates they are shifts.

    Args:
        each: mean images a class.
    """
    generator = torch.Generator().manual_seed(seed)
    rings = _polar(images)
    waves = torch.fft.rfft(rings, dim=-1)
    classes = [(labels == label).nonzero()[:, 0] for label in labels.unique()]
    means = []
    for some in classes:
        mean = rings[some[torch.randperm(len(some), generator=generator)[:1]]]
        for number in range(2 * rounds):
            which, shift = _nearest(waves[some], mean)
            if number == rounds:
                # Each class begins with one mean, so that those into which it is split agree on the pose.
                which = torch.randint(each, (len(some),), generator=generator)
                mean = mean.expand(each, -1, -1)
            mean = _means(_shifted(rings[some], shift), which, mean)
        means.append(mean)
    common = torch.cat(means)
    common = common / common.flatten(1).norm(dim=1)[:, None, None]
    for _ in range(10):
        for place in range(len(common)):
            match = _matches(torch.fft.rfft(common[place : place + 1], dim=-1), common)[0]
            match[place] = 0
            common[place] = _shifted(common[place : place + 1], match.pow(6).sum(0).argmax()[None])[0]
    shifts = torch.zeros(len(labels), dtype=torch.int64)
    for some, mean in zip(classes, common.split(each), strict=True):
        for _ in range(3):
            which, shifts[some] = _nearest(waves[some], mean)
            mean = _means(_shifted(rings[some], shifts[some]), which, mean)
    return shifts * (2 * math.pi / ANGLES)


def _polar(images: Tensor) -> Tensor:
    """(batch, radii, angles), each ring with the weight of its area."""
    angle = torch.arange(ANGLES) * (2 * math.pi / ANGLES)
    radius = (torch.arange(RADII) + 0.5) / RADII
    grid = torch.stack([radius[:, None] * angle.cos(), -radius[:, None] * angle.sin()], -1)
    found = F.grid_sample(images, grid.expand(len(images), -1, -1, -1), align_corners=False)[:, 0]
    return found * radius.sqrt()[:, None]


def _matches(waves: Tensor, means: Tensor) -> Tensor:
    """How well each image, turned back by each angle, matches each mean: (batch, means, angles)."""
    other = torch.fft.rfft(means, dim=-1).conj()
    found = torch.fft.irfft((waves[:, None] * other).sum(2), n=ANGLES, dim=-1)
    return found / means.flatten(1).norm(dim=1).clamp(min=1e-6)[:, None]


def _nearest(waves: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
    best = _matches(waves, means).flatten(1).argmax(1)
    return best // ANGLES, best % ANGLES


def _shifted(rings: Tensor, shift: Tensor) -> Tensor:
    place = (torch.arange(ANGLES) + shift[:, None]) % ANGLES
    return rings.gather(-1, place[:, None].expand_as(rings))


def _means(rings: Tensor, which: Tensor, before: Tensor) -> Tensor:
    return torch.stack(
        [rings[which == place].mean(0) if (which == place).any() else old for place, old in enumerate(before)]
    )
