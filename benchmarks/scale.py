"""Rates of `canonize canonicalize` and `canonize dedupe` on one core, from files to files; seconds of the processor."""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _bench import SEED, finish, progress, start, table
from _data import data_option
from _molecules import qm9

from canonize import SE, Best, C, Image, Product, S, Scalar, Symmetry, nn
from canonize.cli.canonicalize import canonicalize
from canonize.cli.dedupe import Hashing
from canonize.cli.items import find_items
from canonize.scale import Canonical, Chunk

SIDE = 224
NODES, DEGREE = 24, 2.5
TOLERANCE = 1e-3


def images(place: Path, count: int) -> Path:
    """JPEG images of smooth colours with some noise, in a table as data sets of photographs are kept."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image as Picture

    draw = torch.Generator().manual_seed(SEED)
    made = []
    for _ in range(count):
        rough = torch.rand(1, 3, 14, 14, generator=draw)
        x = torch.nn.functional.interpolate(rough, (SIDE, SIDE), mode="bicubic", antialias=False)[0]
        x = (x + 0.05 * torch.randn(x.shape, generator=draw)).clamp(0, 1)
        held = io.BytesIO()
        Picture.fromarray((255 * x).byte().permute(1, 2, 0).numpy()).save(held, "JPEG", quality=90)
        made.append(held.getvalue())
    pq.write_table(pa.table({"image": made}), place / "images.parquet")
    return place / "images.parquet"


def molecules(place: Path, data: Path, count: int) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = qm9(data, count)
    columns = {"positions": [pos.tolist() for pos, _ in found], "species": [z.tolist() for _, z in found]}
    pq.write_table(pa.table(columns), place / "molecules.parquet")
    return place / "molecules.parquet"


def graphs(place: Path, count: int) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw = np.random.default_rng(SEED)
    edges, nodes = [], []
    for _ in range(count):
        there = np.triu(draw.random((NODES, NODES)) < DEGREE / NODES, 1)
        edges.append(np.argwhere(there).tolist())
        nodes.append(str(draw.integers(0, 4, NODES).tolist()))
    pq.write_table(pa.table({"edges": edges, "nodes": nodes, "count": [NODES] * count}), place / "graphs.parquet")
    return place / "graphs.parquet"


def written(name: str, what: str, source: Path, job: Canonical, place: Path) -> dict[str, Any]:
    """The rate of `canonicalize` with a shard for all samples."""
    out = place / f"{name}.parquet"
    begin = time.process_time()
    made = canonicalize(source, out, job, shard=10**6)
    seconds = time.process_time() - begin
    if made.bad:
        raise SystemExit(f"{name}: {made.bad[0]}")
    size = sum(path.stat().st_size for path in out.glob("part-*"))
    return row(name, what, "canonicalize", made.rows, seconds, size)


def hashed(name: str, what: str, source: Path, group: Any, tolerance: float | None) -> dict[str, Any]:
    """The rate of the keys of `dedupe`."""
    items = find_items(source, group)
    begin = time.process_time()
    keys = Hashing(items, group, {"tolerance": tolerance, "limit": 60.0})(Chunk(0, range(len(items))))
    seconds = time.process_time() - begin
    if any(isinstance(own, str) for own in keys):
        raise SystemExit(f"{name}: a sample could not be hashed")
    size = sum(len(key) for own in keys for key in own)
    return row(name, what, "dedupe", len(items), seconds, size)


def row(name: str, what: str, command: str, count: int, seconds: float, size: int) -> dict[str, Any]:
    return {
        "name": name,
        "what": what,
        "command": command,
        "samples": count,
        "seconds": seconds,
        "rate": count / seconds,
        "bytes": size / count,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    data_option(parser, "qm9")
    parser.add_argument("--images", type=int, default=400, help="images (default: 400)")
    parser.add_argument("--molecules", type=int, default=4000, help="molecules of QM9 (default: 4,000)")
    parser.add_argument("--graphs", type=int, default=4000, help="graphs (default: 4,000)")
    options = start(parser)
    torch.manual_seed(SEED)
    eight, three = C(8), Product(S(), SE(3))
    frame = Best(nn.Scorer(3, disk=True), resolution=32).eval()
    learned = Canonical(eight, (Symmetry(eight, Image(), Scalar()), frame))
    with tempfile.TemporaryDirectory() as spare, progress() as bar:
        place = Path(spare)
        task = bar.add_task("rates", total=7)
        pictures, clouds = images(place, options.images), molecules(place, options.data, options.molecules)
        drawn = graphs(place, options.graphs)
        # What is imported and compiled once is not part of a rate.
        (place / "few").mkdir()
        written("warm", "", images(place / "few", 8), learned, place)
        rows = []
        photo, atoms, graph = f"image, {SIDE} x {SIDE}", "molecule of QM9", f"graph, {NODES} nodes"
        for part in (
            lambda: written("C8, learned frame", photo, pictures, learned, place),
            lambda: written("C4, smallest turn, hash", photo, pictures, Canonical(C(4), hashed=True), place),
            lambda: hashed("C4, keys", photo, pictures, C(4), None),
            lambda: written("SxSE3, pose, hash", atoms, clouds, Canonical(three, None, True, TOLERANCE), place),
            lambda: hashed("SxSE3, keys", atoms, clouds, three, TOLERANCE),
            lambda: written("S, canonical order, hash", graph, drawn, Canonical(S(), hashed=True), place),
            lambda: hashed("S, keys", graph, drawn, S(), None),
        ):
            rows.append(part())
            bar.advance(task)
    body = [
        [
            f"{one['what']}: {one['command']} {one['name']}",
            f"{one['samples']:,}",
            f"{one['rate']:,.0f}",
            f"{one['bytes']:,.0f}",
        ]
        for one in rows
    ]
    table("one core", ["", "samples", "a second", "bytes a sample"], body)
    finish(options, {"benchmark": "scale", "rows": rows}, ("pyarrow", "pillow", "canonaut"))


if __name__ == "__main__":
    main()
