"""The page of operations."""

from __future__ import annotations

from typing import Any

from _page import grid, how, spread

HEAD = """# What frames cost

Every figure below was written here by `python benchmarks/_page.py` from the JSON files beside this page, which are the
output of the commands shown. Times stand on the pages of their subjects: [images](core.md), [learned
frames](learning.md), [coordinates](euclid.md), [sets](sets.md), [graphs](graphs.md). `make bench` runs all of them on your
machine; `canonize explain` tells what each frame costs on your model.
"""


def operations(result: dict[str, Any]) -> str:
    """Operations, multiply-adds and memory of poses."""
    small, large = result["batches"]
    rows = []
    for name, each in result["frames"].items():
        growth = each["growth"]
        rows.append(
            [
                f"`{name}`",
                f"{each['operations'][1]:,}",
                f"{growth['operations']:.2f}x",
                f"{each['multiply_adds'][1] / large:,.0f}",
                f"{growth['multiply_adds']:.2f}x",
                f"{each['memory'][1] / large / 1024:.1f}",
                f"{growth['memory']:.2f}x",
            ]
        )
    grows = f"{small} to {large}"
    columns = ["frame", "operations", grows, "multiply-adds a sample", grows, "KiB a sample", grows]
    shares = [[f"`{name}`", *(f"{each:.4f}" for each in of.values())] for name, of in result["shares"].items()]
    models = next(iter(result["shares"].values()))
    return f"""## Poses, counted

For one call on {large} samples: how many operations of torch it takes, multiply-adds of products and convolutions and the peak
memory of tensors for each sample, and how each grows from {small} samples to {large}. Images have 64 x 64 pixels, clouds and
sets 20 points. Operations that do not grow are what one batched computation has; a frame that looped over samples would have
{large // small} times as many. Where a cloud or two need a fallback, its operations are added once. `tests/test_operations.py`
counts all of this anew and fails where a figure is exceeded by a tenth, so that the costs are held without a clock.

{grid(columns, rows)}

## Poses beside networks, counted

Multiply-adds of finding the pose of an image of 224 x 224 pixels, over those of a forward pass of the network. Resampling the
image is no product, and is not counted here; the times [with all of it](learning.md) are on the page of learned frames.

{grid(["frame", *models], shares)}

{how(result)}"""


def peers(result: dict[str, Any]) -> str:
    """The same work by other libraries."""
    rows = [
        [
            row["job"],
            row["peer"],
            spread(row["ratio"]),
            f"{row['milliseconds']['canonize']:.1f}",
            f"{row['milliseconds'][row['peer']]:.1f}",
            row["what"],
            f"{row['right']['canonize']:.2g}",
            f"{row['right'][row['peer']]:.2g}",
        ]
        for row in result["rows"]
    ]
    columns = ["job", "peer", "peer's time over ours", "ours, ms", "peer, ms", "right?", "ours", "peer"]
    return f"""## The same work by other libraries

Above 1 the peer takes longer. Medians of interleaved ratios, quartiles in brackets. escnn keeps its filters between calls
in eval mode and has neither the normalisation nor the mask of `GroupCNN`, which makes them anew at each call and keeps
nothing; its last layer has one field, ours eight. equiadapt stands on [another page](core.md), faenet [on that of
coordinates](euclid.md), pynauty and igraph [on that of graphs](graphs.md). Minimal frame averaging is not published as a
package. e3nn is not a peer but what `Irreps` is made of.

{grid(columns, rows)}

{how(result)}"""
