"""What compiles, exports, casts and maps: every cell of the table in docs/export.md, made true or found wrong.

    .venv/bin/python benchmarks/export.py --check                       # all cells
    .venv/bin/python benchmarks/export.py --check --columns compile vmap --rows "images, Best"

A "yes" has to hold and a "no" has to fail: a cell that is out of date in either direction ends the run with 1. A "-" claims
nothing and is not run.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

import canonize
from canonize import (
    PCA,
    SE,
    SO,
    Average,
    Best,
    C,
    CanonicalOrder,
    D,
    E,
    Fields,
    Image,
    Index,
    Nodes,
    Octahedral,
    Offsets,
    Oriented,
    Pairs,
    Point,
    Rows,
    S,
    Scalar,
    Scored,
    Sorted,
    Symmetry,
    Vector,
    Weighted,
    symmetrize,
)  # fmt: skip

PAGE = Path(__file__).parent.parent / "docs" / "export.md"
COLUMNS = ("compile", "export", "ONNX", "autocast", "grad", "hessian", "vmap", "AOT")
FEW = 1e-5
"""Relative to the largest entry: float32 sums taken in another order."""


class OfImages(nn.Module):
    """A small network on images."""

    def __init__(self, pixels: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.pixels = pixels

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y = self.conv(x).tanh()
        return y if self.pixels else y[..., :3].sum((2, 3))


class OfClouds(nn.Module):
    """A small network on points."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(3, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.outer(self.inner(x).tanh().mean(-2))


class OfRows(OfClouds):
    """The same on rows of many samples."""

    def forward(self, value: dict[str, Tensor]) -> dict[str, Tensor]:  # noqa: D102
        return {"force": self.outer(self.inner(value["pos"]).tanh())}


class OfSets(OfClouds):
    """One that minds the order of rows."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.outer(self.inner(x).cumsum(-2).tanh())


def pictures(batch: int, size: int) -> Tensor:
    """Images of 6 x 6, the last of which is blank: all poses of it are equal."""
    x = torch.rand(batch, 1, 6, 6)
    return torch.cat([x[:-1], torch.full_like(x[-1:], 0.5)])


def clouds(batch: int, size: int) -> Tensor:
    return torch.randn(batch, size, 3)


def symmetric(kind: int, size: int) -> Tensor:
    """Points without axes of their own: four corners of a cube, a square, a line, all in one place."""
    if kind % 4 == 2:
        return torch.linspace(-1, 2, size)[:, None] * torch.tensor([1.0, 2, -1])
    if kind % 4 == 3:
        return torch.full((size, 3), 0.5)
    cube, square = (
        [[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]],
        [[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]],
    )
    return torch.cat([torch.tensor(square if kind % 4 else cube), torch.zeros(size - 4, 3)])


def molecules(batch: int, size: int) -> Tensor:
    """Clouds, of which all but the first are symmetric; of two none is."""
    few = [symmetric(place + size, size) for place in range(1, batch if batch > 2 else 1)]
    return torch.stack([*clouds(batch - len(few), size), *few])


def ragged(batch: int, size: int) -> dict[str, Tensor]:
    counts = torch.arange(size, size + batch)
    ends = counts.cumsum(0)
    index = torch.arange(batch).repeat_interleave(counts)
    return {"pos": torch.randn(int(ends[-1]), 3), "batch": index, "ptr": torch.cat([ends.new_zeros(1), ends])}


def ragged_molecules(batch: int, size: int) -> dict[str, Tensor]:
    """Ragged ones, of which all but the first are symmetric; of two none is."""
    found = ragged(batch, size)
    for sample in range(1, batch if batch > 2 else 1):
        start, end = found["ptr"][sample : sample + 2].tolist()
        found["pos"][start:end] = symmetric(sample + size, end - start)
    return found


def sets(batch: int, size: int) -> Tensor:
    """Sets with equal rows."""
    return torch.randint(0, 2, (batch, size, 3)).float()


def graphs(batch: int, size: int) -> Tensor:
    x = (torch.rand(batch, size, size) < 0.5).float().triu(1)
    return x + x.mT


@dataclass(frozen=True)
class Case:
    """A symmetrized model and what makes its inputs, from a batch size and a number of points."""

    model: nn.Module
    inputs: Callable[[int, int], Any]
    open: int
    """How many axes of each input are left open."""


def cases() -> dict[str, Case]:
    """The rows of the table."""
    torch.manual_seed(0)
    turns, seen = Symmetry(C(4), Image(), Scalar()), Symmetry(D(4), Image(), Image())
    rows = Fields(pos=Rows(Point()), batch=Index(), ptr=Offsets())
    force = {"force": Rows(Vector())}
    flat = Symmetry(SE(3), Point(), Vector())
    made: dict[str, tuple[Any, Callable[[int, int], Any], int]] = {
        "images, Average": (symmetrize(OfImages(), turns, Average(), chunk=4), pictures, 1),
        "images, Best": (symmetrize(OfImages(True), seen, Best(lambda x: x[..., :2, :].mean((1, 2, 3)))), pictures, 1),
        "images, Scored": (symmetrize(OfImages(), turns, Scored(canonize.nn.GroupCNN(C(4), 1, width=2))), pictures, 1),
        "images, Oriented": (
            symmetrize(OfImages(), Symmetry(SO(2), Image(), Scalar()), Oriented(canonize.nn.Steerable(1, width=2))),
            lambda batch, size: torch.rand(batch, 1, 9, 9),
            1,
        ),
        "clouds, PCA(fallback=None)": (
            symmetrize(OfClouds(), Symmetry(E(3), Point(), Vector()), PCA(signs="ruled", fallback=None)),
            clouds,
            2,
        ),
        "clouds, the default frame": (symmetrize(OfClouds(), flat), molecules, 2),
        "clouds, Weighted": (symmetrize(OfClouds(), Symmetry(SO(3), Point(), Vector()), Weighted()), molecules, 2),
        "ragged clouds, PCA(fallback=None)": (
            symmetrize(OfRows(), Symmetry(SE(3), rows, force), PCA(signs="ruled", fallback=None)),
            ragged,
            1,
        ),
        "ragged clouds, Average": (symmetrize(OfRows(), Symmetry(Octahedral(), rows, force), chunk=24), ragged, 1),
        "ragged clouds, the default frame": (symmetrize(OfRows(), Symmetry(SE(3), rows, force)), ragged_molecules, 1),
        "sets, Sorted": (symmetrize(OfSets(), Symmetry(S(), Nodes(), Nodes()), Sorted()), sets, 2),
        "graphs, CanonicalOrder": (
            symmetrize(lambda x: x @ x.cumsum(-1), Symmetry(S(), Pairs(), Pairs()), CanonicalOrder()),
            graphs,
            1,
        ),
    }
    return {name: Case(model.eval(), inputs, count) for name, (model, inputs, count) in made.items()}


def agree(found: Any, wanted: Any) -> None:
    """Raise unless all numbers agree to rounding; not-a-number never does."""
    for one, other in zip(tree_leaves(found), tree_leaves(wanted), strict=True):
        one, other = torch.as_tensor(one).double(), torch.as_tensor(other).double()
        largest = float(other.abs().max()) or 1.0
        if not float((one - other).abs().max()) <= FEW * largest:
            raise AssertionError(f"a difference of {float((one - other).abs().max()) / largest:.2g}")


def sizes(case: Case) -> list[tuple[Any, ...]]:
    """Arguments of two sizes; where some samples are symmetric, also of a third one in which none is."""
    torch.manual_seed(1)
    third = [(2, 6)] if case.inputs in (molecules, ragged_molecules) else []
    return [(case.inputs(*size),) for size in [(3, 5), (4, 7), *third]]


def compiled(case: Case, kept: dict[str, Any]) -> None:
    """One graph, by dynamo alone: what breaks a graph breaks it before any backend."""
    fast = torch.compile(case.model, fullgraph=True, backend="eager")
    for args in sizes(case)[:2]:
        torch._dynamo.reset()
        agree(fast(*args), case.model(*args))


def program(case: Case, kept: dict[str, Any]) -> Any:
    """The exported program, made once for the cells of a row."""
    if "program" not in kept:
        one, *_ = sizes(case)
        auto = torch.export.Dim.AUTO
        axes = tree_map(lambda t: dict.fromkeys(range(min(case.open, t.ndim)), auto), one)
        kept["program"] = torch.export.export(case.model, one, dynamic_shapes={"args": axes})
    return kept["program"]


def exported(case: Case, kept: dict[str, Any]) -> None:
    loaded = program(case, kept).module()
    for args in sizes(case):
        agree(loaded(*args), case.model(*args))


def as_onnx(case: Case, kept: dict[str, Any]) -> None:
    import onnxruntime

    from canonize.integrations.onnx import written

    whole = written(program(case, kept))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        whole.save(str(path))
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for args in sizes(case):
            feed = {one.name: part.numpy() for one, part in zip(session.get_inputs(), tree_leaves(args), strict=True)}
            agree(session.run(None, feed), case.model(*args))


def cast(case: Case, kept: dict[str, Any]) -> None:
    """The poses are those of full precision, and the model runs in bfloat16."""
    for args in sizes(case):
        poses = case.model.poses(*args)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            within, answer = case.model.poses(*args), case.model(*args)
        agree((within.elements, within.weights), (poses.elements, poses.weights))
        if not all(part.dtype == torch.bfloat16 for part in tree_leaves(answer)):
            raise AssertionError(f"answers of {[part.dtype for part in tree_leaves(answer)]}")


def scalar(case: Case) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """A number that depends on all outputs, as a function of the one floating-point part of the inputs; and that part."""
    args, *_ = sizes(case)
    parts, spec = tree_flatten(args)
    (place,) = (number for number, part in enumerate(parts) if part.is_floating_point())

    def total(x: Tensor) -> Tensor:
        answers = tree_leaves(case.model(*tree_unflatten([*parts[:place], x, *parts[place + 1 :]], spec)))
        return torch.stack([answer.square().sum() for answer in answers]).sum()

    return total, parts[place]


def derived(case: Case, kept: dict[str, Any]) -> None:
    """First and second derivatives: what `torch.func` finds is what autograd finds."""
    total, x = scalar(case)
    along = torch.randn_like(x)
    with torch.enable_grad():
        leaf = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(total(leaf), leaf, create_graph=True)
        (bend,) = torch.autograd.grad((slope * along).sum(), leaf)
    agree(torch.func.grad(total)(x), slope.detach())
    agree(torch.func.grad(lambda y: (torch.func.grad(total)(y) * along).sum())(x), bend)


def bent(case: Case, kept: dict[str, Any]) -> None:
    """Second derivatives by forward mode over backward mode, all at once."""
    total, x = scalar(case)
    with torch.enable_grad():
        wanted = torch.autograd.functional.hessian(total, x)
    agree(torch.func.hessian(total)(x), wanted)


def mapped(case: Case, kept: dict[str, Any]) -> None:
    args, *_ = sizes(case)
    stack = tree_map(lambda t: torch.stack([t, t.flip(0) if t.is_floating_point() else t]), args)
    found = torch.func.vmap(case.model)(*stack)
    for place in range(2):
        wanted = case.model(*tree_map(lambda t: t[place], stack))  # noqa: B023 - used at once
        agree(tree_map(lambda t: t[place], found), wanted)  # noqa: B023


def packaged(case: Case, kept: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = torch._inductor.aoti_compile_and_package(
            program(case, kept), package_path=str(Path(folder) / "model.pt2")
        )
        loaded = torch._inductor.aoti_load_package(path)
        for args in sizes(case):
            agree(loaded(*args), case.model(*args))


CHECKS = dict(zip(COLUMNS, (compiled, exported, as_onnx, cast, derived, bent, mapped, packaged), strict=True))


def holds(column: str, case: Case, kept: dict[str, Any]) -> str:
    """Empty where the cell is a yes, otherwise why it is not."""
    torch._dynamo.reset()
    try:
        with torch.no_grad():
            CHECKS[column](case, kept)
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()] or [""]
        return f"{type(error).__name__}: {lines[0][:160]}"
    return ""


def table(text: str) -> dict[tuple[str, str], str]:
    """The cells of the first table of a page whose header begins with "model": (row, column) to what is written."""
    lines = text[text.index("| model |") :].splitlines()
    head = [word.strip() for word in lines[0].strip("|").split("|")][1:]
    found = {}
    for line in lines[2:]:
        if not line.startswith("|"):
            break
        name, *cells = (word.strip().strip("`") for word in line.strip("|").split("|"))
        found.update({(name, column): cell for column, cell in zip(head, cells, strict=True)})
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="compare with docs/export.md, and end with 1 where it is wrong"
    )
    parser.add_argument("--page", type=Path, default=PAGE, help="another page to compare with")
    parser.add_argument("--columns", nargs="*", default=COLUMNS, help=", ".join(COLUMNS))
    parser.add_argument("--rows", nargs="*", help="the first words of lines of the table; all where left out")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    warnings.simplefilter("ignore")  # torch's compilers warn of their own inner workings
    torch.set_num_threads(1)
    written = table(options.page.read_text(encoding="utf-8"))
    wrong = 0
    for name, case in cases().items():
        if options.rows and not any(name.startswith(row) for row in options.rows):
            continue
        kept: dict[str, Any] = {}
        for column in options.columns:
            told = written.get((name, column), "")
            if options.check and told in ("", "-"):
                continue
            start = time.process_time()
            why = holds(column, case, kept)
            good = re.match(r"yes\b", told) if not why else re.match(r"no\b", told)
            wrong += options.check and not good
            seconds = round(time.process_time() - start, 1)
            line = {"row": name, "column": column, "found": why or "yes", "page": told, "cpu_s": seconds}
            print(json.dumps(line), flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
