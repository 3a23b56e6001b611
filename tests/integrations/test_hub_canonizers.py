"""Canonizers on the Hub: what comes back is what was shared, the card tells it without harm, and no network is needed."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("huggingface_hub", reason="huggingface-hub is not installed: pip install 'canonize[hub]'")
pytest.importorskip("safetensors", reason="safetensors is not installed: pip install 'canonize[hub]'")

import huggingface_hub.hub_mixin as mixin
from huggingface_hub import ModelCard, ModelHubMixin
from huggingface_hub.errors import OfflineModeIsEnabled

from canonize import (
    SE,
    SO,
    Average,
    Best,
    C,
    Confidence,
    Image,
    Keywords,
    Point,
    Scalar,
    Scored,
    Symmetrized,
    Symmetry,
    SymmetryError,
    Weighted,
    accuracy,
    audit,
    symmetrize,
)
from canonize.frames import Oriented
from canonize.integrations._card import MARK, escaped
from canonize.integrations.hub import Canonizer
from canonize.nn import GroupCNN, Scorer, Steerable
from canonize.report.words import clean

CLAIM = Symmetry(C(4), Image(), Scalar())
FILES = ["README.md", "audits.json", "canonizer.safetensors", "config.json"]
# Whoever names a model may try to write into the card's page.
EVIL = "<img src=x onerror=alert(1)> | a_b *c* `d` [e](http://f.g) www.h.i\n# title \\"


def model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


def upright() -> Symmetrized:
    draw = torch.Generator().manual_seed(0)
    return symmetrize(model(), CLAIM, Best(Scorer(1, width=2, depth=1, generator=draw))).eval()


def inputs(count: int = 32) -> torch.Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(2))


def audits() -> list[Any]:
    x, plain = inputs(), model()
    labels = plain(x).argmax(1)
    pairs = ((EVIL, plain), ("behind the frame", upright()))
    return [audit(one, CLAIM, x, targets=labels, metric=accuracy, name=name) for name, one in pairs]


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Canonizer(upright()).save_pretrained("upright", audits=audits(), license="apache-2.0", base_model="you/net")
    return tmp_path / "upright"


FRAMES: list[tuple[Symmetry, Any, Any]] = [
    (CLAIM, lambda: Best(Scorer(1, width=2, depth=1), gate=0.5, soft=0.25), inputs(3)),
    (CLAIM, lambda: Scored(GroupCNN(C(4), 1, width=2, depth=1)), inputs(3)),
    (Symmetry(SO(2), Image(), Scalar()), lambda: Oriented(Steerable(1, width=2, depth=1)), inputs(3)),
    (Symmetry(SE(3), Point(), Scalar()), Weighted, torch.rand(3, 5, 3)),
    (Symmetry(C(4), Keywords(x=Image()), {"logits": Scalar()}), lambda: Best(Scorer(1, width=2)), {"x": inputs(3)}),
]


@pytest.mark.parametrize("number", range(len(FRAMES)))
def test_one_line_there_and_one_line_back(number: int, tmp_path: Path) -> None:
    claim, make, x = FRAMES[number]
    mended = symmetrize(model(), claim, make()).eval()
    assert Canonizer(mended).save_pretrained(tmp_path / "deep" / "folder") is None
    again = symmetrize(model(), *Canonizer.from_pretrained(tmp_path / "deep" / "folder"))
    assert again.symmetry == claim
    expected, found = (one.poses(**x) if isinstance(x, dict) else one.poses(x) for one in (mended, again))
    for one, other in ((expected.elements, found.elements), (expected.weights, found.weights)):
        pairs = zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]
        assert all(torch.equal(a, b) for a, b in pairs)
    assert not again.frame.training if isinstance(again.frame, nn.Module) else True


def test_the_folder_holds_words_and_numbers_only(shared: Path) -> None:
    assert sorted(path.name for path in shared.iterdir()) == FILES
    assert [one["verdict"] for one in json.loads((shared / "audits.json").read_text())["audits"]] == ["fail", "pass"]
    for path in shared.iterdir():
        # No pickle, and nothing that Python would import.
        assert path.suffix in (".md", ".json", ".safetensors")
        assert b"__reduce__" not in path.read_bytes()


def test_the_card_has_metadata_that_the_hub_reads(shared: Path) -> None:
    data = ModelCard.load(shared / "README.md").data
    assert (data.library_name, data.license, data.base_model) == ("canonize", "apache-2.0", "you/net")
    assert {"canonize", "equivariance", "group:C(4)"} <= set(data.tags)
    # Nobody's licence is guessed.
    assert Canonizer(upright()).generate_model_card().data.license is None


def test_the_card_shows_what_was_measured_and_what_it_costs(shared: Path) -> None:
    text = (shared / "README.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    told = {row[0].strip("| "): [cell.strip("| ") for cell in row[1:]] for row in rows}
    assert told["verdict"] == ["✗ fail", "✓ pass"]
    assert told["relative error, worst"][1] == "0"
    assert float(told["relative error, worst"][0]) > 0.01
    assert float(told["accuracy, upright"][0]) == 1
    assert {"passes per sample", "time of one call"} <= told.keys()
    numbers = sum(part.numel() for part in upright().frame.parameters())
    assert f"The frame has {numbers:,} numbers." in text
    assert "- group: C(4)\n- inputs move as: Image()\n- outputs move as: Scalar()" in text
    assert "No audit was stored" in Canonizer(upright()).generate_model_card().text


def test_the_code_of_the_card_runs(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (shared / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    space: dict[str, Any] = {"model": model(), "inputs": inputs()}
    exec(blocks[0], space)
    assert "PASS" in capsys.readouterr().out
    assert torch.equal(space["upright"](inputs()), upright()(inputs()))


def test_words_from_outside_mean_nothing_in_the_card(shared: Path) -> None:
    text = (shared / "README.md").read_text(encoding="utf-8")
    body = text.split(MARK)[1]
    assert "<" not in body
    rows = [re.findall(r"(?<!\\)\|", line) for line in body.splitlines() if line.startswith("|")]
    assert {len(row) for row in rows} == {4}
    assert [line for line in body.splitlines() if line.startswith("#")] == [
        "# Best for C(4)",
        "## The symmetry",
        "## How to use it",
        "## What was measured",
        "## What it costs",
    ]
    for risky in ("www.h", "http:", "`d`", "*c*", "a_b", "e]"):
        assert risky not in body
    # A name of a repository is data in the code, too.
    quoted = Canonizer(upright()).generate_model_card(source='"); import os  # \n```\n<b>').text
    assert quoted.count("```") == 3
    assert len([line for line in quoted.splitlines() if line.startswith("```")]) == 2


def test_markdown_reads_escaped_words_as_they_were() -> None:
    parser = pytest.importorskip("markdown_it", reason="markdown-it-py is not installed").MarkdownIt(
        "gfm-like", {"linkify": False}
    )
    for name in (EVIL, "C(4)", "1. one", "&lt;b&gt;", "~~a~~ $x$ <!-- b -->", "a@b.c ![i](j)"):
        (inline,) = [token for token in parser.parse(f"- name: {escaped(name)}") if token.type == "inline"]
        assert {child.type for child in inline.children} <= {"text", "text_special"}
        assert "".join(child.content for child in inline.children) == f"name: {' '.join(name.split())}"
    # The twin: without the escapes it is a picture, a link, code.
    (raw,) = [token for token in parser.parse(f"- name: {clean(EVIL)}") if token.type == "inline"]
    assert {"html_inline", "link_open", "code_inline", "em_open"} <= {child.type for child in raw.children}


def test_a_card_of_ones_own_is_kept_and_an_old_one_is_not(shared: Path) -> None:
    one = Canonizer(upright())
    one.save_pretrained(shared)
    assert "No audit was stored" in (shared / "README.md").read_text()
    # Audits of other weights would not be audits of these.
    assert not (shared / "audits.json").exists()
    own = (shared / "README.md").read_text().replace(MARK, "").replace("# Best", "# Mine, Best")
    (shared / "README.md").write_text(own)
    one.save_pretrained(shared, audits=audits())
    assert (shared / "README.md").read_text() == own


class FakeHub:
    """The Hub's interface, as far as pushing needs it, without a network."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told

    def __call__(self, token: Any = None) -> FakeHub:
        self.told["token"] = token
        return self

    def create_repo(self, **options: Any) -> Any:
        self.told["made"] = options
        return type("Url", (), {"repo_id": options["repo_id"]})

    def upload_folder(self, *, folder_path: Path, **options: Any) -> str:
        self.told |= options
        self.told["files"] = {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}
        return "https://hub/commit/1"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    told: dict[str, Any] = {}
    monkeypatch.setattr(mixin, "HfApi", FakeHub(told))
    return told


@pytest.mark.parametrize("beside", [False, True])
def test_pushing_uploads_the_folder_in_one_commit(beside: bool, hub: dict[str, Any], tmp_path: Path) -> None:
    one, options = Canonizer(upright()), {"private": True, "token": "t"}
    told = {"audits": audits(), "license": "mit"}
    if beside:
        found = one.save_pretrained(tmp_path / "up", repo_id="you/up", push_to_hub=True, **told, **options)
    else:
        found = one.push_to_hub("you/up", **told, **options)
    assert found == "https://hub/commit/1"
    assert hub["made"] == {"repo_id": "you/up", "private": True, "exist_ok": True}
    assert (hub["token"], hub["repo_id"], hub["repo_type"]) == ("t", "you/up", "model")
    assert sorted(hub["files"]) == FILES
    text = hub["files"]["README.md"].decode()
    assert "Canonizer.from_pretrained('you/up')" in text
    assert "license: mit" in text
    assert "✗ fail" in text
    # What was pushed can be read.
    for name, content in hub["files"].items():
        (tmp_path / name).write_bytes(content)
    again = symmetrize(model(), *Canonizer.from_pretrained(tmp_path))
    assert torch.equal(again(inputs()), upright()(inputs()))


def test_without_a_network_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def offline(*_: Any, **__: Any) -> Any:
        raise OfflineModeIsEnabled("Cannot reach the Hub: offline mode is enabled.")

    monkeypatch.setattr(mixin.HfApi, "create_repo", offline)
    with pytest.raises(
        SymmetryError, match=r"^'you/up' cannot be pushed[\s\S]*Offline[\s\S]*save_pretrained\(folder\)"
    ):
        Canonizer(upright()).push_to_hub("you/up")
    for name in ("you/up", "no such folder", "a/b/c"):
        with pytest.raises(SymmetryError, match=r"cannot be read from the Hub[\s\S]*offline, pass a folder"):
            Canonizer.from_pretrained(name, local_files_only=True, cache_dir=tmp_path)


def test_what_cannot_be_shared_is_told(tmp_path: Path) -> None:
    for wrong in (model(), CLAIM, Symmetrized):
        with pytest.raises(SymmetryError, match=r"takes a symmetrized model[\s\S]*save_pretrained"):
            Canonizer(wrong)  # type: ignore[arg-type]
    for frame in (Average(), Best(Confidence(model()))):
        with pytest.raises(SymmetryError, match="cannot be saved"):
            Canonizer(symmetrize(model(), CLAIM, frame)).save_pretrained(tmp_path / "no")
    with pytest.raises(SymmetryError, match="a card shows audits"):
        Canonizer(upright()).save_pretrained(tmp_path / "no", audits="good")  # type: ignore[arg-type]
    assert not (tmp_path / "no" / "README.md").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(SymmetryError, match="cannot be written"):
        Canonizer(upright()).save_pretrained(tmp_path / "file")


@pytest.mark.parametrize("damage", ["config.json", "canonizer.safetensors"])
def test_a_strangers_files_are_refused_before_anything_else(damage: str, shared: Path) -> None:
    (shared / damage).write_bytes(b"\xff" * 100)
    with pytest.raises(SymmetryError, match="no saved canonizer"):
        Canonizer.from_pretrained(shared)
    (shared / damage).unlink()
    with pytest.raises(SymmetryError, match=f"no saved canonizer here[\\s\\S]*{damage}"):
        Canonizer.from_pretrained(shared)


def test_it_is_a_mixin_of_the_hub_and_pickles() -> None:
    one = Canonizer(upright())
    assert isinstance(one, ModelHubMixin)
    symmetry, frame = pickle.loads(pickle.dumps(one))
    assert symmetry == CLAIM
    assert torch.equal(symmetrize(model(), symmetry, frame)(inputs()), upright()(inputs()))
    assert repr(one) == f"Canonizer({CLAIM!r}, Best)"
