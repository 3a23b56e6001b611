"""Jobs that other processes import, and a run that is killed from outside: `python scale_jobs.py folder`."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from canonize.scale import Chunk, chunked, run


@dataclass(frozen=True)
class Sums:
    """Sums whose last bits show how they were added; says which process and how many threads."""

    seed: int = 0

    def __call__(self, chunk: Chunk) -> Any:
        g = torch.Generator().manual_seed(self.seed + chunk.number)
        x = torch.randn(300, 300, generator=g)
        return (x @ x).sum().item(), list(chunk.places), torch.get_num_threads()


@dataclass(frozen=True)
class Fails:
    """Raises in one chunk, or kills its process."""

    at: int
    dies: bool = False

    def __call__(self, chunk: Chunk) -> int:
        if chunk.number == self.at:
            if self.dies:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ZeroDivisionError("chunk 3")
        return chunk.number


@dataclass(frozen=True)
class Waits:
    """Leaves its process number in a folder, and never ends."""

    folder: str

    def __call__(self, chunk: Chunk) -> None:
        (Path(self.folder) / str(os.getpid())).touch()
        time.sleep(600)


if __name__ == "__main__":
    list(run(Waits(sys.argv[1]), list(chunked(range(2), 1)), workers=2))
