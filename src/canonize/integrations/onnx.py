"""Symmetrized models as ONNX files, which run where there is no torch; checked in ONNX Runtime before they are handed over."""

from __future__ import annotations

import logging
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from canonize._tree import describe, matched, walk
from canonize.actions import Edges, Nodes, Numbering, Point, Rows, Vector
from canonize.actions.trees import batch_of, repeat, separable
from canonize.adapt.modes import in_eval
from canonize.errors import refuse
from canonize.frames import PCA
from canonize.integrations._onnx_steps import steps, tidied
from canonize.symmetrize import Symmetrized
from canonize.symmetry import Keywords, arguments

TOLERANCE = 1e-4
"""Of the largest entry of an output: what float32 sums in another order may differ by in a network of some depth."""


def export_onnx(
    model: Symmetrized, example: Any, path: str | os.PathLike[str], *, tolerance: float = TOLERANCE
) -> Path:
    """The path of an ONNX file that gives the numbers of a symmetrized model, also for other batch sizes.

    The whole computation goes into the file, the frame included. The batch is left open from one sample on, and so is the
    number of points, rows or nodes, unless the model asks for one number of them. The file is then run in ONNX Runtime on
    the example and on twice as large a batch, and appears only where both agree with the model.

    Args:
        model: made by `symmetrize`; exported as in eval mode. docs/export.md lists the frames that can be exported.
        example: a batch of at least two samples, as the model takes it: what is declared, a tuple for several arguments.
        path: of the file; what is there is replaced.
        tolerance: largest difference relative to the largest entry of the output, dimensionless.

    Returns:
        The path. Inputs have the names of the declared fields, or input_0, input_1, ...; outputs output_0 and so on.

    Raises:
        SymmetryError: no symmetrized model, keyword arguments, a batch of one, a step that ONNX does not have, numbers
            that differ; it says which.

    Example::

        upright = symmetrize(net, Symmetry(C(4), Image(), Scalar()), chunk=4)
        export_onnx(upright, torch.rand(2, 3, 32, 32), "upright.onnx")
    """
    if not isinstance(model, Symmetrized) or isinstance(model.symmetry.inputs, Keywords):
        raise refuse(
            "export_onnx takes a symmetrized model with positional arguments",
            got=describe(model),
            expected="what symmetrize(...) returns, with inputs that are not Keywords(...)",
            fix="wrap a model that takes keywords in a module that passes them on; torch.onnx.export takes any other model",
        )
    value = arguments(model.symmetry, example)
    args = value if isinstance(model.symmetry.inputs, tuple) else (value,)
    doubled = _twice(model, value)
    target = Path(path)
    if not target.absolute().parent.is_dir():
        raise refuse(
            "the file cannot be written",
            got=f"{target}, in a folder that does not exist",
            expected="a path in a folder that is there",
            fix="make the folder first: Path(path).parent.mkdir(parents=True)",
        )
    with in_eval(model):
        # A batch of more samples than the example has: nothing that was seen is by chance the size of something else.
        program = _program(model, args)
        with tempfile.TemporaryDirectory(dir=target.absolute().parent) as folder:
            made = Path(folder) / target.name
            program.save(str(made))
            session = onnxruntime.InferenceSession(str(made), providers=["CPUExecutionProvider"])
            for batch in (args, doubled):
                _check(session, model, batch, tolerance)
            made.replace(target)
    return target


def _program(model: Symmetrized, args: tuple[Any, ...]) -> Any:
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # Of torch's own modules, on what they do inside.
            warnings.simplefilter("ignore")
            exported = torch.export.export(model, args, dynamic_shapes={"args": open_axes(model, args)}, strict=False)
            outputs = [f"output_{place}" for place in range(len(exported.graph_signature.user_outputs))]
            return written(exported, input_names=_names(model, args), output_names=outputs)
    except Exception as error:
        raise refuse(
            "this model cannot be written as ONNX",
            got=_innermost(error),
            expected="a frame whose steps ONNX has, and a model that torch.export takes",
            fix="docs/export.md says which frames these are: all there but CanonicalOrder",
        ) from error


def _innermost(error: BaseException) -> str:
    """What went wrong first, in one line without colours: torch tells its stages around it."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def written(program: torch.export.ExportedProgram, **options: Any) -> Any:
    """A `torch.onnx.ONNXProgram` of an exported program, with the steps that torch does not know how to write.

    Args:
        program: from `torch.export.export`.
        options: of `torch.onnx.export`.
    """
    with _silence():
        found: Any = torch.onnx.export(
            program, custom_translation_table=steps(), verbose=False, optimize=False, **options
        )
        tidied(found.model)
    return found


@contextmanager
def _silence() -> Iterator[None]:
    """Without what torch's exporter says of its own inner workings: of packages that nobody asked for, of empty lists."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def open_axes(model: Symmetrized, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The axes that `torch.export` is to leave open, for `dynamic_shapes={"args": ...}`: batch, points, rows, edges and nodes.

    Args:
        model: made by `symmetrize`.
        args: the arguments of a call.
    """
    auto = torch.export.Dim.AUTO

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if not isinstance(part, Tensor):
            return None
        if isinstance(action, Edges):
            return {1: auto}
        inner = action.action if isinstance(action, Rows) else action
        many = isinstance(inner, Point | Vector | Nodes) and not isinstance(action, Rows) and part.ndim > 2
        return {} if action is None else {0: auto, 1: auto} if many else {0: auto}

    spec = model.symmetry.inputs
    found = walk(leaf, spec, args if isinstance(spec, tuple) else args[0])
    return tuple(found) if isinstance(spec, tuple) else (found,)


def _names(model: Symmetrized, args: tuple[Any, ...]) -> list[str]:
    spec = model.symmetry.inputs
    parts = matched(spec, args if isinstance(spec, tuple) else args[0])
    paths = [path.strip(".").replace(".", "_") for _, part, path in parts if isinstance(part, Tensor)]
    return [path if path.isidentifier() else f"input_{place}" for place, path in enumerate(paths)]


def _twice(model: Symmetrized, value: Any) -> tuple[Any, ...]:
    """The same samples twice, in one batch; ragged ones as they are where a part belongs to no sample."""
    spec = model.symmetry.inputs
    ragged = any(isinstance(action, Rows | Numbering) for action, _, _ in matched(spec, value))
    batch = batch_of(spec, value)[0]
    if batch == 1 and not ragged:
        raise refuse(
            "export_onnx needs more than one sample, lest the number one be taken for a rule",
            got="a batch of one",
            expected="two samples or more",
            fix="torch.cat([x, x])",
        )

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        return part if action is None else torch.cat([part, part.flip(0)])

    if not ragged:
        found = walk(leaf, spec, value)
    else:
        found = repeat(spec, value, 2, batch=batch) if separable(spec, value) else value
    return found if isinstance(spec, tuple) else (found,)


def _check(session: Any, model: Symmetrized, args: tuple[Any, ...], tolerance: float) -> None:
    """Refuse a file whose answers are not those of the model; not-a-number never passes."""
    feed = [part.detach().cpu().numpy() for part in tree_leaves(args) if isinstance(part, Tensor)]
    found = session.run(None, {one.name: array for one, array in zip(session.get_inputs(), feed, strict=True)})
    with torch.no_grad():
        wanted = [part for part in tree_leaves(model(*args)) if isinstance(part, Tensor)]
    for place, (one, other) in enumerate(zip(found, wanted, strict=True)):
        right = other.double().cpu().numpy()
        largest = float(np.abs(right).max(initial=0.0)) or 1.0
        off = float(np.abs(np.asarray(one, dtype=np.float64) - right).max(initial=0.0)) / largest
        if not off <= tolerance:
            raise refuse(
                f"ONNX Runtime gives other numbers than the model for output {place}",
                got=f"a difference of {off:.3g} of the largest entry, for a batch of shape {tuple(right.shape)}",
                expected=f"at most {tolerance:.3g}",
                fix=_tied(model, args) or "export in float64 to see whether this is rounding: model.double()",
            )


def _tied(model: Symmetrized, args: tuple[Any, ...]) -> str:
    """What to do where rounding chooses the pose of a sample; nothing where the frame is sure of all, or does not say."""
    with torch.no_grad():
        poses = model.poses(*args)
    if poses.margin is None:
        return ""
    tied = (poses.margin <= torch.finfo(poses.margin.dtype).eps ** 0.5).nonzero()[:, 0].tolist()
    if not tied:
        return ""
    which = f"sample{'s' if len(tied) > 1 else ''} {', '.join(map(str, tied[:8]))}"
    if isinstance(model.frame, PCA) and model.frame.fallback is None:
        return f"the axes of {which} are tied, and rounding chooses among them: take the default frame, which averages"
    return f"the frame is at a tie in {which}, where rounding chooses the pose: see model.poses(x).margin, or leave them out"
