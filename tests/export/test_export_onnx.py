"""Symmetrized models as ONNX files: written, checked, refused. In a process of its own: annotations are inert there."""

import subprocess
import sys

WRITTEN = """
import sys, warnings
from pathlib import Path
import torch
import onnxruntime
from canonize import C, Image, Nodes, S, Scalar, SymmetryError, Symmetry, symmetrize
from canonize.cli.load import load_model
from canonize.integrations.onnx import export_onnx

folder = Path(sys.argv[1])
net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
turns = Symmetry(C(2), Image(), Scalar())
upright = symmetrize(net, turns, chunk=2)
found = export_onnx(upright, torch.rand(2, 1, 4, 4), folder / "upright.onnx")
assert upright.training
session = onnxruntime.InferenceSession(str(found), providers=["CPUExecutionProvider"])
assert [one.name for one in session.get_inputs()] == ["input_0"]
assert [one.name for one in session.get_outputs()] == ["output_0"]
other = torch.rand(5, 1, 4, 4)
torch.testing.assert_close(load_model(str(found))(other), upright.eval()(other), rtol=1e-5, atol=1e-5)


def refused(words, model, example, **options):
    path = folder / "none.onnx"
    try:
        export_onnx(model, example, path, **options)
    except SymmetryError as error:
        assert words in str(error), error
    else:
        raise AssertionError("not refused: " + words)
    assert not path.exists()


refused("more than one sample", upright, torch.rand(1, 1, 4, 4))
refused("takes a symmetrized model", net, torch.rand(2, 1, 4, 4))
try:
    export_onnx(upright, torch.rand(2, 1, 4, 4), folder / "missing" / "a.onnx")
except SymmetryError as error:
    assert "does not exist" in str(error)
else:
    raise AssertionError("not refused: a missing folder")
# Parts that stand still while the rest trains stand still afterwards.
upright.train()
net[1].eval()
export_onnx(upright, torch.rand(2, 1, 4, 4), folder / "upright.onnx")
assert upright.training
assert not net[1].training
# The planted fault: no file is good enough for that.
refused("other numbers", upright, torch.rand(2, 1, 4, 4), tolerance=-1.0)
assert [path.name for path in folder.iterdir()] == ["upright.onnx"]
print("written")
"""


def test_a_file_that_is_checked(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", WRITTEN, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("written"), done.stderr[-2000:]
