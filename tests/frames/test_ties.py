"""Ties: energies that cannot tell candidates apart, for every kind of rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from canonize import (
    Best,
    C,
    Chain,
    Confidence,
    D,
    Factor,
    Fields,
    Icosahedral,
    Image,
    Index,
    Mask,
    Nodes,
    Octahedral,
    Pairs,
    Point,
    Poses,
    Product,
    Rows,
    S,
    Scalar,
    Symmetry,
    SymmetryError,
    Vector,
    default_frame,
    symmetrize,
)
from canonize.actions import lossless, move

GROUPS = [C(4), C(7), C(8), D(3), Octahedral(), Icosahedral()]


def polygon(n: int) -> Tensor:
    angle = torch.arange(n, dtype=torch.float64) * 2 * torch.pi / n
    return torch.stack([angle.cos(), angle.sin()], 1)


def clouds(group: Any) -> Tensor:
    """Generic clouds, one that the group fixes as a set, coincident points, and zeros."""
    dim = group.dim
    draw = torch.Generator().manual_seed(3)
    generic = torch.randn(13, 7, dim, generator=draw, dtype=torch.float64)
    orbit = (group.elements(dtype=torch.float64) @ torch.randn(dim, generator=draw, dtype=torch.float64)).repeat(2, 1)[
        :7
    ]
    regular = polygon(7) if dim == 2 else torch.cat([torch.eye(3), -torch.eye(3), torch.zeros(1, 3)]).double()
    same = torch.ones(7, dim, dtype=torch.float64)
    return torch.cat([generic, torch.stack([orbit, regular, same, torch.zeros_like(same)])])


ENERGIES = {
    "invariant": lambda x: x.square().sum((1, 2)),
    "constant": lambda x: x.sum((1, 2)) * 0,
    "generic": lambda x: (x * torch.arange(1.0, 8.0, dtype=x.dtype)[:, None]).sin()[..., 0].sum(1),
    "saturated": lambda x: torch.sigmoid(300 * x[:, 0, 0]),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("energy", ENERGIES.values(), ids=ENERGIES)
@pytest.mark.parametrize("group", GROUPS, ids=repr)
def test_best_is_equivariant_on_points_whatever_ties(group: Any, energy: Any, dtype: torch.dtype) -> None:
    x = clouds(group).to(dtype)
    weight = torch.randn(7 * group.dim, 4, dtype=dtype)
    bend = torch.arange(1, group.dim + 1, dtype=dtype)

    def model(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flatten(1).sin() @ weight, (x * bend).tanh()

    claim = Symmetry(group, Point(), (Scalar(), Vector()))
    mended = symmetrize(model, claim, Best(energy))
    bound = 2e-5 if dtype == torch.float32 else 1e-12
    for seed in range(3):
        g = group.sample(len(x), generator=torch.Generator().manual_seed(seed), dtype=dtype)
        for one, other in zip(mended(Point()(g, x)), move(claim.outputs, g, mended(x)), strict=True):
            assert float((one - other).abs().max()) < bound * float(other.abs().max().clamp(min=1))


def test_a_saturated_confidence_on_points() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(10, 3))
    net[1].weight.data *= 60
    x, g = torch.randn(256, 5, 2), C(7).sample(256)
    mended = symmetrize(net, Symmetry(C(7), Point(), Scalar()), Best(Confidence(net)))
    with torch.no_grad():
        one, other = mended(Point()(g, x)), mended(x)
    assert float((one - other).norm() / other.norm()) < 1e-5


def test_a_product_of_permutations_and_rotations() -> None:
    group = Product(S(3), C(7))
    action = Chain(Factor(0, Nodes()), Factor(1, Point()))
    x = torch.randn(16, 3, 2, dtype=torch.float64)
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 3)).double()
    mended = symmetrize(net, Symmetry(group, action, Scalar()), Best(lambda x: x[:, 0, 0]))
    assert torch.allclose(mended(action(group.sample(16, dtype=torch.float64), x)), mended(x), atol=1e-12)


def test_an_unknown_action_is_taken_to_round() -> None:
    """A function may compute what it likes; candidates that differ by rounding must not decide anything."""
    x = torch.randn(8, 5, 2, dtype=torch.float64)
    net = nn.Sequential(nn.Flatten(), nn.Linear(10, 3)).double()

    def turn(g: Tensor, x: Tensor) -> Tensor:
        return Point()(g, x * 3.0) / 3.0

    mended = symmetrize(net, Symmetry(C(4), turn, Scalar()), Best(lambda x: x.square().sum((1, 2))))
    assert torch.allclose(mended(turn(C(4).sample(8, dtype=torch.float64), x)), mended(x), atol=1e-12)
    assert bool(lossless(turn, C(4).elements(), x))


class TestWhatIsNotDeclared:
    """Tensors that `Fields` leaves out cannot be stacked or averaged, and are refused there, not garbled."""

    claim = Symmetry(Octahedral(), Fields(pos=Rows(Point()), batch=Index()), {"force": Rows(Vector())})
    batch = {
        "pos": torch.randn(4, 3),
        "batch": torch.tensor([0, 0, 1, 1]),
        "edge_index": torch.tensor([[0, 2], [1, 3]]),
    }

    @staticmethod
    def model(batch: Any) -> dict[str, Tensor]:
        source, target = batch["edge_index"]
        step = torch.zeros_like(batch["pos"]).index_add(0, source, batch["pos"][target].tanh())
        return {"force": step * torch.tensor([1.0, 2.0, 3.0])}

    def test_one_pose_a_call_is_right(self) -> None:
        mended = symmetrize(self.model, self.claim)
        g = Octahedral().sample(2)
        turned = move(self.claim.inputs, g, self.batch)
        expected = move(self.claim.outputs, g, mended(self.batch), index=self.batch["batch"])
        assert torch.allclose(mended(turned)["force"], expected["force"], atol=1e-6)

    def test_several_poses_a_call_are_refused(self) -> None:
        with pytest.raises(SymmetryError, match=r"the tensor at \.edge_index is not declared(.|\n)*leave chunk=1"):
            symmetrize(self.model, self.claim, chunk=4)(self.batch)

    def test_a_scored_orbit_is_refused(self) -> None:
        with pytest.raises(SymmetryError, match=r"the tensor at \.edge_index is not declared(.|\n)*Average"):
            symmetrize(self.model, self.claim, Best(lambda d: d["pos"].sum(1)))(self.batch)

    def test_undeclared_outputs_cannot_be_averaged(self) -> None:
        claim = Symmetry(C(4), Image(), Fields(logits=Scalar()))

        def model(x: Tensor) -> dict[str, Any]:
            return {"logits": x.flatten(1), "hidden": x, "loss": x.mean(), "note": "text"}

        with pytest.raises(SymmetryError, match=r"an output at \.hidden cannot be averaged over poses"):
            symmetrize(model, claim)(torch.rand(2, 1, 4, 4))
        one = symmetrize(model, claim, Best(lambda x: x[:, 0, 0, 0]))(torch.rand(2, 1, 4, 4))
        assert one["note"] == "text"


class Batch:
    """An object with attributes, as graph libraries have."""

    def __init__(self, pos: Tensor, x: Tensor) -> None:
        self.pos, self.x = pos, x


def test_a_model_that_changes_an_undeclared_part_changes_nobody_elses() -> None:
    def model(batch: Batch) -> Tensor:
        batch.x += 1
        return batch.pos.sum((1, 2))[:, None] * 0 + batch.x

    batch = Batch(torch.randn(2, 4, 3), torch.ones(2, 1))
    found = symmetrize(model, Symmetry(Octahedral(), Fields(pos=Point()), Scalar()))(batch)
    assert torch.equal(batch.x, torch.ones(2, 1))
    assert torch.allclose(found, torch.full((2, 1), 2.0))


class TestSortedRefusesWhatItCannotOrder:
    edges = staticmethod(lambda g, x: Pairs()(g, x))

    def test_any_other_action(self) -> None:
        claim = Symmetry(S(3), (Nodes(), self.edges), Scalar())
        assert type(default_frame(claim)).__name__ == "Average"
        from canonize import Sorted

        with pytest.raises(SymmetryError, match="Sorted orders sets"):
            symmetrize(lambda a, b: b.flatten(1), claim, Sorted())(torch.ones(2, 3, 1), torch.rand(2, 3, 3))

    def test_large_whole_numbers_are_not_rounded(self) -> None:
        x = torch.tensor([[2**53, 2**53 + 1]])
        first = symmetrize(lambda x: x[:, :1], Symmetry(S(2), Nodes(), Scalar()))
        assert torch.equal(first(x), first(x.flip(1)))


class TestWeights:
    claim = Symmetry(C(4), Image(), Scalar())
    x = torch.rand(2, 1, 4, 4)

    def mended(self, weights: Tensor, model: Any = None) -> Any:
        def frame(symmetry: Symmetry, inputs: Tensor) -> Poses:
            elements = symmetry.group.elements()[: len(weights), None].expand(-1, len(inputs), 2, 2)
            return Poses(elements, weights[:, None].expand(-1, len(inputs)))

        return symmetrize(model or (lambda x: x[:, 0, :1, 0] + 1), self.claim, frame)

    @pytest.mark.parametrize("weights", [[0.5], [0.25, 0.25], [-3.0] * 4, [2.0, -1.0], [float("nan"), 1.0]])
    def test_weights_that_are_no_shares_are_refused(self, weights: list[float]) -> None:
        with pytest.raises(SymmetryError, match="no shares"):
            self.mended(torch.tensor(weights))(self.x)

    def test_a_weight_of_zero_keeps_its_gradient_and_hides_infinities(self) -> None:
        soft = torch.full((4,), 0.25, requires_grad=True)
        hard = torch.tensor([1.0, 0.0, 0.0, 0.0])
        self.mended(hard + soft - soft.detach())(self.x).sum().backward()
        turned = [self.x.rot90(-k, (-2, -1))[:, 0, 0, 0] + 1 for k in range(4)]
        assert soft.grad is not None
        assert torch.allclose(soft.grad, torch.stack(turned).sum(1), atol=1e-6)
        # One pose is shown infinity, at weight zero.
        found = self.mended(hard, lambda x: torch.where(x[:, 0, :1, 0] == self.x[:, 0, :1, 0], 1.0, torch.inf))(self.x)
        assert torch.equal(found, torch.ones(2, 1))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_a_constant_stays_what_it_is_in_low_precision(self, dtype: torch.dtype) -> None:
        model = symmetrize(lambda x: torch.ones(len(x), 1, dtype=dtype), Symmetry(C(7), Image(), Scalar()))
        found = model(self.x)
        assert found.dtype == dtype
        assert torch.equal(found, torch.ones_like(found))

    def test_labels_are_not_averaged_whatever_their_dtype(self) -> None:
        claim = Symmetry(C(4), Image(), Mask())
        with pytest.raises(SymmetryError, match="cannot be averaged"):
            symmetrize(lambda x: (x > 0.5).float(), claim)(self.x)
        blank = symmetrize(
            lambda x: torch.arange(16.0).reshape(1, 1, 4, 4).expand_as(x), claim, Best(lambda x: x[:, 0, 0, 0])
        )
        found = blank(torch.ones(1, 1, 4, 4))
        assert set(found.unique().tolist()) <= set(range(16))
        assert torch.equal(found, found.rot90(1, (-2, -1)))


def test_autocast_does_not_round_elements() -> None:
    x, g = torch.randn(4, 9, 3), Icosahedral().sample(4)
    with torch.autocast("cpu", torch.bfloat16):
        inside = Point()(g, x)
        product = Icosahedral().compose(g, g)
    assert torch.equal(inside, Point()(g, x))
    assert torch.equal(product, Icosahedral().compose(g, g))


def test_scoring_does_not_move_running_statistics() -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(16, 3)).train()
    mended = symmetrize(model, Symmetry(C(4), Image(), Scalar()), Best(Confidence(model)))
    with pytest.raises(SymmetryError, match="would change the running statistics"):
        mended(torch.rand(4, 1, 4, 4))
    mended.eval()(torch.rand(4, 1, 4, 4))


@pytest.mark.parametrize(
    "frame", [Confidence(nn.Flatten()), lambda x: x, nn.Flatten()], ids=["Confidence", "energy", "module"]
)
def test_an_energy_is_no_frame(frame: Any) -> None:
    with pytest.raises(SymmetryError, match=r"Best\("):
        symmetrize(nn.Flatten(), Symmetry(C(4), Image(), Scalar()), frame)


def test_memory_maps_are_arrays(tmp_path: Any) -> None:
    import numpy as np

    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((4, 1, 4, 4), dtype=np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    found = symmetrize(lambda x: x.reshape(len(x), -1)[:, :1], Symmetry(C(4), Image(), Scalar()))(mapped)
    assert found.shape == (4, 1)


@dataclass(frozen=True)
class Predicted:
    """A frame of an outsider that holds a model of its own, as learned poses do."""

    model: Any

    def __call__(self, symmetry: Symmetry, inputs: Tensor) -> Poses:
        best = self.model(inputs)
        return Poses(symmetry.group.elements()[best][None], torch.ones(1, len(inputs)))


def test_a_frame_may_hold_a_model() -> None:
    def turn(x: Tensor) -> Tensor:
        """Which corner is brightest: a quarter turn moves it on by one."""
        return torch.stack([x[:, 0, 0, 0], x[:, 0, -1, 0], x[:, 0, -1, -1], x[:, 0, 0, -1]], 1).argmax(1)

    x = torch.rand(8, 1, 4, 4)
    mended = symmetrize(nn.Flatten(), Symmetry(C(4), Image(), Scalar()), Predicted(turn))
    assert torch.equal(mended(x.rot90(1, (-2, -1))), mended(x))
