"""The text of docs/benchmarks/scale.md, from the JSON of real runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from _page import HERE, grid, how, load

HEAD = """# Whole data sets: benchmarks

Every figure below was written here by `python benchmarks/_page.py` from the JSON files beside this page, which are the
output of the commands shown. [Whole data sets](../scale.md) says how the commands are used.
"""
MANY = 10**9
PARTS = ("scale", "kills")


def page(place: Path = HERE) -> str:
    """The page; parts without a run are left out."""
    there = [name for name in PARTS if (place / f"{name}.json").exists()]
    return "\n".join([HEAD, *({"scale": scale, "kills": kills}[name](load(name)) for name in there)])


def scale(result: dict[str, Any]) -> str:
    """Rates, and what they make of a billion samples."""
    rows = [
        [
            f"{row['what']}: `{row['command']}`, {row['name']}",
            f"{row['samples']:,}",
            f"{row['rate']:,.0f}",
            f"{row['bytes']:,.0f}",
        ]
        for row in result["rows"]
    ]
    paper = [
        [
            f"{row['what']}: `{row['command']}`, {row['name']}",
            f"{hours(row):,.0f}",
            f"{hours(row) / 1000:,.1f}",
            f"{MANY * row['bytes'] / 1e12:,.2f}",
        ]
        for row in result["rows"]
    ]
    return f"""## Rates of one core

From a file of Parquet to files of Parquet: decoding, pose, hash where it says so, encoding and writing. Seconds of the
processor, one process with one thread. The images are JPEG of smooth colours and are written as PNG, which loses nothing and is
larger; *keys* are what `dedupe` computes of each sample before it compares, and its bytes are theirs.

{grid(["", "samples", "a second", "bytes a sample, written"], rows)}

## On paper: what {MANY:,} samples cost

Computed from the rates above, not measured: the work on one sample does not depend on the others, so that hours of cores are
samples over rate. What it leaves out: the network and the disks, and that cores of a busy machine are slower than one alone.

{grid(["", "core hours", "hours on 1,000 cores", "terabytes written"], paper)}

{how(result)}"""


def hours(row: dict[str, Any]) -> float:
    """Hours of one core for a billion samples."""
    return MANY / float(row["rate"]) / 3600


def kills(result: dict[str, Any]) -> str:
    """What became of runs that were killed."""
    rows = [
        [
            f"`{row['command']}`",
            f"{row['images']:,}",
            f"{row['runs']}",
            f"{row['kills']}",
            f"{row['earliest']:.2f} to {row['latest']:.2f}",
            f"{row['same']}",
        ]
        for row in result["rows"]
    ]
    all_same = all(row["same"] == row["runs"] for row in result["rows"])
    return f"""## Kill -9 at random moments

Each run is killed at a moment drawn between its start and the time that a whole run takes, about half of them once more as they
go on, and then left to end. Each is a process of its own, copied from one that has imported everything, so that the moments are
those of the work. *The same*: no file of the output differs in a byte from that of a run that nobody disturbed (for `adapt` the
trained frame and its description; for `dedupe` the report, and the journal up to the order of its lines; for `audit` the
numbers of each chunk, and the report up to the time and the memory of one call), and the exit code is the same.
All are the same: {"yes" if all_same else "**no**"}.

{grid(["command", "images", "runs", "kills", "at this share of the run", "the same"], rows)}

{how(result)}"""
