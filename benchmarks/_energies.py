"""The two energies of the CIFAR-10 benchmark, their augmentation, and their losses on the turned copies of an image."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from _models import ResNet
from torch import Tensor, nn

from canonize import Symmetrized

SMOOTHING = 0.05


class Small(nn.Module):
    """A separate residual CNN, about 9 million multiply-adds a copy: four copies cost less than one pass of ResNet-20."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(_block(3, 32, 5, 2), Residual(32, 64, 2), Residual(64, 96, 2), Residual(96, 96, 1))
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(96 * 16, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, 32, 32) to energies (batch,)."""
        return self.head(self.body(x.contiguous(memory_format=torch.channels_last)))[:, 0]


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first = _block(inside, outside, 3, stride)
        self.second = nn.Sequential(nn.Conv2d(outside, outside, 3, 1, 1, bias=False), nn.BatchNorm2d(outside))
        nn.init.zeros_(self.second[1].weight)
        pool = [nn.AvgPool2d(2)] if stride == 2 else []
        skip = [*pool, nn.Conv2d(inside, outside, 1, bias=False), nn.BatchNorm2d(outside)]
        self.skip = nn.Sequential(*skip) if stride == 2 or inside != outside else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inside, h, w) to (batch, outside, h / stride, w / stride)."""
        return F.relu(self.second(self.first(x)) + self.skip(x))


class Big(nn.Module):
    """The frozen classifier on each copy, and beside it a trained copy of the first blocks of its last stage.

    The energy is read off the feature maps of both by a small head, less a learned share of the logsumexp of the logits.
    """

    def __init__(self, model: ResNet, blocks: int = 2) -> None:
        super().__init__()
        # Frozen, so that adapt leaves it in eval mode.
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.tuned = copy.deepcopy(model.layer3[:blocks]).requires_grad_(True)
        self.mix = nn.Sequential(nn.Conv2d(128, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(64 * 64, 1))
        nn.init.zeros_(self.head[2].weight)
        nn.init.zeros_(self.head[2].bias)
        self.weight = nn.Parameter(torch.tensor(0.2))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, 32, 32) to energies (batch,)."""
        model = self.model
        with torch.no_grad():
            x = F.relu(model.bn1(model.conv1(x.contiguous(memory_format=torch.channels_last))))
            middle = model.layer2(model.layer1(x))
            last = model.layer3(middle)
            logits = model.linear(last.mean((2, 3))).float()
        maps = self.mix(torch.cat([self.tuned(middle), last], 1))
        return self.head(maps).float()[:, 0] - self.weight * logits.logsumexp(1)


def answers(model: nn.Module, images: Tensor) -> Tensor:
    """(n, 4): the log-probability of the model's own upright answer on each turned copy, at least log 1e-4. No labels."""
    found = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for batch in images.split(250):
            turned = torch.stack([batch.rot90(-k, (-2, -1)) for k in range(4)])
            shares = model(turned.flatten(0, 1)).float().softmax(1).reshape(4, len(batch), -1)
            upright = shares[0].argmax(1)
            found.append(shares.gather(2, upright[None, :, None].expand(4, -1, 1))[..., 0].mT)
    return torch.cat(found).clamp_min(1e-4).log()


def agreement_loss(
    symmetrized: Symmetrized, images: Tensor, agreeing: Tensor, *, generator: torch.Generator, share: float = 0.4
) -> Tensor:
    """The cross-entropy with the upright copy, and for a share the likelihood that the model answers as it does upright."""
    shares = (-symmetrized.frame.energies(symmetrized.symmetry, images)).log_softmax(0)
    right = (1 - SMOOTHING) * shares[0] + SMOOTHING * shares.mean(0)
    return -((1 - share) * right + share * (shares + agreeing.mT).logsumexp(0)).mean()


def teacher_loss(
    symmetrized: Symmetrized, images: Tensor, teacher: Tensor, *, generator: torch.Generator, share: float = 0.6
) -> Tensor:
    """The cross-entropy with the upright copy, and for a share with the shares (batch, 4) that a teacher gives the copies."""
    shares = (-symmetrized.frame.energies(symmetrized.symmetry, images)).log_softmax(0)
    right = (1 - SMOOTHING) * shares[0] + SMOOTHING * shares.mean(0)
    return -((1 - share) * right + share * (teacher.mT * shares).sum(0)).mean()


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrored left to right, shifted by up to 3 pixels with reflection, and with other brightness, contrast and tint."""
    count = len(images)

    def uniform(*shape: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    mirrored = torch.rand(count, generator=generator) < 0.5
    images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    padded = F.pad(images, (3, 3, 3, 3), mode="reflect")
    row, column = torch.randint(7, (2, count, 1), generator=generator)
    place = torch.arange(images.shape[-1])
    each = torch.arange(count)[:, None, None]
    images = padded[each, :, (row + place)[:, :, None], (column + place)[:, None]].permute(0, 3, 1, 2)
    mean = images.mean((1, 2, 3), keepdim=True)
    gain = uniform(1, 1, 1, low=0.8, high=1.2) * uniform(3, 1, 1, low=0.9, high=1.1)
    return (images - mean) * gain + mean + uniform(1, 1, 1, low=-0.4, high=0.4)


def multiply_adds(network: nn.Module) -> int:
    """Multiplications in one pass over a 32 x 32 image: convolutions and linear layers."""
    total = 0

    def count(layer: Any, _: Any, output: Tensor) -> None:
        nonlocal total
        total += output.numel() * layer.weight[0].numel()

    layers = [part for part in network.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, 32, 32))
    finally:
        for hook in hooks:
            hook.remove()
    return total


def _block(inside: int, outside: int, kernel: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outside), nn.ReLU())
