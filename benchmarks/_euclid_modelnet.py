"""The part of the page of Euclidean benchmarks that comes from the JSON of modelnet10.py."""

from __future__ import annotations

from typing import Any

from _page import grid, how

TARGET = 80.0


def modelnet(result: dict[str, Any]) -> str:
    """ModelNet10 in any pose."""
    rows = [
        [
            f"`{row['name']}`" if "(" in row["name"] and "," not in row["name"] else row["name"],
            *(f"{value:.2f}" for value in row["accuracy"]),
            ", ".join(f"{value:.1f}" for value in row["by_seed"]) if len(row.get("by_seed", [])) > 1 else "",
            f"{row['identical']:.2f}",
            f"{row['calls']:.1f}",
            str(row["clouds"]),
            f"{row['seconds']:.0f} ({row['cpu_seconds']:.0f})" if "seconds" in row else "",
        ]
        for row in result["rows"]
    ]
    columns = ["", "upright", "about z", "any turn", "by seed", "identical", "calls", "clouds", "training, s"]
    met = [row["name"] for row in result["rows"] if row["accuracy"][2] >= TARGET and row["identical"] == 100]
    almost = [row["name"] for row in result["rows"] if row["accuracy"][2] >= TARGET and row["identical"] < 100]
    pose = result["training"]["network of poses"]
    few = min(row["clouds"] for row in result["rows"])
    some = (
        f" (of the search, which is slow, on {few} of them, and its energy sees every fourth point)"
        if few < result["clouds"]
        else ""
    )
    return f"""## ModelNet10 in any pose: a PointNet that was trained on upright clouds

Accuracy in % on {result["clouds"]} test clouds of 1,024 points{some}:
upright, turned at random about the vertical axis, and
turned at random in space (the mean over {result["rotations"]} turns of each cloud). *Identical*: the share of clouds, in %,
whose class is the same at all {result["rotations"]} turns, in float32. *Calls*: of the PointNet for each cloud; the network of
poses, half as large again, is called once more where there is one. *Training*: seconds for one run, in brackets those of
the processor. 80 % at any turn, and the same class at each: {", ".join(met) if met else "**no row**"}.{_almost(almost)}

{grid(columns, rows)}

`Learned(network)` is trained on {result["trained_on"]:,} upright clouds without their classes, {result["pose_epochs"]} epochs,
{pose["seconds"]:.0f} s ({pose["cpu_seconds"]:.0f} s of the processor): seen from its principal axes, how does a cloud stand?
Behind `PCA("ruled", fallback=None)` the answer turns with the cloud. All fine-tuned rows start from the same weights:
{result["epochs"]} epochs behind learned poses, {result["epochs"] + result["pose_epochs"]} where no poses are learned, of 256
random points a cloud and step, Adam with one cycle, in mixed precision. The poses of the training set are computed once,
before that. The frames have one pose also near ties of axes and signs, because that is what the networks see in training:
identical answers are then counted, not promised, and continuity is given up.

{how(result)}"""


def _almost(names: list[str]) -> str:
    """Rows that are accurate enough and give some cloud two classes."""
    return f" Accurate enough, but not identical for every cloud: {', '.join(names)}." if names else ""
