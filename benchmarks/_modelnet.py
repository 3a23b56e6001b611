"""What the benchmark of ModelNet10 reads and trains: the clouds, the pretrained PointNet, a network of poses, one loop."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from _data import data_option, file_in
from safetensors.torch import load_file
from torch import Tensor, nn

from canonize import PCA, SO, Octahedral, Point, Scalar, Symmetry

CLOUDS = "ModelNet10 (https://modelnet.cs.princeton.edu, for academic research) as 1,024 points a cloud, "
SOURCES = {
    "modelnet10_test_908.npz": CLOUDS + "centred, unit radius, z up: points float32 (908, 1024, 3), labels (908,)",
    "modelnet10_train_3991.npz": CLOUDS + "centred, unit radius, z up: points float16 (3991, 1024, 3), labels (3991,)",
    "pointnet_vanilla_trained_here.safetensors": "a PointNet without transformer nets, trained on upright clouds: see PointNet",
}
TURNS = Symmetry(SO(3), Point(), Scalar())
WIDTHS = (3, 64, 64, 128, 256)
Draw = Callable[[Tensor, torch.Generator], Tensor]


class PointNet(nn.Module):
    """Four shared linear layers, the maximum over points, two more: 79,946 parameters; after arXiv 1612.00593."""

    def __init__(self) -> None:
        super().__init__()
        parts = [(nn.Linear(old, new), nn.ReLU()) for old, new in itertools.pairwise(WIDTHS)]
        self.point = nn.Sequential(*itertools.chain(*parts))
        self.head = nn.Sequential(nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, 10) of clouds (batch, n, 3)."""
        return self.head(self.point(x).amax(1))


class Upright(nn.Module):
    """Where two axes of an upright cloud point: vectors (batch, 2, 3), z and x, of clouds (batch, n, 3).

    A PointNet gives each of the 24 turns of a cube a probability, that it makes upright what stands in some principal pose.
    The answer is the mean of what the turns do to z and x, so that a cloud between two turns comes out between them.
    """

    def __init__(self) -> None:
        super().__init__()
        parts = [
            (nn.Linear(old, new, bias=False), nn.BatchNorm1d(new), nn.ReLU()) for old, new in itertools.pairwise(WIDTHS)
        ]
        self.point = nn.Sequential(*itertools.chain(*parts))
        self.head = nn.Sequential(
            nn.Linear(256, 256, bias=False), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, 24)
        )
        self.register_buffer("turns", Octahedral().elements(dtype=torch.float32))

    def logits(self, x: Tensor) -> Tensor:
        """(batch, 24)."""
        return self.head(self.point(x.flatten(0, 1)).unflatten(0, x.shape[:2]).amax(1))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 2, 3), z first."""
        mean = torch.einsum("bk,kij->bij", self.logits(x).softmax(-1), self.turns)
        return torch.stack([mean[..., 2], mean[..., 0]], 1)

    def wanted(self, poses: Tensor) -> Tensor:
        """Probabilities (batch, 24) to learn: how near each turn brings upright clouds that are seen from these poses."""
        return (3 * torch.einsum("bij,kji->bk", poses, self.turns)).softmax(-1)


class Rolled(nn.Module):
    """A network shown its axes in the order in which `Learned` makes them: z, x, y."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """What the network says of clouds (batch, n, 3)."""
        return self.network(x.roll(-1, -1))


class Clouds(NamedTuple):
    """Points (n, 1024, 3) and classes (n,)."""

    points: Tensor
    labels: Tensor


def clouds(data: Path, part: str) -> Clouds:
    """The clouds of "train" or "test", float32."""
    name = {"train": "modelnet10_train_3991.npz", "test": "modelnet10_test_908.npz"}[part]
    with np.load(needed(data, name)) as arrays:
        return Clouds(torch.from_numpy(arrays["points"]).float(), torch.from_numpy(arrays["labels"]).long())


def pretrained(data: Path) -> PointNet:
    """The PointNet that was trained on upright clouds, in evaluation mode, its parameters frozen."""
    model = PointNet()
    model.load_state_dict(load_file(needed(data, "pointnet_vanilla_trained_here.safetensors")))
    return model.eval().requires_grad_(False)


def principal(points: Tensor) -> Tensor:
    """One principal pose of each cloud, (n, 3, 3)."""
    frame = PCA("ruled", fallback=None)
    return torch.cat([frame(TURNS, some).elements[0] for some in points.split(200)])


@torch.no_grad()
def seen(frame: Any, points: Tensor) -> Tensor:
    """The clouds as seen from the pose of the largest weight that a frame gives them."""
    parts = []
    for some in points.split(16):
        poses = frame(TURNS, some)
        best = poses.weights.argmax(0)
        parts.append(some @ poses.elements[best, torch.arange(len(some))])
    return torch.cat(parts)


def signs(points: Tensor, generator: torch.Generator) -> Tensor:
    """Clouds under half turns about their axes, or none, at random."""
    table = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    return points * table[torch.randint(4, (len(points),), generator=generator)][:, None]


def anyhow(points: Tensor, generator: torch.Generator) -> Tensor:
    """Clouds turned at random."""
    return points @ SO(3).sample((len(points),), generator=generator).mT


def fit(
    model: nn.Module,
    score: Callable[[Tensor], Tensor],
    make: Callable[[], Tensor],
    targets: Tensor,
    *,
    epochs: int,
    rate: float,
    seed: int,
    draw: Draw | None = None,
    count: int = 256,
    size: int = 32,
    checkpoint: Path | None = None,
    tick: Callable[[], None] | None = None,
) -> dict[str, float]:
    """Adam with one cycle and cross-entropy, in mixed precision, on `count` random points a step: the same for every row.

    Args:
        score: logits of clouds; of the `model`, whose parameters are trained.
        make: the clouds, asked for where there is something left to do.
        targets: classes, or probabilities.
        draw: what is done to the clouds of a step.
        checkpoint: a file from which a stopped run goes on, epoch by epoch.
        tick: called after each epoch.

    Returns:
        Seconds, and seconds of the processor.
    """
    generator = torch.Generator().manual_seed(seed)
    steps = len(targets) // size
    model.requires_grad_(True).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * steps)
    about = [epochs, rate, seed, count, size, len(targets), getattr(draw, "__name__", "")]
    done, wall, cpu, parts = 0, 0.0, 0.0, (model, optimizer, schedule)
    if checkpoint is not None and checkpoint.is_file():
        state = torch.load(checkpoint)
        if state["about"] != about:
            raise SystemExit(f"{checkpoint} is of another run: {state['about']}, not {about}")
        for part, known in zip(parts, state["parts"], strict=True):
            part.load_state_dict(known)
        generator.set_state(state["generator"])
        torch.set_rng_state(state["dropout"])
        done, wall, cpu = state["done"], state["wall"], state["cpu"]
    else:
        torch.manual_seed(seed)
    points = make() if done < epochs else torch.empty(0)
    for epoch in range(done, epochs):
        begin = time.perf_counter(), time.process_time()
        for some in torch.randperm(len(targets), generator=generator)[: steps * size].split(size):
            x = points[some][:, torch.randperm(points.shape[1], generator=generator)[:count]]
            x = x if draw is None else draw(x, generator)
            x = x * (0.85 + 0.3 * torch.rand(len(x), 1, 1, generator=generator))
            x = x + 0.005 * torch.randn(x.shape, generator=generator)
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(score(x), targets[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        wall, cpu = wall + time.perf_counter() - begin[0], cpu + time.process_time() - begin[1]
        if checkpoint is not None:
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            state = {"about": about, "parts": [part.state_dict() for part in parts], "done": epoch + 1, "wall": wall}
            state |= {"cpu": cpu, "generator": generator.get_state(), "dropout": torch.get_rng_state()}
            torch.save(state, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
        if tick:
            tick()
    model.eval().requires_grad_(False)
    return {"seconds": wall, "cpu_seconds": cpu}


def needed(data: Path, name: str) -> Path:
    """The path of a file of the folder `modelnet10`; ends the program where it is missing and says where to get it."""
    return file_in(data, "modelnet10", name, SOURCES)


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """The option --data PATH: the folder that holds `modelnet10`."""
    data_option(parser, "modelnet10")
