"""`--limit N`: one drawn place within each stride, so that neither sorted nor periodic labels are missed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_runs import audit, model, run

from canonize.cli.data import load_data
from canonize.cli.listing import spread

SIZES = [(1, 1), (1, 7), (6, 60), (7, 60), (59, 60), (60, 60), (61, 60), (2000, 10**9)]


@pytest.mark.parametrize(("limit", "count"), SIZES)
def test_one_place_of_each_stride(limit: int, count: int) -> None:
    places = spread(limit, count, 3)
    if limit >= count:
        assert places == list(range(count))
        return
    assert len(places) == limit
    for number, place in enumerate(places):
        assert number * count // limit <= place < (number + 1) * count // limit
    assert spread(limit, count, 3) == places
    assert limit * 4 > count or spread(limit, count, 4) != places


@pytest.mark.parametrize("period", [2, 3, 5, 10])
def test_periodic_labels_are_all_seen_in_their_share(period: int) -> None:
    """100 of 1,000: every tenth would be of one class."""
    counts = torch.zeros(period)
    for seed in range(40):
        labels = torch.tensor(spread(100, 1000, seed)) % period
        assert len(labels.unique()) == period
        counts += torch.bincount(labels, minlength=period)
    shares = counts / counts.sum() * period
    # A count of 4000 / period draws is within five of its standard deviations.
    assert (shares - 1).abs().max() < 5 * (period / 4000) ** 0.5
    # The twin that must fail: the first of each stride.
    assert period == 3 or len((torch.arange(0, 1000, 10) % period).unique()) == 1


@pytest.mark.parametrize("classes", [2, 7, 20])
def test_classes_of_sorted_data_keep_their_shares(classes: int) -> None:
    labels = torch.arange(1000) * classes // 1000
    counts = torch.bincount(labels[torch.tensor(spread(200, 1000, 0))], minlength=classes)
    assert (counts - 200 / classes).abs().max() <= 2


def test_every_place_has_its_turn() -> None:
    seen = {place for seed in range(200) for place in spread(5, 20, seed)}
    assert seen == set(range(20))


@pytest.mark.parametrize("kind", ["a.npz", "a.parquet", "images"])
def test_the_seed_chooses_the_samples_of_each_kind_of_data(tmp_path: Path, kind: str) -> None:
    from PIL import Image as Picture

    path, numbers = tmp_path / kind, torch.arange(40)
    if kind == "a.npz":
        np.savez(path, x=numbers[:, None, None, None].float().numpy() / 255)
    elif kind == "a.parquet":
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        pq.write_table(pa.table({"x": [[[[n / 255]]] for n in range(40)]}), path)
    else:
        path.mkdir()
        for n in range(40):
            Picture.new("L", (1, 1), n).save(path / f"{n:02}.png")
    for seed in (0, 5):
        found = load_data(str(path), limit=6, gray=True, seed=seed).inputs.flatten()
        assert (found * 255).round().int().tolist() == spread(6, 40, seed)
    assert (
        load_data(str(path), limit=6, gray=True)
        .inputs.flatten()
        .equal(load_data(str(path), limit=6, gray=True, seed=0).inputs.flatten())
    )


class Reached(Exception):
    """The data were asked for."""


@pytest.mark.parametrize(
    ("command", "name", "words"),
    [
        ("audit", "audit.load_data", []),
        ("audit", "audit.reading", ["--workers", "1"]),
        ("adapt", "adapt.load_data", ["--out", "out"]),
    ],
)
def test_commands_hand_their_seed_on(
    place: Path, monkeypatch: pytest.MonkeyPatch, command: str, name: str, words: list[str]
) -> None:
    asked: dict[str, Any] = {}

    def reached(_: str, **options: Any) -> None:
        asked.update(options)
        raise Reached

    monkeypatch.setattr(f"canonize.cli.{name}", reached)
    run(command, model(place, "mean"), "--data", "images", "--group", "C4", "--limit", "5", "--seed", "11", *words)
    assert (asked["limit"], asked["seed"]) == (5, 11)


def test_audits_in_chunks_take_the_same_samples(place: Path) -> None:
    options = ("--limit", "9", "--seed", "4", "--report", "out.json")
    told = []
    for words in ((), ("--workers", "1")):
        assert audit(place, "corner", *options, *words, data="images").exit_code == 1
        text = (place / "out.json").read_text(encoding="utf-8")
        told.append(text[text.index('"error"') : text.index('"cost"')])
    assert told[0] == told[1]
