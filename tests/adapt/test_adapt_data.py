"""What `adapt` learns from: images in all their forms, targets, several arguments, augmentation, devices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from adapt_cases import CLAIM, FAST, Plain, found, plain, ramps, same
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from canonize import (
    Best,
    C,
    Fields,
    Image,
    Keywords,
    Scalar,
    Symmetry,
    adapt,
    prior_loss,
    symmetrize,
)


class TestData:
    """In memory and from loaders."""

    x = ramps(32)
    y = torch.arange(32) % 3

    @pytest.mark.parametrize(
        "make",
        [
            lambda x, y: DataLoader(TensorDataset(x), batch_size=16),
            lambda x, y: DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True),
            lambda x, y: DataLoader(x, batch_size=16),
            lambda x, y: [x[:16], x[16:]],
            lambda x, y: [(x[:16], y[:16]), (x[16:], y[16:])],
            lambda x, y: [x[:16].numpy(), x[16:].numpy()],
            lambda x, y: x.numpy(),
        ],
        ids=["set", "pairs", "tensors", "list", "list of pairs", "list of arrays", "array"],
    )
    def test_all_forms_are_the_same_images(self, make: Any) -> None:
        mended = plain()
        log = adapt(mended, make(self.x, self.y), epochs=3, rate=1e-1, batch_size=16)
        assert found(mended, ramps(16, seed=5)) > 0.9
        assert log.samples == 32

    def test_targets_reach_the_loss_in_the_order_of_the_inputs(self) -> None:
        seen: list[tuple[float, int]] = []

        def loss(symmetrized: Any, inputs: Tensor, targets: Tensor, *, generator: Any) -> Tensor:
            seen.extend(zip(inputs[:, 0, 0, 0].tolist(), targets.tolist(), strict=True))
            return prior_loss(symmetrized, inputs)

        known = dict(zip(self.x[:, 0, 0, 0].tolist(), self.y.tolist(), strict=True))
        for data, more in (
            (self.x, {"targets": self.y.tolist()}),
            (self.x, {"targets": self.y.numpy()}),
            (DataLoader(TensorDataset(self.x, self.y), batch_size=16, shuffle=True), {}),
            ([{"image": self.x, "label": self.y}], {"unpack": lambda batch: (batch["image"], batch["label"])}),
        ):
            seen.clear()
            adapt(plain(), data, loss=loss, epochs=1, batch_size=5, **more)
            assert len(seen) == 32
            assert all(known[pixel] == label for pixel, label in seen)

    def test_each_epoch_has_its_own_order(self) -> None:
        orders: list[list[float]] = [[]]

        def loss(symmetrized: Any, inputs: Tensor, targets: Any) -> Tensor:
            orders[-1].extend(inputs[:, 0, 0, 0].tolist())
            if len(orders[-1]) == 32:
                orders.append([])
            return prior_loss(symmetrized, inputs)

        adapt(plain(), self.x, loss=loss, epochs=2, batch_size=8)
        assert orders[0] != orders[1]
        assert sorted(orders[0]) == sorted(orders[1]) == sorted(self.x[:, 0, 0, 0].tolist())

    def test_several_arguments_keywords_and_fields(self) -> None:
        class Two(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = Plain()

            def forward(self, images: Tensor, shift: Tensor) -> Tensor:
                return self.inner(images) + shift

        class Field(Two):
            def forward(self, batch: dict[str, Tensor]) -> Tensor:
                return super().forward(batch["images"], batch["shift"])

        x, shift = self.x, torch.rand(32)
        actions = {"images": Image(), "shift": Scalar()}
        model = lambda images, shift: images.mean((1, 2, 3)) + shift  # noqa: E731
        for spec, energy, value, batches in (
            ((Image(), Scalar()), Two(), (x, shift), [[x[:16], shift[:16]], [[x[16:], shift[16:]], self.y[16:]]]),
            (Keywords(actions), Two(), {"images": x, "shift": shift}, [{"images": x, "shift": shift}]),
            (Fields(actions), Field(), {"images": x, "shift": shift}, [({"images": x, "shift": shift}, self.y)]),
        ):
            for data in (value, batches):
                mended = symmetrize(model, Symmetry(C(4), spec, Scalar()), Best(energy))
                log = adapt(mended, data, epochs=2, rate=1e-1, batch_size=16)
                assert log.losses[-1] < log.losses[0] < 2

    def test_augment(self) -> None:
        shapes = []

        def brighter(x: Tensor, generator: torch.Generator) -> Tensor:
            shapes.append(len(x))
            return x + torch.rand(len(x), 1, 1, 1, generator=generator)

        one, other = plain(), plain()
        adapt(one, self.x, augment=brighter, **FAST)
        adapt(other, self.x, **FAST)
        assert shapes == [16] * 4
        assert not same(one.frame, other.frame)

    def test_batches_on_another_device_are_brought_to_the_frame(self) -> None:
        """A device without values stands for a graphics card: all must be moved, and nothing computed on it."""
        from canonize.adapt.batches import on_device

        class Graphs:
            def __init__(self) -> None:
                self.where: Any = None

            def to(self, device: torch.device) -> Graphs:
                self.where = device
                return self

        meta = torch.device("meta")
        moved = on_device({"a": torch.zeros(2), "b": [torch.zeros(1), "word"], "c": Graphs()}, meta)
        assert moved["a"].device == moved["b"][0].device == moved["c"].where == meta
        assert moved["b"][1] == "word"
        same_value = (self.x, None)
        assert on_device(same_value, torch.device("cpu")) is same_value


def test_arrays_of_numpy_models() -> None:
    mended = symmetrize(lambda x: np.asarray(x).mean((1, 2, 3)), CLAIM, Best(Plain()))
    log = adapt(mended, ramps(32).numpy(), validation=ramps(8).numpy(), epochs=2, rate=1e-1, batch_size=16)
    assert log.figures[-1] is not None
