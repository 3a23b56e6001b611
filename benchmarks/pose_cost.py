"""What a learned canonicalizer costs at 224 x 224 pixels, beside a ResNet-18."""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import torch
from _bench import SEED, finish, interleaved, progress, ratio, start, table
from _models import ResNet18
from torch import nn

from canonize import Best, C, D, Image, Scalar, Scored, Symmetry, symmetrize
from canonize.nn import GroupCNN, Scorer

SIZE = (16, 3, 224, 224)
BARE = "bare ResNet-18"


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
    candidates: dict[str, nn.Module] = {BARE: model}
    for name, (group, frame) in frames.items():
        # Timed alone: what stands before the model, the turned image at full size included.
        mended = symmetrize(model, Symmetry(group, Image(padding="border"), Scalar()), frame).eval()
        candidates[name] = mended.canonical
    with progress() as bar, torch.no_grad():
        task = bar.add_task("canonicalizers", total=options.repeats)
        calls = {name: lambda each=each: each(x) for name, each in candidates.items()}
        times = interleaved(calls, repeats=options.repeats, tick=lambda: bar.advance(task))
    ratios = {name: ratio(each, times[BARE]) for name, each in times.items()}
    milliseconds = {name: 1000 * statistics.median(each) for name, each in times.items()}
    body = [[name, f"{each['median']:.3f}x", f"{milliseconds[name]:.1f} ms"] for name, each in ratios.items()]
    table(f"{'x'.join(map(str, SIZE))}: the canonicalization alone", ["", "time over bare", "median"], body)
    result = {"benchmark": "pose_cost", "size": SIZE, "repeats": options.repeats}
    finish(options, result | {"milliseconds": milliseconds, "ratio": ratios})


if __name__ == "__main__":
    main()
