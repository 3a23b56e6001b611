"""The text of docs/benchmarks/sets.md, from the JSON of a real run."""

from __future__ import annotations

from typing import Any

from _page import grid, how


def sets(result: dict[str, Any]) -> str:
    """Regularity, continuity and time of orders of sets."""
    names = list(result["spread"][0]["distance"])
    label = {"as given": "as given"}
    spread = [
        [f"{row['n']}", f"{row['d']}", *(f"{row['distance'][name]:.3f}" for name in names)] for row in result["spread"]
    ]
    steps = [
        [
            f"`{row['frame']}`" if "(" in row["frame"] else row["frame"],
            f"{row['n']} in {row['d']}",
            f"{row['poses']:.1f}",
            *(f"{row[kind][eps]:.1e}" for eps in ("0.01", "0.001") for kind in ("mean", "max")),
            f"{row['jump']:.1e}",
        ]
        for row in result["steps"]
    ]
    orders = list(result["times"][0]["microseconds"])
    times = [[f"{row['n']}", *(f"{row['microseconds'][name]:.0f}" for name in orders)] for row in result["times"]]
    heads = ["rows", "columns", *(label.get(name, f"`{name}`") for name in names)]
    columns = [
        "frame",
        "rows in columns",
        "poses",
        "mean, 0.01",
        "largest, 0.01",
        "mean, 0.001",
        "largest, 0.001",
        "jump",
    ]
    return f"""# Orders of sets: benchmarks

Every figure below was written here by `python benchmarks/_page.py` from the JSON file beside this page, which is the
output of the command shown. Rows are drawn uniformly from the unit cube.

## How regular the canonical sets are

The distance of the canonical forms of two random sets, root mean square over rows. A lexicographic order lines up one
column and leaves the others as they come, so that the distance stays what it is however many rows there are; along a
Hilbert curve it falls with the number of rows. The less canonical sets differ from each other, the fewer of them a model has
to be shown: the number of balls that cover them grows exponentially with the dimension of the set for the lexicographic
order and polynomially for the curve (Sverdlov et al., arXiv 2605.11008).

{grid(heads, spread)}

## How the output moves with the set

The change of the output of a random smooth model behind each frame when all entries move by at most 0.01 or 0.001,
relative to the spread of its outputs over {result["sets"]} sets; and the largest change over a step of {result["step"]:g} on
{result["paths"]} paths, searched by halving: single orders jump, weighted ones do not. Directions are the weighted frame
of arXiv 2402.16077: as many random directions as make sure that one tells all rows apart, each weighted by the smallest
gap between projections.

{grid(columns, steps)}

## Time

Microseconds of the processor for the order of one set of rows in 3 columns, 32 sets a batch, float32.

{grid(["rows", *(f"`{name}`" for name in orders)], times)}

{how(result)}"""
