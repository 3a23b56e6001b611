"""The demonstration: a real model on real scans loses its accuracy when they are turned, and gets it back with one line."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from canonize.actions import Image, Scalar
from canonize.adapt import adapt
from canonize.audit import Audit, accuracy, audit
from canonize.errors import refuse
from canonize.frames import Best
from canonize.groups import C
from canonize.nn import Scorer
from canonize.symmetrize import symmetrize
from canonize.symmetry import Symmetry

Step = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Demo:
    """What the demonstration found: its audits in the order of the story, and the seconds that each step took."""

    audits: tuple[Audit, ...]
    seconds: dict[str, float]


def run(*, seed: int = 0, step: Step | None = None) -> Demo:
    """Train on upright digits, audit under the rotations of the plane, symmetrize, audit again.

    Args:
        seed: of every draw.
        step: called with (what, done, total) as work goes on.

    Raises:
        SymmetryError: scikit-learn, which brings the scans, is not installed.
    """
    tell: Step = step if step is not None else lambda *_: None
    clock: dict[str, float] = {}
    generator = torch.Generator().manual_seed(seed)
    images, labels = digits(generator)
    train, test = slice(0, 1297), slice(1297, None)

    start = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        # Layers draw their first weights from the global generator: lend it to them and put it back.
        torch.manual_seed(seed)
        model, energy = network(), Scorer(1, width=8, depth=2, disk=True)
    clean, names = images[train], labels[train]
    fit(
        model,
        lambda some: F.cross_entropy(model(clean[some]), names[some]),
        len(clean),
        generator,
        epochs=12,
        tell=lambda done, total: tell("training a classifier on upright scans", done, total),
    )
    clock["training the classifier"] = time.perf_counter() - start

    start = time.perf_counter()
    eight = Symmetry(C(8), inputs=Image(), outputs=Scalar())
    four = Symmetry(C(4), inputs=Image(), outputs=Scalar())
    # The frame learns how the scans stand: neither their labels nor the classifier are used.
    finer = symmetrize(model, eight, Best(energy))
    adapt(
        finer,
        clean,
        epochs=10,
        rate=1e-2,
        generator=generator,
        progress=lambda done, total: tell("training a score of uprightness, without labels", done, total),
    )
    clock["training the score"] = time.perf_counter() - start

    plans: list[tuple[str, Any, Symmetry]] = [
        ("the plain model, 8 turns", model, eight),
        ("symmetrized: Average, C(4)", symmetrize(model, four), four),
        ("symmetrized: Best, C(4)", symmetrize(model, four, Best(energy)).eval(), four),
        ("symmetrized: Best, C(8)", finer, eight),
    ]
    audits = []
    for name, audited, claim in plans:
        start = time.perf_counter()
        audits.append(
            audit(
                audited,
                claim,
                images[test],
                targets=labels[test],
                metric=accuracy,
                batch_size=125,
                generator=torch.Generator().manual_seed(seed),
                progress=lambda done, total, name=name: tell(f"auditing {name}", done, total),  # type: ignore[misc]  # binds the name
                name=name,
            )
        )
        clock[f"auditing {name}"] = time.perf_counter() - start
    return Demo(tuple(audits), clock)


def digits(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The 1,797 handwritten digits of scikit-learn, (1797, 1, 12, 12) in [0, 1] with a margin of 2, shuffled; and labels."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise refuse(
            "the demonstration needs scikit-learn, which brings the scans",
            got="it is not installed",
            expected="scikit-learn",
            fix="pip install 'canonize[demo]'",
        ) from None
    bunch = load_digits()
    order = torch.randperm(len(bunch.target), generator=generator)
    images = torch.as_tensor(bunch.images, dtype=torch.float32)[:, None] / 16
    return F.pad(images, (2, 2, 2, 2))[order], torch.as_tensor(bunch.target, dtype=torch.int64)[order]


def network() -> nn.Sequential:
    """A small ordinary CNN: nothing in it knows of rotations."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(288, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def fit(
    network: nn.Module,
    loss: Callable[[Tensor], Tensor],
    count: int,
    generator: torch.Generator,
    *,
    epochs: int,
    tell: Callable[[int, int], None],
) -> None:
    """AdamW with one cycle of the learning rate, batches of 64; leaves the network in eval mode."""
    batches = -(-count // 64)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=epochs * batches)
    network.train()
    for epoch in range(epochs):
        order = torch.randperm(count, generator=generator)
        for some in (order[start : start + 64] for start in range(0, count, 64)):
            optimizer.zero_grad()
            torch.autograd.backward(loss(some))
            optimizer.step()
            schedule.step()
        tell(epoch + 1, epochs)
    network.eval()


def story(found: Demo) -> str:
    """The result in a few sentences, every number from the audits."""
    plain, average, best, finer = found.audits
    assert plain.metric is not None
    assert average.metric is not None
    assert best.metric is not None
    assert finer.metric is not None
    return (
        f"The plain model reads {plain.metric.upright:.1%} of the upright scans, "
        f"{plain.metric.mean:.1%} over the eight turns, and {plain.metric.worst_element:.1%} at {plain.metric.worst_label}.\n"
        f"Averaged over C(4) it gives one answer at every quarter turn (largest error {average.error.max:.1g}), "
        f"and reads {average.metric.mean:.1%}: exact, but most of what it averages was never seen in training.\n"
        f"Behind Best over C(4) it reads {best.metric.mean:.1%} at every quarter turn (largest error {best.error.max:.1g}); "
        f"over C(8), where pixels are resampled, {finer.metric.mean:.1%}."
    )
