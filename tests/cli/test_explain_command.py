"""`canonize explain`: the table, the figures in a file, and bad calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_runs import model, run

from canonize.explain import run as explaining
from stored_cases import png, table


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "LEAST", 1)
    monkeypatch.setattr(explaining, "ENOUGH", 0.0)


def explain(place: Path, *options: str, group: str = "C4") -> Any:
    return run("explain", model(place, "corner"), "--data", "data.npz", "--group", group, *options)


def test_the_table_names_each_frame_and_the_file_has_all_figures(place: Path) -> None:
    found = explain(place, "--json", "out/cost.json")
    assert found.exit_code == 0, found.output
    told = json.loads((place / "out" / "cost.json").read_text(encoding="utf-8"))
    assert told["batch"] == 16
    frames = {choice["frame"]: choice for choice in told["choices"]}
    assert frames["Average()"]["cost"]["passes"] == 4
    for name in frames:
        assert name.split(",")[0] in found.output
    assert "of 16 inputs" not in found.output
    assert "for 16 inputs, plain" in found.output


def test_only_the_named_frames(place: Path) -> None:
    found = explain(place, "--frame", "average", "--frame", "confidence", "--batch-size", "4", "--json", "cost.json")
    assert found.exit_code == 0, found.output
    told = json.loads((place / "cost.json").read_text(encoding="utf-8"))
    assert {choice["frame"]: choice["cost"]["passes"] for choice in told["choices"]} == {"average": 4, "confidence": 5}
    assert told["batch"] == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--frame", "nothing"), "no frame that the command line knows"),
        (("--json", "images"), "cannot be written"),
    ],
    ids=lambda value: None,
)
def test_bad_calls_exit_with_two(place: Path, options: tuple[str, ...], words: str) -> None:
    found = explain(place, *options)
    assert found.exit_code == 2
    assert words in found.output


def test_a_model_that_fails_is_told(place: Path) -> None:
    found = run("explain", model(place, "lookup"), "--data", "data.npz", "--group", "C4")
    assert found.exit_code == 2
    assert "no field named weight" in found.output
    assert "Traceback" not in found.output


def test_a_column_can_be_named(place: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    pixels = (torch.rand(3, 8, 8, 3) * 255).to(torch.uint8).numpy()
    table(place / "foto.parquet", photograph=[png(each) for each in pixels])
    words = ("--data", "foto.parquet", "--frame", "average", "--json", "cost.json")
    told = explain(place, *words)
    assert told.exit_code == 2
    assert "try:      --column NAME" in told.output
    assert explain(place, *words, "--column", "photograph").exit_code == 0
    assert json.loads((place / "cost.json").read_text(encoding="utf-8"))["batch"] == 3
