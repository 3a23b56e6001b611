"""Imports point down, and `import canonize` needs torch and nothing else."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import canonize

ROOT = Path(canonize.__file__).parent
LAYERS = [
    "_version", "errors", "_values", "_tree", "_own", "linalg", "labelling", "groups", "actions", "symmetry", "frames",
    "symmetrize", "forms", "audit", "adapt", "nn", "explain", "report", "testing", "scale", "integrations", "playground", "cli",
]  # fmt: skip
# The front door stands above all that it shows; these five are never behind it.
HIDDEN = {"report", "scale", "integrations", "playground", "cli"}
HEAVY = ["matplotlib", "rich", "typer", "sklearn", "PIL", "jinja2", "onnxruntime", "onnx", "pandas", "scipy",
         "transformers", "timm", "torchvision", "safetensors", "torch_geometric", "ase", "e3nn",
         "canonaut", "networkx", "rdkit", "gradio", "pyarrow", "webdataset", "ray",
         "accelerate", "huggingface_hub"]  # fmt: skip


def imported(source, package="canonize"):
    """The layers that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith(f"{package}.")}
            found |= {"" for alias in node.names if alias.name == package}
        elif isinstance(node, ast.ImportFrom) and node.module == package:
            found |= {alias.name if alias.name in LAYERS else "" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError("relative imports hide the layer")
    return found


def upward(layer, source):
    """The imports of a file in `layer` that do not point down."""
    below = set(LAYERS[: LAYERS.index(layer) + 1]) - (set() if layer in ("cli", "integrations") else {"integrations"})
    # The front door itself ("") is for users, and for the two layers that stand where users do.
    return imported(source) - below - ({""} if layer in ("cli", "integrations") else set())


def files():
    return sorted(
        path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem not in ("__init__", "__main__")
    )


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    layer = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert layer in LAYERS, f"{layer} has no place among the layers"
    assert upward(layer, path.read_text(encoding="utf-8")) == set(), path


def test_the_front_door_hides_what_needs_more_than_torch():
    assert not imported((ROOT / "__init__.py").read_text(encoding="utf-8")) & HIDDEN


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        ("groups", "from canonize.actions import Image"),
        ("errors", "import canonize._tree"),
        ("frames", "from canonize.symmetrize import symmetrize"),
        ("audit", "def late():\n    from canonize.report import text"),
        ("symmetrize", "from canonize import audit"),
        ("actions", "import canonize"),
        ("report", "from canonize.integrations.pyg import Data"),
    ],
)
def test_an_import_that_points_up_is_found(layer, line):
    assert upward(layer, line)


def test_a_relative_import_is_found():
    with pytest.raises(AssertionError, match="relative"):
        upward("groups", "from .base import Group")


def _loaded(statement):
    code = f"{statement}; import sys; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_importing_canonize_loads_torch_and_little_else():
    extra = _loaded("import canonize") - _loaded("import torch")
    assert not extra & set(HEAVY)
    assert "numpy" not in extra
    third = {name for name in extra if not name.startswith("_") and name not in sys.stdlib_module_names}
    assert third <= {"canonize", "jaxtyping", "wadler_lindig", "torch"}
