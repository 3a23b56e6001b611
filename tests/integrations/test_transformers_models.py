"""Models of transformers with random weights keep their outputs and get the symmetry; nothing is downloaded."""

import copy
import doctest
import pickle
from functools import lru_cache

import pytest
import torch
from torch.nn import functional as F

transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install 'canonize[hub]'")

from canonize import (  # noqa: E402  # after the check that the library is there
    Average,
    Best,
    C,
    Confidence,
    D,
    Image,
    Keywords,
    LogSumExp,
    Mask,
    Scalar,
    SymmetryError,
    audit,
    symmetrize,
)
from canonize._tree import tensors  # noqa: E402
from canonize.actions import move  # noqa: E402
from canonize.integrations import transformers as integration  # noqa: E402
from canonize.integrations.transformers import RelativeBoxes, Tokens, image_symmetry  # noqa: E402

T = transformers
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
PYRAMID = {
    "num_encoder_blocks": 2, "depths": [1, 1], "sr_ratios": [2, 1], "hidden_sizes": [8, 16], "patch_sizes": [7, 3],
    "strides": [4, 2], "num_attention_heads": [1, 2], "mlp_ratios": [2, 2], "decoder_hidden_size": 16,
}  # fmt: skip
DEIT = {"image_size": 32, "patch_size": 8, "num_labels": 5}


def swin(**more):
    return T.SwinConfig(
        image_size=32, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4, num_labels=5, **more
    )


def resnet(**more):
    return T.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=5, **more)


def detr():
    return T.DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, num_queries=5, num_labels=4,
        backbone_config=resnet(out_features=["stage2"]), d_model=16, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
    )  # fmt: skip


def depth_anything():
    backbone = T.Dinov2Config(
        image_size=32, patch_size=8, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, apply_layernorm=True,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False,
    )  # fmt: skip
    return T.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, patch_size=8, neck_hidden_sizes=[8] * 4,
        fusion_hidden_size=8, head_hidden_size=8, reassemble_factors=[4, 2, 1, 0.5],
    )  # fmt: skip


def yolos():
    return T.YolosConfig(
        image_size=[32, 32],
        patch_size=8,
        num_detection_tokens=6,
        num_labels=4,
        use_mid_position_embeddings=False,
        **SMALL,
    )


def registers():
    return T.Dinov2WithRegistersConfig(
        image_size=32, patch_size=8, hidden_size=16, num_hidden_layers=2, num_attention_heads=2
    )


# Model, configuration, the part of the output that is looked at, and how it is claimed to move.
MODELS = {
    "vit": ("ViTForImageClassification", lambda: T.ViTConfig(**DEIT, **SMALL), {"logits": Scalar()}),
    "deit": (
        "DeiTForImageClassificationWithTeacher",
        lambda: T.DeiTConfig(**DEIT, **SMALL),
        {"logits": Scalar(), "cls_logits": Scalar(), "distillation_logits": Scalar()},
    ),
    "resnet": ("ResNetForImageClassification", resnet, {"logits": Scalar()}),
    "convnext": (
        "ConvNextForImageClassification",
        lambda: T.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, num_labels=5),
        {"logits": Scalar()},
    ),
    "swin": ("SwinForImageClassification", swin, {"logits": Scalar()}),
    "segformer": (
        "SegformerForSemanticSegmentation",
        lambda: T.SegformerConfig(num_labels=4, **PYRAMID),
        {"logits": Image()},
    ),
    "glpn": ("GLPNForDepthEstimation", lambda: T.GLPNConfig(**PYRAMID), {"predicted_depth": Image()}),
    "depth anything": ("DepthAnythingForDepthEstimation", depth_anything, {"predicted_depth": Image()}),
    "vit features": (
        "ViTModel",
        lambda: T.ViTConfig(**DEIT, **SMALL),
        {"last_hidden_state": Tokens(1), "pooler_output": Scalar()},
    ),
    "dinov2 with registers": (
        "Dinov2WithRegistersModel",
        registers,
        {"last_hidden_state": Tokens(5), "pooler_output": Scalar()},
    ),
    "swin features": ("SwinModel", swin, {"last_hidden_state": Tokens(), "pooler_output": Scalar()}),
    "resnet features": ("ResNetModel", resnet, {"last_hidden_state": Image(), "pooler_output": Image()}),
    "resnet backbone": (
        "ResNetBackbone",
        lambda: resnet(out_features=["stage1", "stage2"]),
        {"feature_maps": (Image(), Image())},
    ),
    "clip": (
        "CLIPVisionModelWithProjection",
        lambda: T.CLIPVisionConfig(image_size=32, patch_size=8, projection_dim=8, **SMALL),
        {"image_embeds": Scalar(), "last_hidden_state": Tokens(1)},
    ),
}
BOXES = {"logits": Scalar(), "pred_boxes": RelativeBoxes(), "last_hidden_state": None}
DETECTORS = {
    "yolos": ("YolosForObjectDetection", yolos, BOXES),
    "detr": ("DetrForObjectDetection", detr, {**BOXES, "encoder_last_hidden_state": None}),
}


@lru_cache
def made(name):
    torch.manual_seed(0)
    kind, config, outputs = (MODELS | DETECTORS)[name]
    # Heads start small; larger weights, so that what the tests compare is far from constant.
    model = getattr(T, kind)(config()).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.add_(0.1 * torch.randn_like(weight))
    return model, outputs


def pictures(batch=3, **kind):
    return torch.rand(batch, 3, 32, 32, generator=torch.Generator().manual_seed(1)).to(**kind)


def brightness(pixel_values, **_):
    """An energy that quarter turns and flips tell apart."""
    rows, columns = (torch.linspace(0, 1, side) ** 2 for side in pixel_values.shape[-2:])
    return (pixel_values.float().mean(1) * columns * (1 + rows[:, None])).mean((-2, -1))


def largest_error(model, claim, x):
    """Over all elements: model(g x) against g model(x), relative to the answer."""
    with torch.no_grad():
        answer, worst = model(pixel_values=x), 0.0
        for g in claim.group.elements():
            g = g.expand(len(x), 2, 2)
            turned = model(pixel_values=move(Image(), g, x))
            for name, action in claim.outputs.items():
                if action is not None:
                    wanted = tensors(move({name: action}, g, {name: answer[name]}))
                    for one, other in zip(tensors(turned[name]), wanted, strict=True):
                        worst = max(worst, float((one - other).norm() / other.norm()))
    return worst


@pytest.mark.parametrize("name", MODELS | DETECTORS)
def test_the_claim_is_read_off_the_model(name):
    model, outputs = made(name)
    claim = image_symmetry(model, C(4))
    assert claim.inputs == Keywords(pixel_values=Image())
    assert claim.outputs == outputs


@pytest.mark.parametrize("group", [C(4), D(4)], ids=repr)
@pytest.mark.parametrize("name", MODELS)
def test_outputs_keep_their_class_and_get_the_symmetry(name, group):
    model, _ = made(name)
    x, claim = pictures(), image_symmetry(model, group)
    plain = model(pixel_values=x)
    assert largest_error(model, claim, x) > 1e-3, "the plain model must break the claim"
    for frame in (Average(), Best(brightness)):
        upright = symmetrize(model, claim, frame)
        assert largest_error(upright, claim, x) < 5e-6
        output = upright(pixel_values=x)
        assert type(output) is type(plain)
        assert list(output) == list(plain)
        first = next(iter(output))
        assert output[0] is output[first] is getattr(output, first)


@pytest.mark.parametrize("group", [C(4), D(4)], ids=repr)
@pytest.mark.parametrize("name", DETECTORS)
def test_detections_turn_with_the_picture(name, group):
    model, _ = made(name)
    x, claim = pictures(), image_symmetry(model, group)
    assert largest_error(model, claim, x) > 1e-3
    assert largest_error(symmetrize(model, claim, Best(brightness)), claim, x) < 5e-6
    # Also where a turn leaves the picture as it is.
    assert largest_error(symmetrize(model, claim, Best(brightness)), claim, torch.ones(2, 3, 32, 32)) < 5e-6


@pytest.mark.parametrize("name", DETECTORS)
def test_queries_of_several_poses_are_not_averaged(name):
    model, _ = made(name)
    with pytest.raises(SymmetryError, match=r"cannot be averaged over poses[\s\S]*a frame with one pose, such as Best"):
        symmetrize(model, image_symmetry(model, C(4)))(pixel_values=pictures())


def test_average_is_the_mean_of_the_answers_turned_back():
    model, _ = made("segformer")
    x = pictures()
    wanted = sum(model(pixel_values=x.rot90(-k, (-2, -1))).logits.rot90(k, (-2, -1)) for k in range(4)) / 4
    for chunk in (1, 4):
        got = symmetrize(model, image_symmetry(model, C(4)), chunk=chunk)(pixel_values=x).logits
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("energy", [Confidence, LogSumExp])
def test_the_models_own_energies_read_the_logits(energy):
    model, _ = made("vit")
    x, claim = pictures(), image_symmetry(model, D(4))
    upright = symmetrize(model, claim, Best(energy(model)))
    assert largest_error(upright, claim, x) == 0
    poses = torch.stack([move(Image(), g.expand(len(x), 2, 2), x) for g in D(4).elements()])
    best = torch.stack([energy(model)(pixel_values=pose) for pose in poses]).argmin(0)
    shown = model(pixel_values=poses[best, torch.arange(len(x))]).logits
    torch.testing.assert_close(upright(pixel_values=x).logits, shown)


def test_hidden_states_and_attentions_of_patches_turn():
    config = T.ViTConfig(**DEIT, **SMALL, attn_implementation="eager")
    model = T.ViTModel(config).eval()
    options = {"output_hidden_states": True, "output_attentions": True}
    claim = image_symmetry(model, C(4), **options)
    assert claim.outputs["hidden_states"] == (Tokens(1),) * 3
    assert claim.outputs["attentions"] == (Tokens(1, pairs=True),) * 2
    x, upright = pictures(), symmetrize(model, claim)
    one, other = upright(pixel_values=x, **options), upright(pixel_values=x.rot90(1, (-2, -1)), **options)
    for before, after in zip(one.hidden_states, other.hidden_states, strict=True):
        maps = before[:, 1:].mT.unflatten(-1, (4, 4)).rot90(1, (-2, -1)).flatten(-2).mT
        torch.testing.assert_close(after[:, 1:], maps)
        torch.testing.assert_close(after[:, :1], before[:, :1])
    order = torch.arange(16).reshape(4, 4).rot90().flatten() + 1
    order = torch.cat([torch.zeros(1, dtype=order.dtype), order])
    for before, after in zip(one.attentions, other.attentions, strict=True):
        torch.testing.assert_close(after, before[:, :, order][..., order])


def test_what_is_not_known_is_left_alone_with_one_pose_and_refused_with_several():
    model = T.SwinModel(swin(attn_implementation="eager")).eval()
    claim = image_symmetry(model, C(4), output_attentions=True)
    assert claim.outputs["attentions"] == (None, None)
    with pytest.raises(SymmetryError, match="attentions"):
        symmetrize(model, claim)(pixel_values=pictures(), output_attentions=True)
    upright = symmetrize(model, claim, Best(brightness))
    shown = upright.canonical(pixel_values=pictures(), output_attentions=True)
    answer = upright(pixel_values=pictures(), output_attentions=True)
    assert torch.equal(answer.attentions[0], model(**shown).attentions[0])


def test_labels_of_classes_give_the_loss_of_the_one_pose():
    model, _ = made("vit")
    x, labels = pictures(), torch.tensor([0, 3, 1])
    claim = image_symmetry(model, C(4), pixel_values=x, labels=labels)
    assert claim.inputs == Keywords(pixel_values=Image(), labels=Scalar())
    assert claim.outputs == {"loss": None, "logits": Scalar()}
    output = symmetrize(model, claim, Best(Confidence(model)))(pixel_values=x, labels=labels)
    torch.testing.assert_close(output.loss, F.cross_entropy(output.logits, labels))
    # A loss is one number for the batch: that of the last pose would be no loss of the averaged answer.
    with pytest.raises(SymmetryError, match=r"an output at \.loss cannot be averaged over poses"):
        symmetrize(model, claim)(pixel_values=x, labels=labels)


def test_labels_of_pixels_turn_with_the_picture():
    model, _ = made("segformer")
    x, labels = pictures(), torch.randint(4, (3, 32, 32))
    claim = image_symmetry(model, C(4), pixel_values=x, labels=labels)
    assert claim.inputs["labels"] == Mask()
    upright = symmetrize(model, claim, Best(brightness))
    output = upright(pixel_values=x, labels=labels)
    larger = F.interpolate(output.logits, size=(32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(output.loss, F.cross_entropy(larger, labels))
    turned = upright(pixel_values=x.rot90(1, (-2, -1)), labels=labels.rot90(1, (-2, -1)))
    torch.testing.assert_close(turned.loss, output.loss)


def test_gradients_are_those_of_the_mean():
    x = pictures()
    gradients = []
    for averaged in (True, False):
        model = copy.deepcopy(made("vit")[0])
        model.zero_grad()
        if averaged:
            logits = symmetrize(model, image_symmetry(model, C(4)))(pixel_values=x).logits
        else:
            logits = sum(model(pixel_values=x.rot90(k, (-2, -1))).logits for k in range(4)) / 4
        F.cross_entropy(logits, torch.tensor([0, 3, 1])).backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]))
    assert gradients[0].norm() > 0
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-6, rtol=1e-4)


def test_gradients_reach_the_model_and_training_learns():
    model = copy.deepcopy(made("vit")[0])
    x, labels = pictures(), torch.tensor([0, 3, 1])
    for frame in (None, Best(brightness)):
        upright = symmetrize(model, image_symmetry(model, C(4)), frame).train()
        upright.zero_grad()
        F.cross_entropy(upright(pixel_values=x).logits, labels).backward()
        assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())
    optimizer, losses = torch.optim.Adam(upright.parameters(), 1e-3), []
    for _ in range(20):
        loss = F.cross_entropy(upright(pixel_values=x).logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_half_precision():
    model = copy.deepcopy(made("vit")[0]).to(torch.bfloat16)
    claim = image_symmetry(model, C(4))
    x = pictures(dtype=torch.bfloat16)
    averaged, best = symmetrize(model, claim), symmetrize(model, claim, Best(Confidence(model)))
    for upright, tolerance in ((averaged, 2e-2), (best, 0)):
        assert upright(pixel_values=x).logits.dtype == torch.bfloat16
        assert largest_error(upright, claim, x) <= tolerance
    boxes = torch.rand(4, 6, 4)
    turned = RelativeBoxes()(C(4).elements(), boxes.bfloat16())
    assert turned.dtype == torch.bfloat16
    torch.testing.assert_close(turned.float(), RelativeBoxes()(C(4).elements(), boxes), atol=1e-2, rtol=0)


def test_copies_files_and_the_models_own_saving(tmp_path):
    model = copy.deepcopy(made("vit")[0])
    x, upright = pictures(), symmetrize(model, image_symmetry(model, C(4)), Best(Confidence(model)))
    wanted = upright(pixel_values=x).logits
    for other in (copy.deepcopy(upright), pickle.loads(pickle.dumps(upright))):
        assert torch.equal(other(pixel_values=x).logits, wanted)
    fresh = T.ViTForImageClassification(model.config).eval()
    empty = symmetrize(fresh, upright.symmetry, Best(Confidence(fresh)))
    empty.load_state_dict(upright.state_dict())
    assert torch.equal(empty(pixel_values=x).logits, wanted)
    assert all(name.startswith("model.") for name in upright.state_dict())
    assert upright.model is model
    assert upright.model.config.num_labels == 5
    upright.model.save_pretrained(tmp_path)
    read = T.ViTForImageClassification.from_pretrained(tmp_path).eval()
    again = symmetrize(read, image_symmetry(read, C(4)), Best(Confidence(read)))
    assert torch.equal(again(pixel_values=x).logits, wanted)


def test_looking_at_the_model_changes_nothing():
    model = copy.deepcopy(made("resnet")[0]).train()
    model.resnet.embedder.eval()
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    image_symmetry(model, C(4))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())


def test_audit_takes_claim_and_model_as_they_are():
    model, _ = made("vit")
    claim, inputs = image_symmetry(model, C(4)), {"pixel_values": pictures(24)}
    assert audit(model, claim, inputs, cost=False).verdict == "fail"
    assert audit(symmetrize(model, claim), claim, inputs, cost=False).verdict == "pass"


def test_a_masked_batch_and_images_that_are_not_square():
    model, _ = made("detr")
    example = {"pixel_values": torch.rand(2, 3, 32, 64), "pixel_mask": torch.ones(2, 32, 64, dtype=torch.int64)}
    claim = image_symmetry(model, C(2), **example)
    assert claim.inputs == Keywords(pixel_values=Image(), pixel_mask=Mask())
    found = symmetrize(model, claim, Best(brightness))
    one = found(**example).pred_boxes
    turned = found(**{name: value.rot90(2, (-2, -1)) for name, value in example.items()}).pred_boxes
    torch.testing.assert_close(turned, torch.cat([1 - one[..., :2], one[..., 2:]], -1))
    vit = T.ViTModel(T.ViTConfig(image_size=[16, 32], patch_size=8, **SMALL)).eval()
    claim = image_symmetry(vit, C(2))
    assert claim.outputs["last_hidden_state"] == Tokens(1, grid=(2, 4))
    x = torch.rand(2, 3, 16, 32)
    states = [symmetrize(vit, claim)(pixel_values=each).last_hidden_state for each in (x, x.flip(-1, -2))]
    torch.testing.assert_close(states[1][:, 1:], states[0][:, 1:].flip(1))


def test_wrong_usage_is_told():
    model, _ = made("vit")
    upright = symmetrize(model, image_symmetry(model, C(4)))
    with pytest.raises(SymmetryError, match="keyword arguments only"):
        upright(pictures())
    with pytest.raises(SymmetryError, match="not declared: labels"):
        upright(pixel_values=pictures(), labels=torch.tensor([0, 1, 2]))
    with pytest.raises(SymmetryError, match=r"no names[\s\S]*leave return_dict at True"):
        image_symmetry(model, C(4), return_dict=False)
    with pytest.raises(SymmetryError, match=r"how 'labels' moves[\s\S]*leave labels out"):
        image_symmetry(made("detr")[0], C(4), labels=[{"boxes": torch.rand(1, 4), "class_labels": torch.tensor([0])}])
    with pytest.raises(
        SymmetryError, match=r"how 'bool_masked_pos' moves[\s\S]*Keywords\(pixel_values=Image\(\), bool_m"
    ):
        image_symmetry(model, C(4), bool_masked_pos=torch.ones(2, 16, dtype=torch.bool))
    with pytest.raises(SymmetryError, match="pixel_values are no batch of images"):
        image_symmetry(model, C(4), pixel_values=torch.rand(3, 32, 32))
    with pytest.raises(SymmetryError, match=r"needs the model first[\s\S]*ViTForImageClassification"):
        image_symmetry(T.ViTForImageClassification, C(4))
    words = T.BertModel(T.BertConfig(vocab_size=10, **SMALL))
    with pytest.raises(SymmetryError, match=r"not called with pictures first[\s\S]*input_ids"):
        image_symmetry(words, C(4))
    with pytest.raises(SymmetryError, match=r"do not fill the grid[\s\S]*pixel_values=x"):
        Tokens(1)(C(4).elements(), torch.rand(4, 16, 2))
    with pytest.raises(SymmetryError, match="the last axis does not fit"):
        RelativeBoxes()(C(4).elements(), torch.rand(4, 5, 2))


def test_the_examples_in_the_docstrings():
    failed, tried = doctest.testmod(integration)
    assert tried > 8
    assert failed == 0
