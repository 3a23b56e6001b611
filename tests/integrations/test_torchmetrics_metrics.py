"""Metrics give the audit's numbers, whatever the batches and the processes, and behave as metrics of torchmetrics do."""

import copy
import pickle

import pytest
import torch

from canonize import (
    SO,
    Best,
    C,
    Fields,
    Image,
    Index,
    Mask,
    Octahedral,
    Point,
    Rows,
    S,
    Scalar,
    Symmetry,
    SymmetryError,
    Vector,
    accuracy,
    audit,
    symmetrize,
)
from canonize.actions import Nodes

torchmetrics = pytest.importorskip("torchmetrics", reason="torchmetrics is not installed")

from canonize.integrations.torchmetrics import EquivarianceError, OrbitAccuracy  # noqa: E402  # the library comes first

TURNS = Symmetry(C(4), Image(), Scalar())
ERRORS = ("max", "mean", "median", "q90", "q99")
ACCURACIES = ("mean", "upright", "worst_element", "worst_case")


def net(*sizes):
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(*sizes)).eval()


def two_headed(x):
    return {"map": x.mean(1, keepdim=True) * x, "mask": x[:, 0].cumsum(1) > 1.0}


def forces(batch):
    return torch.tanh(batch["pos"] * torch.tensor([1.0, 2.0, 3.0]))


def ragged(counts):
    owners = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return {"pos": torch.randn(len(owners), 3), "batch": owners}


# Drawn apart, so that they do not depend on which tests are collected.
IMAGES = torch.rand(11, 1, 4, 4, generator=torch.Generator().manual_seed(0))
CASES = {
    "image": (net(16, 3), TURNS, IMAGES),
    "resampled": (net(16, 3), Symmetry(C(8), Image(), Scalar()), IMAGES),
    "average": (symmetrize(net(16, 3), TURNS), TURNS, IMAGES),
    "vanishing": (symmetrize(lambda x: (x[:, 0, 0] - x[:, 0, 3]).mean(1, keepdim=True), TURNS), TURNS, IMAGES),
    "several": (two_headed, Symmetry(C(4), Image(), {"map": Image(), "mask": Mask()}), IMAGES),
    "drawn": (net(3, 2), Symmetry(SO(3), Vector(), Scalar()), torch.randn(11, 3)),
    "set": (net(20, 2), Symmetry(S(), Nodes(), Scalar()), torch.randn(11, 5, 4)),
    "rows": (
        forces,
        Symmetry(Octahedral(), Fields(pos=Rows(Point()), batch=Index()), Rows(Vector())),
        ragged([2, 3, 1]),
    ),
    "small": (lambda x: (x[:, 0, 0, :1] - 0.5) ** 5, TURNS, IMAGES),
    "nan": (lambda x: x.mean((2, 3)) / (x[:, 0, 0, :1] > 0.2), TURNS, IMAGES),
    "arrays": (lambda x: x.cumsum(1)[:, 0, 0], TURNS, IMAGES.numpy()),
}


@pytest.mark.parametrize(
    ("case", "scale"), [*[(case, None) for case in CASES], ("image", 0.9), ("several", 0.9)], ids=str
)
def test_one_update_is_one_audit(case, scale):
    model, claim, inputs = CASES[case]
    found = audit(model, claim, inputs, cost=False, scale=scale, elements=8)
    metric = EquivarianceError(claim, reduction="none", scale=scale, elements=8)
    metric.update(model, inputs)
    assert torch.equal(metric.compute(), found.errors.flatten())
    for reduction in ERRORS:
        metric.reduction, metric._computed = reduction, None
        assert metric.compute() == torch.tensor(getattr(found.error, reduction), dtype=torch.float64)


def test_the_cases_tell_metrics_apart():
    """Otherwise the law above says nothing: errors, and scales that matter."""
    found = {case: audit(*CASES[case], cost=False, elements=8).error for case in CASES}
    assert found["nan"].max == torch.inf
    assert all(found[case].max > 0.01 for case in ("image", "drawn", "set", "rows", "arrays", "several"))
    assert found["vanishing"].max < 1e-4, "rounding beside an answer that vanishes"
    assert found["average"].max < 1e-5


@pytest.mark.parametrize("case", ["image", "average", "vanishing", "several", "resampled"])
def test_batches_do_not_matter(case):
    model, claim, inputs = CASES[case]
    found = audit(model, claim, inputs, cost=False).error
    for size in (3, 11):
        metric = EquivarianceError(claim, reduction="mean")
        for batch in inputs.split(size):
            metric.update(model, batch)
        torch.testing.assert_close(metric.compute().item(), found.mean, rtol=1e-6, atol=1e-7)


def gathered(parts):
    """What torchmetrics' gathering would bring from these metrics, without processes: each state in its turn."""
    states = [[getattr(part, name) for name in part._defaults] for part in parts]
    flat = [[torch.cat(state) if isinstance(state, list) else state for state in one] for one in states]
    turns = iter(zip(*flat, strict=True))
    return lambda tensor, group=None: list(next(turns))


METRICS = [
    *[(EquivarianceError, reduction) for reduction in (*ERRORS, "none")],
    *[(OrbitAccuracy, reduction) for reduction in ACCURACIES],
]


@pytest.mark.parametrize(("kind", "reduction"), METRICS, ids=lambda part: getattr(part, "__name__", part))
def test_two_halves_merged_are_the_whole(kind, reduction):
    model, labels = net(16, 3), torch.arange(11) % 3
    whole, first, second = (kind(TURNS, reduction=reduction) for _ in range(3))
    for metric, some in ((whole, slice(0, 4)), (whole, slice(4, 11)), (first, slice(0, 4)), (second, slice(4, 11))):
        metric.update(model, IMAGES[some], labels[some])
    wanted = whole.compute()
    merged = copy.deepcopy(second)
    merged.merge_state(first)
    assert torch.equal(merged.compute().sort().values, wanted.sort().values)
    # The worst of all, and of few the 99th percentile too, may lie in the first half.
    extreme = reduction in ("max", "q99", "worst_case")
    assert not torch.equal(first.compute(), wanted) or extreme, "a half must not be enough"
    first._computed = None
    first.dist_sync_fn, first.distributed_available_fn = gathered([first, second]), lambda: True
    assert torch.equal(first.compute(), wanted)


@pytest.mark.parametrize("reduction", ACCURACIES)
@pytest.mark.parametrize(
    "claim", [TURNS, Symmetry(C(8), Image(), Scalar()), Symmetry(C(65), Image(), Scalar())], ids=repr
)
def test_the_accuracy_is_the_audits(claim, reduction):
    model, labels = net(16, 3), torch.arange(11) % 3
    found = audit(model, claim, IMAGES, targets=labels, metric=accuracy, cost=False, elements=4).metric
    if claim.group == C(65) and reduction == "worst_element":
        with pytest.raises(SymmetryError, match=r"no worst element[\s\S]*65 elements"):
            OrbitAccuracy(claim, reduction=reduction, elements=4)
        return
    metric = OrbitAccuracy(claim, reduction=reduction, elements=4)
    metric.update(model, IMAGES, labels)
    assert metric.compute().item() == pytest.approx(getattr(found, reduction), abs=1e-12)
    assert 0 < found.mean < 1


def test_a_symmetrized_classifier_has_one_accuracy():
    model, labels = net(16, 3), torch.arange(11) % 3
    upright = symmetrize(model, TURNS, Best(lambda x: x[:, :, :2].mean((1, 2, 3))))
    values = []
    for reduction in ACCURACIES:
        metric = OrbitAccuracy(TURNS, reduction=reduction)
        metric.update(upright, IMAGES, labels)
        values.append(metric.compute().item())
    assert len(set(values)) == 1
    broken = OrbitAccuracy(TURNS, reduction="upright")
    broken.update(lambda x: model(x) * torch.nan, IMAGES, labels)
    assert broken.compute() == 0


def test_in_a_collection():
    calls = []
    model, labels = net(16, 3), torch.arange(11) % 3
    model.register_forward_hook(lambda *_: calls.append(1))
    both = torchmetrics.MetricCollection(
        {
            "worst": EquivarianceError(TURNS),
            "median": EquivarianceError(TURNS, reduction="median"),
            "turned": OrbitAccuracy(TURNS),
        },
        prefix="val/",
    )
    both.update(model, IMAGES[:5], labels[:5])
    once = len(calls)
    both.update(model, IMAGES[5:], labels[5:])
    assert len(calls) - once == once * 2 / 3, "metrics with equal states share one update"
    found = audit(model, TURNS, IMAGES, targets=labels, metric=accuracy, cost=False)
    values = both.compute()
    assert values["val/worst"].item() == pytest.approx(found.error.max, rel=1e-5)
    assert values["val/turned"].item() == pytest.approx(found.metric.mean)
    both.reset()
    step = both(model, IMAGES, labels)
    assert step["val/median"].item() == found.error.median


def test_forward_tells_the_batch_and_keeps_the_whole():
    model = net(16, 3)
    metric, draws = EquivarianceError(TURNS, reduction="mean"), []
    for batch in IMAGES.split(4):
        one = metric(model, batch)
        draws.append(audit(model, TURNS, batch, cost=False).error.mean)
        assert one.item() == pytest.approx(draws[-1], rel=1e-6)
    assert metric.compute().item() == pytest.approx(audit(model, TURNS, IMAGES, cost=False).error.mean, rel=1e-6)


@pytest.mark.parametrize("kind", [EquivarianceError, OrbitAccuracy])
def test_copies_reset_and_devices(kind):
    model, labels = net(3, 2), torch.arange(11) % 2
    claim, inputs = Symmetry(SO(3), Vector(), Scalar()), torch.randn(11, 3)
    metric = kind(claim, reduction="mean", elements=4)
    metric.update(model, inputs, labels)
    copies = [copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), metric.clone()]
    metric.update(model, inputs, labels)
    for other in copies:
        other.update(model, inputs, labels)
        assert torch.equal(other.compute(), metric.compute()), "the copy draws what the original draws"
    away = copies[0].to("meta")
    assert {part.device.type for name in away._defaults for part in listed(getattr(away, name))} == {"meta"}
    metric.reset()
    assert all(not len(part) if isinstance(part, list) else not part.any() for part in metric.metric_state.values())


def listed(state):
    return state if isinstance(state, list) else [state]


def test_draws_go_on_and_repeat_with_the_seed():
    claim, inputs, model = Symmetry(SO(3), Vector(), Scalar()), torch.randn(5, 3), net(3, 2)
    told = []
    for seed in (0, 0, 1):
        metric = EquivarianceError(claim, reduction="none", elements=4, generator=torch.Generator().manual_seed(seed))
        metric.update(model, inputs)
        metric.update(model, inputs)
        told.append(metric.compute())
    assert torch.equal(told[0], told[1])
    assert not torch.equal(told[0], told[2])
    assert not torch.equal(told[0][:20], told[0][20:]), "another batch meets other elements"


def test_nothing_else_moves():
    model = net(16, 3).requires_grad_()
    before, given = torch.get_rng_state(), IMAGES.clone()
    metric = EquivarianceError(TURNS)
    metric(model, IMAGES)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(IMAGES, given)
    assert all(not state.requires_grad for state in metric.off)
    assert not [part for part in vars(metric).values() if part is model]


def test_forces_are_differentiated_inside():
    def gradient(x):
        x = x.requires_grad_()
        return torch.autograd.grad((x.square().sum(1) * x[:, 0].exp()).sum(), x)[0]

    claim, inputs = Symmetry(C(4), Vector(), Vector()), torch.randn(6, 2)
    metric = EquivarianceError(claim, gradients=True)
    metric.update(gradient, inputs)
    assert metric.compute().item() == audit(gradient, claim, inputs, gradients=True, cost=False).error.max > 0.1
    with pytest.raises(SymmetryError, match="the model failed"):
        EquivarianceError(claim).update(gradient, inputs)


def test_wrong_usage_is_told():
    with pytest.raises(SymmetryError, match="needs the claim"):
        EquivarianceError(C(4))
    with pytest.raises(SymmetryError, match=r"no such reduction[\s\S]*'worst'[\s\S]*'max'"):
        EquivarianceError(TURNS, reduction="worst")
    with pytest.raises(SymmetryError, match=r"bad elements[\s\S]*EquivarianceError"):
        EquivarianceError(TURNS, elements=0)
    with pytest.raises(SymmetryError, match="bad scale"):
        EquivarianceError(TURNS, scale=-1.0)
    with pytest.raises(SymmetryError, match=r"train mode[\s\S]*OrbitAccuracy.update"):
        OrbitAccuracy(TURNS).update(
            torch.nn.Sequential(torch.nn.Dropout(), net(16, 3)).train(), IMAGES, torch.arange(11)
        )
    with pytest.raises(SymmetryError, match="needs targets"):
        OrbitAccuracy(TURNS).update(net(16, 3), IMAGES, None)
    with pytest.raises(SymmetryError, match="NaN or infinity"):
        EquivarianceError(TURNS).update(net(16, 3), IMAGES / 0)
    with pytest.warns(UserWarning, match="before"), pytest.raises(SymmetryError, match="has seen no inputs"):
        EquivarianceError(TURNS).compute()
    with pytest.warns(UserWarning, match="before"):
        assert OrbitAccuracy(TURNS).compute().isnan()
