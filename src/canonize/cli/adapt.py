"""`canonize adapt`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from canonize._tree import describe
from canonize.actions import Image
from canonize.adapt import adapt
from canonize.adapt.validate import own_answers
from canonize.audit import Audit, accuracy, audit
from canonize.audit.stats import trials_needed
from canonize.cli import words
from canonize.cli.checks import check_finite
from canonize.cli.console import (
    Column,
    Debug,
    Gray,
    Limit,
    Mean,
    Model,
    Outputs,
    Report,
    Seed,
    Size,
    Std,
    Targets,
    Threads,
    Trust,
    out,
    planned,
    progress,
    publish,
    told,
)
from canonize.cli.data import load_data
from canonize.cli.finished import check_unfinished, goes_on_from
from canonize.cli.load import load_model
from canonize.errors import refuse
from canonize.frames import Best
from canonize.linalg import is_signed_permutation
from canonize.nn import Scorer
from canonize.symmetrize import Symmetrized, symmetrize
from canonize.symmetry import Symmetry

Tell = Callable[[str, int, int], None]
FEWEST = 8
"""Images below which there is nothing to learn from and to measure with; held-out ones below which no epoch is chosen."""
NEEDED = trials_needed(0.2, 0.99)
"""Images without an error that an audit needs for a pass, with its own bounds: below these it stays undecided."""
ENOUGH = 5 * NEEDED
"""Images from which on so many are measured, whatever the share: a fifth of them, as the usual share is."""


def adapt_command(
    model: Model,
    data: Annotated[
        str,
        typer.Option(
            help="Upright images: a folder, or .npz, .npy, .pt. Labels are not needed; subfolders are classes."
        ),
    ],
    group: Annotated[str, typer.Option(help="A finite group of the plane, such as C4, C8, D4.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the trained frame, the checkpoint and the report.")],
    outputs: Outputs = "scalar",
    epochs: Annotated[int, typer.Option(min=1, max=100_000, help="Passes over the images.")] = 10,
    width: Annotated[int, typer.Option(min=1, max=1024, help="Channels of the network.")] = 16,
    depth: Annotated[int, typer.Option(min=1, max=64, help="Blocks of the network.")] = 3,
    resolution: Annotated[
        int, typer.Option(min=1, max=16_384, help="Longer side in pixels at which poses are scored.")
    ] = 32,
    rate: Annotated[float, typer.Option(min=1e-9, max=10.0, help="Largest learning rate.")] = 3e-3,
    held_out: Annotated[
        float,
        typer.Option(
            min=0.01,
            max=0.9,
            help=f"Share of the images to hold out, half to choose the epoch and half to measure with; from {ENOUGH} images on "
            f"at least {NEEDED} are measured, which a verdict needs.",
        ),
    ] = 0.2,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in one call.")] = 64,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Where a run that was stopped goes on from; checkpoint.pt in --out, until it is done."),
    ] = None,
    place: Report = None,
    column: Column = None,
    limit: Limit = None,
    size: Size = None,
    mean: Mean = None,
    std: Std = None,
    gray: Gray = False,
    targets: Targets = True,
    seed: Seed = 0,
    threads: Threads = None,
    trust: Trust = False,
    debug: Debug = False,
) -> None:
    """Train a small network that turns images upright, and put it before a model that stays as it is.

    Stopped with Ctrl-C, the same command goes on where it was. A finished canonizer in --out is not overwritten. Exits with 0
    when it is done, 2 for a wrong call.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    with told(debug), progress() as tell:
        files = words.files()
        planned(folder if place is None else place)
        goes_on = folder / "checkpoint.pt" if checkpoint is None else checkpoint
        check_unfinished(files, folder, goes_on)
        claim = Symmetry(words.group(group), inputs=Image(), outputs=words.tree(outputs))
        resampled = _resampled(claim.group)
        loaded = load_model(model, trust=trust)
        read = load_data(
            data,
            size=size,
            gray=gray,
            limit=limit,
            seed=seed,
            mean=words.numbers(mean, option="--mean"),
            std=words.numbers(std, option="--std", positive=True),
            column=column,
            report=lambda done, of: tell("reading images", done, of),
        )
        images = _images(read.inputs)
        check_finite(read, Path(data).name)
        train, choose, held = _split(images, held_out, seed)
        upright = read.inputs[held]

        def answers(some: Tensor) -> tuple[Tensor, Any]:
            # Without labels the model's own answers to upright images are what turned ones should give.
            if targets and read.targets is not None:
                return read.targets[some], accuracy
            return own_answers(loaded, claim, read.inputs[some])

        labels, metric = answers(held)
        name = Path(model).name if Path(model).is_file() else model

        def measured(what: str, each: Any) -> Audit:
            return audit(
                each,
                claim,
                upright,
                targets=labels,
                metric=_named(metric, own=not targets or read.targets is None),
                batch_size=batch_size,
                generator=torch.Generator().manual_seed(seed),
                progress=lambda done, of: tell(f"auditing {what}", done, of),
                name=what,
            )

        before = measured(name, loaded)
        draw = torch.Generator().manual_seed(seed)
        network = Scorer(read.inputs.shape[1], width=width, depth=depth, disk=resampled, generator=draw)
        mended = symmetrize(loaded, claim, Best(network, resolution=resolution))
        with goes_on_from(goes_on):
            log = adapt(
                mended,
                read.inputs[train],
                epochs=epochs,
                batch_size=batch_size,
                rate=rate,
                validation=(read.inputs[choose], answers(choose)[0]) if len(choose) else None,
                metric=metric if len(choose) else None,
                checkpoint=goes_on,
                generator=draw,
                progress=lambda done, of: tell("training", done, of),
            )
            paths = files.save(mended, folder)
            after = measured(f"{name} behind Best", mended)
    with told(debug), goes_on_from(goes_on):
        publish([before, after], folder if place is None else place, elements=False)
        for path in paths:
            out.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)
        story = _story(log.best, mended, folder, len(choose), len(held))
        out.print(f"\n{story}", markup=False, highlight=False, soft_wrap=True)
        if checkpoint is None:
            # Last: until then the same command goes on from it, and ends with the same files.
            goes_on.unlink(missing_ok=True)


def _resampled(group: Any) -> bool:
    """Whether a group of the plane has elements that resample images.

    Raises:
        SymmetryError: another group.
    """
    elements = group.elements() if hasattr(group, "elements") else None
    if not isinstance(elements, Tensor) or elements.shape[1:] != (2, 2):
        raise refuse(
            "canonize adapt turns images, and tries every turn",
            got=f"--group {group!r}",
            expected="a finite group of the plane",
            fix="--group C8; for other groups call canonize.adapt from Python",
        )
    return not bool(is_signed_permutation(elements).all())


def _images(inputs: Any) -> Tensor:
    if isinstance(inputs, Tensor) and inputs.ndim == 4 and inputs.is_floating_point() and len(inputs) >= FEWEST:
        return inputs
    raise refuse(
        "canonize adapt needs images",
        got=describe(inputs),
        expected=f"at least {FEWEST} images (count, channels, height, width)",
        fix="a folder of images; np.save('images.npy', x[:, None]) adds the axis of channels to gray ones",
    )


def _split(images: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Which images to train on, to choose the epoch by, and to measure with, drawn from the seed.

    The figure that is reported would be too high on the images by which the epoch was chosen, so that the share is halved.
    Where few are held out, no epoch is chosen. From `ENOUGH` images on at least `NEEDED` are measured: where half of the share
    is fewer, the rest is taken from those to train on.
    """
    count = min(max(2, round(len(images) * share)), len(images) - 2)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    chosen = count // 2 if count >= FEWEST else 0
    if len(images) >= ENOUGH:
        count = chosen + max(count - chosen, NEEDED)
    return order[count:].sort().values, order[:chosen].sort().values, order[chosen:count].sort().values


def _named(metric: Callable[[Any, Tensor], Tensor], *, own: bool) -> Callable[[Any, Tensor], Tensor]:
    def agreement(outputs: Any, targets: Tensor) -> Tensor:
        return metric(outputs, targets)

    return agreement if own else metric


def _story(best: int, mended: Symmetrized, folder: Path, choose: int, held: int) -> str:
    numbers = sum(parameter.numel() for parameter in mended.frame.parameters())
    chosen = (
        f"{choose} held-out images chose the epoch, {held} others were measured."
        if choose
        else f"{held} held-out images were measured, too few to choose the epoch by some: it is the last."
    )
    few = "" if held >= NEEDED else f" A verdict needs {NEEDED}: from {ENOUGH} images on, {NEEDED} are measured."
    return (
        f"{chosen}{few}\n"
        f"The frame of epoch {best} is kept, {numbers:,} numbers; the model is as it was. In Python:\n\n"
        "    from canonize import symmetrize\n"
        "    from canonize.integrations.safetensors import load\n"
        f"    upright = symmetrize(model, *load({str(folder)!r}))\n\n"
        f"On new images: canonize audit ... --frame {folder}"
    )
