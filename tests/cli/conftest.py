"""A folder with everything that the commands read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

MODELS = """
import torch

class Mean(torch.nn.Module):
    def forward(self, x):
        return x.mean((1, 2, 3))[:, None]

class Corner(torch.nn.Module):
    def forward(self, x):
        return torch.stack([x[:, :, :2, :2].sum((1, 2, 3)), x.sum((1, 2, 3)) / 4], 1)

class Broken(torch.nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        raise self.error

class Bright(Mean):
    def forward(self, x):
        assert x.min() >= 4, "too dark"
        return super().forward(x)

def refusing():
    raise RuntimeError("no weights here")

def leaving():
    raise SystemExit(0)

mean = Mean()
corner = Corner()
bright = Bright()
lookup = Broken(AttributeError("no field named weight"))
claimed = Broken(AssertionError("square\\nimages"))
leaver = Broken(SystemExit(0))
stopped = Broken(KeyboardInterrupt())
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with models in code, data as arrays and tensors, and a folder of images in two classes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"models_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODELS, encoding="utf-8")
    (tmp_path / "name").write_text(name, encoding="utf-8")
    x = torch.rand(40, 3, 8, 8)
    np.savez(tmp_path / "data.npz", inputs=x.numpy(), targets=np.zeros(40, dtype=np.int64))
    np.save(tmp_path / "data.npy", x.numpy())
    torch.save({"x": x, "y": torch.zeros(40, dtype=torch.int64)}, tmp_path / "data.pt")
    for number in range(24):
        folder = tmp_path / "images" / ("cat" if number % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = (torch.rand(9, 9, 3) * 255).to(torch.uint8).numpy()
        Picture.fromarray(pixels).save(folder / f"{number:02}.png")
    return tmp_path
