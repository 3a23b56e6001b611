"""Bad input to `audit`: each message says what came, what was expected and what to do."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from models import FOUR, cnn, images, look
from torch import nn

from canonize import C, Image, Symmetry, SymmetryError, accuracy


@pytest.mark.parametrize(
    ("layer", "name"),
    [(nn.Dropout(0.5), "Dropout"), (nn.BatchNorm2d(2), "BatchNorm2d"), (nn.Dropout2d(), "Dropout2d")],
)
def test_train_mode(layer: nn.Module, name: str) -> None:
    model = nn.Sequential(layer, nn.Flatten()).train()
    with pytest.raises(SymmetryError, match=rf"train mode(.|\n)*{name} '0'(.|\n)*model\.eval\(\)"):
        look(model, FOUR, images())


def test_a_forgotten_argument() -> None:
    with pytest.raises(SymmetryError, match=r"an input may have been forgotten(.|\n)*2 arguments"):
        look(lambda a, b: a, FOUR, (images(), images()))


def test_a_shape_that_changes() -> None:
    with pytest.raises(SymmetryError, match="changes its shape when the input is moved"):
        look(lambda x: x[:, 0, 0, : 2 + int(x[0, 0, 0, 0] > 0.76)], FOUR, images())


def test_another_device() -> None:
    with pytest.raises(SymmetryError, match=r"on different devices(.|\n)*model on meta, inputs on cpu"):
        look(cnn().to("meta"), FOUR, images())


def test_not_a_number_in_the_inputs_names_the_sample() -> None:
    x = images()
    x[3, 0, 0, 0] = math.nan
    with pytest.raises(SymmetryError, match=r"hold NaN or infinity(.|\n)*in sample 3 of 32"):
        look(cnn(), FOUR, x)


def test_no_inputs() -> None:
    with pytest.raises(SymmetryError, match="nothing to audit"):
        look(cnn(), FOUR, images()[:0])


def test_the_models_own_failure_shows_what_it_was_given() -> None:
    with pytest.raises(SymmetryError, match=r"the model failed on the inputs as they came(.|\n)*float64"):
        look(cnn(), FOUR, images(dtype=torch.float64))


def test_a_class_instead_of_a_model() -> None:
    with pytest.raises(SymmetryError, match=r"got:      the class Flatten"):
        look(nn.Flatten, FOUR, images())


def test_a_metric_that_is_one_number() -> None:
    with pytest.raises(SymmetryError, match="one number for each sample"):
        look(cnn(), FOUR, images(), targets=torch.zeros(32), metric=lambda out, want: out.mean())


def test_targets_without_a_metric() -> None:
    with pytest.raises(SymmetryError, match="targets and metric go together"):
        look(cnn(), FOUR, images(), targets=torch.zeros(32))


def test_targets_of_another_length() -> None:
    with pytest.raises(SymmetryError, match="one target for each of 32 samples"):
        look(cnn(), FOUR, images(), targets=torch.zeros(31), metric=accuracy)


@pytest.mark.parametrize(
    "options",
    [{"elements": 1}, {"confidence": 1.0}, {"at_most": 0.0}, {"batch_size": 0}, {"tolerance": -1.0}],
    ids=str,
)
def test_bad_settings(options: dict[str, Any]) -> None:
    with pytest.raises(SymmetryError, match=f"bad {next(iter(options))}"):
        look(cnn(), FOUR, images(), **options)


def test_images_that_are_not_square() -> None:
    with pytest.raises(SymmetryError, match=r"a grid of 8 x 6(.|\n)*pad to square"):
        look(lambda x: x, FOUR, images()[..., :6])


@pytest.mark.parametrize(
    "options",
    [
        {"elements": "many"},
        {"elements": True},
        {"confidence": "a"},
        {"at_most": None},
        {"batch_size": 2.5},
        {"tolerance": "small"},
        {"tolerance": math.nan},
        {"scale": 0.0},
        {"scale": "1"},
        {"generator": 0},
        {"decision": "argmax"},
    ],
    ids=str,
)
def test_settings_of_another_type(options: dict[str, Any]) -> None:
    with pytest.raises(SymmetryError, match=f"audit: bad {next(iter(options))}"):
        look(cnn(), FOUR, images(), **options)


def test_settings_from_numpy() -> None:
    found = look(cnn(), FOUR, images(), confidence=np.float32(0.9), batch_size=np.int64(8), tolerance=np.float32(1e-4))
    json.dumps(found.as_dict(), allow_nan=False)
    assert found.tolerance == pytest.approx(1e-4)


def test_a_metric_that_is_no_function() -> None:
    with pytest.raises(SymmetryError, match=r"audit: bad metric(.|\n)*'accuracy'"):
        look(cnn(), FOUR, images(), targets=torch.zeros(32), metric="accuracy")


@pytest.mark.parametrize("targets", [np.zeros(32, dtype="int64"), [0] * 32], ids=["array", "list"])
def test_targets_that_are_no_tensor_are_taken(targets: Any) -> None:
    plain = look(cnn(), FOUR, images(), targets=torch.zeros(32, dtype=torch.int64), metric=accuracy)
    assert look(cnn(), FOUR, images(), targets=targets, metric=accuracy).metric == plain.metric


def test_targets_that_are_no_numbers() -> None:
    with pytest.raises(SymmetryError, match=r"the targets do not fit(.|\n)*list of 32"):
        look(cnn(), FOUR, images(), targets=["cat"] * 32, metric=accuracy)


@pytest.mark.parametrize(
    "decision",
    [lambda out: out.argmax(), lambda out: out.argmax(0), lambda out: [1] * len(out)],
    ids=["one", "other axis", "list"],
)
def test_a_decision_of_another_shape(decision: Any) -> None:
    with pytest.raises(SymmetryError, match=r"the decision must give one answer for each sample(.|\n)*first axis 32"):
        look(cnn(), FOUR, images(), decision=decision)


def test_a_decision_may_have_several_parts() -> None:
    found = look(lambda x: x, Symmetry(C(4), Image(), Image()), images(), decision=lambda out: (out > 0.5).numpy())
    assert found.agreement == 1.0


@pytest.mark.parametrize("error", [AttributeError, AssertionError, ZeroDivisionError, NotImplementedError, OSError])
def test_whatever_the_model_raises_is_explained(error: type[Exception]) -> None:
    def model(x: Any) -> Any:
        raise error("no such thing")

    with pytest.raises(SymmetryError, match=rf"the model failed on the inputs as they came(.|\n)*{error.__name__}: no"):
        look(model, FOUR, images())


def test_a_keyboard_interrupt_goes_through() -> None:
    def model(x: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look(model, FOUR, images())
