"""Training a canonicalizer in several processes: the same numbers as in one.

    torchrun --nproc-per-node 2 examples/train_distributed.py --out canonizer
    accelerate launch --multi_gpu --num_processes 2 examples/train_distributed.py --out canonizer
    python examples/train_distributed.py --out canonizer

A linear network has seen scans of handwritten digits upright. A small frame learns, from the same scans and without
labels, which turn is upright. Each process holds both, takes its part of every batch, and the sums of the gradients are those
of whole batches: all of these write the same weights, up to rounding. Killed, the same command goes on where it was, also in
another number of processes. Needs `pip install 'canonize[accelerate,demo]'`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from canonize import Best, C, Image, Scalar, Symmetry, accuracy, adapt, audit, symmetrize
from canonize.integrations.accelerate import Accelerated
from canonize.integrations.safetensors import save
from canonize.nn import Scorer


def scans() -> tuple[Tensor, Tensor]:
    """1,797 scans (count, 1, 8, 8) from 0 to 1, and what they show (count,)."""
    bunch = load_digits()
    return torch.as_tensor(bunch.images, dtype=torch.float32)[:, None] / 16, torch.as_tensor(bunch.target)


def pretrained(images: Tensor, labels: Tensor) -> nn.Module:
    """Stands for the model that you have; the same in every process."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model.eval()


def main() -> None:
    """Train, and let one process write and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the frame and the checkpoint")
    parser.add_argument("--epochs", type=int, default=4, help="passes over the scans")
    options = parser.parse_args()
    processes = Accelerated()
    images, labels = scans()
    train, test = slice(0, 1200), slice(1200, None)
    claim = Symmetry(C(4), inputs=Image(), outputs=Scalar())
    scorer = Scorer(1, width=4, depth=2, generator=torch.Generator().manual_seed(0))
    upright = symmetrize(pretrained(images[train], labels[train]), claim, Best(scorer)).to(processes.device)
    log = adapt(
        upright,
        images[train],
        epochs=options.epochs,
        rate=1e-2,
        checkpoint=options.out / "checkpoint.pt",
        processes=processes,
    )
    if processes.rank:
        return
    save(upright, options.out)
    found = audit(upright.cpu(), claim, images[test], targets=labels[test], metric=accuracy, cost=False)
    assert found.metric is not None
    print(log)
    print(f"{processes.count} processes; accuracy over the turns {found.metric.mean:.4f}, {found.verdict}")


if __name__ == "__main__":
    main()
