"""`canonize adapt` as a user runs it: files, report, Ctrl-C, and the saved folder in `canonize audit`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_runs import audit, model, run
from PIL import Image as Picture

from canonize import C, D, Image, Mask, Scalar, Symmetry, symmetrize
from canonize.adapt import adapt as real
from canonize.audit import audit as auditing
from canonize.cli.console import progress

pytest.importorskip("safetensors")
from canonize.integrations.safetensors import load

SMALL = ("--epochs", "3", "--width", "2", "--depth", "1", "--rate", "0.03", "--batch-size", "8")


@pytest.fixture
def upright(place: Path) -> Path:
    """Images that are bright above: 40 in a folder, in two classes, and as an array without classes."""
    draw = torch.Generator().manual_seed(0)
    ramp = torch.linspace(0.7, 0, 8)[:, None]
    x = (ramp + 0.3 * torch.rand(40, 3, 8, 8, generator=draw)).clamp(0, 1)
    # The second class is brighter in the corner that the model looks at.
    x[20:, :, :2, :2] = 1.0
    for number, one in enumerate(x):
        folder = place / "upright" / ("a" if number < 20 else "b")
        folder.mkdir(parents=True, exist_ok=True)
        Picture.fromarray((one.permute(1, 2, 0) * 255).to(torch.uint8).numpy()).save(folder / f"{number:02}.png")
    np.save(place / "upright.npy", x.numpy())
    (place / f"{place.name}_more.py").write_text(
        "def masks(x):\n    return x[:, 0] * 2 > 1 + x[:, 0, :1]\n\ndef numbers(x):\n    return x[:, 0, 0].mean(1)\n",
        encoding="utf-8",
    )
    return place


def command(place: Path, *options: str, data: str = "upright", which: str = "corner", group: str = "C4") -> Any:
    where = which if ":" in which else model(place, which)
    return run("adapt", where, "--data", data, "--group", group, "--out", "out", *SMALL, *options)


def audits(place: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((place / "out" / "report.json").read_text(encoding="utf-8"))["audits"]
    return found


def test_it_trains_saves_and_reports(upright: Path) -> None:
    found = command(upright)
    assert found.exit_code == 0, found.output
    names = {path.name for path in (upright / "out").iterdir()}
    assert names == {"canonizer.safetensors", "config.json", "report.html", "report.json", "report.txt"}
    before, after = audits(upright)
    assert (before["verdict"], after["frame"]) == ("fail", "Best")
    assert before["metric"]["name"] == "accuracy"
    assert after["metric"]["mean"] >= before["metric"]["mean"]
    assert after["error"]["max"] < 1e-5
    assert after["samples"] == before["samples"] == 4
    assert "4 held-out images chose the epoch, 4 others were measured." in found.output
    claim, frame = load("out")
    assert claim == Symmetry(C(4), Image(), Scalar())
    x = torch.from_numpy(np.load(upright / "upright.npy"))
    assert torch.equal(symmetrize(lambda x: x, Symmetry(C(4), Image(), Image()), frame).canonical(x), x)
    code = found.output[found.output.index("    from canonize") :].splitlines()[:3]
    assert [line.split()[0] for line in code] == ["from", "from", "upright"]
    space: dict[str, Any] = {"model": lambda x: x[:, 0, 0]}
    exec("\n".join(line.strip() for line in code), space)
    assert space["upright"](x).shape == (40, 8)


def test_the_saved_folder_is_a_frame_for_an_audit(upright: Path) -> None:
    assert command(upright).exit_code == 0
    found = audit(upright, "corner", "--frame", "out", "--report", "later", data="upright.npy")
    assert found.exit_code == 0, found.output
    told = json.loads((upright / "later" / "report.json").read_text(encoding="utf-8"))["audits"]
    assert [one["verdict"] for one in told] == ["fail", "pass"]
    assert told[1]["name"].endswith("behind out")
    other = audit(upright, "corner", "--frame", "out", "--output", "vector", data="upright.npy")
    assert other.exit_code == 2
    assert "the saved frame is for another model" in other.output
    (upright / "out" / "config.json").write_text("{}", encoding="utf-8")
    assert "this is no saved canonizer" in audit(upright, "corner", "--frame", "out", data="upright.npy").output
    assert "no saved canonizer here" in audit(upright, "corner", "--frame", "images", data="upright.npy").output
    unknown = audit(upright, "corner", "--frame", "nowhere")
    assert "or a folder that `canonize adapt` has written" in unknown.output


@pytest.mark.parametrize(
    ("which", "output", "data"),
    [
        ("corner", "scalar", "upright.npy"),
        ("numbers", "scalar", "upright.npy"),
        ("masks", "mask", "upright"),
    ],
)
def test_without_labels_the_models_own_answers_count(upright: Path, which: str, output: str, data: str) -> None:
    name = f"{upright.name}_more:{which}" if which != "corner" else which
    options = ("--no-targets",) if data == "upright" else ()
    found = command(upright, "--output", output, *options, data=data, which=name)
    assert found.exit_code == 0, found.output
    before, after = audits(upright)
    assert after["metric"]["name"] == before["metric"]["name"] == "agreement"
    assert after["metric"]["upright"] > 0.99
    assert after["metric"]["mean"] > 0.99
    assert which == "corner" or before["metric"]["mean"] < 0.99
    assert load("out")[0].outputs == (Mask() if which == "masks" else Scalar())


def test_other_groups(upright: Path) -> None:
    assert command(upright, "--epochs", "1", group="C8").exit_code == 0
    claim, frame = load("out")
    assert claim.group == C(8)
    assert frame.energy.disk
    assert frame.resolution == 32
    other = ("--out", "other", "--report", "r.json")
    assert command(upright, "--epochs", "1", "--resolution", "6", *other, group="D4").exit_code == 0
    claim, frame = load("other")
    assert claim.group == D(4)
    assert not frame.energy.disk
    assert (upright / "r.json").is_file()


def test_ctrl_c_and_the_same_command_again(upright: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(upright).exit_code == 0
    expected = (upright / "out" / "canonizer.safetensors").read_bytes()
    (upright / "out").rename(upright / "whole")

    def stopped(*args: Any, progress: Any, **options: Any) -> Any:
        def tell(done: int, total: int) -> None:
            progress(done, total)
            if done == 6:
                raise KeyboardInterrupt

        return real(*args, progress=tell, **options)

    monkeypatch.setattr("canonize.cli.adapt.adapt", stopped)
    found = command(upright)
    assert found.exit_code == 130
    assert f"The same command goes on from {Path('out') / 'checkpoint.pt'}" in found.output
    assert {path.name for path in (upright / "out").iterdir()} == {"checkpoint.pt"}
    steps: list[int] = []

    def watched(*args: Any, progress: Any, **options: Any) -> Any:
        return real(*args, progress=lambda done, total: steps.append(done), **options)

    monkeypatch.setattr("canonize.cli.adapt.adapt", watched)
    other = command(upright, "--seed", "1")
    assert other.exit_code == 2
    assert "the checkpoint is of another run" in other.output
    assert command(upright).exit_code == 0
    assert steps[0] == 5
    assert (upright / "out" / "canonizer.safetensors").read_bytes() == expected
    assert not (upright / "out" / "checkpoint.pt").exists()


def test_no_image_both_chooses_and_is_measured(upright: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets: list[Any] = []

    def watched(mended: Any, images: Any, *, validation: Any, **options: Any) -> Any:
        sets.append((images, validation))
        return real(mended, images, validation=validation, **options)

    def audited(model: Any, claim: Any, inputs: Any, **options: Any) -> Any:
        sets.append(inputs)
        return auditing(model, claim, inputs, **options)

    monkeypatch.setattr("canonize.cli.adapt.adapt", watched)
    monkeypatch.setattr("canonize.cli.adapt.audit", audited)
    assert command(upright, "--epochs", "1").exit_code == 0
    before, (train, (choose, _)), after = sets
    assert torch.equal(before, after)
    every = torch.cat([train, choose, after])
    assert len(every) == len(every.flatten(1).unique(dim=0)) == 40
    sets.clear()
    found = command(upright, "--epochs", "1", "--held-out", "0.1", "--out", "other")
    assert "4 held-out images were measured, too few to choose the epoch by some: it is the last." in found.output
    before, (train, choose), after = sets
    assert choose is None
    assert (len(train), len(after)) == (36, 4)


def test_other_images_or_options_make_another_run(upright: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(upright, "--epochs", "1", "--checkpoint", "run.pt").exit_code == 0
    np.save(upright / "other.npy", np.load(upright / "upright.npy")[::-1].copy())
    for data, options in (
        ("other.npy", ()),
        ("upright", ("--limit", "38")),
        ("upright", ("--size", "6")),
        ("upright", ("--mean", "0.5")),
        ("upright", ("--held-out", "0.3")),
        ("upright", ("--resolution", "6")),
    ):
        found = command(upright, "--epochs", "1", "--checkpoint", "run.pt", *options, data=data)
        assert found.exit_code == 2, found.output
        assert "the checkpoint is of another run" in found.output
        assert "delete run.pt to start anew, or name another file: checkpoint=... (--checkpoint)" in found.output


def test_names_that_look_like_markup(upright: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(
        "adapt",
        model(upright, "corner"),
        "--data",
        "upright",
        "--group",
        "C4",
        "--out",
        "o[/b]",
        *SMALL,
        "--epochs",
        "1",
    )
    assert found.exit_code == 0, found.output
    assert f"wrote {Path('o[/b]') / 'config.json'}" in found.output
    assert f"wrote {Path('o[/b]') / 'report.html'}" in found.output

    def stopped(*args: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("canonize.cli.adapt.adapt", stopped)
    found = run("adapt", model(upright, "corner"), "--data", "upright", "--group", "C4", "--out", "p[/b]", *SMALL)
    assert f"goes on from {Path('p[/b]') / 'checkpoint.pt'}" in found.output


def test_a_bar_with_a_name_that_looks_like_markup() -> None:
    with progress() as tell:
        tell("auditing net[/b].onnx", 1, 2)


def test_a_checkpoint_that_is_named_is_kept(upright: Path) -> None:
    assert command(upright, "--checkpoint", "kept.pt", "--limit", "16").exit_code == 0
    assert (upright / "kept.pt").is_file()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"group": "SO2"}, "canonize adapt turns images, and tries every turn"),
        ({"group": "octahedral"}, "canonize adapt turns images"),
        ({"group": "S4"}, "canonize adapt turns images"),
        ({"data": "flat.npy"}, "canonize adapt needs images"),
        ({"data": "few.npy"}, "at least 8 images"),
        ({"data": "nowhere"}, "no such data"),
        ({"which": "nowhere:net"}, "cannot be imported"),
        ({"more": ("--report", "out.xml")}, "a report cannot be"),
        ({"more": ("--mean", "x")}, "--mean takes numbers"),
        ({"more": ("--out", "name")}, "the folder of"),
        ({"more": ("--checkpoint", "name")}, "adapt cannot read its checkpoint"),
    ],
)
def test_wrong_calls(upright: Path, options: dict[str, Any], told: str) -> None:
    np.save(upright / "flat.npy", np.zeros((10, 8, 8), dtype=np.float32))
    np.save(upright / "few.npy", np.random.default_rng(0).random((7, 3, 8, 8), dtype=np.float32))
    found = command(upright, *options.pop("more", ()), **options)
    assert found.exit_code == 2, found.output
    assert told in found.output
    assert "Traceback" not in found.output


def test_what_to_install_is_told_before_the_work(upright: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.delitem(sys.modules, "canonize.integrations.safetensors")
    monkeypatch.delattr("canonize.integrations.safetensors")
    found = command(upright, which="nowhere:net")
    assert found.exit_code == 2
    assert "saved frames need safetensors" in found.output
    assert "pip install 'canonize[cli]'" in found.output
