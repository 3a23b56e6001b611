"""The page itself: Gradio's controls around the pure functions of this layer. Nothing on it is fetched from a network."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from canonize._tree import tensors
from canonize.errors import SymmetryError, refuse
from canonize.playground import dropped, page, positions
from canonize.playground.kinds import Claim, Kind, Playground
from canonize.playground.scene import Inputs, Look, Sweep, look, sweep
from canonize.playground.style import CSS

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tab:
    """What the handlers of a tab need to know, without Gradio.

    Attributes:
        name: in ids: `image`, `molecule`, `graph`.
        kind: samples and claims.
        stops: positions of the slider.
        unit: of the slider.
        elements: (inputs, stops, settings of the other controls) -> elements of the group.
        figures: (what is seen, claim, inputs, element) -> HTML.
        read: the arguments in a dropped file.
    """

    name: str
    kind: Kind
    stops: tuple[int, ...]
    unit: str
    elements: Callable[..., Any]
    figures: Callable[[Look, Claim, Inputs, Any], str]
    read: Callable[[Path], Inputs]

    def swept(self, inputs: Inputs, claim: str, *settings: Any, progress: Any = None) -> Sweep:
        """The answers over the whole slider."""
        chosen = self.kind.claims[claim]
        elements = self.elements(inputs, self.stops, *settings)
        return sweep(chosen.behind, inputs, elements, chosen.reading, progress=progress)

    def drawn(self, inputs: Inputs, found: Sweep, claim: str, current: float, *settings: Any) -> str:
        """The HTML for one position of the slider."""
        chosen = self.kind.claims[claim]
        stop = min(self.stops, key=lambda each: abs(each - current))
        element = self.elements(inputs, (stop,), *settings)
        seen = look(chosen.behind, inputs, element, chosen.reading)
        figures = self.figures(seen, chosen, inputs, element)
        return page.view(self.name, chosen, seen, found, figures, self.stops, stop, self.unit)


def tabs(play: Playground) -> tuple[Tab, Tab, Tab]:
    """The tabs of a playground: images, molecules, graphs."""

    def turns(inputs: Inputs, stops: tuple[int, ...], mirrored: bool = False) -> Any:
        return positions.turns(stops, mirrored=mirrored, dtype=_dtype(inputs))

    def motions(
        inputs: Inputs, stops: tuple[int, ...], axis: str = "x", shift: float = 0.0, mirrored: bool = False
    ) -> Any:
        return positions.motions(stops, axis, mirrored=mirrored, shift=shift, dtype=_dtype(inputs))

    def numberings(inputs: Inputs, stops: tuple[int, ...]) -> Any:
        return positions.numberings(stops, inputs[0].shape[-1])

    molecules_dtype = _dtype(next(iter(play.molecules.samples.values())))
    graphs_dtype = _dtype(next(iter(play.graphs.samples.values())))
    return (
        Tab(
            "image",
            play.images,
            positions.ANGLES,
            "degrees",
            turns,
            lambda seen, claim, inputs, element: page.figures_of_image(seen),
            lambda file: (dropped.image(file, play.side, play.channels),),
        ),
        Tab(
            "molecule",
            play.molecules,
            positions.ANGLES,
            "degrees",
            motions,
            lambda seen, claim, inputs, element: page.figures_of_molecule(seen, inputs[1]),
            lambda file: dropped.molecule(file, molecules_dtype),
        ),
        Tab(
            "graph",
            play.graphs,
            positions.NUMBERINGS,
            "numbering",
            numberings,
            page.figures_of_graph,
            lambda file: (dropped.graph(file, graphs_dtype),),
        ),
    )


def build(play: Playground, tell: Callable[[str, int, int], None] | None = None) -> Any:
    """The page as `gradio.Blocks`, each tab with its first sample worked out.

    Args:
        play: what there is to see.
        tell: called with (what, done, total) as the tabs are worked out.

    Raises:
        SymmetryError: Gradio is not installed, or the first sample does not fit its claim.
    """
    gradio = _gradio()
    every = tabs(play)
    with gradio.Blocks(title="canonize playground", analytics_enabled=False, delete_cache=(3600, 3600)) as blocks:
        gradio.Markdown(
            "# canonize playground\nTurn the input: the plain model changes its mind, the symmetrized one does not."
        )
        for done, tab in enumerate(every):
            with gradio.Tab({"image": "Image", "molecule": "Molecule", "graph": "Graph"}[tab.name]):
                _controls(gradio, tab)
            if tell is not None:
                tell("preparing the tabs", done + 1, len(every))
    return blocks


def check_free(host: str, port: int | None) -> None:
    """Refuse a place at which the page cannot be served, before any work.

    Raises:
        SymmetryError: the port is taken, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port or 0), family=family).close()
    except OSError as error:
        raise _taken(host, port, error) from error


def serve(blocks: Any, *, host: str, port: int | None, share: bool, browser: bool = False) -> str:
    """The address at which the page is served, in a thread of its own.

    Args:
        blocks: from `build`.
        host: address to listen at; "127.0.0.1" for this machine alone.
        port: None for the first free one from 7860.
        share: through Gradio's own tunnel, which is on the internet.
        browser: open the page.

    Raises:
        SymmetryError: the port is taken.
    """
    gradio = _gradio()
    fonts = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]
    # Gradio's own themes name fonts that browsers would fetch.
    theme = gradio.themes.Base(font=fonts[0], font_mono=fonts[1], primary_hue="blue")
    looks = {"theme": theme, "css": CSS}
    if not _takes(blocks.launch, "theme"):
        # Before Gradio 6 the looks belong to the page.
        blocks.theme, blocks.css, looks = theme, CSS, {}
    try:
        _, local, public = blocks.launch(
            server_name=host,
            server_port=port,
            share=share,
            inbrowser=browser,
            quiet=True,
            prevent_thread_lock=True,
            ssr_mode=False,
            max_file_size=dropped.BYTES,
            **looks,
        )
    except OSError as error:
        raise _taken(host, port, error) from error
    return str(public or local)


def _taken(host: str, port: int | None, error: OSError) -> SymmetryError:
    return refuse(
        "the page cannot be served there",
        got=f"{host}:{port} ({error})" if port else f"{host} ({error})",
        expected="a free port of this machine",
        fix="another --port, or none for the first that is free",
    )


def _controls(gradio: Any, tab: Tab) -> None:
    kinds = {"image": dropped.IMAGES, "molecule": dropped.MOLECULES, "graph": dropped.GRAPHS}[tab.name]
    samples, claims = list(tab.kind.samples), list(tab.kind.claims)
    first = tab.kind.samples[samples[0]]
    found = tab.swept(first, claims[0])
    state, swept = gradio.State(first), gradio.State(found)
    with gradio.Row():
        with gradio.Column(scale=1, min_width=260):
            slider = gradio.Slider(
                min(tab.stops),
                max(tab.stops),
                value=min(tab.stops),
                step=tab.stops[1] - tab.stops[0],
                label="Numbering, 0 as given" if tab.name == "graph" else "Turn, in degrees",
                elem_id=f"{tab.name}-slider",
            )
            settings = _settings(gradio, tab.name)
            sample = gradio.Dropdown(samples, value=samples[0], label="Sample", elem_id=f"{tab.name}-sample")
            claim = gradio.Dropdown(claims, value=claims[0], label="Claim and frame", elem_id=f"{tab.name}-claim")
            file = gradio.File(
                label=f"or drop a file: {', '.join(kinds)}", height=160, elem_id=f"{tab.name}-file", type="filepath"
            )
        with gradio.Column(scale=3, min_width=280):
            shown = gradio.HTML(tab.drawn(first, found, claims[0], min(tab.stops)), elem_id=f"{tab.name}-view")
    # What is wrong with the last file or setting, as HTML; it stands above the view until another one is right.
    trouble = gradio.State("")
    # The file that was dropped last, (name, arguments), which stands among the samples.
    own = gradio.State(("", ()))
    # Where the slider stood when it was last heard of.
    place = gradio.State(min(tab.stops))
    track = gradio.Progress()

    def pick(name: str, mine: tuple[str, Inputs], *rest: Any, progress: Any = track) -> Any:
        return again(mine[1] if name == mine[0] else tab.kind.samples[name], *rest, progress=progress)

    def drop(path: str, before: Inputs, known: Sweep | None, mine: Any, *rest: Any, progress: Any = track) -> Any:
        try:
            inputs = tab.read(Path(path))
        except Exception as error:
            # What was there stays, below the message.
            return before, known, _message(error, Path(path)), mine, gradio.skip()
        name = f"file {Path(path).name}"
        listed = gradio.Dropdown([*samples, name], value=name)
        return *again(inputs, *rest, progress=progress), (name, inputs), listed

    def again(inputs: Inputs, claim: str, current: float, *rest: Any, progress: Any = track) -> Any:
        """A new input, claim or setting: the whole slider is worked out again."""
        try:
            tell = partial(_tell, progress)
            return inputs, tab.swept(inputs, claim, *rest, progress=tell), ""
        except Exception as error:
            return inputs, None, _message(error)

    def turn(inputs: Inputs, found: Sweep | None, wrong: str, claim: str, current: float, *rest: Any) -> str:
        try:
            return wrong if found is None else wrong + tab.drawn(inputs, found, claim, current, *rest)
        except Exception as error:
            return _message(error)

    def slide(inputs: Inputs, found: Sweep | None, wrong: str, claim: str, current: float, *rest: Any) -> Any:
        return turn(inputs, found, wrong, claim, current, *rest), current

    # One at a time and in order, so that no late answer stands over a newer one.
    order = {"concurrency_id": tab.name, "concurrency_limit": 1}
    rest = [claim, slider, *settings]
    results = [state, swept, trouble]
    quiet = {"show_progress": "hidden", **order}
    begun = [
        sample.input(pick, [sample, own, *rest], results, **order, **_private(sample.input)),
        file.upload(drop, [file, state, swept, own, *rest], [*results, own, sample], **order, **_private(file.upload)),
        *(
            control.change(
                again, [state, *rest], results, trigger_mode="always_last", **order, **_private(control.change)
            )
            for control in (claim, *settings)
        ),
    ]
    for event in begun:
        # Not for what the browser says of the slider: on its way that may be overtaken by a later position, which would then
        # be drawn over.
        event.then(turn, [*results, claim, place, *settings], shown, **quiet, **_private(event.then))
    slider.change(
        slide, [*results, *rest], [shown, place], trigger_mode="always_last", **quiet, **_private(slider.change)
    )


def _tell(progress: Any, done: int, total: int) -> None:
    progress((done, total), desc="the whole slider")


def _settings(gradio: Any, name: str) -> list[Any]:
    """The other controls of a tab, in the order in which `elements` takes them."""
    if name == "graph":
        return []
    mirrored = gradio.Checkbox(False, label="Mirror image", elem_id=f"{name}-mirrored")
    if name == "image":
        return [mirrored]
    axis = gradio.Radio(list(positions.AXES), value="x", label="Axis", elem_id=f"{name}-axis")
    shift = gradio.Slider(0.0, 2.0, value=0.0, step=0.25, label="Shift along x, in Å", elem_id=f"{name}-shift")
    return [axis, shift, mirrored]


def _message(error: Exception, file: Path | None = None) -> str:
    """The error for the page; where it is none of ours, the terminal gets the rest."""
    if not isinstance(error, ValueError):
        _LOG.error("the playground met an error", exc_info=error)
    return page.told(error, file)


def _private(event: Any) -> dict[str, Any]:
    """The settings that keep a handler out of the list of callable interfaces, in this version of Gradio."""
    return {"api_visibility": "private"} if _takes(event, "api_visibility") else {"api_name": False}


def _takes(function: Any, name: str) -> bool:
    import inspect

    return name in inspect.signature(function).parameters


def _dtype(inputs: Inputs) -> torch.dtype:
    return next(part.dtype for part in tensors(inputs) if part.is_floating_point())


def _gradio() -> Any:
    # Read as it is imported: it tells its makers and asks for the newest version otherwise.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio
    except ModuleNotFoundError as error:
        raise refuse(
            "the playground needs Gradio",
            got=f"{error.name} is not installed",
            expected="gradio",
            fix="pip install 'canonize[playground]'",
        ) from None
    return gradio
