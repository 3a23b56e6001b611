"""Graphs in canonical order: what is told apart, how exact outputs are, and networks trained with it. One part a run."""

from __future__ import annotations

import argparse

import _graphs_exact
import _graphs_folds
import _graphs_separation
from _bench import finish, start
from _data import data_option

PARTS = {
    "separation": _graphs_separation.separation,
    "exactness": _graphs_exact.exactness,
    "training": _graphs_folds.training,
    "tu": _graphs_folds.molecules,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS, help="what to measure")
    data_option(parser, "graphs")
    parser.add_argument(
        "--copies", type=int, default=1000, help="separation: relabelled copies at least (default: 1000)"
    )
    parser.add_argument("--elements", type=int, default=4, help="exactness: relabellings of each graph (default: 4)")
    parser.add_argument(
        "--epochs", type=int, help="training, tu: passes over the data (default: 12 for EXP, 40 for CSL, 30)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="training, tu: how many (default: 3)")
    options = start(parser)
    result = PARTS[options.part](options)
    finish(options, {"benchmark": f"graphs_{options.part}"} | result, ("canonaut", "networkx"))


if __name__ == "__main__":
    main()
