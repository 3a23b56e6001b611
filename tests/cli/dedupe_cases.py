"""A folder of things for `canonize dedupe`, some of them twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Picture


def images(folder: Path, count: int = 6) -> Path:
    """Random images, and beside them turned copies of the first and the third, and a mirrored second."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 7, 9, 3), dtype=np.uint8)
    place = folder / "images"
    (place / "more").mkdir(parents=True)
    for number, each in enumerate(pixels):
        Picture.fromarray(each).save(place / f"{number}.png")
    Picture.fromarray(np.rot90(pixels[0]).copy()).save(place / "more" / "turned.bmp")
    Picture.fromarray(np.rot90(pixels[2], 2).copy()).save(place / "more" / "upside.png")
    Picture.fromarray(pixels[1][:, ::-1].copy()).save(place / "more" / "mirrored.png")
    return place


def bad_folder(folder: Path) -> Path:
    place = images(folder)
    (place / "broken.png").write_bytes((place / "0.png").read_bytes()[:60])
    np.save(place / "nan.npy", np.array([[0.0, np.nan], [1.0, 2.0]]))
    np.save(place / "line.npy", np.zeros(3))
    np.save(place / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (place / "cut.npz").write_bytes(b"PK")
    return place
