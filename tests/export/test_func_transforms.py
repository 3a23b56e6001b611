"""What `torch.func` says of derivatives is what autograd says, whichever of its transforms stand around each other."""

import pytest
import torch

from canonize import PCA, SE, Best, C, Image, Point, Scalar, Symmetry, SymmetryError, Vector, symmetrize
from canonize._values import differentiated
from canonize.linalg import axes

# Torch's own forward mode, as it is loaded.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

CORNERS = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.outer = torch.nn.Linear(3, 4).double(), torch.nn.Linear(4, 3).double()

    def forward(self, x):
        return self.outer(self.inner(x).tanh().mean(1))


def clouds():
    return torch.cat([torch.randn(1, 4, 3, dtype=torch.float64), CORNERS[None]])


def plain(frame=None):
    return symmetrize(Net(), Symmetry(SE(3), Point(), Vector()), frame)


def faded(**options):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 2)).double()
    energy = Best(lambda x: x[..., :2, :].mean((1, 2, 3)), soft=0.3, **options)
    return symmetrize(net, Symmetry(C(4), Image(), Scalar()), energy)


MODELS = {
    "one pose": (lambda: plain(PCA(signs="ruled", fallback=None)), lambda: torch.randn(2, 4, 3).double()),
    "fading weights": (faded, lambda: torch.rand(2, 1, 6, 6).double()),
    "small copies": (lambda: faded(resolution=3), lambda: torch.rand(2, 1, 6, 6).double()),
}


def number(model):
    return lambda x: model(x).square().sum()


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # of torch, on affine_grid
@pytest.mark.parametrize("name", MODELS)
def test_derivatives_of_what_is_mapped_over(name):
    made, inputs = MODELS[name]
    total, stack = number(made().eval()), torch.stack([inputs(), inputs()])
    leaf = stack.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(total(leaf[0]) + total(leaf[1]), leaf)
    assert wanted.abs().max() > 1e-3
    (outside,) = torch.autograd.grad(torch.func.vmap(total)(leaf).sum(), leaf)
    inside = torch.func.vmap(torch.func.grad(total))(stack)
    for found in (outside, inside):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    along = torch.randn_like(stack[0])
    _, forward = torch.func.jvp(total, (stack[0],), (along,))
    torch.testing.assert_close(forward, (wanted[0] * along).sum(), rtol=1e-9, atol=1e-12)


def test_a_derivative_that_is_lost_is_seen(monkeypatch):
    """The planted fault: asked of the tensor alone, a mapped one says that no derivative is wanted."""
    monkeypatch.setattr(axes, "differentiated", lambda value: value.requires_grad)
    with pytest.raises(AssertionError):
        test_derivatives_of_what_is_mapped_over("one pose")


@pytest.mark.parametrize("frame", [None, PCA(signs="ruled", fallback=None)], ids=["default", "one pose"])
def test_forward_mode_at_a_tie_is_finite(frame):
    """The tetrahedron has three equal eigenvalues, where eigenvectors have no derivative."""
    model, x = plain(frame), clouds()
    along = torch.randn_like(x)
    _, found = torch.func.jvp(model, (x,), (along,))
    leaf = x.clone().requires_grad_()
    slope = torch.autograd.functional.jvp(model, leaf, along)[1]
    torch.testing.assert_close(found, slope, rtol=1e-9, atol=1e-12)


def test_all_second_derivatives_at_once():
    """Forward over backward maps tangents, not inputs: a frame that cannot be mapped over does not mind."""
    total, x = number(plain()), clouds()
    wanted = torch.autograd.functional.hessian(total, x)
    torch.testing.assert_close(torch.func.hessian(total)(x), wanted, rtol=1e-8, atol=1e-10)


def test_parameters_may_be_mapped_over_and_inputs_may_not():
    model, x = plain(), clouds()
    both = {name: torch.stack([part, 2 * part]).detach() for name, part in model.named_parameters()}

    def answer(parameters, x):
        return torch.func.functional_call(model, parameters, (x,))

    found = torch.func.vmap(answer, in_dims=(0, None))(both, x)
    for place in range(2):
        wanted = answer({name: part[place] for name, part in both.items()}, x)
        torch.testing.assert_close(found[place], wanted, rtol=1e-9, atol=1e-12)
    with pytest.raises(SymmetryError, match="as many poses as it needs, and vmap cannot"):
        torch.func.vmap(model)(torch.stack([x, x]))


def test_whether_a_derivative_is_asked_for():
    x = torch.ones(2)
    told = []

    def ask(y):
        told.append(differentiated(y))
        return y.sum()

    ask(x)
    torch.func.vmap(ask)(x[:, None])
    assert told == [False, False]
    ask(x.clone().requires_grad_())
    torch.func.vmap(ask)(x[:, None].clone().requires_grad_())
    torch.func.grad(ask)(x)
    torch.func.jvp(ask, (x,), (x,))
    assert told[2:] == [True] * 4
