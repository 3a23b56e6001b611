"""Models and data from files. Nothing here runs code from a file, unless `trust` says that the file is the user's own."""

from __future__ import annotations

import importlib
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from canonize._tree import describe, tensors
from canonize.errors import SymmetryError, refuse

INPUT_KEYS = ("inputs", "x", "images", "data", "pos", "arr_0")
TARGET_KEYS = ("targets", "y", "labels", "target", "arr_1")


@dataclass(frozen=True)
class Data:
    """Inputs with their targets, if there are any; `classes` names the folders that images came from."""

    inputs: Any
    targets: Tensor | None = None
    classes: tuple[str, ...] = ()


def load_model(where: str, *, trust: bool = False) -> Any:
    """A model from `module:object`, from an ONNX file, or from a TorchScript (.pt, .ts) or exported (.pt2) file.

    `module:object` imports your own code, with the current folder on the path; `module:make()` calls it first. TorchScript
    and exported files can run code when they are loaded, so they need `trust`.

    Raises:
        SymmetryError: nothing there, a file of another kind, a file that needs trust; it says what to do.
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
    except (ImportError, AttributeError) as error:
        raise refuse(
            "the model cannot be imported",
            got=f"{module}:{name} ({type(error).__name__}: {error})",
            expected="an importable module and the name of an object in it",
            fix="run from the folder that holds the module, or install it",
        ) from error
    found = found() if name.endswith("()") else found
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
    if not zipfile.is_zipfile(path):
        return "pickle"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/constants.pkl") for name in names) and any("/code/" in name for name in names):
        return "TorchScript"
    if path.suffix == ".pt2" or any(name.endswith(("archive_format", "models/model.json")) for name in names):
        return "exported"
    try:
        _weights(path)
    except SymmetryError:
        return "pickle"
    return "weights"


def _weights(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise refuse(
            "this file would have to run code to be loaded",
            got=f"{path.name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            expected="tensors, in plain lists, tuples and dicts",
            fix="save the tensors alone: torch.save({'inputs': x, 'targets': y}, ...), or np.savez(..., inputs=x)",
        ) from error


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


def load_data(
    where: str, *, size: int | None = None, gray: bool = False, limit: int | None = None, report: Any = None
) -> Data:
    """Inputs from a folder of images, or from a .npz, .npy or .pt file; targets where the file or the folders tell them.

    Args:
        where: a folder (one subfolder a class makes targets), or a file.
        size: side in pixels that images are scaled and centre-cropped to; None takes them as they are.
        gray: one channel instead of three.
        limit: at most this many samples.
        report: called with (done, total) as images are read.

    Raises:
        SymmetryError: nothing there, a file that would run code, images of different sizes, no images at all.
    """
    path = Path(where)
    if path.is_dir():
        return _folder(path, size=size, gray=gray, limit=limit, report=report)
    if not path.is_file():
        raise refuse(
            "no such data", got=where, expected="a folder of images or a file .npz, .npy, .pt", fix="check the path"
        )
    suffix = path.suffix.lower()
    if suffix in (".npz", ".npy"):
        return _named(_numpy(path), path, limit)
    if suffix in (".pt", ".pth"):
        return _named(_weights(path), path, limit)
    raise refuse(
        "data of this kind cannot be read",
        got=path.name,
        expected="a folder of images, .npz, .npy, .pt",
        fix="np.savez(..., inputs=x)",
    )


def _numpy(path: Path) -> Any:
    try:
        loaded = np.load(path, allow_pickle=False)
        return {name: loaded[name] for name in loaded.files} if path.suffix.lower() == ".npz" else loaded
    except Exception as error:
        raise refuse(
            "this file cannot be read without running code, or is damaged",
            got=f"{path.name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            expected="arrays of numbers, no pickled objects",
            fix="save plain arrays: np.savez(..., inputs=x.astype('float32'))",
        ) from error


def _named(found: Any, path: Path, limit: int | None) -> Data:
    """Inputs and targets among the entries of a file."""
    targets = None
    if isinstance(found, dict):
        known = [key for key in INPUT_KEYS if key in found]
        if not known:
            raise refuse(
                "the file does not say which entry holds the inputs",
                got=f"{path.name} with {sorted(map(str, found))}",
                expected=f"one of {', '.join(INPUT_KEYS)}; for targets one of {', '.join(TARGET_KEYS)}",
                fix="np.savez(..., inputs=x, targets=y)",
            )
        given = next((key for key in TARGET_KEYS if key in found), None)
        targets = None if given is None else torch.as_tensor(found[given])
        found = found[known[0]]
    inputs = torch.as_tensor(found) if isinstance(found, np.ndarray) else found
    if not tensors(inputs):
        raise refuse(
            "the file holds no inputs",
            got=describe(inputs),
            expected="a tensor or an array",
            fix="np.savez(..., inputs=x)",
        )
    if isinstance(inputs, Tensor):
        inputs = inputs.float() if inputs.dtype in (torch.uint8, torch.int16) else inputs
        inputs = inputs[:limit] if limit is not None else inputs
    return Data(inputs, None if targets is None else targets[:limit])


def _folder(path: Path, *, size: int | None, gray: bool, limit: int | None, report: Any) -> Data:
    from PIL import Image as Picture
    from PIL import ImageOps

    kinds = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in kinds and file.is_file())
    if not files:
        raise refuse("no images in this folder", got=str(path), expected=", ".join(kinds), fix="check the path")
    if limit is not None and limit < len(files):
        # Evenly spread, so that sorted class folders are all seen.
        files = [files[position * len(files) // limit] for position in range(limit)]
    classes = tuple(sorted({file.parent.relative_to(path).as_posix() for file in files}))
    pictures: list[Tensor] = []
    for number, file in enumerate(files):
        try:
            with Picture.open(file) as opened:
                plain = opened.convert("L" if gray else "RGB")
                array = np.asarray(plain if size is None else ImageOps.fit(plain, (size, size)), dtype=np.float32) / 255
        except (OSError, Picture.DecompressionBombError) as error:
            raise refuse(
                "an image cannot be read", got=f"{file}: {error}", expected="an intact image", fix="remove it"
            ) from error
        picture = torch.from_numpy(array.copy())
        pictures.append(picture[None] if gray else picture.permute(2, 0, 1))
        if pictures[-1].shape != pictures[0].shape:
            raise refuse(
                "the images differ in size",
                got=f"{files[0].name}: {tuple(pictures[0].shape[1:])}, {file.name}: {tuple(pictures[-1].shape[1:])}",
                expected="one size",
                fix="--size 224 scales and crops them to a square",
            )
        if report is not None:
            report(number + 1, len(files))
    named = len(classes) > 1
    targets = (
        torch.tensor([classes.index(file.parent.relative_to(path).as_posix()) for file in files]) if named else None
    )
    return Data(torch.stack(pictures), targets, classes if named else ())
