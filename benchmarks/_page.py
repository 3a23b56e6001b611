"""Writes the pages in docs/benchmarks from the JSON of real runs beside them, so that no figure is typed by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"
HEAD = """# Core benchmarks

Every figure below was written here by `python benchmarks/_page.py` from the JSON files beside this page, which are the
output of the commands shown. [benchmarks/README.md](../../benchmarks/README.md) says what each script measures.
"""


def main() -> None:
    for name, text in pages().items():
        page = HERE / name
        if "--check" in sys.argv[1:]:
            if page.read_text() != text:
                raise SystemExit(f"docs/benchmarks/{name} does not follow from its JSON")
        else:
            page.write_text(text)


def pages() -> dict[str, str]:
    """The text of each page, and of each drawing in one."""
    # These files take their tables from here.
    import _euclid
    import _euclid_modelnet
    import _euclid_runs
    import _graphs
    import _learned
    import _scale
    import _sets
    import _speed

    core = [HEAD, *(accuracy(load(f"cifar10_c4_{model}")) for model in ("resnet20", "resnet32"))]
    core += [turns(load("lossless_turns")), overhead(load("frame_overhead"))]
    runs = sorted(path.stem for path in HERE.glob("cifar10_learned_*.json"))
    learned = [_learned.HEAD, *(_learned.cifar(load(name)) for name in runs), _learned.digits(load("mnist_turned"))]
    learned += [_learned.vessels(load("drive_masks")), _learned.cost(load("pose_cost"))]
    scaling = load("euclid_scaling")
    euclid = [_euclid.HEAD, _euclid.exactness(load("euclid_exactness")), _euclid.poses(load("euclid_poses"))]
    euclid += [_euclid.speed(load("euclid_speed")), _euclid.big(load("euclid_big"))]
    euclid += [_euclid.overhead(load("euclid_overhead")), _euclid.scaling(scaling)]
    euclid += [_euclid_runs.nbody(load("nbody")), _euclid_modelnet.modelnet(load("modelnet10"))]
    euclid += [_euclid_runs.nve(load("nve"))]
    return {
        "core.md": "\n".join(core),
        "learning.md": "\n".join(learned),
        "euclid.md": "\n".join(euclid),
        "graphs.md": _graphs.page(),
        "speed.md": "\n".join([_speed.HEAD, _speed.operations(load("operations")), _speed.peers(load("peers"))]),
        "sets.md": _sets.sets(load("set_orders")),
        "scale.md": _scale.page(),
        "euclid_scaling.svg": _euclid.drawing(scaling),
    }


def accuracy(result: dict[str, Any]) -> str:
    """Accuracy under quarter turns."""
    plain, *symmetrized = result["rows"]
    rows = [
        [
            f"`{row['name']}`" if "(" in row["name"] else row["name"],
            *(f"{value:.2f}" for value in (*row["accuracy"], row["mean"], row["worst"])),
            f"{row['error']:.1e}",
            f"{row['error_mixed']:.1e}",
            f"{row['passes']:g}",
            f"{row['seconds'] / plain['seconds']:.2f}x",
            f"{row['seconds']:.0f}",
        ]
        for row in result["rows"]
    ]
    columns = ["frame", "0°", "90°", "180°", "270°", "mean", "worst", "error", "error, mixed", "passes", "time", "s"]
    best = max(symmetrized, key=lambda row: row["worst"])
    even = all(len(set(row["correct"])) == 1 for row in symmetrized)
    return f"""## CIFAR-10 under quarter turns: pretrained {result["model"]}, no training

Accuracy in % on {result["images"]} test images, JPEG copies on which the network is about ten points below its published
accuracy, in batches of {result["batch"]}. At the worst turn: {plain["worst"]:.2f} plain, {best["worst"]:.2f} with
`{best["name"]}`. Upright: {plain["accuracy"][0]:.2f} plain, {best["accuracy"][0]:.2f} with it, which is what
invariance costs here. Every symmetrized row has exactly the same number of images right at each of the four turns:
{"yes" if even else "**no**"}.

{grid(columns, rows)}

*error*: the largest ‖f(gx) - f(x)‖ / ‖f(x)‖ over images and turns, taken in float64. *mixed*: every image at a turn
of its own, in another order. *passes*: samples that the network saw, per image and turn. *time*: seconds over
those of the plain row.

{how(result)}"""


def turns(result: dict[str, Any]) -> str:
    """Speed of the lossless turn."""
    names = list(result["rows"][0]["ratio"])
    rows = [
        [
            f"`{row['group']}`",
            "x".join(map(str, row["size"])),
            *(spread(row["ratio"][name]) for name in names[1:]),
            *(f"{row['milliseconds'][name]:.2f}" for name in names),
        ]
        for row in result["rows"]
    ]
    columns = ["group", "batch", *names[1:], *(f"{name}, ms" for name in names)]
    pairs = [(row, name) for row in result["rows"] for name in names[1:4]]
    slower = sum(row["ratio"][name]["median"] < 1 for row, name in pairs)
    return f"""## The lossless turn: one element for each image of a batch

Time of each rival over the time of `Image()`: above 1 `Image()` is faster. All give bit-identical results, which each run
checks first. In {slower} of {len(pairs)} comparisons with another way to turn (a copy turns nothing) `Image()` is the slower
one. The rivals are told which element each image has; `Image()` finds out from the matrices. Median of
{result["repeats"]} interleaved ratios, quartiles in brackets; then medians in milliseconds.

{grid(columns, rows)}

{how(result)}"""


def overhead(result: dict[str, Any]) -> str:
    """Cost of a frame."""
    parts = []
    for row in result["rows"]:
        rows = [
            [name, spread(ratio), f"{row['milliseconds'][name]:.1f}", f"{row['error'][name]:.1e}"]
            for name, ratio in row["ratio"].items()
        ]
        columns = ["model", "time over bare", "median, ms", "error, quarter turns"]
        kind = "the canonicalization alone, over the bare network" if row["alone"] else "the network behind a frame"
        parts.append(f"### {'x'.join(map(str, row['size']))}: {kind}\n\n{grid(columns, rows)}")
    tables = "\n\n".join(parts)
    return f"""## The cost of a frame in front of ResNet-20

`energy` is a scorer of three convolutions. *scores copies* is equiadapt's optimizing canonicalizer with the same scorer, the
same weights and the same 32 x 32 pixels (of larger images, where each library shrinks in its own way); *custom network* is
its group-convolutional canonicalizer. The error is the largest relative change of the result (the logits, or the canonical
image) under quarter turns of random images, in float64. Median of {result["repeats"]} interleaved ratios, quartiles in
brackets.

{tables}

{how(result)}"""


def spread(ratio: dict[str, float]) -> str:
    """A ratio with its quartiles."""
    digits = 2 if ratio["median"] >= 0.1 else 3
    low, median, high = (f"{ratio[name]:.{digits}f}" for name in ("low", "median", "high"))
    return f"**{median}x** ({low} to {high})"


def how(result: dict[str, Any]) -> str:
    """The command and the machine."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    parts = [f"`{result['command']}`", f"{machine['processor']}, {machine['cores']} cores, {threads}", versions]
    return " · ".join([*parts, f"seed {result['seed']}"]) + "\n"


def grid(columns: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def load(name: str) -> dict[str, Any]:
    """The JSON of a run."""
    result: dict[str, Any] = json.loads((HERE / f"{name}.json").read_text())
    return result


if __name__ == "__main__":
    main()
