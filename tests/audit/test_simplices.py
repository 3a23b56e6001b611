"""The audit of models on simplicial complexes: each of its three parts finds the model that breaks it, and only that."""

import copy
import json
import pickle

import pytest
import torch

from canonize import (
    Boundary,
    Cochain,
    Factor,
    Fields,
    Flipped,
    Flips,
    Keywords,
    Nodes,
    Product,
    S,
    Scalar,
    SymmetryError,
    audit_simplicial,
    simplicial_claims,
    symmetrize,
)
from flip_cases import complexes, draw

INPUTS = (Cochain(1), Boundary(1), Boundary(2))
BATCH = 32


class Flow(torch.nn.Module):
    """Flows on edges through layers of both Laplacians; the answer is the divergence at the nodes."""

    def __init__(self, bend=torch.tanh, triangles=True, edges=True):
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.weights = torch.nn.Parameter(torch.randn(2, 3, 2, 2, generator=draw, dtype=torch.float64))
        self.bend, self.triangles, self.edges = bend, triangles, edges

    def forward(self, flow, first, second):
        for own, lower, upper in self.weights:
            total = flow @ own
            if self.edges:
                total = total + first.mT @ (first @ flow) @ lower
            if self.triangles:
                total = total + second @ (second.mT @ flow) @ upper
            flow = self.bend(total)
        return first @ flow if self.edges else flow


NODES = Cochain(0)


def look(model, outputs=NODES, dtype=torch.float64, **options):
    flow, _, first, second = complexes(BATCH, triangles=3, dtype=dtype)
    model = model.eval().to(dtype) if isinstance(model, torch.nn.Module) else model
    return audit_simplicial(model, (flow, first, second), inputs=INPUTS, outputs=outputs, **options)


def verdicts(found):
    return [found.relabelling.verdict, found.orientation.verdict, *(one.verdict for one in found.awareness)]


def by_number(flow, first, second):
    """Feels how edges are numbered."""
    ladder = torch.linspace(1, 2, flow.shape[1], dtype=flow.dtype)[:, None]
    return Flow().to(flow.dtype)(flow * ladder, first, second)


def linear(x):
    return x


MODELS = {
    "odd": (Flow(), Cochain(0), ["pass", "pass", "pass", "pass"]),
    "sine": (Flow(torch.sin), Cochain(0), ["pass", "pass", "pass", "pass"]),
    "relu": (Flow(torch.relu), Cochain(0), ["pass", "fail", "pass", "pass"]),
    "graph only": (Flow(triangles=False), Cochain(0), ["pass", "pass", "pass", "fail"]),
    "no graph": (Flow(edges=False), Cochain(1), ["pass", "pass", "fail", "pass"]),
    # The boundary of a boundary is zero: without a bend the divergence cannot tell of triangles.
    "linear": (Flow(linear), Cochain(0), ["pass", "pass", "pass", "fail"]),
    "by number": (by_number, Cochain(0), ["fail", "pass", "pass", "pass"]),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("model", "outputs", "wanted"), MODELS.values(), ids=MODELS)
def test_each_part_finds_its_fault(model, outputs, wanted, dtype):
    found = look(copy.deepcopy(model), outputs, dtype)
    assert verdicts(found) == wanted, str(found)
    assert found.verdict == ("fail" if "fail" in wanted else "pass")
    assert found.passed == ("fail" not in wanted)


def test_the_order_of_awareness():
    assert look(Flow()).order == 2
    assert look(Flow(triangles=False)).order == 1
    assert look(Flow(edges=False), Cochain(1)).order == 0


def test_answers_for_whole_complexes_and_several_outputs():
    net = Flow()

    def both(flow, first, second):
        found = net(flow, first, second)
        return {"sum": found.square().sum((1, 2)), "flow": first.mT @ found}

    assert look(both, {"sum": Scalar(), "flow": Cochain(1)}).passed
    assert look(both, {"sum": Scalar(), "flow": Cochain(1, oriented=False)}).orientation.verdict == "fail"


def test_what_has_no_orientation_may_be_bent_anyhow():
    lengths = draw(BATCH, 7, 1).abs()
    _, _, first, second = complexes(BATCH, triangles=3)

    def model(lengths, first, second):
        return torch.relu(first.abs() @ lengths + first.abs() @ second.abs().sum(-1, keepdim=True) - 1)

    inputs = (Cochain(1, oriented=False), Boundary(1), Boundary(2))
    assert audit_simplicial(model, (lengths, first, second), inputs=inputs, outputs=Cochain(0)).passed


def test_a_model_by_keyword_and_one_on_arrays():
    flow, _, first, second = complexes(BATCH, triangles=3)
    net = Flow()
    keywords = Keywords(flow=Cochain(1), first=Boundary(1), second=Boundary(2))
    value = {"flow": flow, "first": first, "second": second}
    assert audit_simplicial(net, value, inputs=keywords, outputs=Cochain(0)).passed

    def arrays(flow, first, second):
        with torch.no_grad():
            return net(*(torch.from_numpy(part) for part in (flow, first, second))).numpy()

    value = tuple(part.contiguous().numpy() for part in (flow, first, second))
    assert audit_simplicial(arrays, value, inputs=INPUTS, outputs=Cochain(0)).passed
    fields = Fields(flow=Cochain(1), first=Boundary(1), second=Boundary(2))
    value = {"flow": flow, "first": first, "second": second}
    assert audit_simplicial(lambda data: net(**data), value, inputs=fields, outputs=Cochain(0)).passed


def test_complexes_of_different_sizes_share_a_batch():
    flow, _, first, second = complexes(BATCH, triangles=3)
    first, second = first.clone(), second.clone()
    # Every other complex has two triangles and the edges of these only.
    second[::2, :, 2], first[::2, :, 5:], flow[::2, 5:] = 0, 0, 0
    assert audit_simplicial(Flow().eval(), (flow, first, second), inputs=INPUTS, outputs=Cochain(0)).passed


def test_complexes_without_triangles_leave_it_open():
    flow, _, first, second = complexes(BATCH, triangles=3)
    found = audit_simplicial(Flow().eval(), (flow, first, second * 0), inputs=INPUTS, outputs=Cochain(0))
    assert verdicts(found) == ["pass", "pass", "pass", "undecided"]
    assert found.verdict == "undecided"
    assert "No complex has a simplex of dimension 2" in str(found)


def test_noise_is_no_awareness():
    draw = torch.Generator().manual_seed(0)
    net = Flow(triangles=False)

    def restless(flow, first, second):
        return net(flow, first, second) + 0.1 * torch.randn(len(flow), 1, 1, generator=draw, dtype=flow.dtype)

    one = look(restless).awareness[1]
    assert one.verdict == "undecided"
    assert "Two calls on the same complex" in one.reason


def test_nan_is_no_awareness():
    def fragile(flow, first, second):
        sizes = second.abs().sum(1, keepdim=True)
        return Flow()(flow, first, second) + (second / sizes).sum((1, 2), keepdim=True) * 0

    one = look(fragile).awareness[1]
    assert one.verdict == "fail"
    assert "NaN" in one.reason


def test_a_symmetrized_model_keeps_its_orientation():
    bent = Flow(torch.relu).eval()
    flow, _, first, second = complexes(BATCH, triangles=3)
    sizes = (5, 7, 3)
    _, orientation = simplicial_claims(INPUTS, Cochain(1), sizes)
    upright = symmetrize(lambda *args: args[1].mT @ bent(*args), orientation)
    found = audit_simplicial(upright, (flow, first, second), inputs=INPUTS, outputs=Cochain(1))
    assert found.orientation.verdict == "pass"
    # Signs are read in the order of the nodes.
    assert [one.verdict for one in found.awareness] == ["pass", "pass"]


def test_claims():
    relabelling, orientation = simplicial_claims((Cochain(0), *INPUTS, Scalar(), None), Cochain(2), (4, 5, 2))
    assert relabelling.group == Product(S(4), S(5), S(2))
    assert orientation.group == Product(Flips(5), Flips(2))
    assert orientation.inputs[:3] == (Scalar(), Factor(0, Flipped()), Factor(0, Flipped(axis=1)))
    assert relabelling.inputs[1] == Factor(1, Nodes())
    assert orientation.outputs == Factor(1, Flipped())
    assert orientation.inputs[4:] == relabelling.inputs[4:] == (Scalar(), None)


def test_equal_seeds_give_equal_findings_and_json():
    one, two = (look(Flow(torch.relu)) for _ in range(2))
    assert json.dumps(one.as_dict()) == json.dumps(two.as_dict())
    assert pickle.loads(pickle.dumps(one.awareness)) == two.awareness
    text = str(one)
    assert text.splitlines()[0] == "Flow: FAIL."
    assert "orientation: FAIL" in text
    assert "awareness of dimension 2: PASS" in text


def test_inputs_are_not_changed():
    flow, _, first, second = complexes(BATCH, triangles=3)
    before = [part.clone() for part in (flow, first, second)]
    audit_simplicial(Flow().eval(), (flow, first, second), inputs=INPUTS, outputs=Cochain(0))
    assert all(torch.equal(a, b) for a, b in zip(before, (flow, first, second), strict=True))


REFUSED = {
    "no boundary": ({"inputs": (Cochain(1), None, None), "outputs": Cochain(1)}, "given no complex"),
    "other leaf": ({"inputs": (Nodes(), Boundary(1), Boundary(2))}, "does not belong to a complex"),
    "class": ({"inputs": (Cochain, Boundary(1), Boundary(2))}, "the class Cochain"),
    "output of no size": ({"outputs": Cochain(3)}, "how many simplices of dimension 3"),
    "swapped": ({"inputs": (Cochain(1), Boundary(2), Boundary(1))}, "disagree on how many simplices"),
    "removals": ({"removals": 0}, "bad removals"),
    "elements": ({"elements": 1}, "bad elements"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("options", "told"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(options, told):
    flow, _, first, second = complexes(BATCH, triangles=3)
    with pytest.raises(SymmetryError, match=told) as caught:
        audit_simplicial(Flow().eval(), (flow, first, second), **{"inputs": INPUTS, "outputs": Cochain(0), **options})
    assert "audit_simplicial" in str(caught.value)


@pytest.mark.usefixtures("unchecked")
def test_shapes_and_dimensions_that_do_not_fit_are_refused():
    flow, _, first, second = complexes(BATCH, triangles=3)
    with pytest.raises(SymmetryError, match=r"\(batch, faces, simplices\)"):
        audit_simplicial(Flow(), (flow, first[0], second), inputs=INPUTS, outputs=Cochain(0))
    for make in (lambda: Cochain(-1), lambda: Boundary(0), lambda: Cochain("1"), lambda: Boundary(True)):
        with pytest.raises(SymmetryError, match="needs the dimension"):
            make()
    with pytest.raises(SymmetryError, match="nodes have no orientation"):
        simplicial_claims((Cochain(0),), Cochain(0), (4,))
