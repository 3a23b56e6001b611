"""A run that kills its own process in the middle of an epoch, where it is told to: `python adapt_killed.py folder 5`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from adapt_cases import plain, ramps

from canonize import adapt

folder, last = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)


def progress(done: int, total: int) -> None:
    if done == last:
        os.kill(os.getpid(), signal.SIGKILL)


adapt(
    plain(dropout=0.2),
    ramps(32),
    epochs=3,
    rate=1e-1,
    batch_size=8,
    average=0.9,
    checkpoint=folder / "run.pt",
    progress=progress,
)
