"""The parts of the page of Euclidean benchmarks that come from the JSON of nbody.py and nve.py."""

from __future__ import annotations

import statistics
from typing import Any

from _page import grid, how


def nbody(result: dict[str, Any]) -> str:
    """Where five charged particles will be."""
    columns = ["trained and run as", "mean", "without worst 1 %", "median", "validation", "equivariance", "epoch", "s"]
    sections = []
    titles = {
        "wall-clock": f"after {result['seconds']:g} s of the processor each",
        "epochs": f"after {result['epochs']} epochs each",
    }
    for key, title in titles.items():
        rows = sorted(result["tables"][key], key=lambda row: row["mean"])
        body = [
            [
                f"`{row['name']}`" if "(" in row["name"] and "," not in row["name"] else row["name"],
                f"{row['mean']:.5f} ± {row['spread'] / 2:.5f}",
                *(f"{row[name]:.5f}" for name in ("trimmed", "median", "validation")),
                f"{row['equivariance']:.0e}",
                f"{row['epoch']:.0f}",
                f"{row['seconds']:.0f}",
            ]
            for row in rows
        ]
        sections.append(f"### {title[0].upper()}{title[1:]}\n\n{grid(columns, body)}\n")
    seeds = max(row["runs"] for row in result["tables"]["wall-clock"])
    papers = ", ".join(f"{name} {value:.4f}" for name, value in result["papers"].items())
    linear = result["linear"]["mean"]
    return f"""## n-body: where five charged particles will be

Squared error of the coordinates on {result["runs"]["test"]:,} test runs, trained on {result["runs"]["train"]:,};
mean over {seeds} seeds, ± half the spread between them. *Without worst 1 %*: the system is chaotic, and few runs hold much of
the error. *Equivariance*: the largest relative change of the answer under a rotation, reflection and shift,
in float64. *Epoch*, *s*: where the validation error was lowest.
All rows but the EGNN train the same plain message-passing network, which is not equivariant; poses of the
training runs are worked out once, and that time counts. A constant rate with a running mean of the weights lets one run
serve both tables.

{"".join(section + chr(10) for section in sections)}Moving on at constant velocity: {linear:.4f}.
Published, on other draws of these data and with far longer training: {papers}.
The rate, width and depth were chosen on the plain network with drawn signs, on validation runs; the EGNN had fewer trials.

{how(result)}"""


def nve(result: dict[str, Any]) -> str:
    """Dynamics at constant energy."""
    columns = ["molecule", "frame", "precision", "drift, meV", "largest change, meV", "turned start, Å"]
    body = [
        [
            row["molecule"],
            row["frame"],
            row["dtype"],
            _over(row, "drift_ev", 1000, "{:.2g}"),
            _over(row, "largest_change_ev", 1000, "{:.2g}"),
            _over(row, "turned_angstrom", 1, "{:.1e}"),
        ]
        for row in result["rows"]
    ]
    starts = result.get("starts", 1)
    which = f"medians over {starts} draws of the first velocities, the smallest and the largest in brackets"
    return f"""## Molecular dynamics at constant energy

{result["picoseconds"]:g} ps from the symmetric shape at 300 K, steps of {result["step_fs"]:g} fs, with a potential that
knows up from down; {"one trajectory each" if starts == 1 else which}.
*Drift*: the mean total energy of the last tenth of the run less that of the first, without its sign. *Turned start*: how
far the trajectory of a turned start is from the turned trajectory, after {result["turned_picoseconds"]:g} ps: molecules are
chaotic, so that rounding grows.

{grid(columns, body)}

{how(result)}"""


def _over(row: dict[str, Any], name: str, unit: float, form: str) -> str:
    """The median of a figure over the starts, with its range where there are several."""
    each = [unit * abs(start[name]) for start in row.get("starts", [row])]
    low, middle, high = (form.format(value) for value in (min(each), statistics.median(each), max(each)))
    return f"{middle} ({low} to {high})" if len(each) > 1 else middle
