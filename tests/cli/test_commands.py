"""The commands as a user runs them: output, files, exit codes, and messages for bad input."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_runs import audit, model, run
from PIL import Image as Picture

from canonize import SO, C, Image, Product, S, Sampled, Scalar, SymmetryError, Tensor
from canonize.cli import demo, words
from canonize.cli.data import load_data
from canonize.cli.load import load_model


@pytest.mark.parametrize("data", ["data.npz", "data.npy", "data.pt", "images"])
def test_the_exit_code_is_the_verdict(place: Path, data: str) -> None:
    assert audit(place, "mean", data=data).exit_code == 0
    assert audit(place, "corner", data=data).exit_code == 1
    assert audit(place, "mean", "--limit", "8", data=data).exit_code == 3


def test_the_model_behind_a_frame(place: Path) -> None:
    found = audit(place, "corner", "--frame", "average", "--report", "out")
    assert found.exit_code == 0
    audits = json.loads((place / "out" / "report.json").read_text(encoding="utf-8"))["audits"]
    assert [one["verdict"] for one in audits] == ["fail", "pass"]
    assert audits[0]["metric"]["name"] == "accuracy"
    assert (place / "out" / "report.html").stat().st_size > 10_000
    assert audit(place, "corner", "--frame", "confidence").exit_code == 0


def test_targets_come_from_the_folders(place: Path) -> None:
    data = load_data("images")
    assert data.classes == ("cat", "dog")
    assert data.inputs.shape == (24, 3, 9, 9)
    assert data.targets is not None
    assert data.targets.tolist() == [0] * 12 + [1] * 12
    assert load_data("images", gray=True, size=5).inputs.shape == (24, 1, 5, 5)
    some = load_data("images", limit=6)
    assert some.targets is not None
    assert some.targets.tolist() == [0, 0, 0, 1, 1, 1]


def test_an_onnx_file(place: Path) -> None:
    onnx = pytest.importorskip("onnx")
    source = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 3, 8, 8])
    target = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 3, 8])
    node = onnx.helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)
    axes = onnx.numpy_helper.from_array(np.array([2], dtype=np.int64), "axes")
    graph = onnx.helper.make_graph([node], "columns", [source], [target], [axes])
    whole = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(whole, place / "columns.onnx")
    assert audit(place, "columns.onnx", data="data.npy").exit_code == 1
    assert audit(place, "columns.onnx", "--no-targets", "--frame", "average").exit_code == 0


def exported(place: Path) -> str:
    x = torch.rand(2, 3, 8, 8)
    program = torch.export.export(torch.nn.AvgPool2d(8), (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, place / "pool.pt2")
    return "pool.pt2"


def scripted(place: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(torch.nn.AvgPool2d(8), torch.rand(2, 3, 8, 8)).save(str(place / "pool.pt"))
    return "pool.pt"


@pytest.mark.parametrize("make", [exported, scripted])
def test_files_that_can_run_code_need_trust(place: Path, make: Callable[[Path], str]) -> None:
    where = make(place)
    refused = audit(place, where)
    assert refused.exit_code == 2
    assert "can run code when it is loaded" in refused.output
    assert "--trust" in refused.output
    assert audit(place, where, "--trust", "--no-targets").exit_code == 0
    assert "accuracy needs logits" in audit(place, where, "--trust").output
    framed = audit(place, where, "--trust", "--no-targets", "--frame", "average")
    assert framed.exit_code == 0, framed.output


class Bomb:
    """Unpickling this would write a file."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("open('exploded', 'w').close()",))


def test_no_file_runs_code(place: Path) -> None:
    torch.save(Bomb(), place / "bomb.pt")
    (place / "old.pt").write_bytes(pickle.dumps(Bomb()))
    np.savez(place / "bomb.npz", inputs=np.array([Bomb()], dtype=object), allow_pickle=True)
    np.save(place / "bomb.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    for name in ("bomb.pt", "old.pt", "bomb.npz", "bomb.npy"):
        found = audit(place, "mean", data=name)
        assert found.exit_code == 2, name
        assert re.search("run code|without running", found.output), name
    for name in ("bomb.pt", "old.pt"):
        for options in ((), ("--trust",)):
            found = audit(place, name, *options)
            assert found.exit_code == 2
            assert "runs code as it loads" in found.output
    assert not (place / "exploded").exists()


def test_weights_are_no_model(place: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, place / "weights.pt")
    with pytest.raises(SymmetryError, match=r"weights only(.|\n)*name the object in your code"):
        load_model("weights.pt")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("audit", "nowhere:net", "--data", "data.npz", "--group", "C4"), "cannot be imported"),
        (("audit", "net", "--data", "data.npz", "--group", "C4"), "this is no model"),
        (("audit", "net.onnx", "--data", "data.npz", "--group", "C4"), "no such model file"),
        (("audit", "MEAN", "--data", "nothing.npz", "--group", "C4"), "no such data"),
        (("audit", "MEAN", "--data", "name", "--group", "C4"), "data of this kind cannot be read"),
        (("audit", "MEAN", "--data", "data.npz", "--group", "Q8"), "this is no group"),
        (("audit", "MEAN", "--data", "data.npz", "--group", "C4", "--input", "picture"), "this is no action"),
        (("audit", "MEAN", "--data", "data.npz", "--group", "C4", "--frame", "best"), "this is no frame"),
        (("audit", "MEAN", "--data", "data.npz", "--group", "C4", "--frame", "sampled:abc"), "has a bad number"),
        (("audit", "MEAN", "--data", "data.npz", "--group", "C4", "--frame", "sampled:0"), "has a bad number"),
        (("audit", "MEAN", "--data", "data.npz", "--group", "C4", "--frame", "sampled:"), "has a bad number"),
        (("audit", "MEAN", "--data", "data.npz", "--group", "C4", "--frame", "average:zzz"), "takes no number"),
        (("audit", "MEAN", "--data", "data.npz", "--group", "C4", "--mean", "0,x"), "--mean takes numbers"),
        (("audit", "MEAN", "--data", "data.npz", "--group", "C4", "--mean", "nan"), "--mean takes numbers"),
        (("audit", "MEAN", "--data", "data.npz", "--group", "C4", "--std", "1,0,1"), "--std takes numbers"),
        (("audit", "MEAN", "--data", "data.npz", "--group", "C4", "--std", "1,2"), "--std does not fit the channels"),
        (("audit", "CLASS", "--data", "data.npz", "--group", "C4"), "this is a class"),
        (("audit", "MEAN", "--data", "empty", "--group", "C4"), "no images in this folder"),
        (("audit", "MEAN", "--data", "mixed", "--group", "C4"), "the images differ in size"),
        (("audit", "MEAN", "--data", "damaged", "--group", "C4"), "an image cannot be read"),
        (("audit", "MEAN", "--data", "other.npz", "--group", "C4"), "which entry holds the inputs"),
        (("audit", "MEAN", "--data", "data.npz", "--group", "C4", "--report", "x.pdf"), "try:      'x.html'"),
    ],
)
def test_bad_input_is_told_in_words(place: Path, words: tuple[str, ...], told: str) -> None:
    (place / "empty").mkdir()
    for name, size in (("mixed", 5), ("damaged", 6)):
        (place / name).mkdir()
        Picture.new("RGB", (size, size)).save(place / name / "a.png")
    Picture.new("RGB", (7, 7)).save(place / "mixed" / "b.png")
    (place / "damaged" / "b.png").write_bytes((place / "damaged" / "a.png").read_bytes()[:40])
    np.savez(place / "other.npz", strange=np.zeros(3))
    known = {"MEAN": model(place, "mean"), "CLASS": model(place, "Mean")}
    found = run(*(known.get(word, word) for word in words))
    assert found.exit_code == 2, found.output
    assert told in found.output
    assert "Traceback" not in found.output


def test_the_words_for_groups() -> None:
    assert words.group("C8") == words.group("c(8)") == C(8)
    assert words.group("octahedral+").order == 48
    assert words.group("S5 x C4") == Product(S(5), C(4))
    assert words.tree("image,scalar") == (Image(), Scalar())
    assert words.tree("tensor2") == Tensor(2)
    assert words.frame("sampled", None) == Sampled(8)
    assert words.frame("sampled:20", None) == Sampled(20)
    assert words.grids("image, volume,mask,none") == (2, 3, 0, None)
    listed = run("groups")
    assert listed.exit_code == 0
    for pattern, _, _ in words.GROUPS:
        assert pattern.format(n="n") in listed.output


@pytest.mark.parametrize(
    ("word", "most"),
    [
        ("S99999999", "S(n) with n of at most 10,000"),
        ("S10001", "S(n) with n of at most 10,000"),
        ("S" + "9" * 5000, "S(n) with n of at most 10,000"),
        ("C4097", "C(n) with n of at most 4,096"),
        ("D(4097)", "D(n) with n of at most 4,096"),
        ("SO65", "SO(n) with n of at most 64"),
        ("E65", "E(n) with n of at most 64"),
        ("C4xS10001", "S(n) with n of at most 10,000"),
    ],
)
def test_groups_that_would_never_end_are_refused(word: str, most: str) -> None:
    with pytest.raises(SymmetryError, match=r"^this group is too large for the command line") as refused:
        words.group(word)
    assert most.replace("(n)", "n") in str(refused.value)
    assert len(str(refused.value)) < 300


def test_the_largest_groups_that_are_taken() -> None:
    assert words.group("C4096") == C(4096)
    assert words.group("S10000") == S(10_000)
    assert words.group("SO0064") == SO(64)


def test_the_version_and_the_module() -> None:
    assert run("--version").output.strip().count(".") == 2
    found = subprocess.run([sys.executable, "-m", "canonize", "--version"], capture_output=True, text=True, check=True)
    assert found.stdout == run("--version").output


def test_a_missing_extra_says_what_to_install() -> None:
    code = """
        import sys
        sys.modules["typer"] = None
        from canonize.cli import main
        main()
    """
    found = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "pip install 'canonize[cli]'" in found.stderr


def test_the_demonstration_tells_its_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = run("demo", "--seed", "1")
    assert found.exit_code == 0, found.output
    audits = json.loads((tmp_path / "canonize-report" / "report.json").read_text(encoding="utf-8"))["audits"]
    plain, average, best, finer = audits
    assert [one["verdict"] for one in audits[:3]] == ["fail", "pass", "pass"]
    assert finer["verdict"] != "pass"
    assert plain["metric"]["upright"] > 0.95
    assert plain["metric"]["mean"] < 0.45
    assert average["error"]["max"] < 1e-5
    assert best["error"]["max"] < 1e-5
    assert best["metric"]["mean"] > 0.95
    assert finer["metric"]["mean"] > 0.9
    assert f"{plain['metric']['upright']:.1%}" in found.output
    assert (tmp_path / "canonize-report" / "report.html").exists()


def test_equal_seeds_give_equal_demonstrations_and_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    images, labels = demo.digits(torch.Generator().manual_seed(3))
    again, _ = demo.digits(torch.Generator().manual_seed(3))
    assert torch.equal(images, again)
    assert images.shape == (1797, 1, 12, 12)
    assert labels.unique().tolist() == list(range(10))
    assert torch.equal(torch.get_rng_state(), before)
