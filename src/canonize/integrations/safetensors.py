"""Learned frames in files that hold no code: numbers in `canonizer.safetensors`, classes and options in `config.json`."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from canonize._tree import describe
from canonize._version import __version__
from canonize.errors import SymmetryError, refuse
from canonize.integrations._config import Plan, bad, brief, decode, encode
from canonize.integrations._kinds import KINDS
from canonize.symmetrize import Symmetrized
from canonize.symmetry import Symmetry

FORMAT, FORMAT_VERSION = "canonize.canonizer", 1
WEIGHTS, CONFIG = "canonizer.safetensors", "config.json"
_DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_MOST = 2**20  # bytes of the configuration, and of the header of the numbers


def save(symmetrized: Symmetrized, folder: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The paths of the two files written: the frame of a symmetrized model and its claim, and nothing of the model.

    The folder is made where it is missing. Each file appears whole or not at all.

    Args:
        symmetrized: a model behind `Best`, `Scored`, `Search`, `Oriented` or `Learned` with one of the networks of
            `canonize.nn`, in one dtype, or behind `PCA`, `Weighted`, `Centred` or `Polar`, which have options only; with a
            group and actions of canonize.
        folder: where to.

    Raises:
        SymmetryError: a frame, network, group or action of another class, numbers that are not finite, a place that cannot
            be written to.

    Example:
        >>> import tempfile, torch
        >>> from canonize import Best, C, Image, Scalar, Symmetry, nn, symmetrize
        >>> from canonize.integrations.safetensors import load, save
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> upright = symmetrize(model, Symmetry(C(4), Image(), Scalar()), Best(nn.Scorer(1))).eval()
        >>> x = torch.rand(2, 1, 8, 8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     paths = save(upright, folder)
        ...     again = symmetrize(model, *load(folder))
        >>> torch.equal(again.eval()(x), upright(x))
        True
    """
    if not isinstance(symmetrized, Symmetrized):
        raise refuse(
            "save takes a symmetrized model",
            got=describe(symmetrized),
            expected="what symmetrize returned",
            fix="save(symmetrize(model, symmetry, frame), folder)",
        )
    claim, frame = symmetrized.symmetry, symmetrized.frame
    kind = KINDS.get(type(frame).__name__)
    if kind is None or kind.family != "frame" or type(frame) is not kind.make:
        raise refuse(
            "a frame that is not on the list cannot be saved",
            got=describe(frame),
            expected=", ".join(name for name, one in KINDS.items() if one.family == "frame"),
            fix="write it again where you need it, for example symmetrize(model, symmetry, Average())",
        )
    state = frame.state_dict() if isinstance(frame, nn.Module) else {}
    weights = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    told = {str(value.dtype).removeprefix("torch.") for value in weights.values()}
    dtype = next(iter(told)) if len(told) == 1 else None
    described = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "canonize": __version__,
        "symmetry": {name: encode(getattr(claim, name), name) for name in ("group", "inputs", "outputs")},
        "frame": encode(frame, "frame"),
        "dtype": dtype,
    }
    if (weights and dtype not in _DTYPES) or not all(bool(value.isfinite().all()) for value in weights.values()):
        raise refuse(
            "this canonizer cannot be saved: its numbers",
            got=", ".join(sorted(told)) if dtype not in _DTYPES else "NaN or infinity",
            expected=f"finite numbers of one dtype: {', '.join(_DTYPES)}",
            fix="symmetrized.frame.float(); look for what made it diverge where numbers are not finite",
        )
    folder = Path(folder)
    partial = folder / f"{WEIGHTS}.partial", folder / f"{CONFIG}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Copies: tensors that share memory are not taken.
        save_file({name: value.clone() for name, value in weights.items()}, partial[0])
        partial[1].write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        # The library writes files that only their owner may read.
        partial[0].chmod(partial[1].stat().st_mode)
        return partial[0].replace(folder / WEIGHTS), partial[1].replace(folder / CONFIG)
    except (OSError, SafetensorError) as error:
        raise refuse(
            "the canonizer cannot be written",
            got=f"{folder} ({type(error).__name__}: {error})",
            expected="a folder that can be written to",
            fix="choose another place",
        ) from error
    finally:
        for path in partial:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def load(folder: str | os.PathLike[str]) -> tuple[Symmetry, Any]:
    """The claim and the frame that `save` has written, for `symmetrize(model, *load(folder))`; on the CPU, in eval mode.

    Nothing is run or imported from the files: they name classes from a fixed list, and every size is compared with the
    numbers that are there before memory is taken for it.

    Args:
        folder: that holds `canonizer.safetensors` and `config.json`.

    Raises:
        SymmetryError: a file that is missing, damaged, of a later format or of another kind; it names the place.
    """
    folder = Path(folder)
    told = _config(folder / CONFIG)
    claim = told["symmetry"]
    if not isinstance(claim, dict) or set(claim) != {"group", "inputs", "outputs"}:
        raise bad(f"{CONFIG}: symmetry", brief(claim), "group, inputs and outputs")
    families = {"group": "group", "inputs": "action", "outputs": "action"}
    parts = {name: decode(claim[name], family, name) for name, family in families.items()}
    try:
        symmetry = Symmetry(**parts)
    except SymmetryError as error:
        raise bad(f"{CONFIG}: symmetry", str(error).splitlines()[0], "a claim") from error
    options, make = decode(told["frame"], "frame", "frame")
    place, network = next(((name, part) for name, part in options.items() if isinstance(part, Plan)), (None, None))
    # The option stands at the attribute that prefixes the numbers, but for Scored, which calls its network an energy.
    prefix = "energy" if make.__name__ == "Scored" else place
    shapes = {} if network is None else {f"{prefix}.{name}": shape for name, shape in network.shapes.items()}
    dtype = told["dtype"]
    if dtype is not None if network is None else not isinstance(dtype, str) or dtype not in _DTYPES:
        raise bad(f"{CONFIG}: dtype", brief(dtype), "null" if network is None else ", ".join(_DTYPES))
    numbers = _numbers(folder / WEIGHTS, shapes, dtype)
    try:
        frame = make(**(options if network is None else options | {place: network.make()}))
    except SymmetryError as error:
        raise bad(f"{CONFIG}: frame", str(error).splitlines()[0], f"options that {make.__name__} takes") from error
    if not isinstance(frame, nn.Module):
        return symmetry, frame
    frame.to(getattr(torch, dtype))
    frame.load_state_dict(numbers)
    return symmetry, frame.eval()


def _config(path: Path) -> dict[str, Any]:
    _there(path)
    if path.stat().st_size > _MOST:
        raise bad(path.name, f"{path.stat().st_size:,} bytes", f"at most {_MOST:,}")

    def never(word: str) -> Any:
        raise ValueError(f"{word} is no number of JSON")

    try:
        told = json.loads(path.read_bytes().decode("utf-8"), parse_constant=never)
    except (ValueError, RecursionError) as error:
        raise bad(path.name, f"{type(error).__name__}: {brief(str(error))}", "JSON") from None
    except OSError as error:
        raise bad(path.name, f"{type(error).__name__}: {error}", "a file that can be read") from error
    names = {"format", "format_version", "canonize", "symmetry", "frame", "dtype"}
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise bad(path.name, brief(told), f"an object with the format {FORMAT!r}")
    version = told.get("format_version")
    if isinstance(version, bool) or version != FORMAT_VERSION:
        raise refuse(
            "this canonizer was saved in another format",
            got=f"format_version {brief(version)}, by canonize {brief(told.get('canonize'))}",
            expected=f"{FORMAT_VERSION}, which canonize {__version__} reads",
            fix="install the canonize that wrote it, or save it again",
        )
    if set(told) != names:
        raise bad(path.name, brief(sorted(told)), ", ".join(sorted(names)))
    return told


def _numbers(path: Path, shapes: dict[str, tuple[int, ...]], dtype: Any) -> dict[str, Tensor]:
    """The tensors of a file, read only where names, shapes and dtypes are the expected ones."""
    _there(path)
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if header > min(_MOST, size - 8):
            raise bad(path.name, f"a header of {header:,} bytes in {size:,}", f"at most {_MOST:,}, within the file")
        with safe_open(path, framework="pt", device="cpu") as file:
            names = set(file.keys())
            if names != set(shapes):
                differing = sorted(names ^ set(shapes))
                raise bad(
                    path.name, f"the names differ: {brief(differing)}", f"{len(shapes)} tensors, as {CONFIG} says"
                )
            for name, shape in shapes.items():
                part = file.get_slice(name)
                if tuple(part.get_shape()) != shape or part.get_dtype() != _DTYPES[dtype]:
                    got = f"{name}: {tuple(part.get_shape())}, {part.get_dtype()}"
                    raise bad(path.name, got, f"{shape}, {_DTYPES[dtype]}, as {CONFIG} says")
            found = {name: file.get_tensor(name) for name in shapes}
    except (SafetensorError, OSError, ValueError) as error:
        if isinstance(error, SymmetryError):
            raise
        raise bad(path.name, f"{type(error).__name__}: {brief(str(error))}", "an intact safetensors file") from error
    for name, value in found.items():
        if not bool(value.isfinite().all()):
            raise bad(path.name, f"{name} holds NaN or infinity", "finite numbers")
    return found


def _there(path: Path) -> None:
    if not path.is_file():
        raise refuse(
            "no saved canonizer here",
            got=f"no file {path.name} in {path.parent}",
            expected=f"a folder with {WEIGHTS} and {CONFIG}",
            fix="check the path; canonize.integrations.safetensors.save writes both",
        )
