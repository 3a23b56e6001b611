"""Canonical forms beside networkx: coloured graphs with loops, parallel edges and labels, drawn by hypothesis.

Counts how often a form differs between relabelled copies, and how often equal forms and isomorphism disagree.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from _bench import finish, progress, start, table
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from canonize import Graph, S, canonical_hash

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "labelling"))

import label_cases  # the tests' own draws and their own counting of parallel edges


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="pairs of graphs (default: 10,000)")
    options = start(parser)
    with progress() as bar:
        task = bar.add_task("pairs", total=options.count)
        counts = agreement(options.count, lambda: bar.advance(task))
    rows = [[name, f"{number:,}"] for name, number in counts.items()]
    table("Canonical forms of drawn graphs of up to 12 nodes", ["", "count"], rows)
    finish(options, {"benchmark": "graph_agreement", "counts": counts}, ("canonaut", "networkx", "hypothesis"))
    wrong = sum(number for name, number in counts.items() if name.startswith("wrong"))
    if wrong:
        raise SystemExit(f"{wrong} answers are wrong")


def hashable(packed: Any) -> Graph:
    """One packed graph as `canonical_hash` takes it, read as networkx reads it: each pair once, with all its labels."""
    known = label_cases.network(packed)
    ends = [(u, v, data["label"]) for u, v, data in known.edges(data=True)]
    edges = torch.tensor([(u, v) for u, v, _ in ends], dtype=torch.int64).reshape(-1, 2).T
    nodes = [known.nodes[node]["colour"] for node in sorted(known)]
    return Graph(edges, nodes, [label for _, _, label in ends], count=len(nodes), directed=True)


def agreement(count: int, tick: Any) -> dict[str, int]:
    """How many pairs were drawn, of which kinds, and what was wrong on each way through the labelling."""
    found: Counter[str] = Counter()

    @given(one=label_cases.graphs(), seed=st.integers(0, 2**31))
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def pair(one: Any, seed: int) -> None:
        tick()
        copy, other = label_cases.copied(one, seed), label_cases.changed(one, seed)
        same = label_cases.isomorphic(one, other)
        found["pairs"] += 1
        found["directed"] += bool(one.directed)
        found["coloured"] += one.colours is not None
        found["labelled"] += one.labels is not None
        found["isomorphic"] += same
        found["not isomorphic"] += not same
        for way in label_cases.WAYS:
            form, again, changed = (label_cases.form(each, label_cases.by(way, each)) for each in (one, copy, other))
            found[f"wrong, {way}: copies of two forms"] += form != again
            found[f"wrong, {way}: forms against networkx"] += (form == changed) != same
        hashes = [canonical_hash(hashable(each), S()) for each in (one, copy, other)]
        found["wrong, hash: of copies"] += hashes[0] != hashes[1]
        found["wrong, hash: against networkx"] += (hashes[0] == hashes[2]) != same

    pair()
    return dict(found)


if __name__ == "__main__":
    main()
