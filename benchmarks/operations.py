"""What frames cost in operations, which no clock and no other work on the machine can change; a test holds them to it."""

from __future__ import annotations

import argparse
import weakref
from collections.abc import Callable
from typing import Any

import torch
from _bench import SEED, finish, progress, start, table
from _models import ResNet18
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.weak import WeakIdKeyDictionary

from canonize import (
    PCA,
    SE,
    Average,
    Best,
    C,
    D,
    E,
    Flipped,
    Flips,
    Image,
    Learned,
    Nodes,
    Oriented,
    Point,
    S,
    Scalar,
    Scored,
    SignRule,
    Sorted,
    Symmetry,
    Weighted,
    WeightedOrder,
    symmetrize,
)
from canonize.groups import SO
from canonize.nn import GroupCNN, Scorer, Steerable, VectorNeurons

BATCHES = (16, 64)
"""Two sizes of a batch: what does not grow in proportion shows between them."""


class Counted(TorchDispatchMode):
    """Counts the operations of torch, and adds up the memory that lives."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.live = self.peak = 0
        self._seen = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One operation."""
        self.operations += 1
        result = func(*args, **(kwargs or {}))
        for part in result if isinstance(result, tuple | list) else (result,):
            if isinstance(part, Tensor) and part.untyped_storage() not in self._seen:
                size = part.untyped_storage().nbytes()
                self._seen[part.untyped_storage()] = size
                self._add(size)
                weakref.finalize(part.untyped_storage(), self._add, -size)
        return result

    def _add(self, size: int) -> None:
        self.live += size
        self.peak = max(self.peak, self.live)


def images(batch: int) -> Tensor:
    """Smooth random images (batch, 3, 64, 64)."""
    source = torch.Generator().manual_seed(SEED)
    return torch.nn.functional.interpolate(torch.rand(batch, 3, 8, 8, generator=source), size=64, mode="bicubic")


def molecules(batch: int) -> Tensor:
    """Clouds of 20 points, (batch, 20, 3), none of them near a tie of axes."""
    source = torch.Generator().manual_seed(SEED)
    return torch.randn(batch, 20, 3, generator=source) * torch.tensor([3.0, 2.0, 1.0]) + torch.rand(3, generator=source)


def frames() -> dict[str, tuple[Symmetry, Any, Callable[[int], Tensor]]]:
    """Each frame by name, with its claim and what makes its inputs."""

    def seed() -> torch.Generator:
        return torch.Generator().manual_seed(SEED)

    turns, eight, mirrored, plane = (Symmetry(group, Image(), Scalar()) for group in (C(4), C(8), D(4), SO(2)))
    rigid, mirrors = (Symmetry(group, Point(), Scalar()) for group in (SE(3), E(3)))
    sets = Symmetry(S(), Nodes(), Scalar())
    signs = Symmetry(Flips(20), Flipped(axis=0), Scalar())
    scorer = Scorer(3, generator=seed())
    disk = Scorer(3, disk=True, generator=seed())
    return {
        "Average(), C(4)": (turns, Average(), images),
        "Best(Scorer(3), resolution=32), D(4)": (mirrored, Best(scorer, resolution=32), images),
        "Best(Scorer(3, disk=True), resolution=32), C(8)": (eight, Best(disk, resolution=32), images),
        "Scored(GroupCNN(C(8), 3), resolution=32), C(8)": (
            eight,
            Scored(GroupCNN(C(8), 3, generator=seed()), resolution=32),
            images,
        ),
        "Oriented(Steerable(3), resolution=32), SO(2)": (
            plane,
            Oriented(Steerable(3, generator=seed()), resolution=32),
            images,
        ),
        "PCA('ruled'), SE(3)": (rigid, PCA("ruled"), molecules),
        "PCA('ruled'), E(3)": (mirrors, PCA("ruled"), molecules),
        "PCA(), SE(3)": (rigid, PCA(), molecules),
        "Weighted(), SE(3)": (rigid, Weighted(), molecules),
        "Learned(VectorNeurons(2)), SE(3)": (rigid, Learned(VectorNeurons(2, generator=seed())), molecules),
        "Sorted(), S": (sets, Sorted(), molecules),
        "WeightedOrder(), S": (sets, WeightedOrder(), molecules),
        "SignRule(), flips": (signs, SignRule(), molecules),
    }


def measure(claim: Symmetry, frame: Any, make: Callable[[int], Tensor]) -> dict[str, Any]:
    """Operations, multiply-adds and memory of the poses of two batches, and how each grows from one to the other."""
    if isinstance(frame, nn.Module):
        frame = frame.eval()
    found: dict[str, list[float]] = {"operations": [], "multiply_adds": [], "memory": []}
    for batch in BATCHES:
        x = make(batch)
        with torch.no_grad():
            frame(claim, x)
            counted, counter = Counted(), FlopCounterMode(display=False)
            with counted:
                frame(claim, x)
            with counter:
                frame(claim, x)
        found["operations"].append(counted.operations)
        found["multiply_adds"].append(counter.get_total_flops() / 2)
        found["memory"].append(counted.peak)
    return found | {"growth": {name: each[1] / each[0] if each[0] else 1.0 for name, each in found.items()}}


def shares() -> dict[str, dict[str, float]]:
    """Multiply-adds of canonicalizing one image of 224 pixels over those of a ResNet-18 and a ViT-B/16."""
    x = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(SEED))
    bare = {"ResNet-18": _multiply_adds(lambda: ResNet18().eval()(x)), "ViT-B/16": _transformer()}
    found = {}
    for name, (claim, frame, make) in frames().items():
        if make is images:
            frame = frame.eval() if isinstance(frame, nn.Module) else frame
            mended = symmetrize(lambda x: x.mean((1, 2, 3)), claim, frame)
            pose = _multiply_adds(lambda mended=mended: mended.canonical(x))
            found[name] = {model: pose / each for model, each in bare.items()}
    return found


def _multiply_adds(run: Callable[[], Any]) -> float:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        run()
    return counter.get_total_flops() / 2


def _transformer() -> float:
    """Multiply-adds of a ViT-B/16 on one image of 224 pixels, without its weights."""
    from transformers import ViTConfig, ViTModel

    with torch.device("meta"):
        model = ViTModel(ViTConfig()).eval()
        return _multiply_adds(lambda: model(torch.empty(1, 3, 224, 224)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    options = start(parser)
    rows = {}
    with progress() as bar:
        for name, (claim, frame, make) in bar.track(frames().items(), description="frames"):
            rows[name] = measure(claim, frame, make)
        share = shares()
    body = [
        [
            name,
            f"{each['operations'][1]:,}",
            f"{each['growth']['operations']:.2f}x",
            f"{each['multiply_adds'][1] / BATCHES[1]:,.0f}",
            f"{each['growth']['multiply_adds']:.2f}x",
            f"{each['memory'][1] / BATCHES[1] / 1024:.1f} KiB",
            f"{each['growth']['memory']:.2f}x",
        ]
        for name, each in rows.items()
    ]
    growth = f"{BATCHES[0]} to {BATCHES[1]}"
    columns = ["frame", "operations", growth, "multiply-adds a sample", growth, "memory a sample", growth]
    table(f"Poses of {BATCHES[1]} samples", columns, body)
    body = [[name, *(f"{each:.4f}" for each in of.values())] for name, of in share.items()]
    table("Multiply-adds of a canonical image of 224 x 224", ["frame", *next(iter(share.values()))], body)
    finish(options, {"benchmark": "operations", "batches": BATCHES, "frames": rows, "shares": share}, ("transformers",))


if __name__ == "__main__":
    main()
