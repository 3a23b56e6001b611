"""What a frame learns: upright in several groups, from several teachers; and what a wrong loss does to it."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from adapt_cases import CLAIM, Plain, draw, found, net, plain, ramps, same, scorer, turned, weights
from torch import Tensor, nn

from canonize import (
    SO,
    Best,
    C,
    D,
    Image,
    Nodes,
    Octahedral,
    Poses,
    S,
    Scalar,
    Scored,
    Symmetry,
    Volume,
    accuracy,
    adapt,
    audit,
    bootstrap,
    distillation_loss,
    prior_loss,
    symmetrize,
    task_loss,
)
from canonize.nn import GroupCNN, Scorer, Steerable


def frame(kind: str, group: Any) -> nn.Module:
    if kind == "Best":
        return Best(scorer())
    return Scored(GroupCNN(group, 1, width=3, depth=2, kernel=3, generator=draw()))


@pytest.mark.parametrize(("kind", "group"), [("Best", C(4)), ("Scored", C(4)), ("Best", D(4)), ("Scored", D(4))])
def test_the_prior_teaches_upright(kind: str, group: Any) -> None:
    tilt = 0.7 if isinstance(group, D) else 0.0
    mended = symmetrize(net(), Symmetry(group, Image(), Scalar()), frame(kind, group))
    log = adapt(mended, ramps(64, tilt=tilt), epochs=6, rate=1e-2, batch_size=16)
    held = ramps(32, seed=5, tilt=tilt)
    assert found(mended, held) > 0.95
    assert log.losses[-1] < log.losses[0]
    for _, moved in turned(mended.symmetry, held, 32):
        assert torch.allclose(mended(moved), mended.model(held), atol=1e-5)


def test_the_accuracy_under_turns_is_that_upright() -> None:
    x, model = ramps(48), net()
    labels = model(x).argmax(1)
    mended = symmetrize(model, CLAIM, Best(scorer()))
    adapt(mended, x, epochs=6, rate=1e-2, batch_size=16)
    metric = audit(mended, CLAIM, x, targets=labels, metric=accuracy, cost=False).metric
    assert metric is not None
    assert metric.mean > 0.97


def test_a_loss_with_the_wrong_sign_teaches_the_opposite() -> None:
    def wrong(*args: Any, **kwargs: Any) -> Tensor:
        return -prior_loss(*args, **kwargs)

    good, bad = plain(), plain()
    adapt(good, ramps(), epochs=3, rate=1e-1)
    adapt(bad, ramps(), epochs=3, rate=1e-1, loss=wrong)
    assert found(good, ramps(seed=5)) > 0.95
    assert found(bad, ramps(seed=5)) < 0.05


def test_eighth_turns_with_random_turns() -> None:
    mended = symmetrize(
        net(16), Symmetry(C(8), Image(), Scalar()), Best(Scorer(1, width=8, depth=1, disk=True, generator=draw()))
    )
    adapt(mended, ramps(160, 16, noise=0.2), epochs=8, rate=1e-2, batch_size=32)
    assert found(mended, ramps(24, 16, noise=0.2, seed=5)) > 0.9


class Rough(nn.Module):
    """An energy that sees nothing but how smooth an image is, as resampling makes it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        middle = x[..., 3:-3, 3:-3]
        rough = middle.diff(dim=-1).square().mean((1, 2, 3)) + middle.diff(dim=-2).square().mean((1, 2, 3))
        return torch.stack([10 * rough, 30 * rough.square()], 1) @ self.weight


def test_without_turns_the_traces_of_resampling_are_learned() -> None:
    """Noise has no upright: whatever is learned from it is a trace. Quarter turns leave none, which makes log 4."""
    noise = torch.rand(64, 1, 16, 16, generator=draw())
    last = {}
    for name, turns in (("none", False), ("own", None), ("all", SO(2))):
        mended = symmetrize(net(16), Symmetry(C(8), Image(), Scalar()), Best(Rough()))
        loss = partial(prior_loss, turns=turns)
        last[name] = adapt(mended, noise, loss=loss, epochs=15, rate=1.0).losses[-1]
    assert last["none"] < math.log(4) + 0.1
    assert last["own"] > math.log(8) - 0.4
    assert last["all"] > math.log(8) - 0.05


def test_volumes_in_all_24_poses() -> None:
    z, y, x = torch.meshgrid(*[torch.linspace(-1, 1, 4)] * 3, indexing="ij")
    volumes = (x + 2 * y + 4 * z) + 0.5 * torch.rand(48, 1, 4, 4, 4, generator=draw())
    claim = Symmetry(Octahedral(), Volume(), Scalar())
    mended = symmetrize(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), claim, Best(Plain()))
    adapt(mended, volumes, epochs=6, rate=1e-1, batch_size=16)
    assert found(mended, volumes) > 0.95


def test_permutations() -> None:
    """Upright is sorted."""
    claim = Symmetry(S(3), Nodes(), Scalar())
    rows = torch.rand(64, 3, generator=draw()).sort(1).values[..., None]
    energy = nn.Sequential(nn.Flatten(), nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1), nn.Flatten(0))
    mended = symmetrize(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)), claim, Best(energy))
    adapt(mended, rows, epochs=8, rate=3e-2, batch_size=16)
    assert sum(
        float((mended.canonical(moved) - rows).abs().flatten(1).amax(1).lt(0.15).double().mean())
        for _, moved in turned(claim, rows, 64)
    ) > 0.9 * len(claim.group.elements())


class Pointer(nn.Module):
    """A frame of one vector that turns with the image; it has no energies."""

    def __init__(self) -> None:
        super().__init__()
        self.vectors = Steerable(1, width=4, depth=1, generator=draw(3))

    def forward(self, symmetry: Symmetry, inputs: Tensor) -> Poses:
        a, b = nn.functional.normalize(self.vectors(inputs)[:, 0], dim=-1).unbind(-1)
        g = torch.stack([torch.stack([a, -b], -1), torch.stack([b, a], -1)], -2)
        return Poses(g[None], torch.ones(1, len(g)))


@pytest.mark.parametrize("turns", [None, False])
def test_frames_without_energies_learn_by_the_distance_of_poses(turns: Any) -> None:
    mended = symmetrize(net(), Symmetry(SO(2), Image(), Scalar()), Pointer())
    x = ramps(64)
    first = float(prior_loss(mended, x, turns=False).detach())
    adapt(mended, x, epochs=6, rate=3e-2, batch_size=16, loss=partial(prior_loss, turns=turns))
    assert float(prior_loss(mended, x, turns=False).detach()) < min(0.1, 0.2 * first)


def test_a_student_learns_a_teachers_poses() -> None:
    teacher = Best(lambda x: -x[:, :, :4].mean((1, 2, 3)))
    x = ramps(64)
    for temperature in (0.1, 0.0):
        for student in (Best(Plain()), Scored(GroupCNN(C(4), 1, width=3, depth=2, kernel=3, generator=draw()))):
            mended = symmetrize(net(), CLAIM, student)
            loss = partial(distillation_loss, teacher=teacher, temperature=temperature)
            poses = torch.cat([moved for _, moved in turned(CLAIM, x, 64)])
            adapt(mended, poses, epochs=3, rate=3e-2, loss=loss)
            assert found(mended, ramps(32, seed=5)) > 0.95


def test_a_student_without_energies_and_a_teacher_without_energies() -> None:
    def teacher(symmetry: Symmetry, x: Tensor) -> Poses:
        return Best(lambda x: -x[:, :, :4].mean((1, 2, 3)))(Symmetry(C(4), Image(), Scalar()), x)

    x = torch.cat([moved for _, moved in turned(CLAIM, ramps(32), 32)])
    loss = partial(distillation_loss, teacher=teacher)
    pointer = symmetrize(net(), Symmetry(SO(2), Image(), Scalar()), Pointer())
    log = adapt(pointer, x, epochs=4, rate=3e-2, batch_size=16, loss=loss)
    assert log.losses[-1] < 0.1
    chooser = plain()
    adapt(chooser, x, epochs=2, rate=1e-1, loss=loss)
    assert found(chooser, ramps(32, seed=5)) > 0.95


def test_the_task_teaches_the_frame_and_the_model_stays() -> None:
    """A model that knows upright images only: the lowest loss is in showing it those."""
    x, model = ramps(64), net()
    labels = model(x).argmax(1)
    before, mended = weights(model), plain(model=model)
    adapt(mended, x, targets=labels, loss=partial(task_loss, turns=None), epochs=12, rate=1e-1, batch_size=16)
    assert same(before, model)
    metric = audit(mended, CLAIM, x, targets=labels, metric=accuracy, cost=False).metric
    assert metric is not None
    assert metric.mean > 0.9


def test_both_are_trained_where_the_model_is_asked_to_be() -> None:
    x = ramps(64)
    labels = (x[:, 0, 0, 0] > 1.15).long()
    mended = plain()
    before = weights(mended)
    log = adapt(mended, x, targets=labels, loss=task_loss, model=True, epochs=5, rate=1e-2, batch_size=16)
    moved = [name for name, value in mended.state_dict().items() if not torch.equal(value, before[name])]
    assert {name.partition(".")[0] for name in moved} == {"model", "frame"}
    assert "model.1.running_mean" in moved
    assert log.losses[-1] < log.losses[0]
    assert log.parameters == sum(p.numel() for p in mended.parameters())


def test_bootstrap_learns_from_inputs_in_any_pose() -> None:
    clean = ramps(120, noise=2.0)
    pose = draw(3)
    x = Image()(C(4).sample((120,), generator=pose), clean)
    # A teacher that sees a few pixels alone errs often, and seldom where it is sure.
    teacher = Best(lambda x: -x[:, :, 0, 2:5].mean((1, 2)))
    weak = symmetrize(net(), CLAIM, teacher)
    mended = plain()
    logs = bootstrap(mended, x, teacher=teacher, rounds=3, epochs=4, rate=1e-1, batch_size=16, generator=draw())
    assert [log.samples for log in logs] == [60, 90, 120]
    assert found(weak, clean) < 0.9
    assert found(mended, clean) > found(weak, clean) + 0.05


def test_what_is_the_same_in_all_poses_is_learned_from_last() -> None:
    """A blank image has the largest margin, because nothing but a tie is left of it."""
    clean = ramps(12)
    clean[:4] = 0.5
    teacher = Best(lambda x: -x[:, :, :4].mean((1, 2, 3)))
    seen: list[Tensor] = []

    def loss(symmetrized: Any, inputs: Tensor, targets: Any, **_: Any) -> Tensor:
        seen.append(inputs)
        return prior_loss(symmetrized, inputs)

    for keep, blank in ((8 / 12, 0), (9 / 12, 1), (1.0, 4)):
        seen.clear()
        bootstrap(plain(), clean, teacher=teacher, rounds=1, keep=keep, epochs=1, loss=loss)
        assert sum(bool((x == 0.5).all()) for x in torch.cat(seen)) == blank


def test_losses_in_a_loop_of_ones_own() -> None:
    mended = plain()
    optimizer = torch.optim.SGD(mended.frame.parameters(), lr=1.0)
    x = ramps(32)
    mended.train()
    for _ in range(30):
        optimizer.zero_grad()
        prior_loss(mended, x).backward()
        optimizer.step()
    assert found(mended.eval(), ramps(32, seed=5)) > 0.95
    assert all(p.grad is None for p in mended.model.parameters())
