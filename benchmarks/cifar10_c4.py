"""A pretrained CIFAR-10 network under quarter turns: as it is, and behind the frames that need no training."""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from _bench import SEED, finish, progress, start, table
from _models import add_data_option, cifar10_test, pretrained
from torch import Tensor, nn

from canonize import Average, Best, C, Confidence, Image, LogSumExp, Scalar, Symmetry, symmetrize

TURNS = (0, 90, 180, 270)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_option(parser)
    parser.add_argument("--model", choices=("resnet20", "resnet32"), default="resnet20")
    parser.add_argument("--limit", type=int, metavar="N", help="N of the images, chosen with a fixed seed")
    parser.add_argument("--batch", type=int, default=50, help="images a batch (default: 50)")
    options = start(parser)
    model = pretrained(options.data, options.model)
    images, labels = cifar10_test(options.data)
    if options.limit:
        chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(SEED))[: options.limit]
        images, labels = images[chosen], labels[chosen]
    turns = Symmetry(C(4), Image(), Scalar())
    models = {
        "plain": model,
        "Average()": symmetrize(model, turns, Average()),
        "Best(Confidence(model))": symmetrize(model, turns, Best(Confidence(model))),
        "Best(LogSumExp(model))": symmetrize(model, turns, Best(LogSumExp(model))),
    }
    with torch.inference_mode():
        rows = measure(models, model, images, labels, options.batch)
    show(options.model, len(images), rows)
    finish(
        options,
        {
            "benchmark": "cifar10_c4",
            "model": options.model,
            "images": len(images),
            "batch": options.batch,
            "rows": rows,
        },
    )
    uneven = [row["name"] for row in rows[1:] if len(set(row["correct"])) > 1]
    if uneven:
        raise SystemExit(f"not the same accuracy at every turn: {', '.join(uneven)}")


def measure(
    models: dict[str, Any], plain: nn.Module, images: Tensor, labels: Tensor, size: int
) -> list[dict[str, Any]]:
    """Accuracy at each turn, the distance of the logits from those at 0 degrees, the cost; a row for each model.

    The models take turns batch by batch, so that all of them are timed under the same conditions. The last pass, which is
    not timed, shows every image at a turn of its own, and in another order, so in other batches.
    """
    generator = torch.Generator().manual_seed(SEED)
    order = torch.randperm(len(images), generator=generator)
    own = torch.randint(len(TURNS), (len(images),), generator=generator).tolist()
    mixed = torch.stack([images[i].rot90(k, (-2, -1)) for i, k in zip(order.tolist(), own, strict=True)])
    passes = [images.rot90(k, (-2, -1)) for k in range(len(TURNS))] + [mixed]
    logits: dict[str, list[list[Tensor]]] = {name: [[] for _ in passes] for name in models}
    seconds, seen = dict.fromkeys(models, 0.0), dict.fromkeys(models, 0)
    current = ""

    def count(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        seen[current] += len(args[0])

    with progress() as bar, plain.register_forward_pre_hook(count):
        task = bar.add_task("batches", total=len(passes) * -(-len(images) // size))
        for number, shown in enumerate(passes):
            for batch in shown.split(size):
                for current, model in models.items():
                    begin = time.perf_counter()
                    logits[current][number].append(model(batch))
                    seconds[current] += (time.perf_counter() - begin) * (number < len(TURNS))
                bar.advance(task)
    return [
        row(name, [torch.cat(parts) for parts in logits[name]], labels, order)
        | {"passes": seen[name] / (len(passes) * len(images)), "seconds": seconds[name]}
        for name in models
    ]


def row(name: str, logits: list[Tensor], labels: Tensor, order: Tensor) -> dict[str, Any]:
    """What the logits of one model say; the last ones are those of the mixed pass."""
    upright, *turned, mixed = logits
    correct = [int((found.argmax(1) == labels).sum()) for found in (upright, *turned)]
    accuracy = [100 * number / len(labels) for number in correct]
    return {
        "name": name,
        "correct": correct,
        "accuracy": accuracy,
        "mean": sum(accuracy) / len(accuracy),
        "worst": min(accuracy),
        "error": max(_error(found, upright) for found in turned),
        "error_mixed": _error(mixed, upright[order]),
    }


def show(name: str, images: int, rows: list[dict[str, Any]]) -> None:
    turns = [f"{turn}°" for turn in TURNS]
    columns = [name, *turns, "mean", "worst", "error", "error, mixed", "passes", "time", "seconds"]
    cells = [
        [
            row["name"],
            *(f"{value:.2f}" for value in (*row["accuracy"], row["mean"], row["worst"])),
            *(f"{row[key]:.1e}" for key in ("error", "error_mixed")),
            f"{row['passes']:.3g}",
            f"{row['seconds'] / rows[0]['seconds']:.2f}x",
            f"{row['seconds']:.0f}",
        ]
        for row in rows
    ]
    table(f"Accuracy in % on {images} test images", columns, cells)


def _error(turned: Tensor, upright: Tensor) -> float:
    """The largest ||f(gx) - f(x)|| / ||f(x)||, in float64; not-a-number stays not-a-number."""
    turned, upright = turned.double(), upright.double()
    return float(((turned - upright).norm(dim=1) / upright.norm(dim=1)).max())


if __name__ == "__main__":
    main()
