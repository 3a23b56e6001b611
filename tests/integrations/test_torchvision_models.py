"""Models of torchvision with random weights get the symmetry; nothing is downloaded."""

import copy
import doctest
import pickle

import pytest
import torch

try:
    import torchvision
except Exception as error:
    # Also where it is installed: operators that do not fit this torch raise a RuntimeError.
    pytest.skip(f"torchvision cannot be imported: {error}", allow_module_level=True)

from canonize import Average, Best, C, Confidence, D, Image, Scalar, SymmetryError, audit, symmetrize
from canonize.actions import move
from canonize.integrations import torchvision as integration
from canonize.integrations.torchvision import Pixels, image_symmetry


def brightness(x):
    """An energy that quarter turns and flips tell apart."""
    rows, columns = (torch.linspace(0, 1, side) ** 2 for side in x.shape[-2:])
    return (x.mean(1) * columns * (1 + rows[:, None])).mean((-2, -1))


def keeps(model, claim, x):
    """The largest relative error over all elements of the group."""
    return audit(model, claim, x, cost=False).error.max


def classifier():
    return torchvision.models.resnet18(num_classes=5).eval()


def segmenter():
    kind = torchvision.models.segmentation.deeplabv3_mobilenet_v3_large
    return kind(weights=None, weights_backbone=None, aux_loss=True, num_classes=4).eval()


def small_segmenter():
    kind = torchvision.models.segmentation.lraspp_mobilenet_v3_large
    return kind(weights=None, weights_backbone=None, num_classes=4).eval()


def transformer():
    model = torchvision.models.VisionTransformer(64, 16, 2, 2, 16, 32, num_classes=5).eval()
    torch.nn.init.normal_(model.heads.head.weight)
    return model


def features():
    return torchvision.models.feature_extraction.create_feature_extractor(classifier(), {"layer1": "a", "avgpool": "b"})


MODELS = {
    classifier: Scalar(),
    transformer: Scalar(),
    segmenter: {"out": Image(), "aux": Image()},
    small_segmenter: {"out": Image()},
    features: {"a": Image(), "b": Image()},
}


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_models_get_the_symmetry(make):
    model = make()
    x, claim = torch.rand(2, 3, 64, 64), image_symmetry(model, D(4))
    assert claim.inputs == Image()
    assert claim.outputs == MODELS[make]
    assert keeps(model, claim, x) > 1e-4
    for frame in (Average(), Best(brightness)):
        upright = symmetrize(model, claim, frame)
        assert keeps(upright, claim, x) < 5e-6
        assert type(upright(x)) is type(model(x))


def test_confidence_chooses_the_pose_of_a_classifier():
    model, x = classifier(), torch.rand(3, 3, 64, 64)
    claim = image_symmetry(model, C(4))
    assert keeps(symmetrize(model, claim, Best(Confidence(model))), claim, x) < 5e-6


def test_gradients_copies_and_half_precision():
    model, x = classifier(), torch.rand(2, 3, 64, 64)
    upright = symmetrize(model, image_symmetry(model, C(4)))
    upright(x).square().sum().backward()
    assert all(weight.grad is not None for weight in model.parameters())
    for other in (copy.deepcopy(upright), pickle.loads(pickle.dumps(upright))):
        assert torch.equal(other(x), upright(x))
    half = upright.to(torch.bfloat16)
    turned = move(Image(), C(4).elements()[1].expand(2, 2, 2), x)
    assert half(x.bfloat16()).dtype == torch.bfloat16
    torch.testing.assert_close(half(x.bfloat16()), half(turned.bfloat16()), atol=2e-2, rtol=2e-2)


def test_looking_at_the_model_changes_nothing():
    model = classifier().train()
    model.layer1.eval()
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    image_symmetry(model, C(4))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_pixels_are_what_the_weights_expect():
    picture = pytest.importorskip("PIL.Image")
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    to_pixels = Pixels(weights)
    raw = torch.randint(256, (2, 3, 200, 230), dtype=torch.uint8)
    stored = [picture.fromarray(one.permute(1, 2, 0).numpy()) for one in raw]
    assert torch.equal(to_pixels(raw), weights.transforms()(raw))
    assert torch.equal(to_pixels(stored), torch.stack([weights.transforms()(one) for one in stored]))
    assert torch.equal(to_pixels(stored[0]), to_pixels(stored)[:1])
    torch.testing.assert_close(to_pixels(raw), to_pixels(stored), atol=0.05, rtol=0)
    assert torch.equal(pickle.loads(pickle.dumps(to_pixels))(raw), to_pixels(raw))


def test_wrong_usage_is_told():
    with pytest.raises(SymmetryError, match=r"needs the model first[\s\S]*the class ResNet"):
        image_symmetry(torchvision.models.ResNet, C(4))
    detector = torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    with pytest.raises(SymmetryError, match=r"one batch of images[\s\S]*SSD[\s\S]*model\.backbone"):
        image_symmetry(detector, C(4))
    flow = torchvision.models.optical_flow.raft_small(weights=None)
    with pytest.raises(SymmetryError, match=r"one batch of images[\s\S]*VectorImage"):
        image_symmetry(flow, C(4))
    with pytest.raises(SymmetryError, match="how this output moves"):
        image_symmetry(torch.nn.Flatten(0), C(4))
    with pytest.raises(SymmetryError, match="Pixels needs weights"):
        Pixels("DEFAULT")
    with pytest.raises(SymmetryError, match=r"as they are stored[\s\S]*float32"):
        Pixels(torchvision.models.ResNet18_Weights.DEFAULT)(torch.rand(2, 3, 64, 64))


def test_the_examples_in_the_docstrings():
    failed, tried = doctest.testmod(integration)
    assert tried > 8
    assert failed == 0
