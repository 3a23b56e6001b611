"""What a frame costs over the bare network, and what the closest peer costs for the same job."""

from __future__ import annotations

import argparse
import importlib.util
import statistics
from typing import Any

import torch
import torch.nn.functional as F
from _bench import SEED, finish, interleaved, progress, ratio, start, table
from _models import add_data_option, pretrained
from torch import Tensor, nn

from canonize import Average, Best, C, Confidence, Image, Scalar, Symmetry, symmetrize

SIZES = ((64, 3, 32, 32), (16, 3, 224, 224))
LARGE = 64
BARE = "bare ResNet-20"
PEER = ("equiadapt", "kornia", "torchvision", "e2cnn", "omegaconf")


class Scorer(nn.Module):
    """A small network that is shown each candidate: three convolutions and a mean, (batch, 8)."""

    group_type = "rotation"
    out_vector_size = 8

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(32, self.out_vector_size, 3, 2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """A vector (batch, 8) for each image."""
        return self.layers(x).mean((2, 3))


class Alignment(nn.Module):
    """Minus the cosine between the scorer's vector and a fixed one: the energy that equiadapt's optimizing class has."""

    def __init__(self, scorer: nn.Module, reference: Tensor) -> None:
        super().__init__()
        self.scorer = scorer
        self.register_buffer("reference", reference)

    def forward(self, x: Tensor) -> Tensor:
        """(batch,), from -1 to 1."""
        return -F.cosine_similarity(self.reference, self.scorer(x))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_option(parser)
    parser.add_argument("--repeats", type=int, default=21, help="timings of each candidate (default: 21)")
    parser.add_argument("--peer", action="store_true", help="also time equiadapt, which has to be installed")
    options = start(parser)
    if options.peer and importlib.util.find_spec("equiadapt") is None:
        raise SystemExit("--peer needs equiadapt 0.1.2 in an environment of its own; see benchmarks/README.md")
    model = pretrained(options.data, "resnet20")
    rows = []
    with progress() as bar, torch.no_grad():
        task = bar.add_task("frames", total=len(SIZES) * options.repeats)
        for size in SIZES:
            rows.append(measure(model, size, options, lambda: bar.advance(task)))
    show(rows)
    finish(
        options, {"benchmark": "frame_overhead", "repeats": options.repeats, "rows": rows}, PEER if options.peer else ()
    )


def measure(model: nn.Module, size: tuple[int, ...], options: argparse.Namespace, tick: Any) -> dict[str, Any]:
    """Timings of the bare network and of the network behind each frame, and how far each is from invariant.

    For large images the canonicalization is timed alone: beside the network it would drown in the noise.
    """
    torch.manual_seed(SEED)
    scorer, reference, x = Scorer().eval(), torch.randn(1, Scorer.out_vector_size), torch.randn(size)
    energy, alone = Alignment(scorer, reference), size[-1] >= LARGE
    candidates: dict[str, Any] = {BARE: model}
    for n in (4, 8):
        best = symmetrize(model, Symmetry(C(n), Image(padding="border"), Scalar()), Best(energy, resolution=32))
        candidates[f"C({n}) Best(energy, resolution=32)"] = best.canonical if alone else best
        if options.peer:
            frames = peers(scorer, reference, n, size)
            candidates |= frames if alone else {name: nn.Sequential(frame, model) for name, frame in frames.items()}
    if not alone:
        claim = Symmetry(C(4), Image(), Scalar())
        candidates["C(4) Average()"] = symmetrize(model, claim, Average())
        candidates["C(4) Average(), chunk=4"] = symmetrize(model, claim, Average(), chunk=4)
        candidates["C(4) Best(Confidence(model))"] = symmetrize(model, claim, Best(Confidence(model)))
    errors = {name: quarter_error(each, x) for name, each in candidates.items()}
    times = interleaved(
        {name: lambda each=each: each(x) for name, each in candidates.items()}, repeats=options.repeats, tick=tick
    )
    return {
        "size": list(size),
        "alone": alone,
        "milliseconds": {name: 1000 * statistics.median(each) for name, each in times.items()},
        "ratio": {name: ratio(each, times[BARE]) for name, each in times.items()},
        "error": errors,
    }


def peers(scorer: nn.Module, reference: Tensor, n: int, size: tuple[int, ...]) -> dict[str, Any]:
    """Canonicalizers of equiadapt over C(n) in front of the network, with the scores taken at 32 x 32 as well.

    "scores copies" has the very scorer and reference of our energy; "custom network" is its group-convolutional network
    with the kernel, channels and layers of its classification example, shown 32 x 32 pixels with nothing cropped.
    """
    from equiadapt import (
        CustomEquivariantNetwork,
        GroupEquivariantImageCanonicalization,
        OptimizedGroupEquivariantImageCanonicalization,
    )
    from omegaconf import OmegaConf

    settings = OmegaConf.create(
        {
            "beta": 1.0,
            "input_crop_ratio": 1.0,
            "resize_shape": 32,
            "group_type": "rotation",
            "num_rotations": n,
            "artifact_err_wt": 0,
            "learn_ref_vec": False,
        }
    )
    shape = tuple(size[1:])
    scoring = OptimizedGroupEquivariantImageCanonicalization(scorer, settings, shape).eval()
    scoring.reference_vector = nn.Parameter(reference, requires_grad=False)
    network = CustomEquivariantNetwork((3, 32, 32), 32, 5, "rotation", n, 3, device="cpu")
    network.group_type, network.num_rotations = "rotation", n  # 0.1.2 asks for them and does not set them
    custom = GroupEquivariantImageCanonicalization(network, settings, shape).eval()
    return {
        f"C({n}) equiadapt, scores copies": scoring,
        f"C({n}) equiadapt, custom network": custom,
    }


def quarter_error(each: Any, x: Tensor) -> float:
    """The largest ||f(gx) - f(x)|| / ||f(x)|| over a batch and the three quarter turns, in float64."""
    upright = each(x).double()
    turned = [each(x.rot90(k, (-2, -1))).double() for k in (1, 2, 3)]
    lengths = upright.flatten(1).norm(dim=1)
    return float(torch.stack([(other - upright).flatten(1).norm(dim=1) / lengths for other in turned]).max())


def show(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        body = [
            [name, f"{each['median']:.3f}x", f"{row['milliseconds'][name]:.1f} ms", f"{row['error'][name]:.1e}"]
            for name, each in row["ratio"].items()
        ]
        kind = "the canonicalization alone" if row["alone"] else "the network behind a frame"
        table(
            f"{'x'.join(map(str, row['size']))}: {kind}", ["", "time over bare", "median", "error, quarter turns"], body
        )


if __name__ == "__main__":
    main()
