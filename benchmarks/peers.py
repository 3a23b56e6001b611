"""The same work by other libraries, side by side: PyTorch Geometric's transforms and, where it is installed, escnn."""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import warnings
from collections.abc import Callable
from typing import Any

import torch
from _bench import SEED, finish, interleaved, progress, ratio, start, table
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import AddLaplacianEigenvectorPE, NormalizeRotation

from canonize import PCA, SO, C, Point, Scalar, Symmetry, symmetrize
from canonize.integrations.pyg import CanonicalLaplacianPE
from canonize.nn import GroupCNN

MOLECULES, ATOMS = 1_024, 20
GRAPHS, NODES, VECTORS = 256, 24, 4
IMAGES, SIDE = 16, 32
OURS = "canonize"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="timings of each candidate (default: 9)")
    parser.add_argument("--peer", action="store_true", help="also time escnn, which has to be installed")
    options = start(parser)
    if options.peer and importlib.util.find_spec("escnn") is None:
        raise SystemExit("--peer needs escnn 1.0.11 in an environment of its own; see benchmarks/README.md")
    jobs = [clouds(), graphs(), *([images()] if options.peer else [])]
    rows = []
    with progress() as bar, torch.no_grad():
        task = bar.add_task("peers", total=len(jobs) * options.repeats)
        for job in jobs:
            times = interleaved(job["calls"], repeats=options.repeats, tick=lambda: bar.advance(task))
            peer = next(name for name in times if name != OURS)
            rows.append(
                {
                    "job": job["job"],
                    "peer": peer,
                    "milliseconds": {name: 1000 * statistics.median(each) for name, each in times.items()},
                    "ratio": ratio(times[peer], times[OURS]),
                    "what": job["what"],
                    "right": {name: float(right()) for name, right in job["right"].items()},
                }
            )
    body = [
        [
            row["job"],
            row["peer"],
            f"{row['ratio']['median']:.2f}x",
            *(f"{row['milliseconds'][name]:.2f}" for name in (OURS, row["peer"])),
            row["what"],
            *(f"{row['right'][name]:.3g}" for name in (OURS, row["peer"])),
        ]
        for row in rows
    ]
    columns = ["job", "peer", "peer's time over ours", "ours, ms", "peer, ms", "right?", "ours", "peer"]
    table("The same work", columns, body)
    finish(options, {"benchmark": "peers", "rows": rows}, ("torch_geometric", *(["escnn"] if options.peer else [])))


def clouds() -> dict[str, Any]:
    """Molecules turned into their principal axes."""
    generator = torch.Generator().manual_seed(SEED)
    x = torch.randn(MOLECULES, ATOMS, 3, generator=generator)
    x = x - x.mean(1, keepdim=True)
    claim = Symmetry(SO(3), Point(), Scalar())
    upright = symmetrize(lambda x: x.sum((1, 2)), claim, PCA("ruled"))
    transform = NormalizeRotation()

    def peer(x: Tensor) -> Tensor:
        return torch.stack([transform(Data(pos=each)).pos for each in x])

    turn = SO(3).sample((MOLECULES,), generator=generator)

    def same(run: Callable[[Tensor], Tensor]) -> float:
        return float(((run(x) - run(x @ turn.mT)).abs().amax((1, 2)) < 1e-3).double().mean())

    return {
        "job": f"{MOLECULES} molecules of {ATOMS} atoms into principal axes",
        "what": "share of turned copies that get the same coordinates",
        "calls": {OURS: lambda: upright.canonical(x), "PyG NormalizeRotation": lambda: peer(x)},
        "right": {OURS: lambda: same(upright.canonical), "PyG NormalizeRotation": lambda: same(peer)},
    }


def graphs() -> dict[str, Any]:
    """Eigenvectors of Laplacians as features of nodes."""
    generator = torch.Generator().manual_seed(SEED)
    made = []
    for _ in range(GRAPHS):
        upper = (torch.rand(NODES, NODES, generator=generator) < 0.2).triu(1)
        upper[torch.arange(NODES - 1), torch.arange(1, NODES)] = True
        made.append(Data(edge_index=(upper | upper.mT).nonzero().mT.contiguous(), num_nodes=NODES))
    order = torch.stack([torch.randperm(NODES, generator=generator) for _ in made])
    renamed = [
        Data(edge_index=place[graph.edge_index], num_nodes=NODES) for graph, place in zip(made, order, strict=True)
    ]
    ours, theirs = (
        CanonicalLaplacianPE(VECTORS),
        AddLaplacianEigenvectorPE(VECTORS, attr_name="lap_pe", is_undirected=True),
    )

    def one(graphs: list[Data]) -> Tensor:
        return ours(Batch.from_data_list(graphs)).lap_pe.reshape(GRAPHS, NODES, VECTORS)

    def two(graphs: list[Data]) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.stack([theirs(graph.clone()).lap_pe for graph in graphs])

    def same(run: Callable[[list[Data]], Tensor]) -> float:
        back = run(renamed).gather(1, order[..., None].expand(-1, -1, VECTORS))
        return float(((run(made) - back).abs().amax((1, 2)) < 1e-3).double().mean())

    return {
        "job": f"{VECTORS} eigenvectors of {GRAPHS} graphs of {NODES} nodes",
        "what": "share of renumbered copies that get the same features",
        "calls": {OURS: lambda: one(made), "PyG AddLaplacianEigenvectorPE": lambda: two(made)},
        "right": {OURS: lambda: same(one), "PyG AddLaplacianEigenvectorPE": lambda: same(two)},
    }


def images() -> dict[str, Any]:
    """The energies of the eight turns of images, by group convolutions of the same widths."""
    from escnn import gspaces
    from escnn import nn as steerable

    x = torch.rand(IMAGES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(SEED))
    ours = GroupCNN(C(8), 3, generator=torch.Generator().manual_seed(SEED)).eval()
    space = gspaces.rot2dOnR2(8)
    into = steerable.FieldType(space, 3 * [space.trivial_repr])
    between = steerable.FieldType(space, 8 * [space.regular_repr])
    out = steerable.FieldType(space, [space.regular_repr])
    layers: list[Any] = [steerable.MaskModule(into, SIDE)]
    for first, last in ((into, between), (between, between), (between, out)):
        layers += [steerable.R2Conv(first, last, 5, padding=2, bias=False)]
        layers += [] if last is out else [steerable.ReLU(last), steerable.PointwiseAvgPool(last, 2)]
    network = steerable.SequentialModule(*layers).eval()

    def peer(x: Tensor) -> Tensor:
        return network(steerable.GeometricTensor(x, into)).tensor.mean((2, 3))

    def error(run: Callable[[Tensor], Tensor]) -> float:
        # A quarter turn of the image moves the energies by two places.
        there = run(x.rot90(1, (-2, -1)))
        return min(float((there - run(x).roll(shift, 1)).norm() / there.norm()) for shift in (2, -2))

    return {
        "job": f"energies of C(8) for {IMAGES} images of {SIDE} x {SIDE}, three layers, 8 channels",
        "what": "relative error at a quarter turn",
        "calls": {OURS: lambda: ours(x), "escnn": lambda: peer(x)},
        "right": {OURS: lambda: error(ours), "escnn": lambda: error(peer)},
    }


if __name__ == "__main__":
    main()
