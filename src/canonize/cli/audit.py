"""`canonize audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from canonize.audit import accuracy, audit
from canonize.cli import words
from canonize.cli.console import (
    Debug,
    Gray,
    Limit,
    Mean,
    Model,
    Report,
    Seed,
    Size,
    Std,
    Targets,
    Threads,
    Trust,
    planned,
    progress,
    publish,
    told,
)
from canonize.cli.data import load_data
from canonize.cli.load import load_model
from canonize.symmetry import Symmetry

EXIT = {"pass": 0, "fail": 1, "undecided": 3}
"""Exit codes of a verdict; 2 is a wrong call, bad input, or anything that raised."""


def audit_command(
    model: Model,
    data: Annotated[
        str,
        typer.Option(
            help="A folder of images (subfolders are classes), or .npz, .npy, .pt, .parquet, .arrow, .tar. Images of "
            "8 or 16 bits are scaled to 0..1, in arrays too; arrays of floats are taken as they are."
        ),
    ],
    group: Annotated[str, typer.Option(help="Such as C8, D4, SO3, octahedral; `canonize groups` lists them.")],
    inputs: Annotated[
        str, typer.Option("--input", help="How inputs move: image, point, ...; a,b for several.")
    ] = "image",
    outputs: Annotated[str, typer.Option("--output", help="How outputs move: scalar, mask, vector, ...")] = "scalar",
    frame: Annotated[
        str | None,
        typer.Option(
            help="Also audit the model behind this frame: average, confidence, logsumexp, ..., or a folder that "
            "`canonize adapt` has written."
        ),
    ] = None,
    folder: Report = None,
    elements: Annotated[int, typer.Option(min=2, help="Random elements for each input of a large group.")] = 32,
    tolerance: Annotated[float | None, typer.Option(min=0, help="Largest relative error that passes.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Inputs in one call.")] = 64,
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
    """Audit a model against a claim. Exits with 0 for pass, 1 for fail, 3 for undecided, 2 for a wrong call."""
    if threads is not None:
        torch.set_num_threads(threads)
    with told(debug), progress() as tell:
        planned(folder)
        claim = Symmetry(words.group(group), inputs=words.tree(inputs), outputs=words.tree(outputs))
        center = words.numbers(mean, option="--mean")
        spread = words.numbers(std, option="--std", positive=True)
        loaded = load_model(model, trust=trust)
        read = load_data(
            data,
            size=size,
            gray=gray,
            limit=limit,
            grids=words.grids(inputs),
            mean=center,
            std=spread,
            report=lambda done, of: tell("reading images", done, of),
        )
        audited = [(Path(model).name if Path(model).is_file() else model, loaded)]
        if frame is not None:
            audited.append((f"{audited[0][0]} behind {Path(frame).name}", words.behind(frame, loaded, claim)))
        labels = read.targets if targets else None
        found = []
        for name, each in audited:
            found.append(
                audit(
                    each,
                    claim,
                    read.inputs,
                    targets=labels,
                    metric=None if labels is None else accuracy,
                    elements=elements,
                    tolerance=tolerance,
                    batch_size=batch_size,
                    generator=torch.Generator().manual_seed(seed),
                    progress=lambda done, of, name=name: tell(f"auditing {name}", done, of),  # type: ignore[misc]  # binds it
                    name=name,
                )
            )
    with told(debug):
        publish(found, folder, elements=True)
    raise typer.Exit(EXIT[found[-1].verdict])
