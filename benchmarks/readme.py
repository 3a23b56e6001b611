"""Run the demonstration and write what it found into the README: `.venv/bin/python benchmarks/readme.py`."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from canonize.cli import demo


def block(found: demo.Demo) -> str:
    """The README's table; every number is taken from the audits."""
    lines = [
        "| 500 test scans | upright | mean over the turns | worst turn | largest relative error | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for one in found.audits:
        assert one.metric is not None
        numbers = (one.metric.upright, one.metric.mean, one.metric.worst_element)
        shares = " | ".join(f"{number:.1%}" for number in numbers)
        lines.append(f"| {one.name} | {shares} | {one.error.max:.2g} | {one.verdict} |")
    undecided = next(one for one in found.audits if one.verdict == "undecided")
    total = sum(found.seconds.values())
    versions = found.audits[0].versions
    lines += [
        "",
        f"Undecided, because: {undecided.reason}",
        "",
        f"Seed 0, {total:.0f} s on one thread (torch {versions['torch']}, Python {versions['python']}, {versions['machine']}).",
        "Written here by `.venv/bin/python benchmarks/readme.py`.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Replace what stands between the markers."""
    torch.set_num_threads(1)
    page = Path(__file__).parent.parent / "README.md"
    text = page.read_text(encoding="utf-8")
    fresh = f"<!-- demo -->\n{block(demo.run(seed=0))}\n<!-- /demo -->"
    page.write_text(re.sub(r"<!-- demo -->.*<!-- /demo -->", lambda _: fresh, text, flags=re.DOTALL), encoding="utf-8")
    print(fresh)


if __name__ == "__main__":
    main()
