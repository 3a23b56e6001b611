"""Small models of transformers with random weights, by the kind of their outputs; nothing is downloaded."""

from functools import lru_cache

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install 'canonize[hub]'")

from canonize import (  # noqa: E402  # after the check that the library is there
    Image,
    Scalar,
)
from canonize._tree import tensors  # noqa: E402
from canonize.actions import move  # noqa: E402
from canonize.integrations.transformers import RelativeBoxes, Tokens  # noqa: E402

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
