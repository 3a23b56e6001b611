"""Both engines on one data set, in a process of its own: `python ray_engine.py folder address`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import ray
import torch

from canonize import SE, Point, Product, S, Scalar, Symmetry
from canonize.cli.batch import mapped
from canonize.cli.canonicalize import canonicalize
from canonize.cli.dedupe import find
from canonize.cli.samples import reading
from canonize.scale import Canonical, audit_chunks


def audited(place: Path, address: str) -> str:
    """The verdict of both engines on a linear model, and how many samples were audited and how many were bad."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 1)).double().eval()
    claim = Symmetry(SE(3), Point(), Scalar())
    read = reading(str(place / "even.parquet"), grids=(0,))
    options = {"cost": False, "elements": 4, "batch_size": 2, "chunk": 2}
    found = [
        audit_chunks(model, claim, read, len(read), engine=engine, **options)
        for engine in (None, partial(mapped, engine="ray", workers=1, address=address))
    ]
    assert torch.equal(found[0].audit.errors, found[1].audit.errors)
    assert found[0].audit.as_dict() == found[1].audit.as_dict()
    assert found[0].bad == found[1].bad
    return f"{found[1].audit.verdict} {found[1].audit.samples} {len(found[1].bad)}"


if __name__ == "__main__":
    place = Path(sys.argv[1])
    group = Product(S(), SE(3))
    job = Canonical(group, hashed=True, tolerance=1e-3)
    made = canonicalize(place / "in", place / "local.parquet", job, shard=4)
    print("canonicalize", made.rows, len(made.bad))
    made = canonicalize(place / "in", place / "ray.parquet", job, shard=4, engine="ray", address=sys.argv[2], workers=2)
    print("canonicalize", made.rows, len(made.bad))
    assert not ray.is_initialized(), "what was connected for the call is left after it"
    # A Ray that runs already is used as it is, and left as it was found. Several workers were seen above; each is a process
    # that imports torch.
    ray.init(address=sys.argv[2], log_to_driver=False, configure_logging=False)
    print("audit", audited(place, sys.argv[2]))
    for options in ({}, {"engine": "ray", "address": sys.argv[2], "workers": 1}):
        found = find(place / "in", group, tolerance=1e-3, **options)
        print("dedupe", found.groups, found.bad)
    assert ray.is_initialized()
    ray.shutdown()
