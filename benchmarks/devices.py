"""How often the host waits for the device in one call, as the table in docs/export.md says; and the same numbers there.

    .venv/bin/python benchmarks/devices.py --check                  # a device that is not there counts its waits
    .venv/bin/python benchmarks/devices.py --check --device cuda    # a real one, where torch itself tells of them

Ends with 1 where a count differs, where an answer differs from that of the CPU, or where not-a-number goes in and none comes
out.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _elsewhere import NAME, Device, open_device
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from canonize import (
    PCA,
    SE,
    Average,
    Best,
    C,
    Centred,
    D,
    E,
    Flipped,
    Flips,
    Image,
    Learned,
    Mask,
    Nodes,
    Point,
    S,
    SignRule,
    Symmetry,
    Translation,
    Vector,
    WeightedOrder,
    symmetrize,
)
from canonize.nn import Scorer, VectorNeurons
from export import Case, OfClouds, OfImages, OfSets, agree, cases, clouds, molecules, pictures

PAGE = Path(__file__).parent.parent / "docs" / "export.md"
HEAD = "| on a device |"


class Labels(OfImages):
    """A class for each pixel."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return super().forward(x).argmax(1, keepdim=True)


def more() -> dict[str, Case]:
    """Models beside those of the table of what compiles."""
    torch.manual_seed(0)
    vector = Symmetry(SE(3), Point(), Vector())
    made: dict[str, tuple[Any, Callable[[int, int], Any]]] = {
        "images, Average over C(8)": (
            symmetrize(OfImages(True), Symmetry(C(8), Image(), Image()), Average()),
            pictures,
        ),
        "images, Best of small copies": (
            symmetrize(Labels(True), Symmetry(D(4), Image(), Mask()), Best(Scorer(1, width=2), resolution=4)),
            pictures,
        ),
        "clouds, PCA('ruled')": (symmetrize(OfClouds(), Symmetry(E(3), Point(), Vector()), PCA("ruled")), molecules),
        "clouds, Learned": (symmetrize(OfClouds(), vector, Learned(VectorNeurons(channels=4, depth=1))), molecules),
        "clouds, the default frame, none symmetric": (symmetrize(OfClouds(), vector), clouds),
        "clouds, Centred": (symmetrize(OfClouds(), Symmetry(Translation(3), Point(), Vector()), Centred()), clouds),
        "sets, WeightedOrder": (symmetrize(OfSets(), Symmetry(S(), Nodes(), Nodes()), WeightedOrder()), clouds),
        "signs, SignRule": (
            symmetrize(nn.Linear(5, 5), Symmetry(Flips(5), Flipped(), Flipped()), SignRule()),
            lambda batch, size: torch.randn(batch, 5),
        ),
    }
    return {name: Case(model.eval(), inputs, 0) for name, (model, inputs) in made.items()}


class Simulated:
    """Moves to the device that is not there, and counts."""

    name = NAME

    def __init__(self) -> None:
        open_device()

    def call(self, model: nn.Module, args: Any) -> tuple[Any, list[str]]:
        """What a model answers there, back on the CPU, and what was waited for."""
        device = Device()
        with device:
            moved = copy.deepcopy(model)._apply(lambda t: t.to(NAME))
            there = tree_map(lambda t: t.to(NAME), args)
            device.waits.clear()
            answer = moved(*there)
            waits = list(device.waits.elements())
            home = [part for part in tree_leaves(answer) if part.device.type != NAME]
            if home:
                raise RuntimeError(f"an answer on {home[0].device}")
            return tree_map(lambda t: t.inner, answer), waits


class Real:
    """The same on a GPU, where torch warns of each wait."""

    def __init__(self, name: str) -> None:
        self.name = name

    def call(self, model: nn.Module, args: Any) -> tuple[Any, list[str]]:
        """What a model answers there, back on the CPU, and what was waited for."""
        moved = copy.deepcopy(model).to(self.name)
        there = tree_map(lambda t: t.to(self.name), args)
        moved(*there)  # libraries set themselves up in the first call
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                answer = moved(*there)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        waits = [f"{one.filename}:{one.lineno}" for one in told if "synchroniz" in str(one.message)]
        home = [part for part in tree_leaves(answer) if not part.is_cuda]
        if home:
            raise RuntimeError(f"an answer on {home[0].device}")
        return tree_map(lambda t: t.cpu(), answer), waits


def spoilt(args: Any) -> Any:
    """The inputs with not-a-number in the first sample."""

    def spoil(part: Tensor) -> Tensor:
        if not part.is_floating_point():
            return part
        part = part.clone()
        part.view(-1)[0] = torch.nan
        return part

    return tree_map(spoil, args)


def measure(case: Case, machine: Simulated | Real) -> dict[str, Any]:
    """The waits of one call, and what is wrong with it, empty where nothing is."""
    torch.manual_seed(1)
    args = (case.inputs(4, 7),)
    try:
        with torch.no_grad():
            answer, waits = machine.call(case.model, args)
            agree(answer, case.model(*args))
    except Exception as error:  # told in the table
        return {"waits": None, "lines": [], "wrong": f"{type(error).__name__}: {str(error)[:300]}"}
    return {"waits": len(waits), "lines": sorted(set(waits)), "wrong": unsafe(case, args, machine)}


def unsafe(case: Case, args: Any, machine: Simulated | Real) -> str:
    """Empty where not-a-number is refused, or comes out as what it is."""
    try:
        with torch.no_grad():
            answer, _ = machine.call(case.model, spoilt(args))
    except Exception:
        return ""
    parts = [part for part in tree_leaves(answer) if part.is_floating_point()]
    # Labels have no word for it.
    return "" if not parts or any(bool(part.isnan().any()) for part in parts) else "not-a-number passed"


def told(text: str) -> dict[str, str]:
    """The rows of the table: model to count."""
    found = {}
    for line in text[text.index(HEAD) :].splitlines()[2:]:
        if not line.startswith("|"):
            break
        name, count = (word.strip().strip("`") for word in line.strip("|").split("|"))
        found[name] = count
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="compare with docs/export.md; end with 1 where it is wrong"
    )
    parser.add_argument("--device", default=NAME, help="cuda, or one that is not there where left out")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    made = {**cases(), **more()}
    machine = Simulated() if options.device == NAME else Real(options.device)
    page = told(PAGE.read_text(encoding="utf-8")) if options.check else {}
    wrong = set(page) ^ set(made) if options.check else set()
    for name, case in made.items():
        found = measure(case, machine)
        if found["wrong"] or (options.check and page.get(name) != str(found["waits"])):
            wrong.add(name)
        print(json.dumps({"row": name, **found, "page": page.get(name)}), flush=True)
    print(json.dumps({"wrong": sorted(wrong)}))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
