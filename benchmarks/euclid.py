"""Frames for clouds of points and molecules: how fast, how many poses, how exact. One part a run."""

from __future__ import annotations

import argparse

import _euclid_exact
import _euclid_time
from _bench import finish, start
from _molecules import molecules_option

PARTS = {
    "speed": _euclid_time.speed,
    "poses": _euclid_exact.poses,
    "big": _euclid_time.big,
    "overhead": _euclid_time.overhead,
    "scaling": _euclid_time.scaling,
    "exactness": _euclid_exact.exactness,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS, help="what to measure")
    molecules_option(parser)
    parser.add_argument("--repeats", type=int, default=15, help="timings of each candidate (default: 15)")
    parser.add_argument(
        "--clock",
        choices=_euclid_time.CLOCKS,
        default="wall",
        help="which seconds are counted; those of the processor, summed over threads, where other work shares the machine",
    )
    parser.add_argument("--peer", action="store_true", help="speed: also time faenet, which has to be installed")
    parser.add_argument("--limit", type=int, default=10_000, help="poses: molecules of QM9 (default: 10,000, all)")
    parser.add_argument("--elements", type=int, default=16, help="exactness: elements for each shape (default: 16)")
    parser.add_argument("--most-points", type=int, default=6, help="scaling: up to this power of ten (default: 6)")
    parser.add_argument("--most-samples", type=int, default=5, help="scaling: up to this power of ten (default: 5)")
    options = start(parser)
    result = PARTS[options.part](options)
    packages = {"speed": ("faenet",) if options.peer else (), "exactness": ("ase",)}.get(options.part, ())
    finish(
        options,
        {"benchmark": f"euclid_{options.part}", "repeats": options.repeats, "clock": options.clock} | result,
        packages,
    )


if __name__ == "__main__":
    main()
