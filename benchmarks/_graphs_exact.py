"""How exactly outputs of nodes and of pairs follow a relabelling, behind canonical order."""

from __future__ import annotations

import argparse
import math
from typing import Any

import torch
from _bench import SEED, progress, table
from _graphs_data import Graph, brec, listed, packed
from torch import Tensor, nn

from canonize import CanonicalOrder, Nodes, Pairs, S, Symmetry, symmetrize
from canonize.actions import move

CLAIM = Symmetry(S(), (Nodes(), Pairs()), {"node": Nodes(), "pair": Pairs()})
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
OUTPUTS = tuple(CLAIM.outputs)


class Flat(nn.Module):
    """A random MLP on all numbers of a graph of n nodes, in their order."""

    def __init__(self, n: int, features: int) -> None:
        super().__init__()
        self.n = n
        self.network = nn.Sequential(nn.Linear(n * (n + features), 64), nn.Tanh(), nn.Linear(64, n * (n + 3)))

    def forward(self, x: Tensor, a: Tensor) -> dict[str, Tensor]:
        """Three numbers for each node, one for each pair."""
        made = self.network(torch.cat([a, x], 2).flatten(1)).reshape(len(a), self.n, self.n + 3)
        return {"node": made[..., :3], "pair": made[..., 3:]}


class Transformer(nn.Module):
    """A random transformer: a token for each node, made of its row and its place."""

    def __init__(self, n: int, features: int) -> None:
        super().__init__()
        self.inward, self.place = nn.Linear(n + features, 32), nn.Parameter(torch.randn(n, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.node, self.query, self.key = nn.Linear(32, 3), nn.Linear(32, 8), nn.Linear(32, 8)

    def forward(self, x: Tensor, a: Tensor) -> dict[str, Tensor]:
        """Three numbers for each node, one for each pair."""
        h = self.encoder(self.inward(torch.cat([a, x], 2)) + self.place)
        return {"node": self.node(h), "pair": self.query(h) @ self.key(h).mT}


MODELS = {"MLP": Flat, "transformer": Transformer}


def exactness(options: argparse.Namespace) -> dict[str, Any]:
    """The largest relative error of outputs over graphs and relabellings, behind the frame and bare."""
    sets = {
        "EXP": packed(options.data, "exp"),
        "graph8c, every tenth": listed(options.data, "graph8c")[::10],
        "SR25": listed(options.data, "sr25"),
        "CSL": packed(options.data, "csl"),
        "BREC, strongly regular": brec(options.data)["strongly_regular"],
    }
    rows = []
    with progress() as bar, torch.no_grad():
        task = bar.add_task("exactness", total=len(sets) * len(MODELS))
        for name, graphs in sets.items():
            for model in MODELS:
                rows.append(
                    {"set": name, "model": model, "graphs": len(graphs)} | _row(graphs, model, options.elements)
                )
                bar.advance(task)
    body = [
        [row["set"], row["model"], str(row["graphs"]), str(row["symmetric"])]
        + [f"{row[precision][output]['error']:.1e}" for precision in PRECISIONS for output in OUTPUTS]
        + [f"{row['float64'][output]['bare']:.1e}" for output in OUTPUTS]
        for row in rows
    ]
    columns = ["set", "model", "graphs", "symmetric"]
    columns += [f"{output}s, {precision}" for precision in PRECISIONS for output in OUTPUTS]
    table("largest relative error", [*columns, *(f"{output}s, bare" for output in OUTPUTS)], body)
    return {"elements": options.elements, "rows": rows}


def _row(graphs: list[Graph], model: str, elements: int) -> dict[str, Any]:
    """One set and one model: graphs of one size make a batch, and get a network of that size."""
    by_size: dict[int, list[Graph]] = {}
    for graph in graphs:
        by_size.setdefault(graph.n, []).append(graph)
    row: dict[str, Any] = {"symmetric": 0}
    row |= {precision: {output: {"error": 0.0, "bare": 0.0} for output in OUTPUTS} for precision in PRECISIONS}
    generator = torch.Generator().manual_seed(SEED)
    for n, some in by_size.items():
        value = (torch.stack([graph.x for graph in some]), torch.stack([graph.matrix() for graph in some]))
        torch.manual_seed(SEED)
        network = MODELS[model](n, value[0].shape[-1]).eval().requires_grad_(False)
        poses = CanonicalOrder()(CLAIM, value)
        if poses.stabilizer is not None:
            orbits = poses.stabilizer.found.orbits.reshape(len(some), n)
            row["symmetric"] += int((orbits.sort(1).values.diff(dim=1) == 0).any(1).sum())
        drawn = [S(n).sample((len(some),), generator=generator) for _ in range(elements)]
        for precision, dtype in PRECISIONS.items():
            network, cast = network.to(dtype), tuple(part.to(dtype) for part in value)
            for kind, called in {"error": symmetrize(network, CLAIM, CanonicalOrder()), "bare": network}.items():
                for output, worst in _worst(called, cast, drawn).items():
                    row[precision][output][kind] = max(row[precision][output][kind], worst)
    return row


def _worst(model: Any, value: tuple[Tensor, ...], drawn: list[Tensor]) -> dict[str, float]:
    """The largest error of each output over that graph's output, taken in float64; infinite for NaN.

    Relabelled graphs are shown in another order of the batch each time, since rounding minds the place in a batch.
    """
    base = {output: part.double() for output, part in model(*value).items()}
    worst = dict.fromkeys(OUTPUTS, 0.0)
    generator = torch.Generator().manual_seed(SEED)
    for g in drawn:
        wanted = move(CLAIM.outputs, g, base)
        mixed = torch.randperm(len(g), generator=generator)
        for output, part in model(*(shown[mixed] for shown in move(CLAIM.inputs, g, value))).items():
            miss = (part.double()[mixed.argsort()] - wanted[output]).flatten(1).norm(dim=1) / base[output].flatten(
                1
            ).norm(dim=1)
            found = float(miss.amax())
            worst[output] = max(worst[output], math.inf if math.isnan(found) else found)
    return worst
