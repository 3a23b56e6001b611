"""How many poses frames give real molecules, and how exact models behind them are on symmetric ones."""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from _bench import SEED, progress, table
from _molecules import ANSWERS, GROUPS, MOLECULES, RAGGED, Generic, batch, learned, qm9, symmetric
from torch import Tensor

from canonize import PCA, Rigid, Symmetry, Weighted, symmetrize
from canonize.actions import move

ELEMENTS = 16
SHOWN = 500
CUTS = (0.1, 0.01, 0.001)
NAMED = ("CH4", "C6H6", "C60")
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


def poses(options: argparse.Namespace) -> dict[str, Any]:
    """How often a model is called for a molecule of QM9."""
    known = qm9(options.data, options.limit)
    parts = [batch(known[start : start + SHOWN]) for start in range(0, len(known), SHOWN)]
    frames: dict[str, Any] = {
        "PCA('ruled')": PCA("ruled"),
        "PCA()": PCA(),
        "PCA(fallback=None)": PCA(fallback=None),
        "Weighted()": Weighted(),
        "Weighted(marks='z')": Weighted(marks="z"),
        "Learned(VectorNeurons(3))": learned(),
    }
    rows, margins = [], {}
    with progress() as bar, torch.no_grad():
        task = bar.add_task("poses", total=len(GROUPS) * len(frames))
        for group, claim in RAGGED.items():
            for name, frame in frames.items():
                begin = time.process_time()
                found = [frame(claim, part) for part in parts]
                seconds = time.process_time() - begin
                counts = torch.cat([(each.weights > 0).sum(0) for each in found]).double()
                usual = float(counts.mode().values)
                if isinstance(frame, PCA) and frame.fallback is None:
                    margin = torch.cat([each.margin for each in found])
                    margins[group] = {str(cut): 100 * float((margin < cut).double().mean()) for cut in CUTS}
                rows.append(
                    {
                        "frame": name,
                        "group": group,
                        "mean": float(counts.mean()),
                        "median": float(counts.median()),
                        "high": float(counts.quantile(0.99, interpolation="higher")),
                        "most": int(counts.max()),
                        "usual": int(usual),
                        "others": 100 * float((counts != usual).double().mean()),
                        "cpu_milliseconds": 1000 * seconds / len(known),
                    }
                )
                bar.advance(task)
    body = [
        [row["frame"], row["group"], f"{row['mean']:.2f}", f"{row['median']:g}", f"{row['high']:g}", str(row["most"])]
        for row in rows
    ]
    table(f"{len(known)} molecules of QM9: poses", ["frame", "group", "mean", "median", "99 %", "most"], body)
    print(f"share of molecules whose relative gap is below, %: {margins}")
    return {"molecules": len(known), "rows": rows, "gaps": margins}


def exactness(options: argparse.Namespace) -> dict[str, Any]:
    """The largest relative error over symmetric molecules and solids, each under random elements of its own."""
    shapes = symmetric()
    names = list(shapes)
    x = batch(list(shapes.values()), torch.float64)
    sizes = torch.stack([pos.norm(dim=-1).amax() for pos, _ in shapes.values()])
    rows = []
    with progress() as bar, torch.no_grad():
        task = bar.add_task("exactness", total=len(GROUPS) * 6)
        for group in GROUPS:
            for name in _frames(torch.float32):
                row: dict[str, Any] = {"frame": name, "group": group}
                for precision, dtype in PRECISIONS.items():
                    frame = _frames(dtype)[name]
                    row[precision] = _worst(names, x, sizes, group, frame, dtype, options.elements)
                rows.append(row)
                bar.advance(task)
    body = [
        [
            row["frame"],
            row["group"],
            *(
                text
                for precision in PRECISIONS
                for output in ANSWERS
                for text in [f"{row[precision][output]['error']:.1e} {row[precision][output]['worst']}"]
            ),
            f"{row['float32']['poses']:.2f}",
        ]
        for row in rows
    ]
    columns = [f"{output}, {precision}" for precision in PRECISIONS for output in ANSWERS]
    table(f"{len(names)} molecules and solids", ["frame", "group", *columns, "poses"], body)
    return {"shapes": len(names), "elements": options.elements, "rows": rows}


def _frames(dtype: torch.dtype) -> dict[str, Any]:
    return {
        "PCA('ruled')": PCA("ruled"),
        "PCA()": PCA(),
        "Weighted()": Weighted(),
        "Learned(VectorNeurons(3))": learned(dtype),
        "PCA('ruled', fallback=None)": PCA("ruled", fallback=None),
        "PCA(fallback=None)": PCA(fallback=None),
    }


def _worst(
    names: list[str],
    x: dict[str, Tensor],
    sizes: Tensor,
    group: str,
    frame: Any,
    dtype: torch.dtype,
    elements: int,
) -> dict[str, Any]:
    """The largest error of each output over the root mean square of what the bare model returns, and where it is.

    Inputs are turned in float64 and rounded then, shifts are as large as the molecule.
    """
    symmetry = Symmetry(GROUPS[group], MOLECULES, ANSWERS)
    model = Generic()
    fixed = symmetrize(model, symmetry, frame)
    typical = {output: float(_lengths(part).square().mean().sqrt()) for output, part in model(x).items()}
    generator = torch.Generator().manual_seed(SEED)
    base = _cast(fixed(_cast(x, dtype)), torch.float64)
    off = {output: torch.zeros(len(names), dtype=torch.float64) for output in ANSWERS}
    for _ in range(elements):
        h = GROUPS[group].sample((len(names),), generator=generator, dtype=torch.float64)
        h = Rigid(h.linear, h.shift * sizes[:, None])
        shown = fixed(_cast(move(MOLECULES, h, x), dtype))
        wanted = move(ANSWERS, h, base)
        for output, part in _cast(shown, torch.float64).items():
            miss = _lengths(part - wanted[output]) / typical[output]
            # NaN counts as infinite, so that it is the worst and shows.
            off[output] = torch.maximum(off[output], torch.where(miss.isnan(), torch.inf, miss))
    counts = (fixed.poses(_cast(x, dtype)).weights > 0).sum(0).double()
    return {
        output: {
            "error": float(each.max()),
            "worst": names[int(each.argmax())],
            "median": float(each.median()),
            "named": {name: float(each[names.index(name)]) for name in NAMED if name in names},
        }
        for output, each in off.items()
    } | {"poses": float(counts.mean()), "most": int(counts.max())}


def _lengths(x: Tensor) -> Tensor:
    return x.reshape(len(x), -1).norm(dim=1)


def _cast(data: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: part.to(dtype) if part.is_floating_point() else part for name, part in data.items()}
