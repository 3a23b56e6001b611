"""The pretrained networks and images that the benchmarks use; nothing here is downloaded."""

from __future__ import annotations

import argparse
import io
import itertools
import zipfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from _data import data_option, file_in
from PIL import Image as Picture
from safetensors.torch import load_file
from torch import Tensor, nn

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BLOCKS = {"resnet20": 3, "resnet32": 5, "resnet44": 7, "resnet56": 9}
SOURCES = {
    "test_5000_jpeg.zip": "a zip of 32 x 32 JPEG copies of CIFAR-10 test images as test/CLASS/NUMBER.jpg; the images are "
    "those of https://www.cs.toronto.edu/~kriz/cifar.html",
    "train_20000_jpeg.zip": "a zip of JPEG copies of CIFAR-10 training images as train/CLASS/NUMBER.jpg, from the same place",
    "resnet20.safetensors": "pretrained_models/ of https://github.com/akamaster/pytorch_resnet_cifar10, as safetensors "
    "without the prefix 'module.'",
}
SOURCES |= {f"{name}.safetensors": SOURCES["resnet20.safetensors"] for name in BLOCKS}


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut without parameters."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.stride, self.pad = stride, (outside - inside) // 2

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inside, h, w) to (batch, outside, h / stride, w / stride)."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad)))


class ResNet(nn.Module):
    """The residual network for CIFAR-10 with 6 n + 2 layers; He et al., arXiv 1512.03385, section 4.2, shortcuts A.

    Args:
        n: blocks in each of the three stages; 3 makes ResNet-20.
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(n)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), *(Block(32, 32, 1) for _ in range(n - 1)))
        self.layer3 = nn.Sequential(Block(32, 64, 2), *(Block(64, 64, 1) for _ in range(n - 1)))
        self.linear = nn.Linear(64, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, 10) of normalised images (batch, 3, h, w)."""
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


class ResNet18(nn.Module):
    """ResNet-18 for images of about 224 pixels, with random weights: a measure of cost; arXiv 1512.03385, table 1."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
        pairs = list(itertools.pairwise(widths))
        self.first = nn.ModuleList(nn.Conv2d(a, b, 3, 1 + (a != b), 1, bias=False) for a, b in pairs)
        self.second = nn.ModuleList(nn.Conv2d(b, b, 3, 1, 1, bias=False) for _, b in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for _, b in pairs for _ in range(2))
        self.skips = nn.ModuleList(
            nn.Identity() if a == b else nn.Sequential(nn.Conv2d(a, b, 1, 2, bias=False), nn.BatchNorm2d(b))
            for a, b in pairs
        )
        self.linear = nn.Linear(512, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, 1000) of images (batch, 3, h, w)."""
        x = self.stem(x)
        for place, (first, second, skip) in enumerate(zip(self.first, self.second, self.skips, strict=True)):
            y = F.relu(self.norms[2 * place](first(x)))
            x = F.relu(self.norms[2 * place + 1](second(y)) + skip(x))
        return self.linear(x.mean((2, 3)))


def pretrained(data: Path, name: str) -> ResNet:
    """A pretrained network in evaluation mode, its parameters frozen."""
    model = ResNet(BLOCKS[name])
    model.load_state_dict(load_file(needed(data, f"{name}.safetensors")))
    return model.eval().requires_grad_(False)


def cifar10_test(data: Path) -> tuple[Tensor, Tensor]:
    """The test images (n, 3, 32, 32), normalised as the networks expect, and their classes (n,)."""
    return _cifar10(data, "test_5000_jpeg.zip")


def cifar10_train(data: Path) -> tuple[Tensor, Tensor]:
    """Training images, as `cifar10_test`."""
    return _cifar10(data, "train_20000_jpeg.zip")


def _cifar10(data: Path, archive_name: str) -> tuple[Tensor, Tensor]:
    pictures, labels = [], []
    with zipfile.ZipFile(needed(data, archive_name)) as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".jpg")):
            with Picture.open(io.BytesIO(archive.read(name))) as picture:
                pictures.append(np.asarray(picture.convert("RGB")))
            labels.append(CLASSES.index(name.split("/")[-2]))
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((images - mean[:, None, None]) / deviation[:, None, None]).contiguous(), torch.tensor(labels)


def needed(data: Path, name: str) -> Path:
    """The path of a file of the folder `cifar10`; ends the program where it is missing and says where to get it."""
    return file_in(data, "cifar10", name, SOURCES)


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """The option --data PATH: the folder that holds `cifar10`."""
    data_option(parser, "cifar10")
