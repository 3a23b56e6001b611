"""Models from names and files. Nothing here runs code from a file, unless `trust` says that the file is the user's own."""

from __future__ import annotations

import importlib
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from canonize.cli.data import read_tensors
from canonize.errors import SymmetryError, refuse


def load_model(where: str, *, trust: bool = False) -> Any:
    """A model from `module:object`, from an ONNX file, or from a TorchScript (.pt, .ts) or exported (.pt2) file.

    `module:object` imports your own code, with the current folder on the path; `module:make()` calls it first. TorchScript
    and exported files can run code when they are loaded, so they need `trust`.

    Raises:
        SymmetryError: nothing there, a file of another kind, a file that needs trust, your code raises; it says what to do.
    """
    path = Path(where)
    suffix = path.suffix.lower()
    if suffix in (".onnx", ".pt", ".pth", ".ts", ".pt2"):
        if not path.is_file():
            raise refuse("no such model file", got=where, expected="an existing file", fix="check the path")
        return _onnx(path) if suffix == ".onnx" else _torch_file(path, trust=trust)
    module, colon, name = where.partition(":")
    if not colon:
        raise refuse(
            "this is no model",
            got=repr(where),
            expected="module:object, or a file .onnx, .pt, .ts, .pt2",
            fix="mypackage.models:net, or mypackage.models:make() for a function that builds it",
        )
    return _imported(module, name)


def _imported(module: str, name: str) -> Any:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module)
        for part in name.removesuffix("()").split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        # The module is the user's: it may raise anything, and one that leaves with sys.exit(0) must not look like a pass.
        raise refuse(
            "the model cannot be imported",
            got=f"{module}:{name} ({type(error).__name__}: {error})",
            expected="an importable module and the name of an object in it",
            fix="run from the folder that holds the module, or install it; --debug shows where it was raised",
        ) from error
    if name.endswith("()"):
        try:
            found = found()
        except (Exception, SystemExit) as error:
            raise refuse(
                "the model cannot be made",
                got=f"{module}:{name} ({type(error).__name__}: {error})",
                expected="a function or class that returns a model when it is called without arguments",
                fix="--debug shows where it was raised",
            ) from error
    if isinstance(found, type):
        raise refuse("this is a class", got=f"{module}:{name}", expected="an instance", fix=f"{module}:{name}()")
    return found.eval() if isinstance(found, nn.Module) else found


def _torch_file(path: Path, *, trust: bool) -> Any:
    kind = _kind(path)
    if kind in ("weights", "pickle"):
        raise refuse(
            "this file is no model that can be loaded without running code",
            got=f"{path.name}: "
            + ("weights only" if kind == "weights" else "a pickled object, which runs code as it loads"),
            expected="a program: ONNX, or TorchScript and torch.export files that you trust",
            fix="torch.onnx.export(model, ...), or name the object in your code: mypackage.models:net",
        )
    if not trust:
        raise refuse(
            f"a {kind} file can run code when it is loaded",
            got=path.name,
            expected="your word that you trust where it comes from",
            fix="add --trust, or use an ONNX file, which holds no code",
        )
    try:
        if kind == "exported":
            return torch.export.load(str(path)).module()
        with warnings.catch_warnings():
            # torch deprecates TorchScript; files of that kind are still what many people have.
            warnings.simplefilter("ignore", DeprecationWarning)
            return torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]  # torch leaves it so
    except Exception as error:
        raise refuse(
            f"the {kind} file cannot be loaded",
            got=f"{path.name}: {error}",
            expected="an intact file",
            fix="export it again",
        ) from error


def _kind(path: Path) -> str:
    """What a torch file is, by the names in its archive; nothing of it is unpickled."""
    try:
        if not zipfile.is_zipfile(path):
            return "pickle"
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise refuse(
            "the model file is damaged",
            got=f"{path.name} ({type(error).__name__}: {error})",
            expected="an intact archive",
            fix="export it again",
        ) from error
    if any(name.endswith("/constants.pkl") for name in names) and any("/code/" in name for name in names):
        return "TorchScript"
    if path.suffix == ".pt2" or any(name.endswith(("archive_format", "models/model.json")) for name in names):
        return "exported"
    try:
        read_tensors(path)
    except SymmetryError:
        return "pickle"
    return "weights"


def _onnx(path: Path) -> Callable[..., Any]:
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise refuse(
            "ONNX files need ONNX Runtime",
            got="it is not installed",
            expected="onnxruntime",
            fix="pip install 'canonize[onnx]'",
        ) from None
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise refuse(
            "the ONNX file cannot be loaded",
            got=f"{path.name}: {error}",
            expected="an intact model",
            fix="export it again",
        ) from error
    names = [part.name for part in session.get_inputs()]

    def run(*args: Any) -> Any:
        arrays = [np.asarray(arg.detach().cpu() if isinstance(arg, Tensor) else arg) for arg in args]
        found = session.run(None, dict(zip(names, arrays, strict=True)))
        outputs = tuple(torch.from_numpy(np.asarray(part)) for part in found)
        return outputs[0] if len(outputs) == 1 else outputs

    run.__name__ = path.stem
    return run
