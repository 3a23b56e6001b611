"""`canonize dedupe`: what it finds in files of every kind, and what it says of bad ones."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_runs import run
from dedupe_cases import bad_folder, images
from PIL import Image as Picture

from canonize import E, Product, S, SymmetryError
from canonize.cli import dedupe as command
from canonize.cli import lines as reading
from canonize.cli.dedupe import find
from canonize.cli.items import find_items, picture
from canonize.cli.lines import graph6
from canonize.cli.words import group as group_of

PATHS = ["DhC", "DDW", "D?{", "D~{"]
"""Path, the same path relabelled, star, complete graph: each of five nodes."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_images_are_found_in_any_turn(folder: Path) -> None:
    place = images(folder)
    found = run("dedupe", str(place), "--group", "C4", "--out", str(folder / "new" / "found.json"))
    assert found.exit_code == 1, found.output
    report = read(folder / "new" / "found.json")
    assert report["groups"] == [["0.png", "more/turned.bmp"], ["2.png", "more/upside.png"]]
    assert (report["items"], report["bad"]) == (9, [])
    assert "9 looked at, 2 to drop in 2 groups, 0 bad" in found.output
    run("dedupe", str(place), "--group", "D4", "--out", str(folder / "found.json"))
    assert ["1.png", "more/mirrored.png"] in read(folder / "found.json")["groups"]
    (place / "more" / "turned.bmp").unlink()
    (place / "more" / "upside.png").unlink()
    assert run("dedupe", str(place), "--group", "C4").exit_code == 0


def test_an_array_and_an_image_are_one_thing(folder: Path) -> None:
    place = images(folder, 3)
    np.save(place / "array.npy", picture(place / "1.png").numpy())
    assert find(place, group_of("C4")).groups == [
        ["0.png", "more/turned.bmp"],
        ["1.png", "array.npy"],
        ["2.png", "more/upside.png"],
    ]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_pixels_are_what_is_shown(folder: Path, mode: str) -> None:
    gray = np.random.default_rng(0).integers(0, 2, (4, 5), dtype=np.uint8) * 255
    made = Picture.fromarray(gray).convert(mode)
    made.save(folder / "a.png")
    assert torch.equal(picture(folder / "a.png"), torch.from_numpy(gray).expand(3, -1, -1))


def test_depth_and_transparency_are_kept(folder: Path) -> None:
    deep = np.array([[0, 65535, 3]], dtype=np.uint16)
    Picture.fromarray(deep).save(folder / "a.png")
    assert picture(folder / "a.png").tolist() == [deep.tolist()]
    Picture.fromarray(np.full((2, 2, 4), 7, dtype=np.uint8)).save(folder / "b.png")
    assert picture(folder / "b.png").shape == (4, 2, 2)


def test_clouds_in_an_archive(folder: Path) -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(8, 5, 3, generator=g, dtype=torch.float64)
    z = torch.tensor([[6, 1, 1, 1, 8]] * 8)
    x[5] = x[1][[0, 3, 1, 2, 4]] @ E(3).sample(generator=g, dtype=torch.float64).linear.T + 3
    x[7] = x[2][[4, 1, 2, 3, 0]]
    np.savez(folder / "a.npz", pos=x.numpy(), z=z.numpy())
    told = find(folder / "a.npz", group_of("SxE3"), tolerance=1e-3)
    assert told.groups == [["a.npz[1]", "a.npz[5]"]]
    plain = find(folder, Product(S(), E(3)), tolerance=1e-3)
    assert plain.groups == told.groups
    np.save(folder / "b.npy", x.numpy())
    assert find(folder / "b.npy", group_of("SxE3"), tolerance=1e-3).groups == [
        ["b.npy[1]", "b.npy[5]"],
        ["b.npy[2]", "b.npy[7]"],
    ]


def test_clouds_of_several_sizes_stand_one_after_the_other(folder: Path) -> None:
    x = torch.randn(9, 3)
    stacked = torch.cat([x[:4], x[4:], x[:4].flip(0)])
    np.savez(folder / "a.npz", pos=stacked.numpy(), n_atoms=np.array([4, 5, 4], dtype=np.uint8))
    assert find(folder / "a.npz", group_of("S x SE3"), tolerance=1e-3).groups == [["a.npz[0]", "a.npz[2]"]]
    np.savez(folder / "b.npz", pos=stacked.numpy(), n_atoms=np.array([4, 5, 5]))
    with pytest.raises(SymmetryError, match=r"^the entries of the file do not fit together"):
        find(folder / "b.npz", group_of("SxSE3"), tolerance=1e-3)


def test_graphs_of_graph6(folder: Path) -> None:
    pytest.importorskip("canonaut", reason="canonaut is not installed")
    (folder / "a.g6").write_text(">>graph6<<\n" + "\n".join(PATHS) + "\n\n", encoding="utf-8")
    found = run("dedupe", str(folder / "a.g6"), "--group", "S", "--out", str(folder / "o.json"))
    assert read(folder / "o.json")["groups"] == [["a.g6:2", "a.g6:3"]], found.output


def test_adjacency_in_an_archive(folder: Path) -> None:
    pytest.importorskip("canonaut", reason="canonaut is not installed")
    a = torch.zeros(3, 4, 4, dtype=torch.int64)
    for place, (i, j, k) in enumerate([(0, 1, 2), (3, 0, 2), (1, 2, 1)]):
        for u, v in ((i, j), (j, k)):
            a[place, u, v] = a[place, v, u] = 1
    np.savez(folder / "a.npz", adjacency=a.numpy())
    assert find(folder / "a.npz", group_of("S")).groups == [["a.npz[0]", "a.npz[1]"]]


def test_graph6_against_networkx() -> None:
    networkx = pytest.importorskip("networkx", reason="networkx is not installed")
    for n in (0, 1, 2, 5, 62, 63, 64, 90):
        made = networkx.gnp_random_graph(n, 0.3, seed=n)
        found = graph6(networkx.to_graph6_bytes(made, header=n == 5).decode().strip())
        assert found.count == n
        assert {tuple(sorted(edge)) for edge in found.edges.T.tolist()} == {tuple(sorted(edge)) for edge in made.edges}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (":Fa@x^", "sparse6"),
        ("&DI?AO?", "digraph6"),
        ("Dh", "1 characters for 5 nodes"),
        ("D h", "other"),
        ("~~", "cut off"),
    ],
)
def test_lines_that_are_no_graph6(line: str, what: str) -> None:
    with pytest.raises(SymmetryError, match=what):
        graph6(line)


def test_bad_things_are_named_and_stop_nothing(folder: Path) -> None:
    place = bad_folder(folder)
    found = run("dedupe", str(place), "--group", "C4", "--out", str(folder / "o.json"))
    assert found.exit_code == 3
    report = read(folder / "o.json")
    assert [part["item"] for part in report["bad"]] == ["broken.png", "cut.npz", "line.npy", "nan.npy", "objects.npy"]
    assert "not-a-number has no canonical form" in report["bad"][3]["why"]
    assert "allow_pickle=False" in report["bad"][4]["why"]
    assert report["groups"] == [["0.png", "more/turned.bmp"], ["2.png", "more/upside.png"]]
    assert "bad: broken.png: " in found.output
    assert "Traceback" not in found.output


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["missing", "--group", "C4"], "there is nothing to work on"),
        (["empty", "--group", "C4"], "there is nothing to work on"),
        (["images", "--group", "Q9"], "this is no group that the command line knows"),
        (["images", "--group", "C4", "--out", "found.txt"], "the report is a JSON file"),
        (["images", "--group", "C4", "--resume", "images"], "the journal cannot be written"),
        (["a.npz", "--group", "C4"], "the file does not say which entry holds the values"),
        (["b.npz", "--group", "C4"], "this file cannot be read without running code"),
    ],
)
def test_a_wrong_call_is_told_in_words(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], what: str
) -> None:
    monkeypatch.chdir(folder)
    images(folder, 3)
    (folder / "empty").mkdir()
    np.savez(folder / "a.npz", unknown=np.zeros(3))
    np.savez(folder / "b.npz", x=np.array([{}], dtype=object))
    found = run("dedupe", *words)
    assert found.exit_code == 2, found.output
    assert found.output.startswith(f"canonize: {what}"), found.output


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--group", "SxE3"], "coordinates are equal up to a tolerance only"),
        (["--group", "E3"], "coordinates are equal up to a tolerance only"),
        (["--group", "SxE3", "--tolerance", "-1"], "the tolerance is no positive number"),
        (["--group", "SxE3", "--tolerance", "0"], "the tolerance is no positive number"),
        (["--group", "SxE3", "--tolerance", "nan"], "the tolerance is no positive number"),
        (["--group", "S", "--tolerance", "inf"], "the tolerance is no positive number"),
        (["--group", "C4", "--tolerance", "0.1"], "entries that only move are compared exactly"),
        (["--group", "S", "--out", "a.npy/found.json"], "the report cannot be written"),
        (["--group", "S", "--out", "a.npy/deep/found.json"], "the report cannot be written"),
        (["--group", "S", "--out", f"{'a' * 245}.json"], "the report cannot be written"),
    ],
)
def test_a_wrong_call_is_told_once_before_anything_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], what: str
) -> None:
    monkeypatch.chdir(folder)
    np.save(folder / "a.npy", np.zeros((2, 4, 3)))
    looked: list[Any] = []
    original = command.find_items
    monkeypatch.setattr(command, "find_items", lambda *parts, **named: (looked.append(1), original(*parts, **named))[1])
    found = run("dedupe", "a.npy", "--resume", "journal", *words)
    assert found.exit_code == 2, found.output
    assert found.output.startswith(f"canonize: {what}\n"), found.output
    assert found.output.count(what) == 1
    assert not looked
    assert [file.name for file in folder.iterdir()] == ["a.npy"]


def test_a_report_that_was_there_stays_until_the_new_one_is_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, report = images(folder, 3), folder / "found.json"
    report.write_text("old", encoding="utf-8")
    assert run("dedupe", str(place / "no"), "--group", "C4", "--out", str(report)).exit_code == 2
    assert report.read_text(encoding="utf-8") == "old"

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(command.json, "dump", full)
        found = run("dedupe", str(place), "--group", "C4", "--out", str(report))
    assert found.exit_code == 2
    assert "canonize: the report cannot be written" in found.output
    assert report.read_text(encoding="utf-8") == "old"
    assert sorted(file.name for file in folder.iterdir()) == ["found.json", "images"]
    assert run("dedupe", str(place), "--group", "C4", "--out", str(report)).exit_code == 1
    assert read(report)["items"] == 6


def test_lines_too_long_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LONGEST", 30)
    (folder / "a.g6").write_text("DhC\n" + "D" * 40, encoding="utf-8")
    with pytest.raises(SymmetryError, match=r"^a line of this file is too long\n  got:      a\.g6, line 2"):
        find_items(folder / "a.g6", S())


@pytest.mark.parametrize("word", ["S", "s", "S()", "S5", "SxE3", "S x SE(3)", "E3", "D4"])
def test_words_for_groups(word: str) -> None:
    shown = repr(group_of(word))
    assert shown.startswith("Product(S(), ") if "x" in word else "x" not in shown


@pytest.mark.skipif("CANONIZE_DATA" not in os.environ, reason="CANONIZE_DATA does not say where the data are")
def test_relabelled_copies_of_all_graphs_of_eight_nodes_are_found(folder: Path) -> None:
    networkx = pytest.importorskip("networkx", reason="networkx is not installed")
    lines = (Path(os.environ["CANONIZE_DATA"]) / "graphs" / "graph8c.g6").read_text(encoding="ascii").split()
    rng = random.Random(0)
    copies = []
    for line in lines:
        graph = networkx.relabel_nodes(
            networkx.from_graph6_bytes(line.encode()), dict(enumerate(rng.sample(range(8), 8)))
        )
        copies.append(networkx.to_graph6_bytes(graph, nodes=range(8), header=False).decode().strip())
    (folder / "a.g6").write_text("\n".join(lines + copies) + "\n", encoding="ascii")
    found = find(folder / "a.g6", S())
    assert found.groups == [[f"a.g6:{n}", f"a.g6:{n + len(lines)}"] for n in range(1, len(lines) + 1)]


def test_a_graph_that_takes_too_long_is_bad_by_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are labelled together; where one fails, the others are labelled again without it."""
    pytest.importorskip("canonaut", reason="canonaut is not installed")
    from canonize.forms import graph as forms

    original = forms.label

    def slow(graphs: Any, *, limit: float | None) -> Any:
        if int(graphs.sizes.max()) > 5:
            raise SymmetryError("this graph takes too long\n  got:      6 nodes\n")
        assert limit == 0.5
        return original(graphs, limit=limit)

    monkeypatch.setattr(forms, "label", slow)
    (folder / "a.g6").write_text("\n".join([*PATHS, "EhCG"]), encoding="utf-8")
    found = run("dedupe", str(folder / "a.g6"), "--group", "S", "--seconds", "0.5", "--out", str(folder / "o.json"))
    assert found.exit_code == 3
    assert read(folder / "o.json")["groups"] == [["a.g6:1", "a.g6:2"]]
    assert read(folder / "o.json")["bad"] == [{"item": "a.g6:5", "why": "this graph takes too long (6 nodes)"}]
