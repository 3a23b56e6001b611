"""What a learned canonicalizer costs at 224 x 224 pixels, beside a ResNet-18 and a ViT-B/16."""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import torch
from _bench import SEED, finish, interleaved, progress, ratio, start, table
from _models import ResNet18
from transformers import ViTConfig, ViTModel

from canonize import Best, C, D, Image, Scalar, Scored, Symmetry, symmetrize
from canonize.nn import GroupCNN, Scorer

SIZE = (16, 3, 224, 224)
BARE = "bare ResNet-18"
LARGE = "bare ViT-B/16"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15, help="timings of each candidate (default: 15)")
    options = start(parser)
    torch.manual_seed(SEED)
    model, x = ResNet18().eval(), torch.randn(SIZE)
    frames: dict[str, Any] = {
        "C(4), Best(Scorer(3), resolution=32)": (C(4), Best(Scorer(3), resolution=32)),
        "C(8), Best(Scorer(3, disk=True), resolution=32)": (C(8), Best(Scorer(3, disk=True), resolution=32)),
        "D(8), Best(Scorer(3, disk=True), resolution=32)": (D(8), Best(Scorer(3, disk=True), resolution=32)),
        "C(8), Scored(GroupCNN(C(8), 3), resolution=32)": (C(8), Scored(GroupCNN(C(8), 3), resolution=32)),
    }
    # One with random weights takes as long as a trained one.
    candidates: dict[str, Any] = {BARE: model, LARGE: ViTModel(ViTConfig()).eval()}
    for name, (group, frame) in frames.items():
        # Timed alone: what stands before the model, the turned image at full size included.
        mended = symmetrize(model, Symmetry(group, Image(padding="border"), Scalar()), frame).eval()
        candidates[name] = mended.canonical
    with progress() as bar, torch.no_grad():
        task = bar.add_task("canonicalizers", total=options.repeats)
        calls = {name: lambda each=each: each(x) for name, each in candidates.items()}
        times = interleaved(calls, repeats=options.repeats, tick=lambda: bar.advance(task))
    ratios = {name: ratio(each, times[BARE]) for name, each in times.items()}
    of_large = {name: ratio(each, times[LARGE]) for name, each in times.items() if name != BARE}
    milliseconds = {name: 1000 * statistics.median(each) for name, each in times.items()}
    body = [
        [
            name,
            f"{each['median']:.3f}x",
            f"{of_large[name]['median']:.4f}x" if name in of_large else "",
            f"{milliseconds[name]:.1f} ms",
        ]
        for name, each in ratios.items()
    ]
    columns = ["", "time over ResNet-18", "time over ViT-B/16", "median"]
    table(f"{'x'.join(map(str, SIZE))}: the canonicalization alone", columns, body)
    result = {"benchmark": "pose_cost", "size": SIZE, "repeats": options.repeats}
    finish(
        options, result | {"milliseconds": milliseconds, "ratio": ratios, "ratio_large": of_large}, ("transformers",)
    )


if __name__ == "__main__":
    main()
