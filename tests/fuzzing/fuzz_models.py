"""Damaged files for one reader of models, in a process of its own: `fuzz_models.py NAME FOLDER COUNT` prints what it did."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

from fuzz_damage import FOREIGN, cuts, damaged
from fuzz_guard import watched
from fuzz_targets import EVIL, OUTSIDE, outcome


def main() -> None:
    """Print the counts as one line of JSON."""
    name, folder, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    target = next(one for one in OUTSIDE if one.name == name)
    counts = {"read": 0, "refused": 0}
    done: list[str] = []
    for whole in target.seeds():
        outcome(target, whole, folder)
    contents = [*target.seeds(), *EVIL.values(), *FOREIGN]
    for number, whole in enumerate(target.seeds()):
        contents += [*cuts(whole), *damaged(whole, number, count)]
    for content in contents:
        with watched() as seen:
            counts[outcome(target, content, folder)] += 1
        done += seen
    print(json.dumps({**counts, "done": done + [str(path) for path in folder.rglob("ran")]}))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
