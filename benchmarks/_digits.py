"""The original MNIST test images, split with a fixed seed, and a pretrained LeNet-5; nothing here is downloaded."""

from __future__ import annotations

import argparse
import gzip
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from _data import data_option, file_in
from safetensors.torch import load_file
from torch import Tensor, nn

SOURCES = {
    "t10k-images-idx3-ubyte.gz": "the 10,000 test images of MNIST (LeCun, Cortes, Burges), gzipped IDX",
    "t10k-labels-idx1-ubyte.gz": "their classes, gzipped IDX",
    "lenet5_mnist.safetensors": "mnist_classifier/weights/lenet_epoch=12_test_acc=0.991.pth of "
    "https://github.com/csinva/gan-vae-pretrained-pytorch at 9b6401e, as safetensors",
}


@dataclass(frozen=True)
class Digits:
    """Images (n, 1, 28, 28) in [0, 1] and classes (n,): 6,000 to learn from, 1,000 to choose by, the last 3,000 to judge."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


class LeNet(nn.Module):
    """LeNet-5 with maxima and ReLUs, for images of 28 x 28 pixels in [0, 1], which it enlarges to 32 x 32 itself."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {"c1": (1, 6), "c3": (6, 16), "c5": (16, 120)}
        self.convnet = nn.ModuleDict({name: nn.Conv2d(*size, 5) for name, size in sizes.items()})
        self.fc = nn.ModuleDict({"f6": nn.Linear(120, 84), "f7": nn.Linear(84, 10)})

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, 10) of images (batch, 1, 28, 28)."""
        x = F.interpolate(x, size=(32, 32), mode="bilinear", align_corners=False)
        for name in ("c1", "c3"):
            x = F.max_pool2d(F.relu(self.convnet[name](x)), 2)
        x = F.relu(self.convnet["c5"](x)).flatten(1)
        return self.fc["f7"](F.relu(self.fc["f6"](x)))


def lenet(data: Path) -> LeNet:
    """The pretrained network in evaluation mode, its parameters frozen."""
    model = LeNet()
    model.load_state_dict(load_file(needed(data, "lenet5_mnist.safetensors")))
    return model.eval().requires_grad_(False)


def digits(data: Path, *, seed: int) -> Digits:
    """The images and their split: the first 7,000 shuffled with this seed, the last 3,000 as they are."""
    images = torch.frombuffer(bytearray(_read(data, "t10k-images-idx3-ubyte.gz")[16:]), dtype=torch.uint8)
    labels = torch.frombuffer(bytearray(_read(data, "t10k-labels-idx1-ubyte.gz")[8:]), dtype=torch.uint8).long()
    images = images.reshape(-1, 1, 28, 28).float() / 255
    order = torch.randperm(7000, generator=torch.Generator().manual_seed(seed))
    parts = order[:6000], order[6000:], torch.arange(7000, 10000)
    train, validation, test = ((images[part], labels[part]) for part in parts)
    return Digits(train, validation, test)


def needed(data: Path, name: str) -> Path:
    """The path of a file of the folder `mnist`; ends the program where it is missing and says where to get it."""
    return file_in(data, "mnist", name, SOURCES)


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """The option --data PATH: the folder that holds `mnist`."""
    data_option(parser, "mnist")


def _read(data: Path, name: str) -> bytes:
    return gzip.decompress(needed(data, name).read_bytes())
