"""`canonize playground`."""

from __future__ import annotations

from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from canonize.actions import Image, Scalar
from canonize.adapt import adapt
from canonize.cli import demo, words
from canonize.cli.console import Debug, Gray, Seed, Threads, Trust, out, progress, told
from canonize.cli.load import load_model
from canonize.errors import refuse
from canonize.frames import Best
from canonize.groups import C
from canonize.nn import Scorer
from canonize.playground import samples
from canonize.playground.kinds import Claim, Kind, Playground, digit_claims, graph_kind, molecule_kind
from canonize.playground.scene import Inputs, Reading
from canonize.symmetrize import symmetrize
from canonize.symmetry import Symmetry

SIDE, RESOLUTION = 32, 16
"""Pixels of the built-in images, and of the copies that are scored."""
KINDS = {"image": ("C4", "image"), "molecule": ("E3", "point,scalar"), "graph": ("S", "pairs")}
"""For each tab the group and the inputs of a model of one's own, where none are named."""


def playground_command(
    model: Annotated[
        str | None, typer.Option(help="Your own model: module:object, or a file .onnx, .pt, .ts, .pt2.")
    ] = None,
    kind: Annotated[str, typer.Option(help="What your model takes: image, molecule or graph.")] = "image",
    group: Annotated[str | None, typer.Option(help="Its group; C4, E3 or S where none is named.")] = None,
    inputs: Annotated[
        str | None, typer.Option("--input", help="How its inputs move: image; point or point,scalar; pairs.")
    ] = None,
    outputs: Annotated[
        str, typer.Option("--output", help="How its outputs move: scalar, nodes, vector, ...")
    ] = "scalar",
    frame: Annotated[
        str, typer.Option(help="default, average, confidence, ..., or a folder that `canonize adapt` has written.")
    ] = "default",
    size: Annotated[int, typer.Option(min=4, max=1024, help="Side in pixels of the images for your model.")] = 224,
    gray: Gray = False,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="The first free one from 7860 if none.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    share: Annotated[bool, typer.Option("--share", help="Also through Gradio's tunnel, on the internet.")] = False,
    browser: Annotated[bool, typer.Option("--browser", help="Open the page.")] = False,
    seed: Seed = 0,
    threads: Threads = 1,
    trust: Trust = False,
    debug: Debug = False,
) -> None:
    """Turn an image, a molecule or a graph with a slider, and watch what a model says, bare and behind a frame.

    Opens a page on this machine; nothing is fetched from a network. Ctrl-C ends it.
    """
    # Small tensors run several times slower when threads fight over them.
    if threads is not None:
        torch.set_num_threads(threads)
    with told(debug):
        from canonize.playground import app

        if kind not in KINDS:
            raise refuse(
                "this is no tab of the playground", got=repr(kind), expected=", ".join(KINDS), fix="--kind image"
            )
        if model is None and (group, inputs, outputs, frame) != (None, None, "scalar", "default"):
            raise refuse(
                "these options are for a model of your own",
                got="--group, --input, --output or --frame without --model",
                expected="--model module:object beside them",
                fix="leave them out, and choose the claim on the page",
            )
        app.check_free(host, port)
        with progress() as tell:
            claim = None
            if model is not None:
                word, moved = KINDS[kind]
                symmetry = Symmetry(words.group(group or word), words.tree(inputs or moved), words.tree(outputs))
                claim = own_claim(load_model(model, trust=trust), symmetry, frame, model)
            play = playground(seed, tell, claim=claim, kind=kind, size=size, channels=1 if gray else 3)
            blocks = app.build(play, tell)
        address = app.serve(blocks, host=host, port=port, share=share, browser=browser)
        line = f"Open this in a browser, Ctrl-C ends it:\n{address}"
        out.print(line, markup=False, highlight=False, soft_wrap=True)
        try:
            blocks.block_thread()
        finally:
            blocks.close(verbose=False)


def playground(
    seed: int,
    tell: demo.Step,
    *,
    claim: tuple[str, Claim] | None = None,
    kind: str = "image",
    size: int = 224,
    channels: int = 3,
) -> Playground:
    """The built-in tabs; with a claim of one's own in place of those of its kind.

    Args:
        seed: of every draw.
        tell: called with (what, done, total) as models are trained.
        claim: its name and itself; None for the built-in ones.
        kind: to which tab it belongs.
        size, channels: of the images for it.

    Raises:
        SymmetryError: scikit-learn, which brings the scans, is not installed.
    """
    draw = torch.Generator().manual_seed(seed)
    molecules, graphs = molecule_kind(draw), graph_kind(draw)
    if claim is None or kind != "image":
        images, side, channels = digit_kind(seed, tell), SIDE, 1
    else:
        images, side = Kind({name: (one,) for name, one in samples.drawings(size, channels).items()}, {}), size
    if claim is not None:
        own = {claim[0]: claim[1]}
        precision = _precision(claim[1].behind.model)
        if kind == "image":
            images = Kind(_as(images.samples, precision), own)
        elif kind == "molecule":
            molecules = Kind(_as(molecules.samples, precision), own)
        else:
            graphs = Kind(_as(graphs.samples, precision), own)
    return Playground(images, molecules, graphs, side, channels)


def digit_kind(seed: int, tell: demo.Step, *, epochs: int = 8) -> Kind:
    """Scans of digits, a CNN trained on upright ones, and an energy trained without labels; seconds.

    Args:
        seed: of every draw.
        tell: called with (what, done, total).
        epochs: of both trainings.

    Raises:
        SymmetryError: scikit-learn is not installed.
    """
    generator = torch.Generator().manual_seed(seed)
    scans, labels = demo.digits(generator)
    images = _enlarged(scans)
    with torch.random.fork_rng(devices=[]):
        # Layers draw their first weights from the global generator: lend it to them and put it back.
        torch.manual_seed(seed)
        model, energy = _classifier(), Scorer(1, width=8, depth=2, disk=True)
    train, names = images[:1297], labels[:1297]
    demo.fit(
        model,
        lambda some: F.cross_entropy(model(train[some]), names[some]),
        len(train),
        generator,
        epochs=epochs,
        tell=lambda done, total: tell("training a classifier on upright scans", done, total),
    )
    # Energies of a few turns are enough to learn from: the energy itself knows no group.
    eight = Symmetry(C(8), inputs=Image(), outputs=Scalar())
    adapt(
        symmetrize(model, eight, Best(energy, resolution=RESOLUTION)),
        train[:700],
        epochs=epochs,
        rate=1e-2,
        generator=generator,
        progress=lambda done, total: tell("training a score of uprightness, without labels", done, total),
    )
    held, known = images[1297:], labels[1297:]
    picked: dict[str, Inputs] = {}
    for digit in (2, 5, 4, 7, 9, 1, 0, 8, 3, 6):
        place = int((known == digit).nonzero()[0])
        picked[f"scan of a {digit}"] = (held[place][None],)
    picked |= {name: (one,) for name, one in samples.drawings(SIDE, 1).items()}
    return Kind(picked, digit_claims(model, energy, RESOLUTION))


def own_claim(model: Any, symmetry: Symmetry, frame: str, name: str) -> tuple[str, Claim]:
    """The claim of one's own model, with its name for the page.

    Args:
        model: the model.
        symmetry: the claim.
        frame: a word of the command line, or a folder.
        name: how it was called there.

    Raises:
        SymmetryError: a frame that does not fit.
    """
    behind = words.behind(frame, model, symmetry).eval()
    found = Claim(behind, Reading(), f"Your model, {name}.")
    return f"{behind.symmetry.group!r}: {type(behind.frame).__name__}", found


def _enlarged(scans: Tensor) -> Tensor:
    """Scans on a finer grid with a margin, so that turned pixels lose less."""
    inner = F.interpolate(scans[:, :, 2:-2, 2:-2], size=(SIDE - 8, SIDE - 8), mode="bicubic", align_corners=False)
    return F.pad(inner.clamp(0, 1), (4, 4, 4, 4))


def _classifier() -> nn.Sequential:
    """The demonstration's CNN for a finer grid: its maps are averaged to 3 x 3 in the end."""
    layers = list(demo.network())
    flat = next(place for place, layer in enumerate(layers) if isinstance(layer, nn.Flatten))
    return nn.Sequential(*layers[:flat], nn.AdaptiveAvgPool2d(3), *layers[flat:])


def _precision(model: Any) -> torch.dtype:
    """The dtype of a model's weights; float32 where it has none."""
    weights = list(model.parameters()) if isinstance(model, nn.Module) else []
    return next((part.dtype for part in weights if part.is_floating_point()), torch.float32)


def _as(known: dict[str, Inputs], dtype: torch.dtype) -> dict[str, Inputs]:
    return {
        name: tuple(part.to(dtype) if part.is_floating_point() else part for part in parts)
        for name, parts in known.items()
    }
