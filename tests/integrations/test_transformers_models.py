"""Models of transformers with random weights keep their outputs and get the symmetry; nothing is downloaded."""

import doctest

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install 'canonize[hub]'")

from transformers_cases import DEIT, DETECTORS, MODELS, SMALL, brightness, largest_error, made, pictures, swin  # noqa: E402

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
    SymmetryError,
    audit,
    symmetrize,
)
from canonize.actions import move  # noqa: E402
from canonize.integrations import transformers as integration  # noqa: E402
from canonize.integrations.transformers import RelativeBoxes, Tokens, image_symmetry  # noqa: E402

T = transformers


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
