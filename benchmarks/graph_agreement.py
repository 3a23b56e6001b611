"""Canonical forms beside networkx: coloured graphs with loops, parallel edges and labels, drawn by hypothesis.

Counts how often a form differs between relabelled copies, and how often equal forms and isomorphism disagree.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from _bench import finish, progress, start, table
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

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

    pair()
    return dict(found)


if __name__ == "__main__":
    main()
