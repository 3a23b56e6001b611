"""ONNX files of frames with several poses: symmetric samples too, and each step that torch alone cannot write.

In a process of its own: annotations are inert there.
"""

import os
import subprocess
import sys

STEPS = """
import numpy as np
from onnxscript import opset18
from canonize.integrations import _onnx_steps
from canonize.integrations.onnx import written

folder = Path(sys.argv[1])


class Steps(torch.nn.Module):
    def forward(self, counts, x):
        owners = torch.arange(counts.shape[0]).repeat_interleave(counts, output_size=counts.sum().item())
        chosen = torch.where(x[:, 0] > 0, x[:, 1] > 0, x[:, 2] > 0)
        some = x[chosen]
        # A row for each that is chosen, of which there may be none; a guard that is not nothing; numbers in full precision.
        numbers = x.new_full((2,), 0.3), x.clamp(min=0.3), 0.3 * x
        return owners, chosen, some.square().sum(-1), some.argmin(-1), (0 * x[:, 0] + 1e-24).log(), *numbers


def answers(model, cases):
    axes = {0: torch.export.Dim.AUTO}
    program = torch.export.export(model, cases[0], dynamic_shapes=(axes, axes))
    path = folder / "steps.onnx"
    written(program).save(str(path))
    text = path.read_bytes()
    assert str(Path.cwd()).encode() not in text and b".py" not in text, "the file tells of this machine"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return [session.run(None, {n: t.numpy() for n, t in zip(names, case)}) for case in cases]


def off(cases):
    model = Steps()
    for case, found in zip(cases, answers(model, cases), strict=True):
        for one, other in zip(found, model(*case), strict=True):
            if one.shape != tuple(other.shape) or not np.allclose(one, other.numpy(), rtol=1e-12, atol=0):
                return True
    return False


torch.manual_seed(0)
some, none = torch.randn(6, 3).double(), torch.full((2, 3), -1.0).double()
cases = [(torch.tensor(counts), x) for counts, x in (
    ([2, 0, 3, 1], some), ([0, 0, 4], none), ([1, 0, 0], some), ([0, 0], none), ([5, 5], some),
)]
assert not off(cases)
# The planted faults: each of them must be seen.
planted = {
    "_owners": lambda counts, output_size=None: opset18.Sub(owners(counts), owners(counts)),
    "_count_axes_from_the_front": lambda model: None,
    "_number": lambda value, dtype: opset18.Cast(value, to=dtype),
}
owners = _onnx_steps._owners
for name, fault in planted.items():
    good = getattr(_onnx_steps, name)
    setattr(_onnx_steps, name, fault)
    assert off(cases), name
    setattr(_onnx_steps, name, good)
print("steps")
"""

POSES = """
import sys
from pathlib import Path
import onnxruntime
import torch
from canonize import SO, C, Edges, Fields, Index, Offsets, Point, Rows, Scalar, Symmetry, Vector, Weighted, symmetrize
from canonize.integrations.onnx import export_onnx


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.outer = torch.nn.Linear(2, 4), torch.nn.Linear(4, 2)

    def forward(self, x):
        return self.outer(self.inner(x).tanh().mean(1))


def shapes(size):
    angle = torch.arange(size) * 2 * torch.pi / size
    square = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    return {
        "generic": torch.randn(size, 2),
        "ring": torch.stack([angle.cos(), angle.sin()], -1),
        "square": torch.cat([square, torch.zeros(size - 4, 2)]),
        "line": torch.linspace(-1, 2, size)[:, None] * torch.tensor([1.0, -2]),
        "one place": torch.full((size, 2), 0.5),
        "the origin": torch.zeros(size, 2),
    }


torch.manual_seed(0)
model = symmetrize(Net(), Symmetry(SO(2), Point(), Vector()), Weighted()).eval()
path = export_onnx(model, torch.randn(2, 5, 2), Path(sys.argv[1]) / "poses.onnx")
session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
for size in (4, 9):
    alone = shapes(size)
    batches = {name: x[None] for name, x in alone.items()}
    batches |= {"all": torch.stack(list(alone.values())), "none symmetric": torch.randn(3, size, 2)}
    for name, x in batches.items():
        (found,) = session.run(None, {"input_0": x.numpy()})
        with torch.no_grad():
            # Answers of symmetric samples are zero: the unit is that of what the model says of any.
            difference = (torch.from_numpy(found) - model(x)).abs().max() / model(alone["generic"][None]).abs().max()
        assert difference < 1e-5, (size, name, float(difference))


class Bonds(torch.nn.Module):
    def forward(self, value):
        i, j = value["bonds"]
        pull = (value["pos"][i] - value["pos"][j]).abs() * value["charge"][i, None]
        return {"pull": pull, "force": torch.zeros_like(value["pos"]).index_add(0, i, pull)}


def bonded(counts):
    counts = torch.tensor(counts)
    ends = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    own = torch.arange(len(counts)).repeat_interleave(counts)
    bonds = ((own[:, None] == own) & (torch.rand(len(own), len(own)) < 0.7)).nonzero().T
    return {"pos": torch.randn(len(own), 2), "charge": torch.rand(len(own)), "ptr": ends, "index": own, "bonds": bonds}


# Several molecules with their bonds in one batch: another number of samples, of rows and of bonds.
parts = Fields(pos=Rows(Vector()), charge=Rows(Scalar()), ptr=Offsets(), index=Index(), bonds=Edges())
claim = Symmetry(C(4), parts, {"pull": Rows(Vector(), edges=True), "force": Rows(Vector())})
model = symmetrize(Bonds(), claim, chunk=4).eval()
path = export_onnx(model, bonded([3, 4]), Path(sys.argv[1]) / "bonds.onnx")
session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
value = bonded([2, 5, 4])
wanted = model(value)
for name, found in zip(wanted, session.run(None, {name: part.numpy() for name, part in value.items()}), strict=True):
    torch.testing.assert_close(torch.from_numpy(found), wanted[name], rtol=1e-5, atol=1e-5)
print("poses")
print("poses", file=sys.stderr)
"""


def test_poses_of_symmetric_samples_and_each_step_that_torch_alone_does_not_write(tmp_path):
    """In one process, since torch's exporters take long to load."""
    command = [sys.executable, "-W", "ignore", "-c", POSES + STEPS, str(tmp_path)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.stdout == "poses\nsteps\n", done.stderr[-2000:]
    # Nothing foreign is said while a file is written; the planted faults make ONNX Runtime speak.
    assert done.stderr.startswith("poses\n"), done.stderr[:2000]
