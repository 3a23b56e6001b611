"""Retinal photographs with their vessels, and a pretrained W-Net; nothing here is downloaded."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from _data import data_option, file_in
from PIL import Image as Picture
from safetensors.torch import load_file
from torch import Tensor, nn

SIDE = 512
SOURCES = {
    "NN_image.png": "photographs of the test part of DRIVE (Staal et al. 2004; drive.grand-challenge.org), 01_image.png and "
    "so on, 565 x 584 pixels",
    "labels.npz": "their vessels and fields of view: np.packbits along the last axis of bool arrays `vessels` and `fov` of "
    "shape (images, 584, 565), in the order of the photographs",
    "wnet_drive.safetensors": "experiments/wnet_drive/model_checkpoint.pth of https://github.com/agaldran/lwnet at ce72dda, "
    "the model's part of it as safetensors",
}


@dataclass(frozen=True)
class Eye:
    """One photograph.

    Attributes:
        name: of its file.
        image: (1, 3, 512, 512) in [0, 1]: the bounding box of the field of view.
        vessels: bool, (height, width) of the box: what a person drew.
        seen: bool, (height, width) of the box: the field of view.
    """

    name: str
    image: Tensor
    vessels: Tensor
    seen: Tensor

    def dice(self, probabilities: Tensor) -> float:
        """Twice the common vessel pixels over all vessel pixels, inside the field of view, at the threshold 0.5."""
        size = list(self.seen.shape)
        found = F.interpolate(probabilities, size=size, mode="bilinear", align_corners=False)[0, 0] >= 0.5
        found, drawn = found & self.seen, self.vessels & self.seen
        return float(2 * (found & drawn).sum() / (found.sum() + drawn.sum()))


class Convolved(nn.Module):
    """Convolutions of 3 x 3, each with a ReLU and a batch norm, and where asked for a shortcut of 1 x 1."""

    def __init__(self, inside: int, outside: int, *, layers: int = 2, shortcut: bool = True) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for layer in range(layers):
            parts += [nn.Conv2d(outside if layer else inside, outside, 3, padding=1), nn.ReLU()]
            parts += [nn.BatchNorm2d(outside)]
        self.block = nn.Sequential(*parts)
        if shortcut:
            self.shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, bias=False), nn.BatchNorm2d(outside))
        self.has_shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inside, h, w) to (batch, outside, h, w)."""
        return self.block(x) + self.shortcut(x) if self.has_shortcut else self.block(x)


class Up(nn.Module):
    """Twice as large, beside what came down at that size."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.up_layer = nn.Module()
        self.up_layer.block = nn.Sequential(nn.ConvTranspose2d(inside, outside, 2, 2))
        self.conv_bridge_layer = Convolved(outside, outside, layers=1, shortcut=False)
        self.conv_layer = Convolved(2 * outside, outside)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(batch, inside, h, w) and (batch, outside, 2 h, 2 w) to the shape of the latter."""
        return self.conv_layer(torch.cat([self.up_layer.block(x), self.conv_bridge_layer(skip)], 1))


class UNet(nn.Module):
    """A U-Net of 8, 16 and 32 channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Convolved(channels, 8)
        self.down_path = nn.ModuleList([Convolved(8, 16), Convolved(16, 32)])
        self.up_path = nn.ModuleList([Up(32, 16), Up(16, 8)])
        self.final = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, 1, h, w) of images (batch, channels, h, w)."""
        levels = [self.first(x)]
        for block in self.down_path:
            levels.append(block(F.max_pool2d(levels[-1], 2)))
        y = levels.pop()
        for block in self.up_path:
            y = block(y, levels.pop())
        return self.final(y)


class WNet(nn.Module):
    """Two U-Nets in a row; Galdran et al., arXiv 2009.01907. Gives the probability of a vessel."""

    def __init__(self) -> None:
        super().__init__()
        self.unet1, self.unet2 = UNet(3), UNet(4)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, h, w) in [0, 1] of images (batch, 3, h, w) in [0, 1]; h and w are multiples of 4."""
        return self.unet2(torch.cat([x, self.unet1(x)], 1)).sigmoid()


def wnet(data: Path) -> WNet:
    """The pretrained network in evaluation mode, its parameters frozen."""
    model = WNet()
    model.load_state_dict(load_file(needed(data, "wnet_drive.safetensors")))
    return model.eval().requires_grad_(False)


def eyes(data: Path) -> list[Eye]:
    """All photographs of the folder, in the order of their names."""
    paths = sorted(needed(data, "labels.npz").parent.glob("[0-9][0-9]_image.png"))
    packed = np.load(needed(data, "labels.npz"))
    vessels, seen = (np.unpackbits(packed[name], axis=-1)[..., :565].astype(bool) for name in ("vessels", "fov"))
    if len(paths) != len(vessels):
        needed(data, "NN_image.png")
    return [_eye(path, drawn, view) for path, drawn, view in zip(paths, vessels, seen, strict=True)]


def needed(data: Path, name: str) -> Path:
    """The path of a file of the folder `drive_retina`; ends the program where it is missing and says where to get it."""
    return file_in(data, "drive_retina", name, SOURCES)


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """The option --data PATH: the folder that holds `drive_retina`."""
    data_option(parser, "drive_retina")


def _eye(path: Path, vessels: np.ndarray, seen: np.ndarray) -> Eye:
    with Picture.open(path) as picture:
        pixels = torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1).float() / 255
    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    image = F.interpolate(pixels[None, :, box[0], box[1]], size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return Eye(path.name, image, torch.from_numpy(vessels[box].copy()), torch.from_numpy(seen[box].copy()))
