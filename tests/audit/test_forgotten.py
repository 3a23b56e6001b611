"""A failing audit names the field that somebody forgot to declare, and accuses none where the model is at fault."""

from __future__ import annotations

import dataclasses
import json
import sys
from types import SimpleNamespace

import pytest
import torch
from models import look

from canonize import (
    SO,
    C,
    E,
    Edges,
    Fields,
    Image,
    Index,
    Keywords,
    O,
    Offsets,
    Planar,
    Point,
    Rows,
    Scalar,
    Symmetry,
    Vector,
    audit,
)
from canonize.audit import forgotten as module
from canonize.report import to_html, to_json, to_text

COUNT, POINTS = 32, 5


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


POS, VEL, CELL = draw(COUNT, POINTS, 3), draw(COUNT, POINTS, 3, seed=1), draw(COUNT, 3, 3, seed=2)
FIELD, STRAIN = draw(COUNT, 3, seed=3), draw(COUNT, 3, 3, seed=4)
INDEX = torch.arange(COUNT).repeat_interleave(POINTS)


def centred(pos):
    return pos - pos.mean(1, keepdim=True)


def energy(pos, vel):
    """Invariant where both turn."""
    return (centred(pos) * vel).sum((1, 2)) + centred(pos).square().sum((1, 2))


def with_cell(pos, cell):
    return torch.einsum("bni,bai->bna", centred(pos), cell).pow(2).sum((1, 2))


def turned_strain(pos, strain):
    return torch.einsum("bni,bij,bnj->b", centred(pos), strain, centred(pos))


def torque(pos, vel):
    return torch.linalg.cross(centred(pos), vel).sum(1)


def ragged(data):
    rows = (data["pos"] * data["vel"]).sum(-1)
    return torch.zeros(COUNT, dtype=rows.dtype).index_add(0, data["batch"], rows)[: 1 + int(data["batch"].max())]


def flat(value):
    return value.reshape(-1, 3)


# name: model, claim, inputs, places, actions.
CASES = {
    "a dict, left out": (
        lambda d: energy(d["pos"], d["vel"]),
        Symmetry(SO(3), Fields(pos=Vector()), Scalar()),
        {"pos": POS, "vel": VEL},
        ("inputs.vel",),
        ("Vector()",),
    ),
    "a dict, None": (
        lambda d: energy(d["pos"], d["vel"]),
        Symmetry(E(3), {"pos": Point(), "vel": None}, Scalar()),
        {"pos": POS, "vel": VEL},
        ("inputs.vel",),
        ("Vector()",),
    ),
    "a dict, Scalar": (
        lambda d: with_cell(d["pos"], d["cell"]),
        Symmetry(O(3), {"pos": Point(), "cell": Scalar()}, Scalar()),
        {"pos": POS, "cell": CELL},
        ("inputs.cell",),
        ("Vector()",),
    ),
    "an object": (
        lambda d: energy(d.pos, d.vel),
        Symmetry(SO(3), Fields(pos=Vector()), Scalar()),
        SimpleNamespace(pos=POS, vel=VEL, name="cloud"),
        ("inputs.vel",),
        ("Vector()",),
    ),
    "a dict in a dict": (
        lambda d: energy(d["pos"], d["state"]["vel"]),
        Symmetry(SO(3), Fields(pos=Vector()), Scalar()),
        {"pos": POS, "state": {"vel": VEL, "charge": FIELD[:, 0]}},
        ("inputs.state.vel",),
        ("Vector()",),
    ),
    "a tuple": (energy, Symmetry(SO(3), (Vector(), Scalar()), Scalar()), (POS, VEL), ("inputs[1]",), ("Vector()",)),
    "keywords": (
        energy,
        Symmetry(SO(3), Keywords(pos=Vector(), vel=None), Scalar()),
        {"pos": POS, "vel": VEL},
        ("inputs.vel",),
        ("Vector()",),
    ),
    "rows": (
        ragged,
        Symmetry(SO(3), Fields(pos=Rows(Vector()), vel=Rows(Scalar()), batch=Index()), Scalar()),
        {"pos": flat(POS), "vel": flat(VEL), "batch": INDEX},
        ("inputs.vel",),
        ("Rows(Vector())",),
    ),
    "rows, left out": (
        ragged,
        Symmetry(SO(3), Fields(pos=Rows(Vector()), batch=Index()), Scalar()),
        {"pos": flat(POS), "vel": flat(VEL), "batch": INDEX},
        ("inputs.vel",),
        ("Rows(Vector())",),
    ),
    "edges": (
        lambda d: (
            (d["pos"][d["edges"][0]] * d["shift"])
            .sum(-1)
            .new_zeros(len(d["ptr"]) - 1)
            .index_add(0, d["edges"][0] // POINTS, (d["pos"][d["edges"][0]] * d["shift"]).sum(-1))
        ),
        Symmetry(
            SO(3), Fields(pos=Rows(Vector()), edges=Edges(), ptr=Offsets(), shift=Rows(Scalar(), edges=True)), Scalar()
        ),
        {
            "pos": flat(POS),
            "edges": torch.stack([torch.arange(COUNT * POINTS), torch.arange(COUNT * POINTS)])[:, :-2],
            "ptr": torch.arange(COUNT + 1) * POINTS,
            "shift": flat(VEL)[:-2],
        },
        ("inputs.shift",),
        ("Rows(Vector(), edges=True)",),
    ),
    "a second cloud of points": (
        lambda a, b: (a - b).square().sum((1, 2)),
        Symmetry(E(3), (Point(), Scalar()), Scalar()),
        (POS, VEL),
        ("inputs[1]",),
        ("Point()",),
    ),
    "a tensor of rank two": (
        turned_strain,
        Symmetry(SO(3), (Vector(), Scalar()), Scalar()),
        (POS, STRAIN),
        ("inputs[1]",),
        ("Tensor(2)",),
    ),
    "a pseudovector": (
        lambda pos, vel, field: (torque(pos, vel) * field).sum(-1),
        Symmetry(O(3), (Vector(), Vector(), Scalar()), Scalar()),
        (POS, VEL, FIELD),
        ("inputs[2]",),
        ("Tensor(1, odd=True)",),
    ),
    "about an axis": (
        lambda pos, vel: energy(pos, vel) + pos[..., 2].sum(1),
        Symmetry(SO(2), (Planar(Vector()), Scalar()), Scalar()),
        (POS, VEL),
        ("inputs[1]",),
        ("Planar(Vector())",),
    ),
    "an image beside an image": (
        lambda a, b: (a * b).mean((1, 2, 3)),
        Symmetry(C(4), (Image("zeros"), Scalar()), Scalar()),
        (torch.rand(COUNT, 1, 6, 6), torch.rand(COUNT, 1, 6, 6)),
        ("inputs[1]",),
        ("Image(padding='zeros')",),
    ),
    "two fields": (
        lambda d: energy(d["pos"], d["vel"]) + with_cell(d["pos"], d["cell"]) + d["free"].sum(1),
        Symmetry(SO(3), {"pos": Vector(), "vel": Scalar(), "cell": None, "free": Scalar()}, Scalar()),
        {"pos": POS, "vel": VEL, "cell": CELL, "free": FIELD},
        ("inputs.vel", "inputs.cell"),
        ("Vector()", "Vector()"),
    ),
    "an output": (
        lambda pos: {
            "energy": energy(pos, pos),
            "forces": centred(pos) * centred(pos).square().sum((1, 2))[:, None, None],
        },
        Symmetry(E(3), Point(), {"energy": Scalar(), "forces": Scalar()}),
        POS,
        ("outputs.forces",),
        ("Vector()",),
    ),
    "the output": (centred, Symmetry(SO(3), Vector(), Scalar()), POS, ("outputs",), ("Vector()",)),
    "forces declared as points": (centred, Symmetry(E(3), Point(), Point()), POS, ("outputs",), ("Vector()",)),
    "a torque declared as a vector": (
        torque,
        Symmetry(O(3), (Vector(), Vector()), Vector()),
        (POS, VEL),
        ("outputs",),
        ("Tensor(1, odd=True)",),
    ),
    "rows of outputs": (
        lambda d: d["pos"] * d["pos"].square().sum(-1, keepdim=True),
        Symmetry(SO(3), Fields(pos=Rows(Vector()), batch=Index()), Rows(Scalar())),
        {"pos": flat(POS), "batch": INDEX},
        ("outputs",),
        ("Rows(Vector())",),
    ),
    "an input and an output": (
        lambda d: {"energy": energy(d["pos"], d["vel"]), "push": d["vel"] * energy(d["pos"], d["vel"])[:, None, None]},
        Symmetry(SO(3), Fields(pos=Vector()), {"energy": Scalar(), "push": Scalar()}),
        {"pos": POS, "vel": VEL},
        ("inputs.vel", "outputs.push"),
        ("Vector()", "Vector()"),
    ),
    "a map declared as numbers": (
        lambda x: x.square(),
        Symmetry(C(4), Image(), Scalar()),
        torch.rand(COUNT, 1, 6, 6),
        ("outputs",),
        ("Image()",),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_forgotten_field_is_named(case):
    model, claim, inputs, places, actions = CASES[case]
    found = look(model, claim, inputs, elements=8)
    assert found.verdict == "fail"
    assert found.forgotten is not None, found
    assert (found.forgotten.places, found.forgotten.actions) == (places, actions)
    assert found.forgotten.then < 1e-4 < 0.01 < found.forgotten.error


def test_the_forgotten_field_of_a_graph_is_named():
    geometric = pytest.importorskip("torch_geometric.data", reason="torch_geometric is not installed")
    graphs = [geometric.Data(pos=pos, vel=vel) for pos, vel in zip(POS, VEL, strict=True)]
    claim = Symmetry(SO(3), Fields(pos=Rows(Vector()), vel=Rows(Scalar()), batch=Index(), ptr=Offsets()), Scalar())

    def model(data):
        rows = (data.pos * data.vel).sum(-1)
        return rows.new_zeros(data.num_graphs).index_add(0, data.batch, rows)

    found = look(model, claim, geometric.Batch.from_data_list(graphs), elements=4)
    assert found.forgotten is not None
    assert (found.forgotten.places, found.forgotten.actions) == (("inputs.vel",), ("Rows(Vector())",))


def test_the_advice_is_a_sentence_in_every_report():
    model, claim, inputs, *_ = CASES["a dict, Scalar"]
    found = look(model, claim, inputs, name="a crystal")
    told = found.forgotten
    assert told.advice.startswith(
        f"`cell` did not turn with `pos`: error {told.error:.2g}; declare `cell=Vector()` (then "
    )
    assert told.advice in str(found)
    assert json.loads(to_json(found))["audits"][0]["forgotten"]["advice"] == told.advice
    assert json.loads(to_json(found))["audits"][0]["forgotten"]["places"] == ["inputs.cell"]
    assert "declare `cell=Vector()`" in " ".join(to_text(found, width=200).split())
    assert "declare `cell=Vector()`" in to_html(found)
    # With the advice followed the audit passes, and nothing is said.
    mended = look(model, dataclasses.replace(claim, inputs={"pos": Point(), "cell": Vector()}), inputs)
    assert mended.passed
    assert mended.forgotten is None
    assert "forgotten" not in to_text(mended)


WORDS = {
    "a tuple": "`[1]` did not turn with `[0]`",
    "an output": "output `forces`, declared Scalar(), turns with the input otherwise",
    "the output": "the output, declared Scalar(), turns with the input otherwise",
    "two fields": "declare `vel=Vector()`, `cell=Vector()` (then",
}


@pytest.mark.parametrize("case", WORDS)
def test_places_without_a_name_are_told_too(case):
    model, claim, inputs, *_ = CASES[case]
    assert WORDS[case] in look(model, claim, inputs, elements=8).forgotten.advice


class Blind(torch.nn.Module):
    """A network on everything that it is given: equivariant under nothing."""

    def __init__(self, shapes, outputs, seed):
        super().__init__()
        size = sum(torch.Size(shape).numel() for shape in shapes)
        self.outputs = outputs
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.net = torch.nn.Sequential(
                torch.nn.Linear(size, 32), torch.nn.Tanh(), torch.nn.Linear(32, outputs.numel())
            )
        self.double()

    def forward(self, data):
        joined = torch.cat([data[name].flatten(1) for name in sorted(data)], 1)
        return self.net(joined).reshape(-1, *self.outputs)


@pytest.mark.parametrize("group", [SO(3), O(3), E(3)], ids=repr)
@pytest.mark.parametrize("outputs", [(1,), (3,), (5, 3), (3, 3)], ids=repr)
@pytest.mark.parametrize("seed", range(3))
def test_a_model_at_fault_accuses_nobody(group, outputs, seed):
    inputs = {"pos": POS, "vel": VEL, "cell": CELL, "strain": STRAIN, "field": FIELD}
    model = Blind([part.shape[1:] for part in inputs.values()], torch.Size(outputs), seed)
    for claimed in (Scalar(), *([Vector()] if outputs[-1] == 3 else [])):
        claim = Symmetry(group, Fields(pos=Point()), claimed)
        found = look(model, claim, inputs, elements=4)
        assert found.verdict == "fail"
        assert found.forgotten is None


def test_a_model_without_invariance_to_shifts_is_not_told_to_hide_it():
    """To declare the points as vectors would test no shift: the error would be gone, and the fault not."""
    claim = Symmetry(E(3), {"pos": Point(), "vel": Vector()}, Scalar())
    found = look(
        lambda d: d["pos"].square().sum((1, 2)) + (d["pos"] * d["vel"]).sum((1, 2)), claim, {"pos": POS, "vel": VEL}
    )
    assert found.verdict == "fail"
    assert found.forgotten is None


def test_a_field_that_is_rightly_still_is_not_accused():
    """Lengths of a box, (batch, 3): they have the shape of a vector. The model is at fault, by its preferred axis."""
    claim = Symmetry(SO(3), {"pos": Vector(), "lengths": Scalar()}, Scalar())
    found = look(lambda d: d["pos"][..., 2].sum(1) * d["lengths"].sum(1), claim, {"pos": POS, "lengths": FIELD})
    assert found.verdict == "fail"
    assert found.forgotten is None


def test_random_and_lost_answers_accuse_nobody():
    claim = Symmetry(SO(3), {"pos": Vector(), "vel": None}, Scalar())
    generator = torch.Generator().manual_seed(0)

    def restless(data):
        return energy(data["pos"], data["vel"]) + 100 * torch.randn(len(data["pos"]), generator=generator)

    def lost(data):
        return energy(data["pos"], data["vel"]).log()

    for model in (restless, lost):
        found = look(model, claim, {"pos": POS, "vel": VEL})
        assert found.verdict == "fail"
        assert found.forgotten is None


def counting(model):
    """The model, and a list to which each call adds its number of samples."""
    calls = []

    def counted(data):
        calls.append(len(data["pos"]))
        return model(data)

    return counted, calls


def test_it_costs_nothing_where_the_claim_holds_and_little_where_it_fails():
    inputs = {f"v{i}": draw(COUNT, 3, seed=i) for i in range(40)} | {"pos": POS}
    spec = {name: Scalar() for name in inputs} | {"pos": Vector()}
    good, calls = counting(lambda d: d["pos"].square().sum((1, 2)))
    look(good, Symmetry(SO(3), spec, Scalar()), inputs, elements=8)
    held = len(calls)
    bad, calls = counting(lambda d: d["pos"][..., 0].sum(1))
    assert look(bad, Symmetry(SO(3), spec, Scalar()), inputs, elements=8).forgotten is None
    extra = calls[held:]
    assert max(extra[1:]) <= max(module.SAMPLES, COUNT)
    assert len(extra) <= (module.TRIALS + 2) * (module.ELEMENTS + 3)


def test_nothing_else_of_the_audit_depends_on_it(monkeypatch):
    model, claim, inputs, *_ = CASES["a dict, None"]
    found = audit(model, claim, inputs, cost=False)
    monkeypatch.setattr(sys.modules["canonize.audit.conclude"], "forgotten", lambda *_: None)
    plain = audit(model, claim, inputs, cost=False)
    assert {**found.as_dict(), "forgotten": None} == plain.as_dict()
    assert torch.equal(found.errors, plain.errors)
