"""The parts of docs/benchmarks/learning.md, from the JSON of real runs."""

from __future__ import annotations

from typing import Any

from _page import grid, how, spread

HEAD = """# Learned canonicalization: benchmarks

Every figure below was written here by `python benchmarks/_page.py` from the JSON files beside this page, which are the
output of the commands shown. Where other work shared the machine, seconds are too long and processor seconds are not.
"""


def cifar(result: dict[str, Any]) -> str:
    """A frozen classifier behind canonicalizers that were trained without labels."""
    rows = [
        [
            row["name"] if "(" not in row["name"] else f"`{row['name']}`",
            *(f"{value:.2f}" for value in (*row["accuracy"], row["mean"])),
            f"{row['error']:.1e}",
            f"{row['passes']:.2f}",
        ]
        for row in result["rows"]
    ]
    columns = ["frame", "0°", "90°", "180°", "270°", "mean", "error", "passes"]
    even = all(len(set(row["correct"])) == 1 for row in result["rows"][1:])
    steps = [
        [
            name,
            str(each["epochs"]),
            f"{each['parameters']:,}",
            f"{each['seconds'] / 60:.1f}",
            f"{each['cpu_seconds'] / 60:.1f}",
        ]
        for name, each in result["training"].items()
    ]
    return f"""## CIFAR-10 under quarter turns: frozen {result["model"]}, {result["trained_on"]:,} upright images, no labels

Accuracy in % on {result["images"]:,} test images (JPEG copies, on which the network is some ten points below its published
accuracy). *small* is a separate CNN whose four scores cost {result["pose"]["small"]:.2f} passes of the classifier
({result["small_time"]:.2f} of its time for 100 images); *big* reads the frozen classifier's own feature maps, at
{result["pose"]["big"]:.2f} passes. The small one is taught by the big one. *Fine-tuned*: the classifier, then trained with
labels behind the small canonicalizer. Exactly the same number of images right at each turn, in every symmetrized row:
{"yes" if even else "**no**"}.

{grid(columns, rows)}

*passes*: multiply-adds for each image over those of the classifier, the pose included. Training, on one thread:

{grid(["", "epochs", "parameters", "minutes", "processor minutes"], steps)}

{how(result)}"""


def digits(result: dict[str, Any]) -> str:
    """MNIST at any angle."""
    frozen = [
        [
            f"`{row['name']}`" if "(" in row["name"] else row["name"],
            *(f"{row[name]:.2f}" for name in ("upright", "turned", "turned, 6 = 9")),
            f"{row['quarter turns']:.1e}",
            f"{row['milliseconds']:.2f}",
            f"{row['learning']:.0f}",
        ]
        for row in result["frozen"]
    ]
    columns = ["frame", "upright", "turned", "turned, 6 = 9", "quarter turns", "ms an image", "learning, s"]
    scratch = [
        [
            row["name"],
            f"{row['error']:.2f}",
            ", ".join(f"{each:.2f}" for each in row["errors"]),
            f"{sum(row['learning']):.0f}",
        ]
        for row in result["scratch"]
    ]
    best = min(result["scratch"], key=lambda row: row["error"])
    return f"""## MNIST at random angles

**LeNet-5, frozen.** Accuracy in % on {result["judged"]:,} digits, upright and turned by angles drawn from the whole circle.
The frames learned from {result["train"]:,} upright digits without labels. *6 = 9* counts a 6 taken for a 9 as right, and the
other way round: turned digits cannot tell. *quarter turns*: the largest change of the logits, relative, under quarter turns
of the input.

{grid(columns, frozen)}

**From scratch.** Error in % on the same digits, turned; all rows train the same network as long on {result["train"]:,} turned
digits with labels. The lowest is {best["error"]:.2f}, {best["name"]}. The frame of the last row is learned
before, in five passes of a small scorer over digits that were aligned within their classes. One run has a standard error
of about 0.3, and the group convolutions were not shown fresh turns.

{grid(["", "error", "by seed", "learning, s"], scratch)}

{how(result)}"""


def vessels(result: dict[str, Any]) -> str:
    """Segmentation of the retina."""
    rows = []
    for row in result["rows"]:
        low, high = min(row["dice"]), max(row["dice"])
        rows.append(
            [
                f"`{row['name']}`" if "(" in row["name"] else row["name"],
                f"{row['dice'][0]:.6f}",
                f"{low:.6f} to {high:.6f}",
                f"{max(row['differing']):,}",
                f"{row['largest']:.1e}",
                f"{row['passes']:g}",
                f"{row['time']:.2f}x",
            ]
        )
    columns = [
        "frame",
        "Dice upright",
        "Dice over the elements",
        "pixels that differ",
        "largest change",
        "passes",
        "time",
    ]
    return f"""## Vessels of the retina: a pretrained W-Net on {result["images"]} DRIVE images

Dice inside the field of view at every element of the group, the masks turned back; the pixels of the predicted masks that
differ from the upright ones, at the worst element, of {result["images"]} x {result["side"]} x {result["side"]}; and the
largest change of a probability.

{grid(columns, rows)}

{how(result)}"""


def cost(result: dict[str, Any]) -> str:
    """What a canonicalizer costs."""
    large = result["ratio_large"]
    rows = [
        [
            f"`{name}`" if "(" in name else name,
            spread(each),
            f"**{large[name]['median']:.4f}x**" if name in large else "",
            f"{result['milliseconds'][name]:.1f}",
        ]
        for name, each in result["ratio"].items()
    ]
    size = "x".join(map(str, result["size"]))
    return f"""## The cost of a pose at {size}

The canonicalization alone, the turned image at full size included, over the forward pass of a ResNet-18 and of a ViT-B/16
(random weights) on the same batch. Medians of {result["repeats"]} interleaved ratios, quartiles in brackets.

{grid(["", "time over ResNet-18", "time over ViT-B/16", "median, ms"], rows)}

{how(result)}"""
