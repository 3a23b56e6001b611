"""Data sets of every kind as tables and as shards, with the values that they hold."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Picture

from canonize import SE

FEW = 12


def pixels(count: int = FEW) -> np.ndarray[Any, Any]:
    """Random images; the last is the first one, turned."""
    made = np.random.default_rng(0).integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    made[-1] = np.rot90(made[0])
    return made


def png(array: np.ndarray[Any, Any]) -> bytes:
    held = io.BytesIO()
    Picture.fromarray(array).save(held, "PNG")
    return held.getvalue()


def clouds(count: int = FEW) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Clouds of several sizes; the last is the first one, moved and in another order."""
    g = torch.Generator().manual_seed(0)
    made = [(torch.randn(4 + i % 3, 3, generator=g, dtype=torch.float64), torch.tensor([6, 1, 8, 1, 1, 7])[: 4 + i % 3])
            for i in range(count)]  # fmt: skip
    turn, (x, z) = SE(3).sample(generator=g, dtype=torch.float64), made[0]
    made[-1] = ((x @ turn.linear.T + turn.shift).flip(0), z.flip(0))
    return made


def table(path: Path, **columns: Any) -> Path:
    """A Parquet file with row groups of five."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path, row_group_size=5)
    return path


def image_table(path: Path, count: int = FEW) -> Path:
    return table(path, image=[png(each) for each in pixels(count)], label=list(range(count)))


def image_shard(path: Path, count: int = FEW) -> Path:
    """As the library WebDataset writes it."""
    import webdataset

    with webdataset.TarWriter(str(path)) as writer:
        for number, each in enumerate(pixels(count)):
            writer.write({"__key__": f"n{number:03}", "png": png(each), "cls": number % 3, "note.txt": "seen"})
    return path


def cloud_table(path: Path) -> Path:
    made = clouds()
    return table(
        path, positions=[x.tolist() for x, _ in made], species=[z.tolist() for _, z in made], energy=[0.5] * len(made)
    )
