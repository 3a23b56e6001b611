"""The group of a saved frame need not be said again, another one is refused; and `canonize groups` lists all groups."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_runs import model, run

from canonize import Best, C, Image, Scalar, Symmetry, SymmetryError, groups, nn, symmetrize
from canonize.cli import words

pytest.importorskip("safetensors")
from canonize.integrations.safetensors import save


def saved(where: Path, group: Any) -> str:
    torch.manual_seed(0)
    frame = Best(nn.Scorer(3, width=2, depth=1))
    save(symmetrize(torch.nn.Identity(), Symmetry(group, Image(), Scalar()), frame), where)
    return str(where)


def command(place: Path, verb: str, *options: str) -> Any:
    if verb == "canonicalize":
        return run(verb, "images", "--out", str(place / "out.tar"), *options)
    return run(verb, model(place, "corner"), "--data", "images", *options)


@pytest.mark.parametrize(
    ("verb", "more"),
    [
        ("audit", ("--report", "r.json")),
        ("audit", ("--report", "r.json", "--workers", "1")),
        ("explain", ("--json", "r.json")),
        ("canonicalize", ()),
    ],
)
def test_a_folder_knows_its_group(place: Path, verb: str, more: tuple[str, ...]) -> None:
    frame = saved(place / "upright", C(4))
    short = command(place, verb, "--frame", frame, *more)
    assert short.exit_code in (0, 1, 3), short.output
    if verb == "audit":
        told = json.loads((place / "r.json").read_text(encoding="utf-8"))["audits"]
        assert all("C(4)" in each["symmetry"] for each in told)
        assert len(told) == 2
    long = command(place, verb, "--frame", frame, "--group", "C4", *more)
    assert long.exit_code == short.exit_code, long.output
    other = command(place, verb, "--frame", frame, "--group", "D4", *more)
    assert other.exit_code == 2
    assert "the saved frame is for another group" in other.output
    assert f"got:      C(4) in {frame}" in other.output
    assert "expected: D(4), as --group says" in other.output
    assert "try:      leave out --group" in other.output


@pytest.mark.parametrize("verb", ["audit", "explain", "canonicalize"])
@pytest.mark.parametrize("frame", [None, "average"])
def test_without_a_folder_the_group_is_asked_for(place: Path, verb: str, frame: str | None) -> None:
    options = () if frame is None or verb == "canonicalize" else ("--frame", frame)
    found = command(place, verb, *options)
    assert found.exit_code == 2
    assert "no group is given" in found.output
    assert "--group C4" in found.output
    assert "Traceback" not in found.output


def test_two_folders_for_two_groups(place: Path) -> None:
    both = ("--frame", saved(place / "four", C(4)), "--frame", saved(place / "eight", C(8)))
    found = command(place, "explain", *both)
    assert found.exit_code == 2
    assert "C(8) in" in found.output
    assert f"expected: C(4), as {place / 'four'} does" in found.output


TOOLS = {"Group", "Rigid", "identity", "order"}
"""What the module of groups shows and is no group."""


def missing(listed: str) -> set[str]:
    """The groups of the library that a listing does not name."""
    made = {type(words.group(pattern.format(n=3))).__name__ for pattern, _, _ in words.GROUPS}
    made |= {name for name in groups.__all__ if f"{name}(" in listed}
    # What functions of the list return.
    made |= {"FiniteMatrixGroup", "Generated"} if "generated_by" in made else set()
    made |= {"GeneratedPermutations"} if "permutations_by" in made else set()
    return set(groups.__all__) - TOOLS - made


def test_all_groups_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = run("groups")
    assert found.exit_code == 0
    assert missing(found.output) == set()
    for pattern, _, _ in words.GROUPS:
        assert re.search(rf"│ {re.escape(pattern.format(n='n'))} +│", found.output), pattern
    # A group that is forgotten is seen.
    monkeypatch.setattr(words, "GROUPS", tuple(row for row in words.GROUPS if not row[0].startswith("S{")))
    monkeypatch.setattr(words, "GROUPS", tuple(row for row in words.GROUPS if row[0] != "S"))
    assert missing(run("groups").output) == {"S"}
    monkeypatch.setattr(words, "PYTHON", words.PYTHON[1:])
    assert len(missing(run("groups").output)) == 2


def test_permutations_of_as_many_things_as_there_are() -> None:
    assert words.group("S") == words.group("s()") == groups.S()
    assert words.group("S x E3") == groups.Product(groups.S(), groups.E(3))
    with pytest.raises(SymmetryError, match="this is no group"):
        words.group("X")
