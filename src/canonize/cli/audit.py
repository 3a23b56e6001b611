"""`canonize audit`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.markup import escape

from canonize.audit import Audit, accuracy, audit
from canonize.cli import words
from canonize.cli.batch import Address, Engine, Workers, bars, check_engine, mapped, show_bad
from canonize.cli.console import (
    Column,
    Debug,
    Gray,
    Group,
    Inputs,
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
    err,
    planned,
    progress,
    publish,
    told,
)
from canonize.cli.data import load_data
from canonize.cli.load import load_model
from canonize.cli.samples import Reading, loading, reading
from canonize.scale import audit_chunks
from canonize.scale.settings import digested, files
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
    group: Group = None,
    inputs: Inputs = "image",
    outputs: Outputs = "scalar",
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
    column: Column = None,
    limit: Limit = None,
    size: Size = None,
    mean: Mean = None,
    std: Std = None,
    gray: Gray = False,
    targets: Targets = True,
    seed: Seed = 0,
    threads: Threads = None,
    workers: Workers = None,
    engine: Engine = "local",
    address: Address = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Folder for the numbers of chunks that are done; the same command goes on from it."),
    ] = None,
    trust: Trust = False,
    debug: Debug = False,
) -> None:
    """Audit a model against a claim. Exits with 0 for pass, 1 for fail, 3 for undecided, 2 for a wrong call.

    With --workers, --engine ray or --resume samples are read in chunks, so that data may be larger than memory; those that
    cannot be read are told and left out.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    with told(debug), progress() as tell:
        planned(folder)
        wanted = words.group_for(group, [] if frame is None else [frame])
        claim = Symmetry(wanted, inputs=words.tree(inputs), outputs=words.tree(outputs))
        center = words.numbers(mean, option="--mean")
        spread = words.numbers(std, option="--std", positive=True)
        check_engine(engine, address)
        if workers is not None or engine != "local" or resume is not None:
            found = in_chunks(
                model,
                claim,
                frame,
                reading(
                    data,
                    grids=words.grids(inputs),
                    size=size,
                    gray=gray,
                    limit=limit,
                    seed=seed,
                    mean=center,
                    std=spread,
                    column=column,
                ),
                trust=trust,
                engine=partial(mapped, engine=engine, workers=workers, address=address),
                resume=resume,
                targets=targets,
                elements=elements,
                tolerance=tolerance,
                batch_size=batch_size,
                seed=seed,
            )
            publish(found, folder, elements=True)
            raise typer.Exit(EXIT[found[-1].verdict])
        loaded = load_model(model, trust=trust)
        read = load_data(
            data,
            size=size,
            gray=gray,
            limit=limit,
            seed=seed,
            grids=words.grids(inputs),
            mean=center,
            std=spread,
            column=column,
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


def in_chunks(
    model: str,
    claim: Symmetry,
    frame: str | None,
    read: Reading,
    *,
    trust: bool,
    engine: Any,
    resume: Path | None,
    targets: bool,
    **options: Any,
) -> list[Audit]:
    """The audit of the model and, where there is a frame, of the model behind it; bad samples are told on the error stream.

    Args:
        model, frame, trust: as for the command.
        claim: what is audited.
        read: reads samples by their places.
        engine: maps a job over chunks.
        resume: folder; each of the audits has one in it.
        targets: whether accuracy is measured.
        options: more of `audit_chunks`.
    """
    name = Path(model).name if Path(model).is_file() else model
    names: dict[str | None, str] = {None: name}
    if frame is not None:
        names[frame] = f"{name} behind {Path(frame).name}"
    settings = {
        "model file": digested(Path(model).read_bytes(), Path(model).name) if Path(model).is_file() else model,
        "targets": targets,
        "input": files(read.items.files),
        **{word: getattr(read, word) for word in ("grids", "size", "gray", "mean", "std", "column")},
    }
    found: list[Audit] = []
    bad: dict[str, str] = {}
    with bars() as tell:
        for each, called in names.items():
            merged = audit_chunks(
                loading(model, claim, each, trust=trust),
                claim,
                read,
                len(read),
                metric=accuracy if targets else None,
                engine=engine,
                resume=None if resume is None else resume / ("model" if each is None else "behind"),
                settings={**settings, "frame": each},
                progress=lambda done, of, called=called: tell(escape(f"auditing {called}"), done, of),  # type: ignore[misc]  # binds it
                name=called,
                **options,
            )
            found.append(merged.audit)
            bad.update(merged.bad)
    show_bad([*bad.items()], "_manifest.json in the folder of --resume")
    if bad:
        err.print(f"{len(bad):,} of {len(read):,} samples could not be read and are not in the audit", highlight=False)
    return found
