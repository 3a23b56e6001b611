"""A frozen CIFAR-10 network under quarter turns behind learned canonicalizers, trained on upright images without labels."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from _bench import SEED, finish, start
from _energies import Big, Small, agreement_loss, answers, augmented, multiply_adds, teacher_loss
from _models import add_data_option, cifar10_test, cifar10_train, pretrained
from cifar10_c4 import measure, show
from torch import Tensor

from canonize import Best, C, Image, LogSumExp, Scalar, Symmetrized, Symmetry, adapt, symmetrize, task_loss

TURNS = Symmetry(C(4), Image(), Scalar())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_option(parser)
    parser.add_argument("--model", choices=("resnet20", "resnet32"), default="resnet20")
    parser.add_argument("--epochs", type=int, nargs=3, default=(10, 20, 2), metavar=("BIG", "SMALL", "TUNED"))
    parser.add_argument("--limit", type=int, help="so many training and test images, for a quick look")
    parser.add_argument("--checkpoints", type=Path, help="a folder from which a stopped run goes on")
    options = start(parser)
    model = pretrained(options.data, options.model)
    images, _ = chosen(cifar10_train(options.data), options.limit)
    test, names = chosen(cifar10_test(options.data), options.limit)
    steps: dict[str, dict[str, Any]] = {}

    big = symmetrize(model, TURNS, Best(seeded(lambda: Big(model))))
    begin = time.perf_counter(), time.process_time()
    agreeing = answers(model, images)
    train(big, images, agreeing, agreement_loss, 2e-3, options.epochs[0], "big", options, steps, begin)

    small = symmetrize(model, TURNS, Best(seeded(Small)))
    begin = time.perf_counter(), time.process_time()
    teacher = shares(big, images)
    train(small, images, teacher, teacher_loss, 4e-3, options.epochs[1], "small", options, steps, begin)

    tuned = symmetrize(pretrained(options.data, options.model).requires_grad_(True), TURNS, small.frame)
    tuned.frame.requires_grad_(False)
    images, labels = chosen(cifar10_train(options.data), options.limit)
    begin = time.perf_counter(), time.process_time()
    train(tuned, images, labels, task_loss, 1e-3, options.epochs[2], "tuned", options, steps, begin, model=True)

    models = {
        "plain": model,
        "Best(LogSumExp(model))": symmetrize(model, TURNS, Best(LogSumExp(model))),
        "Best(small)": small,
        "Best(big)": big,
        "Best(small), model fine-tuned": tuned,
    }
    with torch.inference_mode():
        rows = measure(models, model, test, names, 50)
    one = multiply_adds(model)
    pose = {name: 4 * multiply_adds(each.frame.energy) / one for name, each in (("small", small), ("big", big))}
    for row in rows:
        for name, cost in pose.items():
            if name in row["name"]:
                # Energies hold networks of their own: what they cost is counted in multiply-adds of the model.
                row["passes"] = 1 + cost
    show(options.model, len(test), rows)
    for name, each in steps.items():
        cost = f", the pose costs {pose[name]:.2f} passes of the model" if name in pose else ""
        print(
            f"{name}: {each['epochs']} epochs on {len(images)} images, {each['seconds'] / 60:.1f} min "
            f"({each['cpu_seconds'] / 60:.1f} of the processor){cost}"
        )
    timed = pose_time(model, small, test)
    print(f"small: poses of a batch of 100 take {timed:.2f} of the model's own time")
    finish(
        options,
        {
            "benchmark": "cifar10_learned",
            "model": options.model,
            "images": len(test),
            "trained_on": len(images),
            "rows": rows,
            "training": steps,
            "pose": pose,
            "small_time": timed,
        },
    )
    uneven = [row["name"] for row in rows[1:] if len(set(row["correct"])) > 1]
    if uneven:
        raise SystemExit(f"not the same accuracy at every turn: {', '.join(uneven)}")


def train(
    symmetrized: Symmetrized,
    images: Tensor,
    targets: Tensor,
    loss: Any,
    rate: float,
    epochs: int,
    name: str,
    options: argparse.Namespace,
    steps: dict[str, dict[str, Any]],
    begin: tuple[float, float],
    model: bool = False,
) -> None:
    """Train, and keep the record; `begin` is when the preparation began, which counts."""
    checkpoint = None
    if options.checkpoints is not None:
        checkpoint = options.checkpoints / f"{options.model}_{name}.pt"
    log = adapt(
        symmetrized,
        images,
        targets=targets,
        loss=loss,
        model=model,
        epochs=epochs,
        batch_size=128,
        rate=rate,
        decay=0.05,
        clip=2.0,
        precision=torch.bfloat16,
        augment=augmented,
        checkpoint=checkpoint,
        generator=torch.Generator().manual_seed(SEED),
    )
    # A run that went on from a checkpoint counts what it spent before.
    seconds = max(time.perf_counter() - begin[0], log.seconds)
    cpu = time.process_time() - begin[1]
    steps[name] = {
        "epochs": epochs,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "losses": log.losses,
        "parameters": log.parameters,
    }


def shares(symmetrized: Symmetrized, images: Tensor) -> Tensor:
    """(n, 4): softmax(-energies) over the turned copies of each image."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        parts = [symmetrized.frame.energies(TURNS, batch).neg().softmax(0).mT for batch in images.split(250)]
    return torch.cat(parts).float()


def pose_time(model: Any, small: Symmetrized, images: Tensor) -> float:
    """The time of the poses of 100 images over that of the model on them; median of ten pairs."""
    batch, ratios = images[:100], []
    with torch.inference_mode():
        for _ in range(10):
            begin = time.perf_counter()
            model(batch)
            middle = time.perf_counter()
            small.poses(batch)
            ratios.append((time.perf_counter() - middle) / (middle - begin))
    return sorted(ratios)[5]


def seeded(make: Any) -> Any:
    """What `make` returns, with initial weights drawn from the seed."""
    torch.manual_seed(SEED)
    return make()


def chosen(pair: tuple[Tensor, Tensor], limit: int | None) -> tuple[Tensor, Tensor]:
    """All images and labels, or `limit` of them chosen with the seed."""
    images, labels = pair
    if limit is None:
        return images, labels
    some = torch.randperm(len(images), generator=torch.Generator().manual_seed(SEED))[:limit]
    return images[some], labels[some]


if __name__ == "__main__":
    main()
