"""Pipelines of transformers run symmetrized models as they run plain ones; weights are random, nothing is downloaded."""

from __future__ import annotations

import copy
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("transformers", reason="transformers is not installed: pip install 'canonize[hub]'")
pytest.importorskip("PIL.Image", reason="pillow is not installed")
pytest.importorskip("numpy", reason="numpy is not installed")

import numpy as np
import transformers as T
from PIL import Image as picture

from canonize import Average, Best, C, Confidence, Scored, Symmetrized, SymmetryError, adapt, audit, symmetrize
from canonize.frames import Oriented
from canonize.groups import SO
from canonize.integrations.safetensors import load
from canonize.integrations.transformers import as_pretrained, image_symmetry
from canonize.nn import GroupCNN, Scorer, Steerable

CLASSES = {0: "cat", 1: "dog", 2: "owl", 3: "fox"}
TURN = picture.Transpose.ROTATE_90


def classifier() -> Any:
    torch.manual_seed(0)
    config = T.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8,
        id2label=CLASSES, label2id={name: number for number, name in CLASSES.items()},
    )  # fmt: skip
    model = T.ViTForImageClassification(config).eval()
    with torch.no_grad():
        # Heads start small; larger weights, so that what is compared is far from constant.
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.add_(0.2 * torch.randn_like(weight))
    return model


def processor(size: int = 32) -> Any:
    return T.ViTImageProcessor(size={"height": size, "width": size})


def upright(model: Any = None, frame: Any = None) -> Symmetrized:
    model = classifier() if model is None else model
    return symmetrize(model, image_symmetry(model, C(4)), Best(Confidence(model)) if frame is None else frame)


def scorer() -> Scorer:
    return Scorer(3, width=2, depth=1, generator=torch.Generator().manual_seed(0))


def photo(size: int = 32, seed: int = 0) -> Any:
    return picture.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def pipe(model: Any, **options: Any) -> Any:
    return T.pipeline("image-classification", model=model, image_processor=processor(), device="cpu", **options)


def scores(told: list[dict[str, Any]]) -> dict[str, float]:
    return {one["label"]: one["score"] for one in told}


@pytest.mark.parametrize("frame", [None, Average(), Best(scorer(), resolution=16)], ids=["own", "average", "learned"])
def test_a_pipeline_answers_the_same_for_a_turned_picture(frame: Any) -> None:
    model = classifier()
    run, plain = pipe(as_pretrained(upright(model, frame))), pipe(model)
    one, other = scores(run(photo())), scores(run(photo().transpose(TURN)))
    assert one == pytest.approx(other, abs=1e-6)
    assert set(one) == set(CLASSES.values())
    # The plain model answers something else: there is a difference to be mended.
    before, after = scores(plain(photo())), scores(plain(photo().transpose(TURN)))
    assert max(abs(before[name] - after[name]) for name in before) > 1e-3
    many = run([photo(seed=1), photo()], batch_size=2, top_k=1)
    assert many[1] == [{"label": max(one, key=one.get), "score": pytest.approx(max(one.values()), abs=1e-6)}]


def test_the_answer_is_the_symmetrized_models_own() -> None:
    one = upright()
    pixels = processor()(images=photo(), return_tensors="pt")["pixel_values"]
    shares = one(pixel_values=pixels).logits.softmax(-1)[0].tolist()
    assert scores(pipe(as_pretrained(one))(photo())) == pytest.approx(
        {CLASSES[number]: share for number, share in enumerate(shares)}, abs=1e-7
    )


def test_a_pipeline_has_nothing_to_complain_about(caplog: pytest.LogCaptureFixture) -> None:
    def said(model: Any) -> list[str]:
        caplog.clear()
        T.logging.enable_propagation()
        try:
            pipe(model)
        finally:
            T.logging.disable_propagation()
        return [record.message for record in caplog.records if record.levelno >= logging.ERROR]

    assert said(as_pretrained(upright())) == []

    class Other(type(classifier())):  # type: ignore[misc]
        """The twin: a name that pipelines do not know."""

    odd = classifier()
    odd.__class__ = Other
    assert "is not supported" in said(odd)[0]


def test_segments_turn_with_the_picture() -> None:
    torch.manual_seed(0)
    config = T.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 16], patch_sizes=[7, 3],
        strides=[4, 2], num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=16, num_labels=3,
    )  # fmt: skip
    model = T.SegformerForSemanticSegmentation(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.add_(0.2 * torch.randn_like(weight))
    dressed = as_pretrained(symmetrize(model, image_symmetry(model, C(4))))
    run = T.pipeline(
        "image-segmentation",
        model=dressed,
        image_processor=T.SegformerImageProcessor(size={"height": 32, "width": 32}),
        device="cpu",
    )
    one, other = (
        {part["label"]: np.asarray(part["mask"]) for part in run(x)} for x in (photo(), photo().transpose(TURN))
    )
    assert one.keys() == other.keys()
    assert len(one) > 1
    # Ties between classes are decided by rounding; there may be a pixel or two of them.
    assert all((np.rot90(one[name]) != other[name]).mean() < 5e-3 for name in one)


@pytest.mark.parametrize(
    ("group", "frame"),
    [
        (C(4), lambda: Best(scorer(), resolution=16)),
        (C(4), lambda: Scored(GroupCNN(C(4), 3, width=2, depth=1))),
        (SO(2), lambda: Oriented(Steerable(3, width=2, depth=1), resolution=16)),
    ],
    ids=["Best", "Scored", "Oriented"],
)
def test_networks_of_canonize_take_the_picture_whatever_it_is_called(group: Any, frame: Any) -> None:
    model, made = classifier(), frame()
    claim, pixels = image_symmetry(model, group), torch.rand(24, 3, 32, 32)
    mended = symmetrize(model, claim, made)
    assert torch.equal(mended(pixel_values=pixels).logits, model(**mended.canonical(pixel_values=pixels)).logits)
    log = adapt(mended, {"pixel_values": pixels}, epochs=1)
    assert log.parameters == sum(weight.numel() for weight in made.parameters())
    if group == C(4):
        assert audit(mended, claim, {"pixel_values": pixels}, cost=False).passed


def test_copies_modes_and_dtypes() -> None:
    one = as_pretrained(upright())
    x = torch.rand(2, 3, 32, 32)
    for other in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert torch.equal(other(pixel_values=x).logits, one(pixel_values=x).logits)
        assert type(other) is type(one)
        assert other.config.id2label == CLASSES
    half = copy.deepcopy(one).to(torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert scores(pipe(half)(photo())) == pytest.approx(scores(pipe(one)(photo())), abs=2e-2)
    assert one.training == one.symmetrized.training
    model = classifier().train()
    model.vit.eval()
    modes = [part.training for part in model.modules()]
    dressed = as_pretrained(upright(model))
    assert [part.training for part in model.modules()] == modes
    assert not dressed.eval().symmetrized.model.training


def test_what_would_run_the_plain_model_is_not_there() -> None:
    one = as_pretrained(upright())
    assert not one.can_generate()
    for name in ("vit", "generate", "classifier", "get_input_embeddings", "nothing"):
        with pytest.raises(AttributeError, match=name):
            getattr(one, name)


def test_saving_writes_model_and_frame_and_both_come_back(tmp_path: Path) -> None:
    one = upright(frame=Best(scorer(), resolution=16))
    pipe(as_pretrained(one)).save_pretrained(tmp_path)
    assert sorted(path.name for path in (tmp_path / "canonizer").iterdir()) == ["canonizer.safetensors", "config.json"]
    model = T.AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    again = symmetrize(model, *load(tmp_path / "canonizer"))
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(again(pixel_values=x).logits, one(pixel_values=x).logits)
    # Without its frame the model would be saved as something that it is not.
    with pytest.raises(SymmetryError, match="cannot be saved"):
        as_pretrained(upright()).save_pretrained(tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_wrong_usage_is_told() -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    for wrong in (classifier(), symmetrize(plain, image_symmetry(classifier(), C(4))), Symmetrized):
        with pytest.raises(SymmetryError, match=r"a symmetrized model of transformers[\s\S]*image_symmetry\(model"):
            as_pretrained(wrong)
