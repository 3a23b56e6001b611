"""Bad input to `audit`: each message says what came, what was expected and what to do."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from models import FOUR, cnn, images, look
from torch import nn

from canonize import SymmetryError, accuracy


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
