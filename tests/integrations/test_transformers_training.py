"""Models of transformers as they are trained, cast, copied and saved behind a frame."""

import copy
import pickle

import pytest
import torch
from torch.nn import functional as F

transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install 'canonize[hub]'")

from transformers_cases import brightness, largest_error, made, pictures  # noqa: E402

from canonize import (  # noqa: E402  # after the check that the library is there
    Best,
    C,
    Confidence,
    Image,
    Keywords,
    Mask,
    Scalar,
    SymmetryError,
    symmetrize,
)
from canonize.integrations.transformers import RelativeBoxes, image_symmetry  # noqa: E402

T = transformers


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
