"""Both engines on one data set, in a process of its own: `python ray_engine.py folder address`."""

from __future__ import annotations

import sys
from pathlib import Path

import ray

from canonize import SE, Product, S
from canonize.cli.canonicalize import canonicalize
from canonize.cli.dedupe import find
from canonize.scale import Canonical

if __name__ == "__main__":
    place = Path(sys.argv[1])
    group = Product(S(), SE(3))
    job = Canonical(group, hashed=True, tolerance=1e-3)
    made = canonicalize(place / "in", place / "local.parquet", job, shard=4)
    print("canonicalize", made.rows, len(made.bad))
    made = canonicalize(place / "in", place / "ray.parquet", job, shard=4, engine="ray", address=sys.argv[2], workers=2)
    print("canonicalize", made.rows, len(made.bad))
    assert not ray.is_initialized(), "what was connected for the call is left after it"
    for options in ({}, {"engine": "ray", "address": sys.argv[2]}):
        found = find(place / "in", group, tolerance=1e-3, **options)
        print("dedupe", found.groups, found.bad)
