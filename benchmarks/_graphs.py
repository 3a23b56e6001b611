"""The text of docs/benchmarks/graphs.md, from the JSON of graphs.py and of the scripts graph_*.py."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _page import HERE, grid, how, load
from _page import spread as quartiles

HEAD = """# Graphs: benchmarks

Every figure below was written here by `python benchmarks/_page.py` from the JSON files beside this page, which are the
output of the commands shown. [benchmarks/README.md](../../benchmarks/README.md) says what each script measures.
"""
PROMISED = {"float32": 1e-5, "float64": 1e-13}


def page(folder: Path = HERE) -> str:
    """The whole page; a part whose JSON is not there is left out."""
    parts: dict[str, Callable[[dict[str, Any]], str]] = {
        "graphs_separation": separation,
        "graphs_exactness": exactness,
        "graphs_training": training,
        "graphs_tu": molecules,
        "graph_agreement": agreement,
        "graph_speed": speed,
        "graph_eigenvectors": eigenvectors,
    }
    return "\n".join(
        [HEAD, *(write(load(name)) for name, write in parts.items() if (folder / f"{name}.json").is_file())]
    )


def separation(result: dict[str, Any]) -> str:
    """Pairs not told apart, copies told apart."""
    rows = [
        [row["set"], row["way"], f"{row['missed']:,} of {row['pairs']:,}", f"{row['least']:.1e}"]
        + [f"{row['copies_apart']:,} of {row['copies']:,}", f"{row['copies_changed']:,}"]
        for row in result["rows"]
    ]
    columns = ["set", "random network", "pairs not told apart", "least distance", "copies told apart", "copies changed"]
    ours = [row for row in result["rows"] if row["way"] == "MLP, canonical order"]
    missed, pairs = sum(row["missed"] for row in ours), sum(row["pairs"] for row in ours)
    changed, copies = (sum(row[key] for row in ours) for key in ("copies_changed", "copies"))
    forms = [
        [
            form["set"],
            *(f"{form[key]:,}" for key in ("different", "shared")),
            f"{form['changed']:,} of {form['copies']:,}",
        ]
        for form in result["forms"]
    ]
    kinds = result["components"]
    heads = ["set", "different forms", "pairs that share one", "copies with another form"]
    return f"""## What is told apart

Outputs of random networks, 16 numbers in float64, on the adjacency matrix and the features of nodes; two graphs are told
apart where the outputs differ by more than {result["threshold"]:g} of the longer one. In canonical order {missed:,} of
{pairs:,} pairs are not told apart, and {changed:,} of {copies:,} relabelled copies get an output that is not, bit for bit,
that of the graph. Pairs are those of EXP and BREC, all of graph8c and SR25, and those of different classes of CSL.

{grid(columns, rows)}

*Copies changed*: outputs that are not bit-identical. Without this control separation means nothing: an MLP that reads nodes
as they are numbered tells everything apart, a graph and its own copy too; so does an order by the sizes of the entries of
eigenvectors, wherever these tie or are those of a multiple eigenvalue. Message passing (four layers, sums) knows copies
again to rounding, and sees no more than colour refinement does.

The canonical forms themselves, compared byte for byte:

{grid(heads, forms)}

Graphs of BREC that stand in several pairs have one form. The graphs of EXP have {kinds["different"]:,} different connected
components, of which {kinds["of one class"]} occur in one class alone: who knows these again knows the class.

{how(result)}"""


def exactness(result: dict[str, Any]) -> str:
    """Errors of outputs of nodes and pairs."""
    outputs = ("node", "pair")
    rows = [
        [row["set"], row["model"], f"{row['graphs']:,}", f"{row['symmetric']:,}"]
        + [f"{row[precision][output]['error']:.1e}" for precision in PROMISED for output in outputs]
        + [f"{row['float64'][output]['bare']:.1e}" for output in outputs]
        for row in result["rows"]
    ]
    columns = ["set", "network", "graphs", "with automorphisms"]
    columns += [f"{output}s, {precision}" for precision in PROMISED for output in outputs]
    columns += [f"{output}s, bare" for output in outputs]
    broken = sorted(
        {
            row["set"]
            for row in result["rows"]
            for precision, bound in PROMISED.items()
            for output in outputs
            if not row[precision][output]["error"] <= bound
        }
    )
    told = "none" if not broken else f"**{'; '.join(broken)}**"
    return f"""## How exact outputs are

The largest ‖f(gx) - g f(x)‖ / ‖f(x)‖ of one graph, over all graphs of a set and {result["elements"]} relabellings of each,
for three numbers of each node and one for each pair of nodes, by random networks behind `CanonicalOrder()`: an MLP on the
flattened matrix and features, and a transformer with a token and a learned place for each node. Sets with an error above
{PROMISED["float32"]:.0e} in float32 or {PROMISED["float64"]:.0e} in float64: {told}. *Bare*: the same network without the
frame, float64. In graphs with automorphisms the outputs of interchangeable nodes and pairs are averaged. Copies stand at
other places of the batch than the graphs.

{grid(columns, rows)}

{how(result)}"""


def training(result: dict[str, Any]) -> str:
    """EXP and CSL."""
    rows = [
        [row["set"], row["way"], f"**{mean(row):.1f}**", f"{spread(row):.1f}", f"{seed_spread(row):.1f}", _train(row)]
        + [f"{row['changed']:.1e}", f"{row['seconds'] / len(row['accuracy']):.0f}"]
        for row in result["rows"]
    ]
    columns = ["set", "places", "accuracy, %", "over folds", "over seeds", "training set, %", "copies change by", "s"]
    settings = {row["set"]: row["settings"] for row in result["rows"]}
    counts = {row["set"]: row["folds"] for row in result["rows"]}
    means = ", ".join(
        f"{name} {counts[name]} folds, {each['depth']} layers of {each['width']}, {each['epochs']} epochs"
        for name, each in settings.items()
    )
    return f"""## EXP and CSL, trained

Accuracy of a small message-passing network (GIN) that is told a learned vector for the place of each node, on
**relabelled copies** of the test folds: {means}, Adam, no choice by the test set, {_seeds(result)}.
The two graphs of a pair of EXP are in the same fold. With places in canonical order this is
`symmetrize(network, claim, CanonicalOrder())`. The two graphs of a pair of EXP differ in one connected component, and few
different ones decide about the class; the rest is the same in both, and canonical order of the whole mixes the nodes of
all. Where each component is put in canonical order by itself, it gets the same places in every graph that it is in.

{grid(columns, rows)}

*Over folds, over seeds*: standard deviations, of folds within a seed, and of the means of seeds. *Copies change by*: the
largest change of a logit under the relabelling, over the largest logit. *s*: seconds of the processor for all folds.

{how(result)}"""


def molecules(result: dict[str, Any]) -> str:
    """MUTAG and PTC."""
    rows = [
        [row["set"], row["way"], f"{mean(row):.1f}", f"{spread(row):.1f}", f"{seed_spread(row):.1f}", _train(row)]
        + [f"{row['changed']:.1e}", f"{row['seconds'] / len(row['accuracy']):.0f}"]
        for row in result["rows"]
    ]
    columns = ["set", "told", "accuracy, %", "over folds", "over seeds", "training set, %", "copies change by", "s"]
    settings = result["rows"][0]["settings"]
    said = []
    for name in dict.fromkeys(row["set"] for row in result["rows"]):
        mine = [row for row in result["rows"] if row["set"] == name]
        best, worst = max(mine, key=mean), min(mine, key=mean)
        gap, noise = mean(best) - mean(worst), max(spread(row) for row in mine)
        kind = "within" if gap <= noise else "more than"
        said.append(
            f"{name}: from {mean(worst):.1f} ({worst['way']}) to {mean(best):.1f} ({best['way']}), "
            f"{kind} the spread of one method over folds, {noise:.1f}"
        )
    return f"""## MUTAG and PTC

The same network, {settings["depth"]} layers of {settings["width"]}, {settings["epochs"]} epochs, {_seeds(result)}, the same
{result["rows"][0]["folds"]} folds for all; what it is told of each node beside its element:
{result["eigenvectors"]} eigenvectors of the Laplacian as the solver returns them with signs drawn anew in each step and at
test, canonical ones, the diagonals of the projectors, or a learned vector for the place in canonical order. Bonds' kinds are
not used. Measured on relabelled copies, no choice by the test set.

{grid(columns, rows)}

{"; ".join(said)}. Sets of this size rank no methods. What the table does show is *copies change by*: with random
signs the same molecule gets other logits each time, with all others the same to rounding.

{how(result)}"""


def agreement(result: dict[str, Any]) -> str:
    """Canonical forms against networkx."""
    rows = [[name, f"{count:,}"] for name, count in result["counts"].items()]
    wrong = sum(count for name, count in result["counts"].items() if name.startswith("wrong"))
    return f"""## Agreement with networkx

Drawn graphs of up to 12 nodes, with colours, labels of edges, loops and directions: relabelled copies must have one
canonical form, and changed ones the same form if and only if networkx finds them isomorphic. Wrong answers: {wrong:,}.

{grid(["", "count"], rows)}

{how(result)}"""


def speed(result: dict[str, Any]) -> str:
    """Time of the labelling."""
    rows = [
        [row["graphs"], f"{row['count']:,}", " to ".join(f"{n:,}" for n in dict.fromkeys(row["nodes"])), way]
        + [f"{row['microseconds'][way]:,.1f}", quartiles(ratio), row["base"]]
        for row in result["rows"]
        for way, ratio in row["ratios"].items()
    ]
    columns = ["graphs", "count", "nodes", "", "microseconds a graph", "ratio", "to"]
    return f"""## Time of canonical labelling

Median of {result["repeats"]} interleaved timings (three of the large graphs), {result["clock"]} time, quartiles of ratios in
brackets. The rivals get their graphs ready-made and give the order alone; canonize starts from tensors. networkx has no
canonical form: it says whether a graph and a copy are isomorphic.

{grid(columns, rows)}

{how(result)}"""


def eigenvectors(result: dict[str, Any]) -> str:
    """Canonical eigenvectors in a batch and in loops."""
    rows = [
        [
            told.removeprefix("count "),
            way,
            f"{part['milliseconds'][way]:.0f}",
            quartiles(ratio),
            f"{100 * part['fixed']:.1f}",
        ]
        for told, part in result.items()
        if told.startswith("count ")
        for way, ratio in part["ratio"].items()
    ]
    columns = ["eigenvectors", "", "milliseconds", "time over one batch", "columns fixed by ours, %"]
    return f"""## Canonical eigenvectors of {result["graphs"]:,} graphs

Graphs of 20 to 40 nodes, like molecules; processor time, median of {result["repeats"]} interleaved timings, quartiles in
brackets. The published projections (arXiv 2405.18378) are written here anew; the solver alone fixes nothing.

{grid(columns, rows)}

{how(result)}"""


def mean(row: dict[str, Any]) -> float:
    """The mean accuracy in percent over folds and seeds."""
    return 100 * statistics.fmean(statistics.fmean(seed) for seed in row["accuracy"])


def spread(row: dict[str, Any]) -> float:
    """The standard deviation over folds in percent, the mean of the seeds'."""
    return 100 * statistics.fmean(statistics.stdev(seed) for seed in row["accuracy"])


def seed_spread(row: dict[str, Any]) -> float:
    """The standard deviation in percent of the means of the seeds; 0 for one seed."""
    means = [statistics.fmean(seed) for seed in row["accuracy"]]
    return 100 * statistics.stdev(means) if len(means) > 1 else 0.0


def _train(row: dict[str, Any]) -> str:
    each = [value for seed in row["train"] for value in seed]
    return f"{100 * sum(each) / len(each):.1f}"


def _seeds(result: dict[str, Any]) -> str:
    count = len(result["rows"][0]["accuracy"])
    return f"{count} seed{'s' if count > 1 else ''}"
