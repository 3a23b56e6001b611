"""Canonical eigenvectors of 1,000 graphs of mixed sizes in one batch, beside loops over the graphs."""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from _bench import SEED, finish, interleaved, progress, ratio, start, table
from torch import Tensor

from canonize import CanonicalEigenvectors

BATCHED = "canonize, one batch"
LOOP = "canonize, a loop"
PUBLISHED = "axis projections, a loop"
BARE = "eigh alone, a loop"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graphs", type=int, default=1000, help="how many graphs (default: 1000)")
    parser.add_argument("--repeats", type=int, default=7, help="timings of each candidate (default: 7)")
    options = start(parser)
    graphs = [molecule_like(number) for number in range(options.graphs)]
    sizes = torch.tensor([len(a) for a in graphs])
    offsets = sizes.cumsum(0) - sizes
    alone = [a.nonzero().T for a in graphs]
    edges = torch.cat([pairs + begin for pairs, begin in zip(alone, offsets, strict=True)], 1)
    result, body = {"benchmark": "graph_eigenvectors", "graphs": options.graphs, "repeats": options.repeats}, []
    for count in (None, 8):
        rule = CanonicalEigenvectors(count)
        check(rule, graphs[:50], alone[:50])
        candidates = {
            BATCHED: lambda rule=rule: rule.of_graphs(edges, sizes),
            LOOP: lambda rule=rule: [rule.of_graphs(pairs, len(a)) for pairs, a in zip(alone, graphs, strict=True)],
            PUBLISHED: lambda count=count: [axis_projections(laplacian(a), count) for a in graphs],
            BARE: lambda: [torch.linalg.eigh(laplacian(a)) for a in graphs],
        }
        with progress() as bar:
            task = bar.add_task(f"count={count}", total=options.repeats)
            times = interleaved(
                candidates,
                repeats=options.repeats,
                tick=lambda bar=bar, task=task: bar.advance(task),
                clock=time.process_time,
            )
        ratios = {name: ratio(each, times[BATCHED]) for name, each in times.items()}
        milliseconds = {name: 1000 * statistics.median(each) for name, each in times.items()}
        found = rule.of_graphs(edges, sizes)
        fixed = int(found.fixed.sum()) / int((found.dimension > 0).sum())
        told = "all" if count is None else str(count)
        result[f"count {told}"] = {"milliseconds": milliseconds, "ratio": ratios, "fixed": fixed}
        for name in candidates:
            body.append([name, told, f"{milliseconds[name]:.0f} ms", f"{ratios[name]['median']:.2f}x"])
    title = f"{options.graphs} graphs of {int(sizes.min())} to {int(sizes.max())} nodes, processor time"
    table(title, ["", "eigenvectors", "median", "over one batch"], body)
    finish(options, result)


def molecule_like(number: int) -> Tensor:
    """A tree of 20 to 40 nodes with a few rings, no node of more than four neighbours: its adjacency matrix."""
    source = torch.Generator().manual_seed(SEED * 100_000 + number)
    n = int(torch.randint(20, 41, (), generator=source))
    a = torch.zeros(n, n)
    for i in range(1, n):
        free = (a[:i].sum(1) < 3).nonzero()[:, 0]
        j = int(free[int(torch.randint(len(free), (), generator=source))])
        a[i, j] = a[j, i] = 1
    for _ in range(n // 8):
        free = (a.sum(1) < 3).nonzero()[:, 0]
        i, j = free[torch.randint(len(free), (2,), generator=source)].tolist()
        if i != j:
            a[i, j] = a[j, i] = 1
    return a


def laplacian(a: Tensor) -> Tensor:
    """The symmetrically normalised one of a connected graph, float64."""
    root = a.double().sum(1).rsqrt()
    return torch.eye(len(a), dtype=torch.float64) - root[:, None] * a * root


def axis_projections(matrix: Tensor, count: int | None) -> Tensor:
    """Signs and bases by projections of sums of axes, arXiv 2405.18378, one graph and one eigenspace at a time.

    Nodes of equal length in the eigenspace stand together; the sums of their axes are projected, orthogonalised, and taken
    as they come, largest length first, where something is left. What is not fixed keeps its basis.
    """
    values, vectors = torch.linalg.eigh(matrix)
    kept = values.shape[0] if count is None else count
    found = vectors.clone()
    ends = [*(values.diff() > 1e-6).nonzero()[:, 0].add(1).tolist(), len(values)]
    begin = 0
    for end in ends:
        if begin >= kept:
            break
        space = vectors[:, begin:end]
        length = (space.square().sum(1) * 1e6).round()
        distinct, group = torch.unique(length, return_inverse=True)
        sums = torch.nn.functional.one_hot(group, len(distinct)).double().flip(1)
        parts = space.T @ sums
        basis: list[Tensor] = []
        for part in parts.T:
            for unit in basis:
                part = part - (part @ unit) * unit
            size = part.norm()
            if size > 1e-6:
                basis.append(part / size)
            if len(basis) == end - begin:
                found[:, begin:end] = space @ torch.stack(basis, 1)
                break
        begin = end
    return found[:, :kept]


def check(rule: CanonicalEigenvectors, graphs: list[Tensor], alone: list[Tensor]) -> None:
    """End the program where the loop and the batch disagree, or relabelled copies do."""
    sizes = torch.tensor([len(a) for a in graphs])
    offsets = sizes.cumsum(0) - sizes
    batched = rule.of_graphs(torch.cat([e + b for e, b in zip(alone, offsets, strict=True)], 1), sizes)
    for number, (a, pairs) in enumerate(zip(graphs, alone, strict=True)):
        one = rule.of_graphs(pairs, len(a))
        p = torch.randperm(len(a), generator=torch.Generator().manual_seed(number))
        moved = rule.of_graphs(p[pairs], len(a))
        rows = batched.vectors[offsets[number] : offsets[number] + len(a), : one.vectors.shape[1]]
        if not (torch.allclose(rows, one.vectors, atol=1e-4) and torch.allclose(moved.vectors[p], rows, atol=1e-4)):
            raise SystemExit(f"graph {number}: the batch, the loop and a relabelled copy do not agree")


if __name__ == "__main__":
    main()
