"""Linear maps between tensor powers: the basis is independent and complete, the claim holds, faults are found."""

import copy
import itertools
import pickle

import pytest
import torch

from canonize import LawError, Nodes, Pairs, S, Scalar, Symmetry, SymmetryError, audit
from canonize.nn import PermutationLinear, PermutationNet, diagrams
from canonize.testing import assert_equivariant
from lists import draw

ORDERS = list(itertools.product(range(3), repeat=2))
ACTIONS = (Scalar(), Nodes(), Pairs())
DTYPES = [torch.float32, torch.float64]


def bell(n):
    """The number of partitions of a set of n, by Bell's triangle."""
    row = [1]
    for _ in range(n):
        row = list(itertools.accumulate(row, initial=row[-1]))
    return row[0]


def made(k, l, old=2, new=3, dtype=torch.float64, **kwargs):
    layer = PermutationLinear(k, l, old, new, generator=torch.Generator().manual_seed(0), **kwargs).to(dtype)
    with torch.no_grad():
        if layer.bias is not None:
            layer.bias += draw(*layer.bias.shape, dtype=dtype, seed=5)
    return layer


def values(k, n, channels=2, batch=3, dtype=torch.float64, seed=0):
    return draw(batch, *(n,) * k, channels, dtype=dtype, seed=seed)


def matrices(k, l, n):
    """Each map of the basis as a matrix (diagrams, n^l, n^k)."""
    layer = PermutationLinear(k, l, 1, 1, bias=False).double()
    x = torch.eye(n**k, dtype=torch.float64).reshape(n**k, *(n,) * k, 1)
    found = []
    for number in range(len(layer.weight)):
        with torch.no_grad():
            layer.weight.zero_()
            layer.weight[number] = 1
        found.append(layer(x, nodes=n).detach().reshape(n**k, n**l).mT)
    return torch.stack(found)


def power(g, k):
    """How a permutation moves the k-th tensor power, (n^k, n^k)."""
    n = len(g)
    x = torch.eye(n**k, dtype=torch.float64).reshape(n**k, *(n,) * k)
    return ACTIONS[k](g.expand(n**k, n), x).reshape(n**k, n**k).mT.contiguous()


def commutant(k, l, n):
    """The matrices (n^l, n^k) that commute with two permutations that generate S(n), as a basis of the null space."""
    cycle, swap = torch.arange(n).roll(1), torch.arange(n)
    swap[:2] = swap[:2].flip(0)
    eyes = torch.eye(n**l, dtype=torch.float64), torch.eye(n**k, dtype=torch.float64)
    rows = [torch.kron(power(g, l), eyes[1]) - torch.kron(eyes[0], power(g, k).mT.contiguous()) for g in (cycle, swap)]
    _, sizes, vectors = torch.linalg.svd(torch.cat(rows), full_matrices=False)
    return vectors[sizes < 1e-9].reshape(-1, n**l, n**k)


@pytest.mark.parametrize("n", range(1, 6))
@pytest.mark.parametrize(("k", "l"), ORDERS)
def test_the_basis_is_independent_and_complete(k, l, n):
    basis, all_of_them = matrices(k, l, n), commutant(k, l, n)
    rank = int(torch.linalg.matrix_rank(basis.flatten(1)))
    assert rank == len(all_of_them)
    together = torch.cat([basis.flatten(1), all_of_them.flatten(1)])
    assert int(torch.linalg.matrix_rank(together)) == rank
    assert len(basis) == len(diagrams(k, l)) == bell(k + l)
    if n >= k + l:
        assert rank == bell(k + l)


@pytest.mark.parametrize("n", [0, 1, 2, 4])
@pytest.mark.parametrize(("k", "l"), ORDERS)
def test_each_map_against_the_naive_twin(k, l, n):
    basis = matrices(k, l, n)
    for name, found in zip(diagrams(k, l), basis, strict=True):
        source, target = name.split("->")
        wanted = torch.zeros((n,) * l + (n,) * k, dtype=torch.float64)
        letters = sorted(set(source + target))
        lost = len(set(source) - set(target))
        for indices in itertools.product(range(n), repeat=len(letters)):
            at = dict(zip(letters, indices, strict=True))
            wanted[tuple(at[x] for x in target) + tuple(at[x] for x in source)] = 1 / max(n, 1) ** lost
        torch.testing.assert_close(found, wanted.reshape(n**l, n**k))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", [0, 1, 2, 5, 9])
@pytest.mark.parametrize(("k", "l"), ORDERS)
def test_the_claim_holds(k, l, n, dtype):
    layer, x = made(k, l, dtype=dtype), values(k, n, dtype=dtype)

    def model(x):
        return layer(x, nodes=n)

    assert_equivariant(model, Symmetry(S(n), ACTIONS[k], ACTIONS[l]), x)


@pytest.mark.parametrize(("k", "l"), [pair for pair in ORDERS if pair[0]])
def test_the_audit_passes(k, l):
    claim = Symmetry(S(6), ACTIONS[k], ACTIONS[l])
    found = audit(made(k, l).eval(), claim, values(k, 6, batch=32), cost=False)
    assert found.verdict == "pass", str(found)
    assert found.error.max < 1e-12


@pytest.mark.parametrize("orders", [(1, 1, 0), (1, 1, 1), (2, 2, 0), (2, 1, 2), (2, 2, 1)], ids=str)
def test_networks_pass_the_audit(orders):
    net = PermutationNet(orders, (2, 8, 3), generator=torch.Generator().manual_seed(0)).double().eval()
    claim = Symmetry(S(6), ACTIONS[orders[0]], ACTIONS[orders[-1]])
    assert audit(net, claim, values(orders[0], 6, batch=32), cost=False).verdict == "pass"


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("l", range(3))
def test_masked_nodes_are_not_felt_and_get_nothing(k, l):
    layer, x = made(k, l), values(k, 4)
    mask = torch.tensor([[True] * 4 + [False] * 3] * 3)
    padded = torch.full((3, *(7,) * k, 2), torch.nan, dtype=torch.float64)
    padded[(slice(None), *(slice(4),) * k)] = x
    found = layer(padded, mask=mask)
    inside = found[(slice(None), *(slice(4),) * l)]
    torch.testing.assert_close(inside, layer(x))
    torch.testing.assert_close(found.sum(), inside.sum())
    assert found.isfinite().all()
    assert layer(padded, mask=torch.zeros_like(mask)).isfinite().all()


def test_samples_of_different_sizes_share_a_batch():
    net = PermutationNet((1, 1, 0), (2, 8, 3), generator=torch.Generator().manual_seed(0)).double()
    x, sizes = values(1, 6), torch.tensor([6, 2, 0])
    found = net(x, mask=torch.arange(6) < sizes[:, None])
    for sample, size in enumerate(sizes.tolist()):
        torch.testing.assert_close(found[sample], net(x[sample : sample + 1, :size])[0])


@pytest.mark.parametrize(("k", "l"), ORDERS)
def test_sizes_of_answers_do_not_grow_with_the_number_of_nodes(k, l):
    layer = made(k, l, bias=False)
    small, large = (layer(values(k, n) * 0 + 1.0, nodes=n) for n in (5, 40))
    torch.testing.assert_close(small.amax(), large.amax())
    torch.testing.assert_close(small.amin(), large.amin())


@pytest.mark.parametrize(("k", "l"), ORDERS)
def test_gradients(k, l):
    layer, x = made(k, l), values(k, 3).requires_grad_()
    torch.autograd.gradcheck(lambda x, weight: torch.func.functional_call(layer, {"weight": weight}, (x,), {"nodes": 3}),
                             (x, layer.weight))  # fmt: skip
    layer(values(k, 0), nodes=0).sum().backward()
    assert layer.weight.grad.isfinite().all()


def test_no_tensor_is_larger_than_the_matrix():
    layer, n = PermutationLinear(2, 2, 1, 1), 600
    with torch.no_grad(), torch.autograd.profiler.profile(profile_memory=True) as told:
        layer(torch.ones(1, n, n, 1))
    assert max(event.cpu_memory_usage for event in told.function_events) <= 8 * 4 * n * n


class Planted(torch.nn.Module):
    """A layer on pairs with a fault."""

    def __init__(self, fault):
        super().__init__()
        self.layer, self.fault = made(2, 2, 1, 1), fault

    def forward(self, x):
        n = x.shape[1]
        if self.fault == "upper half":
            return self.layer(x.triu(0) if x.ndim == 3 else x * torch.ones(n, n).triu()[..., None].double())
        found = self.layer(x)
        if self.fault == "shifted diagonal":
            return found + torch.diag_embed(x[..., 0].mean((1, 2))[:, None].expand(-1, n - 1), offset=1)[..., None]
        if self.fault == "flipped diagonal":
            return found + torch.diag_embed(x[..., 0].diagonal(dim1=1, dim2=2)).flip(1)[..., None]
        return found.roll(1, 1) if self.fault == "rolled" else found


@pytest.mark.parametrize("fault", ["upper half", "shifted diagonal", "flipped diagonal", "rolled"])
def test_planted_faults_are_caught(fault):
    claim, x = Symmetry(S(5), Pairs(), Pairs()), values(2, 5, 1)
    assert_equivariant(Planted("none"), claim, x)
    with pytest.raises(LawError):
        assert_equivariant(Planted(fault), claim, x)


def test_a_basis_without_the_transpose_is_not_complete():
    basis = matrices(2, 2, 4)
    fewer = basis[[name != "ab->ba" for name in diagrams(2, 2)]]
    assert int(torch.linalg.matrix_rank(fewer.flatten(1))) < len(commutant(2, 2, 4))


def test_equal_seeds_give_equal_layers_and_copies_are_equal():
    x = values(2, 4)
    layer = made(2, 2)
    assert torch.equal(made(2, 2)(x), layer(x))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x), layer(x))
    again = PermutationLinear(2, 2, 2, 3).double()
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(x), layer(x))
    assert "2, 2, 2, 3, bias=True" in repr(layer)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: PermutationLinear(3, 1, 1, 1), "order_in is no order"),
        (lambda: PermutationLinear(1, -1, 1, 1), "order_out is no order"),
        (lambda: PermutationLinear(True, 1, 1, 1), "order_in is no order"),
        (lambda: PermutationLinear(1, 1, 0, 1), "channels_in is no positive"),
        (lambda: PermutationNet((1, 1), (3,)), "one length"),
        (lambda: PermutationNet((1,), (3,)), "at least 2"),
        (lambda: PermutationLinear(2, 1, 1, 1)(torch.zeros(2, 3, 4, 1)), "pairs of nodes"),
        (lambda: PermutationLinear(1, 1, 2, 1)(torch.zeros(2, 3, 1)), "needs values for nodes"),
        (lambda: PermutationLinear(1, 1, 1, 1)([1.0]), "needs values for nodes"),
        (lambda: PermutationLinear(1, 1, 1, 1)(torch.zeros(2, 3, 1).double()), "differ in dtype"),
        (lambda: PermutationLinear(1, 1, 1, 1)(torch.zeros(2, 3, 1), mask=torch.ones(2, 3)), "mask does not fit"),
        (
            lambda: PermutationLinear(1, 1, 1, 1)(torch.zeros(2, 3, 1), mask=torch.ones(2, 4).bool()),
            "mask does not fit",
        ),
        (lambda: PermutationLinear(0, 1, 1, 1)(torch.zeros(2, 1)), "how many nodes"),
        (lambda: PermutationLinear(1, 2, 1, 1)(torch.zeros(2, 3, 1), nodes=4), r"numbers of nodes \[3, 4\]"),
    ],
)
def test_what_does_not_fit_is_refused(call, told):
    with pytest.raises(SymmetryError, match=told):
        call()
