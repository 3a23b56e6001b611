"""Whatever cannot be trained on is told in words, and what to do instead."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from adapt_cases import CLAIM, Plain, net, plain, ramps
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from canonize import (
    SE,
    Average,
    Best,
    C,
    Image,
    Point,
    Poses,
    Rows,
    Scalar,
    Symmetry,
    SymmetryError,
    adapt,
    bootstrap,
    distillation_loss,
    prior_loss,
    symmetrize,
    task_loss,
)


class Endless(IterableDataset[torch.Tensor]):
    def __iter__(self) -> Any:
        return iter(ramps(4))


class Lying(list[Any]):
    def __len__(self) -> int:
        return 1


class Once:
    def __init__(self) -> None:
        self.left = [ramps(8)]

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Any:
        while self.left:
            yield self.left.pop()


class Unknown(Once):
    def __len__(self) -> int:
        raise NotImplementedError


class Broken(Plain):
    """The energy is finite and its gradient is not."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + (self.weight.sum() * 0).sqrt()


CASES: list[tuple[dict[str, Any], str]] = [
    ({"of": net()}, "adapt trains a symmetrized model\n  got:      object of type Sequential"),
    ({"of": symmetrize(net(), CLAIM, Average())}, "adapt finds nothing to learn\n  got:      the frame Average"),
    ({"of": symmetrize(net(), CLAIM, Best(Plain().requires_grad_(False)))}, "adapt finds nothing to learn"),
    (
        {"of": symmetrize(net(), CLAIM, Best(nn.Sequential(nn.Flatten(), nn.LazyLinear(1), nn.Flatten(0))))},
        r"adapt: a parameter has no shape yet\n  got:      frame\.energy\.1\.weight",
    ),
    ({"data": ramps(8)[:0]}, "adapt has nothing to learn from\n  got:      no inputs"),
    ({"data": []}, "adapt has nothing to learn from\n  got:      a loader of no batches"),
    ({"data": DataLoader(ramps(4), batch_size=8, drop_last=True)}, "drop_last=True drops the only batch"),
    ({"data": DataLoader(Endless(), batch_size=2)}, "adapt needs to know how many batches an epoch has"),
    ({"data": iter([ramps(8)])}, "adapt needs to know how many batches an epoch has"),
    ({"data": Unknown()}, "adapt needs to know how many batches an epoch has"),
    ({"data": Lying([ramps(8), ramps(8)])}, "the loader yields more batches than it has told\n  got:      batch 2"),
    ({"data": Once()}, "the loader yields no batches\n  got:      object of type Once, empty in this epoch"),
    ({"data": [(ramps(8), 1, 2)]}, "adapt cannot tell inputs from targets in a batch of the loader"),
    ({"data": [ramps(8)], "unpack": lambda batch: batch}, "adapt: unpack must return inputs and targets"),
    ({"unpack": lambda batch: batch}, "adapt: unpack is for the batches of a loader"),
    ({"data": [ramps(8)], "targets": torch.zeros(8)}, "adapt: targets come from the loader"),
    ({"targets": torch.zeros(3)}, "adapt: inputs and targets differ in length\n  got:      8 inputs"),
    (
        {"targets": {"a": torch.zeros(8)}},
        "adapt: inputs and targets differ in length\n  got:      8 inputs, targets dict",
    ),
    ({"targets": 3}, "adapt: inputs and targets differ in length"),
    ({"data": ramps(8)[0, 0]}, "too few|needs|axes"),
    ({"epochs": 0}, "adapt: bad epochs\n  got:      0\n  expected: a whole number from 1\n  try:      epochs=10"),
    ({"epochs": True}, "adapt: bad epochs"),
    ({"epochs": 2.0}, "adapt: bad epochs"),
    ({"batch_size": 0}, "adapt: bad batch_size"),
    ({"patience": 0}, "adapt: bad patience"),
    ({"rate": 0.0}, "adapt: bad rate\n  got:      0.0\n  expected: a finite number above 0"),
    ({"rate": float("nan")}, "adapt: bad rate"),
    ({"rate": float("inf")}, "adapt: bad rate"),
    ({"decay": -1.0}, "adapt: bad decay"),
    ({"clip": 0.0}, "adapt: bad clip"),
    ({"average": 1.0}, "adapt: bad average\n  got:      1.0\n  expected: a number from 0 to below 1"),
    ({"precision": torch.float32}, r"adapt: bad precision\n(.|\n)*torch\.bfloat16, torch\.float16, or None"),
    ({"model": 1}, "adapt: bad model"),
    ({"generator": 7}, r"adapt: bad generator\n(.|\n)*torch\.Generator\(\)\.manual_seed\(7\)"),
    ({"loss": None}, "adapt: the loss cannot be called\n  got:      None"),
    ({"loss": nn.MSELoss}, "adapt: the loss cannot be called\n  got:      the class MSELoss"),
    ({"augment": 3}, "adapt: the augment cannot be called"),
    ({"patience": 2}, "adapt: patience has nothing to work on"),
    ({"metric": lambda a, b: a}, "adapt: metric has nothing to work on"),
    ({"figure": lambda m: 1.0, "validation": ramps(4)}, "adapt: figure has nothing to work on"),
    ({"model": True, "validation": ramps(4)}, "cannot be compared with its own answers"),
    ({"figure": lambda m: float("nan")}, "adapt: the figure of the validation is not a number"),
    ({"loss": lambda *_, **__: 1.0}, "adapt: the loss must be one number with a gradient\n  got:      1.0"),
    ({"loss": lambda *_, **__: torch.ones(())}, "the loss must be one number with a gradient(.|\n)*, no gradient"),
    ({"loss": lambda m, x, t: m.frame.energy(x)}, "the loss must be one number with a gradient"),
    (
        {"loss": lambda m, x, t: prior_loss(m, x) * torch.nan},
        "adapt: the loss is not finite\n  got:      nan in epoch 1",
    ),
    ({"of": symmetrize(net(), CLAIM, Best(Broken()))}, "adapt: the gradient is not finite"),
    ({"data": ramps(8) * torch.nan}, "adapt: the inputs hold NaN or infinity"),
    ({"data": [ramps(8) * torch.nan]}, "the energy is not finite"),
    ({"loss": task_loss}, "task_loss needs targets\n  got:      None"),
    ({"loss": partial(prior_loss, turns=4)}, "the turns of a loss come from a group"),
    ({"loss": partial(prior_loss, smoothing=1.0)}, "prior_loss: bad smoothing"),
    ({"loss": partial(distillation_loss, teacher=Best)}, "distillation_loss: the frame cannot be called"),
    ({"loss": partial(distillation_loss, teacher=lambda x: x)}, "distillation_loss: the frame cannot be called as"),
    ({"loss": partial(distillation_loss, teacher=Average(), temperature=-1.0)}, "distillation_loss: bad temperature"),
]


@pytest.mark.parametrize(("change", "told"), CASES, ids=[told[:36] for _, told in CASES])
@pytest.mark.usefixtures("unchecked")
def test_refused(change: dict[str, Any], told: str) -> None:
    options = {"of": plain(), "data": ramps(8), "epochs": 2} | change
    with pytest.raises(SymmetryError, match=told) as refused:
        adapt(options.pop("of"), options.pop("data"), **options)
    assert "in:       adapt(...)" in str(refused.value)


def test_answers_without_one_entry_for_each_input_are_no_targets() -> None:
    mended = symmetrize(lambda x: x.mean((1, 2, 3)).sum(), Symmetry(C(4), Image(), None), Best(Plain()))
    with pytest.raises(SymmetryError, match=r"adapt: the validation needs targets\n(.|\n)*figure=, a function"):
        adapt(mended, ramps(8), validation=ramps(4), epochs=1)


def test_accuracy_of_what_is_no_classifier_is_refused_before_the_second_epoch() -> None:
    mended = symmetrize(lambda x: x, Symmetry(C(4), Image(), Image()), Best(Plain()))
    with pytest.raises(SymmetryError, match="accuracy needs logits"):
        adapt(mended, ramps(8), validation=(ramps(4), torch.zeros(4)), epochs=1)


def test_poses_that_are_no_matrices_have_no_distance() -> None:
    class Shifts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, symmetry: Symmetry, x: torch.Tensor) -> Poses:
            g = symmetry.group.identity()
            return Poses(type(g)(*(part.expand(1, len(x), *part.shape) for part in g)), torch.ones(1, len(x)))

    mended = symmetrize(lambda x: x, Symmetry(SE(2), Point(), Point()), Shifts())
    with pytest.raises(SymmetryError, match="this loss compares matrices"):
        prior_loss(mended, torch.rand(3, 2), turns=False)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rounds": 0}, "bootstrap: bad settings\n  got:      rounds=0"),
        ({"keep": 0.0}, "bootstrap: bad settings"),
        ({"teacher": lambda x: x}, "bootstrap: the frame cannot be called as a frame is"),
        ({"targets": torch.zeros(8)}, "bootstrap learns without targets"),
        ({"of": net()}, "adapt trains a symmetrized model"),
        ({"epochs": 0}, "adapt: bad epochs"),
    ],
)
def test_bootstrap_refuses(change: dict[str, Any], told: str) -> None:
    options = {"of": plain(), "teacher": Average(), "epochs": 1, "rounds": 1} | change
    with pytest.raises(SymmetryError, match=told):
        bootstrap(options.pop("of"), ramps(8), **options)


def test_inputs_that_do_not_fit_the_claim_name_it() -> None:
    mended = symmetrize(net(), Symmetry(C(4), Rows(Image()), Scalar()), Best(Plain()))
    for loss in (prior_loss, task_loss):
        with pytest.raises(SymmetryError, match=r"no field is declared as Index\(\)"):
            adapt(mended, ramps(8), loss=loss, epochs=1)
