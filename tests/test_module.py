"""A symmetrized model is a well-behaved module: stored, moved, threaded, compiled; and it changes nothing of the caller's."""

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from canonize import Average, Best, C, Chain, D, Image, Scalar, Symmetry, Tensor, symmetrize
from canonize.testing import assert_equivariant
from lists import brightness, draw, images

CLAIM = Symmetry(C(4), Image(), Scalar())


class Energy(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3)

    def forward(self, x):
        return self.conv(x).tanh().flatten(1)[:, :9].sum(1)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(100, 3)).eval()


def learned():
    return symmetrize(network(), CLAIM, Best(Energy())).eval()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("used", [False, True])
def test_copies(copied, used):
    model, x = learned(), images(torch.float32)
    if used:
        model(x).sum().backward()
    twin = copied(model)
    assert torch.equal(twin(x), model(x))
    assert twin.symmetry == model.symmetry
    nn.init.zeros_(next(twin.parameters()))
    assert not torch.equal(twin(x), model(x))


def test_state_dict_prefixes():
    model = learned()
    assert {key.split(".")[0] for key in model.state_dict()} == {"model", "frame"}
    assert "model.0.weight" in model.state_dict()
    assert "frame.energy.conv.weight" in model.state_dict()
    twin = symmetrize(network(), CLAIM, Best(Energy()))
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin.eval()(images(torch.float32)), model(images(torch.float32)))


def test_train_eval_and_dtype_moves():
    model, x = learned(), images(torch.float64)
    assert not model.model[2].training
    assert model.train().model[2].training
    double = model.eval().double()
    assert double(x).dtype == torch.float64
    assert_equivariant(double, CLAIM, x, tolerance=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_low_precision(dtype):
    model = learned().to(dtype)
    assert model(images(dtype)).dtype == dtype
    assert_equivariant(model, CLAIM, images(dtype))


def test_numpy_models_take_and_return_arrays():
    weights = np.random.default_rng(0).normal(size=(98, 3)).astype(np.float32)
    model = symmetrize(lambda a: np.tanh(a.reshape(len(a), -1) @ weights), CLAIM)
    x = images(torch.float32).numpy()
    assert isinstance(model(x), np.ndarray)
    assert_equivariant(model, CLAIM, x)
    assert isinstance(model.canonical(x), np.ndarray)


@pytest.mark.parametrize(
    "layout",
    [
        lambda a: a[:, :, ::-1, ::-1],
        lambda a: np.rot90(a, 1, (2, 3)),
        lambda a: np.broadcast_to(a[:1], a.shape),
        lambda a: a.astype(">f4"),
        np.asfortranarray,
    ],
    ids=["reversed", "rot90", "read-only", "big-endian", "fortran"],
)
def test_arrays_of_any_layout(layout):
    model = symmetrize(lambda a: a.reshape(len(a), -1)[:, :3], CLAIM)
    x = layout(images(torch.float32).numpy())
    plain = np.ascontiguousarray(x).astype(np.float32)
    assert np.array_equal(model(x), model(plain))


def spoil(x):
    """Reads its answer, then overwrites its input."""
    answer = x.reshape(len(x), -1)[:, :3] + 0
    x[...] = 9.0
    return answer


def seen(g, x):
    """An action that returns a view of its input."""
    return x.view(x.shape)


AVERAGE, BEST = Average(), Best(lambda a, b: brightness(a))
# Best scores the orbit in one call, which a tensor declared None cannot share: that is refused.
BESIDE = [
    (a, f) for a in (Scalar(), Tensor(0), Image(), Chain(seen), None) for f in (AVERAGE, BEST) if a or f is AVERAGE
]


@pytest.mark.parametrize(("action", "frame"), BESIDE, ids=lambda part: str(part)[:16])
def test_a_model_that_changes_its_input_harms_nobody(action, frame):
    claim = Symmetry(C(4), (Image(), action), Scalar())
    x, other = images(torch.float32), images(torch.float32)
    model = symmetrize(lambda a, b: (spoil(a), spoil(b))[0], claim, frame)
    model(x, other)
    assert torch.equal(x, images(torch.float32))
    assert torch.equal(other, images(torch.float32))


def test_an_array_is_not_changed_either():
    x = images(torch.float32).numpy()
    symmetrize(spoil, CLAIM)(x)
    assert np.array_equal(x, images(torch.float32).numpy())


def test_threads_do_not_disturb_each_other():
    model = learned()
    inputs = [draw(4, 2, 7, 7, dtype=torch.float32, seed=seed) for seed in range(24)]
    with torch.no_grad():
        wanted = [model(x) for x in inputs]
        with ThreadPoolExecutor(8) as pool:
            assert all(torch.equal(a, b) for a, b in zip(pool.map(model, inputs), wanted, strict=True))


def test_nothing_is_kept_of_a_call():
    model = learned()
    before = {name: set(vars(module)) for name, module in model.named_modules()}
    model(images(torch.float32))
    assert {name: set(vars(module)) for name, module in model.named_modules()} == before


def test_canonical_is_what_the_model_sees():
    shown = []
    model = symmetrize(lambda x: (shown.append(x.clone()), x.flatten(1)[:, :2])[1], CLAIM, Best(brightness))
    x = images(torch.float32)
    model(x)
    assert torch.equal(model.canonical(x), shown[0])
    assert model.poses(x).elements.shape == (1, 6, 2, 2)
    assert repr(CLAIM) in repr(model)


COMPILED = """
import warnings
import torch
from canonize import C, Image, Scalar, Symmetry, symmetrize

net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(18, 2))
# Whether the graph is one does not hang on a derivative, and one layout of the input is one compilation.
model = symmetrize(net, Symmetry(C(4), Image(), Scalar())).eval().requires_grad_(False)
x = torch.rand(2, 1, 5, 5)
wanted = model(x)
# Torch's compiler warns of deprecations in its own modules.
warnings.filterwarnings("ignore", module="torch.*")
fast = torch.compile(model, fullgraph=True, backend="aot_eager")
torch.testing.assert_close(fast(x), wanted)
torch.testing.assert_close(fast(x.rot90(1, (-2, -1)).contiguous()), wanted)
print("compiled")
"""


def test_average_compiles_in_one_graph():
    """In a process of its own: annotations are inert there, as they are for users."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "compiled", done.stderr[-2000:]


def test_dihedral_claims_know_mirror_images():
    model = symmetrize(network(), Symmetry(D(4), Image(), Scalar()))
    x = images(torch.float32)
    torch.testing.assert_close(model(x), model(x.flip(-1)))
