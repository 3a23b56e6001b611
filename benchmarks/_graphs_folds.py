"""Networks trained on graphs, with places of nodes and eigenvectors of several kinds, over folds and seeds."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from _bench import SEED, progress, table
from _graphs import mean, seed_spread, spread
from _graphs_data import RAGGED, Graph, batch_of, components, packed, relabelled
from _graphs_models import GIN, Settings, folds, logits, train
from torch import Tensor

from canonize import CanonicalEigenvectors, CanonicalOrder, S, Scalar, Symmetry

CLAIM = Symmetry(S(), RAGGED, Scalar())
EIGENVECTORS = 8
Encode = Callable[[list[Graph]], list[Graph]]


@dataclass(frozen=True)
class Way:
    """What a network is told about nodes: `encode` once a data set, `fresh` again for each mini-batch and at test."""

    encode: Encode | None = None
    fresh: Callable[[list[Graph], torch.Generator], list[Graph]] | None = None
    placed: bool = False


def in_order(graphs: list[Graph]) -> list[Graph]:
    """With the place of each node in the canonical order of its graph: what a network sees behind the frame."""
    elements = CanonicalOrder()(CLAIM, batch_of(graphs)).elements[0]
    return [replace(graph, place=g[: graph.n].argsort()) for graph, g in zip(graphs, elements, strict=True)]


def in_pieces(graphs: list[Graph]) -> list[Graph]:
    """With the place of each node in the canonical order of its connected component."""
    pieces = [components(graph) for graph in graphs]
    ordered, found = iter(in_order([alone for some in pieces for _, alone in some])), []
    for graph, some in zip(graphs, pieces, strict=True):
        place = torch.empty(graph.n, dtype=torch.int64)
        for nodes, _ in some:
            place[nodes] = next(ordered).place
        found.append(replace(graph, place=place))
    return found


def at_random(graphs: list[Graph], generator: torch.Generator) -> list[Graph]:
    """With places drawn at random."""
    return [replace(graph, place=torch.randperm(graph.n, generator=generator)) for graph in graphs]


def _more(graphs: list[Graph], vectors: Tensor) -> list[Graph]:
    parts = vectors.split([graph.n for graph in graphs])
    return [replace(graph, x=torch.cat([graph.x, part], 1)) for graph, part in zip(graphs, parts, strict=True)]


def solved(graphs: list[Graph]) -> list[Graph]:
    """With eigenvectors as the solver returns them, after the trivial one."""
    return _more(graphs, _vectors(graphs, CanonicalEigenvectors(EIGENVECTORS + 1, fallback="keep")))


def canonical(graphs: list[Graph]) -> list[Graph]:
    """With canonical eigenvectors, after the trivial one, and what does not depend on the basis where none is."""
    return _more(graphs, _vectors(graphs, CanonicalEigenvectors(EIGENVECTORS + 1)))


def _vectors(graphs: list[Graph], rule: CanonicalEigenvectors) -> Tensor:
    batch = batch_of(graphs)
    return rule.of_graphs(batch["edge_index"], batch["ptr"].diff(), colours=batch["x"]).vectors[:, 1:]


def flipped(graphs: list[Graph], generator: torch.Generator) -> list[Graph]:
    """The last columns of each graph with random signs."""
    found = []
    for graph in graphs:
        signs = torch.ones(graph.x.shape[1], dtype=graph.x.dtype)
        signs[-EIGENVECTORS:] -= 2 * torch.randint(2, (EIGENVECTORS,), generator=generator)
        found.append(replace(graph, x=graph.x * signs))
    return found


def projected(graphs: list[Graph]) -> list[Graph]:
    """With the diagonals of the projectors onto the eigenspaces, which depend on no sign and no basis."""
    found = []
    for graph in graphs:
        a = graph.matrix()
        root = a.sum(1).clamp(min=1).rsqrt()
        matrix = (a.sum(1).diag() - a) * root[:, None] * root
        whole = CanonicalEigenvectors(EIGENVECTORS + 1).projectors(matrix[None])[0]
        found.append(replace(graph, x=torch.cat([graph.x, whole[1:].diagonal(dim1=1, dim2=2).T], 1)))
    return found


WAYS = {
    "no places": Way(),
    "random places": Way(fresh=at_random, placed=True),
    "canonical order": Way(in_order, placed=True),
    "canonical order of each component": Way(in_pieces, placed=True),
}
MOLECULES = {
    "none": Way(),
    "random signs": Way(solved, flipped),
    "canonical eigenvectors": Way(canonical),
    "diagonals of projectors": Way(projected),
    "canonical order": Way(in_order, placed=True),
}


def training(options: argparse.Namespace) -> dict[str, Any]:
    """EXP and CSL: a small network with and without places of nodes."""
    sets = {
        "EXP": (packed(options.data, "exp"), 10, Settings(32, 4, options.epochs or 12, 3e-3)),
        "CSL": (packed(options.data, "csl"), 5, Settings(32, 3, options.epochs or 40, 3e-3)),
    }
    return {"rows": _rows(sets, WAYS, options.seeds)}


def molecules(options: argparse.Namespace) -> dict[str, Any]:
    """MUTAG and PTC: a small network with eigenvectors of several kinds."""
    settings = Settings(32, 3, options.epochs or 30)
    sets = {name: (packed(options.data, name.lower()), 10, settings) for name in ("MUTAG", "PTC")}
    return {"eigenvectors": EIGENVECTORS, "rows": _rows(sets, MOLECULES, options.seeds)}


def _rows(sets: dict[str, Any], ways: dict[str, Way], seeds: int) -> list[dict[str, Any]]:
    rows = []
    with progress() as bar:
        task = bar.add_task("", total=sum(count for _, count, _ in sets.values()) * len(ways) * seeds)
        for name, (graphs, count, settings) in sets.items():
            for way, told in ways.items():
                row: dict[str, Any] = {"set": name, "way": way, "graphs": len(graphs), "folds": count}
                row |= {"settings": vars(settings), "accuracy": [], "train": [], "changed": 0.0, "seconds": 0.0}
                bar.update(task, description=f"{name}, {way}")
                for seed in range(SEED, SEED + seeds):
                    _one_seed(row, graphs, told, settings, seed, lambda: bar.advance(task))
                rows.append(row)
    body = [
        [row["set"], row["way"], f"{mean(row):.1f}", f"{spread(row):.1f}", f"{seed_spread(row):.1f}"]
        + [f"{100 * sum(map(sum, row['train'])) / row['folds'] / seeds:.1f}", f"{row['changed']:.1e}"]
        + [f"{row['seconds']:.0f}"]
        for row in rows
    ]
    columns = ["set", "told", "accuracy, %", "over folds", "over seeds", "train, %", "copies change by", "s"]
    table(f"accuracy over folds, {seeds} seeds", columns, body)
    return rows


def _one_seed(
    row: dict[str, Any], graphs: list[Graph], way: Way, settings: Settings, seed: int, tick: Callable[[], None]
) -> None:
    """All folds with one seed; splits are the same for every way, and first weights where their shapes are."""
    begin = time.process_time()
    labels = torch.tensor([graph.label for graph in graphs])
    encoded = way.encode(graphs) if way.encode else graphs
    copies = relabelled(graphs, torch.Generator().manual_seed(seed))
    copies = way.encode(copies) if way.encode else copies
    places = max(graph.n for graph in graphs) if way.placed else None
    found, learned = [], []
    # The two graphs of a pair of EXP are alike but for their core: they stay together, so that nothing is told beforehand.
    together = 2 if row["set"] == "EXP" else 1
    for learn, test in folds(labels, row["folds"], torch.Generator().manual_seed(seed), together=together):
        draw = torch.Generator().manual_seed(seed)
        fresh = (lambda some, draw=draw: way.fresh(some, draw)) if way.fresh else (lambda some: some)
        torch.manual_seed(seed)
        model = GIN(
            encoded[0].x.shape[1], len(labels.unique()), width=settings.width, depth=settings.depth, positions=places
        )
        train(model, [encoded[i] for i in learn.tolist()], settings, generator=draw, fresh=fresh)
        shown, again = (logits(model, fresh([some[i] for i in test.tolist()])) for some in (encoded, copies))
        seen = logits(model, fresh([encoded[i] for i in learn.tolist()]))
        # The copies are what is counted: the names of nodes, as the file has them, may tell the class.
        found.append(float((again.argmax(1) == labels[test]).double().mean()))
        learned.append(float((seen.argmax(1) == labels[learn]).double().mean()))
        row["changed"] = max(row["changed"], float((shown - again).abs().max() / shown.abs().max()))
        tick()
    row["accuracy"].append(found)
    row["train"].append(learned)
    row["seconds"] += time.process_time() - begin
