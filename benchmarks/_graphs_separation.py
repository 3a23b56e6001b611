"""Which graphs random networks tell apart behind an order of the nodes, and whether they know relabelled copies again."""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from _bench import SEED, progress, table
from _graphs_data import RAGGED, Batch, Graph, batch_of, brec, components, listed, packed, places, relabelled
from torch import Tensor, nn

from canonize import CanonicalOrder, S, Scalar, Symmetry, symmetrize

THRESHOLD = 1e-3
WIDTH = 16
CANONICAL = "MLP, canonical order"
CLAIM = Symmetry(S(), RAGGED, Scalar())


class Flat(nn.Module):
    """A random MLP on the adjacency matrix and the features as they lie, filled up with zeros."""

    def __init__(self, graphs: list[Graph]) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(SEED)
        self.n, features = max(graph.n for graph in graphs), graphs[0].x.shape[1]
        inputs = self.n * (self.n + features)
        for name, shape in {"inner": (inputs, 64), "shift": (64,), "outer": (64, WIDTH)}.items():
            weights = torch.randn(*shape, generator=generator, dtype=torch.float64) / math.sqrt(shape[0])
            self.register_buffer(name, weights)

    def forward(self, batch: Batch) -> Tensor:
        """(batch, WIDTH)."""
        place, count = places(batch), len(batch["ptr"]) - 1
        filled = batch["x"].new_zeros(count, self.n, self.n + batch["x"].shape[1])
        filled[batch["batch"], place, self.n :] = batch["x"]
        tail, head = batch["edge_index"]
        filled[batch["batch"][tail], place[tail], place[head]] = 1
        return torch.relu(filled.flatten(1) @ self.inner + self.shift) @ self.outer


class Messages(nn.Module):
    """A random message-passing network of four layers that sums over neighbours and nodes."""

    def __init__(self, graphs: list[Graph]) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(SEED)
        widths = [graphs[0].x.shape[1], *[32] * 4, WIDTH]
        for number, (inward, outward) in enumerate(itertools.pairwise(widths)):
            weights = torch.randn(inward, outward, generator=generator, dtype=torch.float64) / math.sqrt(inward)
            self.register_buffer(f"layer{number}", weights)
        self.depth = len(widths) - 2

    def forward(self, batch: Batch) -> Tensor:
        """(batch, WIDTH)."""
        h, (tail, head) = batch["x"], batch["edge_index"]
        for number in range(self.depth):
            h = torch.sin(h.index_add(0, head, h[tail]) @ getattr(self, f"layer{number}") + 0.5)
        whole = h.new_zeros(len(batch["ptr"]) - 1, h.shape[1]).index_add(0, batch["batch"], h)
        return whole @ getattr(self, f"layer{self.depth}")


def by_eigenvectors(graphs: list[Graph]) -> list[Graph]:
    """Nodes in the order of the sizes of their entries in the Laplacian's eigenvectors, ties as they come."""
    found = []
    for graph in graphs:
        a = graph.matrix()
        sizes = torch.linalg.eigh(a.sum(1).diag() - a).eigenvectors.abs().mul(1e6).round()
        _, rank = torch.unique(sizes, dim=0, return_inverse=True)
        found.append(graph.moved(rank.argsort(stable=True).argsort()))
    return found


def candidates(graphs: list[Graph]) -> dict[str, Callable[[list[Graph]], Tensor]]:
    """Each way to map graphs to vectors (graphs, WIDTH)."""
    flat, messages = Flat(graphs), Messages(graphs)
    exact = symmetrize(flat, CLAIM, CanonicalOrder())
    return {
        CANONICAL: lambda some: exact(batch_of(some)),
        "MLP, order as given": lambda some: flat(batch_of(some)),
        "MLP, order of eigenvectors": lambda some: flat(batch_of(by_eigenvectors(some))),
        "message passing": lambda some: messages(batch_of(some)),
    }


def apart(one: Tensor, other: Tensor, *, unknown: float) -> Tensor:
    """The distance of vectors over the length of the longer one; `unknown` where that is not a number."""
    size = torch.maximum(one.norm(dim=-1), other.norm(dim=-1)).clamp(min=torch.finfo(one.dtype).tiny)
    found = (one - other).norm(dim=-1) / size
    return torch.where(found.isnan(), unknown, found)


def among(out: Tensor, classes: Tensor | None = None) -> tuple[int, int, float]:
    """All pairs of graphs, or those of different classes: how many, how many not told apart, the smallest distance."""
    pairs = missed = 0
    least = math.inf
    for i in range(len(out) - 1):
        rest = out[i + 1 :]
        if classes is not None:
            rest = rest[classes[i + 1 :] != classes[i]]
        if len(rest):
            far = apart(out[i], rest, unknown=0.0)
            pairs, missed = pairs + len(far), missed + int((far <= THRESHOLD).sum())
            least = min(least, float(far.min()))
    return pairs, missed, least


def forms(graphs: list[Graph]) -> list[bytes]:
    """The canonical form of each graph, as bytes."""
    shown = symmetrize(Flat(graphs), CLAIM, CanonicalOrder()).canonical(batch_of(graphs))
    place, owner = places(shown), shown["batch"]
    tail, head = shown["edge_index"]
    found = []
    order = (tail * len(owner) + head).argsort()
    counts = torch.bincount(owner[tail], minlength=len(graphs)).tolist()
    lists = torch.stack([place[tail], place[head]])[:, order].split(counts, dim=1)
    for graph, edges, x in zip(graphs, lists, shown["x"].split([graph.n for graph in graphs]), strict=True):
        found.append(b"%d %s %s" % (graph.n, edges.numpy().tobytes(), x.numpy().tobytes()))
    return found


def separation(options: argparse.Namespace) -> dict[str, Any]:
    """Pairs that are not told apart, and copies that are."""
    sets = {
        "EXP": packed(options.data, "exp"),
        "graph8c": listed(options.data, "graph8c"),
        "SR25": listed(options.data, "sr25"),
        "CSL": packed(options.data, "csl"),
        "BREC": [graph for some in brec(options.data).values() for graph in some],
    }
    rows, same = [], []
    with progress() as bar, torch.no_grad():
        task = bar.add_task("separation", total=5 * len(sets))
        for name, graphs in sets.items():
            rounds = max(1, math.ceil(options.copies / len(sets) / len(graphs)))
            paired = name in ("EXP", "BREC")
            for way, outputs in candidates(graphs).items():
                generator = torch.Generator().manual_seed(SEED)
                out = outputs(graphs)
                if paired:
                    far = apart(out[0::2], out[1::2], unknown=0.0)
                    pairs, missed, least = len(far), int((far <= THRESHOLD).sum()), float(far.min())
                else:
                    labels = torch.tensor([graph.label for graph in graphs]) if name == "CSL" else None
                    pairs, missed, least = among(out, labels)
                row = {"set": name, "way": way, "graphs": len(graphs), "pairs": pairs, "missed": missed, "least": least}
                row |= {"copies": 0, "copies_apart": 0, "copies_changed": 0}
                for _ in range(rounds):
                    again = outputs(relabelled(graphs, generator))
                    row["copies"] += len(graphs)
                    row["copies_apart"] += int((apart(out, again, unknown=math.inf) > THRESHOLD).sum())
                    row["copies_changed"] += int((out != again).any(1).sum())
                rows.append(row)
                bar.advance(task)
            same.append({"set": name} | _forms(graphs, rounds, paired, name == "CSL"))
            bar.advance(task)
    body = [
        [r["set"], r["way"], f"{r['missed']} of {r['pairs']}", f"{r['least']:.1e}"]
        + [f"{r['copies_apart']} of {r['copies']}", str(r["copies_changed"])]
        for r in rows
    ]
    columns = [
        "set",
        "network",
        "pairs not told apart",
        "least distance",
        "copies told apart",
        "copies not bit-identical",
    ]
    table(f"random networks, threshold {THRESHOLD:g}", columns, body)
    print(f"canonical forms compared bit for bit: {same}")
    return {"threshold": THRESHOLD, "rows": rows, "forms": same, "components": _kinds(sets["EXP"])}


def _forms(graphs: list[Graph], rounds: int, paired: bool, classed: bool) -> dict[str, int]:
    """Canonical forms themselves: pairs that share one, copies that have another, how many different ones there are."""
    own = forms(graphs)
    generator = torch.Generator().manual_seed(SEED)
    changed = sum(a != b for _ in range(rounds) for a, b in zip(own, forms(relabelled(graphs, generator)), strict=True))
    if paired:
        shared = sum(a == b for a, b in zip(own[0::2], own[1::2], strict=True))
    else:
        kinds = [
            (form, graph.label if classed else place)
            for place, (form, graph) in enumerate(zip(own, graphs, strict=True))
        ]
        shared = len(set(kinds)) - len(set(own))
    return {"different": len(set(own)), "shared": shared, "changed": changed, "copies": rounds * len(graphs)}


def _kinds(graphs: list[Graph]) -> dict[str, int]:
    """How many different connected components there are, and how many of them are found in one class alone."""
    pieces = [piece for graph in graphs for _, piece in components(graph)]
    classes: dict[bytes, set[int]] = {}
    for form, piece in zip(forms(pieces), pieces, strict=True):
        classes.setdefault(form, set()).add(piece.label)
    return {"different": len(classes), "of one class": sum(len(found) == 1 for found in classes.values())}
