"""Runs that two processes make together, and one makes alone: `RANK=0 ... python adapt_pair.py folder`, for each rank."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from adapt_cases import CLAIM, Plain, draw, net, ramps, same, weights
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from canonize import Best, Image, Symmetrized, SymmetryError, adapt, bootstrap, prior_loss, symmetrize, task_loss

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_distributed.py"
SETTINGS: dict[str, Any] = {"epochs": 3, "rate": 1e-2, "batch_size": 8}


def mended(seed: int = 0) -> Symmetrized:
    """In float64; every number of its energy matters for the loss."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)) if seed else net()
    return symmetrize(model, CLAIM, Best(Plain(seed=seed))).double()


def brighter(x: Tensor, generator: torch.Generator) -> Tensor:
    return x * (1 + torch.rand(len(x), 1, 1, 1, generator=generator, dtype=torch.float64))


def upright_loss(mended: Symmetrized) -> float:
    with torch.no_grad():
        return -float(prior_loss(mended, ramps(8, seed=3).double()))


def memory() -> dict[str, Any]:
    return {"data": ramps(30).double(), "average": 0.9, "figure": upright_loss}


def one_left_over() -> dict[str, Any]:
    """The last batch has one sample, so that one of two processes has none."""
    return {"data": ramps(33).double(), "augment": brighter}


def labelled() -> dict[str, Any]:
    x = ramps(31).double()
    labels = (x[:, 0, 0, 0] > 1.15).long()
    # Without batch normalisation: it would look at half a batch.
    return {"data": DataLoader(TensorDataset(x, labels), batch_size=7, shuffle=True), "loss": task_loss, "model": True}


def validated() -> dict[str, Any]:
    x = ramps(40).double()
    return {"data": x[:24], "targets": x[:24].sum((1, 2, 3)).long() % 3, "validation": x[24:], "patience": 2}


def one_in_half() -> dict[str, Any]:
    """One sample: one of two processes never has any, and its scaler of float16 must begin nevertheless."""
    return {"data": ramps(1).double(), "precision": torch.float16}


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "memory": memory,
    "one left over": one_left_over,
    "labelled": labelled,
    "validated": validated,
    "one in half": one_in_half,
}


def run(case: Callable[[], dict[str, Any]], processes: Any = None, seed: int = 0, **more: Any) -> dict[str, Any]:
    """One run: its weights and its record."""
    # The labelled case trains the model too, which must be one without batch normalisation.
    one, options = mended(seed or (1 if case is labelled else 0)), SETTINGS | case() | more
    log = adapt(one, options.pop("data"), processes=processes, **options)
    epochs = [(epoch.loss, epoch.rate, epoch.figure) for epoch in log.epochs]
    return {"weights": weights(one), "epochs": epochs, "best": log.best, "samples": log.samples, "told": str(log)}


class Averaging:
    """A planted fault: sums that are means, as of gradients that nobody has weighted."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.rank, self.count = inner, inner.rank, inner.count
        self.shared, self.divides = inner.shared, inner.divides

    def total(self, numbers: Tensor) -> Tensor:
        return self.inner.total(numbers) / self.count if numbers.numel() > 3 else self.inner.total(numbers)


def stopped(step: int, folder: Path, processes: Any) -> dict[str, Any]:
    """Interrupted in both processes in the middle of an epoch, and run again."""
    steps: list[int] = []

    def interrupting(x: Tensor, generator: torch.Generator) -> Tensor:
        steps.append(0)
        if len(steps) == step:
            raise KeyboardInterrupt
        return brighter(x, generator)

    interrupting.__qualname__ = brighter.__qualname__
    try:
        run(one_left_over, processes, augment=interrupting, checkpoint=folder / "stopped.pt")
    except KeyboardInterrupt:
        return run(one_left_over, processes, checkpoint=folder / "stopped.pt")
    raise AssertionError


def bootstrapped(processes: Any = None) -> dict[str, Tensor]:
    """Learned from inputs in any pose, as a teacher turns them."""
    one = mended()
    x = Image()(CLAIM.group.sample((25,), generator=draw(3)).double(), ramps(25).double())
    teacher = Best(lambda x: -x[:, :, :4].mean((1, 2, 3)))
    bootstrap(one, x, teacher=teacher, rounds=2, processes=processes, **SETTINGS)
    return weights(one)


def refused(work: Callable[[], Any]) -> str:
    try:
        work()
    except (SymmetryError, ZeroDivisionError) as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError


def failing(rank: int, at: int, processes: Any) -> Callable[[], Any]:
    """A run whose loss divides by zero, in one process and one call only."""
    calls: list[int] = []

    def loss(symmetrized: Any, inputs: Any, targets: Any, **_: Any) -> Tensor:
        calls.append(0)
        if processes.rank == rank and len(calls) == at:
            raise ZeroDivisionError("planted")
        return prior_loss(symmetrized, inputs)

    return lambda: run(memory, processes, loss=loss)


def main(folder: Path) -> None:
    """All runs of one of two processes, written to a file of its own."""
    from accelerate import Accelerator
    from accelerate.utils import DataLoaderConfiguration

    from canonize.integrations.accelerate import Accelerated

    torch.set_num_threads(1)
    config = DataLoaderConfiguration(split_batches=True, even_batches=False)
    accelerator = Accelerator(cpu=True, dataloader_config=config)
    two = Accelerated(accelerator)
    told: dict[str, Any] = {"count": two.count, "kind": accelerator.distributed_type.value}
    for name, case in CASES.items():
        told[name] = run(case, two, checkpoint=folder / f"{name}.pt")
    told["fault"] = run(memory, Averaging(two))
    told["stopped"] = stopped(7, folder, two)

    loader = accelerator.prepare(DataLoader(TensorDataset(ramps(32).double()), batch_size=8))
    told["prepared"] = run(lambda: {"data": loader}, two)

    told["bootstrap"] = bootstrapped(two)

    # Frames that were drawn differently are one after the first step.
    own = {"data": ramps(16).double(), "epochs": 1}
    torch.manual_seed(two.rank)
    frames = [Plain(seed=two.rank) for _ in range(2)]
    uneven = symmetrize(net(), CLAIM, Best(frames[0])).double()
    adapt(uneven, processes=two, **own)
    told["uneven"] = (weights(uneven), same(frames[0], frames[1].double()))

    # What a loss draws is each process's own, and what it draws from torch's global generators too.
    drawn: list[float] = []

    def drawing(symmetrized: Any, inputs: Any, targets: Any, *, generator: torch.Generator) -> Tensor:
        drawn.extend([float(torch.rand((), generator=generator)), float(torch.rand(()))])
        return prior_loss(symmetrized, inputs)

    told["with draws"], told["drawn"] = run(memory, two, loss=drawing), drawn

    steps: list[int] = []
    run(memory, two, progress=lambda done, total: steps.append(done))
    told["steps"] = steps

    told["failed"] = [refused(failing(rank, 5, two)) for rank in (0, 1)]
    told["figure"] = refused(lambda: run(memory, two, figure=lambda m: 1 / 0))
    told["other data"] = refused(lambda: run(lambda: {"data": ramps(16, seed=two.rank).double()}, two))
    told["other seed"] = refused(lambda: run(memory, two, generator=draw(two.rank)))
    torch.manual_seed(two.rank)
    other = partial(adapt, symmetrize(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), CLAIM, Best(Plain())), ramps(16))
    told["other model"] = refused(lambda: other(processes=two))
    # Process 0 alone looks at the file, and both are told.
    (folder / "junk.pt").write_bytes(b"junk")
    told["junk"] = refused(lambda: run(memory, two, checkpoint=folder / "junk.pt"))
    # Nothing is left in the middle of a conversation.
    told["after"] = run(memory, two)
    torch.save(told, folder / f"{two.rank}.pt")

    # The example, as torchrun would start it in these processes.
    sys.argv = [str(EXAMPLE), "--out", str(folder / "example"), "--epochs", "1"]
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
