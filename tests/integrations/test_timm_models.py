"""Models of timm with random weights get the symmetry; nothing is downloaded."""

import copy
import doctest
import pickle

import pytest
import torch

try:
    import timm
except Exception as error:
    # Also where it is installed: operators that do not fit this torch raise a RuntimeError.
    pytest.skip(f"timm cannot be imported: {error}", allow_module_level=True)

from canonize import Average, Best, C, Confidence, D, Image, Scalar, SymmetryError, audit, symmetrize
from canonize.actions import move
from canonize.integrations import timm as integration
from canonize.integrations.timm import Pixels, image_symmetry


def keeps(model, claim, x):
    """The largest relative error over all elements of the group."""
    return audit(model, claim, x, cost=False).error.max


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_efficientnet", "test_convnext"])
def test_classifiers_get_the_symmetry(name):
    model = timm.create_model(name).eval()
    side = model.pretrained_cfg["input_size"][-1]
    x, claim = torch.rand(2, 3, side, side), image_symmetry(model, D(4))
    assert claim.inputs == Image()
    assert claim.outputs == Scalar()
    assert keeps(model, claim, x) > 1e-4, "the plain model must break the claim"
    for frame in (Average(), Best(Confidence(model))):
        assert keeps(symmetrize(model, claim, frame), claim, x) < 5e-6


@pytest.mark.parametrize(
    ("options", "outputs"),
    [
({"num_classes": 0}, Scalar()),
 ({"num_classes": 0, "global_pool": ""}, Image()),
 ({"features_only": True}, [Image()] * 5),],
)  # fmt: skip
def test_features_are_told_from_logits(options, outputs):
    model = timm.create_model("test_resnet", **options).eval()
    x = torch.rand(2, 3, 64, 64)
    claim = image_symmetry(model, C(4), x)
    assert claim.outputs == outputs
    upright = symmetrize(model, claim)
    assert type(upright(x)) is type(model(x))
    assert keeps(upright, claim, x) < 5e-6


def test_the_size_of_the_model_counts():
    model = timm.create_model("test_vit", img_size=96).eval()
    claim = image_symmetry(model, C(4))
    assert keeps(symmetrize(model, claim), claim, torch.rand(2, 3, 96, 96)) < 5e-6


def test_gradients_copies_and_half_precision():
    model = timm.create_model("test_vit").eval()
    x, upright = torch.rand(2, 3, 160, 160), symmetrize(model, image_symmetry(model, C(4)))
    upright(x).square().sum().backward()
    assert all(weight.grad is not None for weight in model.parameters())
    for other in (copy.deepcopy(upright), pickle.loads(pickle.dumps(upright))):
        assert torch.equal(other(x), upright(x))
    assert upright.model.pretrained_cfg is model.pretrained_cfg
    half = upright.to(torch.bfloat16)
    turned = move(Image(), C(4).elements()[1].expand(2, 2, 2), x)
    assert half(x.bfloat16()).dtype == torch.bfloat16
    torch.testing.assert_close(half(x.bfloat16()), half(turned.bfloat16()), atol=2e-2, rtol=2e-2)


def test_looking_at_the_model_changes_nothing():
    model = timm.create_model("test_resnet").train()
    model.layer1.eval()
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    image_symmetry(model, C(4))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_pixels_are_what_the_weights_expect():
    picture = pytest.importorskip("PIL.Image")
    to_pixels = Pixels(timm.create_model("test_vit"))
    raw = torch.randint(256, (2, 3, 200, 230), dtype=torch.uint8)
    stored = [picture.fromarray(one.permute(1, 2, 0).numpy()) for one in raw]
    wanted = timm.data.create_transform(**timm.data.resolve_model_data_config(timm.create_model("test_vit")))
    pixels = to_pixels(raw)
    assert torch.equal(pixels, torch.stack([wanted(one) for one in stored]))
    assert torch.equal(pixels, to_pixels(stored))
    assert torch.equal(pixels[:1], to_pixels(stored[0]))
    assert torch.equal(pickle.loads(pickle.dumps(to_pixels))(raw), pixels)
    gray = to_pixels(stored[0].convert("L"))
    assert torch.equal(gray[:, 0], gray[:, 1])


def test_wrong_usage_is_told():
    with pytest.raises(SymmetryError, match=r"needs the model first[\s\S]*create_model\('test_vit'\)"):
        image_symmetry("test_vit", C(4))
    with pytest.raises(SymmetryError, match="does not say what pictures it takes"):
        image_symmetry(torch.nn.Identity(), C(4))
    with pytest.raises(SymmetryError, match=r"how this output moves[\s\S]*\(1, 101, 64\)"):
        image_symmetry(timm.create_model("test_vit", num_classes=0, global_pool=""), C(4))
    with pytest.raises(SymmetryError, match="Pixels needs the model first"):
        Pixels("test_vit")
    with pytest.raises(SymmetryError, match=r"as they are stored[\s\S]*float32"):
        Pixels(timm.create_model("test_vit"))(torch.rand(2, 3, 160, 160))


def test_the_examples_in_the_docstrings():
    failed, tried = doctest.testmod(integration)
    assert tried > 8
    assert failed == 0
