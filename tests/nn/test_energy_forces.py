"""Forces are the gradient of the energy, at symmetric configurations too, and nothing of the caller's is touched."""

from __future__ import annotations

import copy
import io
from types import SimpleNamespace

import pytest
import torch
from energy_cases import CLOUDS, Lab, Pairs, differences
from torch import nn

from canonize import (
    PCA,
    SE,
    Average,
    E,
    Fields,
    O,
    Octahedral,
    Point,
    Scalar,
    Symmetry,
    SymmetryError,
    Vector,
    Weighted,
    audit,
    symmetrize,
)
from canonize.nn import EnergyForces

CLAIMS = {
    "average": (Octahedral(reflections=True), Average(), Vector()),
    "pairs O(3)": (O(3), Pairs(), Vector()),
    "pairs E(3)": (E(3), Pairs(), Point()),
    "weighted": (E(3), Weighted(), Point()),
    "weighted SE(3)": (SE(3), Weighted(), Point()),
    "sign frames": (E(3), PCA(), Point()),
}


def averaged(kind, model=None):
    group, frame, action = CLAIMS[kind]
    return symmetrize(Lab().double() if model is None else model, Symmetry(group, action, Scalar()), frame, chunk=64)


def worst(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("kind", CLAIMS)
@pytest.mark.parametrize("cloud", CLOUDS)
def test_forces_are_the_gradient_of_the_averaged_energy(cloud, kind):
    model = averaged(kind)
    pos = CLOUDS[cloud]()[None]
    found = EnergyForces(model, of=0).eval()(pos)
    # Sign frames fade, near symmetric clouds, within a relative gap of 1e-4.
    step = 2e-6 if kind == "sign frames" else 1e-3
    with torch.no_grad():
        # Without gradients only the poses in use are summed, in another order.
        assert worst(found["energy"], model(pos)) < 1e-13
        assert worst(found["forces"], differences(model, pos, step)) < 1e-6


def test_a_detached_frame_is_caught_by_the_same_law():
    """The planted fault: frames that stop the gradient, as published ones do."""

    class Detached(Pairs):
        def forward(self, symmetry, inputs):
            return super().forward(symmetry, inputs.detach())

    pos = CLOUDS["generic"]()[None]
    model = symmetrize(Lab().double(), Symmetry(O(3), Vector(), Scalar()), Detached(), chunk=64)
    wrong = EnergyForces(model, of=0)(pos)["forces"]
    with torch.no_grad():
        assert worst(wrong, differences(model, pos)) > 1e-2


@pytest.mark.parametrize("cloud", CLOUDS)
def test_energies_stand_still_and_forces_turn(cloud):
    model = EnergyForces(averaged("pairs E(3)"), of=0)
    pos = torch.stack(
        [CLOUDS[cloud]() + 0.05 * torch.randn(*CLOUDS[cloud]().shape, dtype=torch.float64) * k for k in range(8)]
    )
    claim = Symmetry(E(3), Point(), {"energy": Scalar(), "forces": Vector()})
    found = audit(model, claim, pos, cost=False, elements=4, tolerance=1e-9, at_most=0.6)
    assert found.verdict == "pass", found
    assert set(found.by_output) == {".energy", ".forces"}


def test_the_claim_fails_where_forces_are_of_the_plain_energy():
    model = EnergyForces(Lab().double(), of=0)
    claim = Symmetry(E(3), Point(), {"energy": Scalar(), "forces": Vector()})
    assert audit(model, claim, torch.randn(8, 5, 3, dtype=torch.float64), cost=False, elements=4).verdict == "fail"


def test_net_force_and_torque_vanish():
    found = EnergyForces(averaged("pairs E(3)"), of=0).eval()(CLOUDS["generic"]()[None])["forces"][0]
    assert float(found.sum(0).abs().max()) < 1e-12
    assert float(torch.linalg.cross(CLOUDS["generic"](), found).sum(0).abs().max()) < 1e-12


class Keyed(nn.Module):
    """The energy of a dict or an object."""

    def __init__(self):
        super().__init__()
        self.lab = Lab()

    def forward(self, data, scale=1.0):
        pos = data["pos"] if isinstance(data, dict) else data.pos
        return {"energy": scale * self.lab(pos)[:, None], "charges": pos.sum(-1)}


def test_positions_are_found_as_argument_key_attribute_or_keyword():
    pos, lab = torch.randn(2, 5, 3), Lab()
    expected = EnergyForces(lab, of=0)(pos)
    keyed = Keyed()
    keyed.lab = lab
    for found in (
        EnergyForces(keyed)({"pos": pos}),
        EnergyForces(keyed)(SimpleNamespace(pos=pos)),
        EnergyForces(lab)(pos=pos),
        EnergyForces(lambda scale, pos: lab(pos) * scale, of=1)(1.0, pos),
        EnergyForces(lambda scale, pos: lab(pos) * scale, of=-1)(1.0, pos),
    ):
        assert found["energy"].shape == (2,)
        assert torch.equal(found["energy"], expected["energy"])
        assert torch.equal(found["forces"], expected["forces"])
    assert set(EnergyForces(keyed)({"pos": pos})) == {"energy", "forces", "charges"}
    twice = EnergyForces(keyed)({"pos": pos}, scale=2.0)
    assert torch.allclose(twice["forces"], 2 * expected["forces"])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("training", [True, False])
def test_every_grad_mode_gives_the_same_numbers(mode, training):
    model = EnergyForces(averaged("pairs O(3)", Lab()), of=0).train(training)
    pos = CLOUDS["methane"](torch.float32)[None]
    expected = {name: part.detach() for name, part in model(pos).items()}
    with mode():
        inside = torch.randn(1, 5, 3)
        model(inside)
        found = model(pos)
    for name, part in expected.items():
        assert torch.equal(found[name].detach(), part)
        assert found[name].requires_grad == (training and mode is torch.enable_grad)
    assert torch.is_grad_enabled()


def test_nothing_of_the_callers_changes():
    def rough(data):
        data["pos"] -= data["pos"].mean(1, keepdim=True)
        data["extra"] = 1
        return data["pos"].square().sum((1, 2))

    pos = torch.randn(2, 4, 3)
    data = {"pos": pos, "cell": torch.eye(3).expand(2, 3, 3).clone()}
    before = copy.deepcopy(data)
    EnergyForces(rough, cell="cell")(data)
    assert set(data) == set(before)
    assert all(torch.equal(data[name], before[name]) for name in data)
    assert not pos.requires_grad
    assert pos.grad is None


def test_training_on_forces_reaches_the_parameters():
    model = EnergyForces(averaged("pairs O(3)"), of=0)
    pos = CLOUDS["methane"]()[None] + 0.1 * torch.randn(1, 5, 3, dtype=torch.float64)
    target = torch.randn(1, 5, 3, dtype=torch.float64)

    def loss():
        return (model(pos)["forces"] - target).square().sum()

    loss().backward()
    first = model.energy_model.model.first
    found, step = first.grad.clone(), 1e-5
    expected = torch.zeros_like(found)
    for place in range(first.numel()):
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                first.view(-1)[place] += sign * step
            sides.append(float(loss().detach()))
            with torch.no_grad():
                first.view(-1)[place] -= sign * step
        expected.view(-1)[place] = (sides[0] - sides[1]) / (2 * step)
    assert worst(found, expected) < 1e-6


def test_a_callers_gradient_passes_through_the_forces():
    """The Hessian, also in eval mode: positions that require a gradient keep their graph."""
    model = EnergyForces(averaged("pairs O(3)"), of=0).eval()
    pos = CLOUDS["generic"]()[None].requires_grad_()
    force = model(pos)["forces"][0, 0, 0]
    (row,) = torch.autograd.grad(-force, pos)
    assert worst(row, -differences(lambda x: -model(x)["forces"][:, 0, 0], pos.detach())) < 1e-6
    assert not model(pos.detach())["forces"].requires_grad


def periodic(data):
    """Energy of atoms with springs to their images along each lattice vector; extensive, and of Lab's preferred direction."""
    pos, cell = data["pos"], data["cell"]
    bonds = pos[:, :, None] - pos[:, None, :] + cell.sum(1)[:, None, None, :]
    return bonds.square().sum((1, 2, 3)) + bonds.pow(3).sum((1, 2, 3)) + torch.linalg.det(cell)


@pytest.mark.parametrize("rows", [False, True])
def test_stress_is_the_strain_derivative(rows):
    pos, cell = (
        torch.rand(2, 4, 3, dtype=torch.float64),
        2 * torch.eye(3, dtype=torch.float64) + torch.rand(2, 3, 3).double(),
    )
    batch = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    shuffled = torch.tensor([4, 0, 5, 1, 6, 2, 7, 3])

    def ragged(data):
        order = data["batch"].argsort(stable=True)
        return periodic({"pos": data["pos"][order].reshape(2, 4, 3), "cell": data["cell"]})

    if rows:
        data = {"pos": pos.reshape(8, 3)[shuffled], "cell": cell, "batch": batch[shuffled]}
        found = EnergyForces(ragged, cell="cell", index="batch")(data)
    else:
        found = EnergyForces(periodic, cell="cell")({"pos": pos, "cell": cell})
    for a in range(3):
        for b in range(3):
            total, step = 0.0, 1e-4
            for sign in (1, -1):
                strain = torch.zeros(3, 3, dtype=torch.float64)
                strain[a, b] += sign * step / 2
                strain[b, a] += sign * step / 2
                total = total + sign * periodic({"pos": pos + pos @ strain, "cell": cell + cell @ strain})
            expected = total / (2 * step) / torch.linalg.det(cell).abs()
            assert torch.allclose(found["stress"][:, a, b], expected, rtol=1e-6, atol=1e-8)
    assert torch.equal(found["stress"], found["stress"].mT)


def test_a_batch_of_graphs():
    geometric = pytest.importorskip("torch_geometric.data", reason="torch_geometric is not installed")
    pos, cell = torch.rand(2, 4, 3, dtype=torch.float64), 2 * torch.eye(3, dtype=torch.float64).expand(2, 3, 3)
    graphs = [geometric.Data(pos=p, cell=c[None]) for p, c in zip(pos, cell, strict=True)]
    batch = geometric.Batch.from_data_list(graphs)

    def model(data):
        return periodic({"pos": data.pos.reshape(data.num_graphs, -1, 3), "cell": data.cell})

    expected = EnergyForces(periodic, cell="cell")({"pos": pos, "cell": cell})
    found = EnergyForces(model, cell="cell", index="batch")(batch)
    assert torch.allclose(found["forces"].reshape(2, 4, 3), expected["forces"])
    assert torch.allclose(found["stress"], expected["stress"])
    assert not batch.pos.requires_grad
    assert torch.equal(batch.pos, pos.reshape(8, 3))


def test_one_sample_without_a_batch_axis():
    pos, cell = torch.rand(4, 3), 3 * torch.eye(3)
    found = EnergyForces(lambda d: (d["pos"] @ d["cell"]).square().sum(), cell="cell")({"pos": pos, "cell": cell})
    assert found["energy"].shape == ()
    assert found["stress"].shape == (3, 3)


def test_clouds_without_points_have_forces_without_rows():
    found = EnergyForces(lambda pos: pos.square().sum((1, 2)), of=0)(torch.zeros(2, 0, 3))
    assert found["forces"].shape == (2, 0, 3)
    assert torch.equal(found["energy"], torch.zeros(2))


def test_it_pickles_copies_and_changes_its_dtype():
    model = EnergyForces(averaged("pairs O(3)", Lab()), of=0)
    pos = torch.randn(1, 5, 3)
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    for other in (copy.deepcopy(model), torch.load(stream, weights_only=False)):
        assert torch.equal(other(pos)["forces"], model(pos)["forces"])
    assert copy.deepcopy(model).double()(pos.double())["forces"].dtype == torch.float64


REFUSED = {
    "no model": (lambda: EnergyForces(3), "needs a model"),
    "a class": (lambda: EnergyForces(Lab), "class Lab"),
    "a bad place": (lambda: EnergyForces(Lab(), of=1.5), "bad of"),
    "no such place": (lambda: EnergyForces(Lab())(torch.zeros(1, 2, 3)), "there is no of='pos'"),
    "too few arguments": (lambda: EnergyForces(Lab(), of=1)(torch.zeros(1, 2, 3)), "there is no of=1"),
    "whole numbers": (lambda: EnergyForces(Lab(), of=0)(torch.zeros(1, 2, 3, dtype=torch.int64)), "real numbers"),
    "energies of atoms": (lambda: EnergyForces(lambda x: x.sum(-1), of=0)(torch.zeros(1, 2, 3)), "one energy for each"),
    "another batch": (lambda: EnergyForces(lambda x: x.sum((0, 1)), of=0)(torch.zeros(2, 2, 3)), "one energy for each"),
    "no key": (lambda: EnergyForces(lambda x: {"e": x}, of=0)(torch.zeros(2, 2, 3)), "returns no energy"),
    "detached": (lambda: EnergyForces(lambda x: x.detach().sum((1, 2)), of=0)(torch.zeros(2, 2, 3)), "does not depend"),
    "constant": (
        lambda: EnergyForces(lambda x: torch.zeros(2, requires_grad=True), of=0)(torch.zeros(2, 2, 3)),
        "does not depend",
    ),
    "no volume": (
        lambda: EnergyForces(periodic, cell="cell")({"pos": torch.zeros(1, 2, 3), "cell": torch.zeros(1, 3, 3)}),
        "with a volume",
    ),
    "NaN in the cell": (
        lambda: EnergyForces(periodic, cell="cell")(
            {"pos": torch.zeros(1, 2, 3), "cell": torch.full((1, 3, 3), torch.nan)}
        ),
        "with a volume",
    ),
    "another batch of cells": (
        lambda: EnergyForces(periodic, cell="cell")({"pos": torch.zeros(3, 2, 3), "cell": torch.eye(3)[None]}),
        "different batches",
    ),
    "no index": (
        lambda: EnergyForces(periodic, cell="cell")({"pos": torch.zeros(6, 3), "cell": torch.eye(3).expand(2, 3, 3)}),
        "different batches",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_told(case):
    call, words = REFUSED[case]
    with pytest.raises(SymmetryError, match=words):
        call()


def test_direct_vectors_are_turned_back():
    """The other way to forces: a model that returns them, with its vectors declared as such."""
    net = nn.Linear(15, 15).double()

    def direct(data):
        pos = data["pos"] - data["pos"].mean(1, keepdim=True)
        return {"energy": pos.square().sum((1, 2)), "forces": net(pos.flatten(1)).reshape(-1, 5, 3)}

    claim = Symmetry(E(3), Fields(pos=Point()), {"energy": Scalar(), "forces": Vector()})
    mended = symmetrize(direct, claim, Pairs())
    found = audit(
        mended, claim, {"pos": torch.randn(8, 5, 3, dtype=torch.float64)}, cost=False, elements=4, at_most=0.6
    )
    assert found.verdict == "pass", found
